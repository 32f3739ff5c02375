#include "bitcask/merge_run.h"

#include <stdlib.h>
#include <string.h>

#include "bitcask/error.h"

#define ROUNDS_MAX 4U /* what a first round had to keep for the sake of files that it took later */
#define ASK_AGAIN 32U /* so many steps later what kept a tombstone may be gone */

void bc_merge_configure(struct bc_merger *m, const bitcask_options *o)
{
    struct bc_merge_settings *s = &m->settings;
    atomic_store(&s->frag_trigger, o->frag_merge_trigger);
    atomic_store(&s->frag_threshold, o->frag_threshold);
    atomic_store(&s->dead_trigger, o->dead_bytes_merge_trigger);
    atomic_store(&s->dead_threshold, o->dead_bytes_threshold);
    atomic_store(&s->small_file_threshold, o->small_file_threshold);
    atomic_store(&s->max_merge_size, o->max_merge_size);
    atomic_store(&s->total_frag_trigger, o->total_frag_merge_trigger);
    atomic_store(&s->max_file_size, o->max_file_size);
    atomic_store(&s->check_interval_ms, o->merge_check_interval_ms);
    atomic_store(&s->window_start, o->merge_window_start_hour);
    atomic_store(&s->window_end, o->merge_window_end_hour);
    atomic_store(&s->max_bytes, o->max_bytes);
    atomic_store(&s->max_keydir_bytes, o->max_keydir_bytes);
    atomic_store(&s->automatic, (o->flags & BITCASK_OPEN_NO_MERGE) == 0);
    atomic_store(&m->pace.limit, o->merge_rate_limit);
    /* Four bits a turn for a key of the least size that is common, or of the least that a key takes in memory. */
    uint64_t bits = 0;
    if (o->max_bytes != BITCASK_OFF)
        bits = o->max_bytes / 32;
    if (o->max_keydir_bytes != BITCASK_OFF)
        bits = BC_MAX(bits, o->max_keydir_bytes / 8);
    if (bits != 0)
        bc_recency_start(&m->recency, bits);
}

struct bc_merge_policy bc_merge_policy_of(const struct bc_merger *m)
{
    const struct bc_merge_settings *s = &m->settings;
    return (struct bc_merge_policy){
        .frag_trigger = atomic_load(&s->frag_trigger),
        .frag_threshold = atomic_load(&s->frag_threshold),
        .dead_trigger = atomic_load(&s->dead_trigger),
        .dead_threshold = atomic_load(&s->dead_threshold),
        .small_file_threshold = atomic_load(&s->small_file_threshold),
        .max_merge_size = atomic_load(&s->max_merge_size),
        .total_frag_trigger = atomic_load(&s->total_frag_trigger),
        .output_max = atomic_load(&s->max_file_size),
    };
}

/* ---- candidates ---- */

struct gathering {
    struct bc_merger *m;
    struct bc_merge_candidate *list;
    size_t count, capacity;
    struct bc_merge_totals totals;
    uint64_t next_sequence;
    int64_t now_ms;
};

static int gather(struct bc_file *f, void *arg)
{
    struct gathering *g = arg;
    uint64_t records = atomic_load(&f->end) - BC_DATA_START, live = BC_MIN(atomic_load(&f->live_bytes), records);
    uint64_t min_sequence = atomic_load(&f->min_sequence), live_keys = atomic_load(&f->live_keys);
    g->totals.records += records;
    g->totals.live += live;
    if (atomic_load(&f->state) != BC_FILE_SEALED || f->by_descriptor)
        return 0;
    if (g->count == g->capacity) {
        size_t capacity = g->capacity * 2 + 64;
        struct bc_merge_candidate *list = bc_resize(g->m->allocator, g->list, capacity * sizeof *list);
        if (list == NULL)
            return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to choose files");
        g->list = list;
        g->capacity = capacity;
    }
    uint64_t middle = f->mean_sequence;
    if (middle == 0)
        middle = min_sequence + (atomic_load(&f->max_sequence) - min_sequence) / 2;
    bool expired =
        live_keys > 0 && atomic_load(&f->expiring_keys) == live_keys && atomic_load(&f->latest_expiry_ms) <= g->now_ms;
    g->list[g->count++] = (struct bc_merge_candidate){
        .file = f,
        .id = f->name.id,
        .records = records,
        .live = live,
        .tombstones = atomic_load(&f->tombstone_bytes),
        .age = g->next_sequence - BC_MIN(middle, g->next_sequence),
        .expired = expired,
        .asked = f->asked_at != 0 && atomic_load(&g->m->steps) < f->asked_at + ASK_AGAIN,
        .barred = atomic_load(&f->barred),
    };
    return 0;
}

int bc_merge_candidates(struct bc_merger *m, struct bc_merge_candidate **ret, size_t *ret_count, struct bc_merge_totals *totals)
{
    struct gathering g = {.m = m, .next_sequence = bc_log_sequence(m->log), .now_ms = bc_clock_now(m->clock)};
    int result = bc_filetable_each(m->files, gather, &g);
    if (result != BITCASK_OK) {
        bc_free(m->allocator, g.list);
        return result;
    }
    struct bc_merge_policy policy = bc_merge_policy_of(m);
    bc_merge_judge(&policy, g.list, g.count, &g.totals);
    *ret = g.list;
    *ret_count = g.count;
    *totals = g.totals;
    return BITCASK_OK;
}

/* ---- a run on demand ---- */

struct running {
    struct bc_merger *m;
    const struct bc_merge_order *order;
    struct bc_merge_done *done;
    uint64_t before, total; /* bytes of inputs, for progress */
    size_t inputs_max;      /* of a step: as many as there are descriptors for */
    bool spent_only;        /* files without a live record: what goes on a full disk */
    bool damaged;           /* some file, so far */
    bool newly_damaged;     /* in this round: what was to be merged along with it is still to come */
    struct bc_merge_candidate *list;
    size_t count;
};

static bool go_on(uint64_t done, uint64_t total, void *arg)
{
    const struct running *r = arg;
    const struct bc_merge_order *o = r->order;
    (void)total;
    return o->progress == NULL || o->progress("merge", BC_MIN(r->before + done, r->total), r->total, o->progress_ctx) == 0;
}

static bool is_ordered(const struct bc_merge_order *o, uint64_t id)
{
    if (o->ids == NULL)
        return true;
    for (size_t i = 0; i < o->id_count; i++)
        if (o->ids[i] == id)
            return true;
    return false;
}

/* In a run over everything: what has a dead byte. Later rounds leave what the last one could not get rid of. */
static bool is_wanted(const struct running *r, const struct bc_merge_candidate *c, unsigned round)
{
    uint64_t dead = c->records - c->live, link = ((struct bc_file *)c->file)->kind == BC_DATA_KIND_LOG ? BC_LINK_FOOTPRINT : 0;
    if (!is_ordered(r->order, c->id) || (round > 0 && c->barred) || (r->spent_only && c->live > 0))
        return false;
    return dead > link || c->expired || r->order->ids != NULL;
}

static int by_age(const void *a, const void *b)
{
    const struct bc_merge_candidate *x = a, *y = b;
    if (x->age != y->age)
        return x->age > y->age ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int step(struct running *r, struct bc_file **files, size_t count, uint64_t bytes, uint32_t reasons)
{
    struct bc_merge_wish wish = {
        .files = files, .count = count, .reasons = reasons, .thorough = true, .go_on = go_on, .go_on_arg = r};
    uint64_t before = r->done->files_in;
    int result = bc_merge_step(r->m, &wish, r->done);
    r->before += bytes;
    if (result == BITCASK_OK && r->done->files_in - before < count)
        r->inputs_max = BC_MAX(r->done->files_in - before, 1);
    if (result == BITCASK_CORRUPT)
        r->damaged = r->newly_damaged = true;
    return result == BITCASK_CORRUPT ? BITCASK_OK : result;
}

/* The oldest first: what they held can then no longer keep a tombstone of a younger one. */
static int round_of_all(struct running *r, unsigned round)
{
    struct bc_file *files[BC_MERGE_INPUTS_MAX];
    uint64_t output_max = atomic_load(&r->m->settings.max_file_size), live = 0, bytes = 0;
    size_t count = 0;
    int result = BITCASK_OK;
    if (r->count > 0)
        qsort(r->list, r->count, sizeof *r->list, by_age);
    if (round == 0)
        for (size_t i = 0; i < r->count; i++)
            r->total += is_wanted(r, &r->list[i], round) ? r->list[i].records : 0;
    for (size_t i = 0; i < r->count && result == BITCASK_OK; i++) {
        const struct bc_merge_candidate *c = &r->list[i];
        if (!is_wanted(r, c, round))
            continue;
        uint64_t stays = c->live + c->tombstones;
        bool full = live + stays > output_max || bytes + c->records > 4 * output_max || count >= r->inputs_max;
        if (count > 0 && full) {
            result = step(r, files, count, bytes, BITCASK_MERGE_BECAUSE_ASKED);
            live = bytes = count = 0;
        }
        files[count++] = c->file;
        live += stays;
        bytes += c->records;
    }
    return count > 0 && result == BITCASK_OK ? step(r, files, count, bytes, BITCASK_MERGE_BECAUSE_ASKED) : result;
}

static int round_of_policy(struct running *r)
{
    struct bc_file *files[BC_MERGE_INPUTS_MAX];
    struct bc_merge_policy policy = bc_merge_policy_of(r->m);
    size_t count = bc_merge_choose(&policy, r->list, r->count, r->inputs_max);
    uint64_t bytes = 0;
    uint32_t reasons = 0;
    for (size_t i = 0; i < count; i++) {
        files[i] = r->list[i].file;
        bytes += r->list[i].records;
        reasons |= r->list[i].reasons;
    }
    r->total = BC_MAX(r->total, r->before + bytes);
    return count > 0 ? step(r, files, count, bytes, reasons) : BITCASK_OK;
}

static int check_ids(const struct running *r)
{
    for (size_t i = 0; i < r->order->id_count; i++) {
        bool found = false;
        for (size_t k = 0; k < r->count; k++)
            found |= r->list[k].id == r->order->ids[i];
        if (!found)
            return bc_fail(BITCASK_INVALID, 0, NULL, 0, "%llu is not the id of a sealed data file of this store",
                           (unsigned long long)r->order->ids[i]);
    }
    return BITCASK_OK;
}

static int run_rounds(struct running *r)
{
    unsigned rounds = r->order->by_policy ? UINT32_MAX : r->order->ids != NULL ? 1 : ROUNDS_MAX;
    int result = BITCASK_OK;
    for (unsigned round = 0; (round < rounds || r->newly_damaged) && result == BITCASK_OK; round++) {
        struct bc_merge_totals totals;
        uint64_t files = r->done->files_in;
        r->newly_damaged = false;
        result = bc_merge_candidates(r->m, &r->list, &r->count, &totals);
        if (result != BITCASK_OK)
            return result;
        if (round == 0)
            result = check_ids(r);
        if (result == BITCASK_OK)
            result = r->order->by_policy ? round_of_policy(r) : round_of_all(r, round);
        bc_free(r->m->allocator, r->list);
        if (r->done->files_in == files && !r->newly_damaged)
            break;
    }
    return result == BITCASK_OK && r->damaged
               ? bc_fail(BITCASK_CORRUPT, 0, bitcask_last_error()->file, bitcask_last_error()->offset,
                         "a data file is damaged: it was left as it is, the others were merged; verify says where")
               : result;
}

/* What has expired is dead. */
static void sweep_all(struct running *r)
{
    uint64_t position = 0, expired;
    bool ended = false;
    while (!ended && !bc_merge_pace_interrupted(&r->m->pace)) {
        ended = bc_merge_sweep(r->m, &position, &expired);
        r->done->expired += expired;
    }
}

/* What is dead in the active file goes, too. On a full disk there is no room for the file to go on in until the others were
 * merged. */
static int run_over_all(struct running *r)
{
    sweep_all(r);
    int rolled = bc_log_roll(r->m->log), result = BITCASK_OK;
    if (rolled != BITCASK_OK && rolled != BITCASK_NO_SPACE)
        return rolled;
    result = run_rounds(r);
    if (rolled == BITCASK_OK && result != BITCASK_NO_SPACE)
        return result;
    uint64_t files = r->done->files_in;
    r->spent_only = true;
    int freed = run_rounds(r);
    r->spent_only = false;
    if (freed != BITCASK_OK)
        return freed;
    if (r->done->files_in == files && result != BITCASK_OK)
        return result;
    rolled = bc_log_roll(r->m->log);
    return rolled == BITCASK_OK ? run_rounds(r) : rolled;
}

int bc_merge_run(struct bc_merger *m, const struct bc_merge_order *order, struct bc_merge_done *done)
{
    struct running r = {.m = m, .order = order, .done = done, .inputs_max = BC_MERGE_INPUTS_MAX};
    int result = bc_merger_lock(m, false);
    if (result != BITCASK_OK)
        return result;
    /* The file that the next write would go on in may be an input now. */
    bc_log_forget_resumable(m->log);
    result = !order->by_policy && order->ids == NULL ? run_over_all(&r) : run_rounds(&r);
    bc_merger_unlock(m);
    if (result == BITCASK_OK && order->progress != NULL)
        (void)order->progress("merge", r.total, r.total, order->progress_ctx);
    return result;
}
