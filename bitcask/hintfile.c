#include "bitcask/hintfile.h"

#include <string.h>

#include "bitcask/crc.h"
#include "bitcask/error.h"

struct hint_reader {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    int fd;
    struct bc_hint_header header;
    char *buffer;
    size_t capacity;
};

static bool read_exactly(const struct hint_reader *r, uint64_t offset, void *buf, size_t size)
{
    const struct bc_io *io = r->dir->io;
    size_t got;
    return io->read(io->ctx, r->fd, offset, buf, size, &got) == 0 && got == size;
}

static bool read_header(struct hint_reader *r, const struct bc_file_name *file, uint64_t end)
{
    const struct bc_io *io = r->dir->io;
    char bytes[BC_HINT_HEADER];
    struct bc_io_stat st;
    const struct bc_hint_header *h = &r->header;
    return io->stat(io->ctx, r->fd, &st) == 0 && read_exactly(r, 0, bytes, sizeof bytes) &&
           bc_hint_header_decode(&r->header, bytes) == BC_FORMAT_OK && h->data.id == file->id && h->data.nonce == file->nonce &&
           h->data_end == end && h->size == st.size;
}

static int read_entries(const struct hint_reader *r, const char *bytes, uint32_t size, uint32_t count, bc_hint_fn fn, void *arg,
                        bool *ret_valid)
{
    struct bc_hint_entry batch[BC_HINT_BATCH];
    *ret_valid = false;
    while (count > 0) {
        size_t n = 0;
        for (; n < BC_HINT_BATCH && count > 0; n++, count--) {
            size_t took = bc_hint_entry_decode(&batch[n], bytes, size, r->header.data_end);
            if (took == 0)
                return BITCASK_OK;
            bytes += took;
            size -= (uint32_t)took;
        }
        int result = fn(batch, n, arg);
        if (result != BITCASK_OK)
            return result;
    }
    *ret_valid = size == 0;
    return BITCASK_OK;
}

/* One block from offset on; its header was read already. */
static int read_block(struct hint_reader *r, uint64_t offset, uint64_t block, uint32_t *crc, uint64_t *ret_next,
                      uint64_t *entries, bc_hint_fn fn, void *arg, bool *ret_valid)
{
    char head[BC_HINT_BLOCK_HEADER];
    uint32_t size, count;
    *ret_valid = false;
    if (!read_exactly(r, offset, head, sizeof head))
        return BITCASK_OK;
    bc_hint_block_peek(head, &size, &count);
    if (size > r->header.size - offset - sizeof head)
        return BITCASK_OK;
    if (size > r->capacity) {
        char *larger = bc_resize(r->allocator, r->buffer, size);
        if (larger == NULL)
            return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to read a hint file");
        r->buffer = larger;
        r->capacity = size;
    }
    if (!read_exactly(r, offset + sizeof head, r->buffer, size) ||
        !bc_hint_block_ok(head, r->header.data.nonce, block, r->buffer))
        return BITCASK_OK;
    *crc = bc_crc32(bc_crc32(*crc, head, sizeof head), r->buffer, size);
    *ret_next = offset + sizeof head + size;
    *entries += count;
    return read_entries(r, r->buffer, size, count, fn, arg, ret_valid);
}

static int read_body(struct hint_reader *r, bc_hint_fn fn, void *arg, bool *ret_valid)
{
    uint64_t offset = BC_HINT_HEADER, entries = 0;
    uint32_t crc = 0;
    bool valid = true;
    int result = BITCASK_OK;
    for (uint64_t block = 0; block < r->header.blocks && valid && result == BITCASK_OK; block++) {
        if (r->header.size - offset < BC_HINT_BLOCK_HEADER)
            valid = false;
        else
            result = read_block(r, offset, block, &crc, &offset, &entries, fn, arg, &valid);
    }
    *ret_valid =
        result == BITCASK_OK && valid && offset == r->header.size && entries == r->header.entries && crc == r->header.body_crc;
    return result;
}

int bc_hint_read(const struct bc_directory *dir, const bitcask_allocator *a, const struct bc_file_name *file, uint64_t end,
                 bc_hint_fn fn, void *arg, struct bc_hint_header *ret_header, bool *ret_valid)
{
    struct hint_reader r = {.dir = dir, .allocator = a, .fd = -1};
    char name[BC_NAME_SIZE];
    bc_hint_name(name, file->id);
    *ret_valid = false;
    if (dir->io->open(dir->io->ctx, dir->fd, name, 0, 0, &r.fd) != 0)
        return BITCASK_OK;
    int result = BITCASK_OK;
    if (read_header(&r, file, end))
        result = read_body(&r, fn, arg, ret_valid);
    if (*ret_valid)
        *ret_header = r.header;
    bc_free(a, r.buffer);
    dir->io->close(dir->io->ctx, r.fd);
    return result;
}
