/* The background thread's part: when to look, what to do first, and how to behave after a failure. */
#include <time.h>

#include "bitcask/error.h"
#include "bitcask/merge_run.h"

#define LOOK_MS 20              /* a woken thread looks no more often */
#define SWEEP_MS 100            /* between two bites of a sweep */
#define SWEEP_SLOTS (64U << 10) /* a bite */
#define BACK_OFF_MIN_MS 1000
#define EARLY_BYTES (32ULL << 20) /* who writes this much does not wait for the first look */
#define BACK_OFF_MAX_MS (3600 * 1000)
#define ROLL_MIN (4ULL << 20)  /* an active file is not ended below this size for the sake of its dead bytes */
#define ROLL_ANY (32ULL << 20) /* and not below this size where all of it lives */
#define ROLL_SHARE 50U         /* of the store: one file in so many parts may be out of a merge's reach */
#define LITTLE 8U              /* an eviction that won less than one part in so many has spared nearly all */

static int64_t now_of(const struct bc_merger *m)
{
    return m->dir->io->monotonic_ms(m->dir->io->ctx);
}

/* ---- when ---- */

static uint64_t random_up_to(const struct bc_merger *m, uint64_t limit)
{
    uint64_t random = 0;
    (void)m->dir->io->random(m->dir->io->ctx, &random, sizeof random);
    return random % (limit + 1);
}

/* Stores that are opened together look at different moments: after half of the interval to all of it. */
static int64_t first_look(const struct bc_merger *m, int64_t now)
{
    uint64_t half = atomic_load(&m->settings.check_interval_ms) / 2;
    return now + (int64_t)(half + random_up_to(m, half));
}

/* And do not come to look together: up to an eighth of the interval earlier. */
static int64_t next_look(const struct bc_merger *m, int64_t now)
{
    uint64_t interval = atomic_load(&m->settings.check_interval_ms);
    return now + (int64_t)(interval - random_up_to(m, interval / 8));
}

static bool in_window(const struct bc_merger *m)
{
    uint64_t start = atomic_load(&m->settings.window_start), end = atomic_load(&m->settings.window_end);
    if (start == BC_MERGE_OFF || end == BC_MERGE_OFF || start == end)
        return true;
    time_t seconds = (time_t)(bc_clock_now(m->clock) / 1000);
    struct tm local;
    if (localtime_r(&seconds, &local) == NULL)
        return true;
    uint64_t hour = (uint64_t)local.tm_hour;
    return start < end ? hour >= start && hour < end : hour >= start || hour < end;
}

int64_t bc_merge_background_due(const struct bc_merger *m)
{
    /* Who ends a pause wakes the thread. */
    if (!atomic_load(&m->settings.automatic) || atomic_load(&m->pace.paused) || bc_health_poisoned(m->health))
        return -1;
    int64_t due = BC_MIN(m->next_look_ms, m->next_sweep_ms) - now_of(m);
    return BC_MAX(due, 1);
}

static void back_off(struct bc_merger *m, int result)
{
    /* A damaged file is barred by itself; another one is not kept waiting for it. */
    if (result == BITCASK_OK || result == BITCASK_CANCELLED || result == BITCASK_CORRUPT) {
        m->back_off_ms = 0;
        return;
    }
    m->back_off_ms = BC_MIN(BC_MAX(m->back_off_ms * 2, BACK_OFF_MIN_MS), BACK_OFF_MAX_MS);
    m->next_look_ms = now_of(m) + m->back_off_ms;
}

/* ---- the sweep of expired keys ---- */

struct losing {
    struct bc_merger *m;
    uint64_t count;
};

static void lose(const struct bc_entry *e, void *arg)
{
    struct losing *l = arg;
    bc_file_lose(bc_filetable_get(l->m->files, e->file), e->footprint, true);
    l->count++;
}

bool bc_merge_sweep(struct bc_merger *m, uint64_t *position, uint64_t *ret_expired)
{
    struct losing l = {.m = m};
    unsigned pin = bc_pins_enter_background(m->files->pins);
    bool ended = bc_keydir_sweep(m->keydir, position, SWEEP_SLOTS, bc_clock_now(m->clock), lose, &l);
    bc_pins_leave(m->files->pins, pin);
    atomic_fetch_add_explicit(&m->expired, l.count, memory_order_relaxed);
    *ret_expired = l.count;
    return ended;
}

static int has_expiring(struct bc_file *f, void *arg)
{
    (void)arg;
    return atomic_load(&f->expiring_keys) > 0;
}

static void sweep(struct bc_merger *m, int64_t now)
{
    if (now < m->next_sweep_ms)
        return;
    m->next_sweep_ms = now + SWEEP_MS;
    if (m->sweep_position == 0 && bc_filetable_each(m->files, has_expiring, NULL) == 0) {
        m->next_sweep_ms = now + (int64_t)atomic_load(&m->settings.check_interval_ms);
        return;
    }
    uint64_t expired;
    if (bc_merge_sweep(m, &m->sweep_position, &expired))
        m->next_sweep_ms = now + (int64_t)atomic_load(&m->settings.check_interval_ms);
}

/* ---- eviction ---- */

struct census {
    uint64_t disk, files, newest_id;
    struct bc_file *oldest; /* sealed, lowest id: what was written, or spared, longest ago */
};

static int take_census(struct bc_file *f, void *arg)
{
    struct census *c = arg;
    c->disk += atomic_load(&f->end);
    c->files++;
    c->newest_id = BC_MAX(c->newest_id, f->name.id);
    if (atomic_load(&f->state) == BC_FILE_SEALED && !atomic_load(&f->barred) &&
        (c->oldest == NULL || f->name.id < c->oldest->name.id))
        c->oldest = f;
    return 0;
}

/* Room for what is written while an eviction runs. */
static uint64_t with_room(uint64_t limit)
{
    return limit - limit / 8;
}

static bool outgrown(const struct bc_merger *m, const struct census *c)
{
    uint64_t max_bytes = atomic_load(&m->settings.max_bytes), max_keydir = atomic_load(&m->settings.max_keydir_bytes);
    if (max_bytes != BC_MERGE_OFF && c->disk > with_room(max_bytes))
        return true;
    return max_keydir != BC_MERGE_OFF && bc_keydir_used(m->keydir) > with_room(max_keydir);
}

/* The room is used up. */
static bool beyond_limit(const struct bc_merger *m, const struct census *c)
{
    return c->disk > atomic_load(&m->settings.max_bytes) ||
           bc_keydir_used(m->keydir) > atomic_load(&m->settings.max_keydir_bytes);
}

static bool was_read(void *arg, uint64_t hash)
{
    struct bc_merger *m = arg;
    return !m->merciless && bc_recency_has(&m->recency, hash);
}

/* Under the merge lock. *ret_done: there was something to evict. */
static int evict(struct bc_merger *m, bool *ret_done)
{
    struct census c = {0};
    (void)bc_filetable_each(m->files, take_census, &c);
    if (!outgrown(m, &c))
        return BITCASK_OK;
    if (c.oldest == NULL) {
        /* All of it is in the file that is being written. */
        *ret_done = bc_log_sequence(m->log) != m->rolled_at;
        m->rolled_at = bc_log_sequence(m->log);
        return *ret_done ? bc_log_roll(m->log) : BITCASK_OK;
    }
    /* All that was there when the turn began was given up or spared, and what was spared has a higher id now. */
    if (c.oldest->name.id > m->turn_ends) {
        bc_recency_turn(&m->recency);
        m->turn_ends = c.newest_id;
    }
    struct bc_merge_done done = {0};
    struct bc_merge_wish wish = {.files = &c.oldest,
                                 .count = 1,
                                 .reasons = BITCASK_MERGE_BECAUSE_LIMIT,
                                 .thorough = true,
                                 .evict = true,
                                 .recent = was_read,
                                 .recent_arg = m};
    *ret_done = true;
    /* Sparing frees nothing: not while the store is beyond its limit, nor once a whole turn of files has been spared. */
    m->merciless = m->spared >= c.files || (m->spared > 0 && beyond_limit(m, &c));
    int result = bc_merge_step(m, &wish, &done);
    bool little = done.bytes_in - BC_MIN(done.bytes_out, done.bytes_in) < done.bytes_in / LITTLE;
    m->spared = result == BITCASK_OK && little ? m->spared + 1 : 0;
    return result;
}

/* ---- the active file ---- */

static int add_live(struct bc_file *f, void *arg)
{
    *(uint64_t *)arg += atomic_load(&f->live_bytes);
    return 0;
}

/* What is dead in the active file is out of reach until it is sealed, and a file that is much of the store is dear to merge. It
 * is ended early then, and never while the last one is still being sealed, so that no writer waits for it. */
static int roll_if_due(struct bc_merger *m)
{
    struct bc_log *log = m->log;
    uint64_t store = 0;
    (void)bc_filetable_each(m->files, add_live, &store);
    uint64_t max_bytes = atomic_load(&m->settings.max_bytes);
    bc_log_lock(log);
    const struct bc_file *f = log->active;
    uint64_t size = f == NULL ? 0 : log->tail - BC_DATA_START, live = f == NULL ? 0 : atomic_load(&f->live_bytes);
    bool sealing = log->sealing != NULL;
    bc_log_unlock(log);
    bool dead = size >= BC_MAX(ROLL_MIN, store / ROLL_SHARE) && size - BC_MIN(live, size) > size / 8;
    bool large = size >= BC_MAX(ROLL_ANY, store / ROLL_SHARE) || (max_bytes != BC_MERGE_OFF && size > max_bytes / 16);
    return !sealing && (dead || large) ? bc_log_roll(log) : BITCASK_OK;
}

/* ---- a pass ---- */

/* Where there is no room for what lives in them, those in which nothing lives go alone: they need none, and make some. */
static int merge_chosen(struct bc_merger *m, struct bc_file **files, size_t count, uint32_t reasons)
{
    struct bc_merge_done done = {0};
    struct bc_merge_wish wish = {.files = files, .count = count, .reasons = reasons};
    int result = bc_merge_step(m, &wish, &done);
    if (result != BITCASK_NO_SPACE)
        return result;
    wish.count = 0;
    for (size_t i = 0; i < count; i++)
        if (atomic_load(&files[i]->live_keys) == 0)
            files[wish.count++] = files[i];
    return wish.count > 0 && wish.count < count ? bc_merge_step(m, &wish, &done) : result;
}

/* Under the merge lock. */
static int merge_once(struct bc_merger *m, bool *ret_done)
{
    struct bc_file *files[BC_MERGE_INPUTS_MAX];
    struct bc_merge_candidate *list;
    struct bc_merge_totals totals;
    size_t count;
    int result = roll_if_due(m);
    if (result == BITCASK_OK)
        result = bc_merge_candidates(m, &list, &count, &totals);
    if (result != BITCASK_OK)
        return result;
    struct bc_merge_policy policy = bc_merge_policy_of(m);
    count = bc_merge_choose(&policy, list, count, BC_MERGE_INPUTS_MAX);
    uint32_t reasons = 0;
    for (size_t i = 0; i < count; i++) {
        files[i] = list[i].file;
        reasons |= list[i].reasons;
    }
    bc_free(m->allocator, list);
    *ret_done = count > 0;
    return count > 0 ? merge_chosen(m, files, count, reasons) : BITCASK_OK;
}

static bool look(struct bc_merger *m)
{
    bool evicted = false, merged = false;
    if (bc_merger_lock(m, false) != BITCASK_OK)
        return false;
    int result = evict(m, &evicted);
    if (result == BITCASK_OK && !evicted && in_window(m))
        result = merge_once(m, &merged);
    bc_merger_unlock(m);
    back_off(m, result);
    return result == BITCASK_OK && (evicted || merged);
}

bool bc_merge_background(struct bc_merger *m)
{
    int64_t now = now_of(m);
    if (!atomic_load(&m->settings.automatic) || bc_health_poisoned(m->health) || atomic_load(&m->pace.paused) ||
        bc_merge_pace_interrupted(&m->pace))
        return false;
    if (m->next_look_ms == 0) {
        m->next_look_ms = first_look(m, now);
        m->next_sweep_ms = m->next_look_ms;
        m->earliest_ms = m->next_look_ms;
    }
    sweep(m, now);
    if (now < m->earliest_ms && !(m->looks == 0 && bc_log_appended(m->log) > EARLY_BYTES))
        return false;
    m->looks++;
    m->next_look_ms = next_look(m, now);
    bool again = look(m);
    m->earliest_ms = m->back_off_ms > 0 ? m->next_look_ms : again ? now : now_of(m) + LOOK_MS;
    return again;
}
