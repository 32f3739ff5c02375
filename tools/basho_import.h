/* basho_import.h - brings the records of data files of Riak's Bitcask into a store, in the order in which they count.
 *
 * That order is: files by number, records by place. The last record of a key wins; a deletion, of whatever form, deletes what
 * stands before it. Times decide nothing but expiry. So all versions go through the store, one after the other, and the memory
 * that it takes is the store's own.
 */
#ifndef TOOLS_BASHO_IMPORT_H
#define TOOLS_BASHO_IMPORT_H

#include <bitcask/bitcask.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/basho_dir.h"
#include "tools/basho_file.h"

struct basho_import {
    /* Set by the caller. */
    bitcask *db;
    uint64_t expiry_s;      /* 0: nothing expires */
    uint64_t total;         /* bytes of all files, for the bar */
    struct basho_file file; /* not open: fd -1 */
    /* Counted. */
    uint64_t files, marked, records, values, deletions, expired, left_out;
    uint64_t damaged, damaged_bytes, torn_bytes;
    /* The import's own. */
    const struct basho_entry *entry; /* in hand */
    bool newest;                     /* no file follows */
    uint64_t done;                   /* bytes of the files before */
    uint32_t first_s, last_s;        /* times of the records so far */
    int64_t now_ms;
    unsigned char *doomed; /* a key whose deletion is put off to the next record, which often is its new value */
    uint32_t doomed_size;  /* 0: none */
};

/* All files of dir, each record and each damage; damage is reported on stderr. The store is neither synced nor closed. CLI_OK
 * or CLI_ERROR, reported: the store could not take it, a file could not be opened, or a signal came. basho_import_free() is due
 * in every case. */
int basho_import_run(struct basho_import *import, const struct basho_dir *dir);
void basho_import_free(struct basho_import *import);

#endif
