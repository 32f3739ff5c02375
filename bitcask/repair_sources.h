/* repair_sources.h - the data files of a directory without a MANIFEST, each by itself: what its header, mark, link and records
 * say. One thread at a time.
 */
#ifndef BC_REPAIR_SOURCES_H
#define BC_REPAIR_SOURCES_H

#include "bitcask/directory.h"
#include "bitcask/format_manifest.h"
#include "bitcask/verify_walk.h"

struct bc_source {
    char name[BC_NAME_SIZE];
    uint64_t size, mark;
    bool headed; /* its header is good */
    struct bc_uuid store;
    struct bc_file_name identity; /* by header; else id by name, and a nonce from elsewhere (0: not known) */
    uint64_t cleared_below;
    uint32_t kind, input_count;
    struct bc_file_name *inputs; /* owned */
    bool linked;
    struct bc_link link;
    /* From the walk: */
    uint64_t end;
    uint64_t operations, min_sequence, max_sequence, highest;
    bool damaged;    /* below end */
    bool cut;        /* something that is no record, and not zeros, follows its end */
    const char *out; /* why it is not part of the store; NULL: it is. Static */
};

struct bc_sources {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_source *files; /* by id */
    size_t count, capacity;
};

/* Reads all headers, marks and links. OK, UNSUPPORTED, IO, NO_MEMORY. */
int bc_sources_collect(struct bc_sources *, const struct bc_directory *, const bitcask_allocator *) bc_must_check;
void bc_sources_free(struct bc_sources *);
/* The nonce of a file whose header is bad, from what names it: an older MANIFEST (may be NULL), its hint file, the link of the
 * next log file, the inputs of a merge output. False: nothing does. */
bool bc_sources_find_nonce(const struct bc_sources *, struct bc_source *, const struct bc_manifest *old);
void bc_source_read_link(const struct bc_sources *, struct bc_source *);
/* Walks over the records up to limit; below vouched damage is passed. OK, IO, NO_MEMORY. */
int bc_source_walk(const struct bc_sources *, struct bc_source *, uint64_t vouched, uint64_t limit) bc_must_check;
/* What a killed process left in the page cache is made durable and read again. OK, IO. */
int bc_source_settle(const struct bc_sources *, const struct bc_source *) bc_must_check;

#endif
