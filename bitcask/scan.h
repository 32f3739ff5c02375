/* scan.h - the records of one data file in order, read sequentially with system calls, whatever the file holds.
 *
 * Never through a mapping: a scan is for files that may be damaged, torn or shrinking. Memory is one buffer, whatever sizes the
 * bytes claim. One thread at a time.
 */
#ifndef BC_SCAN_H
#define BC_SCAN_H

#include "bitcask/alloc.h"
#include "bitcask/format_data.h"
#include "bitcask/format_record.h"
#include "bitcask/io.h"

struct bc_scan {
    const struct bc_io *io;
    const bitcask_allocator *allocator;
    char *buffer;
    size_t capacity;
    uint64_t buffer_offset; /* file offset of buffer[0] */
    size_t filled;
    int fd;
    struct bc_file_name name;
    uint64_t next;  /* offset of the next record */
    uint64_t limit; /* no byte at or beyond it is looked at */
    /* The record that bc_scan_next() found: */
    struct bc_record record;
    uint64_t offset, footprint;
    const void *key;         /* borrowed until the next call */
    const void *value;       /* borrowed, too; NULL: larger than the buffer */
    const void *small_value; /* the value of a service record (batch, link), else NULL */
    bool value_ok;
    uint64_t work; /* bytes looked at, those of candidates that were none included */
};

enum bc_scan_result {
    BC_SCAN_RECORD, /* one record; value_ok says whether its value's CRC holds */
    BC_SCAN_END,    /* next == limit: every byte was accounted for */
    BC_SCAN_BAD,    /* no record with an intact head at next, or it does not fit below limit */
    BC_SCAN_FAILED  /* an I/O error, recorded as this thread's failure */
};

/* From offset start to limit. OK, NO_MEMORY. */
int bc_scan_init(struct bc_scan *, const struct bc_io *, const bitcask_allocator *, int fd, const struct bc_file_name *,
                 uint64_t start, uint64_t limit) bc_must_check;
enum bc_scan_result bc_scan_next(struct bc_scan *) bc_must_check;
/* Whether the next call leaves the keys and values of earlier ones where they are. */
bool bc_scan_keeps(const struct bc_scan *);
/* After BAD: the first record from there on whose head and value are both good: what is left of a damaged file. Bytes made to
 * look like heads of large records, one every few bytes, would make this quadratic: it gives up (END) when it has looked at
 * many times what lies before the limit. */
enum bc_scan_result bc_scan_resync(struct bc_scan *) bc_must_check;
/* After BAD: whether every byte from next to limit is zero, as prepared space is. */
enum bc_scan_result bc_scan_all_zero(struct bc_scan *, bool *ret);
void bc_scan_free(struct bc_scan *);

#endif
