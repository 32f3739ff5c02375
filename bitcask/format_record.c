#include "bitcask/format_record.h"

#include "bitcask/format_data.h"

_Static_assert(BC_RECORD_HEADER % BC_RECORD_ALIGN == 0 && BC_RECORD_EXPIRY % BC_RECORD_ALIGN == 0, "header keeps alignment");

uint16_t bc_footprint_encode(uint64_t footprint)
{
    uint64_t units = footprint / BC_RECORD_ALIGN;
    if (units >> BC_MANTISSA_BITS == 0)
        return (uint16_t)units;
    unsigned exponent = 64 - (unsigned)__builtin_clzll(units) - BC_MANTISSA_BITS;
    return (uint16_t)(exponent << BC_MANTISSA_BITS | units >> exponent);
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

bool bc_record_peek(struct bc_record *ret, const void *src, size_t size)
{
    struct bc_record r;
    if (size < BC_RECORD_HEADER)
        return false;
    bc_record_get_fixed(&r, src);
    if (!bc_record_rules_hold(&r))
        return false;
    *ret = r;
    return true;
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
