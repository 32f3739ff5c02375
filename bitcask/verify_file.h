/* verify_file.h - one listed data file: its header, mark, records and hint, and what the MANIFEST says of it. Writes nothing.
 *
 * Files are checked independently, on any thread each.
 */
#ifndef BC_VERIFY_FILE_H
#define BC_VERIFY_FILE_H

#include <stdatomic.h>

#include "bitcask/findings.h"
#include "bitcask/format_manifest.h"
#include "bitcask/keydir.h"
#include "bitcask/verify_walk.h"

/* What all files of one check share. */
struct bc_verify_common {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    const struct bc_manifest *manifest;
    struct bc_keydir *keydir; /* for a recount; NULL: none */
    _Atomic uint64_t bytes;   /* done so far, for progress */
    atomic_bool cancelled;
    int (*progress)(void *arg); /* called by the checking thread now and then; NULL: none */
    void *progress_arg;
};

struct bc_file_report {
    struct bc_manifest_file listed;
    char name[BC_NAME_SIZE]; /* of the file that it is read from: another one than <id>.data if files were renamed */
    struct bc_findings findings;
    bool there;      /* it is a regular file, and not another data file than the listed one */
    bool damaged;    /* its bytes are: it must be replaced */
    bool misnamed;   /* it stands under another name */
    bool relist;     /* the file is good, but the MANIFEST's entry is not true */
    bool bad_hint;   /* its hint file is damaged or untrue */
    bool hinted;     /* its hint file was compared */
    bool incomplete; /* the device did not give all of it, or there was a permission missing */
    uint64_t size;   /* of the file */
    uint64_t mark;   /* what the durable mark vouches for; the MANIFEST's end included */
    struct bc_walk walk;
    uint64_t records, bytes;
    uint64_t shown; /* progress: bytes counted so far */
    /* For a check beside a writer: */
    bool gone, changed; /* the MANIFEST does not list it any more, or says other things of it: it says nothing */
};

/* Fills *r in; listed, name and misnamed are set by the caller. index: of the file, for the recount. OK (whatever was found),
 * NO_MEMORY, CANCELLED. */
int bc_verify_file(struct bc_verify_common *, uint32_t index, struct bc_file_report *r) bc_must_check;

/* A finding about the data file. Errors and warnings make it damaged. */
void bc_report_data(struct bc_file_report *, uint32_t severity, uint32_t code, uint64_t offset, uint64_t size,
                    const char *format, ...) bc_printf(6, 7);

#endif
