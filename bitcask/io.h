/* io.h - the one table behind which every system call of the store stands.
 *
 * Backends: POSIX (io_posix.c), and in the tests a simulated disk that knows what is durable, with a recorder and a fault
 * injector. All functions are safe from any thread on different descriptors; the caller orders calls on one descriptor.
 *
 * Every function returns 0 or a positive errno. None sets or reads the caller's errno. EINTR and short transfers are dealt
 * with inside. Out-parameters are untouched on failure. Names are plain file names relative to an open directory.
 */
#ifndef BC_IO_H
#define BC_IO_H

#include "bitcask/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Flags of open(). Every open refuses symbolic links (ELOOP) and anything but a regular file (EINVAL),
 * never blocks on a FIFO, and sets close-on-exec. */
#define BC_IO_WRITE 1U     /* read and write; without it read only */
#define BC_IO_CREATE 2U    /* create if absent */
#define BC_IO_EXCLUSIVE 4U /* with CREATE: EEXIST if present */

struct bc_io_stat {
    uint64_t size;
    uint64_t links;
    uint64_t device;
    uint64_t inode;
};

struct bc_io_slice {
    const void *data;
    size_t size;
};

typedef int (*bc_io_name_fn)(const char *name, void *arg); /* non-zero stops the listing and is returned */

struct bc_io {
    uint32_t version; /* 1 */
    void *ctx;        /* first argument of every function */

    /* Directories. create: makes the last component if it is absent (mode 0700). */
    int (*dir_open)(void *ctx, const char *path, bool create, int *ret_dir);
    void (*dir_close)(void *ctx, int dir);
    int (*dir_sync)(void *ctx, int dir);        /* names created, renamed and unlinked before are durable when it returns 0 */
    int (*dir_sync_parent)(void *ctx, int dir); /* the directory's own name is durable when it returns 0 */
    int (*dir_list)(void *ctx, int dir, bc_io_name_fn fn, void *arg); /* every name but "." and "..", any order */
    int (*dir_free_space)(void *ctx, int dir, uint64_t *ret_bytes);
    /* Whether stores through a shared mapping are coherent with pwrite and never meet a full disk once allocated: true for
     * ext4, xfs and tmpfs; false for file systems that copy on write and for network ones. */
    bool (*dir_maps_well)(void *ctx, int dir);
    /* A directory in this one, no symbolic link (ELOOP, ENOTDIR). create: makes it if it is absent (mode 0700). dir_close() it.
     */
    int (*dir_open_below)(void *ctx, int dir, const char *name, bool create, int *ret_dir);
    int (*rename)(void *ctx, int dir, const char *from, const char *to);
    int (*unlink)(void *ctx, int dir, const char *name);
    /* A second name for a file, never through a symbolic link. EEXIST; EXDEV, EPERM, EMLINK, EOPNOTSUPP where it cannot be. */
    int (*link)(void *ctx, int from_dir, const char *from, int to_dir, const char *to);

    /* Files. */
    int (*open)(void *ctx, int dir, const char *name, unsigned flags, unsigned mode, int *ret_fd);
    void (*close)(void *ctx, int fd); /* never retried; its result says nothing after a good sync */
    int (*stat)(void *ctx, int fd, struct bc_io_stat *ret);
    int (*lock)(void *ctx, int fd); /* exclusive, held until the descriptor closes or the process dies; EWOULDBLOCK */
    /* Reads until size bytes or the end of the file; *ret_got tells which. */
    int (*read)(void *ctx, int fd, uint64_t offset, void *buf, size_t size, size_t *ret_got);
    /* Writes all slices at offset. On an error any prefix may have been written. */
    int (*write)(void *ctx, int fd, uint64_t offset, const struct bc_io_slice *slices, size_t count);
    int (*sync)(void *ctx, int fd);                                     /* fdatasync: data and the size to find it */
    int (*allocate)(void *ctx, int fd, uint64_t offset, uint64_t size); /* zeros, space reserved, file extended; EOPNOTSUPP */
    int (*truncate)(void *ctx, int fd, uint64_t size);
    /* Makes the next reads of the range come from the disk as far as the system allows. Call after sync. */
    int (*drop_cache)(void *ctx, int fd, uint64_t offset, uint64_t size);
    /* May be NULL: the backend cannot. Whether anything of the range is in the system's cache. ENOSYS where it does not tell.
     */
    int (*cached)(void *ctx, int fd, uint64_t offset, uint64_t size, bool *ret);

    /* Mappings: shared with the file, from offset 0; may be longer than the file: only bytes below the file's size may be
     * touched. */
    int (*map)(void *ctx, int fd, size_t size, bool writable, void **ret);
    void (*unmap)(void *ctx, void *addr, size_t size);
    /* Brings pages of a writable mapping in, ready for stores, without storing. ENOSYS where it cannot be done. */
    int (*populate)(void *ctx, void *addr, size_t size);
    int (*protect)(void *ctx, void *addr, size_t size); /* no further store through this mapping */
    /* Nobody will store to these pages of a writable mapping for a while: they leave it, with what was stored, until they are
     * asked for, and a sync need not stop every thread of the process for each of them, as it must for pages that may be
     * stored to. */
    void (*settle)(void *ctx, void *addr, size_t size);
    /* Brings pages of a mapping in for readers, who would have to do it one by one; not those that would be read from the disk.
     */
    void (*preload)(void *ctx, void *addr, size_t size);

    /* May be NULL: the backend cannot. A SIGBUS below the mapping (its file was cut, its device failed) is taken from now on:
     * its page becomes zeros that are no file's, and *fault 1, in this order seen from that thread. unguard before unmap. */
    int (*guard)(void *ctx, void *addr, size_t size, bool writable, _Atomic(uint32_t) *fault, void **ret_guard);
    void (*unguard)(void *ctx, void *guard);

    /* Memory that is no file's: page-aligned zeros. */
    void *(*memory_map)(void *ctx, size_t size);
    void (*memory_unmap)(void *ctx, void *addr, size_t size);
    /* May be NULL: the backend cannot. A child process finds zeros there, however it was made. */
    int (*memory_wipe_on_fork)(void *ctx, void *addr, size_t size);
    /* The same in huge pages, as far as the system has them: what is touched costs more than its own page. */
    void *(*memory_map_huge)(void *ctx, size_t size);
    /* Whole pages of either become zeros; their memory goes back. */
    void (*memory_discard)(void *ctx, void *addr, size_t size);

    int (*random)(void *ctx, void *buf, size_t size);
    int64_t (*wall_ms)(void *ctx);      /* Unix milliseconds */
    int64_t (*monotonic_ms)(void *ctx); /* for intervals only */
    void (*sleep_us)(void *ctx, unsigned us);
    unsigned (*processors)(void *ctx); /* that this process may run on, at least 1 */
    /* Called by a background thread for itself: slow work yields to everything else. */
    void (*lower_priority)(void *ctx, int nice);
};

/* The system's own calls. Immutable. */
extern const struct bc_io bc_io_posix;

#endif
