#include "bitcask/merge_output.h"

#include <string.h>

#include "bitcask/crc.h"
#include "bitcask/error.h"
#include "bitcask/keydir.h"

#define BUFFER (1U << 20)

int bc_merge_output_make(struct bc_merge_output *o, const struct bc_directory *dir, const bitcask_allocator *a,
                         const struct bc_data_header *header, uint64_t bytes)
{
    *o = (struct bc_merge_output){
        .dir = dir, .allocator = a, .name = header->name, .fd = -1, .start = BC_DATA_START, .end = BC_DATA_START};
    o->buffer = bc_alloc(a, BUFFER);
    if (o->buffer == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to merge");
    uint64_t size;
    return bc_datafile_create(dir, header, BC_DATA_START + bytes, &o->fd, &size);
}

static int write_out(const struct bc_merge_output *o, uint64_t offset, const void *data, size_t size)
{
    const struct bc_io *io = o->dir->io;
    struct bc_io_slice slice = {data, size};
    int error = size == 0 ? 0 : io->write(io->ctx, o->fd, offset, &slice, 1);
    if (error == 0)
        return BITCASK_OK;
    char name[BC_NAME_SIZE];
    bc_data_name(name, o->name.id);
    return bc_fail_io(error, name, "cannot write a merge's output");
}

static int flush(struct bc_merge_output *o)
{
    int result = write_out(o, o->start, o->buffer, o->filled);
    o->start = o->end;
    o->filled = 0;
    return result;
}

static void count(struct bc_merge_output *o, const struct bc_record *r, uint64_t footprint)
{
    o->end += footprint;
    o->records++;
    if (r->type == BC_RECORD_TOMBSTONE) {
        o->tombstones++;
        o->tombstone_bytes += footprint;
    }
    o->min_sequence = o->min_sequence == 0 ? r->sequence : BC_MIN(o->min_sequence, r->sequence);
    o->max_sequence = BC_MAX(o->max_sequence, r->sequence);
    o->sum_of_sequences += (double)r->sequence;
}

/* A place in a file is no further than a KeyDir slot can say. */
static int check_place(const struct bc_merge_output *o)
{
    if (o->end <= BC_KEYDIR_OFFSET_MAX)
        return BITCASK_OK;
    char name[BC_NAME_SIZE];
    bc_data_name(name, o->name.id);
    return bc_fail(BITCASK_NO_SPACE, 0, name, o->end, "%s: a merge's output would be larger than a data file can be", name);
}

int bc_merge_output_put(struct bc_merge_output *o, const struct bc_record *r, const void *key, const void *value,
                        uint64_t *ret_offset)
{
    uint64_t footprint = bc_record_footprint(r);
    int result = check_place(o);
    if (result == BITCASK_OK && o->filled + footprint > BUFFER)
        result = flush(o);
    if (result != BITCASK_OK)
        return result;
    char *dst = o->buffer + o->filled, *dst_key = dst + bc_record_head_size(r), *dst_value = dst_key + r->key_size;
    memcpy(dst_key, key, r->key_size);
    if (r->value_size != 0)
        memcpy(dst_value, value, r->value_size);
    memset(dst_value + r->value_size, 0, (size_t)(dst + footprint - (dst_value + r->value_size)));
    bc_record_encode(dst, r, bc_record_seed(o->name.nonce, o->end), dst_key, dst_value);
    *ret_offset = o->end;
    o->filled += (size_t)footprint;
    count(o, r, footprint);
    return BITCASK_OK;
}

int bc_merge_output_copy(struct bc_merge_output *o, const struct bc_record *r, const void *key, int fd, uint64_t at,
                         uint32_t seed, uint64_t *ret_offset, bool *ret_good)
{
    const struct bc_io *io = o->dir->io;
    uint64_t offset = o->end, to = offset + bc_record_head_size(r) + r->key_size, left = r->value_size;
    uint32_t new_seed = bc_record_seed(o->name.nonce, offset), old_crc = ~seed, new_crc = ~new_seed;
    int result = check_place(o);
    if (result == BITCASK_OK)
        result = flush(o);
    while (result == BITCASK_OK && left > 0) {
        size_t want = (size_t)BC_MIN(left, (uint64_t)BUFFER), got = 0;
        int error = io->read(io->ctx, fd, at, o->buffer, want, &got);
        if (error != 0)
            return bc_fail_io(error, NULL, "cannot read a merge's input");
        if (got == 0)
            break;
        old_crc = bc_crc32(old_crc, o->buffer, got);
        new_crc = bc_crc32(new_crc, o->buffer, got);
        result = write_out(o, to, o->buffer, got);
        at += got;
        to += got;
        left -= got;
    }
    if (result != BITCASK_OK)
        return result;
    char head[BC_RECORD_HEADER + BC_RECORD_EXPIRY];
    size_t head_size = bc_record_head_size(r);
    bc_record_encode_head(head, r, new_seed, key, new_crc);
    result = write_out(o, offset, head, head_size);
    if (result == BITCASK_OK)
        result = write_out(o, offset + head_size, key, r->key_size);
    if (result != BITCASK_OK)
        return result;
    *ret_good = left == 0 && old_crc == r->value_crc;
    *ret_offset = offset;
    count(o, r, bc_record_footprint(r));
    o->start = o->end;
    return BITCASK_OK;
}

int bc_merge_output_finish(struct bc_merge_output *o)
{
    const struct bc_io *io = o->dir->io;
    int result = flush(o);
    if (result != BITCASK_OK)
        return result;
    char name[BC_NAME_SIZE];
    bc_data_name(name, o->name.id);
    int error = io->truncate(io->ctx, o->fd, o->end);
    if (error == 0)
        error = io->sync(io->ctx, o->fd);
    if (error == 0)
        error = io->dir_sync(io->ctx, o->dir->fd);
    return error == 0 ? BITCASK_OK : bc_fail_io(error, name, "cannot finish a merge's output");
}

void bc_merge_output_close(struct bc_merge_output *o)
{
    if (o->fd >= 0)
        o->dir->io->close(o->dir->io->ctx, o->fd);
    bc_free(o->allocator, o->buffer);
    o->fd = -1;
    o->buffer = NULL;
}
