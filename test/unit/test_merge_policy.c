/* Which files policy merges: pure decisions from the counters of files. */
#include <check.h>
#include <string.h>

#include "bitcask/bitcask.h"
#include "bitcask/merge_policy.h"

#define MB (1ULL << 20)
#define LINK 56U
#define FILES_MAX 64U

/* The defaults of bitcask_options. */
static struct bc_merge_policy defaults(void)
{
    return (struct bc_merge_policy){.frag_trigger = 60,
                                    .frag_threshold = 40,
                                    .dead_trigger = 512 * MB,
                                    .dead_threshold = 128 * MB,
                                    .small_file_threshold = 10 * MB,
                                    .max_merge_size = 100ULL << 30,
                                    .total_frag_trigger = 20,
                                    .output_max = 256 * MB};
}

/* Nothing triggers but what a test turns on. */
static struct bc_merge_policy nothing(void)
{
    return (struct bc_merge_policy){.frag_trigger = BC_MERGE_OFF,
                                    .frag_threshold = BC_MERGE_OFF,
                                    .dead_trigger = BC_MERGE_OFF,
                                    .dead_threshold = BC_MERGE_OFF,
                                    .small_file_threshold = BC_MERGE_OFF,
                                    .max_merge_size = BC_MERGE_OFF,
                                    .total_frag_trigger = BC_MERGE_OFF,
                                    .output_max = 256 * MB};
}

struct files {
    struct bc_merge_candidate list[FILES_MAX];
    size_t count;
    struct bc_merge_totals totals;
};

/* dead: percent of records. */
static struct bc_merge_candidate *add(struct files *f, uint64_t records, unsigned dead)
{
    struct bc_merge_candidate *c = &f->list[f->count++];
    *c = (struct bc_merge_candidate){
        .id = f->count, .records = records, .live = records - (records - LINK) * dead / 100 - LINK, .age = 1000 * MB};
    f->totals.records += records;
    f->totals.live += c->live;
    return c;
}

static size_t decide(const struct bc_merge_policy *p, struct files *f, size_t max)
{
    bc_merge_judge(p, f->list, f->count, &f->totals);
    return bc_merge_choose(p, f->list, f->count, max);
}

/* Judging and choosing put the files in another order. */
static const struct bc_merge_candidate *find(const struct files *f, uint64_t id)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i].id == id)
            return &f->list[i];
    ck_abort_msg("a file is gone");
    return NULL;
}

static bool chosen(const struct files *f, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (f->list[i].id == id)
            return true;
    return false;
}

START_TEST(test_nothing_to_do)
{
    const struct bc_merge_policy p = defaults();
    struct files f = {.count = 0};
    ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 0);
    for (unsigned i = 0; i < 10; i++)
        add(&f, 200 * MB, 0);
    ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 0);
    for (size_t i = 0; i < f.count; i++)
        ck_assert_uint_eq(f.list[i].reasons, 0);
}
END_TEST

START_TEST(test_trigger_starts_and_threshold_joins)
{
    struct bc_merge_policy p = nothing();
    struct files f = {.count = 0};
    p.frag_trigger = 60;
    p.frag_threshold = 40;
    uint64_t below = add(&f, 100 * MB, 30)->id, middle = add(&f, 100 * MB, 50)->id;
    ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 0); /* past a threshold only: nobody starts */
    uint64_t above = add(&f, 100 * MB, 70)->id;
    size_t n = decide(&p, &f, FILES_MAX);
    ck_assert_uint_eq(n, 2);
    ck_assert(chosen(&f, n, above) && chosen(&f, n, middle) && !chosen(&f, n, below));
    ck_assert_uint_eq(f.list[0].id, above); /* the best first */
    ck_assert_uint_eq(find(&f, above)->reasons, BITCASK_MERGE_BECAUSE_FRAGMENTED);
    ck_assert_uint_eq(find(&f, below)->reasons, 0);
}
END_TEST

START_TEST(test_dead_bytes_trigger_and_threshold)
{
    struct bc_merge_policy p = nothing();
    struct files f = {.count = 0};
    p.dead_trigger = 50 * MB;
    p.dead_threshold = 10 * MB;
    uint64_t few = add(&f, 100 * MB, 5)->id, some = add(&f, 100 * MB, 20)->id;
    ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 0);
    uint64_t many = add(&f, 200 * MB, 30)->id;
    size_t n = decide(&p, &f, FILES_MAX);
    ck_assert(n == 1 || n == 2); /* both, if their live bytes fit into one step: they do not */
    ck_assert_uint_eq(find(&f, many)->reasons, BITCASK_MERGE_BECAUSE_DEAD_BYTES);
    ck_assert_uint_eq(find(&f, some)->reasons, BITCASK_MERGE_BECAUSE_DEAD_BYTES);
    ck_assert_uint_eq(find(&f, few)->reasons, 0);
    p.output_max = 1000 * MB;
    ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 2);
}
END_TEST

#define SMALL 32U /* so many small files are worth a merge */
START_TEST(test_small_files_join_and_do_not_start)
{
    struct bc_merge_policy p = nothing();
    struct files f = {.count = 0};
    p.frag_trigger = 60;
    p.small_file_threshold = 10 * MB;
    for (unsigned i = 0; i < SMALL; i++)
        add(&f, 1 * MB, 0);
    ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 0);
    uint64_t large = add(&f, 100 * MB, 70)->id;
    size_t n = decide(&p, &f, FILES_MAX);
    ck_assert_uint_eq(n, SMALL + 1);
    ck_assert(chosen(&f, n, large));
    ck_assert_uint_eq(find(&f, 1)->reasons, BITCASK_MERGE_BECAUSE_SMALL);
}
END_TEST

START_TEST(test_off_means_never)
{
    struct files f = {.count = 0};
    for (unsigned i = 0; i < 8; i++)
        add(&f, (i + 1) * MB, 100);
    const struct bc_merge_policy p = nothing();
    ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 0);
    /* OFF is no large number: a store of nothing but dead bytes does not reach it. */
    struct bc_merge_policy one = nothing();
    one.dead_trigger = UINT64_MAX - 1;
    ck_assert_uint_eq(decide(&one, &f, FILES_MAX), 0);
    one.frag_trigger = 100; /* the link counts as neither live nor dead */
    ck_assert_uint_gt(decide(&one, &f, FILES_MAX), 0);
}
END_TEST

START_TEST(test_expired_file_goes_whatever_the_triggers)
{
    const struct bc_merge_policy p = nothing();
    struct files f = {.count = 0};
    struct bc_merge_candidate *c = add(&f, 100 * MB, 0);
    c->expired = true;
    add(&f, 100 * MB, 0);
    size_t n = decide(&p, &f, FILES_MAX);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(f.list[0].id, 1);
    ck_assert((f.list[0].reasons & BITCASK_MERGE_BECAUSE_EXPIRED) != 0);
}
END_TEST

/* The store as a whole: the best files go, as many as it takes to come below the share. */
START_TEST(test_total_share_takes_the_best_files_and_no_more)
{
    struct bc_merge_policy p = nothing();
    struct files f = {.count = 0};
    p.total_frag_trigger = 20;
    for (unsigned i = 0; i < 10; i++)
        add(&f, 100 * MB, 10);
    uint64_t best = add(&f, 100 * MB, 55)->id;
    ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 0); /* 14 percent */
    for (unsigned i = 0; i < 4; i++)
        add(&f, 100 * MB, 50);
    ck_assert_uint_gt(decide(&p, &f, FILES_MAX), 0);
    unsigned wanted = 0;
    uint64_t won = 0;
    for (size_t i = 0; i < f.count; i++) {
        wanted += f.list[i].reasons == BITCASK_MERGE_BECAUSE_SPACE;
        won += f.list[i].reasons == BITCASK_MERGE_BECAUSE_SPACE ? f.list[i].records - f.list[i].live : 0;
    }
    ck_assert_uint_eq(f.list[0].id, best);
    ck_assert_uint_lt(wanted, 5);
    uint64_t dead = f.totals.records - f.totals.live - won, records = f.totals.records - won;
    ck_assert_uint_lt(dead * 100, records * 20);
}
END_TEST

START_TEST(test_total_share_of_a_small_store_is_left_alone)
{
    struct bc_merge_policy p = nothing();
    struct files f = {.count = 0};
    p.total_frag_trigger = 20;
    add(&f, 4 * MB, 90);
    ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 0);
}
END_TEST

START_TEST(test_files_of_a_step_are_of_similar_age)
{
    struct bc_merge_policy p = nothing();
    struct files f = {.count = 0};
    p.frag_trigger = 50;
    for (unsigned i = 0; i < 4; i++)
        add(&f, 10 * MB, 60)->age = (i % 2 == 0 ? 100 : 10000) * MB;
    size_t n = decide(&p, &f, FILES_MAX);
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(f.list[0].age, f.list[1].age);
    /* What leaves nothing behind goes along with any. */
    uint64_t spent = add(&f, 10 * MB, 100)->id;
    find(&f, spent);
    f.list[4].live = 0;
    f.list[4].age = 1;
    n = decide(&p, &f, FILES_MAX);
    ck_assert(chosen(&f, n, spent));
    ck_assert_uint_ge(n, 2);
}
END_TEST

/* A file that does not fit is passed over: it does not block what stands behind it. One that is larger than a step goes alone.
 */
START_TEST(test_sizes_bound_a_step_and_block_nothing)
{
    struct bc_merge_policy p = nothing();
    struct files f = {.count = 0};
    p.frag_trigger = 50;
    p.max_merge_size = 100 * MB;
    uint64_t large = add(&f, 1000 * MB, 90)->id;
    size_t n = decide(&p, &f, FILES_MAX);
    ck_assert_uint_eq(n, 1);
    ck_assert(chosen(&f, n, large));
    for (unsigned i = 0; i < 8; i++)
        add(&f, 30 * MB, 95);
    n = decide(&p, &f, FILES_MAX);
    ck_assert_uint_eq(n, 3);
    ck_assert(!chosen(&f, n, large));
    p.max_merge_size = BC_MERGE_OFF;
    p.output_max = 20 * MB; /* and four times that in all */
    n = decide(&p, &f, FILES_MAX);
    uint64_t live = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        live += f.list[i].live;
        size += f.list[i].records;
    }
    ck_assert(n > 1 && live <= 20 * MB && size <= 80 * MB);
    ck_assert_uint_eq(decide(&p, &f, 1), 1);
}
END_TEST

/* All that an output may hold counts: a place beyond its size could not be said by the KeyDir. */
START_TEST(test_tombstones_that_may_stay_take_room)
{
    struct bc_merge_policy p = nothing();
    struct files f = {.count = 0};
    p.frag_trigger = 50;
    p.output_max = 20 * MB;
    for (unsigned i = 0; i < 4; i++)
        add(&f, 10 * MB, 100)->tombstones = 8 * MB;
    ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 2);
}
END_TEST

START_TEST(test_barred_files_are_never_chosen)
{
    const struct bc_merge_policy p = defaults();
    struct files f = {.count = 0};
    for (unsigned i = 0; i < 6; i++)
        add(&f, 2 * MB, 90)->barred = i % 2 == 0;
    size_t n = decide(&p, &f, FILES_MAX);
    ck_assert_uint_eq(n, 3);
    for (size_t i = 0; i < n; i++)
        ck_assert(!f.list[i].barred);
    for (size_t i = 0; i < f.count; i++)
        ck_assert(!f.list[i].barred || f.list[i].reasons == 0);
}
END_TEST

/* All dead, but all of it tombstones that must stay: merging it would give the same file again, for ever. */
START_TEST(test_tombstones_that_must_stay_win_nothing)
{
    struct bc_merge_policy p = defaults();
    p.total_frag_trigger = 1;
    for (unsigned with_live = 0; with_live < 2; with_live++) {
        struct files f = {.count = 0};
        struct bc_merge_candidate *c = add(&f, 100 * MB, with_live == 0 ? 100 : 90);
        c->tombstones = c->records - LINK - c->live;
        c->asked = true;
        add(&f, 100 * MB, 0);
        ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 0);
        /* Not asked about yet, or long ago: they may go. */
        for (size_t i = 0; i < f.count; i++)
            f.list[i].asked = false;
        size_t n = decide(&p, &f, FILES_MAX);
        ck_assert_uint_eq(n, 1);
        ck_assert(chosen(&f, n, 1));
    }
}
END_TEST

/* Counters are read one after the other while others change them. */
START_TEST(test_counters_that_do_not_agree)
{
    const struct bc_merge_policy p = defaults();
    struct files f = {.count = 0};
    struct bc_merge_candidate *c = add(&f, 100 * MB, 0);
    c->live = 200 * MB; /* more than there is */
    c = add(&f, 100 * MB, 10);
    c->tombstones = 300 * MB;
    c->asked = true;
    c = add(&f, 0, 0);
    c->records = c->live = c->age = 0;
    f.totals = (struct bc_merge_totals){100 * MB, 300 * MB};
    ck_assert_uint_eq(decide(&p, &f, FILES_MAX), 0);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("merge_policy");
    TCase *t = tcase_create("policy");
    tcase_add_test(t, test_nothing_to_do);
    tcase_add_test(t, test_trigger_starts_and_threshold_joins);
    tcase_add_test(t, test_dead_bytes_trigger_and_threshold);
    tcase_add_test(t, test_small_files_join_and_do_not_start);
    tcase_add_test(t, test_off_means_never);
    tcase_add_test(t, test_expired_file_goes_whatever_the_triggers);
    tcase_add_test(t, test_total_share_takes_the_best_files_and_no_more);
    tcase_add_test(t, test_total_share_of_a_small_store_is_left_alone);
    tcase_add_test(t, test_files_of_a_step_are_of_similar_age);
    tcase_add_test(t, test_sizes_bound_a_step_and_block_nothing);
    tcase_add_test(t, test_tombstones_that_may_stay_take_room);
    tcase_add_test(t, test_barred_files_are_never_chosen);
    tcase_add_test(t, test_tombstones_that_must_stay_win_nothing);
    tcase_add_test(t, test_counters_that_do_not_agree);
    suite_add_tcase(s, t);
    return s;
}
