/* manifest.h - the MANIFEST of an open store: the one truth about which data files it consists of, and how it is replaced.
 *
 * Lock: manifest, held from bc_manifest_begin() to commit or abort, across the I/O of one replacement. Rank: right of merge,
 * left of main and wal.
 *
 * Crash order of a replacement: MANIFEST.tmp is written and synced, renamed over MANIFEST, the directory synced. A failure
 * before the rename leaves the old truth, and the caller drops what it had made for the new one. A failure of the rename or of
 * the directory sync leaves two possible truths: the health is poisoned, and nothing that either of them lists may be unlinked
 * or written.
 */
#ifndef BC_MANIFEST_H
#define BC_MANIFEST_H

#include <pthread.h>
#include <stdatomic.h>

#include "bitcask/directory.h"
#include "bitcask/format_manifest.h"
#include "bitcask/health.h"

#define BC_CEILING_STEP (1ULL << 32) /* every MANIFEST leaves room for this many sequences at least */

struct bc_manifest_keeper {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_health *health;
    pthread_mutex_t mutex;
    struct bc_manifest current;      /* under mutex: what is durable */
    _Atomic uint64_t ceiling;        /* of current: no sequence at or above it may be handed out */
    _Atomic uint64_t *next_sequence; /* borrowed; read when a ceiling is chosen */
};

/* Reads and checks the MANIFEST of a directory. *ret->files is the caller's. OK, NOT_FOUND, CORRUPT, UNSUPPORTED (an unfinished
 * backup, too), IO. */
int bc_manifest_read(const struct bc_directory *, const bitcask_allocator *, struct bc_manifest *ret,
                     int *ret_damaged_copies) bc_must_check;
/* The same, of an unfinished backup, too. */
int bc_manifest_read_backup(const struct bc_directory *, const bitcask_allocator *, struct bc_manifest *ret) bc_must_check;
/* Replaces the MANIFEST of a directory, durably. *ret_unknown: NULL, or what failed of the rename and the sync behind it: then
 * either MANIFEST may be the durable one. OK, NO_SPACE, IO, NO_MEMORY. */
int bc_manifest_write(const struct bc_directory *, const bitcask_allocator *, const struct bc_manifest *,
                      const char **ret_unknown) bc_must_check;
void bc_manifest_free(const bitcask_allocator *, struct bc_manifest *);

/* current is taken over. */
int bc_manifest_keeper_init(struct bc_manifest_keeper *, const struct bc_directory *, const bitcask_allocator *,
                            struct bc_health *, _Atomic uint64_t *next_sequence, struct bc_manifest *current) bc_must_check;
/* What somebody else made the truth; current is taken over. */
void bc_manifest_follow(struct bc_manifest_keeper *, struct bc_manifest *current);
void bc_manifest_keeper_free(struct bc_manifest_keeper *);

/* Locks and gives a copy of the current MANIFEST with room for extra more files. OK, NO_MEMORY, POISONED. */
int bc_manifest_begin(struct bc_manifest_keeper *, size_t extra, struct bc_manifest *ret_edit) bc_must_check;
/* Makes the edit the truth and unlocks; generation and ceiling are set here. The edit is taken over in any case. OK, or the old
 * truth stands (NO_SPACE, IO, NO_MEMORY), or POISONED: unknown which. */
int bc_manifest_commit(struct bc_manifest_keeper *, struct bc_manifest *edit) bc_must_check;
void bc_manifest_abort(struct bc_manifest_keeper *, struct bc_manifest *edit);

/* Entries of an edit, in the order of ids. */
struct bc_manifest_file *bc_manifest_find(struct bc_manifest *, uint64_t id); /* NULL: not listed */
void bc_manifest_add(struct bc_manifest *edit, const struct bc_manifest_file *);
void bc_manifest_remove(struct bc_manifest *edit, uint64_t id);

#endif
