#include "bitcask/format_hint.h"

#include "bitcask/coding.h"
#include "bitcask/crc.h"
#include "bitcask/format_record.h"

#define HEADER_CRC (BC_HINT_HEADER - 4U)
#define ENTRY_MIN (BC_HINT_ENTRY + 1U)
#define ENTRY_MAX (BC_HINT_ENTRY + BC_RECORD_EXPIRY + BC_KEY_MAX)

static const char header_magic[8] = {'\x89', 'B', 'C', 'H', 'I', 'N', 'T', '\n'};

void bc_hint_header_encode(void *dst, const struct bc_hint_header *h)
{
    uint8_t *p = dst;
    memset(p, 0, BC_HINT_HEADER);
    memcpy(p, header_magic, sizeof header_magic);
    bc_put_u32(p + 8, BC_FORMAT_VERSION);
    bc_put_u32(p + 12, BC_HINT_HEADER);
    bc_put_u64(p + 24, h->data.id);
    bc_put_u64(p + 32, h->data.nonce);
    bc_put_u64(p + 40, h->data_end);
    bc_put_u64(p + 48, h->entries);
    bc_put_u64(p + 56, h->tombstones);
    bc_put_u64(p + 64, h->blocks);
    bc_put_u64(p + 72, h->min_sequence);
    bc_put_u64(p + 80, h->max_sequence);
    bc_put_u64(p + 88, h->size);
    bc_put_u32(p + 96, h->body_crc);
    bc_put_u32(p + HEADER_CRC, bc_crc32(0, p, HEADER_CRC));
}

/* The counters against each other and against the size, so that a reader may reserve memory by them. */
static bool counters_hold(const struct bc_hint_header *h)
{
    if (h->tombstones > h->entries || h->blocks > h->entries || (h->blocks == 0) != (h->entries == 0))
        return false;
    if (h->size < BC_HINT_HEADER || h->entries > h->size / ENTRY_MIN)
        return false;
    if (h->size - BC_HINT_HEADER < h->blocks * BC_HINT_BLOCK_HEADER + h->entries * ENTRY_MIN)
        return false;
    if (h->min_sequence == 0 || h->max_sequence == 0)
        return h->min_sequence == h->max_sequence && h->entries == 0;
    return h->min_sequence <= h->max_sequence;
}

enum bc_format_check bc_hint_header_decode(struct bc_hint_header *ret, const void *src)
{
    const uint8_t *p = src;
    if (memcmp(p, header_magic, sizeof header_magic) != 0)
        return BC_FORMAT_BAD;
    if (bc_crc32(0, p, HEADER_CRC) != bc_get_u32(p + HEADER_CRC))
        return BC_FORMAT_BAD;
    if (bc_get_u32(p + 8) != BC_FORMAT_VERSION || bc_get_u32(p + 20) != 0)
        return BC_FORMAT_UNSUPPORTED;
    struct bc_hint_header h = {
        .data = {bc_get_u64(p + 24), bc_get_u64(p + 32)},
        .data_end = bc_get_u64(p + 40),
        .entries = bc_get_u64(p + 48),
        .tombstones = bc_get_u64(p + 56),
        .blocks = bc_get_u64(p + 64),
        .min_sequence = bc_get_u64(p + 72),
        .max_sequence = bc_get_u64(p + 80),
        .size = bc_get_u64(p + 88),
        .body_crc = bc_get_u32(p + 96),
    };
    if (bc_get_u32(p + 12) != BC_HINT_HEADER || h.data.id == 0)
        return BC_FORMAT_BAD;
    if (h.data_end < BC_DATA_START || h.data_end % BC_RECORD_ALIGN != 0 || !counters_hold(&h))
        return BC_FORMAT_BAD;
    *ret = h;
    return BC_FORMAT_OK;
}

static uint32_t block_seed(uint64_t nonce, uint64_t block)
{
    return (uint32_t)(nonce ^ nonce >> 32) ^ (uint32_t)block * 0x9E3779B1U;
}

static uint32_t block_crc(const uint8_t *header, uint64_t nonce, uint64_t block, const void *payload, uint32_t size)
{
    uint32_t crc = bc_crc32(block_seed(nonce, block), header + 4, BC_HINT_BLOCK_HEADER - 4);
    return bc_crc32(crc, payload, size);
}

void bc_hint_block_encode(void *dst, uint64_t nonce, uint64_t block, const void *payload, uint32_t size, uint32_t count)
{
    uint8_t *p = dst;
    bc_put_u32(p + 4, size);
    bc_put_u32(p + 8, count);
    bc_put_u32(p + 12, 0);
    bc_put_u32(p, block_crc(p, nonce, block, payload, size));
}

void bc_hint_block_peek(const void *src, uint32_t *ret_size, uint32_t *ret_count)
{
    const uint8_t *p = src;
    *ret_size = bc_get_u32(p + 4);
    *ret_count = bc_get_u32(p + 8);
}

bool bc_hint_block_ok(const void *src, uint64_t nonce, uint64_t block, const void *payload)
{
    const uint8_t *p = src;
    uint32_t size, count;
    bc_hint_block_peek(p, &size, &count);
    /* Only a single entry may be larger than a block's payload. */
    if (count == 0 || size > (count == 1 ? BC_MAX(ENTRY_MAX, BC_HINT_BLOCK_PAYLOAD) : BC_HINT_BLOCK_PAYLOAD))
        return false;
    if (size / ENTRY_MIN < count || bc_get_u32(p + 12) != 0)
        return false;
    return block_crc(p, nonce, block, payload, size) == bc_get_u32(p);
}

size_t bc_hint_entry_size(const struct bc_hint_entry *e)
{
    return BC_HINT_ENTRY + ((e->flags & BC_RECORD_EXPIRES) != 0 ? BC_RECORD_EXPIRY : 0) + (size_t)e->key_size;
}

void bc_hint_entry_encode(void *dst, const struct bc_hint_entry *e)
{
    uint8_t *p = dst;
    bc_put_u64(p, e->sequence);
    bc_put_u32(p + 8, (uint32_t)(e->offset / BC_RECORD_ALIGN));
    bc_put_u32(p + 12, e->value_size);
    bc_put_u16(p + 16, e->key_size);
    p[18] = e->type;
    p[19] = e->flags;
    p += BC_HINT_ENTRY;
    if ((e->flags & BC_RECORD_EXPIRES) != 0) {
        bc_put_u64(p, (uint64_t)e->expire_at_ms);
        p += BC_RECORD_EXPIRY;
    }
    memcpy(p, e->key, e->key_size);
}

/* The rules of a put or tombstone record, and that it lies between the file's bounds. */
static bool entry_holds(const struct bc_hint_entry *e, uint64_t data_end)
{
    if (e->sequence == 0 || e->key_size == 0 || e->offset < BC_DATA_START)
        return false;
    if (e->type == BC_RECORD_TOMBSTONE) {
        if (e->value_size != 0 || e->flags != 0)
            return false;
    } else if (e->type != BC_RECORD_PUT || e->value_size > BC_VALUE_MAX || (e->flags & ~BC_RECORD_EXPIRES) != 0) {
        return false;
    }
    struct bc_record r = {.value_size = e->value_size, .key_size = e->key_size, .flags = e->flags};
    return e->offset <= data_end && bc_record_footprint(&r) <= data_end - e->offset;
}

size_t bc_hint_entry_decode(struct bc_hint_entry *e, const void *src, size_t size, uint64_t data_end)
{
    const uint8_t *p = src;
    if (size < BC_HINT_ENTRY)
        return 0;
    struct bc_hint_entry entry = {
        .sequence = bc_get_u64(p),
        .offset = (uint64_t)bc_get_u32(p + 8) * BC_RECORD_ALIGN,
        .value_size = bc_get_u32(p + 12),
        .key_size = bc_get_u16(p + 16),
        .type = p[18],
        .flags = p[19],
    };
    size_t total = bc_hint_entry_size(&entry);
    if (size < total || !entry_holds(&entry, data_end))
        return 0;
    if ((entry.flags & BC_RECORD_EXPIRES) != 0) {
        entry.expire_at_ms = (int64_t)bc_get_u64(p + BC_HINT_ENTRY);
        if (entry.expire_at_ms <= 0)
            return 0;
    }
    entry.key = p + total - entry.key_size;
    *e = entry;
    return total;
}
