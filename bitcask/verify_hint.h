/* verify_hint.h - a hint file against its data file, in both directions: each entry must be a record of the data file, and each
 * record's key must have an entry with its sequence or a higher one.
 *
 * The hint is read as a whole; a walk of the data file runs beside it. Memory: the hint, and 16 bytes for each key that has a
 * record without an entry. One thread at a time.
 */
#ifndef BC_VERIFY_HINT_H
#define BC_VERIFY_HINT_H

#include "bitcask/findings.h"
#include "bitcask/format_hint.h"
#include "bitcask/hash.h"
#include "bitcask/scan.h"
#include "bitcask/verify_walk.h"

struct bc_unhinted {
    uint64_t hash;
    uint64_t sequence; /* the highest of a record without an entry; 0: none, or an entry was found */
    uint64_t offset;
};

struct bc_hint_check {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_findings *findings;
    struct bc_file_name file;
    uint64_t end; /* of the data file */
    char name[BC_NAME_SIZE];
    bool present; /* there is a hint file, and not one of an earlier end of the data file */
    bool usable;  /* it is this data file's, and intact */
    struct bc_hint_header header;
    char *entries; /* without block headers, one behind the other */
    size_t size;
    uint64_t *places; /* of the entries, by offset in the data file; NULL: they are in that order already */
    uint64_t count, taken;
    size_t cursor; /* in entries, where places is NULL */
    struct bc_hint_entry next;
    bool has_next;
    struct bc_hash_secret secret;
    struct bc_unhinted *unhinted;
    size_t unhinted_capacity, unhinted_count;
    bool pending; /* some record has no entry */
    bool truthful;
    uint64_t gap_start, gap_end; /* the last place where the data file is damaged */
    bool ordered;                /* a log file: what stood in a gap had a sequence between those around it */
    uint64_t before;             /* sequence of the last record */
};

/* Reads the hint of (file, end). One that is absent is no finding; a damaged one is a warning. OK, NO_MEMORY, IO (random). */
int bc_hint_check_start(struct bc_hint_check *, const struct bc_directory *, const bitcask_allocator *, struct bc_findings *,
                        const struct bc_file_name *, uint64_t end) bc_must_check;
/* In the order of the walk: a put or tombstone, or a place without a record. OK, NO_MEMORY. */
int bc_hint_check_record(struct bc_hint_check *, const struct bc_scan *) bc_must_check;
void bc_hint_check_gap(struct bc_hint_check *, uint64_t offset, uint64_t size);
/* After the walk: what is left on either side, and the counters. whole: the walk met no damage, so min and max are true. */
void bc_hint_check_finish(struct bc_hint_check *, const struct bc_walk *, bool whole);
void bc_hint_check_free(struct bc_hint_check *);

/* The entries of an intact hint, for repair: i from 0 to count. */
void bc_hint_check_entry(const struct bc_hint_check *, uint64_t i, size_t *cursor, struct bc_hint_entry *ret);

#endif
