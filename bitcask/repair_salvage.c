#include "bitcask/repair_salvage.h"

#include <inttypes.h>
#include <string.h>

#include "bitcask/crc.h"
#include "bitcask/datafile.h"
#include "bitcask/error.h"
#include "bitcask/verify_hint.h"

#define PIECE (1U << 20)

struct output {
    struct bc_salvage *s;
    const struct bc_io *io;
    struct bc_patient_io patient;
    const struct bc_file_report *from;
    struct bc_findings *findings;
    int in, out;
    uint64_t at; /* where the next record goes */
    char *piece; /* PIECE bytes */
    char *head;  /* header, expiry, key */
    char name[BC_NAME_SIZE];
    uint64_t operations, min, max;
};

static int write_failed(const struct output *o, int error)
{
    return bc_fail_io(error, o->name, "cannot write what was salvaged");
}

/* The value goes first, piece by piece, checked and given its new CRC while it is in memory; then the head that vouches for it.
 */
static int copy_value(struct output *o, const struct bc_scan *s, uint64_t to, uint32_t *ret_crc)
{
    uint32_t old = ~bc_record_seed(o->from->listed.name.nonce, s->offset);
    uint64_t from = s->offset + bc_record_head_size(&s->record) + s->record.key_size;
    *ret_crc = ~bc_record_seed(o->s->made.name.nonce, o->at);
    for (uint64_t left = s->record.value_size; left > 0;) {
        size_t size = (size_t)BC_MIN(left, (uint64_t)PIECE), got;
        int error = o->patient.io.read(&o->patient, o->in, from, o->piece, size, &got);
        if (error != 0 || got < size)
            break;
        old = bc_crc32(old, o->piece, size);
        *ret_crc = bc_crc32(*ret_crc, o->piece, size);
        struct bc_io_slice slice = {o->piece, size};
        error = o->io->write(o->io->ctx, o->out, to, &slice, 1);
        if (error != 0)
            return write_failed(o, error);
        from += size;
        to += size;
        left -= size;
    }
    if (old == s->record.value_crc || s->record.value_size == 0)
        return BITCASK_OK;
    return bc_fail(BITCASK_CORRUPT, 0, o->from->name, s->offset, "%s: changed while it was repaired, at byte %" PRIu64,
                   o->from->name, s->offset);
}

static int put_head(struct output *o, const struct bc_record *r, const void *key, uint32_t value_crc)
{
    static const char zeros[4096];
    size_t head = bc_record_head_size(r) + r->key_size;
    uint64_t footprint = bc_record_footprint(r), padding = footprint - head - r->value_size;
    memcpy(o->head + bc_record_head_size(r), key, r->key_size);
    bc_record_encode_head(o->head, r, bc_record_seed(o->s->made.name.nonce, o->at), o->head + bc_record_head_size(r),
                          value_crc);
    struct bc_io_slice slice = {o->head, head};
    int error = o->io->write(o->io->ctx, o->out, o->at, &slice, 1);
    uint64_t to = o->at + head + r->value_size;
    while (error == 0 && padding > 0) {
        struct bc_io_slice pad = {zeros, (size_t)BC_MIN(padding, (uint64_t)sizeof zeros)};
        error = o->io->write(o->io->ctx, o->out, to, &pad, 1);
        to += pad.size;
        padding -= pad.size;
    }
    if (error != 0)
        return write_failed(o, error);
    o->at += footprint;
    o->min = o->operations == 0 ? r->sequence : BC_MIN(o->min, r->sequence);
    o->max = BC_MAX(o->max, r->sequence);
    o->operations++;
    return BITCASK_OK;
}

/* A record with a damaged value becomes a deletion later, by its finding. */
static int copy_record(const struct bc_scan *s, void *arg)
{
    struct output *o = arg;
    uint32_t crc = 0;
    if (!s->value_ok)
        return BITCASK_OK;
    int result = copy_value(o, s, o->at + bc_record_head_size(&s->record) + s->record.key_size, &crc);
    if (result == BITCASK_OK)
        result = put_head(o, &s->record, s->key, crc);
    o->s->copied += result == BITCASK_OK;
    return result;
}

static int put_deletion(struct output *o, uint64_t offset, uint64_t sequence, const void *key, size_t key_size)
{
    const struct bc_record r = {.type = BC_RECORD_TOMBSTONE, .sequence = sequence, .key_size = (uint16_t)key_size};
    struct bc_finding f = {.severity = BITCASK_FINDING_ERROR,
                           .code = BITCASK_FINDING_LOST,
                           .offset = offset,
                           .sequence = sequence,
                           .key = key,
                           .key_size = key_size};
    int result = put_head(o, &r, key, ~bc_record_seed(o->s->made.name.nonce, o->at));
    if (result != BITCASK_OK)
        return result;
    memcpy(f.file, o->from->name, sizeof f.file);
    bc_findings_add(o->findings, &f, "the last value of this key there is lost: it is deleted, so that no older one returns");
    o->s->deleted++;
    return BITCASK_OK;
}

static int put_deletions(struct output *o)
{
    int result = BITCASK_OK;
    for (const struct bc_finding *f = o->from->findings.first; f != NULL && result == BITCASK_OK; f = f->next) {
        bool record = f->code == BITCASK_FINDING_VALUE || f->code == BITCASK_FINDING_RECORD;
        if (record && (o->s->no_deletions || f->key == NULL))
            o->s->lost_bytes += f->size;
        else if (record && f->sequence != 0 && f->sequence < o->s->ceiling)
            result = put_deletion(o, f->offset, f->sequence, f->key, f->key_size);
    }
    return result;
}

/* All that is known of a file that is not there. */
static int put_deletions_by_hint(struct output *o)
{
    struct bc_hint_check hint;
    struct bc_findings ignored;
    const struct bc_manifest_file *listed = &o->from->listed;
    bc_findings_init(&ignored, o->s->allocator);
    int result = bc_hint_check_start(&hint, o->s->dir, o->s->allocator, &ignored, &listed->name, listed->end);
    size_t cursor = 0;
    for (uint64_t i = 0; result == BITCASK_OK && hint.usable && i < hint.count; i++) {
        struct bc_hint_entry e;
        bc_hint_check_entry(&hint, i, &cursor, &e);
        if (e.sequence >= listed->min_sequence && e.sequence <= listed->max_sequence)
            result = put_deletion(o, e.offset, e.sequence, e.key, e.key_size);
    }
    if (result == BITCASK_OK && !hint.usable)
        o->s->lost_bytes += listed->end - BC_DATA_START;
    bc_hint_check_free(&hint);
    bc_findings_free(&ignored);
    return result;
}

static int copy_all(struct output *o, uint64_t end)
{
    int error = o->io->open(o->io->ctx, o->s->dir->fd, o->from->name, 0, 0, &o->in);
    if (error != 0)
        return bc_fail_io(error, o->from->name, "cannot open");
    bc_patient_io_init(&o->patient, o->io, o->from->size);
    end = BC_MIN(end, o->from->size);
    struct bc_walk w = {.io = &o->patient.io,
                        .allocator = o->s->allocator,
                        .fd = o->in,
                        .name = o->from->listed.name,
                        .kind = o->from->listed.kind,
                        .vouched = end,
                        .limit = end,
                        .ceiling = o->s->ceiling,
                        .record = copy_record,
                        .arg = o};
    int result = bc_walk(&w);
    o->io->close(o->io->ctx, o->in);
    return result;
}

static int on_damage(const struct bc_damage *d, void *arg)
{
    (void)d;
    *(bool *)arg = true;
    return BITCASK_OK;
}

/* What was written is read back from the disk before anything relies on it. */
static int read_back(struct output *o)
{
    bool damaged = false;
    struct bc_walk w = {.io = o->io,
                        .allocator = o->s->allocator,
                        .fd = o->out,
                        .name = o->s->made.name,
                        .kind = BC_DATA_KIND_MERGE,
                        .vouched = o->at,
                        .limit = o->at,
                        .ceiling = o->s->ceiling,
                        .damage = on_damage,
                        .arg = &damaged};
    (void)o->io->drop_cache(o->io->ctx, o->out, 0, o->at);
    int result = bc_walk(&w);
    if (result == BITCASK_OK && (damaged || w.operations != o->operations))
        return bc_fail(BITCASK_CORRUPT, 0, o->name, 0, "%s: what was salvaged cannot be read back", o->name);
    return result;
}

static int fill(struct output *o, uint64_t end)
{
    int result = o->from->there ? copy_all(o, end) : o->s->no_deletions ? BITCASK_OK : put_deletions_by_hint(o);
    if (result == BITCASK_OK && o->from->there)
        result = put_deletions(o);
    if (result != BITCASK_OK || o->operations == 0)
        return result;
    int error = o->io->sync(o->io->ctx, o->out);
    if (error != 0)
        return bc_fail_io(error, o->name, "cannot sync what was salvaged");
    result = read_back(o);
    /* The mark says that the file is complete, to who finds it without a MANIFEST. */
    if (result == BITCASK_OK)
        bc_datafile_mark_store(o->s->dir, o->out, NULL, o->s->made.name.nonce, 2, o->at);
    if (result == BITCASK_OK && (error = o->io->sync(o->io->ctx, o->out)) != 0)
        result = bc_fail_io(error, o->name, "cannot sync what was salvaged");
    return result;
}

static int make_file(struct output *o)
{
    struct bc_salvage *s = o->s;
    struct bc_data_header *h = bc_alloc_zero(s->allocator, 1, sizeof *h);
    if (h == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a data file");
    uint64_t size;
    s->made = (struct bc_manifest_file){.name = {.id = s->id}, .state = BC_MANIFEST_SEALED, .kind = BC_DATA_KIND_MERGE};
    int error = o->io->random(o->io->ctx, &s->made.name.nonce, sizeof s->made.name.nonce);
    h->store = s->store;
    h->name = s->made.name;
    h->created_ms = o->io->wall_ms(o->io->ctx);
    h->cleared_below = s->cleared_below;
    h->kind = BC_DATA_KIND_MERGE;
    h->input_count = 1;
    h->inputs[0] = o->from->listed.name;
    int result = error != 0 ? bc_fail_io(error, NULL, "no random bytes") : bc_datafile_create(s->dir, h, 0, &o->out, &size);
    bc_free(s->allocator, h);
    return result;
}

int bc_salvage_file(struct bc_salvage *s, const struct bc_file_report *from, uint64_t end, struct bc_findings *findings)
{
    struct output o = {.s = s, .io = s->dir->io, .from = from, .findings = findings, .at = BC_DATA_START, .out = -1};
    s->copied = s->deleted = s->lost_bytes = 0;
    bc_data_name(o.name, s->id);
    o.piece = bc_alloc(s->allocator, PIECE);
    o.head = bc_alloc(s->allocator, BC_RECORD_HEADER + BC_RECORD_EXPIRY + BC_KEY_MAX);
    int result = o.piece == NULL || o.head == NULL ? bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to salvage records")
                                                   : make_file(&o);
    if (result == BITCASK_OK)
        result = fill(&o, end);
    if (o.out >= 0)
        o.io->close(o.io->ctx, o.out);
    bool empty = result == BITCASK_OK && o.operations == 0;
    if (o.out >= 0 && (result != BITCASK_OK || empty))
        (void)o.io->unlink(o.io->ctx, s->dir->fd, o.name);
    s->made.end = o.at;
    s->made.min_sequence = o.min;
    s->made.max_sequence = o.max;
    if (empty)
        s->made.name.id = 0;
    bc_free(s->allocator, o.piece);
    bc_free(s->allocator, o.head);
    return result;
}
