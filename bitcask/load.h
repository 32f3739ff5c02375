/* load.h - filling the KeyDir at open: every listed file by its hint, or by a scan where it has no valid one.
 *
 * Files load in any order, on several threads: sequences decide which record of a key is the newest. With salvage a damaged
 * newest record may leave an older one to be found.
 */
#ifndef BC_LOAD_H
#define BC_LOAD_H

#include "bitcask/filetable.h"
#include "bitcask/hintfile.h"
#include "bitcask/keydir.h"

/* One file of a load that does not take all: from BC_DATA_START, or from where an earlier load of it ended. */
struct bc_load_part {
    struct bc_file *file;
    uint64_t from, until;
};

struct bc_load {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_filetable *files;
    struct bc_keydir *keydir;
    const struct bc_health *health;
    uint64_t ceiling; /* the MANIFEST's: no record may have it or more */
    unsigned threads;
    bool salvage;                     /* goes on behind damage and without files that cannot be read */
    const struct bc_load_part *parts; /* for bc_load_parts() */
    uint32_t count;
    bitcask_progress_fn progress;
    void *progress_ctx;
};

/* Loads every file of the table and counts what is live in each. Nobody else has the handle yet. OK, CORRUPT (a record whose
 * key cannot be known: names file and offset), IO, NO_MEMORY,
 * CANCELLED. */
int bc_load(struct bc_load *) bc_must_check;

/* Loads only the parts, into a KeyDir where they stand alone: between load_begin and load_end, which are the caller's. Counts
 * nothing. As bc_load(). */
int bc_load_parts(struct bc_load *) bc_must_check;

#endif
