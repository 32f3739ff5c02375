#include "test/support/simdisk_impl.h"

#include <errno.h>

#define PAGE SIMDISK_PAGE
#define LARGEST_FILE ((uint64_t)1 << 40)

static struct sd_inode *create_file(struct simdisk *disk, struct sd_dir *dir, const char *name)
{
    struct sd_inode *f = sd_inode_new(disk->next_id++, name);
    disk->inodes = sd_alloc(disk->inodes, (disk->inode_count + 1) * sizeof(struct sd_inode *));
    disk->inodes[disk->inode_count++] = f;
    sd_names_set(&dir->now, name, f);
    sd_pending_add(disk, dir, NULL, name, f);
    return f;
}

static int sim_open(void *ctx, int dir, const char *name, unsigned flags, unsigned mode, int *ret_fd)
{
    struct simdisk *disk = ctx;
    (void)mode;
    sd_lock(disk);
    struct sd_descriptor *d = sd_find_descriptor(disk, dir, true, "open");
    struct sd_inode *f = d == NULL ? NULL : sd_names_find(&d->dir->now, name);
    bool create = (flags & BC_IO_CREATE) != 0;
    struct sd_op op = sd_new_op(disk, create && f == NULL ? SIMDISK_CREATE : SIMDISK_OPEN, name, 0, 0);
    if (d == NULL)
        return sd_end(&op, EBADF);
    if (!sd_begin(&op))
        return sd_end(&op, 0);
    if (f == NULL && !create)
        return sd_end(&op, ENOENT);
    if (f != NULL && create && (flags & BC_IO_EXCLUSIVE) != 0)
        return sd_end(&op, EEXIST);
    if (f == NULL)
        f = create_file(disk, d->dir, name);
    if (op.error == 0) {
        sd_inode_open(f);
        f->descriptors++;
        *ret_fd = sd_new_descriptor(disk, f, NULL, (flags & BC_IO_WRITE) != 0);
    }
    return sd_end(&op, 0);
}

static void sim_close(void *ctx, int fd)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    struct sd_descriptor *d = sd_find_descriptor(disk, fd, false, "close");
    if (d != NULL) {
        if (d->inode->lock_owner == fd)
            d->inode->lock_owner = -1;
        d->inode->descriptors--;
        *d = (struct sd_descriptor){.open = false};
        sd_collect(disk);
    }
    sd_unlock(disk);
}

static int sim_stat(void *ctx, int fd, struct bc_io_stat *ret)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_file(&op, ctx, SIMDISK_STAT, fd, 0, 0, &d) || op.error != 0)
        return sd_end(&op, 0);
    *ret = (struct bc_io_stat){d->inode->size, sd_links(op.disk, d->inode), 1, d->inode->id};
    return sd_end(&op, 0);
}

static int sim_lock(void *ctx, int fd)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_file(&op, ctx, SIMDISK_LOCK, fd, 0, 0, &d))
        return sd_end(&op, 0);
    if (d->inode->lock_owner >= 0 && d->inode->lock_owner != fd)
        return sd_end(&op, EWOULDBLOCK);
    d->inode->lock_owner = fd;
    return sd_end(&op, 0);
}

static int sim_read(void *ctx, int fd, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_file(&op, ctx, SIMDISK_READ, fd, offset, size, &d) || op.error != 0)
        return sd_end(&op, 0);
    uint64_t rest = offset < d->inode->size ? d->inode->size - offset : 0;
    size_t got = (size_t)BC_MIN((uint64_t)size, rest);
    sd_inode_read(d->inode, offset, buf, got);
    *ret_got = got;
    return sd_end(&op, 0);
}

bool sd_reserve(struct simdisk *disk, struct sd_inode *f, uint64_t first_page, uint64_t end_page)
{
    uint64_t need = 0;
    for (uint64_t i = first_page; i < end_page; i++)
        need += !sd_inode_is_allocated(f, i);
    if (need > 0 && sd_used(disk) + need * PAGE > disk->capacity)
        return false;
    for (uint64_t i = first_page; i < end_page; i++)
        sd_inode_allocate(f, i);
    return true;
}

/* Writes at most limit bytes of the slices, and only as many as there is room for. */
static int write_some(struct simdisk *disk, struct sd_inode *f, uint64_t offset, const struct bc_io_slice *slices, size_t count,
                      uint64_t limit)
{
    for (size_t i = 0; i < count; i++) {
        const char *data = slices[i].data;
        uint64_t left = BC_MIN((uint64_t)slices[i].size, limit);
        for (limit -= left; left > 0;) {
            uint64_t n = BC_MIN(left, PAGE - offset % PAGE);
            if (!sd_reserve(disk, f, offset / PAGE, offset / PAGE + 1))
                return ENOSPC;
            sd_inode_write(f, offset, data, (size_t)n);
            data += n;
            offset += n;
            left -= n;
        }
    }
    return 0;
}

static int sim_write(void *ctx, int fd, uint64_t offset, const struct bc_io_slice *slices, size_t count)
{
    struct sd_op op;
    struct sd_descriptor *d;
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += slices[i].size;
    if (!sd_enter_file(&op, ctx, SIMDISK_WRITE, fd, offset, total, &d)) {
        if (op.short_bytes == 0)
            return sd_end(&op, 0);
        total = BC_MIN(total, op.short_bytes);
    }
    if (!d->writable) {
        sd_misuse(op.disk, "%s: write by a read-only descriptor", d->inode->name);
        return sd_end(&op, EBADF);
    }
    if (offset > LARGEST_FILE || total > LARGEST_FILE - offset)
        return sd_end(&op, EFBIG);
    sd_check_past_end(op.disk, d->inode);
    return sd_end(&op, write_some(op.disk, d->inode, offset, slices, count, total));
}

static int sim_sync(void *ctx, int fd)
{
    struct sd_op op;
    struct sd_descriptor *d;
    bool go = sd_enter_file(&op, ctx, SIMDISK_SYNC, fd, 0, 0, &d);
    if (d == NULL || op.disk->stopped)
        return sd_end(&op, 0);
    sd_check_past_end(op.disk, d->inode);
    if (!go && op.disk->sync_failure == SIMDISK_FAILED_SYNC_KEEPS)
        return sd_end(&op, 0);
    unsigned drop_every = go ? 0 : op.disk->sync_failure == SIMDISK_FAILED_SYNC_DROPS ? 1 : 2;
    if (sd_inode_sync(d->inode, drop_every))
        sd_misuse(op.disk, "%s: a mapping stored into space that was not allocated", d->inode->name);
    return sd_end(&op, 0);
}

static int sim_allocate(void *ctx, int fd, uint64_t offset, uint64_t size)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_file(&op, ctx, SIMDISK_ALLOCATE, fd, offset, size, &d))
        return sd_end(&op, 0);
    if (!d->writable || size == 0)
        return sd_end(&op, d->writable ? EINVAL : EBADF);
    if (offset > LARGEST_FILE || size > LARGEST_FILE - offset)
        return sd_end(&op, EFBIG);
    sd_check_past_end(op.disk, d->inode);
    if (!sd_reserve(op.disk, d->inode, offset / PAGE, sd_pages_of(offset + size)))
        return sd_end(&op, ENOSPC);
    if (offset + size > d->inode->size)
        sd_inode_resize(d->inode, offset + size);
    return sd_end(&op, 0);
}

static int sim_truncate(void *ctx, int fd, uint64_t size)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_file(&op, ctx, SIMDISK_TRUNCATE, fd, 0, size, &d))
        return sd_end(&op, 0);
    if (!d->writable || size > LARGEST_FILE)
        return sd_end(&op, d->writable ? EFBIG : EINVAL);
    sd_check_past_end(op.disk, d->inode);
    sd_inode_resize(d->inode, size);
    return sd_end(&op, 0);
}

static int sim_drop_cache(void *ctx, int fd, uint64_t offset, uint64_t size)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_file(&op, ctx, SIMDISK_DROP_CACHE, fd, offset, size, &d))
        return sd_end(&op, 0);
    if (d->inode->mappings == 0) /* the kernel keeps pages that someone maps */
        sd_inode_forget_dropped(d->inode, offset, size);
    return sd_end(&op, 0);
}

const struct bc_io sd_io = {
    .version = 1,
    .dir_open = sd_sim_dir_open,
    .dir_close = sd_sim_dir_close,
    .dir_sync = sd_sim_dir_sync,
    .dir_sync_parent = sd_sim_dir_sync_parent,
    .dir_list = sd_sim_dir_list,
    .dir_free_space = sd_sim_dir_free_space,
    .dir_maps_well = sd_sim_dir_maps_well,
    .dir_open_below = sd_sim_dir_open_below,
    .rename = sd_sim_rename,
    .unlink = sd_sim_unlink,
    .link = sd_sim_link,
    .open = sim_open,
    .close = sim_close,
    .stat = sim_stat,
    .lock = sim_lock,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .allocate = sim_allocate,
    .truncate = sim_truncate,
    .drop_cache = sim_drop_cache,
    .map = sd_sim_map,
    .unmap = sd_sim_unmap,
    .populate = sd_sim_populate,
    .protect = sd_sim_protect,
    .settle = sd_sim_settle,
    .preload = sd_sim_preload,
    .memory_map = sd_sim_memory_map,
    .memory_map_huge = sd_sim_memory_map_huge,
    .memory_discard = sd_sim_memory_discard,
    .memory_unmap = sd_sim_unmap,
    .random = sd_sim_random,
    .wall_ms = sd_sim_wall_ms,
    .monotonic_ms = sd_sim_monotonic_ms,
    .sleep_us = sd_sim_sleep_us,
    .processors = sd_sim_processors,
    .lower_priority = sd_sim_lower_priority,
};
