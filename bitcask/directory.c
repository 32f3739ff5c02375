#include "bitcask/directory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bitcask/error.h"

void bc_data_name(char dst[BC_NAME_SIZE], uint64_t id)
{
    snprintf(dst, BC_NAME_SIZE, "%010" PRIu64 ".data", id);
}

void bc_hint_name(char dst[BC_NAME_SIZE], uint64_t id)
{
    snprintf(dst, BC_NAME_SIZE, "%010" PRIu64 ".hint", id);
}

void bc_hint_tmp_name(char dst[BC_NAME_SIZE], uint64_t id)
{
    snprintf(dst, BC_NAME_SIZE, "%010" PRIu64 ".hint.tmp", id);
}

void bc_data_tmp_name(char dst[BC_NAME_SIZE], uint64_t id)
{
    snprintf(dst, BC_NAME_SIZE, "%010" PRIu64 ".data.tmp", id);
}

/* The digits at the start of a name, if they are written as bc_data_name() writes them. Returns their count, 0 if not. */
static size_t parse_id(const char *name, uint64_t *ret_id)
{
    uint64_t id = 0;
    size_t n = 0;
    while (name[n] >= '0' && name[n] <= '9') {
        unsigned digit = (unsigned)(name[n] - '0');
        if (id > (UINT64_MAX - digit) / 10)
            return 0;
        id = id * 10 + digit;
        n++;
    }
    if (n < 10 || (n > 10 && name[0] == '0') || id == 0)
        return 0;
    *ret_id = id;
    return n;
}

enum bc_name_kind bc_name_parse(const char *name, uint64_t *ret_id)
{
    *ret_id = 0;
    if (strcmp(name, BC_MANIFEST_NAME) == 0)
        return BC_NAME_MANIFEST;
    if (strcmp(name, BC_LOCK_NAME) == 0)
        return BC_NAME_LOCK;
    if (strcmp(name, BC_MANIFEST_TMP) == 0)
        return BC_NAME_TMP;
    uint64_t id;
    size_t digits = parse_id(name, &id);
    if (digits == 0)
        return BC_NAME_FOREIGN;
    const char *rest = name + digits;
    enum bc_name_kind kind = strcmp(rest, ".data") == 0       ? BC_NAME_DATA
                             : strcmp(rest, ".hint") == 0     ? BC_NAME_HINT
                             : strcmp(rest, ".hint.tmp") == 0 ? BC_NAME_TMP
                             : strcmp(rest, ".data.tmp") == 0 ? BC_NAME_TMP
                                                              : BC_NAME_FOREIGN;
    if (kind != BC_NAME_FOREIGN)
        *ret_id = id;
    return kind;
}

int bc_directory_open(struct bc_directory *ret, const struct bc_io *io, const char *path, bool create, unsigned mode)
{
    int fd;
    int error = io->dir_open(io->ctx, path, create, &fd);
    if (error == ENOENT && !create)
        return bc_fail(BITCASK_NOT_FOUND, error, path, 0, "%s: no such directory", path);
    if (error != 0)
        return bc_fail_io(error, path, create ? "cannot open or create the directory" : "cannot open the directory");
    *ret = (struct bc_directory){
        .io = io, .path = path, .fd = fd, .lock_fd = -1, .mode = mode, .maps_well = io->dir_maps_well(io->ctx, fd)};
    return BITCASK_OK;
}

int bc_directory_lock(struct bc_directory *d)
{
    int fd;
    int result = bc_directory_open_file(d, BC_LOCK_NAME, BC_IO_WRITE | BC_IO_CREATE, &fd);
    if (result != BITCASK_OK)
        return result;
    int error = d->io->lock(d->io->ctx, fd);
    if (error == 0) {
        d->lock_fd = fd;
        return BITCASK_OK;
    }
    d->io->close(d->io->ctx, fd);
    if (error == EWOULDBLOCK)
        return bc_fail(BITCASK_LOCKED, error, BC_LOCK_NAME, 0,
                       "%s is open for writing in another handle or process; one process writes", d->path);
    return bc_fail_io(error, BC_LOCK_NAME, "cannot lock");
}

void bc_directory_close(struct bc_directory *d)
{
    if (d->lock_fd >= 0)
        d->io->close(d->io->ctx, d->lock_fd);
    if (d->fd >= 0)
        d->io->dir_close(d->io->ctx, d->fd);
    d->lock_fd = d->fd = -1;
}

struct listing {
    bc_directory_fn fn;
    void *arg;
    int result;
};

static int on_name(const char *name, void *arg)
{
    struct listing *l = arg;
    uint64_t id;
    enum bc_name_kind kind = bc_name_parse(name, &id);
    l->result = l->fn(kind, id, name, l->arg);
    return l->result == 0 ? 0 : -1;
}

int bc_directory_each(const struct bc_directory *d, bc_directory_fn fn, void *arg)
{
    struct listing l = {fn, arg, 0};
    int error = d->io->dir_list(d->io->ctx, d->fd, on_name, &l);
    if (l.result != 0)
        return l.result;
    return error == 0 ? BITCASK_OK : bc_fail_io(error, d->path, "cannot list the directory");
}

int bc_directory_open_file(const struct bc_directory *d, const char *name, unsigned flags, int *ret_fd)
{
    int error = d->io->open(d->io->ctx, d->fd, name, flags, d->mode, ret_fd);
    switch (error) {
    case 0:
        return BITCASK_OK;
    case ENOENT:
        return bc_fail(BITCASK_NOT_FOUND, error, name, 0, "%s: no such file in %s", name, d->path);
    case ELOOP:
    case EINVAL:
    case EISDIR:
    case ENXIO:
        return bc_fail(BITCASK_CORRUPT, error, name, 0, "%s: not a regular file; something else was put in its place", name);
    default:
        return bc_fail_io(error, name, "cannot open");
    }
}

bool bc_directory_has(const struct bc_directory *d, const char *name)
{
    int fd;
    int error = d->io->open(d->io->ctx, d->fd, name, 0, 0, &fd);
    if (error == 0)
        d->io->close(d->io->ctx, fd);
    return error != ENOENT;
}

int bc_directory_unlink(const struct bc_directory *d, const char *name)
{
    int error = d->io->unlink(d->io->ctx, d->fd, name);
    return error == 0 || error == ENOENT ? BITCASK_OK : bc_fail_io(error, name, "cannot unlink");
}
