/* hintwrite.h - writing a hint file, entry by entry. Its name comes last: until then nobody takes it for one. One thread. */
#ifndef BC_HINTWRITE_H
#define BC_HINTWRITE_H

#include "bitcask/directory.h"
#include "bitcask/format_hint.h"

struct bc_hint_writer {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_hint_header header;
    int fd; /* -1: none */
    char *block;
    size_t block_capacity, block_size;
    uint32_t block_count;
};

/* Makes <id>.hint.tmp for the hint of a data file. OK, NO_SPACE, IO. */
int bc_hint_writer_begin(struct bc_hint_writer *, const struct bc_directory *, const bitcask_allocator *,
                         const struct bc_file_name *) bc_must_check;
/* One entry a key. OK, NO_SPACE, IO, NO_MEMORY. */
int bc_hint_writer_put(struct bc_hint_writer *, const struct bc_hint_entry *) bc_must_check;
/* The data file is durable and ends at end; the sequences are of all its records. Syncs and names the hint. OK, NO_SPACE, IO.
 */
int bc_hint_writer_finish(struct bc_hint_writer *, uint64_t end, uint64_t min_sequence, uint64_t max_sequence) bc_must_check;
/* Ends it, whether it was finished or not: what has no name yet goes. */
void bc_hint_writer_end(struct bc_hint_writer *);

#endif
