/* attr.h - compiler attributes and small arithmetic used by every layer. No state, no I/O. */
#ifndef BC_ATTR_H
#define BC_ATTR_H

#include <stddef.h>
#include <stdint.h>

/* A result that is dropped is a lost error: everything that can fail carries this. */
#define bc_must_check __attribute__((warn_unused_result))
#define bc_printf(fmt, args) __attribute__((format(printf, fmt, args)))
#define bc_likely(x) __builtin_expect(!!(x), 1)
#define bc_unlikely(x) __builtin_expect(!!(x), 0)

#define BC_CACHE_LINE 64
#define BC_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BC_MIN(a, b) ((a) < (b) ? (a) : (b))
#define BC_MAX(a, b) ((a) > (b) ? (a) : (b))

/* Rounds up to a power of two; the caller knows that the sum does not overflow. */
static inline uint64_t bc_align_up(uint64_t n, uint64_t power_of_two)
{
    return (n + power_of_two - 1) & ~(power_of_two - 1);
}

#endif
