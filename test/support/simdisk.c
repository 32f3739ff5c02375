#include "test/support/simdisk_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ---- */

struct simdisk *simdisk_new(uint64_t seed)
{
    struct simdisk *disk = sd_alloc(NULL, sizeof *disk);
    memset(disk, 0, sizeof *disk);
    pthread_mutex_init(&disk->mutex, NULL);
    disk->io = sd_io;
    disk->io.ctx = disk;
    disk->next_id = 1;
    disk->capacity = (uint64_t)1 << 40;
    disk->maps_well = true;
    disk->wall_ms = 1700000000000;
    disk->monotonic_ms = 1000000;
    disk->random = seed;
    sd_dir_new(disk, "/");
    sd_dir_new(disk, ".");
    return disk;
}

void simdisk_free(struct simdisk *disk)
{
    if (disk == NULL)
        return;
    simdisk_free(disk->at_stop);
    sd_pending_clear(disk, NULL);
    for (size_t i = 0; i < disk->inode_count; i++)
        sd_inode_free(disk->inodes[i]);
    for (size_t i = 0; i < disk->dir_count; i++) {
        sd_names_clear(&disk->dirs[i]->now);
        sd_names_clear(&disk->dirs[i]->durable);
        free(disk->dirs[i]->path);
        free(disk->dirs[i]);
    }
    free(disk->inodes);
    free(disk->dirs);
    free(disk->pending);
    free(disk->descriptors);
    free(disk->mappings);
    pthread_mutex_destroy(&disk->mutex);
    free(disk);
}

const struct bc_io *simdisk_io(struct simdisk *disk)
{
    return &disk->io;
}

static struct sd_inode *twin(const struct simdisk *from, const struct simdisk *to, const struct sd_inode *inode)
{
    for (size_t i = 0; i < from->inode_count; i++)
        if (from->inodes[i] == inode)
            return to->inodes[i];
    abort();
}

static void clone_names(const struct simdisk *from, const struct simdisk *to, const struct sd_names *src, struct sd_names *dst)
{
    sd_names_copy(dst, src);
    for (size_t i = 0; i < dst->count; i++)
        dst->entry[i].inode = twin(from, to, dst->entry[i].inode);
}

struct simdisk *sd_clone(struct simdisk *from)
{
    struct simdisk *to = simdisk_new(from->random);
    to->inodes = sd_alloc(NULL, from->inode_count * sizeof *to->inodes);
    for (; to->inode_count < from->inode_count; to->inode_count++)
        to->inodes[to->inode_count] = sd_inode_clone(from->inodes[to->inode_count]);
    for (size_t i = 0; i < from->dir_count; i++) {
        const struct sd_dir *src = from->dirs[i];
        struct sd_dir *dst = i < to->dir_count ? to->dirs[i] : sd_dir_new(to, src->path);
        clone_names(from, to, &src->now, &dst->now);
        clone_names(from, to, &src->durable, &dst->durable);
    }
    for (size_t i = 0; i < from->pending_count; i++) {
        const struct sd_pending *op = &from->pending[i];
        sd_pending_add(to, sd_dir_find(to, op->dir->path), op->from, op->to, twin(from, to, op->inode));
    }
    to->next_id = from->next_id;
    to->names_model = from->names_model;
    to->sync_failure = from->sync_failure;
    to->capacity = from->capacity;
    to->maps_well = from->maps_well;
    to->map_error = from->map_error;
    to->wall_ms = from->wall_ms;
    to->monotonic_ms = from->monotonic_ms;
    memcpy(to->trace, from->trace, sizeof to->trace);
    to->trace_next = from->trace_next;
    sd_collect(to);
    return to;
}

struct simdisk *simdisk_clone(struct simdisk *disk)
{
    sd_lock(disk);
    struct simdisk *copy = sd_clone(disk);
    sd_unlock(disk);
    return copy;
}

void sd_drop_process(struct simdisk *disk)
{
    for (size_t i = 0; i < disk->descriptor_count; i++)
        disk->descriptors[i] = (struct sd_descriptor){.stale = true};
    for (size_t i = 0; i < disk->mapping_count; i++)
        disk->mappings[i].inode = NULL;
    for (size_t i = 0; i < disk->inode_count; i++)
        sd_inode_detach(disk->inodes[i]);
}

void simdisk_kill(struct simdisk *disk)
{
    sd_lock(disk);
    sd_drop_process(disk);
    sd_collect(disk);
    sd_unlock(disk);
}

/* ---- settings and checks ---- */

#define SETTER(name, type, member)                                                                                             \
    void simdisk_set_##name(struct simdisk *disk, type value)                                                                  \
    {                                                                                                                          \
        sd_lock(disk);                                                                                                         \
        disk->member = value;                                                                                                  \
        sd_unlock(disk);                                                                                                       \
    }
SETTER(names, enum simdisk_names, names_model)
SETTER(sync_failure, enum simdisk_sync_failure, sync_failure)
SETTER(capacity, uint64_t, capacity)
SETTER(maps_well, bool, maps_well)
SETTER(map_error, int, map_error)
SETTER(wall_ms, int64_t, wall_ms)
SETTER(monotonic_ms, int64_t, monotonic_ms)

uint64_t sd_used(const struct simdisk *disk)
{
    uint64_t pages = 0;
    for (size_t i = 0; i < disk->inode_count; i++) {
        const struct sd_inode *f = disk->inodes[i];
        if (f->descriptors > 0 || f->mappings > 0 || sd_links(disk, f) > 0)
            pages += f->pages_used;
    }
    return pages * SIMDISK_PAGE;
}

uint64_t simdisk_used(struct simdisk *disk)
{
    sd_lock(disk);
    uint64_t used = sd_used(disk);
    sd_unlock(disk);
    return used;
}

unsigned simdisk_open_descriptors(struct simdisk *disk)
{
    unsigned open = 0;
    sd_lock(disk);
    for (size_t i = 0; i < disk->descriptor_count; i++)
        open += disk->descriptors[i].open;
    sd_unlock(disk);
    return open;
}

unsigned simdisk_open_mappings(struct simdisk *disk)
{
    sd_lock(disk);
    unsigned open = (unsigned)disk->mapping_count;
    sd_unlock(disk);
    return open;
}

unsigned simdisk_pending_names(struct simdisk *disk)
{
    sd_lock(disk);
    unsigned pending = (unsigned)disk->pending_count;
    sd_unlock(disk);
    return pending;
}

void sd_misuse(struct simdisk *disk, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (disk->misuses++ == 0)
        vsnprintf(disk->first_misuse, sizeof disk->first_misuse, format, args);
    va_end(args);
}

unsigned simdisk_misuses(struct simdisk *disk, char *first, size_t size)
{
    sd_lock(disk);
    unsigned misuses = disk->misuses;
    if (size > 0)
        snprintf(first, size, "%s", disk->first_misuse);
    sd_unlock(disk);
    return misuses;
}

uint64_t sd_next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}
