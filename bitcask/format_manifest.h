/* format_manifest.h - the bytes of the MANIFEST: which data files are the store. Pure; any thread. */
#ifndef BC_FORMAT_MANIFEST_H
#define BC_FORMAT_MANIFEST_H

#include "bitcask/alloc.h"
#include "bitcask/format_data.h"

#define BC_MANIFEST_OPEN 1U   /* state: may be longer than end, which is the offset known durable */
#define BC_MANIFEST_SEALED 2U /* state: ends at end, durable as a whole, never changes */

/* Of the MANIFEST itself. */
#define BC_MANIFEST_BACKUP 1U     /* compatible: a backup wrote it, and nobody has written to that directory since */
#define BC_MANIFEST_UNFINISHED 1U /* incompatible: a backup into this directory was not finished; it is no store */

#define BC_MANIFEST_CLEAN 1U /* flags: ended by a clean close; the next open may go on in it */

struct bc_manifest_file {
    struct bc_file_name name;
    uint32_t state;
    uint32_t kind;  /* BC_DATA_KIND_* */
    uint32_t flags; /* BC_MANIFEST_CLEAN */
    uint64_t end;
    uint64_t min_sequence, max_sequence; /* of a sealed file's records; 0 and 0 if it has none */
};

struct bc_manifest {
    uint64_t generation; /* one more than that of the MANIFEST it replaces */
    struct bc_uuid store;
    uint64_t ceiling; /* no sequence at or above it was ever handed out */
    uint64_t next_id; /* no file with this id or a higher one was ever made */
    uint64_t cleared_below;
    uint32_t compatible, incompatible; /* flags; what is not known here is not kept */
    size_t count;
    struct bc_manifest_file *files; /* ascending ids; owned */
};

/* Bytes of the encoded MANIFEST: two copies of the body, each in whole 4 KiB blocks. */
size_t bc_manifest_size(size_t count);
/* Writes bc_manifest_size(m->count) bytes. */
void bc_manifest_encode(void *dst, const struct bc_manifest *m);
/* Decodes size bytes. On OK ret->files is the caller's (bc_free), and *ret_damaged_copies says how many of the two copies were
 * bad (0 or 1). BITCASK_OK, CORRUPT (both copies bad, or they disagree), UNSUPPORTED, NO_MEMORY. Never allocates more than
 * O(size). Checks that ids ascend strictly and lie below next_id, states and kinds are known, ends are at least BC_DATA_START.
 */
int bc_manifest_decode(struct bc_manifest *ret, int *ret_damaged_copies, const void *src, size_t size,
                       const bitcask_allocator *) bc_must_check;
/* The same for who can deal with an unfinished backup: to everybody else it is UNSUPPORTED. */
int bc_manifest_decode_backup(struct bc_manifest *ret, int *ret_damaged_copies, const void *src, size_t size,
                              const bitcask_allocator *) bc_must_check;

#endif
