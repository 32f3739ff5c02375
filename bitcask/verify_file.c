#include "bitcask/verify_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bitcask/datafile.h"
#include "bitcask/error.h"
#include "bitcask/verify_hint.h"

struct checking {
    struct bc_verify_common *common;
    struct bc_file_report *r;
    struct bc_hint_check hint;
    struct bc_patient_io patient;
    uint32_t index;
    int fd;
    bool damage_met; /* by the walk */
    bool unsupported;
};

void bc_report_data(struct bc_file_report *r, uint32_t severity, uint32_t code, uint64_t offset, uint64_t size,
                    const char *format, ...)
{
    struct bc_finding f = {.severity = severity, .code = code, .offset = offset, .size = size};
    char message[sizeof f.message];
    va_list args;
    memcpy(f.file, r->name, sizeof f.file);
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    bc_findings_add(&r->findings, &f, "%s", message);
    r->damaged |= severity != BITCASK_FINDING_NOTE;
}

/* The entry of the MANIFEST is not true, or proves it to be an older one. */
static void report_entry(struct bc_file_report *r, uint32_t code, uint64_t offset, const char *what)
{
    struct bc_finding f = {.severity = BITCASK_FINDING_ERROR, .code = code, .offset = offset};
    memcpy(f.file, r->name, sizeof f.file);
    bc_findings_add(&r->findings, &f, "%s", what);
    r->relist = true;
}

/* ---- header, size, mark ---- */

static bool open_it(struct checking *k)
{
    const struct bc_io *io = k->common->dir->io;
    struct bc_file_report *r = k->r;
    int error = io->open(io->ctx, k->common->dir->fd, r->name, 0, 0, &k->fd);
    if (error == ENOENT) {
        bc_report_data(r, BITCASK_FINDING_ERROR, BITCASK_FINDING_MISSING, 0, r->listed.end,
                       "listed in the MANIFEST but missing: what it held is lost, and older versions may be found");
    } else if (error == ELOOP || error == EINVAL) {
        bc_report_data(r, BITCASK_FINDING_ERROR, BITCASK_FINDING_MISSING, 0, r->listed.end,
                       "not a regular file: something else was put in its place");
    } else if (error != 0) {
        r->incomplete = true;
        bc_report_data(r, BITCASK_FINDING_ERROR, BITCASK_FINDING_UNREADABLE, 0, 0, "cannot be opened: %s", strerror(error));
        r->damaged = false;
    }
    return error == 0;
}

/* Whether it is that file, as far as its header tells. */
static bool check_header(struct checking *k)
{
    struct bc_file_report *r = k->r;
    const struct bc_manifest *m = k->common->manifest;
    char bytes[BC_DATA_HEADER_SIZE] = {0};
    struct bc_data_header h;
    size_t got = 0;
    (void)k->patient.io.read(&k->patient, k->fd, 0, bytes, sizeof bytes, &got);
    enum bc_format_check check = bc_data_header_decode(&h, bytes);
    if (check == BC_FORMAT_UNSUPPORTED) {
        k->unsupported = true;
        return false;
    }
    if (check != BC_FORMAT_OK) {
        bc_report_data(r, BITCASK_FINDING_ERROR, BITCASK_FINDING_HEADER, 0, sizeof bytes, "the header is damaged");
        return true;
    }
    bool same_store = memcmp(&h.store, &m->store, sizeof h.store) == 0;
    if (!same_store || h.name.id != r->listed.name.id || h.name.nonce != r->listed.name.nonce) {
        bc_report_data(r, BITCASK_FINDING_ERROR, BITCASK_FINDING_FOREIGN, 0, 0,
                       "is another file under this name (file %" PRIu64 "%s)", h.name.id,
                       same_store ? "" : " of another store");
        return false;
    }
    if (h.cleared_below > m->cleared_below)
        report_entry(r, BITCASK_FINDING_MANIFEST, 0,
                     "knows of a clear that the MANIFEST does not know: an older MANIFEST was put in place");
    if (h.kind != r->listed.kind) {
        report_entry(r, BITCASK_FINDING_MANIFEST, 0, "the MANIFEST lists it as a file of another kind");
        r->listed.kind = h.kind;
    }
    return true;
}

/* A slot is bad when a crash tore it: the other one counts. Both at once no crash does. */
static void read_mark(struct checking *k)
{
    struct bc_file_report *r = k->r;
    char page[2 * BC_DATA_MARK_SECTOR] = {0};
    size_t got;
    bool valid = false;
    r->mark = r->listed.end;
    (void)k->patient.io.read(&k->patient, k->fd, BC_DATA_MARK_OFFSET, page, sizeof page, &got);
    for (unsigned slot = 0; slot < 2; slot++) {
        uint64_t counter, offset;
        if (!bc_mark_decode(page + slot * BC_DATA_MARK_SECTOR, r->listed.name.nonce, &counter, &offset))
            continue;
        valid = true;
        r->mark = BC_MAX(r->mark, offset);
    }
    bool open = r->listed.state == BC_MANIFEST_OPEN;
    if (!valid)
        bc_report_data(r, open ? BITCASK_FINDING_ERROR : BITCASK_FINDING_WARNING, BITCASK_FINDING_MARK, BC_DATA_MARK_OFFSET,
                       sizeof page, "the durable mark is damaged in both slots%s",
                       open ? "" : "; the MANIFEST knows the end: nothing is lost");
    if (!open && r->mark > r->listed.end)
        report_entry(r, BITCASK_FINDING_MANIFEST, r->listed.end,
                     "was synced behind the end that the MANIFEST knows: an older MANIFEST was put in place");
}

static void check_size(struct checking *k)
{
    struct bc_file_report *r = k->r;
    if (r->size >= r->mark)
        return;
    bc_report_data(r, BITCASK_FINDING_ERROR, BITCASK_FINDING_TRUNCATED, r->size, r->mark - r->size,
                   "cut off: %" PRIu64 " bytes that were once durable are gone", r->mark - r->size);
    k->damage_met = true;
}

/* Space behind the end of a sealed file may still be there. A record in it that a later session wrote may not. */
static int check_behind_end(struct checking *k)
{
    struct bc_file_report *r = k->r;
    struct bc_scan s;
    if (r->listed.state == BC_MANIFEST_OPEN || r->size <= r->listed.end)
        return BITCASK_OK;
    int result = bc_scan_init(&s, &k->patient.io, k->common->allocator, k->fd, &r->listed.name, r->listed.end, r->size);
    if (result != BITCASK_OK)
        return result;
    if (bc_scan_next(&s) == BC_SCAN_RECORD && s.record.sequence >= k->common->manifest->ceiling)
        report_entry(r, BITCASK_FINDING_MANIFEST, r->listed.end,
                     "goes on behind the end that the MANIFEST knows: an older MANIFEST was put in place");
    bc_scan_free(&s);
    return BITCASK_OK;
}

/* ---- records ---- */

static int on_record(const struct bc_scan *s, void *arg)
{
    struct checking *k = arg;
    struct bc_keydir *keydir = k->common->keydir;
    k->r->records++;
    int result = BITCASK_OK;
    if (k->hint.dir != NULL)
        result = bc_hint_check_record(&k->hint, s);
    if (keydir != NULL && result == BITCASK_OK) {
        const struct bc_entry e = {.file = k->index,
                                   .offset = s->offset,
                                   .footprint = s->footprint,
                                   .flags = s->record.type == BC_RECORD_TOMBSTONE ? BC_ENTRY_TOMBSTONE : 0};
        uint64_t hash = bc_keydir_hash(keydir, s->key, s->record.key_size);
        result = bc_keydir_load(keydir, hash, s->key, s->record.key_size, s->record.sequence, &e, s->record.expire_at_ms);
    }
    return result;
}

static int on_damage(const struct bc_damage *d, void *arg)
{
    struct checking *k = arg;
    struct bc_file_report *r = k->r;
    k->damage_met = true;
    if (d->code == BITCASK_FINDING_MANIFEST) {
        report_entry(r, d->code, d->offset, d->what);
        return BITCASK_OK;
    }
    struct bc_finding f = {.severity = BITCASK_FINDING_ERROR, .code = d->code, .offset = d->offset, .size = d->size};
    memcpy(f.file, r->name, sizeof f.file);
    if (d->record != NULL) {
        f.sequence = d->record->sequence;
        f.key = d->key;
        f.key_size = d->key == NULL ? 0 : d->record->key_size;
    }
    bc_findings_add(&r->findings, &f, "%s", d->what);
    r->damaged = true;
    if (d->code == BITCASK_FINDING_RECORD && k->hint.dir != NULL)
        bc_hint_check_gap(&k->hint, d->offset, d->size);
    return BITCASK_OK;
}

static int on_progress(uint64_t offset, void *arg)
{
    struct checking *k = arg;
    struct bc_verify_common *c = k->common;
    atomic_fetch_add_explicit(&c->bytes, offset - k->r->shown, memory_order_relaxed);
    k->r->shown = offset;
    if (c->progress != NULL && c->progress(c->progress_arg) != BITCASK_OK)
        atomic_store(&c->cancelled, true);
    return atomic_load(&c->cancelled) ? bc_fail(BITCASK_CANCELLED, 0, NULL, 0, "cancelled") : BITCASK_OK;
}

/* Once more over an open file, now that its end is known: an operation counts only if its batch is whole. */
static int count_open(struct checking *k)
{
    struct bc_walk w = k->r->walk;
    w.vouched = w.limit = w.end;
    w.record = on_record;
    w.damage = NULL;
    w.progress = NULL;
    return bc_walk(&w);
}

static int walk_sealed(struct checking *k)
{
    struct bc_file_report *r = k->r;
    struct bc_walk *w = &r->walk;
    int result =
        bc_hint_check_start(&k->hint, k->common->dir, k->common->allocator, &r->findings, &r->listed.name, r->listed.end);
    k->hint.ordered = w->kind == BC_DATA_KIND_LOG;
    w->vouched = w->limit;
    w->record = on_record;
    if (result == BITCASK_OK)
        result = bc_walk(w);
    if (result == BITCASK_OK && r->size < r->listed.end)
        bc_hint_check_gap(&k->hint, w->limit, r->listed.end - w->limit);
    if (result == BITCASK_OK)
        bc_hint_check_finish(&k->hint, w, !k->damage_met);
    r->hinted = k->hint.usable;
    r->bad_hint = k->hint.present && (!k->hint.usable || !k->hint.truthful);
    bc_hint_check_free(&k->hint);
    if (result == BITCASK_OK && !k->damage_met &&
        (w->min_sequence != r->listed.min_sequence || w->max_sequence != r->listed.max_sequence))
        report_entry(r, BITCASK_FINDING_COUNTER, 0, "the MANIFEST has other sequences for it than its records have");
    return result;
}

static int walk_open(struct checking *k)
{
    struct bc_walk *w = &k->r->walk;
    w->limit = k->r->size;
    w->vouched = BC_MIN(k->r->mark, w->limit);
    int result = bc_walk(w);
    if (result == BITCASK_OK)
        result = count_open(k);
    return result;
}

/* The link of a sealed file against the MANIFEST. What it says of an open file is judged with that file. */
static void check_link(struct checking *k)
{
    struct bc_file_report *r = k->r;
    const struct bc_manifest *m = k->common->manifest;
    const struct bc_link *link = &r->walk.link;
    if (!r->walk.linked || link->id == 0)
        return;
    if (link->id >= r->listed.name.id)
        bc_report_data(r, BITCASK_FINDING_ERROR, BITCASK_FINDING_LINK, BC_DATA_START, 0,
                       "links to file %" PRIu64 ", which is not an earlier one", link->id);
    for (size_t i = 0; i < m->count; i++) {
        const struct bc_manifest_file *f = &m->files[i];
        if (f->name.id != link->id || f->state == BC_MANIFEST_OPEN)
            continue;
        if (f->name.nonce != link->nonce || f->end != link->end)
            bc_report_data(r, BITCASK_FINDING_ERROR, BITCASK_FINDING_LINK, BC_DATA_START, 0,
                           "follows file %" PRIu64 ", but not as the MANIFEST has it", link->id);
    }
}

static int check_opened(struct checking *k)
{
    struct bc_file_report *r = k->r;
    const struct bc_io *io = k->common->dir->io;
    struct bc_io_stat st;
    int error = io->stat(io->ctx, k->fd, &st);
    if (error != 0) {
        r->incomplete = true;
        bc_report_data(r, BITCASK_FINDING_ERROR, BITCASK_FINDING_UNREADABLE, 0, 0, "cannot be examined: %s", strerror(error));
        return BITCASK_OK;
    }
    r->size = st.size;
    bc_patient_io_init(&k->patient, io, st.size);
    if (!check_header(k))
        return k->unsupported
                   ? bc_fail(BITCASK_UNSUPPORTED, 0, r->name, 0, "%s: written by a newer version of the format", r->name)
                   : BITCASK_OK;
    r->there = true;
    /* The mark before the records: a writer moves both on. */
    read_mark(k);
    check_size(k);
    r->walk = (struct bc_walk){.io = &k->patient.io,
                               .allocator = k->common->allocator,
                               .fd = k->fd,
                               .name = r->listed.name,
                               .kind = r->listed.kind,
                               .limit = BC_MIN(r->listed.end, r->size),
                               .ceiling = k->common->manifest->ceiling,
                               .damage = on_damage,
                               .progress = on_progress,
                               .arg = k};
    int result = r->listed.state == BC_MANIFEST_OPEN ? walk_open(k) : walk_sealed(k);
    if (result == BITCASK_OK)
        result = check_behind_end(k);
    if (result == BITCASK_OK)
        check_link(k);
    if (k->patient.unreadable != 0) {
        r->incomplete = true;
        bc_report_data(r, BITCASK_FINDING_ERROR, BITCASK_FINDING_UNREADABLE, k->patient.first_unreadable, k->patient.unreadable,
                       "%" PRIu64 " bytes from here on cannot be read: %s", k->patient.unreadable, strerror(k->patient.error));
    }
    r->bytes = r->walk.end;
    return result;
}

int bc_verify_file(struct bc_verify_common *common, uint32_t index, struct bc_file_report *r)
{
    struct checking k = {.common = common, .r = r, .index = index, .fd = -1};
    r->mark = r->listed.end;
    int result = BITCASK_OK;
    if (open_it(&k)) {
        result = check_opened(&k);
        common->dir->io->close(common->dir->io->ctx, k.fd);
    }
    atomic_fetch_add_explicit(&common->bytes, r->listed.end - BC_MIN(r->shown, r->listed.end), memory_order_relaxed);
    if (result == BITCASK_OK && r->findings.no_memory)
        result = bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to keep what was found");
    return result;
}
