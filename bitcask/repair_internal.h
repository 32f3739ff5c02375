/* repair_internal.h - what the two halves of a repair share: repair_plan.c decides, repair.c does it. One thread. */
#ifndef BC_REPAIR_INTERNAL_H
#define BC_REPAIR_INTERNAL_H

#include "bitcask/repair_aside.h"
#include "bitcask/verify.h"
#include "bitcask/verify_names.h"
#include "bitcask/verify_store.h"

/* What becomes of a listed file. */
enum bc_fate { FATE_KEPT, FATE_RELISTED, FATE_DROPPED, FATE_REPLACED };

struct bc_repair_plan {
    enum bc_fate fate;
    uint64_t end;
    struct bc_manifest_file made; /* what replaces it; name.id 0: nothing was left of it */
};

struct bc_repair {
    const struct bc_environment *environment;
    struct bc_directory dir;
    const bitcask_allocator *allocator;
    const bitcask_repair_options *options;
    bool dry_run;
    struct bc_manifest manifest; /* the one to be repaired: read, or made from the headers */
    int damaged_copies;
    bool rebuilt;
    struct bc_names names;
    struct bc_aside aside;
    struct bc_findings done; /* what was done */
    struct bc_store_check check;
    struct bc_repair_plan *plans; /* per report */
    size_t replaced;
    bool needed;
    struct bc_verify_sink sink;
    bitcask_verify_result result;
};

/* Hands the findings to the caller of the repair, and frees them. His result. */
int bc_repair_deliver(struct bc_repair *, struct bc_findings *) bc_must_check;
/* The first number that is free for what the repair writes. */
uint64_t bc_repair_first_output(const struct bc_repair *);
/* Fills plans, aside, replaced and needed from the check's reports; changes nothing in the store. OK, NO_MEMORY, IO (a file
 * cannot be read), or what the caller answered to a finding. */
int bc_repair_make_plan(struct bc_repair *) bc_must_check;

#endif
