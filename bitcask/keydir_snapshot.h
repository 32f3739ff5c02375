/* keydir_snapshot.h - the KeyDir as it stood at a moment, without a second copy of all of it.
 *
 * Snapshots are numbered. A shard that is about to change for the first time since the newest snapshot keeps a copy of its
 * slots, a version, which serves all snapshots since its previous version; until then the shard itself serves them. Key bytes
 * are not copied: an arena that a version looks into gives no byte away until it is renewed, and the old block stays with the
 * versions. So memory is bounded by one table and one arena a shard for each snapshot, and by nothing for shards at rest.
 *
 * The copy is made when the write is reserved, before anything of it is appended. Threads: take and release under the caller's
 * wal lock; lookups and walks on any thread, under the shard's mutex.
 */
#ifndef BC_KEYDIR_SNAPSHOT_H
#define BC_KEYDIR_SNAPSHOT_H

#include "bitcask/keydir.h"

/* The number of a new snapshot, greater than all before. OK, NO_MEMORY. */
int bc_keydir_snapshot_take(struct bc_keydir *, uint64_t *ret_number) bc_must_check;
void bc_keydir_snapshot_release(struct bc_keydir *, uint64_t number);
/* The oldest snapshot that is held, UINT64_MAX if there is none; the newest number given out. */
uint64_t bc_keydir_snapshot_oldest(struct bc_keydir *);
uint64_t bc_keydir_snapshot_newest(struct bc_keydir *);
uint64_t bc_keydir_snapshots(struct bc_keydir *);      /* how many are held */
uint64_t bc_keydir_snapshot_bytes(struct bc_keydir *); /* memory of the versions' slots */

/* As bc_keydir_find(), at the snapshot's moment. */
bool bc_keydir_snapshot_find(struct bc_keydir *, uint64_t number, uint64_t hash, const void *key, size_t key_size,
                             struct bc_entry *ret, int64_t *ret_expire_at_ms);

/* A walk over one shard, some entries at a time: where it is, by tag, so that a table may be rebuilt in between. */
struct bc_walk {
    uint32_t shard;
    uint32_t tag;   /* the next entry has this tag or a greater one */
    uint32_t taken; /* entries with exactly this tag that were seen */
};

/* Calls fn for the next entries of the walk's shard, at most max, under the shard's mutex: fn may not call the KeyDir, and the
 * key is valid during the call only. Returns how many there were; 0: the shard is done. */
size_t bc_keydir_snapshot_walk(struct bc_keydir *, uint64_t number, struct bc_walk *, size_t max, bc_keydir_fn fn, void *arg);

/* ---- for the KeyDir's own files ---- */

struct bc_shard;

bool bc_snapshots_init(struct bc_keydir *);
void bc_snapshots_free(struct bc_keydir *);

/* Under the shard's mutex, before its first change: keeps what a snapshot may still want. false: no memory. */
bool bc_shard_preserve(struct bc_keydir *, struct bc_shard *) bc_must_check;
void bc_shard_versions_free(struct bc_keydir *, struct bc_shard *); /* all of them: nobody holds a snapshot */

#endif
