#include "bitcask/verify_walk.h"

#include <string.h>

#include "bitcask/error.h"

#define BLOCK 4096U

struct state {
    struct bc_walk *w;
    struct bc_scan scan;
    uint64_t last;        /* sequence */
    uint64_t batch_start; /* offset of the frame of the batch that is open; 0: none */
    uint64_t batch_end;
    uint32_t batch_left;
    uint64_t batch_operations, batch_min, batch_max;
    uint64_t reported; /* progress */
    bool above_ceiling;
    bool stop;
};

static int damage(struct state *st, uint32_t code, uint64_t offset, uint64_t size, bool has_record, const char *what)
{
    const struct bc_scan *s = &st->scan;
    if (st->w->damage == NULL)
        return BITCASK_OK;
    bool keyed = has_record && (s->record.type == BC_RECORD_PUT || s->record.type == BC_RECORD_TOMBSTONE);
    const struct bc_damage d = {code, offset, size, has_record ? &s->record : NULL, keyed ? s->key : NULL, what};
    return st->w->damage(&d, st->w->arg);
}

/* A rule that the record just scanned breaks. Where nothing vouches for it the log ends before it. */
static int broken(struct state *st, uint32_t code, const char *what)
{
    const struct bc_scan *s = &st->scan;
    if (s->offset >= st->w->vouched) {
        st->stop = true;
        return BITCASK_OK;
    }
    return damage(st, code, s->offset, s->footprint, true, what);
}

static void count(uint64_t sequence, uint64_t *operations, uint64_t *min, uint64_t *max)
{
    *min = *operations == 0 ? sequence : BC_MIN(*min, sequence);
    *max = BC_MAX(*max, sequence);
    ++*operations;
}

/* The operations of a batch count when it is whole. */
static void close_batch(struct state *st)
{
    struct bc_walk *w = st->w;
    if (st->batch_operations != 0) {
        w->min_sequence = w->operations == 0 ? st->batch_min : BC_MIN(w->min_sequence, st->batch_min);
        w->max_sequence = BC_MAX(w->max_sequence, st->batch_max);
        w->operations += st->batch_operations;
    }
    st->batch_start = st->batch_operations = 0;
}

/* The batch that is open cannot be whole. */
static int break_batch(struct state *st, const char *what)
{
    uint64_t start = st->batch_start;
    if (start >= st->w->vouched) {
        st->stop = true;
        return BITCASK_OK;
    }
    int result = what == NULL ? BITCASK_OK : damage(st, BITCASK_FINDING_BATCH, start, st->batch_end - start, false, what);
    close_batch(st);
    return result;
}

static int take_link(struct state *st)
{
    struct bc_walk *w = st->w;
    const struct bc_scan *s = &st->scan;
    if (w->kind != BC_DATA_KIND_LOG || s->offset != BC_DATA_START)
        return broken(st, BITCASK_FINDING_LINK, "a link stands where none may stand");
    if (!s->value_ok)
        return broken(st, BITCASK_FINDING_LINK, "the link's value is damaged");
    if (!bc_link_decode(s->small_value, &w->link))
        return broken(st, BITCASK_FINDING_LINK, "the link breaks a rule of the format");
    w->linked = true;
    return BITCASK_OK;
}

static int open_batch(struct state *st)
{
    const struct bc_scan *s = &st->scan;
    uint64_t bytes;
    if (st->w->kind != BC_DATA_KIND_LOG)
        return broken(st, BITCASK_FINDING_BATCH, "a batch frame stands in a merge output");
    if (!s->value_ok)
        return broken(st, BITCASK_FINDING_BATCH, "the value of a batch frame is damaged");
    if (!bc_batch_decode(s->small_value, &st->batch_left, &bytes) || bytes > s->limit - s->next)
        return broken(st, BITCASK_FINDING_BATCH, "a batch frame breaks a rule of the format, or reaches beyond the file's end");
    st->batch_start = s->offset;
    st->batch_end = s->next + bytes;
    st->batch_operations = st->batch_min = st->batch_max = 0;
    return BITCASK_OK;
}

static int take_operation(struct state *st)
{
    struct bc_walk *w = st->w;
    const struct bc_scan *s = &st->scan;
    int result = BITCASK_OK;
    if (st->batch_start != 0 && (s->next > st->batch_end || st->batch_left == 0))
        result = break_batch(st, "a batch has other records than its frame says");
    if (result == BITCASK_OK && !st->stop && !s->value_ok)
        result = broken(st, BITCASK_FINDING_VALUE, "the value is damaged");
    if (result != BITCASK_OK || st->stop)
        return result;
    if (st->batch_start != 0) {
        count(s->record.sequence, &st->batch_operations, &st->batch_min, &st->batch_max);
        st->batch_left--;
        if (s->next == st->batch_end && st->batch_left != 0)
            result = break_batch(st, "a batch has fewer records than its frame says");
        else if (s->next == st->batch_end)
            close_batch(st);
    } else {
        count(s->record.sequence, &w->operations, &w->min_sequence, &w->max_sequence);
    }
    if (result == BITCASK_OK && !st->stop && w->record != NULL)
        result = w->record(s, w->arg);
    return result;
}

static int check_sequence(struct state *st)
{
    struct bc_walk *w = st->w;
    const struct bc_scan *s = &st->scan;
    uint64_t sequence = s->record.sequence;
    if (sequence >= w->ceiling && !st->above_ceiling) {
        /* Also where it could be the end: a sequence that was never handed out proves an older MANIFEST. */
        st->above_ceiling = true;
        return damage(st, BITCASK_FINDING_MANIFEST, s->offset, s->footprint, true,
                      "the sequence is above the MANIFEST's ceiling: an older MANIFEST was put in place");
    }
    if (w->kind != BC_DATA_KIND_LOG)
        return BITCASK_OK;
    if (sequence <= st->last)
        return broken(st, BITCASK_FINDING_SEQUENCE, "the sequence is not above that of the record before it");
    return BITCASK_OK;
}

static int take_record(struct state *st)
{
    struct bc_walk *w = st->w;
    const struct bc_scan *s = &st->scan;
    w->highest = BC_MAX(w->highest, s->record.sequence);
    int result = check_sequence(st);
    if (result != BITCASK_OK || st->stop)
        return result;
    st->last = BC_MAX(st->last, s->record.sequence);
    bool operation = s->record.type == BC_RECORD_PUT || s->record.type == BC_RECORD_TOMBSTONE;
    if (operation && w->kind == BC_DATA_KIND_LOG && s->offset == BC_DATA_START)
        result = broken(st, BITCASK_FINDING_LINK, "the file does not start with its link");
    else if (!operation && st->batch_start != 0)
        result = break_batch(st, "a batch has fewer records than its frame says");
    if (result != BITCASK_OK || st->stop)
        return result;
    if (operation)
        result = take_operation(st);
    else
        result = s->record.type == BC_RECORD_LINK ? take_link(st) : open_batch(st);
    if (!st->stop && st->batch_start == 0)
        w->end = s->next;
    return result;
}

/* No record at next. Behind what is vouched for that is the end; before it, what follows still counts. */
static int pass_damage(struct state *st, bool *ret_found)
{
    struct bc_walk *w = st->w;
    struct bc_scan *s = &st->scan;
    uint64_t start = s->next;
    *ret_found = false;
    if (start >= w->vouched) {
        st->stop = true;
        return BITCASK_OK;
    }
    int result = st->batch_start != 0 ? break_batch(st, NULL) : BITCASK_OK;
    s->limit = w->vouched;
    enum bc_scan_result scanned = bc_scan_resync(s);
    s->limit = w->limit;
    if (scanned == BC_SCAN_FAILED)
        return bitcask_last_error()->result;
    *ret_found = scanned == BC_SCAN_RECORD;
    if (!*ret_found)
        s->next = w->end = w->vouched;
    uint64_t until = *ret_found ? s->offset : w->vouched;
    if (result == BITCASK_OK)
        result = damage(st, BITCASK_FINDING_RECORD, start, until - start, false,
                        "no record can be read here: which keys it had is not known");
    return result;
}

static int run(struct state *st)
{
    struct bc_walk *w = st->w;
    struct bc_scan *s = &st->scan;
    int result = BITCASK_OK;
    while (result == BITCASK_OK && !st->stop) {
        enum bc_scan_result scanned = bc_scan_next(s);
        bool found = scanned == BC_SCAN_RECORD;
        if (scanned == BC_SCAN_FAILED)
            return bitcask_last_error()->result;
        if (scanned == BC_SCAN_END)
            break;
        if (!found)
            result = pass_damage(st, &found);
        if (found && result == BITCASK_OK)
            result = take_record(st);
        if (result == BITCASK_OK && w->progress != NULL && s->next - st->reported >= (1U << 20)) {
            st->reported = s->next;
            result = w->progress(s->next, w->arg);
        }
    }
    /* A batch that the end of the file cuts. */
    if (result == BITCASK_OK && st->batch_start != 0 && !st->stop)
        result = break_batch(st, "a batch has fewer records than its frame says");
    w->bad = st->batch_start != 0 ? st->batch_start : st->stop && w->end < s->offset ? s->offset : w->end;
    return result;
}

int bc_walk(struct bc_walk *w)
{
    struct state st = {.w = w};
    w->end = w->bad = BC_DATA_START;
    w->operations = w->min_sequence = w->max_sequence = w->highest = 0;
    w->linked = false;
    if (w->limit <= BC_DATA_START)
        return BITCASK_OK;
    int result = bc_scan_init(&st.scan, w->io, w->allocator, w->fd, &w->name, BC_DATA_START, w->limit);
    if (result != BITCASK_OK)
        return result;
    result = run(&st);
    bc_scan_free(&st.scan);
    return result;
}

/* ---- patient reading ---- */

static int patient_read(void *ctx, int fd, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct bc_patient_io *p = ctx;
    int error = p->real->read(p->real->ctx, fd, offset, buf, size, ret_got);
    if (error == 0)
        return 0;
    char *dst = buf;
    size_t done = 0;
    while (done < size && offset + done < p->file_size) {
        uint64_t at = offset + done;
        size_t piece = (size_t)BC_MIN((uint64_t)(size - done), BLOCK - at % BLOCK), got;
        piece = (size_t)BC_MIN((uint64_t)piece, p->file_size - at);
        error = p->real->read(p->real->ctx, fd, at, dst + done, piece, &got);
        if (error == 0 && got < piece)
            break;
        if (error != 0) {
            memset(dst + done, 0, piece);
            if (p->unreadable == 0) {
                p->first_unreadable = at;
                p->error = error;
            }
            p->unreadable += piece;
        }
        done += piece;
    }
    *ret_got = done;
    return 0;
}

void bc_patient_io_init(struct bc_patient_io *p, const struct bc_io *real, uint64_t file_size)
{
    *p = (struct bc_patient_io){.real = real, .file_size = file_size};
    p->io.ctx = p;
    p->io.read = patient_read;
}
