#include "bitcask/datafile.h"

#include <errno.h>
#include <string.h>

#include "bitcask/error.h"

static int write_new(const struct bc_directory *dir, const char *name, int fd, const struct bc_data_header *h, uint64_t size,
                     uint64_t *ret_size)
{
    const struct bc_io *io = dir->io;
    char pages[BC_DATA_START] = {0};
    bc_data_header_encode(pages, h);
    char *mark = pages + BC_DATA_MARK_OFFSET;
    bc_mark_encode(mark, h->name.nonce, 0, BC_DATA_START);
    bc_mark_encode(mark + BC_DATA_MARK_SECTOR, h->name.nonce, 1, BC_DATA_START);
    struct bc_io_slice slice = {pages, sizeof pages};
    int error = io->allocate(io->ctx, fd, 0, size);
    bool allocated = error == 0;
    if (error != 0 && error != EOPNOTSUPP)
        return bc_fail_io(error, name, "cannot allocate");
    error = io->write(io->ctx, fd, 0, &slice, 1);
    if (error != 0)
        return bc_fail_io(error, name, "cannot write the header");
    error = io->sync(io->ctx, fd);
    if (error != 0)
        return bc_fail_io(error, name, "cannot sync a new file");
    *ret_size = allocated ? size : sizeof pages;
    return BITCASK_OK;
}

int bc_datafile_create(const struct bc_directory *dir, const struct bc_data_header *h, uint64_t size, int *ret_fd,
                       uint64_t *ret_size)
{
    char name[BC_NAME_SIZE];
    bc_data_name(name, h->name.id);
    int fd;
    int result = bc_directory_open_file(dir, name, BC_IO_WRITE | BC_IO_CREATE | BC_IO_EXCLUSIVE, &fd);
    if (result != BITCASK_OK)
        return result;
    uint64_t length = 0;
    result = write_new(dir, name, fd, h, BC_MAX(size, BC_DATA_START), &length);
    if (result != BITCASK_OK) {
        dir->io->close(dir->io->ctx, fd);
        (void)dir->io->unlink(dir->io->ctx, dir->fd, name);
        return result;
    }
    *ret_fd = fd;
    *ret_size = length;
    return BITCASK_OK;
}

static int check_header(const char *name, const char *bytes, size_t got, const struct bc_uuid *store,
                        const struct bc_file_name *expected)
{
    struct bc_data_header h;
    if (got < BC_DATA_HEADER_SIZE)
        return bc_fail(BITCASK_CORRUPT, 0, name, got, "%s: ends within its header, at byte %zu", name, got);
    switch (bc_data_header_decode(&h, bytes)) {
    case BC_FORMAT_OK:
        break;
    case BC_FORMAT_UNSUPPORTED:
        return bc_fail(BITCASK_UNSUPPORTED, 0, name, 0, "%s: written by a newer version of the format", name);
    case BC_FORMAT_BAD:
    default:
        return bc_fail(BITCASK_CORRUPT, 0, name, 0, "%s: its header is damaged", name);
    }
    if (memcmp(&h.store, store, sizeof *store) != 0)
        return bc_fail(BITCASK_CORRUPT, 0, name, 0, "%s: belongs to another store", name);
    if (h.name.id != expected->id || h.name.nonce != expected->nonce)
        return bc_fail(BITCASK_CORRUPT, 0, name, 0, "%s: is another file under this name (file %llu by its header)", name,
                       (unsigned long long)h.name.id);
    return BITCASK_OK;
}

int bc_datafile_open(const struct bc_directory *dir, const struct bc_uuid *store, const struct bc_file_name *expected,
                     unsigned flags, int *ret_fd, struct bc_io_stat *ret_stat)
{
    const struct bc_io *io = dir->io;
    char name[BC_NAME_SIZE];
    bc_data_name(name, expected->id);
    int fd;
    int result = bc_directory_open_file(dir, name, flags, &fd);
    if (result == BITCASK_NOT_FOUND)
        return bc_fail(BITCASK_CORRUPT, ENOENT, name, 0, "%s: listed in the MANIFEST but missing", name);
    if (result != BITCASK_OK)
        return result;
    char header[BC_DATA_HEADER_SIZE];
    size_t got;
    struct bc_io_stat st;
    int error = io->stat(io->ctx, fd, &st);
    if (error == 0)
        error = io->read(io->ctx, fd, 0, header, sizeof header, &got);
    result = error != 0 ? bc_fail_io(error, name, "cannot read the header") : check_header(name, header, got, store, expected);
    if (result != BITCASK_OK) {
        io->close(io->ctx, fd);
        return result;
    }
    *ret_fd = fd;
    *ret_stat = st;
    return BITCASK_OK;
}

int bc_datafile_open_damaged(const struct bc_directory *dir, const struct bc_file_name *file, int *ret_fd,
                             struct bc_io_stat *ret_stat)
{
    const struct bc_io *io = dir->io;
    char name[BC_NAME_SIZE];
    bc_data_name(name, file->id);
    int fd;
    int result = bc_directory_open_file(dir, name, 0, &fd);
    if (result == BITCASK_NOT_FOUND)
        return bc_fail(BITCASK_CORRUPT, ENOENT, name, 0, "%s: listed in the MANIFEST but missing", name);
    if (result != BITCASK_OK)
        return result;
    struct bc_io_stat st;
    int error = io->stat(io->ctx, fd, &st);
    if (error != 0) {
        io->close(io->ctx, fd);
        return bc_fail_io(error, name, "cannot stat");
    }
    *ret_fd = fd;
    *ret_stat = st;
    return BITCASK_OK;
}

int bc_datafile_mark_read(const struct bc_directory *dir, int fd, const struct bc_file_name *file, uint64_t *ret_counter,
                          uint64_t *ret_offset)
{
    const struct bc_io *io = dir->io;
    char name[BC_NAME_SIZE];
    char page[2 * BC_DATA_MARK_SECTOR] = {0};
    size_t got;
    bc_data_name(name, file->id);
    int error = io->read(io->ctx, fd, BC_DATA_MARK_OFFSET, page, sizeof page, &got);
    if (error != 0)
        return bc_fail_io(error, name, "cannot read the durable mark");
    bool valid = false;
    uint64_t best_counter = 0, best = 0;
    for (unsigned slot = 0; slot < 2; slot++) {
        uint64_t counter, offset;
        if (!bc_mark_decode(page + slot * BC_DATA_MARK_SECTOR, file->nonce, &counter, &offset))
            continue;
        valid = true;
        best_counter = BC_MAX(best_counter, counter);
        best = BC_MAX(best, offset);
    }
    if (!valid)
        return bc_fail(BITCASK_CORRUPT, 0, name, BC_DATA_MARK_OFFSET, "%s: its durable mark is damaged in both slots", name);
    *ret_counter = best_counter;
    *ret_offset = best;
    return BITCASK_OK;
}

void bc_datafile_mark_store(const struct bc_directory *dir, int fd, char *map, uint64_t nonce, uint64_t counter,
                            uint64_t offset)
{
    char mark[BC_DATA_MARK_SIZE];
    uint64_t at = BC_DATA_MARK_OFFSET + (counter % 2) * BC_DATA_MARK_SECTOR;
    bc_mark_encode(mark, nonce, counter, offset);
    if (map != NULL) {
        memcpy(map + at, mark, sizeof mark);
        return;
    }
    struct bc_io_slice slice = {mark, sizeof mark};
    (void)dir->io->write(dir->io->ctx, fd, at, &slice, 1);
}
