/* repair_manifest.h - a list of the data files of a store whose MANIFEST is lost, or older than they are, from the files alone.
 *
 * What a header says for this purpose: of which store it is, below which id everything was cleared, and which files a merge
 * output replaced. What a link says: where the log file before it ends. What the durable mark says: how far an open file can be
 * trusted. Nobody resynchronises behind the first bad byte of a file whose end is not known otherwise.
 */
#ifndef BC_REPAIR_MANIFEST_H
#define BC_REPAIR_MANIFEST_H

#include "bitcask/findings.h"
#include "bitcask/format_manifest.h"

struct bc_unlisted {
    char name[BC_NAME_SIZE];
    const char *why; /* static */
};

struct bc_rebuilt {
    const bitcask_allocator *allocator;
    struct bc_manifest manifest;  /* all files sealed; generation and ceiling above all that is known */
    struct bc_unlisted *unlisted; /* data files that are not in it */
    size_t unlisted_count;
};

/* old: a MANIFEST that is intact but not the newest, or NULL. durable: makes the data files durable first, as their ends are
 * fixed by what is read. Says in findings what may be lost or come back. OK, UNSUPPORTED, IO, NO_MEMORY. *ret is filled in on
 * OK. */
int bc_repair_rebuild(const struct bc_directory *, const bitcask_allocator *, const struct bc_manifest *old, bool durable,
                      struct bc_findings *, struct bc_rebuilt *ret) bc_must_check;
void bc_rebuilt_free(struct bc_rebuilt *);

#endif
