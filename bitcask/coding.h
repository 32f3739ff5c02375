/* coding.h - little-endian loads and stores at any alignment. The files are little-endian on every machine. */
#ifndef BC_CODING_H
#define BC_CODING_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#define BC_LE16(x) __builtin_bswap16(x)
#define BC_LE32(x) __builtin_bswap32(x)
#define BC_LE64(x) __builtin_bswap64(x)
#else
#define BC_LE16(x) (x)
#define BC_LE32(x) (x)
#define BC_LE64(x) (x)
#endif

static inline uint16_t bc_get_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return BC_LE16(v);
}

static inline uint32_t bc_get_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return BC_LE32(v);
}

static inline uint64_t bc_get_u64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return BC_LE64(v);
}

static inline void bc_put_u16(void *p, uint16_t v)
{
    v = BC_LE16(v);
    memcpy(p, &v, sizeof v);
}

static inline void bc_put_u32(void *p, uint32_t v)
{
    v = BC_LE32(v);
    memcpy(p, &v, sizeof v);
}

static inline void bc_put_u64(void *p, uint64_t v)
{
    v = BC_LE64(v);
    memcpy(p, &v, sizeof v);
}

#endif
