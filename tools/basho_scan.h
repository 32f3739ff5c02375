/* basho_scan.h - the records of one data file of Riak's Bitcask, in their order, and what is no record.
 *
 * Every record's CRC is checked. Damage is passed by the record's own size, if good records (or the end) follow where it says
 * that they do: so what lies inside a damaged value is not taken for a record. Else every offset is tried.
 */
#ifndef TOOLS_BASHO_SCAN_H
#define TOOLS_BASHO_SCAN_H

#include <stdint.h>

#include "tools/basho_file.h"
#include "tools/basho_record.h"

struct basho_item {
    struct basho_header header;
    uint64_t offset;
    const unsigned char *key, *value; /* good for the call */
};

enum basho_damage_kind {
    BASHO_DAMAGED,    /* it has a checksum that is wrong, or no sense at all */
    BASHO_TORN,       /* at the end of the file: what a write leaves that was cut off */
    BASHO_UNREADABLE, /* the system could not read it */
};

struct basho_damage {
    enum basho_damage_kind kind;
    uint64_t offset, size;
    int sys_errno;            /* of UNREADABLE */
    uint32_t time_s;          /* of TORN: the time it seems to have; 0 if its header is cut off, too, or zeros */
    const unsigned char *key; /* the key it seems to have, not checked; NULL: it cannot be told. Good for the call */
    uint64_t key_size;
};

struct basho_events {
    /* Non-zero ends the scan and is its result. */
    int (*item)(const struct basho_item *item, void *ctx);
    int (*damage)(const struct basho_damage *damage, void *ctx);
    /* How far the scan is; called often. Non-zero ends it. */
    int (*at)(uint64_t offset, void *ctx);
    void *ctx;
};

/* Walks a whole file. 0, what a callback returned, or -ENOMEM. */
int basho_scan(struct basho_file *file, const struct basho_events *events);

#endif
