#include "bitcask/io_posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

static int open_directory(int at, const char *path, int *ret_dir)
{
    int dir = -1;
    BC_RETRY(dir, openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (dir < 0)
        return errno;
    *ret_dir = dir;
    return 0;
}

int bc_posix_dir_sync_parent(void *ctx, int dir)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    int parent = -1;
    int error = open_directory(dir, "..", &parent);
    /* A parent that may be passed through but not read cannot be synced by this process, whatever it does. */
    if (error == EACCES)
        return 0;
    if (error != 0)
        return error;
    error = bc_posix_sync_once(parent, fsync);
    close(parent);
    return error;
}

int bc_posix_dir_open(void *ctx, const char *path, bool create, int *ret_dir)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    int dir = -1;
    int error = open_directory(AT_FDCWD, path, &dir);
    if (error == ENOENT && create) {
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return errno;
        error = open_directory(AT_FDCWD, path, &dir);
    }
    if (error == 0)
        *ret_dir = dir;
    return error;
}

void bc_posix_dir_close(void *ctx, int dir)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    close(dir);
}

int bc_posix_dir_sync(void *ctx, int dir)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    return bc_posix_sync_once(dir, fsync);
}

int bc_posix_dir_list(void *ctx, int dir, bc_io_name_fn fn, void *arg)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    int copy = fcntl(dir, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return errno;
    DIR *stream = fdopendir(copy);
    if (stream == NULL) {
        int error = errno;
        close(copy);
        return error;
    }
    rewinddir(stream); /* the duplicate shares its position with all earlier listings */
    int result = 0;
    while (result == 0) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            result = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = fn(entry->d_name, arg);
    }
    closedir(stream);
    return result;
}

int bc_posix_dir_free_space(void *ctx, int dir, uint64_t *ret_bytes)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    struct statvfs st;
    int rc;
    BC_RETRY(rc, fstatvfs(dir, &st));
    if (rc != 0)
        return errno;
    uint64_t bytes;
    *ret_bytes = __builtin_mul_overflow((uint64_t)st.f_bavail, (uint64_t)st.f_frsize, &bytes) ? UINT64_MAX : bytes;
    return 0;
}

bool bc_posix_dir_maps_well(void *ctx, int dir)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    struct statfs st;
    int rc;
    BC_RETRY(rc, fstatfs(dir, &st));
    if (rc != 0)
        return false;
    switch ((unsigned long)st.f_type) {
    case EXT4_SUPER_MAGIC: /* ext2 and ext3 too */
    case XFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
        return true;
    default:
        return false;
    }
}

int bc_posix_dir_open_below(void *ctx, int dir, const char *name, bool create, int *ret_dir)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    if (create && mkdirat(dir, name, 0700) != 0 && errno != EEXIST)
        return errno;
    int below = -1;
    BC_RETRY(below, openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (below < 0)
        return errno;
    *ret_dir = below;
    return 0;
}

int bc_posix_rename(void *ctx, int dir, const char *from, const char *to)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    return renameat(dir, from, dir, to) == 0 ? 0 : errno;
}

int bc_posix_unlink(void *ctx, int dir, const char *name)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    return unlinkat(dir, name, 0) == 0 ? 0 : errno;
}

int bc_posix_link(void *ctx, int from_dir, const char *from, int to_dir, const char *to)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    return linkat(from_dir, from, to_dir, to, 0) == 0 ? 0 : errno;
}
