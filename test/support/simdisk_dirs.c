#include "test/support/simdisk_impl.h"

#include <errno.h>
#include <string.h>

int sd_sim_dir_open(void *ctx, const char *path, bool create, int *ret_dir)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    struct sd_dir *dir = sd_dir_find(disk, path);
    struct sd_op op = sd_new_op(disk, dir == NULL && create ? SIMDISK_DIR_CREATE : SIMDISK_DIR_OPEN, path, 0, 0);
    if (!sd_begin(&op))
        return sd_end(&op, 0);
    if (dir == NULL) {
        const char *name;
        struct sd_dir *parent = sd_dir_of(disk, path, &name);
        if (parent != NULL && sd_names_find(&parent->now, name) != NULL)
            return sd_end(&op, ENOTDIR);
        if (parent == NULL || !create)
            return sd_end(&op, ENOENT);
        dir = sd_dir_new(disk, path);
    }
    if (op.error == 0)
        *ret_dir = sd_new_descriptor(disk, NULL, dir, false);
    return sd_end(&op, 0);
}

void sd_sim_dir_close(void *ctx, int fd)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    struct sd_descriptor *d = sd_find_descriptor(disk, fd, true, "dir_close");
    if (d != NULL)
        *d = (struct sd_descriptor){.open = false};
    sd_unlock(disk);
}

/* Directories themselves are durable from the start. */
int sd_sim_dir_sync_parent(void *ctx, int fd)
{
    (void)ctx;
    (void)fd;
    return 0;
}

int sd_sim_dir_sync(void *ctx, int fd)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_dir(&op, ctx, SIMDISK_DIR_SYNC, fd, NULL, &d))
        return sd_end(&op, 0);
    sd_names_copy(&d->dir->durable, &d->dir->now);
    sd_pending_clear(op.disk, d->dir);
    sd_collect(op.disk);
    return sd_end(&op, 0);
}

int sd_sim_dir_list(void *ctx, int fd, bc_io_name_fn fn, void *arg)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_dir(&op, ctx, SIMDISK_DIR_LIST, fd, NULL, &d) || op.error != 0)
        return sd_end(&op, 0);
    struct sd_names names = {NULL, 0};
    sd_names_copy(&names, &d->dir->now);
    int result = sd_end(&op, 0);
    /* The callback may use the disk. */
    for (size_t i = 0; i < names.count && result == 0; i++)
        result = fn(names.entry[i].name, arg);
    sd_names_clear(&names);
    return result;
}

int sd_sim_dir_free_space(void *ctx, int fd, uint64_t *ret_bytes)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_dir(&op, ctx, SIMDISK_DIR_SPACE, fd, NULL, &d) || op.error != 0)
        return sd_end(&op, 0);
    uint64_t used = sd_used(op.disk);
    *ret_bytes = used < op.disk->capacity ? op.disk->capacity - used : 0;
    return sd_end(&op, 0);
}

bool sd_sim_dir_maps_well(void *ctx, int fd)
{
    struct simdisk *disk = ctx;
    (void)fd;
    sd_lock(disk);
    bool well = disk->maps_well;
    sd_unlock(disk);
    return well;
}

int sd_sim_dir_open_below(void *ctx, int fd, const char *name, bool create, int *ret_dir)
{
    struct simdisk *disk = ctx;
    char path[128];
    sd_lock(disk);
    struct sd_descriptor *d = sd_find_descriptor(disk, fd, true, "dir_open_below");
    snprintf(path, sizeof path, "%s/%s", d == NULL ? "?" : d->dir->path, name);
    bool file = d != NULL && sd_names_find(&d->dir->now, name) != NULL;
    sd_unlock(disk);
    return d == NULL ? EBADF : file ? ENOTDIR : sd_sim_dir_open(ctx, path, create, ret_dir);
}

int sd_sim_rename(void *ctx, int fd, const char *from, const char *to)
{
    struct sd_op op;
    struct sd_descriptor *d;
    bool go = sd_enter_dir(&op, ctx, SIMDISK_RENAME, fd, to, &d);
    snprintf(op.name, sizeof op.name, "%s -> %s", from, to);
    if (!go)
        return sd_end(&op, 0);
    struct sd_inode *f = sd_names_find(&d->dir->now, from);
    if (f == NULL)
        return sd_end(&op, ENOENT);
    if (sd_names_find(&d->dir->now, to) != f) {
        sd_pending_add(op.disk, d->dir, from, to, f);
        sd_names_set(&d->dir->now, from, NULL);
        sd_names_set(&d->dir->now, to, f);
        snprintf(f->name, sizeof f->name, "%s", to);
        sd_collect(op.disk);
    }
    return sd_end(&op, 0);
}

int sd_sim_unlink(void *ctx, int fd, const char *name)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_dir(&op, ctx, SIMDISK_UNLINK, fd, name, &d))
        return sd_end(&op, 0);
    struct sd_inode *f = sd_names_find(&d->dir->now, name);
    if (f == NULL)
        return sd_end(&op, ENOENT);
    sd_pending_add(op.disk, d->dir, name, NULL, f);
    sd_names_set(&d->dir->now, name, NULL);
    sd_collect(op.disk);
    return sd_end(&op, 0);
}

/* The new name is pending as that of a file that was made: the inode is the other name's. */
int sd_sim_link(void *ctx, int from_fd, const char *from, int to_fd, const char *to)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_dir(&op, ctx, SIMDISK_LINK, to_fd, to, &d))
        return sd_end(&op, 0);
    const struct sd_descriptor *source = sd_find_descriptor(op.disk, from_fd, true, "link");
    struct sd_inode *f = source == NULL ? NULL : sd_names_find(&source->dir->now, from);
    if (f == NULL)
        return sd_end(&op, source == NULL ? EBADF : ENOENT);
    if (sd_names_find(&d->dir->now, to) != NULL)
        return sd_end(&op, EEXIST);
    sd_pending_add(op.disk, d->dir, NULL, to, f);
    sd_names_set(&d->dir->now, to, f);
    return sd_end(&op, 0);
}
