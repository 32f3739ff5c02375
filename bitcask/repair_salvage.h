/* repair_salvage.h - a new data file with all that can be read in a damaged one, and with a deletion for each record that
 * cannot but whose key is known.
 *
 * The new file is a merge output of the damaged one: sequences are kept, links and frames dropped. It counts when a MANIFEST
 * lists it. One thread.
 */
#ifndef BC_REPAIR_SALVAGE_H
#define BC_REPAIR_SALVAGE_H

#include "bitcask/verify_file.h"

struct bc_salvage {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_uuid store;
    uint64_t cleared_below, ceiling;
    uint64_t id;       /* of the new file */
    bool no_deletions; /* another file may have a good copy of what is lost here: a deletion would win over it */
    /* Out: */
    struct bc_manifest_file made; /* its entry; name.id is 0 if nothing was left to write, and no file was made */
    uint64_t copied, deleted;     /* records, and deletions in place of records */
    uint64_t lost_bytes;          /* where nothing is known */
};

/* Of the report's file, up to end. Deletions are those of its findings with a key; of a file that is not there, those of its
 * hint. Findings say what was done. OK, IO, NO_SPACE, NO_MEMORY, CORRUPT (the file changed meanwhile, or the new one cannot be
 * read back); on a failure nothing is left. */
int bc_salvage_file(struct bc_salvage *, const struct bc_file_report *, uint64_t end, struct bc_findings *) bc_must_check;

#endif
