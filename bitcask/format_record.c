#include "bitcask/format_record.h"

#include "bitcask/coding.h"
#include "bitcask/crc.h"
#include "bitcask/format_data.h"

#define MANTISSA_BITS 11U

_Static_assert(BC_RECORD_HEADER % BC_RECORD_ALIGN == 0 && BC_RECORD_EXPIRY % BC_RECORD_ALIGN == 0, "header keeps alignment");

uint64_t bc_record_footprint(const struct bc_record *r)
{
    uint64_t bytes = bc_record_head_size(r) + r->key_size + (uint64_t)r->value_size;
    uint64_t units = (bytes + BC_RECORD_ALIGN - 1) / BC_RECORD_ALIGN;
    /* Rounding up may carry into the next power of two: that count has one significant bit. */
    if (units >> MANTISSA_BITS != 0)
        units = bc_align_up(units, (uint64_t)1 << (64 - (unsigned)__builtin_clzll(units) - MANTISSA_BITS));
    return units * BC_RECORD_ALIGN;
}

uint16_t bc_footprint_encode(uint64_t footprint)
{
    uint64_t units = footprint / BC_RECORD_ALIGN;
    if (units >> MANTISSA_BITS == 0)
        return (uint16_t)units;
    unsigned exponent = 64 - (unsigned)__builtin_clzll(units) - MANTISSA_BITS;
    return (uint16_t)(exponent << MANTISSA_BITS | units >> exponent);
}

uint64_t bc_footprint_decode(uint16_t code)
{
    uint64_t mantissa = code & ((1U << MANTISSA_BITS) - 1);
    return (mantissa << (code >> MANTISSA_BITS)) * BC_RECORD_ALIGN;
}

uint32_t bc_record_seed(uint64_t nonce, uint64_t offset)
{
    /* The multiplier is odd: within 32 GiB no two offsets of a file share a seed. */
    return (uint32_t)(nonce ^ nonce >> 32) ^ (uint32_t)(offset >> 3) * 0x9E3779B1U;
}

void bc_record_encode(void *dst, const struct bc_record *r, uint32_t seed, const void *key, const void *value)
{
    bc_record_encode_head(dst, r, seed, key, bc_crc32(~seed, value, r->value_size));
}

void bc_record_encode_head(void *dst, const struct bc_record *r, uint32_t seed, const void *key, uint32_t value_crc)
{
    uint8_t *p = dst;
    size_t head = bc_record_head_size(r);
    bc_put_u32(p + 4, value_crc);
    bc_put_u64(p + 8, r->sequence);
    bc_put_u32(p + 16, r->value_size);
    bc_put_u16(p + 20, r->key_size);
    p[22] = r->type;
    p[23] = r->flags;
    if (head != BC_RECORD_HEADER)
        bc_put_u64(p + BC_RECORD_HEADER, (uint64_t)r->expire_at_ms);
    uint32_t crc;
    if (key == p + head) {
        crc = bc_crc32(seed, p + 4, head - 4 + r->key_size);
    } else {
        crc = bc_crc32(seed, p + 4, head - 4);
        crc = bc_crc32(crc, key, r->key_size);
    }
    bc_put_u32(p, crc);
}

static void get_fixed(struct bc_record *r, const uint8_t *p)
{
    r->head_crc = bc_get_u32(p);
    r->value_crc = bc_get_u32(p + 4);
    r->sequence = bc_get_u64(p + 8);
    r->value_size = bc_get_u32(p + 16);
    r->key_size = bc_get_u16(p + 20);
    r->type = p[22];
    r->flags = p[23];
    r->expire_at_ms = 0;
}

/* What the fixed header alone can tell; it stands before the CRC check so that no nonsense size is ever followed. */
static bool rules_hold(const struct bc_record *r)
{
    if (r->sequence == 0)
        return false;
    switch (r->type) {
    case BC_RECORD_PUT:
        return (r->flags & ~BC_RECORD_EXPIRES) == 0 && r->key_size != 0 && r->value_size <= BC_VALUE_MAX;
    case BC_RECORD_TOMBSTONE:
        return r->flags == 0 && r->key_size != 0 && r->value_size == 0;
    case BC_RECORD_BATCH:
        return r->flags == 0 && r->key_size == 0 && r->value_size == BC_BATCH_VALUE;
    case BC_RECORD_LINK:
        return r->flags == 0 && r->key_size == 0 && r->value_size == BC_LINK_VALUE;
    default:
        return false;
    }
}

enum bc_record_check bc_record_decode(struct bc_record *ret, const void *src, size_t size, uint32_t seed)
{
    const uint8_t *p = src;
    if (bc_unlikely(size < BC_RECORD_HEADER))
        return BC_RECORD_SHORT;
    struct bc_record r;
    get_fixed(&r, p);
    if (bc_unlikely(!rules_hold(&r)))
        return BC_RECORD_BAD;
    size_t covered = bc_record_head_size(&r) + r.key_size;
    if (bc_unlikely(size < covered))
        return BC_RECORD_SHORT;
    if ((r.flags & BC_RECORD_EXPIRES) != 0) {
        r.expire_at_ms = (int64_t)bc_get_u64(p + BC_RECORD_HEADER);
        if (r.expire_at_ms <= 0)
            return BC_RECORD_BAD;
    }
    if (bc_unlikely(bc_crc32(seed, p + 4, covered - 4) != r.head_crc))
        return BC_RECORD_BAD;
    *ret = r;
    return BC_RECORD_OK;
}

bool bc_record_peek(struct bc_record *ret, const void *src, size_t size)
{
    struct bc_record r;
    if (size < BC_RECORD_HEADER)
        return false;
    get_fixed(&r, src);
    if (!rules_hold(&r))
        return false;
    *ret = r;
    return true;
}

bool bc_record_value_ok(const struct bc_record *r, const void *value, uint32_t seed)
{
    return bc_crc32(~seed, value, r->value_size) == r->value_crc;
}

void bc_batch_encode(void *dst, uint32_t count, uint64_t bytes)
{
    uint8_t *p = dst;
    bc_put_u32(p, count);
    bc_put_u32(p + 4, 0);
    bc_put_u64(p + 8, bytes);
}

bool bc_batch_decode(const void *src, uint32_t *ret_count, uint64_t *ret_bytes)
{
    const uint8_t *p = src;
    uint32_t count = bc_get_u32(p);
    uint64_t bytes = bc_get_u64(p + 8);
    if (count == 0 || bc_get_u32(p + 4) != 0 || bytes % BC_RECORD_ALIGN != 0)
        return false;
    /* The smallest operation is a header and one byte of key. */
    if (bytes / (BC_RECORD_HEADER + BC_RECORD_ALIGN) < count)
        return false;
    *ret_count = count;
    *ret_bytes = bytes;
    return true;
}

void bc_link_encode(void *dst, const struct bc_link *link)
{
    uint8_t *p = dst;
    bc_put_u64(p, link->id);
    bc_put_u64(p + 8, link->nonce);
    bc_put_u64(p + 16, link->end);
    bc_put_u64(p + 24, 0);
}

bool bc_link_decode(const void *src, struct bc_link *ret)
{
    const uint8_t *p = src;
    struct bc_link link = {bc_get_u64(p), bc_get_u64(p + 8), bc_get_u64(p + 16)};
    if (bc_get_u64(p + 24) != 0)
        return false;
    if (link.id == 0 ? (link.nonce | link.end) != 0 : link.end < BC_DATA_START || link.end % BC_RECORD_ALIGN != 0)
        return false;
    *ret = link;
    return true;
}
