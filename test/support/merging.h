/* merging.h - what the tests of merge share: files sealed on demand, their ids, what stands in them record by record. */
#ifndef TEST_SUPPORT_MERGING_H
#define TEST_SUPPORT_MERGING_H

#include "bitcask/db.h"
#include "test/support/store.h"

/* As store_options(), without anything in the background: what merges is the test. */
bitcask_options merging_options(int mode);

/* Ends the active file and returns its id. Asserts that it had an operation. */
uint64_t merging_seal(bitcask *);
bool merging_has_file(bitcask *, uint64_t id);
bool merging_is_barred(bitcask *, uint64_t id);

/* The store's result. */
int merging_file(bitcask *, uint64_t id, bitcask_merge_result *ret_or_null);
bitcask_merge_result merging_all(bitcask *); /* asserts OK */

/* One pass of the sweep over all keys. */
void merging_sweep(bitcask *);

bitcask_stats merging_stats(bitcask *);

/* All data files of a directory, read from the first record to the last byte, of a store that is closed. Asserts that every
 * byte belongs to a valid record. */
struct merging_census {
    unsigned files, puts, tombstones, batches, links;
    uint64_t sequences; /* the sum of all of puts and tombstones */
};
struct merging_census merging_count(const char *dir);
/* Where the n-th put or tombstone (from 0) of a file begins and ends, and how long its head, key and value are. */
struct merging_record {
    long offset;
    size_t head_size, key_size, value_size;
};
struct merging_record merging_nth(const char *path, unsigned n);

#endif
