/* Reading an input of a merge step, and the judgement of each of its records. */
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/hintfile.h"
#include "bitcask/merge_internal.h"
#include "bitcask/scan.h"

#define SPEND_AT (256U << 10)
#define SMALL_RECORD (64U << 10) /* read as a whole, else in pieces */

enum verdict {
    VERDICT_DEAD,  /* a newer record of its key is in the store, and will be durable before the commit */
    VERDICT_LIVE,  /* is copied */
    VERDICT_GONE,  /* the KeyDir points to it, but it expired or is evicted: counts as a tombstone from now on */
    VERDICT_DOUBT, /* a tombstone, or counts as one */
};

static enum verdict judge_live(const struct bc_merge_step *s, uint64_t hash, int64_t expire_at_ms)
{
    if (expire_at_ms != 0 && expire_at_ms <= s->now_ms)
        return VERDICT_GONE;
    if (!s->wish->evict)
        return VERDICT_LIVE;
    return s->wish->recent(s->wish->recent_arg, hash) ? VERDICT_LIVE : VERDICT_GONE;
}

/* The KeyDir's word on one record. */
enum standing {
    STANDING_HERE,      /* points to it */
    STANDING_ELSEWHERE, /* knows the key, at another place */
    STANDING_UNKNOWN    /* does not know the key */
};

/* A place belongs to one record, so most are settled by tag alone. Whether another key has the same tag matters only where the
 * record would be kept for the sake of an unknown key. */
static enum standing stand(const struct bc_merge_step *s, const struct bc_merge_input *in, uint64_t hash, const void *key,
                           const struct bc_record *r, uint64_t offset, int64_t *ret_expire_at_ms)
{
    struct bc_entry e[BC_KEYDIR_CANDIDATES];
    unsigned pin = bc_pins_enter_background(s->m->files->pins);
    unsigned count = bc_keydir_lookup(s->m->keydir, hash, e);
    bc_pins_leave(s->m->files->pins, pin);
    for (unsigned i = 0; i < BC_MIN(count, BC_KEYDIR_CANDIDATES); i++) {
        if (e[i].file != in->file->index || e[i].offset != offset)
            continue;
        *ret_expire_at_ms = r->expire_at_ms;
        return STANDING_HERE;
    }
    if (count == 0)
        return STANDING_UNKNOWN;
    bool hides = r->type == BC_RECORD_TOMBSTONE || (r->flags & BC_RECORD_EXPIRES) != 0;
    if (!hides && count <= BC_KEYDIR_CANDIDATES)
        return STANDING_ELSEWHERE;
    if (!bc_keydir_find(s->m->keydir, hash, key, r->key_size, &e[0], ret_expire_at_ms))
        return STANDING_UNKNOWN;
    return e[0].file == in->file->index && e[0].offset == offset ? STANDING_HERE : STANDING_ELSEWHERE;
}

/* A put of which the KeyDir knows no key is older than some tombstone. Had it an expiry, it may be the one that was swept. */
static enum verdict judge(const struct bc_merge_step *s, const struct bc_merge_input *in, uint64_t hash, const void *key,
                          const struct bc_record *r, uint64_t offset)
{
    int64_t expire_at_ms = 0;
    enum standing standing = stand(s, in, hash, key, r, offset, &expire_at_ms);
    if (r->type == BC_RECORD_TOMBSTONE)
        return standing == STANDING_UNKNOWN ? VERDICT_DOUBT : VERDICT_DEAD;
    if (standing == STANDING_HERE)
        return judge_live(s, hash, expire_at_ms);
    return standing == STANDING_UNKNOWN && (r->flags & BC_RECORD_EXPIRES) != 0 ? VERDICT_DOUBT : VERDICT_DEAD;
}

int bc_merge_spend(struct bc_merge_step *s, uint64_t bytes)
{
    s->unspent += bytes;
    return s->unspent < SPEND_AT ? BITCASK_OK : bc_merge_spend_rest(s);
}

int bc_merge_spend_rest(struct bc_merge_step *s)
{
    const struct bc_merge_wish *w = s->wish;
    bool go_on = bc_merge_pace_spend(&s->m->pace, s->unspent);
    s->unspent = 0;
    atomic_store_explicit(&s->m->running_done, s->read, memory_order_relaxed);
    if (go_on && w->go_on != NULL)
        go_on = w->go_on(BC_MIN(s->read, s->total), s->total, w->go_on_arg);
    return go_on ? BITCASK_OK : bc_fail(BITCASK_CANCELLED, 0, NULL, 0, "the merge was cancelled");
}

int bc_merge_need_output(struct bc_merge_step *s)
{
    if (s->making)
        return BITCASK_OK;
    struct bc_merger *m = s->m;
    struct bc_data_header *h = bc_alloc_zero(m->allocator, 1, sizeof *h);
    if (h == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to merge");
    h->store = m->files->store;
    h->created_ms = bc_clock_now(m->clock);
    h->kind = BC_DATA_KIND_MERGE;
    h->cleared_below = m->log->cleared_below;
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->input_count; i++) {
        h->inputs[h->input_count++] = s->inputs[i].file->name;
        bytes += s->wish->evict ? 0 : atomic_load(&s->inputs[i].file->live_bytes);
    }
    int result = bc_log_new_name(m->log, &h->name);
    if (result == BITCASK_OK) {
        s->making = true;
        result = bc_merge_output_make(&s->out, m->dir, m->allocator, h, bytes);
    }
    if (result == BITCASK_OK)
        result = bc_hint_writer_begin(&s->hint, m->dir, m->allocator, &h->name);
    bc_free(m->allocator, h);
    return result;
}

int bc_merge_hint(struct bc_merge_step *s, const struct bc_record *r, const void *key, uint64_t offset)
{
    struct bc_hint_entry e = {.sequence = r->sequence,
                              .offset = offset,
                              .expire_at_ms = r->expire_at_ms,
                              .value_size = r->value_size,
                              .key_size = r->key_size,
                              .type = r->type,
                              .flags = r->flags,
                              .key = key};
    return bc_hint_writer_put(&s->hint, &e);
}

/* ---- copying ---- */

static int damaged(const struct bc_merge_input *in, uint64_t offset)
{
    char name[BC_NAME_SIZE];
    bc_data_name(name, in->file->name.id);
    return bc_fail(BITCASK_CORRUPT, 0, name, offset, "%s: damaged at byte %llu: it is not merged, and kept as it is", name,
                   (unsigned long long)offset);
}

static int read_input(const struct bc_merge_step *s, const struct bc_merge_input *in, uint64_t offset, void *buf, size_t size,
                      size_t *ret_got)
{
    const struct bc_io *io = s->m->dir->io;
    char name[BC_NAME_SIZE];
    bc_data_name(name, in->file->name.id);
    int error = io->read(io->ctx, in->fd, offset, buf, size, ret_got);
    return error == 0 ? BITCASK_OK : bc_fail_io(error, name, "cannot read a merge's input");
}

int bc_merge_fetch_head(const struct bc_merge_step *s, const struct bc_merge_input *in, uint64_t offset, struct bc_record *ret,
                        void *ret_key)
{
    size_t size = BC_RECORD_HEADER + BC_RECORD_EXPIRY + BC_KEY_MAX, got = 0;
    char *bytes = bc_alloc(s->m->allocator, size);
    if (bytes == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to merge");
    int result = read_input(s, in, offset, bytes, BC_RECORD_HEADER + BC_RECORD_EXPIRY + 256, &got);
    uint32_t seed = bc_record_seed(in->file->name.nonce, offset);
    enum bc_record_check check = BC_RECORD_BAD;
    if (result == BITCASK_OK)
        check = bc_record_decode(ret, bytes, got, seed);
    if (result == BITCASK_OK && check == BC_RECORD_SHORT) {
        result = read_input(s, in, offset, bytes, size, &got);
        if (result == BITCASK_OK)
            check = bc_record_decode(ret, bytes, got, seed);
    }
    if (result == BITCASK_OK && check != BC_RECORD_OK)
        result = damaged(in, offset);
    if (result == BITCASK_OK)
        memcpy(ret_key, bytes + bc_record_head_size(ret), ret->key_size);
    bc_free(s->m->allocator, bytes);
    return result;
}

/* value: NULL if it must be read from the input. */
static int copy_record(struct bc_merge_step *s, const struct bc_merge_input *in, const struct bc_record *r, const void *key,
                       const void *value, uint64_t offset, uint64_t *ret_to)
{
    uint64_t footprint = bc_record_footprint(r);
    int result = bc_merge_need_output(s);
    if (result != BITCASK_OK)
        return result;
    bool good = true;
    if (value != NULL)
        result = bc_merge_output_put(&s->out, r, key, value, ret_to);
    else
        result = bc_merge_output_copy(&s->out, r, key, in->fd, offset + bc_record_head_size(r) + r->key_size,
                                      bc_record_seed(in->file->name.nonce, offset), ret_to, &good);
    if (result == BITCASK_OK && !good)
        result = damaged(in, offset);
    if (result == BITCASK_OK)
        result = bc_merge_hint(s, r, key, *ret_to);
    s->live_bytes += footprint;
    s->live_keys++;
    s->expiring_keys += (r->flags & BC_RECORD_EXPIRES) != 0;
    s->done.records++;
    return result != BITCASK_OK ? result : bc_merge_spend(s, footprint);
}

/* The record of which the hint has told; its bytes are verified before they are written. */
static int copy_from_file(struct bc_merge_step *s, const struct bc_merge_input *in, uint64_t offset, uint64_t *ret_to)
{
    struct bc_record r;
    char *bytes = bc_alloc(s->m->allocator, BC_KEY_MAX + SMALL_RECORD);
    if (bytes == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to merge");
    char *value = NULL;
    int result = bc_merge_fetch_head(s, in, offset, &r, bytes);
    if (result == BITCASK_OK && r.value_size <= SMALL_RECORD) {
        size_t got = 0;
        value = bytes + r.key_size;
        result = read_input(s, in, offset + bc_record_head_size(&r) + r.key_size, value, r.value_size, &got);
        if (result == BITCASK_OK &&
            (got < r.value_size || !bc_record_value_ok(&r, value, bc_record_seed(in->file->name.nonce, offset))))
            result = damaged(in, offset);
    }
    if (result == BITCASK_OK)
        result = copy_record(s, in, &r, bytes, value, offset, ret_to);
    bc_free(s->m->allocator, bytes);
    return result;
}

/* ---- one record ---- */

static int consider(struct bc_merge_step *s, size_t input, const struct bc_record *r, uint64_t hash, const void *key,
                    const void *value, uint64_t offset, bool whole)
{
    const struct bc_merge_input *in = &s->inputs[input];
    uint64_t to = 0;
    enum verdict verdict = judge(s, in, hash, key, r, offset);
    int result = BITCASK_OK;
    if (verdict == VERDICT_LIVE && whole)
        result = copy_record(s, in, r, key, value, offset, &to);
    else if (verdict == VERDICT_LIVE)
        result = copy_from_file(s, in, offset, &to);
    if (result == BITCASK_OK && (verdict == VERDICT_LIVE || verdict == VERDICT_GONE))
        result = bc_merge_add_move(s, hash, offset, to);
    if (result == BITCASK_OK && (verdict == VERDICT_GONE || verdict == VERDICT_DOUBT))
        result = bc_merge_add_doubt(s, hash, r->sequence, input, offset);
    return result;
}

/* ---- by scan: every byte of the file must be a record's ---- */

/* Some records whose bytes stay where they are, while their slots come from memory together. */
#define AHEAD 16U

struct ahead {
    struct bc_record record;
    const void *key, *value;
    uint64_t offset, hash;
};

static int consider_all(struct bc_merge_step *s, size_t input, const struct ahead *ahead, size_t *count)
{
    int result = BITCASK_OK;
    for (size_t i = 0; i < *count && result == BITCASK_OK; i++) {
        const struct ahead *a = &ahead[i];
        result = consider(s, input, &a->record, a->hash, a->key, a->value, a->offset, true);
    }
    *count = 0;
    return result;
}

static struct ahead look_ahead(const struct bc_merge_step *s, const struct bc_scan *scan)
{
    uint64_t hash = bc_keydir_hash(s->m->keydir, scan->key, scan->record.key_size);
    bc_keydir_prefetch(s->m->keydir, hash);
    return (struct ahead){scan->record, scan->key, scan->value, scan->offset, hash};
}

static int read_records(struct bc_merge_step *s, size_t input, struct bc_scan *scan, struct bc_merge_cold *cold)
{
    const struct bc_merge_input *in = &s->inputs[input];
    struct ahead ahead[AHEAD];
    size_t count = 0;
    uint64_t before = s->read;
    enum bc_scan_result scanned = BC_SCAN_END;
    int result = BITCASK_OK;
    while (result == BITCASK_OK && (scanned = bc_scan_next(scan)) == BC_SCAN_RECORD) {
        if (!scan->value_ok)
            return damaged(in, scan->offset);
        if (scan->record.type == BC_RECORD_PUT || scan->record.type == BC_RECORD_TOMBSTONE)
            ahead[count++] = look_ahead(s, scan);
        if (count == AHEAD || !bc_scan_keeps(scan))
            result = consider_all(s, input, ahead, &count);
        s->read = before + scan->next;
        s->done.bytes_read += scan->footprint;
        /* The values of those that wait may be read again. */
        if (count == 0)
            bc_merge_cold_passed(cold, scan->next);
        if (result == BITCASK_OK)
            result = bc_merge_spend(s, scan->footprint);
    }
    if (result == BITCASK_OK)
        result = consider_all(s, input, ahead, &count);
    if (result == BITCASK_OK && scanned == BC_SCAN_FAILED)
        result = bitcask_last_error()->result;
    return result == BITCASK_OK && scanned == BC_SCAN_BAD ? damaged(in, scan->next) : result;
}

static int read_by_scan(struct bc_merge_step *s, size_t input)
{
    const struct bc_merge_input *in = &s->inputs[input];
    struct bc_scan scan;
    struct bc_merge_cold cold;
    uint64_t end = atomic_load(&in->file->end);
    int result = bc_scan_init(&scan, s->m->dir->io, s->m->allocator, in->fd, &in->file->name, BC_DATA_START, end);
    if (result != BITCASK_OK)
        return result;
    bc_merge_cold_begin(&cold, s->m->dir->io, s->m->allocator, in->fd, end);
    result = read_records(s, input, &scan, &cold);
    bc_merge_cold_passed(&cold, end);
    bc_merge_cold_end(&cold);
    bc_scan_free(&scan);
    return result;
}

/* ---- by hint: where hardly any value will be wanted ---- */

struct hint_reader {
    struct bc_merge_step *step;
    size_t input;
};

static int consider_entries(const struct bc_hint_entry *entries, size_t count, void *arg)
{
    const struct hint_reader *h = arg;
    int result = BITCASK_OK;
    for (size_t i = 0; i < count && result == BITCASK_OK; i++) {
        const struct bc_hint_entry *e = &entries[i];
        struct bc_record r = {.type = e->type,
                              .flags = e->flags,
                              .sequence = e->sequence,
                              .key_size = e->key_size,
                              .value_size = e->value_size,
                              .expire_at_ms = e->expire_at_ms};
        uint64_t hash = bc_keydir_hash(h->step->m->keydir, e->key, e->key_size);
        result = consider(h->step, h->input, &r, hash, e->key, NULL, e->offset, false);
    }
    return result;
}

/* What was noted before the hint proved wrong is taken back; what was copied stays in the output, dead. */
static int read_by_hint(struct bc_merge_step *s, size_t input, bool *ret_done)
{
    struct bc_merge_input *in = &s->inputs[input];
    struct hint_reader reader = {s, input};
    struct bc_hint_header header;
    size_t moves = s->move_count, doubts = s->doubt_count;
    uint64_t bytes = s->live_bytes, keys = s->live_keys, expiring = s->expiring_keys;
    int result = bc_hint_read(s->m->dir, s->m->allocator, &in->file->name, atomic_load(&in->file->end), consider_entries,
                              &reader, &header, ret_done);
    if (result != BITCASK_OK)
        return result;
    if (*ret_done) {
        s->read += atomic_load(&in->file->end);
        s->done.bytes_read += header.size;
        return bc_merge_spend(s, header.size);
    }
    s->move_count = moves;
    s->doubt_count = doubts;
    s->hint_spoiled |= s->live_keys != keys;
    s->live_bytes = bytes;
    s->live_keys = keys;
    s->expiring_keys = expiring;
    return BITCASK_OK;
}

/* Whether (nearly) nothing of it will be copied. */
static bool is_spent(const struct bc_merge_step *s, const struct bc_file *f)
{
    uint64_t live = atomic_load(&f->live_keys);
    bool expired = atomic_load(&f->expiring_keys) == live && atomic_load(&f->latest_expiry_ms) <= s->now_ms;
    return s->wish->evict || live == 0 || expired;
}

int bc_merge_read(struct bc_merge_step *s, size_t input)
{
    struct bc_merge_input *in = &s->inputs[input];
    bool done = false;
    int result = BITCASK_OK;
    in->first_move = s->move_count;
    if (is_spent(s, in->file))
        result = read_by_hint(s, input, &done);
    return result != BITCASK_OK || done ? result : read_by_scan(s, input);
}
