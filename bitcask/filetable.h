/* filetable.h - the data files of an open store by the small index that KeyDir slots hold, and the cache of open files.
 *
 * Readers take no lock: they are inside a pin (pins.h) from before the KeyDir probe until they are done with the bytes, and
 * load a file and its mapping as atomics. What is taken away from them (an evicted handle, a removed file) is detached first
 * and closed after a grace period.
 *
 * Locks: main (rwlock) guards which files exist; add and remove take it for writing, walks for reading. cache (mutex) guards
 * the handles of sealed files and their budget. Handles of files that are being written belong to the log and are not counted.
 */
#ifndef BC_FILETABLE_H
#define BC_FILETABLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "bitcask/datafile.h"
#include "bitcask/format_manifest.h"
#include "bitcask/handle.h"
#include "bitcask/health.h"
#include "bitcask/keydir.h"
#include "bitcask/pins.h"

enum bc_file_state {
    BC_FILE_PREPARED, /* listed open, not a record in it yet */
    BC_FILE_ACTIVE,
    BC_FILE_SEALING, /* rotated away; the MANIFEST that seals it is not durable yet */
    BC_FILE_SEALED,
    BC_FILE_OUTPUT, /* of a merge that is not committed: no file of the store yet */
    BC_FILE_REMOVED /* waits for its readers */
};

struct bc_file {
    struct bc_file_name name;
    uint32_t index;
    uint32_t kind; /* BC_DATA_KIND_* */
    _Atomic uint32_t state;

    _Atomic(struct bc_handle *) handle; /* NULL: not open */
    atomic_bool by_descriptor;          /* not mapped: somebody else is writing it (a read-only handle's open files) */
    bool cached;                        /* under cache: the handle counts against the budget and may be evicted */
    atomic_bool recent;                 /* used since the CLOCK hand passed */
    struct bc_file *removed;            /* link of the list of removed files */
    uint64_t removed_at;                /* newest snapshot then: it and older ones may still look here */

    _Atomic uint64_t end; /* of a sealed file; of an active one what has been appended */
    _Atomic uint64_t live_bytes, live_keys;
    _Atomic uint64_t expiring_keys;   /* of the live ones, those that have an expiry */
    _Atomic int64_t latest_expiry_ms; /* no live key of it expires later */
    _Atomic uint64_t tombstone_bytes; /* dead bytes that only a merge may drop, and not any merge */
    uint64_t asked_at;                /* of a merge's output that kept tombstones: which step it was, from 1 on */
    uint64_t mean_sequence;           /* of a merge's output: of its records; 0: not known, then the middle has to do */
    atomic_bool barred;               /* a merge met damage in it: none takes it again by itself */
    _Atomic uint64_t min_sequence, max_sequence; /* 0 and 0: no record yet */

    /* While the log writes it; the sync token's holder (log_sync.c) alone looks at these. */
    uint64_t mark_counter;
    uint64_t synced;        /* offset up to which a sync has succeeded */
    atomic_bool needs_hint; /* sealed, and no hint file is known to be there */
};

#define BC_FILES_PER_BLOCK 512U

struct bc_filetable {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_pins *pins;
    struct bc_keydir *keydir; /* knows the snapshots */
    struct bc_uuid store;
    bool mapped;     /* sealed files are read through mappings */
    bool salvage;    /* damaged and short files are opened, too */
    bool guarded;    /* faults below mappings are taken */
    bool borrowed;   /* somebody else's files: what leaves the table is not unlinked */
    uint32_t budget; /* under cache */
    pthread_rwlock_t main;
    _Atomic(struct bc_file *) *_Atomic blocks[BC_KEYDIR_FILES_MAX / BC_FILES_PER_BLOCK];
    _Atomic uint32_t used; /* changed under main: indices below it have been given out; freed ones hold NULL */
    uint32_t free_indices;

    /* One thread builds the hint file of a sealed file: both would write under the same temporary name. Held across that I/O,
     * nothing is taken under it. */
    pthread_mutex_t hints;

    pthread_mutex_t cache;
    uint32_t open_count, hand;
    struct bc_handle *retired;
    struct bc_file *removed;
    atomic_bool reclaimable; /* retired or removed is not empty */
};

int bc_filetable_init(struct bc_filetable *, const struct bc_directory *, const bitcask_allocator *, struct bc_pins *,
                      struct bc_keydir *, const struct bc_uuid *store, bool mapped, uint32_t budget) bc_must_check;
void bc_filetable_set_budget(struct bc_filetable *, uint32_t budget);
/* Closes everything; no reader inside. forked: takes no lock and unlinks nothing. */
void bc_filetable_free(struct bc_filetable *, bool forked);

/* Gives a file an index. *ret is valid until removed and reclaimed. The handle (NULL: opened when it is needed) is taken over.
 * OK, NO_MEMORY, NO_SPACE (2^17 files). */
int bc_filetable_add(struct bc_filetable *, const struct bc_manifest_file *, enum bc_file_state, struct bc_handle *,
                     struct bc_file **ret) bc_must_check;
/* Takes a file out of the table: no KeyDir slot points to it any more, and no MANIFEST that may be the durable one lists it.
 * Its names are unlinked and its index is free once no reader inside a pin and no snapshot can look at it. */
void bc_filetable_remove(struct bc_filetable *, struct bc_file *);

/* The log gives a sealed file's handle to the cache: it counts from now on. */
void bc_filetable_hand_over(struct bc_filetable *, struct bc_file *);
/* The reverse: the log will write this file again, through this handle, which is taken over. */
void bc_filetable_take_over(struct bc_filetable *, struct bc_file *, struct bc_handle *);

/* As bc_handle_new(), guarded if the table is. */
struct bc_handle *bc_filetable_new_handle(const struct bc_filetable *, int fd, void *map, size_t map_size, bool writable);

/* Replaces a file's mapping by a larger one; the old one goes along with it, or when its last view has left. OK, NO_MEMORY, IO.
 */
int bc_filetable_remap(struct bc_filetable *, struct bc_file *, size_t size) bc_must_check;

/* The file is read through a mapping of all of it from now on (where the table maps), or not mapped any more; its descriptor
 * stays. For files that somebody else writes. OK, NO_MEMORY, IO: nothing changed. */
int bc_filetable_follow(struct bc_filetable *, struct bc_file *, bool by_descriptor) bc_must_check;

typedef int (*bc_file_fn)(struct bc_file *, void *arg); /* non-zero stops the walk and is returned */
int bc_filetable_each(struct bc_filetable *, bc_file_fn, void *arg);

/* ---- readers, inside a pin ---- */

static inline struct bc_file *bc_filetable_get(struct bc_filetable *t, uint32_t index)
{
    _Atomic(struct bc_file *) *block = atomic_load_explicit(&t->blocks[index / BC_FILES_PER_BLOCK], memory_order_acquire);
    return atomic_load_explicit(&block[index % BC_FILES_PER_BLOCK], memory_order_acquire);
}

/* The file's handle, opened if need be (and mapped where the table maps); may evict others. Usable until the pin is left. OK,
 * CORRUPT, IO (sys_errno EMFILE or ENFILE: leave the pin, bc_filetable_shrink(), try again), NO_MEMORY. */
static inline int bc_filetable_open(struct bc_filetable *, struct bc_file *, struct bc_handle **ret) bc_must_check;
int bc_filetable_open_closed(struct bc_filetable *, struct bc_file *, struct bc_handle **ret) bc_must_check;

/* Reads bytes of a file into a buffer, with a system call. OK, CORRUPT (the file is shorter), IO. */
int bc_filetable_read(struct bc_filetable *, struct bc_file *, uint64_t offset, void *buf, size_t size) bc_must_check;

/* A file gains or loses a live record. Under the shard's lock, so that gain comes first. expire_at_ms: 0 = never. */
static inline void bc_file_gain(struct bc_file *f, uint64_t footprint, int64_t expire_at_ms)
{
    atomic_fetch_add_explicit(&f->live_bytes, footprint, memory_order_relaxed);
    atomic_fetch_add_explicit(&f->live_keys, 1, memory_order_relaxed);
    if (bc_likely(expire_at_ms == 0))
        return;
    atomic_fetch_add_explicit(&f->expiring_keys, 1, memory_order_relaxed);
    int64_t latest = atomic_load_explicit(&f->latest_expiry_ms, memory_order_relaxed);
    while (latest < expire_at_ms && !atomic_compare_exchange_weak_explicit(&f->latest_expiry_ms, &latest, expire_at_ms,
                                                                           memory_order_relaxed, memory_order_relaxed)) {
    }
}

static inline void bc_file_lose(struct bc_file *f, uint64_t footprint, bool expires)
{
    atomic_fetch_sub_explicit(&f->live_bytes, footprint, memory_order_relaxed);
    atomic_fetch_sub_explicit(&f->live_keys, 1, memory_order_relaxed);
    if (expires)
        atomic_fetch_sub_explicit(&f->expiring_keys, 1, memory_order_relaxed);
}

/* The handle if it is open: the readers' short way. */
static inline struct bc_handle *bc_file_handle(struct bc_file *f)
{
    return atomic_load_explicit(&f->handle, memory_order_acquire);
}

static inline int bc_filetable_open(struct bc_filetable *t, struct bc_file *f, struct bc_handle **ret)
{
    if (bc_unlikely(!atomic_load_explicit(&f->recent, memory_order_relaxed)))
        atomic_store_explicit(&f->recent, true, memory_order_relaxed);
    /* Another thread may evict it at any time; what was loaded stays usable until the pin is left. */
    struct bc_handle *h = bc_file_handle(f);
    if (bc_unlikely(h == NULL))
        return bc_filetable_open_closed(t, f, ret);
    *ret = h;
    return BITCASK_OK;
}

/* ---- outside a pin ---- */

/* Closes what was detached and unlinks what was removed, after its readers and snapshots have left. */
void bc_filetable_reclaim(struct bc_filetable *);
/* Detaches half of the cached handles and reclaims. Returns whether there was one. */
bool bc_filetable_shrink(struct bc_filetable *);

/* A snapshot was released. */
static inline void bc_filetable_ask_reclaim(struct bc_filetable *t)
{
    atomic_store(&t->reclaimable, true);
}

static inline bool bc_filetable_reclaimable(const struct bc_filetable *t)
{
    return atomic_load_explicit(&t->reclaimable, memory_order_relaxed);
}

#endif
