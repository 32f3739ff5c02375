#include "bitcask/scan.h"

#include <string.h>

#include "bitcask/crc.h"
#include "bitcask/directory.h"
#include "bitcask/error.h"

#define SCAN_BUFFER                                                                                                            \
    (512U << 10) /* sequential reads of this size run at the disk's speed; holds the largest head many times                   \
                  */

#define RESYNC_WORK 16U /* times the bytes that are left */

int bc_scan_init(struct bc_scan *s, const struct bc_io *io, const bitcask_allocator *a, int fd, const struct bc_file_name *name,
                 uint64_t start, uint64_t limit)
{
    char *buffer = bc_alloc(a, SCAN_BUFFER);
    if (buffer == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to scan a data file");
    *s = (struct bc_scan){.io = io,
                          .allocator = a,
                          .buffer = buffer,
                          .capacity = SCAN_BUFFER,
                          .buffer_offset = start,
                          .fd = fd,
                          .name = *name,
                          .next = start,
                          .limit = limit};
    return BITCASK_OK;
}

void bc_scan_free(struct bc_scan *s)
{
    bc_free(s->allocator, s->buffer);
    s->buffer = NULL;
}

static int failed(const struct bc_scan *s, int error)
{
    char name[BC_NAME_SIZE];
    bc_data_name(name, s->name.id);
    return bc_fail_io(error, name, "cannot read");
}

/* Brings bytes from offset on into the buffer, as many as fit below limit, and returns where they are and how many. What the
 * buffer already holds of them is kept. */
static int fill(struct bc_scan *s, uint64_t offset, size_t want, const char **ret, size_t *ret_size)
{
    uint64_t have_end = s->buffer_offset + s->filled;
    uint64_t left = s->limit - offset;
    if (want > left)
        want = (size_t)left;
    if (offset < s->buffer_offset || offset + want > have_end) {
        size_t keep = offset >= s->buffer_offset && offset < have_end ? (size_t)(have_end - offset) : 0;
        memmove(s->buffer, s->buffer + (s->filled - keep), keep);
        size_t room = (size_t)BC_MIN((uint64_t)(s->capacity - keep), left - keep);
        size_t got;
        int error = s->io->read(s->io->ctx, s->fd, offset + keep, s->buffer + keep, room, &got);
        if (error != 0)
            return error;
        s->buffer_offset = offset;
        s->filled = keep + got;
        have_end = offset + s->filled;
    }
    *ret = s->buffer + (offset - s->buffer_offset);
    *ret_size = (size_t)(have_end - offset);
    return 0;
}

/* The value is checked in pieces: it may be larger than the buffer, and the head's sizes are trusted only as far as the file
 * goes. A file that ends early has a bad value. */
static int check_value(struct bc_scan *s, uint32_t seed)
{
    uint64_t at = s->offset + bc_record_head_size(&s->record) + s->record.key_size;
    uint64_t left = s->record.value_size;
    uint32_t crc = ~seed;
    while (left > 0) {
        const char *bytes;
        size_t size;
        int error = fill(s, at, (size_t)BC_MIN(left, (uint64_t)s->capacity), &bytes, &size);
        if (error != 0)
            return error;
        size = (size_t)BC_MIN((uint64_t)size, left);
        if (size == 0)
            break;
        crc = bc_crc32(crc, bytes, size);
        at += size;
        left -= size;
    }
    s->value_ok = left == 0 && crc == s->record.value_crc;
    return 0;
}

/* The head at next, with as many bytes behind it as the buffer has. */
static int read_head(struct bc_scan *s, uint32_t seed, enum bc_record_check *ret_check, const char **ret, size_t *ret_size)
{
    int error = fill(s, s->next, BC_RECORD_HEADER + BC_LINK_VALUE, ret, ret_size);
    if (error != 0)
        return error;
    *ret_check = bc_record_decode(&s->record, *ret, *ret_size, seed);
    if (*ret_check != BC_RECORD_SHORT)
        return 0;
    error = fill(s, s->next, BC_RECORD_HEADER + BC_RECORD_EXPIRY + BC_KEY_MAX, ret, ret_size);
    if (error == 0)
        *ret_check = bc_record_decode(&s->record, *ret, *ret_size, seed);
    return error;
}

/* A value that the buffer does not hold. Checking it moves the buffer: the key is brought back behind it. */
static int check_large(struct bc_scan *s, uint32_t seed, const char **ret, size_t *ret_size)
{
    int error = check_value(s, seed);
    if (error == 0)
        error = fill(s, s->offset, bc_record_head_size(&s->record) + s->record.key_size + BC_LINK_VALUE, ret, ret_size);
    return error;
}

enum bc_scan_result bc_scan_next(struct bc_scan *s)
{
    if (s->next >= s->limit)
        return BC_SCAN_END;
    uint32_t seed = bc_record_seed(s->name.nonce, s->next);
    enum bc_record_check check = BC_RECORD_BAD;
    const char *bytes = NULL;
    size_t size = 0;
    int error = read_head(s, seed, &check, &bytes, &size);
    s->offset = s->next;
    s->footprint = error == 0 && check == BC_RECORD_OK ? bc_record_footprint(&s->record) : 0;
    if (error == 0 && (check != BC_RECORD_OK || s->footprint > s->limit - s->next)) {
        struct bc_record claimed;
        if (bc_record_peek(&claimed, bytes, size))
            s->work += claimed.key_size;
        return BC_SCAN_BAD;
    }
    s->work += s->footprint;
    size_t head = error == 0 ? bc_record_head_size(&s->record) + s->record.key_size : 0;
    bool whole = error == 0 && size - head >= s->record.value_size;
    if (whole)
        s->value_ok = bc_record_value_ok(&s->record, bytes + head, seed);
    else if (error == 0)
        error = check_large(s, seed, &bytes, &size);
    if (error != 0) {
        failed(s, error);
        return BC_SCAN_FAILED;
    }
    bool service = s->record.type == BC_RECORD_BATCH || s->record.type == BC_RECORD_LINK;
    if (size < head || (service && size - head < s->record.value_size))
        return BC_SCAN_BAD;
    s->key = bytes + head - s->record.key_size;
    s->value = whole || service ? bytes + head : NULL;
    s->small_value = service ? bytes + head : NULL;
    s->next += s->footprint;
    return BC_SCAN_RECORD;
}

bool bc_scan_keeps(const struct bc_scan *s)
{
    struct bc_record r;
    uint64_t have_end = s->buffer_offset + s->filled;
    if (s->next < s->buffer_offset || s->next + BC_RECORD_HEADER + BC_LINK_VALUE > have_end)
        return false;
    size_t size = (size_t)(have_end - s->next);
    return bc_record_peek(&r, s->buffer + (s->next - s->buffer_offset), size) &&
           bc_record_head_size(&r) + r.key_size + (uint64_t)r.value_size <= size;
}

enum bc_scan_result bc_scan_resync(struct bc_scan *s)
{
    enum bc_scan_result result = BC_SCAN_BAD;
    const uint64_t enough = s->work + (64U << 20) + RESYNC_WORK * (s->limit - s->next);
    while (result == BC_SCAN_BAD && s->limit - s->next > BC_RECORD_ALIGN && s->work < enough) {
        s->next += BC_RECORD_ALIGN;
        uint64_t at = s->next;
        result = bc_scan_next(s);
        /* A head alone may match by chance: there are many places to try. */
        if (result == BC_SCAN_RECORD && !s->value_ok) {
            s->next = at;
            result = BC_SCAN_BAD;
        }
    }
    if (result == BC_SCAN_BAD)
        s->next = s->limit;
    return result == BC_SCAN_BAD ? BC_SCAN_END : result;
}

enum bc_scan_result bc_scan_all_zero(struct bc_scan *s, bool *ret)
{
    uint64_t at = s->next;
    *ret = true;
    while (at < s->limit) {
        const char *bytes;
        size_t size;
        int error = fill(s, at, s->capacity, &bytes, &size);
        if (error != 0) {
            failed(s, error);
            return BC_SCAN_FAILED;
        }
        if (size == 0)
            break;
        if (bytes[0] != 0 || memcmp(bytes, bytes + 1, size - 1) != 0) {
            *ret = false;
            return BC_SCAN_BAD;
        }
        at += size;
    }
    return BC_SCAN_END;
}
