/* simdisk.h - a disk in memory that knows what is durable: the backend of struct bc_io for every crash and fault test.
 *
 * The model
 *   A file is an inode with two images. The volatile one is the page cache: what read(), write() and mappings see. The durable
 *   one is what the platters hold. sync() copies the first to the second, with the size; nothing else does.
 *   A name is an entry of a directory, volatile at once, durable after dir_sync(). Until then create, rename and unlink are
 *   pending operations, in order. sync() of a file makes no name durable.
 *   A power failure chooses: of every 512-byte sector that differs between the images whether it arrived (or half of it), of
 *   every changed size likewise, of every pending name operation likewise. Whatever was synced is in every outcome.
 *   A rename is one operation: its target never is absent or half of each. A kill of the process chooses nothing: the page
 *   cache lives on, descriptors, locks and mappings are gone.
 *   A mapping is a real one, of a memfd: a store past the file's last page, through a read-only or protected mapping, or after
 *   unmap, dies by a signal as it would on a machine.
 *
 * Use
 *   struct simdisk *disk = simdisk_new(1);            seed of random()
 *   ... run the store on simdisk_io(disk) with directory "/store" ...
 *   for (unsigned s = 0; s < simdisk_crash_states(disk); s++) {
 *       struct simdisk *after = simdisk_clone(disk);
 *       simdisk_crash_apply(after, s);
 *       ... open the store on `after`, check the promises; on failure print simdisk_crash_describe(disk, s, ...) ...
 *       simdisk_free(after);
 *   }
 *   To cut an execution everywhere: for k = 1, 2, ...: a new disk, simdisk_stop_at(disk, SIMDISK_OPS_CHANGE, k), run, close,
 *   cut = simdisk_take_stopped(disk); no cut means that k lies past the end; else try all crash states of it.
 *
 * Paths: directories are "/name" or deeper; the parent must exist; "/" and "." always do. Helpers take "/store/MANIFEST".
 * Any thread; one mutex. A child process after fork may only work on clones (memfds are shared with the parent).
 */
#ifndef TEST_SUPPORT_SIMDISK_H
#define TEST_SUPPORT_SIMDISK_H

#include "bitcask/io.h"

#include <stdio.h>

#define SIMDISK_SECTOR 512U
#define SIMDISK_PAGE 4096U

struct simdisk;

struct simdisk *simdisk_new(uint64_t seed);
void simdisk_free(struct simdisk *); /* NULL ok. Mappings that are still there stay readable and leak. */
const struct bc_io *simdisk_io(struct simdisk *);

/* Images, names, settings and the trace; no descriptors, locks, mappings, faults, counts. What a kill of the process would
 * leave. */
struct simdisk *simdisk_clone(struct simdisk *);

/* ---- power failure and kill ----
 * All three leave old descriptors dead (EBADF) and old mappings detached: harmless, seen by nobody. */

void simdisk_kill(struct simdisk *);

/* How the names of a directory come to the disk. */
enum simdisk_names {
    SIMDISK_NAMES_POSIX,   /* any subset of the pending operations, applied in order: all that the standard promises */
    SIMDISK_NAMES_ORDERED, /* a prefix of them, as ext4 and xfs do */
};
void simdisk_set_names(struct simdisk *, enum simdisk_names);

/* The classic outcomes, numbered from 0 (state 0: all that was not synced is lost):
 *   names: every subset if they are few; else none, each prefix, all, each single one lost, each single one kept;
 *          each with all dirty files lost and with all kept
 *   files: for each dirty file, the others all lost or all kept, the names none or all: size alone (data zero or old), each
 *          prefix of its dirty sectors (sampled beyond 16) with the size that reaches them or the full size, the sector at a
 *          prefix's end torn either way, one sector lost or torn with all others kept, the last one alone
 * The number is a function of the disk's state; the disk must not be changed between these three. */
unsigned simdisk_crash_states(struct simdisk *);
void simdisk_crash_describe(struct simdisk *, unsigned state, char *buf, size_t size);
void simdisk_crash_apply(struct simdisk *, unsigned state);

/* Independent coins for each sector, size and name operation, biased by a coin per file. Advances *rng (any value). */
void simdisk_crash_random(struct simdisk *, uint64_t *rng);

/* ---- recorder ---- */

#define SIMDISK_DIR_OPEN (1U << 0)
#define SIMDISK_DIR_CREATE (1U << 1) /* dir_open that makes the directory; durable at once */
#define SIMDISK_DIR_SYNC (1U << 2)
#define SIMDISK_DIR_LIST (1U << 3)
#define SIMDISK_DIR_SPACE (1U << 4)
#define SIMDISK_RENAME (1U << 5)
#define SIMDISK_UNLINK (1U << 6)
#define SIMDISK_OPEN (1U << 7)
#define SIMDISK_CREATE (1U << 8) /* open that makes the file */
#define SIMDISK_STAT (1U << 9)
#define SIMDISK_LOCK (1U << 10)
#define SIMDISK_READ (1U << 11)
#define SIMDISK_WRITE (1U << 12)
#define SIMDISK_SYNC (1U << 13)
#define SIMDISK_ALLOCATE (1U << 14)
#define SIMDISK_TRUNCATE (1U << 15)
#define SIMDISK_DROP_CACHE (1U << 16)
#define SIMDISK_MAP (1U << 17)
#define SIMDISK_POPULATE (1U << 18)
#define SIMDISK_PROTECT (1U << 19)
#define SIMDISK_MEMORY (1U << 20) /* memory_map */
#define SIMDISK_RANDOM (1U << 21)
#define SIMDISK_LINK (1U << 22)
#define SIMDISK_KINDS 23

#define SIMDISK_OPS_ALL ((1U << SIMDISK_KINDS) - 1)
/* What changes images or names. map and populate are here too: stores without a call lie between them and the next one. */
#define SIMDISK_OPS_CHANGE                                                                                                     \
    (SIMDISK_DIR_CREATE | SIMDISK_DIR_SYNC | SIMDISK_RENAME | SIMDISK_UNLINK | SIMDISK_CREATE | SIMDISK_WRITE | SIMDISK_SYNC | \
     SIMDISK_ALLOCATE | SIMDISK_TRUNCATE | SIMDISK_MAP | SIMDISK_POPULATE | SIMDISK_LINK)

uint64_t simdisk_op_count(struct simdisk *, unsigned kinds); /* since new or clone, failed ones included */
void simdisk_print_trace(struct simdisk *, FILE *);          /* the last operations: number, name, offset, size, result */

/* ---- faults ---- */

struct simdisk_fault {
    unsigned kinds;       /* which operations */
    const char *name;     /* only on names that contain this; NULL: all. Copied. */
    uint64_t at;          /* the at-th of them from now on, from 1 */
    int error;            /* what it returns */
    bool from;            /* and all after it */
    bool done;            /* the operation is carried out, and reported as failed */
    uint64_t short_bytes; /* writes only: so many bytes are written first */
};
void simdisk_fail(struct simdisk *, const struct simdisk_fault *); /* up to 8 at a time */
void simdisk_fail_clear(struct simdisk *);
uint64_t simdisk_fail_hits(struct simdisk *); /* faults given out since new or clone: a test asserts that its fault fired */

/* What a sync() that is made to fail does with the dirty pages. */
enum simdisk_sync_failure {
    SIMDISK_FAILED_SYNC_KEEPS,      /* still dirty: a later sync() writes them */
    SIMDISK_FAILED_SYNC_DROPS,      /* as Linux: marked clean and not written; read() shows them, a later sync() returns 0,
                                       and they never become durable unless stored to again */
    SIMDISK_FAILED_SYNC_DROPS_HALF, /* every other dirty page was written before the error came */
};
void simdisk_set_sync_failure(struct simdisk *, enum simdisk_sync_failure);

/* The machine stops before the k-th operation of these kinds from now on: that one and everything later fails with EIO, and
 * what the disk was at that moment is set aside, out of reach of stores that the program still does to its mappings. */
void simdisk_stop_at(struct simdisk *, unsigned kinds, uint64_t k);
struct simdisk *simdisk_take_stopped(struct simdisk *); /* NULL: not reached. The caller's; a clone, ready to be crashed. */

/* ---- the machine ---- */

void simdisk_set_capacity(struct simdisk *, uint64_t bytes); /* ENOSPC beyond; in pages of 4 KiB; may lie below what is used */
uint64_t simdisk_used(struct simdisk *);                 /* pages written or allocated, of files that have a name or are open */
void simdisk_set_maps_well(struct simdisk *, bool);      /* answer of dir_maps_well(); true at first */
void simdisk_set_map_error(struct simdisk *, int error); /* map() answers this; 0: it works */
void simdisk_set_wall_ms(struct simdisk *, int64_t);     /* the clocks move only by these; sleep_us() does not move them */
void simdisk_set_monotonic_ms(struct simdisk *, int64_t);

/* ---- checks ---- */

unsigned simdisk_open_descriptors(struct simdisk *); /* files and directories */
unsigned simdisk_open_mappings(struct simdisk *);    /* memory_map() included */
/* Misuse: a store through a mapping past the end of the file or into space that was never allocated, a descriptor used after
 * close, a write to a read-only one, an unmap of what is not mapped. Seen at the next operation on the file. */
unsigned simdisk_misuses(struct simdisk *, char *first, size_t size); /* how many; the first one's text if size is not 0 */
unsigned simdisk_pending_names(struct simdisk *);

/* ---- files from outside ----
 * Not operations: neither counted, failed nor stopped. Return 0, or ENOENT. */

#define SIMDISK_VOLATILE 1U
#define SIMDISK_DURABLE 2U
#define SIMDISK_BOTH 3U

int simdisk_read_file(struct simdisk *, const char *path, unsigned image, void **ret_data, size_t *ret_size); /* free() it */
int simdisk_write_file(struct simdisk *, const char *path, const void *data, size_t size); /* replaces; durable, name too */
int simdisk_flip(struct simdisk *, const char *path, unsigned images, uint64_t offset, unsigned mask); /* EINVAL past the end */
int simdisk_cut(struct simdisk *, const char *path, uint64_t size);                                    /* both images */
int simdisk_link(struct simdisk *, const char *from, const char *to); /* a hard link, durable */
int simdisk_remove(struct simdisk *, const char *path);               /* durable */
int simdisk_size(struct simdisk *, const char *path, unsigned image, uint64_t *ret);
int simdisk_dirty_sectors(struct simdisk *, const char *path, size_t *ret); /* that a crash may lose; the size not counted */
int simdisk_list(struct simdisk *, const char *dir, unsigned image, bc_io_name_fn fn, void *arg);
/* Names and contents of everything in one image: equal before and after what must write nothing. */
uint64_t simdisk_digest(struct simdisk *, unsigned image);

#endif
