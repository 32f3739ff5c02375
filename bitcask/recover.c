#include "bitcask/recover.h"

#include <inttypes.h>
#include <string.h>

#include "bitcask/datafile.h"
#include "bitcask/error.h"
#include "bitcask/scan.h"

/* What the walk over an open file found. */
struct tail {
    struct bc_manifest_file *listed;
    char name[BC_NAME_SIZE];
    uint64_t size; /* of the file */
    uint64_t mark; /* all below it was synced once */
    uint64_t end;  /* behind the last whole record or batch */
    uint64_t bad;  /* where the walk stopped */
    bool zeros;    /* nothing but zeros from there on */
    bool goes_on;  /* an earlier walk came as far as here and told about it */
    uint64_t last_offset, last_sequence;
    bool linked;
    struct bc_link link;
    uint64_t operations, min_sequence, max_sequence;
};

struct recovery {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    const struct bc_health *health;
    bool read_only;
    const struct bc_tail *before; /* BC_OPEN_FILES_MAX; NULL: none */
    const struct bc_manifest *manifest;
};

static int damaged(const struct tail *t, uint64_t offset)
{
    return bc_fail(BITCASK_CORRUPT, 0, t->name, offset,
                   "%s: damaged at byte %" PRIu64 ", below byte %" PRIu64 " which was known durable; nothing was changed",
                   t->name, offset, t->mark);
}

struct walk {
    struct bc_scan scan;
    uint64_t last;        /* sequence */
    uint64_t batch_start; /* offset of the frame of the batch that is open; 0: none */
    uint64_t batch_end;
    uint32_t batch_left;
};

/* Whether the record just scanned may stand where it stands. Sequences increase strictly in a log file: what does not is left
 * over from a write that failed. */
static bool record_fits(const struct walk *w, const struct tail *t)
{
    const struct bc_scan *s = &w->scan;
    if (s->record.sequence <= w->last)
        return false;
    if ((s->record.type == BC_RECORD_LINK) != (s->offset == BC_DATA_START))
        return false;
    /* Past the mark a bad value is a torn write like any other; below it the key stays and answers CORRUPT. */
    if (!s->value_ok && s->next > t->mark)
        return false;
    if (w->batch_start != 0)
        return s->record.type != BC_RECORD_BATCH && s->next <= w->batch_end && w->batch_left > 0;
    return true;
}

static bool open_batch(struct walk *w)
{
    uint64_t bytes;
    const struct bc_scan *s = &w->scan;
    if (s->small_value == NULL || !bc_batch_decode(s->small_value, &w->batch_left, &bytes) || bytes > s->limit - s->next)
        return false;
    w->batch_start = s->offset;
    w->batch_end = s->next + bytes;
    return true;
}

static void reached(const struct walk *w, struct tail *t)
{
    t->end = w->scan.next;
    t->last_offset = w->scan.offset;
    t->last_sequence = w->last;
}

/* Takes the record in. False: it breaks a rule, the log ends before it. */
static bool take(struct walk *w, struct tail *t)
{
    const struct bc_scan *s = &w->scan;
    w->last = s->record.sequence;
    if (s->record.type == BC_RECORD_LINK) {
        t->linked = s->small_value != NULL && bc_link_decode(s->small_value, &t->link);
        reached(w, t);
        return t->linked;
    }
    if (s->record.type == BC_RECORD_BATCH)
        return open_batch(w);
    if (w->batch_start != 0) {
        w->batch_left--;
        if (s->next < w->batch_end)
            return true;
        if (w->batch_left != 0)
            return false;
        w->batch_start = 0;
    }
    reached(w, t);
    return true;
}

static int walk(const struct recovery *r, struct tail *t, struct walk *w)
{
    enum bc_scan_result scanned;
    while ((scanned = bc_scan_next(&w->scan)) == BC_SCAN_RECORD) {
        const struct bc_record *record = &w->scan.record;
        if (record->sequence >= r->manifest->ceiling)
            return bc_fail(BITCASK_CORRUPT, 0, t->name, w->scan.offset,
                           "%s: sequence %" PRIu64 " at byte %" PRIu64
                           " is above the MANIFEST's ceiling: an older MANIFEST was put "
                           "in place",
                           t->name, record->sequence, w->scan.offset);
        if (!record_fits(w, t) || !take(w, t)) {
            t->bad = w->scan.offset;
            t->zeros = false;
            return BITCASK_OK;
        }
        if (record->type == BC_RECORD_PUT || record->type == BC_RECORD_TOMBSTONE) {
            t->operations++;
            t->min_sequence = t->min_sequence == 0 ? record->sequence : t->min_sequence;
            t->max_sequence = record->sequence;
        }
    }
    if (scanned == BC_SCAN_FAILED)
        return bitcask_last_error()->result;
    t->bad = w->scan.next;
    t->zeros = true;
    if (scanned == BC_SCAN_BAD && !t->goes_on && bc_scan_all_zero(&w->scan, &t->zeros) == BC_SCAN_FAILED)
        return bitcask_last_error()->result;
    return BITCASK_OK;
}

/* A process that was killed leaves its writes in the page cache, where the disk may not have them yet: they are made durable
 * and read again from the disk before anybody relies on them. */
static int settle(const struct recovery *r, const struct tail *t, int fd)
{
    const struct bc_io *io = r->dir->io;
    if (r->read_only)
        return BITCASK_OK;
    int error = io->sync(io->ctx, fd);
    if (error != 0)
        return bc_fail_io(error, t->name, "cannot sync what a killed process left");
    (void)io->drop_cache(io->ctx, fd, 0, t->size);
    return BITCASK_OK;
}

static void go_on(const struct recovery *r, struct tail *t)
{
    for (size_t i = 0; r->before != NULL && i < BC_OPEN_FILES_MAX; i++) {
        const struct bc_tail *b = &r->before[i];
        if (b->name.id != t->listed->name.id || b->name.nonce != t->listed->name.nonce)
            continue;
        t->goes_on = true;
        t->end = t->bad = b->end;
        t->last_offset = b->last_offset;
        t->last_sequence = b->last_sequence;
        t->linked = b->linked;
        t->link = b->link;
        t->operations = b->operations;
        t->min_sequence = b->min_sequence;
        t->max_sequence = b->max_sequence;
    }
}

/* Whether anything at all was appended since the earlier walk: a header is stored last and is never all zero. */
static int look_behind(const struct recovery *r, const struct tail *t, int fd, bool *ret_more)
{
    const struct bc_io *io = r->dir->io;
    char header[BC_RECORD_HEADER] = {0};
    size_t got;
    int error = io->read(io->ctx, fd, t->end, header, sizeof header, &got);
    if (error != 0)
        return bc_fail_io(error, t->name, "cannot read");
    *ret_more = header[0] != 0 || memcmp(header, header + 1, sizeof header - 1) != 0;
    return BITCASK_OK;
}

static int walk_file(const struct recovery *r, struct tail *t, int fd)
{
    bool more = true;
    int result = t->goes_on ? look_behind(r, t, fd, &more) : BITCASK_OK;
    t->zeros = true;
    if (result != BITCASK_OK || !more)
        return result;
    struct walk w = {.last = t->last_sequence};
    result = bc_scan_init(&w.scan, r->dir->io, r->allocator, fd, &t->listed->name, t->end, BC_MAX(t->size, t->end));
    if (result == BITCASK_OK) {
        result = walk(r, t, &w);
        bc_scan_free(&w.scan);
    }
    return result;
}

static int examine(const struct recovery *r, struct bc_manifest_file *listed, struct tail *ret)
{
    const struct bc_io *io = r->dir->io;
    struct tail t = {.listed = listed, .end = BC_DATA_START, .bad = BC_DATA_START};
    struct bc_io_stat st;
    go_on(r, &t);
    uint64_t counter;
    int fd;
    bc_data_name(t.name, listed->name.id);
    int result = bc_datafile_open(r->dir, &r->manifest->store, &listed->name, 0, &fd, &st);
    if (result != BITCASK_OK)
        return result;
    t.size = st.size;
    /* The mark before the scan: a writer beside a read-only handle moves both on. */
    result = bc_datafile_mark_read(r->dir, fd, &listed->name, &counter, &t.mark);
    t.mark = BC_MAX(t.mark, listed->end);
    if (result == BITCASK_OK)
        result = settle(r, &t, fd);
    if (result == BITCASK_OK)
        result = walk_file(r, &t, fd);
    io->close(io->ctx, fd);
    if (result == BITCASK_OK && t.end < t.mark)
        result = damaged(&t, t.bad);
    if (result == BITCASK_OK)
        *ret = t;
    return result;
}

/* The second of two open files starts with a link that says how far the first one reached when it was full. If the first was
 * cut before that, everything in the second came after the hole. */
static int judge_link(const struct recovery *r, struct tail *first, struct tail *second, bool *ret_void)
{
    *ret_void = false;
    if (!second->linked)
        return BITCASK_OK;
    if (second->link.id != first->listed->name.id || second->link.nonce != first->listed->name.nonce)
        return bc_fail(BITCASK_CORRUPT, 0, second->name, BC_DATA_START, "%s: does not follow %s", second->name, first->name);
    if (r->read_only && first->end < second->link.end) {
        /* The writer went on between the two scans. */
        int result = examine(r, first->listed, first);
        if (result != BITCASK_OK)
            return result;
    }
    if (first->end < second->link.end) {
        if (second->mark > BC_DATA_START)
            return bc_fail(BITCASK_CORRUPT, 0, first->name, first->bad,
                           "%s: damaged at byte %" PRIu64 "; %s was synced after it had reached byte %" PRIu64, first->name,
                           first->bad, second->name, second->link.end);
        *ret_void = true;
        return BITCASK_OK;
    }
    first->end = second->link.end;
    return BITCASK_OK;
}

static void report(const struct recovery *r, const struct tail *t, bool is_void, struct bc_recovery *ret)
{
    uint64_t from = is_void ? BC_DATA_START : t->end;
    if (t->goes_on)
        return;
    if (t->zeros && !is_void) {
        bc_log_line(r->health, BITCASK_LOG_INFO, "%s: recovered, ends at byte %" PRIu64, t->name, t->end);
        return;
    }
    ret->cut_bytes += t->size - BC_MIN(from, t->size);
    bc_log_line(r->health, BITCASK_LOG_WARN, "%s: %s at byte %" PRIu64 "; nothing behind it had been made durable", t->name,
                is_void ? "void, as the file before it was cut, from its start" : "torn tail cut off", from);
}

static void settle_entry(const struct recovery *r, struct bc_manifest *m, const struct tail *t, bool is_void,
                         struct bc_recovery *ret)
{
    struct bc_manifest_file *listed = t->listed;
    report(r, t, is_void, ret);
    if (is_void || t->operations == 0) {
        uint64_t id = listed->name.id;
        ret->dropped[ret->dropped_count++] = id;
        size_t at = (size_t)(listed - m->files);
        for (size_t i = at + 1; i < m->count; i++)
            m->files[i - 1] = m->files[i];
        m->count--;
        return;
    }
    listed->state = BC_MANIFEST_SEALED;
    listed->flags = 0;
    listed->end = t->end;
    listed->min_sequence = t->min_sequence;
    listed->max_sequence = t->max_sequence;
}

void bc_recover_nothing(const struct bc_directory *dir, struct bc_manifest *m)
{
    for (size_t i = 0; i < m->count; i++) {
        struct bc_manifest_file *f = &m->files[i];
        struct bc_io_stat st;
        int fd;
        if (bc_datafile_open_damaged(dir, &f->name, &fd, &st) != BITCASK_OK)
            continue;
        dir->io->close(dir->io->ctx, fd);
        uint64_t size = BC_MAX(st.size, BC_DATA_START);
        f->end = f->state == BC_MANIFEST_OPEN ? size : BC_MIN(f->end, size);
        f->state = BC_MANIFEST_SEALED;
    }
}

static struct bc_tail tail_of(const struct tail *t)
{
    return (struct bc_tail){.name = t->listed->name,
                            .end = t->end,
                            .last_offset = t->last_offset,
                            .last_sequence = t->last_sequence,
                            .operations = t->operations,
                            .min_sequence = t->min_sequence,
                            .max_sequence = t->max_sequence,
                            .linked = t->linked,
                            .link = t->link};
}

static int recover(const struct recovery *given, struct bc_manifest *m, struct bc_recovery *ret)
{
    const struct recovery r = *given;
    struct tail tails[BC_OPEN_FILES_MAX];
    size_t count = 0;
    *ret = (struct bc_recovery){.changed = false};
    for (size_t i = 0; i < m->count; i++) {
        if (m->files[i].state != BC_MANIFEST_OPEN)
            continue;
        if (count == BC_OPEN_FILES_MAX)
            return bc_fail(BITCASK_CORRUPT, 0, BC_MANIFEST_NAME, 0, "%s: lists more than %u open files", BC_MANIFEST_NAME,
                           BC_OPEN_FILES_MAX);
        int result = examine(&r, &m->files[i], &tails[count]);
        if (result != BITCASK_OK)
            return result;
        ret->open[count++] = m->files[i].name.id;
    }
    bool is_void = false;
    if (count == 2) {
        int result = judge_link(&r, &tails[0], &tails[1], &is_void);
        if (result != BITCASK_OK)
            return result;
    }
    for (size_t i = 0; i < count; i++)
        ret->tails[i] = tail_of(&tails[i]);
    if (is_void)
        memset(&ret->tails[1], 0, sizeof ret->tails[1]);
    /* From the last: dropping an entry moves those behind it. */
    for (size_t i = count; i > 0; i--)
        settle_entry(&r, m, &tails[i - 1], i == 2 && is_void, ret);
    ret->changed = count > 0;
    ret->open_count = count;
    return BITCASK_OK;
}

int bc_recover(const struct bc_directory *dir, const bitcask_allocator *a, const struct bc_health *health, bool read_only,
               struct bc_manifest *m, struct bc_recovery *ret)
{
    const struct recovery r = {dir, a, health, read_only, NULL, m};
    return recover(&r, m, ret);
}

int bc_recover_on(const struct bc_directory *dir, const bitcask_allocator *a, const struct bc_health *health,
                  const struct bc_tail before[BC_OPEN_FILES_MAX], struct bc_manifest *m, struct bc_recovery *ret)
{
    const struct recovery r = {dir, a, health, true, before, m};
    return recover(&r, m, ret);
}
