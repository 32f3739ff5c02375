#include "test/support/simdisk_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_OF(image, dir) ((image) == SIMDISK_DURABLE ? &(dir)->durable : &(dir)->now)

static struct sd_inode *lookup(struct simdisk *disk, const char *path, unsigned image)
{
    const char *name;
    struct sd_dir *dir = sd_dir_of(disk, path, &name);
    return dir == NULL ? NULL : sd_names_find(NAMES_OF(image, dir), name);
}

static uint64_t size_of(const struct sd_inode *f, unsigned image)
{
    return image == SIMDISK_DURABLE ? f->durable_size : f->size;
}

static void read_image(struct sd_inode *f, unsigned image, void *buf, size_t size)
{
    if (image == SIMDISK_DURABLE)
        sd_durable_read(f, 0, buf, size);
    else
        sd_inode_read(f, 0, buf, size);
}

int simdisk_read_file(struct simdisk *disk, const char *path, unsigned image, void **ret_data, size_t *ret_size)
{
    sd_lock(disk);
    struct sd_inode *f = lookup(disk, path, image);
    if (f != NULL) {
        *ret_size = (size_t)size_of(f, image);
        *ret_data = sd_alloc(NULL, *ret_size);
        read_image(f, image, *ret_data, *ret_size);
    }
    sd_unlock(disk);
    return f == NULL ? ENOENT : 0;
}

static void allocate_all(struct sd_inode *f, uint64_t size)
{
    for (uint64_t i = 0; i < sd_pages_of(size); i++)
        sd_inode_allocate(f, i);
}

/* A name that is in place at once, whatever is pending for it. */
static void set_name(struct sd_dir *dir, const char *name, struct sd_inode *f)
{
    sd_names_set(&dir->now, name, f);
    sd_names_set(&dir->durable, name, f);
}

static void drop_pending(struct simdisk *disk, const struct sd_dir *dir, const char *name)
{
    for (size_t i = 0; i < disk->pending_count;) {
        struct sd_pending *op = &disk->pending[i];
        const char *last = op->to != NULL ? op->to : op->from;
        if (op->dir != dir || strcmp(last, name) != 0) {
            i++;
            continue;
        }
        free(op->from);
        free(op->to);
        memmove(op, op + 1, (--disk->pending_count - i) * sizeof *op);
    }
}

int simdisk_write_file(struct simdisk *disk, const char *path, const void *data, size_t size)
{
    const char *name;
    sd_lock(disk);
    struct sd_dir *dir = sd_dir_of(disk, path, &name);
    if (dir != NULL) {
        struct sd_inode *f = sd_inode_new(disk->next_id++, name);
        disk->inodes = sd_alloc(disk->inodes, (disk->inode_count + 1) * sizeof(struct sd_inode *));
        disk->inodes[disk->inode_count++] = f;
        sd_durable_write(f, 0, data, size);
        f->size = f->durable_size = size;
        allocate_all(f, size);
        drop_pending(disk, dir, name);
        set_name(dir, name, f);
        sd_collect(disk);
    }
    sd_unlock(disk);
    return dir == NULL ? ENOENT : 0;
}

int simdisk_flip(struct simdisk *disk, const char *path, unsigned images, uint64_t offset, unsigned mask)
{
    sd_lock(disk);
    struct sd_inode *f = lookup(disk, path, SIMDISK_VOLATILE);
    int error = f == NULL ? ENOENT : 0;
    unsigned char byte;
    if (f != NULL && (((images & SIMDISK_VOLATILE) != 0 && offset >= f->size) ||
                      ((images & SIMDISK_DURABLE) != 0 && offset >= f->durable_size)))
        error = EINVAL;
    /* Without a memfd the volatile image is the durable one: it must get one before they part. */
    if (error == 0 && images != SIMDISK_BOTH)
        sd_inode_open(f);
    if (error == 0 && (images & SIMDISK_VOLATILE) != 0 && f->memfd >= 0) {
        sd_inode_read(f, offset, &byte, 1);
        byte = (unsigned char)(byte ^ mask);
        sd_inode_write(f, offset, &byte, 1);
    }
    if (error == 0 && (images & SIMDISK_DURABLE) != 0) {
        sd_durable_read(f, offset, &byte, 1);
        byte = (unsigned char)(byte ^ mask);
        sd_durable_write(f, offset, &byte, 1);
    }
    sd_unlock(disk);
    return error;
}

int simdisk_cut(struct simdisk *disk, const char *path, uint64_t size)
{
    sd_lock(disk);
    struct sd_inode *f = lookup(disk, path, SIMDISK_VOLATILE);
    if (f != NULL) {
        sd_inode_resize(f, size);
        sd_durable_resize(f, size);
    }
    sd_unlock(disk);
    return f == NULL ? ENOENT : 0;
}

int simdisk_link(struct simdisk *disk, const char *from, const char *to)
{
    const char *name;
    sd_lock(disk);
    struct sd_inode *f = lookup(disk, from, SIMDISK_VOLATILE);
    struct sd_dir *dir = sd_dir_of(disk, to, &name);
    if (f != NULL && dir != NULL)
        set_name(dir, name, f);
    sd_collect(disk);
    sd_unlock(disk);
    return f == NULL || dir == NULL ? ENOENT : 0;
}

int simdisk_remove(struct simdisk *disk, const char *path)
{
    const char *name = NULL;
    sd_lock(disk);
    struct sd_inode *f = lookup(disk, path, SIMDISK_VOLATILE);
    if (f != NULL) {
        struct sd_dir *dir = sd_dir_of(disk, path, &name);
        drop_pending(disk, dir, name);
        set_name(dir, name, NULL);
        sd_collect(disk);
    }
    sd_unlock(disk);
    return f == NULL ? ENOENT : 0;
}

int simdisk_size(struct simdisk *disk, const char *path, unsigned image, uint64_t *ret)
{
    sd_lock(disk);
    const struct sd_inode *f = lookup(disk, path, image);
    if (f != NULL)
        *ret = size_of(f, image);
    sd_unlock(disk);
    return f == NULL ? ENOENT : 0;
}

int simdisk_dirty_sectors(struct simdisk *disk, const char *path, size_t *ret)
{
    sd_lock(disk);
    struct sd_inode *f = lookup(disk, path, SIMDISK_VOLATILE);
    if (f != NULL) {
        struct sd_dirty dirty = sd_inode_dirty(f);
        *ret = dirty.count;
        free(dirty.sectors);
    }
    sd_unlock(disk);
    return f == NULL ? ENOENT : 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct sd_entry *)a)->name, ((const struct sd_entry *)b)->name);
}

static void sorted_copy(struct sd_names *to, const struct sd_names *from)
{
    sd_names_copy(to, from);
    if (to->count > 0)
        qsort(to->entry, to->count, sizeof *to->entry, by_name);
}

int simdisk_list(struct simdisk *disk, const char *path, unsigned image, bc_io_name_fn fn, void *arg)
{
    struct sd_names names = {NULL, 0};
    sd_lock(disk);
    struct sd_dir *dir = sd_dir_find(disk, path);
    if (dir != NULL)
        sorted_copy(&names, NAMES_OF(image, dir));
    sd_unlock(disk);
    int result = dir == NULL ? ENOENT : 0;
    for (size_t i = 0; i < names.count && result == 0; i++)
        result = fn(names.entry[i].name, arg);
    sd_names_clear(&names);
    return result;
}

static uint64_t digest_bytes(uint64_t hash, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)data)[i]) * 0x100000001b3U; /* FNV-1a */
    return hash;
}

uint64_t simdisk_digest(struct simdisk *disk, unsigned image)
{
    uint64_t hash = 0xcbf29ce484222325U;
    sd_lock(disk);
    for (size_t i = 0; i < disk->dir_count; i++) {
        struct sd_names names = {NULL, 0};
        sorted_copy(&names, NAMES_OF(image, disk->dirs[i]));
        hash = digest_bytes(hash, disk->dirs[i]->path, strlen(disk->dirs[i]->path) + 1);
        for (size_t j = 0; j < names.count; j++) {
            struct sd_inode *f = names.entry[j].inode;
            uint64_t size = size_of(f, image);
            void *data = sd_alloc(NULL, (size_t)size);
            read_image(f, image, data, (size_t)size);
            hash = digest_bytes(hash, names.entry[j].name, strlen(names.entry[j].name) + 1);
            hash = digest_bytes(digest_bytes(hash, &size, sizeof size), data, (size_t)size);
            free(data);
        }
        sd_names_clear(&names);
    }
    sd_unlock(disk);
    return hash;
}
