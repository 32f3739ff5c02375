#include "bitcask/leftovers.h"

#include <inttypes.h>
#include <stdlib.h>

#include "bitcask/error.h"
#include "bitcask/scan.h"

static bool listed(const struct bc_manifest *m, uint64_t id)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->files[i].name.id == id)
            return true;
    return false;
}

static int no_data_file(enum bc_name_kind kind, uint64_t id, const char *name, void *arg)
{
    const struct bc_directory *dir = arg;
    (void)id;
    if (kind != BC_NAME_DATA)
        return BITCASK_OK;
    return bc_fail(BITCASK_CORRUPT, 0, BC_MANIFEST_NAME, 0,
                   "%s: there are data files (%s) but no MANIFEST; nothing was changed; repair rebuilds it from the data files",
                   dir->path, name);
}

int bc_leftovers_check_new(const struct bc_directory *dir)
{
    return bc_directory_each(dir, no_data_file, (void *)(uintptr_t)dir);
}

/* Whether a file that no MANIFEST is known to have listed may go: its header was never finished, it is a merge's output (a copy
 * of records that are listed elsewhere), or not one record stands at its start. */
static int holds_nothing(const struct bc_directory *dir, const bitcask_allocator *a, const char *name, bool *ret)
{
    const struct bc_io *io = dir->io;
    int fd;
    int result = bc_directory_open_file(dir, name, 0, &fd);
    if (result != BITCASK_OK)
        return result;
    char bytes[BC_DATA_HEADER_SIZE] = {0};
    struct bc_data_header h;
    struct bc_io_stat st;
    size_t got;
    int error = io->stat(io->ctx, fd, &st);
    if (error == 0)
        error = io->read(io->ctx, fd, 0, bytes, sizeof bytes, &got);
    bool whole = error == 0 && bc_data_header_decode(&h, bytes) == BC_FORMAT_OK;
    struct bc_scan s;
    struct bc_file_name unknown = {0, 0};
    if (error != 0)
        result = bc_fail_io(error, name, "cannot read");
    else
        result = bc_scan_init(&s, io, a, fd, whole ? &h.name : &unknown, BC_DATA_START, BC_MAX(st.size, BC_DATA_START));
    if (result == BITCASK_OK) {
        *ret = true;
        if (!whole || h.kind == BC_DATA_KIND_LOG) {
            enum bc_scan_result scanned = whole ? bc_scan_next(&s) : bc_scan_all_zero(&s, ret);
            if (scanned == BC_SCAN_FAILED)
                result = bitcask_last_error()->result;
            if (scanned == BC_SCAN_RECORD)
                *ret = false;
        }
        bc_scan_free(&s);
    }
    io->close(io->ctx, fd);
    return result;
}

struct check {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    const struct bc_manifest *manifest;
    uint64_t highest;
};

static int check_name(enum bc_name_kind kind, uint64_t id, const char *name, void *arg)
{
    struct check *c = arg;
    if (kind != BC_NAME_DATA)
        return BITCASK_OK;
    c->highest = BC_MAX(c->highest, id);
    if (id < c->manifest->next_id)
        return BITCASK_OK;
    bool nothing = false;
    int result = holds_nothing(c->dir, c->allocator, name, &nothing);
    if (result != BITCASK_OK || nothing)
        return result;
    return bc_fail(BITCASK_CORRUPT, 0, name, 0,
                   "%s: newer than the MANIFEST, which knows of no file from %" PRIu64
                   " on: an older MANIFEST was put in place; "
                   "nothing was changed",
                   name, c->manifest->next_id);
}

int bc_leftovers_check(const struct bc_directory *dir, const bitcask_allocator *a, const struct bc_manifest *m,
                       uint64_t *ret_highest)
{
    struct check c = {dir, a, m, 0};
    int result = bc_directory_each(dir, check_name, &c);
    if (result == BITCASK_OK)
        *ret_highest = c.highest;
    return result;
}

/* Names are collected first: what a listing shows while names go is undefined. */
struct doomed {
    const struct bc_manifest *manifest;
    const bitcask_allocator *allocator;
    char (*names)[BC_NAME_SIZE];
    size_t count, capacity;
};

static int collect(enum bc_name_kind kind, uint64_t id, const char *name, void *arg)
{
    struct doomed *d = arg;
    bool ours = kind == BC_NAME_DATA || kind == BC_NAME_HINT || kind == BC_NAME_TMP;
    if (!ours || (kind != BC_NAME_TMP && listed(d->manifest, id)))
        return BITCASK_OK;
    if (d->count == d->capacity) {
        size_t capacity = d->capacity * 2 + 16;
        char(*names)[BC_NAME_SIZE] = bc_resize(d->allocator, d->names, capacity * sizeof *names);
        if (names == NULL)
            return BITCASK_NO_MEMORY;
        d->names = names;
        d->capacity = capacity;
    }
    size_t i = 0;
    for (; name[i] != '\0' && i + 1 < BC_NAME_SIZE; i++)
        d->names[d->count][i] = name[i];
    d->names[d->count][i] = '\0';
    d->count++;
    return BITCASK_OK;
}

size_t bc_leftovers_remove(const struct bc_directory *dir, const bitcask_allocator *a, const struct bc_manifest *m)
{
    struct doomed d = {.manifest = m, .allocator = a};
    size_t gone = 0;
    (void)!bc_directory_each(dir, collect, &d);
    const struct bc_io *io = dir->io;
    /* What was read of the directory must be what the disk has, before names leave on its word. */
    if (d.count > 0 && io->dir_sync(io->ctx, dir->fd) == 0)
        for (size_t i = 0; i < d.count; i++)
            gone += io->unlink(io->ctx, dir->fd, d.names[i]) == 0;
    bc_free(a, d.names);
    return gone;
}
