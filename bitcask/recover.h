/* recover.h - where the log ends: after anything but a clean close the last one or two data files are listed open, and what
 * their tails hold decides what is in the store.
 *
 * Nothing is modified here. The ends that are found become facts with the MANIFEST that the caller commits; until then the same
 * recovery finds the same ends again, however often it is cut off.
 */
#ifndef BC_RECOVER_H
#define BC_RECOVER_H

#include "bitcask/directory.h"
#include "bitcask/format_manifest.h"
#include "bitcask/format_record.h"
#include "bitcask/health.h"

#define BC_OPEN_FILES_MAX 2U

/* How far the walk over an open file came: where the next one may go on. */
struct bc_tail {
    struct bc_file_name name; /* id 0: none */
    uint64_t end;             /* behind the last whole record or batch */
    uint64_t last_offset;     /* of the record before it, 0: none; its sequence: */
    uint64_t last_sequence;
    uint64_t operations, min_sequence, max_sequence;
    bool linked;
    struct bc_link link;
};

struct bc_recovery {
    bool changed;                        /* the MANIFEST has ends or files that the durable one has not */
    size_t open_count;                   /* files that were listed open */
    uint64_t open[BC_OPEN_FILES_MAX];    /* their ids */
    size_t dropped_count;                /* files that left it: empty, or void behind a predecessor's cut */
    uint64_t dropped[BC_OPEN_FILES_MAX]; /* their ids */
    uint64_t cut_bytes;                  /* of torn tail, zeros not counted */
    struct bc_tail tails[BC_OPEN_FILES_MAX];
};

/* For salvage: every open entry is sealed where its file ends, whatever it holds; every sealed one ends no further than that.
 */
void bc_recover_nothing(const struct bc_directory *, struct bc_manifest *m);

/* Turns every open entry of m into a sealed one, or drops it. read_only: a writer may be at work, so the files are taken as far
 * as they are good now, and nothing is synced. OK, CORRUPT (damage below what was known durable: names file and offset), IO,
 * NO_MEMORY, UNSUPPORTED. */
int bc_recover(const struct bc_directory *, const bitcask_allocator *, const struct bc_health *, bool read_only,
               struct bc_manifest *m, struct bc_recovery *ret) bc_must_check;
/* The same, read-only, going on where an earlier walk ended. The caller has seen that its last records still stand there. */
int bc_recover_on(const struct bc_directory *, const bitcask_allocator *, const struct bc_health *,
                  const struct bc_tail before[BC_OPEN_FILES_MAX], struct bc_manifest *m, struct bc_recovery *ret) bc_must_check;

#endif
