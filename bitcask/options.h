/* options.h - the options of the public calls: struct_size negotiation, defaults, limits. Pure; any thread. */
#ifndef BC_OPTIONS_H
#define BC_OPTIONS_H

#include "bitcask/attr.h"
#include "bitcask/bitcask.h"
#include "bitcask/format_record.h"

/* *ret is given (or NULL) with every default filled in and every rule checked. OK, INVALID, UNSUPPORTED. */
int bc_options_resolve(const bitcask_options *given, bitcask_options *ret) bc_must_check;

/* allowed: the flags that the call knows. OK, INVALID, UNSUPPORTED. */
int bc_put_options_resolve(const bitcask_put_options *given, uint32_t allowed, bitcask_put_options *ret) bc_must_check;

/* Whether a time can be an expiry: 0, or Unix milliseconds that are not seconds by mistake. OK, INVALID. */
int bc_expiry_check(int64_t expire_at_ms) bc_must_check;
/* OK, INVALID, TOO_LARGE. */
static inline bool bc_key_good(const void *key, size_t key_size)
{
    return key != NULL && key_size - 1 < BC_KEY_MAX;
}

/* The same, and says what is wrong. */
int bc_key_check(const void *key, size_t key_size) bc_must_check;
int bc_value_check(const void *value, size_t value_size) bc_must_check;

/* Takes an options struct of another version in: what the caller's lacks is zero, what it has beyond ours must be zero. OK,
 * INVALID, UNSUPPORTED. */
int bc_options_take(const void *given, size_t given_size, void *ret, size_t size, const char *name) bc_must_check;

/* Before long work, and before what cannot be taken back: whether the caller's result struct (NULL: none) has its size. OK,
 * INVALID. */
int bc_result_check(const void *ret) bc_must_check;
/* Copies what the caller's result struct has room for: struct_size bytes, the size itself left as it is. OK, INVALID. */
int bc_result_copy(void *ret, const void *result, size_t result_size) bc_must_check;

#endif
