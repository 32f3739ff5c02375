/* verify_walk.h - one data file from its first record to its end, through damage: every record that stands there, and every
 * place where something else does.
 *
 * Below the vouched offset (the end of a sealed file, the durable mark of an open one) everything was durable once: what is bad
 * there is damage, and what stands behind it is still the store's. From there on the first bad byte is the end, and nobody
 * looks behind it: what stands there was never acknowledged, or was given up.
 */
#ifndef BC_VERIFY_WALK_H
#define BC_VERIFY_WALK_H

#include "bitcask/scan.h"

struct bc_damage {
    uint32_t code; /* BITCASK_FINDING_* */
    uint64_t offset, size;
    const struct bc_record *record; /* NULL: what stood there is not known */
    const void *key;                /* NULL likewise */
    const char *what;
};

struct bc_walk {
    const struct bc_io *io;
    const bitcask_allocator *allocator;
    int fd;
    struct bc_file_name name;
    uint32_t kind;    /* BC_DATA_KIND_* */
    uint64_t vouched; /* at most limit */
    uint64_t limit;   /* no byte at or beyond it is looked at */
    uint64_t ceiling; /* no record has this sequence or a higher one */
    /* Each may be NULL, and ends the walk with a result that is not OK. record gets the puts and tombstones, those with a
     * damaged value too: only where vouched == limit, as behind it a batch may turn out to be void. progress gets the offset.
     */
    int (*record)(const struct bc_scan *, void *arg);
    int (*damage)(const struct bc_damage *, void *arg);
    int (*progress)(uint64_t offset, void *arg);
    void *arg;
    /* What was found: */
    uint64_t end; /* behind the last record, or the last whole batch */
    uint64_t bad; /* where the walk stopped: end, or the first byte behind it that is no part of a whole record or batch */
    uint64_t operations, min_sequence, max_sequence; /* of the operations before end */
    uint64_t highest;                                /* sequence of any record, links, frames and what stands behind end too */
    bool linked;                                     /* a log file with a link */
    struct bc_link link;
};

/* OK, IO, NO_MEMORY, or what a function above gave. Damage is no failure. */
int bc_walk(struct bc_walk *) bc_must_check;

/* Reading that does not stop at a bad sector: what the device does not give counts as zeros, 4 KiB at a time, and is noted.
 * Only io.read may be used of it. */
struct bc_patient_io {
    struct bc_io io;
    const struct bc_io *real;
    uint64_t file_size;
    uint64_t unreadable;       /* bytes */
    uint64_t first_unreadable; /* offset */
    int error;                 /* the first one's errno */
};
void bc_patient_io_init(struct bc_patient_io *, const struct bc_io *, uint64_t file_size);

#endif
