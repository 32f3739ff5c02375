/* verify_names.h - what stands in a store's directory besides what the MANIFEST lists. Reads only. One thread at a time. */
#ifndef BC_VERIFY_NAMES_H
#define BC_VERIFY_NAMES_H

#include "bitcask/findings.h"
#include "bitcask/format_manifest.h"

struct bc_stray {
    char name[BC_NAME_SIZE];
    enum bc_name_kind kind;
    uint64_t id; /* by its name */
    bool regular;
    bool stale; /* a hint of a listed file, but of an earlier end of it */
    uint64_t inode, size;
    enum bc_format_check header; /* of a data file; UNSUPPORTED: of a newer version */
    struct bc_uuid store;        /* these four with a good header only */
    struct bc_file_name identity;
    uint32_t data_kind;
    bool holds_record; /* a record of the log at its start, or bytes where the header is bad */
    bool aside;        /* judged: the next open would refuse the store for it, or delete what is not the store's to delete */
};

struct bc_names {
    const bitcask_allocator *allocator;
    struct bc_stray *strays; /* unlisted data and hint files, stale hint files, temporary files; by name */
    size_t count, capacity;
    uint64_t highest; /* id of any data file */
};

/* OK, IO, NO_MEMORY. */
int bc_names_collect(struct bc_names *, const struct bc_directory *, const bitcask_allocator *,
                     const struct bc_manifest *) bc_must_check;
void bc_names_free(struct bc_names *);

/* Says of each what it is, and sets aside. earlier: what an earlier look found; leftovers are reported only if they were there
 * already, just the same (NULL: not at all). *ret_older: something proves that the MANIFEST is not the newest. */
void bc_names_judge(struct bc_names *, const struct bc_manifest *, const struct bc_names *earlier, struct bc_findings *,
                    bool *ret_older);

/* The name under which a data file of the store stands, if not under its own. ret: BC_NAME_SIZE bytes. */
bool bc_names_find_renamed(const struct bc_directory *, const struct bc_uuid *store, const struct bc_file_name *, char *ret);

/* Reads the header of a data file. BAD also if it cannot be opened. */
enum bc_format_check bc_names_header(const struct bc_directory *, const char *name, struct bc_data_header *ret);

#endif
