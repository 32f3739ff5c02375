/* merge_output.h - the one data file that a merge step writes: records in any order, each with the sequence it had.
 *
 * Nobody but the step sees it before the MANIFEST lists it. Crash: until then it is a leftover, whatever it holds.
 */
#ifndef BC_MERGE_OUTPUT_H
#define BC_MERGE_OUTPUT_H

#include "bitcask/datafile.h"
#include "bitcask/format_record.h"

struct bc_merge_output {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_file_name name;
    int fd; /* -1: not made */
    char *buffer;
    uint64_t start; /* offset in the file of the buffer's first byte */
    size_t filled;  /* bytes of the buffer that wait to be written */
    uint64_t end;   /* where the next record goes */
    uint64_t records, tombstones, tombstone_bytes;
    uint64_t min_sequence, max_sequence; /* 0 and 0: no record */
    double sum_of_sequences;
};

/* Makes the file, with room for about bytes of records. The header says what it will replace. OK, NO_SPACE, IO, NO_MEMORY. */
int bc_merge_output_make(struct bc_merge_output *, const struct bc_directory *, const bitcask_allocator *,
                         const struct bc_data_header *, uint64_t bytes) bc_must_check;

/* Appends a record whose bytes were verified where they are; its CRCs are made new, from the same bytes, for its new place.
 * *ret_offset is that place. OK, NO_SPACE, IO. */
int bc_merge_output_put(struct bc_merge_output *, const struct bc_record *, const void *key, const void *value,
                        uint64_t *ret_offset) bc_must_check;
/* The same for a value that lies in another file, from offset at on: it goes by in pieces, and each piece is verified, with the
 * seed of its old place, in the buffer that it is written from. *ret_good: the value was what its old CRC says. */
int bc_merge_output_copy(struct bc_merge_output *, const struct bc_record *, const void *key, int fd, uint64_t at,
                         uint32_t seed, uint64_t *ret_offset, bool *ret_good) bc_must_check;

/* All of it is on disk, trimmed, and its name is durable. OK, NO_SPACE, IO. */
int bc_merge_output_finish(struct bc_merge_output *) bc_must_check;
/* Closes the descriptor and frees the buffer; the file stays. */
void bc_merge_output_close(struct bc_merge_output *);

#endif
