#include "bitcask/format_data.h"

#include "bitcask/coding.h"
#include "bitcask/crc.h"
#include "bitcask/format_record.h"

#define HEADER_INPUTS 80U
#define HEADER_CRC (BC_DATA_HEADER_SIZE - 4U)

static const char header_magic[8] = {'\x89', 'B', 'C', 'D', 'A', 'T', 'A', '\n'};
static const char mark_magic[4] = {'M', 'A', 'R', 'K'};

_Static_assert(HEADER_INPUTS + BC_DATA_INPUTS_MAX * 16 <= HEADER_CRC, "the inputs fit into the header's page");
_Static_assert(BC_DATA_MARK_OFFSET + 2 * BC_DATA_MARK_SECTOR <= BC_DATA_START, "the mark lies before the records");

void bc_data_header_encode(void *dst, const struct bc_data_header *h)
{
    uint8_t *p = dst;
    memset(p, 0, BC_DATA_HEADER_SIZE);
    memcpy(p, header_magic, sizeof header_magic);
    bc_put_u32(p + 8, BC_FORMAT_VERSION);
    bc_put_u32(p + 12, BC_DATA_HEADER_SIZE);
    bc_put_u64(p + 24, h->name.id);
    bc_put_u64(p + 32, h->name.nonce);
    memcpy(p + 40, h->store.bytes, sizeof h->store.bytes);
    bc_put_u64(p + 56, (uint64_t)h->created_ms);
    bc_put_u64(p + 64, h->cleared_below);
    bc_put_u32(p + 72, h->input_count);
    bc_put_u32(p + 76, h->kind);
    for (uint32_t i = 0; i < h->input_count; i++) {
        bc_put_u64(p + HEADER_INPUTS + 16 * (size_t)i, h->inputs[i].id);
        bc_put_u64(p + HEADER_INPUTS + 16 * (size_t)i + 8, h->inputs[i].nonce);
    }
    bc_put_u32(p + HEADER_CRC, bc_crc32(0, p, HEADER_CRC));
}

static bool header_fields(struct bc_data_header *h, const uint8_t *p)
{
    memset(h, 0, sizeof *h);
    h->name.id = bc_get_u64(p + 24);
    h->name.nonce = bc_get_u64(p + 32);
    memcpy(h->store.bytes, p + 40, sizeof h->store.bytes);
    h->created_ms = (int64_t)bc_get_u64(p + 56);
    h->cleared_below = bc_get_u64(p + 64);
    h->input_count = bc_get_u32(p + 72);
    h->kind = bc_get_u32(p + 76);
    if (bc_get_u32(p + 12) != BC_DATA_HEADER_SIZE || h->name.id == 0 || h->cleared_below > h->name.id)
        return false;
    if (h->kind != BC_DATA_KIND_LOG && h->kind != BC_DATA_KIND_MERGE)
        return false;
    if (h->input_count > (h->kind == BC_DATA_KIND_MERGE ? BC_DATA_INPUTS_MAX : 0))
        return false;
    for (uint32_t i = 0; i < h->input_count; i++) {
        h->inputs[i].id = bc_get_u64(p + HEADER_INPUTS + 16 * (size_t)i);
        h->inputs[i].nonce = bc_get_u64(p + HEADER_INPUTS + 16 * (size_t)i + 8);
        if (h->inputs[i].id == 0 || h->inputs[i].id >= h->name.id)
            return false;
    }
    return true;
}

enum bc_format_check bc_data_header_decode(struct bc_data_header *ret, const void *src)
{
    const uint8_t *p = src;
    if (memcmp(p, header_magic, sizeof header_magic) != 0)
        return BC_FORMAT_BAD;
    if (bc_crc32(0, p, HEADER_CRC) != bc_get_u32(p + HEADER_CRC))
        return BC_FORMAT_BAD;
    if (bc_get_u32(p + 8) != BC_FORMAT_VERSION || bc_get_u32(p + 20) != 0)
        return BC_FORMAT_UNSUPPORTED;
    struct bc_data_header h;
    if (!header_fields(&h, p))
        return BC_FORMAT_BAD;
    *ret = h;
    return BC_FORMAT_OK;
}

static uint32_t mark_seed(uint64_t nonce)
{
    return (uint32_t)(nonce ^ nonce >> 32);
}

void bc_mark_encode(void *dst, uint64_t nonce, uint64_t counter, uint64_t offset)
{
    uint8_t *p = dst;
    memcpy(p + 4, mark_magic, sizeof mark_magic);
    bc_put_u64(p + 8, counter);
    bc_put_u64(p + 16, offset);
    bc_put_u64(p + 24, 0);
    bc_put_u32(p, bc_crc32(mark_seed(nonce), p + 4, BC_DATA_MARK_SIZE - 4));
}

bool bc_mark_decode(const void *src, uint64_t nonce, uint64_t *ret_counter, uint64_t *ret_offset)
{
    /* One copy: the page may be mapped and stored to by the writer while a reader looks. */
    uint8_t p[BC_DATA_MARK_SIZE];
    memcpy(p, src, sizeof p);
    uint64_t offset = bc_get_u64(p + 16);
    if (memcmp(p + 4, mark_magic, sizeof mark_magic) != 0)
        return false;
    if (bc_crc32(mark_seed(nonce), p + 4, BC_DATA_MARK_SIZE - 4) != bc_get_u32(p))
        return false;
    if (offset < BC_DATA_START || offset % BC_RECORD_ALIGN != 0 || bc_get_u64(p + 24) != 0)
        return false;
    *ret_counter = bc_get_u64(p + 8);
    *ret_offset = offset;
    return true;
}
