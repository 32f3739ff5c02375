/* format_record.h - one record of a data file: bytes in, struct out. Pure; any thread. docs/format.md is normative.
 *
 *     0  u32  head CRC      over bytes 4 .. end of the key (header, expiry, key), seeded
 *     4  u32  value CRC     over the value, seeded; a damaged value does not hide whose it is
 *     8  u64  sequence
 *    16  u32  value size
 *    20  u16  key size
 *    22  u8   type
 *    23  u8   flags
 *    24  i64  expiry, Unix ms, only with BC_RECORD_EXPIRES
 *     ..      key, value, zeros up to the footprint
 *
 * Seeds come from the file's nonce and the record's offset, so a stale, misplaced or embedded copy never passes.
 */
#ifndef BC_FORMAT_RECORD_H
#define BC_FORMAT_RECORD_H

#include "bitcask/attr.h"
#include "bitcask/coding.h"
#include "bitcask/crc.h"

#include <stdbool.h>

#define BC_RECORD_HEADER 24U
#define BC_RECORD_EXPIRY 8U
#define BC_RECORD_ALIGN 8U

#define BC_KEY_MAX 65535U
#define BC_VALUE_MAX (UINT32_MAX - 131071U) /* 4 GiB - 128 KiB */

/* Types. 0 is never valid: zeros are no record. */
#define BC_RECORD_PUT 1
#define BC_RECORD_TOMBSTONE 2
#define BC_RECORD_BATCH 3 /* frame: value = u32 count, u32 zero, u64 bytes of the records that follow; no key */
#define BC_RECORD_LINK 4  /* first record of a log file: value = u64 id, u64 nonce, u64 end of the previous file, u64 zero */

#define BC_RECORD_EXPIRES 1U /* flags */

#define BC_MANTISSA_BITS 11U

#define BC_BATCH_VALUE 16U
#define BC_LINK_VALUE 32U
#define BC_LINK_FOOTPRINT (BC_RECORD_HEADER + BC_LINK_VALUE)

struct bc_record {
    uint64_t sequence;
    int64_t expire_at_ms; /* 0 without BC_RECORD_EXPIRES */
    uint32_t value_size;
    uint16_t key_size;
    uint8_t type;
    uint8_t flags;
    uint32_t head_crc, value_crc; /* as stored; set by decode */
};

struct bc_link {
    uint64_t id, nonce, end; /* all zero: no previous file */
};

/* Bytes of header and expiry: where the key starts. */
static inline size_t bc_record_head_size(const struct bc_record *r)
{
    return BC_RECORD_HEADER + ((r->flags & BC_RECORD_EXPIRES) != 0 ? BC_RECORD_EXPIRY : 0);
}

/* The footprint of a record: its bytes rounded up so that a 16-bit code says it exactly. Units of 8 bytes; below 2048 units
 * every count is representable, above it counts with 11 significant bits are (at most 0.1 % more). */
static inline uint64_t bc_record_footprint(const struct bc_record *r)
{
    uint64_t bytes = bc_record_head_size(r) + r->key_size + (uint64_t)r->value_size;
    uint64_t units = (bytes + BC_RECORD_ALIGN - 1) / BC_RECORD_ALIGN;
    /* Rounding up may carry into the next power of two: that count has one significant bit. */
    if (units >> BC_MANTISSA_BITS != 0)
        units = bc_align_up(units, (uint64_t)1 << (64 - (unsigned)__builtin_clzll(units) - BC_MANTISSA_BITS));
    return units * BC_RECORD_ALIGN;
}

/* code = e << 11 | m: footprint = (m << e) * 8 bytes. Only for footprints; inverse of each other. */
uint16_t bc_footprint_encode(uint64_t footprint);

static inline uint64_t bc_footprint_decode(uint16_t code)
{
    uint64_t mantissa = code & ((1U << BC_MANTISSA_BITS) - 1);
    return (mantissa << (code >> BC_MANTISSA_BITS)) * BC_RECORD_ALIGN;
}

/* The CRC seed of a record. */
static inline uint32_t bc_record_seed(uint64_t nonce, uint64_t offset)
{
    /* The multiplier is odd: within 32 GiB no two offsets of a file share a seed. */
    return (uint32_t)(nonce ^ nonce >> 32) ^ (uint32_t)(offset >> 3) * 0x9E3779B1U;
}

/* Writes header and expiry (bc_record_head_size bytes) to dst, with both CRCs. key and value are read where they are: they may
 * already lie behind dst. The fields head_crc and value_crc of r are ignored. */
void bc_record_encode(void *dst, const struct bc_record *r, uint32_t seed, const void *key, const void *value);
/* The same where the value goes by in pieces: value_crc is its CRC from ~seed on. */
void bc_record_encode_head(void *dst, const struct bc_record *r, uint32_t seed, const void *key, uint32_t value_crc);

/* The same where the value is not in memory as a whole: value_crc is bc_crc32(~seed, value). */
void bc_record_encode_head(void *dst, const struct bc_record *r, uint32_t seed, const void *key, uint32_t value_crc);

enum bc_record_check {
    BC_RECORD_OK,    /* head is good */
    BC_RECORD_SHORT, /* size bytes do not hold header, expiry and key: more are needed, or the file ends */
    BC_RECORD_BAD    /* no record: unknown type or flags, sizes against the type's rules, or head CRC wrong */
};

static inline void bc_record_get_fixed(struct bc_record *r, const uint8_t *p)
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
static inline bool bc_record_rules_hold(const struct bc_record *r)
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

/* Decodes and checks the head (header, expiry, key) at src, of which size bytes may be read. The value is not touched.
 * On OK *ret is filled in and the key lies at src + bc_record_head_size(ret). */
static inline enum bc_record_check bc_record_decode(struct bc_record *ret, const void *src, size_t size, uint32_t seed)
{
    const uint8_t *p = src;
    if (bc_unlikely(size < BC_RECORD_HEADER))
        return BC_RECORD_SHORT;
    struct bc_record r;
    bc_record_get_fixed(&r, p);
    if (bc_unlikely(!bc_record_rules_hold(&r)))
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

/* Decodes the fixed header only, with no CRC check: for readers that must know the sizes before they can fetch the rest. */
bool bc_record_peek(struct bc_record *ret, const void *src, size_t size);

/* Whether the value's bytes are the ones that were written. */
static inline bool bc_record_value_ok(const struct bc_record *r, const void *value, uint32_t seed)
{
    return bc_crc32(~seed, value, r->value_size) == r->value_crc;
}

/* Values of the two service records. decode: false if the bytes break a rule of the format. */
void bc_batch_encode(void *dst, uint32_t count, uint64_t bytes);
bool bc_batch_decode(const void *src, uint32_t *ret_count, uint64_t *ret_bytes);
void bc_link_encode(void *dst, const struct bc_link *link);
bool bc_link_decode(const void *src, struct bc_link *ret);

#endif
