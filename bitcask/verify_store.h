/* verify_store.h - the data files that a MANIFEST lists, checked together: on several threads, the findings given to the
 * caller's callback on his own, file by file in the MANIFEST's order. Writes nothing.
 */
#ifndef BC_VERIFY_STORE_H
#define BC_VERIFY_STORE_H

#include <pthread.h>

#include "bitcask/verify_file.h"

/* Where findings and progress go, and what is counted. One thread. */
struct bc_verify_sink {
    bitcask_finding_fn finding;
    void *finding_ctx;
    bitcask_progress_fn progress;
    void *progress_ctx;
    bitcask_verify_result *result;
};

/* Counts and shows each finding of the list; the list stays as it is. OK, CANCELLED, NO_MEMORY. */
int bc_sink_deliver(struct bc_verify_sink *, const struct bc_findings *) bc_must_check;

struct bc_store_check {
    struct bc_verify_common common;
    struct bc_verify_sink *sink;
    unsigned threads;
    bool beside_writer; /* a finding counts only if the MANIFEST still says the same of its file */
    struct bc_file_report *reports;
    size_t count;
    uint64_t total_bytes;
    /* Running. */
    _Atomic size_t next;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t moved;
    uint8_t *done; /* per report */
    int failure;   /* the first one */
    int failure_errno;
    char failure_file[BC_NAME_SIZE], failure_message[256];
};

/* Reports for all files of the MANIFEST, or for those that wanted says (NULL: all). m is borrowed until free. OK, NO_MEMORY. */
int bc_store_check_init(struct bc_store_check *, const struct bc_directory *, const bitcask_allocator *,
                        const struct bc_manifest *m, bool (*wanted)(const struct bc_manifest_file *, void *arg),
                        void *arg) bc_must_check;
void bc_store_check_free(struct bc_store_check *);
/* Fills the reports in and delivers their findings. OK (whatever was found), NO_MEMORY, CANCELLED, UNSUPPORTED. */
int bc_store_check_run(struct bc_store_check *) bc_must_check;

/* Looks at one file again. */
int bc_store_check_again(struct bc_store_check *, struct bc_file_report *) bc_must_check;
/* Drops what was found in a file of which the MANIFEST does not say the same any more, and sets gone or changed. OK, NO_MEMORY.
 */
int bc_store_check_confirm(struct bc_store_check *, struct bc_file_report *) bc_must_check;

/* The second of two open files says how far the first one reached. *ret_void: it did not get that far, and the second never
 * counted: that is no damage. Else, if the first must have been longer, that is damage, reported in news. *ret_end: where the
 * first one ends. */
void bc_store_check_tails(struct bc_file_report *first, struct bc_file_report *second, struct bc_findings *news, bool *ret_void,
                          uint64_t *ret_end);

#endif
