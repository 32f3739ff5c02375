/* keydir.h - the KeyDir: for every key, where its newest record lies. A flat open-addressing table per shard, keys in an arena
 * per shard, 16 bytes a slot, no allocation per key.
 *
 * What it knows: hash tag, location, footprint, key, expiry. What it does not know: values, sequences (except while loading).
 *
 * Threads. Lookups take no lock: they run under a pin (pins.h) and a per-shard version that writers make odd while they change
 * slots. Everything that changes a shard runs under that shard's mutex; insertion and removal also under the caller's wal lock
 * (so a reservation made under wal holds until it is used), relocation under the shard's mutex alone. Lock rank: shard.
 */
#ifndef BC_KEYDIR_H
#define BC_KEYDIR_H

#include "bitcask/alloc.h"
#include "bitcask/hash.h"
#include "bitcask/io.h"
#include "bitcask/pins.h"

#include <stdbool.h>

#define BC_KEYDIR_FILES_MAX (1U << 17)                 /* file table indices that a slot can hold */
#define BC_KEYDIR_OFFSET_MAX ((UINT64_C(1) << 34) - 8) /* the last place that a slot can hold */
#define BC_KEYDIR_CANDIDATES 4U

/* bc_entry.flags */
#define BC_ENTRY_EXPIRES 1U   /* has an expiry */
#define BC_ENTRY_CORRUPT 2U   /* its record is known to be damaged: answers CORRUPT until overwritten or deleted */
#define BC_ENTRY_TOMBSTONE 4U /* only while loading */

struct bc_entry {
    uint64_t offset;    /* in the data file, multiple of 8, not 0 */
    uint64_t footprint; /* bytes on disk (format_record.h) */
    uint32_t file;      /* file table index */
    uint32_t flags;
};

struct bc_keydir;

/* shards: a power of two, 64 to 65,536. NULL: no memory. io gives memory_map for tables (used when the allocator is the
 * default one) and random for the secret (used when that is NULL); all are borrowed until free, the secret is copied. */
struct bc_keydir *bc_keydir_new(const bitcask_allocator *, const struct bc_io *, struct bc_pins *, uint32_t shards,
                                const struct bc_hash_secret *);
void bc_keydir_free(struct bc_keydir *); /* NULL ok; no reader inside */

uint64_t bc_keydir_hash(const struct bc_keydir *, const void *key, size_t key_size);
uint32_t bc_keydir_shard(const struct bc_keydir *, uint64_t hash); /* which shard a hash belongs to */
uint32_t bc_keydir_shards(const struct bc_keydir *);
/* What its hashes are keyed with: a second KeyDir made with it has the same hashes and shards. */
const struct bc_hash_secret *bc_keydir_secret(const struct bc_keydir *);
/* Starts the memory access that a lookup or publication of this hash will wait for. */
void bc_keydir_prefetch(const struct bc_keydir *, uint64_t hash);

/* ---- readers: no lock; the caller is inside a pin ---- */

/* All slots with the hash's tag, as they stood together at one moment: at most BC_KEYDIR_CANDIDATES are stored in ret, the true
 * count is returned. More than one, or a wrong one, is rare; the caller compares the key in the record. */
unsigned bc_keydir_lookup(const struct bc_keydir *, uint64_t hash, struct bc_entry ret[BC_KEYDIR_CANDIDATES]);

/* The entry of exactly this key, compared in the arena, under the shard's lock: for what lookup cannot settle. Expiry is 0
 * without BC_ENTRY_EXPIRES. */
bool bc_keydir_find(struct bc_keydir *, uint64_t hash, const void *key, size_t key_size, struct bc_entry *ret,
                    int64_t *ret_expire_at_ms);

/* ---- writers: under wal ---- */

/* Makes sure that count publications into the hash's shard, with keys (and expiries, 8 bytes each) of bytes in all, or removals
 * from it, cannot fail, and that snapshots keep what the change would take from them. Takes and releases the shard's lock if it
 * has to grow. BITCASK_OK or NO_MEMORY. */
int bc_keydir_reserve(struct bc_keydir *, uint64_t hash, uint32_t count, size_t bytes) bc_must_check;

void bc_keydir_lock(struct bc_keydir *, uint32_t shard); /* several: in ascending order */
void bc_keydir_unlock(struct bc_keydir *, uint32_t shard);

/* Between lock and unlock. A cursor is where a key stands or would stand; valid until the shard's next change. */
struct bc_cursor {
    uint64_t hash;
    uint32_t position;
    bool found;
    struct bc_entry entry; /* if found */
    int64_t expire_at_ms;  /* if found; 0 = never */
};
void bc_keydir_seek(struct bc_keydir *, uint64_t hash, const void *key, size_t key_size, struct bc_cursor *ret);
/* Inserts or replaces at a cursor just sought. expire_at_ms 0: none. Cannot fail after a reserve. entry->flags: only CORRUPT is
 * taken from it. */
void bc_keydir_publish(struct bc_keydir *, const struct bc_cursor *, const void *key, size_t key_size,
                       const struct bc_entry *entry, int64_t expire_at_ms);
void bc_keydir_remove(struct bc_keydir *, const struct bc_cursor *); /* a found cursor */

/* A batch: between hold and release (both between lock and unlock of that shard) readers of the shard wait, so that changes in
 * several held shards become visible as one. */
void bc_keydir_hold(struct bc_keydir *, uint32_t shard);
void bc_keydir_release(struct bc_keydir *, uint32_t shard);

/* Between hold and release: removes the entries of all files whose gone[index] is true. */
void bc_keydir_drop_files(struct bc_keydir *, uint32_t shard, const bool *gone);

/* ---- merge: no wal ---- */

enum bc_moved {
    BC_MOVED,
    BC_MOVED_NOT,      /* nothing stands at the first place any more */
    BC_MOVED_NO_MEMORY /* a snapshot must keep what stood there, and there is no memory for it */
};

/* Moves an entry from one place to another if it still stands at the first: compare and swap on (file, offset), as a place
 * belongs to one record. to NULL: takes it out of the KeyDir. Of both only file and offset count. *ret_was: the entry as it
 * was, if BC_MOVED. */
enum bc_moved bc_keydir_move(struct bc_keydir *, uint64_t hash, const struct bc_entry *from, const struct bc_entry *to,
                             struct bc_entry *ret_was) bc_must_check;
/* Whether an entry stands at a place. */
bool bc_keydir_stands(struct bc_keydir *, uint64_t hash, const struct bc_entry *at);
/* Copies for the newest snapshot all shards that have none: what moves need, unless a snapshot is taken meanwhile. OK,
 * NO_MEMORY. */
int bc_keydir_preserve_all(struct bc_keydir *) bc_must_check;

/* Takes expired entries out, some slots at a time, without reading a record: looks at about max slots from *position on (0: the
 * start), and moves it. lost is called for each, under the shard's lock. Returns whether the end was reached. */
typedef void (*bc_keydir_lost_fn)(const struct bc_entry *entry, void *arg);
bool bc_keydir_sweep(struct bc_keydir *, uint64_t *position, size_t max, int64_t now_ms, bc_keydir_lost_fn lost, void *arg);

/* ---- loading: before anybody else has the handle; load() from several threads ---- */

/* Between begin and end entries carry their sequences, and tombstones are entries. The higher sequence wins whatever the order
 * of the calls; of equal ones (copies by merge) the higher file index. */
int bc_keydir_load_begin(struct bc_keydir *) bc_must_check;
int bc_keydir_load(struct bc_keydir *, uint64_t hash, const void *key, size_t key_size, uint64_t sequence,
                   const struct bc_entry *entry, int64_t expire_at_ms) bc_must_check; /* BITCASK_OK, NO_MEMORY */
/* Calls fn for every entry, tombstones among them, with its sequence; its key is valid until something is loaded. One thread.
 */
typedef int (*bc_keydir_loaded_fn)(uint64_t hash, const struct bc_entry *entry, int64_t expire_at_ms, uint64_t sequence,
                                   const void *key, size_t key_size, void *arg); /* non-zero stops the walk and is returned */
int bc_keydir_each_loaded(struct bc_keydir *, bc_keydir_loaded_fn, void *arg);

/* The same for many entries, faster: one thread's, kept by shard until about so many bytes are there, or until a flush. A key
 * of more than some hundred bytes goes in at once. After a failure there is nothing left but free. NULL: no memory. */
struct bc_loader;
struct bc_loader *bc_keydir_loader_new(struct bc_keydir *, uint64_t bytes);
int bc_keydir_loader_add(struct bc_loader *, uint64_t hash, const void *key, size_t key_size, uint64_t sequence,
                         const struct bc_entry *entry, int64_t expire_at_ms) bc_must_check; /* BITCASK_OK, NO_MEMORY */
int bc_keydir_loader_flush(struct bc_loader *) bc_must_check;                               /* the same */
void bc_keydir_loader_free(struct bc_loader *); /* NULL ok; what was not flushed is dropped */

/* Tombstones go, memory for sequences is returned: of one shard (any thread), then of what is left. */
void bc_keydir_load_end_of(struct bc_keydir *, uint32_t shard);
void bc_keydir_load_end(struct bc_keydir *);

/* ---- upkeep: a background thread, no lock held ---- */

/* Grows or tidies the shards that asked for it before a writer has to, and frees tables that no reader can hold any more.
 * Returns whether there was anything to do. The wake function is called (under shard and wal locks: it may only signal) when
 * there is. */
bool bc_keydir_upkeep(struct bc_keydir *);
void bc_keydir_set_wake(struct bc_keydir *, void (*wake)(void *arg), void *arg);

/* ---- all ---- */

typedef void (*bc_keydir_fn)(const struct bc_entry *entry, int64_t expire_at_ms, const void *key, size_t key_size, void *arg);
void bc_keydir_each(struct bc_keydir *, bc_keydir_fn, void *arg); /* shard by shard, each under its lock */
/* The same without keys: the slots in their order, and the arena for those that expire. */
typedef void (*bc_keydir_entry_fn)(const struct bc_entry *entry, int64_t expire_at_ms, void *arg);
void bc_keydir_each_entry(struct bc_keydir *, bc_keydir_entry_fn, void *arg);
void bc_keydir_each_entry_of(struct bc_keydir *, uint32_t shard, bc_keydir_entry_fn, void *arg);
/* Empties it, in one step for readers. Under wal, with no snapshot taken since preserve_all(). */
void bc_keydir_clear(struct bc_keydir *);
uint64_t bc_keydir_count(const struct bc_keydir *);
uint64_t bc_keydir_bytes(const struct bc_keydir *); /* memory held */
uint64_t bc_keydir_used(struct bc_keydir *);        /* of it, what its keys take; the rest is for the next ones */

#endif
