/* backup_internal.h - what the files of a backup share: its moment, its destination, its files.
 *
 * Order, which a crash forces:
 *   1. The destination's MANIFEST says that files may come: an empty directory gets one that is no store (unfinished); that of
 *      an earlier backup is written again with the source's ceiling and next id. So what stands in the directory from here on
 *      is explained by it, and the earlier backup stays valid.
 *   2. Files come under temporary names, synced if they are copies, and are renamed. One that replaces a shorter copy of the
 *      same file has the same bytes below the end that the earlier backup knows.
 *   3. All that came is read back; the directory is synced.
 *   4. The new MANIFEST: the commit. What it does not list is unlinked after it.
 *
 * A link shares an inode with the source, so only what neither side ever writes is linked: a file that is sealed, and not one
 * that a clean close left for the next writer to go on in.
 */
#ifndef BC_BACKUP_INTERNAL_H
#define BC_BACKUP_INTERNAL_H

#include "bitcask/db.h"

#define BC_BACKUP_BUFFER (1U << 20)

struct bc_backup_file {
    struct bc_manifest_file listed; /* sealed, as the copy will list it */
    struct bc_file *file;           /* of a read-only source: it keeps them all open */
    bool changes;                   /* a writer may go on in it: never linked */
    bool came;                      /* with this run: to be read back */
    bool linked;
};

struct bc_backup {
    bitcask *db;
    const bitcask_allocator *allocator;
    bitcask_backup_options options;
    bitcask_backup_result done;
    /* The moment. */
    struct bc_manifest point; /* without its files */
    struct bc_backup_file *files;
    size_t count;
    /* The destination. */
    struct bc_directory dir;
    struct bc_manifest before; /* what is durable there */
    bool new_directory;        /* it has no MANIFEST yet */
    bool in_doubt;             /* two MANIFESTs may be the durable one: nothing may be unlinked */
    bool no_links;             /* none is wanted, or none can be made between these directories */
    char *buffer;
    uint64_t progress_done, progress_total;
};

/* Tells progress of bytes that were dealt with. OK, CANCELLED. */
int bc_backup_step(struct bc_backup *, const char *phase, uint64_t bytes) bc_must_check;

/* ---- backup_point.c ---- */

/* Under the merge lock: what the store consists of at this moment. OK, NO_MEMORY, POISONED. */
int bc_backup_take_point(struct bc_backup *) bc_must_check;

/* ---- backup_target.c ---- */

/* Opens and locks the destination and checks that a backup of this store may go there. OK, CONDITION, LOCKED, INVALID, CORRUPT,
 * UNSUPPORTED, IO. */
int bc_backup_open_target(struct bc_backup *) bc_must_check;
/* Step 1. OK, CONDITION (an id stands for two files), NO_SPACE, IO. */
int bc_backup_announce(struct bc_backup *) bc_must_check;
/* Whether the earlier backup, which was checked, lists this file up to the same end or a later one. */
bool bc_backup_knows(const struct bc_backup *, const struct bc_manifest_file *);
/* Step 4. */
int bc_backup_commit(struct bc_backup *) bc_must_check;
/* After a failure: takes away what came and would only be in the way. */
void bc_backup_give_up(struct bc_backup *, int result);
void bc_backup_close_target(struct bc_backup *);

/* ---- backup_place.c ---- */

/* Step 2, of one file and its hint. */
int bc_backup_place(struct bc_backup *, struct bc_backup_file *) bc_must_check;

/* ---- backup_check.c ---- */

/* Step 3, but for the directory. OK, CORRUPT (names file and offset), IO, NO_MEMORY, CANCELLED. */
int bc_backup_check(struct bc_backup *) bc_must_check;

#endif
