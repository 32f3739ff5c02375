#include "bitcask/merge_policy.h"

#include <stdlib.h>

#include "bitcask/bitcask.h"
#include "bitcask/format_record.h"

#define TOTAL_DEAD_MIN (8ULL << 20) /* a store that wastes less than this is left alone */
#define SMALL_FILES_MIN 32U         /* so many make a merge of small files worth it */
#define AGE_RATIO 4U                /* of the files of one step */

/* What a merge of it would win at least. */
static uint64_t gain(const struct bc_merge_candidate *c)
{
    uint64_t dead = c->records - BC_MIN(c->live, c->records);
    uint64_t stays = BC_LINK_FOOTPRINT + (c->asked ? c->tombstones : 0);
    dead = c->expired ? c->records : dead;
    return dead - BC_MIN(dead, stays);
}

/* The link, of which no merge is made, is left out of the whole, too: a file of nothing but dead records is 100 % dead. */
static uint64_t gain_percent(const struct bc_merge_candidate *c)
{
    uint64_t whole = c->records - BC_MIN(c->records, BC_LINK_FOOTPRINT);
    return whole == 0 ? 0 : (uint64_t)((double)gain(c) * 100.0 / (double)whole);
}

static bool past(uint64_t value, uint64_t limit)
{
    return limit != BC_MERGE_OFF && value >= limit;
}

static uint32_t triggers(const struct bc_merge_policy *p, const struct bc_merge_candidate *c)
{
    uint64_t dead = gain(c);
    uint32_t reasons = 0;
    if (dead > 0 && past(gain_percent(c), p->frag_trigger))
        reasons |= BITCASK_MERGE_BECAUSE_FRAGMENTED;
    if (dead > 0 && past(dead, p->dead_trigger))
        reasons |= BITCASK_MERGE_BECAUSE_DEAD_BYTES;
    if (c->expired && c->live > 0)
        reasons |= BITCASK_MERGE_BECAUSE_EXPIRED;
    return reasons;
}

static uint32_t thresholds(const struct bc_merge_policy *p, const struct bc_merge_candidate *c, bool small_too)
{
    uint64_t dead = gain(c);
    uint32_t reasons = 0;
    if (dead > 0 && past(gain_percent(c), p->frag_threshold))
        reasons |= BITCASK_MERGE_BECAUSE_FRAGMENTED;
    if (dead > 0 && past(dead, p->dead_threshold))
        reasons |= BITCASK_MERGE_BECAUSE_DEAD_BYTES;
    if (small_too && p->small_file_threshold != BC_MERGE_OFF && c->records < p->small_file_threshold)
        reasons |= BITCASK_MERGE_BECAUSE_SMALL;
    return reasons;
}

static int by_score(const void *a, const void *b)
{
    const struct bc_merge_candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* How many bytes are dead beyond what the store may waste. */
static uint64_t excess(const struct bc_merge_policy *p, const struct bc_merge_totals *t)
{
    uint64_t dead = t->records - BC_MIN(t->live, t->records);
    if (p->total_frag_trigger == BC_MERGE_OFF || p->total_frag_trigger > 100 || dead < TOTAL_DEAD_MIN)
        return 0;
    /* A point below the trigger, so that the next write does not start the next merge. */
    double share = (double)p->total_frag_trigger / 100.0;
    if ((double)dead < share * (double)t->records)
        return 0;
    share = BC_MAX(share - 0.01, 0.0);
    double wanted = ((double)dead - share * (double)t->records) / (1.0 - share);
    return wanted > 0 ? (uint64_t)wanted + 1 : 0;
}

void bc_merge_judge(const struct bc_merge_policy *p, struct bc_merge_candidate *c, size_t count,
                    const struct bc_merge_totals *t)
{
    bool triggered = false;
    size_t small = 0;
    for (size_t i = 0; i < count; i++) {
        c[i].reasons = c[i].barred ? 0 : triggers(p, &c[i]);
        double won = (double)gain(&c[i]), cost = (double)c[i].live + (double)c[i].records / 10.0 + 1.0;
        c[i].score = won * won * ((double)c[i].age + 1.0) / (cost * cost); /* the square orders as well */
        triggered |= c[i].reasons != 0;
        small += p->small_file_threshold != BC_MERGE_OFF && c[i].records < p->small_file_threshold;
    }
    uint64_t wanted = excess(p, t);
    /* While the store as a whole wastes little, what is past a trigger goes alone: the others get better by waiting. */
    for (size_t i = 0; i < count && triggered && (wanted > 0 || p->total_frag_trigger == BC_MERGE_OFF); i++)
        if (!c[i].barred)
            c[i].reasons |= thresholds(p, &c[i], small >= SMALL_FILES_MIN);
    if (count > 0)
        qsort(c, count, sizeof *c, by_score);
    for (size_t i = 0; i < count && wanted > 0; i++) {
        uint64_t won = gain(&c[i]);
        /* A file that wastes less than the store may is not what the store suffers from. */
        if (c[i].barred || won == 0 || gain_percent(&c[i]) < p->total_frag_trigger)
            continue;
        c[i].reasons |= BITCASK_MERGE_BECAUSE_SPACE;
        wanted -= BC_MIN(won, wanted);
    }
}

static bool similar(uint64_t a, uint64_t b)
{
    return a <= b * AGE_RATIO && b <= a * AGE_RATIO;
}

size_t bc_merge_choose(const struct bc_merge_policy *p, struct bc_merge_candidate *c, size_t count, size_t max)
{
    size_t chosen = 0;
    /* Each record of an input may take memory, also one that is not copied. */
    uint64_t live = 0, size = 0, size_max = BC_MIN(p->max_merge_size, p->output_max * 4);
    for (size_t i = 0; i < count && chosen < max; i++) {
        /* What must stay as a tombstone takes room as well: a place in the output is no further than the KeyDir can say. */
        uint64_t more = c[i].expired ? 0 : c[i].live, stays = c[i].tombstones;
        /* A file that is larger than a step alone still goes, by itself: it must not stand in the way of all others. */
        bool fits = chosen == 0 || (live + more + stays <= p->output_max && size + c[i].records <= size_max);
        bool spent = more == 0;
        if (c[i].reasons == 0 || !fits || (chosen > 0 && !spent && !similar(c[i].age, c[0].age)))
            continue;
        struct bc_merge_candidate taken = c[i];
        c[i] = c[chosen];
        c[chosen++] = taken;
        live += more + stays;
        size += taken.records;
    }
    return chosen;
}
