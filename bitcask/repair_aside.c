#include "bitcask/repair_aside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bitcask/error.h"

#define NAMES_MAX 1000000U

int bc_aside_add(struct bc_aside *l, const char *name, bool only_copy, const char *why)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->files[i].name, name) == 0)
            return BITCASK_OK;
    if (l->count == l->capacity) {
        size_t capacity = l->capacity * 2 + 16;
        struct bc_aside_file *files = bc_resize(l->allocator, l->files, capacity * sizeof *files);
        if (files == NULL)
            return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to repair the store");
        l->files = files;
        l->capacity = capacity;
    }
    struct bc_aside_file *f = &l->files[l->count++];
    *f = (struct bc_aside_file){.only_copy = only_copy, .why = why};
    strncpy(f->name, name, sizeof f->name - 1);
    return BITCASK_OK;
}

void bc_aside_free(struct bc_aside *l)
{
    bc_free(l->allocator, l->files);
    l->files = NULL;
    l->count = 0;
}

/* Whether both names are the same file's. */
static bool is_same(const struct bc_io *io, int dir, const char *name, int other_dir, const char *other)
{
    struct bc_io_stat a = {0}, b = {0};
    int fd;
    bool good = false;
    if (io->open(io->ctx, dir, name, 0, 0, &fd) != 0)
        return false;
    good = io->stat(io->ctx, fd, &a) == 0;
    io->close(io->ctx, fd);
    if (!good || io->open(io->ctx, other_dir, other, 0, 0, &fd) != 0)
        return false;
    good = io->stat(io->ctx, fd, &b) == 0;
    io->close(io->ctx, fd);
    return good && a.inode == b.inode && a.device == b.device;
}

static int link_one(const struct bc_aside *l, int lost, struct bc_aside_file *f, char to[BC_NAME_SIZE + 16])
{
    const struct bc_io *io = l->dir->io;
    int error = EEXIST;
    for (unsigned i = 1; error == EEXIST && i < NAMES_MAX; i++) {
        snprintf(to, BC_NAME_SIZE + 16, i == 1 ? "%s" : "%s.%u", f->name, i);
        if (is_same(io, l->dir->fd, f->name, lost, to))
            error = 0;
        else
            error = io->link(io->ctx, l->dir->fd, f->name, lost, to);
    }
    f->linked = error == 0;
    /* A directory cannot get a second name; what was never there needs none. Nobody removes either. */
    if (error == ENOENT || error == EISDIR || (error == EPERM && !bc_directory_has(l->dir, f->name)))
        return BITCASK_OK;
    if (error == EPERM)
        return bc_fail_io(
            error, f->name,
            "cannot be given a second name in lost+found: it is a directory, or the file system has no hard links; "
            "move it out of the store by hand and repair again; nothing was changed");
    return error == 0 ? BITCASK_OK : bc_fail_io(error, f->name, "cannot be given a second name in lost+found");
}

static void say(struct bc_findings *findings, const struct bc_aside_file *f, const char *to)
{
    struct bc_finding finding = {.severity = BITCASK_FINDING_NOTE, .code = BITCASK_FINDING_ASIDE};
    memcpy(finding.file, f->name, sizeof finding.file);
    bc_findings_add(findings, &finding, "moved to " BC_LOST_FOUND "/%s: %s", to, f->why);
}

int bc_aside_link(struct bc_aside *l, struct bc_findings *findings)
{
    const struct bc_io *io = l->dir->io;
    int lost;
    if (l->count == 0)
        return BITCASK_OK;
    int error = io->dir_open_below(io->ctx, l->dir->fd, BC_LOST_FOUND, true, &lost);
    if (error != 0)
        return bc_fail_io(error, BC_LOST_FOUND, "cannot make or open the directory");
    error = io->dir_sync(io->ctx, l->dir->fd);
    int result = error == 0 ? BITCASK_OK : bc_fail_io(error, l->dir->path, "cannot sync the directory");
    for (size_t i = 0; i < l->count && result == BITCASK_OK; i++) {
        char to[BC_NAME_SIZE + 16];
        result = link_one(l, lost, &l->files[i], to);
        if (result == BITCASK_OK && l->files[i].linked)
            say(findings, &l->files[i], to);
    }
    if (result == BITCASK_OK && (error = io->dir_sync(io->ctx, lost)) != 0)
        result = bc_fail_io(error, BC_LOST_FOUND, "cannot sync the directory");
    io->dir_close(io->ctx, lost);
    return result;
}

int bc_aside_unlink(struct bc_aside *l)
{
    const struct bc_io *io = l->dir->io;
    int result = BITCASK_OK;
    for (size_t i = 0; i < l->count && result == BITCASK_OK; i++)
        if (l->files[i].linked && !l->files[i].only_copy)
            result = bc_directory_unlink(l->dir, l->files[i].name);
    int error = result == BITCASK_OK && l->count != 0 ? io->dir_sync(io->ctx, l->dir->fd) : 0;
    return error == 0 ? result : bc_fail_io(error, l->dir->path, "cannot sync the directory");
}
