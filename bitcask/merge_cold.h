/* merge_cold.h - what a merge reads and nobody else does leaves the system's cache behind it: the inputs may be larger than
 * memory, and what others have there is worth more. What was there before the merge came stays, for its readers. Under the
 * merge lock.
 */
#ifndef BC_MERGE_COLD_H
#define BC_MERGE_COLD_H

#include "bitcask/alloc.h"
#include "bitcask/io.h"

struct bc_merge_cold {
    const struct bc_io *io;
    const bitcask_allocator *allocator;
    int fd;
    uint64_t end;
    unsigned char *cold; /* a bit for each piece of the file; NULL: nobody knows, and nothing is dropped */
    uint64_t run, next;  /* pieces: where the cold ones begin that end at next; the first that was not looked at */
};

/* Before the first read of the file: asks what of it is in the cache, up to end. */
void bc_merge_cold_begin(struct bc_merge_cold *, const struct bc_io *, const bitcask_allocator *, int fd, uint64_t end);
/* Everything before until was read, and is not read again by this merge but for single records. */
void bc_merge_cold_passed(struct bc_merge_cold *, uint64_t until);
void bc_merge_cold_end(struct bc_merge_cold *);

#endif
