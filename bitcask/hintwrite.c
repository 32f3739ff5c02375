#include "bitcask/hintwrite.h"

#include "bitcask/crc.h"
#include "bitcask/error.h"
#include "bitcask/format_record.h"

int bc_hint_writer_begin(struct bc_hint_writer *w, const struct bc_directory *dir, const bitcask_allocator *a,
                         const struct bc_file_name *file)
{
    *w = (struct bc_hint_writer){.dir = dir, .allocator = a, .header = {.data = *file, .size = BC_HINT_HEADER}, .fd = -1};
    char tmp[BC_NAME_SIZE];
    bc_hint_tmp_name(tmp, file->id);
    int result = bc_directory_unlink(dir, tmp);
    return result == BITCASK_OK ? bc_directory_open_file(dir, tmp, BC_IO_WRITE | BC_IO_CREATE | BC_IO_EXCLUSIVE, &w->fd)
                                : result;
}

static int write_failed(const struct bc_hint_writer *w, int error)
{
    char name[BC_NAME_SIZE];
    bc_hint_name(name, w->header.data.id);
    return bc_fail_io(error, name, "cannot write the hint file");
}

static int put_block(struct bc_hint_writer *w)
{
    const struct bc_io *io = w->dir->io;
    char head[BC_HINT_BLOCK_HEADER];
    if (w->block_count == 0)
        return BITCASK_OK;
    bc_hint_block_encode(head, w->header.data.nonce, w->header.blocks, w->block, (uint32_t)w->block_size, w->block_count);
    struct bc_io_slice slices[2] = {{head, sizeof head}, {w->block, w->block_size}};
    int error = io->write(io->ctx, w->fd, w->header.size, slices, 2);
    if (error != 0)
        return write_failed(w, error);
    w->header.body_crc = bc_crc32(bc_crc32(w->header.body_crc, head, sizeof head), w->block, w->block_size);
    w->header.size += sizeof head + w->block_size;
    w->header.blocks++;
    w->header.entries += w->block_count;
    w->block_size = 0;
    w->block_count = 0;
    return BITCASK_OK;
}

int bc_hint_writer_put(struct bc_hint_writer *w, const struct bc_hint_entry *e)
{
    size_t size = bc_hint_entry_size(e);
    int result = w->block_size + size > BC_HINT_BLOCK_PAYLOAD ? put_block(w) : BITCASK_OK;
    if (result == BITCASK_OK && w->block_size + size > w->block_capacity) {
        size_t capacity = BC_MAX(w->block_size + size, (size_t)BC_HINT_BLOCK_PAYLOAD);
        char *larger = bc_resize(w->allocator, w->block, capacity);
        if (larger == NULL)
            return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to write a hint file");
        w->block = larger;
        w->block_capacity = capacity;
    }
    if (result != BITCASK_OK)
        return result;
    bc_hint_entry_encode(w->block + w->block_size, e);
    w->block_size += size;
    w->block_count++;
    w->header.tombstones += e->type == BC_RECORD_TOMBSTONE;
    return BITCASK_OK;
}

int bc_hint_writer_finish(struct bc_hint_writer *w, uint64_t end, uint64_t min_sequence, uint64_t max_sequence)
{
    const struct bc_io *io = w->dir->io;
    int result = put_block(w);
    if (result != BITCASK_OK)
        return result;
    w->header.data_end = end;
    w->header.min_sequence = min_sequence;
    w->header.max_sequence = max_sequence;
    char head[BC_HINT_HEADER], tmp[BC_NAME_SIZE], name[BC_NAME_SIZE];
    bc_hint_header_encode(head, &w->header);
    bc_hint_tmp_name(tmp, w->header.data.id);
    bc_hint_name(name, w->header.data.id);
    struct bc_io_slice slice = {head, sizeof head};
    int error = io->write(io->ctx, w->fd, 0, &slice, 1);
    if (error == 0)
        error = io->sync(io->ctx, w->fd);
    if (error == 0)
        error = io->rename(io->ctx, w->dir->fd, tmp, name);
    if (error != 0)
        return write_failed(w, error);
    io->close(io->ctx, w->fd);
    w->fd = -1;
    return BITCASK_OK;
}

void bc_hint_writer_end(struct bc_hint_writer *w)
{
    const struct bc_io *io = w->dir->io;
    bc_free(w->allocator, w->block);
    w->block = NULL;
    if (w->fd < 0)
        return;
    char tmp[BC_NAME_SIZE];
    bc_hint_tmp_name(tmp, w->header.data.id);
    io->close(io->ctx, w->fd);
    w->fd = -1;
    (void)io->unlink(io->ctx, w->dir->fd, tmp);
}
