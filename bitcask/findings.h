/* findings.h - what a check of a store found: collected file by file, given to the caller's callback later, as beside a live
 * writer a finding counts only if the MANIFEST still says what it said. One thread at a time for each list.
 */
#ifndef BC_FINDINGS_H
#define BC_FINDINGS_H

#include "bitcask/alloc.h"
#include "bitcask/directory.h"

#include <stdbool.h>

struct bc_finding {
    struct bc_finding *next;
    uint32_t severity, code; /* BITCASK_FINDING_* */
    char file[BC_NAME_SIZE];
    uint64_t offset, size, sequence;
    const void *key; /* owned by the list */
    size_t key_size;
    char message[200];
};

struct bc_findings {
    const bitcask_allocator *allocator;
    struct bc_finding *first, *last;
    bool no_memory; /* some finding could not be kept */
};

void bc_findings_init(struct bc_findings *, const bitcask_allocator *);
void bc_findings_free(struct bc_findings *); /* it is empty and can be used again */
/* Copies f, its key and the message. */
void bc_findings_add(struct bc_findings *, const struct bc_finding *f, const char *format, ...) bc_printf(3, 4);

static inline bool bc_findings_empty(const struct bc_findings *l)
{
    return l->first == NULL && !l->no_memory;
}

/* The finding as the public struct; borrows from f. */
void bc_finding_show(const struct bc_finding *f, bitcask_finding *ret);

#endif
