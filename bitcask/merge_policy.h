/* merge_policy.h - which files to merge, and why: what a file's counters say, no I/O and no locks.
 *
 * A file past a trigger is merged, and with it, while the store as a whole wastes more than a share of its space, every file
 * past its threshold (Basho's pairs). To keep the store below that share the files that win most for what they cost go first,
 *
 *     score = dead * sqrt(age) / (live + records / 10)
 *
 * age being what was written since the file's records were, on average. Files of one step are of similar age, so that what is
 * cold and what is hot stay apart. The formula is that of log-structured file systems (Rosenblum and Ousterhout, 1992) with
 * the exponent and the constant that decision 0011 measures.
 */
#ifndef BC_MERGE_POLICY_H
#define BC_MERGE_POLICY_H

#include <stdbool.h>

#include "bitcask/attr.h"

#define BC_MERGE_OFF UINT64_MAX

/* As the options of the same names; percentages and bytes, BC_MERGE_OFF: does not apply. */
struct bc_merge_policy {
    uint64_t frag_trigger, frag_threshold;
    uint64_t dead_trigger, dead_threshold;
    uint64_t small_file_threshold;
    uint64_t max_merge_size;
    uint64_t total_frag_trigger;
    uint64_t output_max; /* live bytes of one step */
};

/* A sealed file. */
struct bc_merge_candidate {
    void *file;
    uint64_t id;
    uint64_t records;    /* bytes of all its records */
    uint64_t live;       /* of live ones */
    uint64_t tombstones; /* of dead ones that may have to stay */
    uint64_t age;        /* bytes, or any unit that is the same for all */
    bool expired;        /* every live record has expired */
    bool asked;          /* a merge has just found that its tombstones must stay */
    bool barred;
    /* The verdict: */
    uint32_t reasons; /* BITCASK_MERGE_BECAUSE_* */
    double score;
};

/* All data files together, the one that is written included. */
struct bc_merge_totals {
    uint64_t records, live;
};

/* Sets reasons (0: not now) and score of every candidate, and puts the best first. */
void bc_merge_judge(const struct bc_merge_policy *, struct bc_merge_candidate *, size_t count, const struct bc_merge_totals *);
/* The inputs of the next step: moves them to the front, best first, and returns how many they are, at most max. 0: nothing to
 * do. The candidates are as judge() left them. */
size_t bc_merge_choose(const struct bc_merge_policy *, struct bc_merge_candidate *, size_t count, size_t max);

#endif
