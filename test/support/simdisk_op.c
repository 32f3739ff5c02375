#include "test/support/simdisk_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void sd_lock(struct simdisk *disk)
{
    pthread_mutex_lock(&disk->mutex);
}

void sd_unlock(struct simdisk *disk)
{
    pthread_mutex_unlock(&disk->mutex);
}

static bool machine_stops(struct simdisk *disk, unsigned kind)
{
    if (!disk->stopped && disk->stop_in != 0 && (kind & disk->stop_kinds) != 0 && --disk->stop_in == 0) {
        disk->at_stop = sd_clone(disk);
        disk->stopped = true;
    }
    /* Memory and randomness are no disk's: a program that unwinds may still want them. */
    return disk->stopped && (kind & (SIMDISK_MEMORY | SIMDISK_RANDOM)) == 0;
}

bool sd_begin(struct sd_op *op)
{
    struct simdisk *disk = op->disk;
    disk->counts[__builtin_ctz(op->kind)]++;
    if (machine_stops(disk, op->kind)) {
        op->error = EIO;
        return false;
    }
    for (size_t i = 0; i < disk->fault_count; i++) {
        struct sd_fault *f = &disk->faults[i];
        if ((f->fault.kinds & op->kind) == 0 || (f->fault.name != NULL && strstr(op->name, f->name) == NULL))
            continue;
        f->seen++;
        bool due = f->seen == f->fault.at || (f->fault.from && f->seen > f->fault.at);
        if (!due || op->error != 0)
            continue;
        disk->fault_hits++;
        op->error = f->fault.error;
        op->done = f->fault.done;
        op->short_bytes = f->fault.short_bytes;
    }
    return op->error == 0 || op->done;
}

int sd_end(struct sd_op *op, int result)
{
    struct simdisk *disk = op->disk;
    if (op->error != 0)
        result = op->error;
    if (!disk->stopped) {
        struct sd_trace *t = &disk->trace[disk->trace_next % SD_TRACE];
        t->number = ++disk->trace_next;
        t->kind = op->kind;
        t->offset = op->offset;
        t->size = op->size;
        t->result = result;
        memcpy(t->name, op->name, sizeof t->name);
    }
    sd_unlock(disk);
    return result;
}

uint64_t simdisk_op_count(struct simdisk *disk, unsigned kinds)
{
    uint64_t sum = 0;
    sd_lock(disk);
    for (unsigned i = 0; i < SIMDISK_KINDS; i++)
        sum += (kinds >> i & 1) != 0 ? disk->counts[i] : 0;
    sd_unlock(disk);
    return sum;
}

void simdisk_print_trace(struct simdisk *disk, FILE *out)
{
    static const char *const kinds[SIMDISK_KINDS] = {
        "dir_open",   "dir_create", "dir_sync", "dir_list", "dir_free_space", "rename", "unlink",   "open",
        "create",     "stat",       "lock",     "read",     "write",          "sync",   "allocate", "truncate",
        "drop_cache", "map",        "populate", "protect",  "memory_map",     "random", "link"};
    sd_lock(disk);
    uint64_t first = disk->trace_next > SD_TRACE ? disk->trace_next - SD_TRACE : 0;
    for (uint64_t i = first; i < disk->trace_next; i++) {
        const struct sd_trace *t = &disk->trace[i % SD_TRACE];
        fprintf(out, "%6" PRIu64 " %-14s %-24s offset %" PRIu64 " size %" PRIu64 ": %s\n", t->number,
                kinds[__builtin_ctz(t->kind)], t->name, t->offset, t->size, t->result == 0 ? "ok" : strerror(t->result));
    }
    if (disk->stopped)
        fprintf(out, "       the machine stops\n");
    sd_unlock(disk);
}

void simdisk_fail(struct simdisk *disk, const struct simdisk_fault *fault)
{
    sd_lock(disk);
    if (disk->fault_count == SD_FAULTS)
        abort();
    struct sd_fault *f = &disk->faults[disk->fault_count++];
    f->fault = *fault;
    f->seen = 0;
    snprintf(f->name, sizeof f->name, "%s", fault->name == NULL ? "" : fault->name);
    sd_unlock(disk);
}

void simdisk_fail_clear(struct simdisk *disk)
{
    sd_lock(disk);
    disk->fault_count = 0;
    sd_unlock(disk);
}

uint64_t simdisk_fail_hits(struct simdisk *disk)
{
    sd_lock(disk);
    uint64_t hits = disk->fault_hits;
    sd_unlock(disk);
    return hits;
}

void simdisk_stop_at(struct simdisk *disk, unsigned kinds, uint64_t k)
{
    sd_lock(disk);
    disk->stop_kinds = kinds;
    disk->stop_in = k;
    sd_unlock(disk);
}

struct simdisk *simdisk_take_stopped(struct simdisk *disk)
{
    sd_lock(disk);
    struct simdisk *at_stop = disk->at_stop;
    disk->at_stop = NULL;
    sd_unlock(disk);
    return at_stop;
}

/* ---- operations on descriptors ---- */

struct sd_descriptor *sd_find_descriptor(struct simdisk *disk, int fd, bool is_dir, const char *what)
{
    size_t i = (size_t)(fd - SD_FIRST_DESCRIPTOR);
    struct sd_descriptor *d = fd < SD_FIRST_DESCRIPTOR || i >= disk->descriptor_count ? NULL : &disk->descriptors[i];
    if (d != NULL && d->open && (d->dir != NULL) == is_dir)
        return d;
    if (d == NULL || !d->stale)
        sd_misuse(disk, "%s: descriptor %d is not an open %s", what, fd, is_dir ? "directory" : "file");
    return NULL;
}

struct sd_op sd_new_op(struct simdisk *disk, unsigned kind, const char *name, uint64_t offset, uint64_t size)
{
    struct sd_op op = {disk, kind, "", offset, size, 0, false, 0};
    snprintf(op.name, sizeof op.name, "%s", name);
    return op;
}

bool sd_enter_file(struct sd_op *op, void *ctx, unsigned kind, int fd, uint64_t offset, uint64_t size,
                   struct sd_descriptor **ret)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    *ret = sd_find_descriptor(disk, fd, false, "file operation");
    *op = sd_new_op(disk, kind, *ret == NULL ? "?" : (*ret)->inode->name, offset, size);
    op->error = *ret == NULL ? EBADF : 0;
    return *ret != NULL && sd_begin(op);
}

bool sd_enter_dir(struct sd_op *op, void *ctx, unsigned kind, int fd, const char *name, struct sd_descriptor **ret)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    *ret = sd_find_descriptor(disk, fd, true, "directory operation");
    *op = sd_new_op(disk, kind, name != NULL ? name : *ret == NULL ? "?" : (*ret)->dir->path, 0, 0);
    op->error = *ret == NULL ? EBADF : 0;
    return *ret != NULL && sd_begin(op);
}

int sd_new_descriptor(struct simdisk *disk, struct sd_inode *inode, struct sd_dir *dir, bool writable)
{
    disk->descriptors = sd_alloc(disk->descriptors, (disk->descriptor_count + 1) * sizeof *disk->descriptors);
    disk->descriptors[disk->descriptor_count] = (struct sd_descriptor){true, writable, false, inode, dir};
    return SD_FIRST_DESCRIPTOR + (int)disk->descriptor_count++;
}

void sd_check_past_end(struct simdisk *disk, struct sd_inode *f)
{
    if (sd_inode_clear_past_end(f))
        sd_misuse(disk, "%s: a mapping stored past the end of the file (%llu)", f->name, (unsigned long long)f->size);
}
