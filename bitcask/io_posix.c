#include "bitcask/io_posix.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define LARGEST_PAGE ((uint64_t)65536) /* of any Linux; only rounded to, never allocated */
#define SLICES_AT_ONCE 16

/* An fsync must run once: the error that it reports is consumed by being reported, even to a call that then answers EINTR,
 * and a second call would say that all is well. So no signal may interrupt it. */
int bc_posix_sync_once(int fd, int (*sync)(int))
{
    sigset_t all, before;
    sigfillset(&all);
    int masked = pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = sync(fd) == 0 ? 0 : errno;
    if (masked == 0)
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* Past the limit the kernel does not just fail: it raises SIGXFSZ, which kills a host that does not know it. */
static int check_size_limit(uint64_t offset, uint64_t size)
{
    struct rlimit limit;
    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return EFBIG;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && offset + size > limit.rlim_cur)
        return EFBIG;
    return 0;
}

static int posix_open(void *ctx, int dir, const char *name, unsigned flags, unsigned mode, int *ret_fd)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    int how = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    how |= (flags & BC_IO_WRITE) != 0 ? O_RDWR : O_RDONLY;
    how |= (flags & BC_IO_CREATE) != 0 ? O_CREAT : 0;
    how |= (flags & BC_IO_EXCLUSIVE) != 0 ? O_EXCL : 0;
    int fd;
    BC_RETRY(fd, openat(dir, name, how, (mode_t)mode));
    if (fd < 0) {
        /* What a directory, a socket and a device without a driver answer. */
        return errno == EISDIR || errno == ENXIO || errno == ENODEV ? EINVAL : errno;
    }
    struct stat st;
    int error = fstat(fd, &st) != 0 ? errno : S_ISREG(st.st_mode) ? 0 : EINVAL;
    if (error != 0) {
        close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

static void posix_close(void *ctx, int fd)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    close(fd);
}

static int posix_stat(void *ctx, int fd, struct bc_io_stat *ret)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    struct stat st;
    if (fstat(fd, &st) != 0)
        return errno;
    ret->size = (uint64_t)st.st_size;
    ret->links = (uint64_t)st.st_nlink;
    ret->device = (uint64_t)st.st_dev;
    ret->inode = (uint64_t)st.st_ino;
    return 0;
}

static int posix_lock(void *ctx, int fd)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    int rc;
    BC_RETRY(rc, flock(fd, LOCK_EX | LOCK_NB));
    return rc == 0 ? 0 : errno;
}

static int posix_read(void *ctx, int fd, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    size_t got = 0;
    /* No file reaches beyond INT64_MAX: there is its end, whatever a damaged offset says. */
    if (offset <= INT64_MAX)
        size = (size_t)BC_MIN((uint64_t)size, (uint64_t)INT64_MAX - offset);
    else
        size = 0;
    while (got < size) {
        ssize_t n;
        BC_RETRY(n, pread(fd, (char *)buf + got, size - got, (off_t)(offset + got)));
        if (n < 0)
            return errno;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    *ret_got = got;
    return 0;
}

/* Fills iov with what follows the first `done` bytes of slices[0]. */
static int gather(struct iovec *iov, const struct bc_io_slice *slices, size_t count, size_t done)
{
    size_t n = 0;
    for (; n < count && n < SLICES_AT_ONCE; n++) {
        size_t skip = n == 0 ? done : 0;
        iov[n].iov_base = (void *)((uintptr_t)slices[n].data + skip); /* an empty slice may be NULL */
        iov[n].iov_len = slices[n].size - skip;
    }
    return (int)n;
}

static int posix_write(void *ctx, int fd, uint64_t offset, const struct bc_io_slice *slices, size_t count)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        if (__builtin_add_overflow(total, (uint64_t)slices[i].size, &total))
            return EFBIG;
    int error = check_size_limit(offset, total);
    if (error != 0)
        return error;
    size_t done = 0; /* of slices[0] */
    for (;;) {
        while (count > 0 && done >= slices->size) {
            done -= slices->size;
            slices++;
            count--;
        }
        if (count == 0)
            return 0;
        struct iovec iov[SLICES_AT_ONCE];
        ssize_t n;
        BC_RETRY(n, pwritev(fd, iov, gather(iov, slices, count, done), (off_t)offset));
        if (n < 0)
            return errno;
        if (n == 0)
            return EIO; /* no error and no progress: not to be tried for ever */
        offset += (uint64_t)n;
        done += (size_t)n;
    }
}

static int posix_sync(void *ctx, int fd)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    return bc_posix_sync_once(fd, fdatasync);
}

static int posix_allocate(void *ctx, int fd, uint64_t offset, uint64_t size)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    int error = check_size_limit(offset, size);
    if (error != 0)
        return error;
    int rc;
    BC_RETRY(rc, fallocate(fd, 0, (off_t)offset, (off_t)size));
    if (rc == 0)
        return 0;
    return errno == ENOSYS ? EOPNOTSUPP : errno;
}

static int posix_truncate(void *ctx, int fd, uint64_t size)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    struct stat st;
    if (fstat(fd, &st) != 0)
        return errno;
    int error = size > (uint64_t)st.st_size ? check_size_limit(0, size) : 0;
    if (error != 0)
        return error;
    int rc;
    BC_RETRY(rc, ftruncate(fd, (off_t)size));
    return rc == 0 ? 0 : errno;
}

static int posix_drop_cache(void *ctx, int fd, uint64_t offset, uint64_t size)
{
    (void)ctx;
    if (size == 0 || offset > INT64_MAX - LARGEST_PAGE)
        return 0;
    /* The kernel spares a page that the range covers in part, and that is the page in which a tail ends. */
    uint64_t room = (uint64_t)INT64_MAX - LARGEST_PAGE - offset;
    uint64_t end = bc_align_up(offset + BC_MIN(size, room), LARGEST_PAGE);
    uint64_t start = offset & ~(LARGEST_PAGE - 1);
    return posix_fadvise(fd, (off_t)start, (off_t)(end - start), POSIX_FADV_DONTNEED);
}

/* cachestat(2): the same number on every machine; Linux 6.5. */
#define CACHESTAT 451L

static int posix_cached(void *ctx, int fd, uint64_t offset, uint64_t size, bool *ret)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    struct {
        uint64_t offset, size;
    } range = {offset, size};
    struct {
        uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } pages;
    if (syscall(CACHESTAT, fd, &range, &pages, 0U) != 0)
        return errno;
    *ret = pages.cached > 0;
    return 0;
}

const struct bc_io bc_io_posix = {
    .version = 1,
    .ctx = NULL,
    .dir_open = bc_posix_dir_open,
    .dir_close = bc_posix_dir_close,
    .dir_sync = bc_posix_dir_sync,
    .dir_sync_parent = bc_posix_dir_sync_parent,
    .dir_list = bc_posix_dir_list,
    .dir_free_space = bc_posix_dir_free_space,
    .dir_maps_well = bc_posix_dir_maps_well,
    .dir_open_below = bc_posix_dir_open_below,
    .rename = bc_posix_rename,
    .unlink = bc_posix_unlink,
    .link = bc_posix_link,
    .open = posix_open,
    .close = posix_close,
    .stat = posix_stat,
    .lock = posix_lock,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .allocate = posix_allocate,
    .truncate = posix_truncate,
    .drop_cache = posix_drop_cache,
    .cached = posix_cached,
    .map = bc_posix_map,
    .unmap = bc_posix_unmap,
    .populate = bc_posix_populate,
    .protect = bc_posix_protect,
    .settle = bc_posix_settle,
    .preload = bc_posix_preload,
    .guard = bc_posix_guard,
    .unguard = bc_posix_unguard,
    .memory_map = bc_posix_memory_map,
    .memory_unmap = bc_posix_memory_unmap,
    .memory_wipe_on_fork = bc_posix_memory_wipe_on_fork,
    .memory_map_huge = bc_posix_memory_map_huge,
    .memory_discard = bc_posix_memory_discard,
    .random = bc_posix_random,
    .wall_ms = bc_posix_wall_ms,
    .monotonic_ms = bc_posix_monotonic_ms,
    .sleep_us = bc_posix_sleep_us,
    .processors = bc_posix_processors,
    .lower_priority = bc_posix_lower_priority,
};
