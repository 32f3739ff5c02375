/* hash.h - SipHash-1-3, keyed: keys of the store may be chosen by an attacker. Pure; any thread.
 * Source: Aumasson, Bernstein, "SipHash: a fast short-input PRF" (2012), with 1 compression and 3 finalisation rounds. */
#ifndef BC_HASH_H
#define BC_HASH_H

#include "bitcask/attr.h"

struct bc_hash_secret {
    uint64_t k0, k1;
};

uint64_t bc_hash(const struct bc_hash_secret *, const void *data, size_t size);

#endif
