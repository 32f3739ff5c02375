#include "bitcask/verify_hint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/crc.h"
#include "bitcask/error.h"

static void warn(struct bc_hint_check *c, uint64_t offset, const char *what)
{
    const struct bc_finding f = {.severity = BITCASK_FINDING_WARNING, .code = BITCASK_FINDING_HINT, .offset = offset};
    struct bc_finding named = f;
    memcpy(named.file, c->name, sizeof named.file);
    bc_findings_add(c->findings, &named, "%s; it is a cache: nothing is lost", what);
}

static void untrue(struct bc_hint_check *c, const struct bc_hint_entry *e, const char *what)
{
    struct bc_finding f = {.severity = BITCASK_FINDING_ERROR,
                           .code = BITCASK_FINDING_HINT,
                           .sequence = e->sequence,
                           .key = e->key,
                           .key_size = e->key_size};
    memcpy(f.file, c->name, sizeof f.file);
    c->truthful = false;
    bc_findings_add(c->findings, &f, "intact, but untrue: %s (record at byte %" PRIu64 " of the data file)", what, e->offset);
}

/* ---- reading ---- */

static void *no_memory(void)
{
    (void)bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to check a hint file");
    return NULL;
}

/* A hint is smaller than its data file, but for block headers of blocks with one entry: a larger one is none of ours, and its
 * size is not to be believed. */
static bool read_all(struct bc_hint_check *c, int fd, char **ret, size_t *ret_size, int *ret_result)
{
    const struct bc_io *io = c->dir->io;
    struct bc_io_stat st;
    int error = io->stat(io->ctx, fd, &st);
    size_t got = 0;
    if (error == 0 && (st.size < BC_HINT_HEADER || st.size > 2 * c->end)) {
        warn(c, 0,
             st.size < BC_HINT_HEADER ? "the hint file ends within its header" : "the hint file is larger than it can be");
        return false;
    }
    char *bytes = error == 0 ? bc_alloc(c->allocator, (size_t)st.size) : NULL;
    if (error == 0 && bytes == NULL) {
        no_memory();
        *ret_result = BITCASK_NO_MEMORY;
        return false;
    }
    if (error == 0)
        error = io->read(io->ctx, fd, 0, bytes, (size_t)st.size, &got);
    if (error != 0 || got < BC_HINT_HEADER) {
        warn(c, 0, error != 0 ? "the hint file cannot be read" : "the hint file ends within its header");
        bc_free(c->allocator, bytes);
        return false;
    }
    *ret = bytes;
    *ret_size = got;
    return true;
}

static bool header_ok(struct bc_hint_check *c, const char *bytes, size_t size)
{
    struct bc_hint_header *h = &c->header;
    switch (bc_hint_header_decode(h, bytes)) {
    case BC_FORMAT_OK:
        break;
    case BC_FORMAT_UNSUPPORTED: /* of a newer version: not ours to judge */
        return false;
    case BC_FORMAT_BAD:
    default:
        warn(c, 0, "the header of the hint file is damaged");
        return false;
    }
    if (h->data.id != c->file.id || h->data.nonce != c->file.nonce) {
        warn(c, 0, "the hint file belongs to another data file");
        return false;
    }
    if (h->data_end != c->end) {
        /* Of an earlier end, which is no damage. */
        c->present = false;
        return false;
    }
    if (h->size != size) {
        warn(c, BC_MIN(h->size, (uint64_t)size), "the hint file has not the size that it should have");
        return false;
    }
    return true;
}

/* Checks the entries of one block and moves them to the end of those before it. */
static bool take_block(struct bc_hint_check *c, const char *payload, uint32_t size, uint32_t count, uint64_t *last_offset,
                       bool *in_order, uint64_t *tombstones)
{
    uint32_t left = size;
    for (uint32_t i = 0; i < count; i++) {
        struct bc_hint_entry e;
        size_t took = bc_hint_entry_decode(&e, payload + (size - left), left, c->end);
        if (took == 0)
            return false;
        left -= (uint32_t)took;
        *in_order = *in_order && e.offset > *last_offset;
        *last_offset = e.offset;
        *tombstones += e.type == BC_RECORD_TOMBSTONE;
    }
    if (left != 0)
        return false;
    memmove(c->entries + c->size, payload, size);
    c->size += size;
    c->count += count;
    return true;
}

static bool body_ok(struct bc_hint_check *c, size_t size, bool *ret_in_order)
{
    size_t at = BC_HINT_HEADER;
    uint64_t last = 0, tombstones = 0;
    uint32_t crc = bc_crc32(0, c->entries + at, size - at);
    *ret_in_order = true;
    for (uint64_t block = 0; block < c->header.blocks; block++) {
        uint32_t payload, count;
        char head[BC_HINT_BLOCK_HEADER];
        if (size - at < sizeof head)
            return warn(c, at, "the hint file ends too early"), false;
        memcpy(head, c->entries + at, sizeof head);
        bc_hint_block_peek(head, &payload, &count);
        if (payload > size - at - sizeof head || !bc_hint_block_ok(head, c->file.nonce, block, c->entries + at + sizeof head))
            return warn(c, at, "a block of the hint file is damaged"), false;
        if (!take_block(c, c->entries + at + sizeof head, payload, count, &last, ret_in_order, &tombstones))
            return warn(c, at, "an entry of the hint file breaks a rule of the format"), false;
        at += sizeof head + payload;
    }
    if (at != size || crc != c->header.body_crc)
        return warn(c, at, "the hint file's blocks are not those of its header"), false;
    if (c->count != c->header.entries || tombstones != c->header.tombstones)
        return warn(c, 0, "the counters of the hint file are wrong"), false;
    return true;
}

struct place {
    uint64_t offset, at;
};

static int by_offset(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static bool sort_entries(struct bc_hint_check *c)
{
    struct place *places = c->count == 0 ? NULL : bc_alloc_zero(c->allocator, (size_t)c->count, sizeof *places);
    if (places == NULL)
        return c->count == 0;
    size_t at = 0;
    for (uint64_t i = 0; i < c->count; i++) {
        struct bc_hint_entry e;
        size_t took = bc_hint_entry_decode(&e, c->entries + at, c->size - at, c->end);
        places[i] = (struct place){e.offset, at};
        at += took;
    }
    qsort(places, (size_t)c->count, sizeof *places, by_offset);
    c->places = (uint64_t *)places;
    for (uint64_t i = 0; i < c->count; i++)
        c->places[i] = places[i].at;
    return true;
}

void bc_hint_check_entry(const struct bc_hint_check *c, uint64_t i, size_t *cursor, struct bc_hint_entry *ret)
{
    size_t at = c->places != NULL ? (size_t)c->places[i] : *cursor;
    *cursor = at + bc_hint_entry_decode(ret, c->entries + at, c->size - at, c->end);
}

static void advance(struct bc_hint_check *c)
{
    c->has_next = c->taken < c->count;
    if (c->has_next)
        bc_hint_check_entry(c, c->taken++, &c->cursor, &c->next);
}

int bc_hint_check_start(struct bc_hint_check *c, const struct bc_directory *dir, const bitcask_allocator *a,
                        struct bc_findings *findings, const struct bc_file_name *file, uint64_t end)
{
    const struct bc_io *io = dir->io;
    *c = (struct bc_hint_check){.dir = dir, .allocator = a, .findings = findings, .file = *file, .end = end, .truthful = true};
    bc_hint_name(c->name, file->id);
    int fd, result = BITCASK_OK;
    int error = io->open(io->ctx, dir->fd, c->name, 0, 0, &fd);
    c->present = error != ENOENT;
    if (error != 0 && c->present)
        warn(c, 0, "the hint file cannot be opened, or is no regular file");
    if (error != 0)
        return BITCASK_OK;
    size_t size = 0;
    bool in_order;
    c->usable = read_all(c, fd, &c->entries, &size, &result);
    io->close(io->ctx, fd);
    c->usable = c->usable && header_ok(c, c->entries, size) && body_ok(c, size, &in_order);
    if (!c->usable)
        return result;
    if (!in_order && !sort_entries(c)) {
        no_memory();
        return BITCASK_NO_MEMORY;
    }
    error = io->random(io->ctx, &c->secret, sizeof c->secret);
    if (error != 0)
        return bc_fail_io(error, NULL, "no random bytes");
    advance(c);
    return BITCASK_OK;
}

void bc_hint_check_free(struct bc_hint_check *c)
{
    bc_free(c->allocator, c->entries);
    bc_free(c->allocator, c->places);
    bc_free(c->allocator, c->unhinted);
    c->entries = NULL;
    c->places = NULL;
    c->unhinted = NULL;
}

/* ---- records without an entry ---- */

static struct bc_unhinted *find(struct bc_unhinted *table, size_t capacity, uint64_t hash)
{
    size_t at = (size_t)hash & (capacity - 1);
    while (table[at].offset != 0 && table[at].hash != hash)
        at = (at + 1) & (capacity - 1);
    return &table[at];
}

static bool grow(struct bc_hint_check *c)
{
    size_t capacity = c->unhinted_capacity == 0 ? 1024 : c->unhinted_capacity * 2;
    struct bc_unhinted *table = bc_alloc_zero(c->allocator, capacity, sizeof *table);
    if (table == NULL)
        return false;
    for (size_t i = 0; i < c->unhinted_capacity; i++)
        if (c->unhinted[i].offset != 0)
            *find(table, capacity, c->unhinted[i].hash) = c->unhinted[i];
    bc_free(c->allocator, c->unhinted);
    c->unhinted = table;
    c->unhinted_capacity = capacity;
    return true;
}

static int note_unhinted(struct bc_hint_check *c, const struct bc_scan *s)
{
    if (c->unhinted_count * 4 >= c->unhinted_capacity * 3 && !grow(c)) {
        no_memory();
        return BITCASK_NO_MEMORY;
    }
    uint64_t hash = bc_hash(&c->secret, s->key, s->record.key_size);
    struct bc_unhinted *u = find(c->unhinted, c->unhinted_capacity, hash);
    c->unhinted_count += u->offset == 0;
    c->pending = true;
    if (s->record.sequence > u->sequence)
        *u = (struct bc_unhinted){hash, s->record.sequence, s->offset};
    return BITCASK_OK;
}

/* ---- beside the walk ---- */

/* An entry for which no record was found. */
static void orphan(struct bc_hint_check *c, uint64_t after)
{
    const struct bc_hint_entry *e = &c->next;
    bool possible = !c->ordered || (e->sequence > c->before && e->sequence < after);
    if (e->offset < c->gap_start || e->offset >= c->gap_end || !possible) {
        untrue(c, e, "there is no such record");
        return;
    }
    struct bc_finding f = {.severity = BITCASK_FINDING_ERROR,
                           .code = BITCASK_FINDING_RECORD,
                           .offset = e->offset,
                           .sequence = e->sequence,
                           .key = e->key,
                           .key_size = e->key_size};
    bc_data_name(f.file, c->file.id);
    bc_findings_add(c->findings, &f, "the record of this key is damaged (its hint file knows whose it is)");
}

static bool same(const struct bc_hint_entry *e, const struct bc_scan *s)
{
    const struct bc_record *r = &s->record;
    return e->sequence == r->sequence && e->value_size == r->value_size && e->key_size == r->key_size && e->type == r->type &&
           e->flags == r->flags && e->expire_at_ms == r->expire_at_ms && memcmp(e->key, s->key, r->key_size) == 0;
}

int bc_hint_check_record(struct bc_hint_check *c, const struct bc_scan *s)
{
    if (!c->usable)
        return BITCASK_OK;
    for (; c->has_next && c->next.offset < s->offset; advance(c))
        orphan(c, s->record.sequence);
    c->before = s->record.sequence;
    if (!c->has_next || c->next.offset != s->offset)
        return note_unhinted(c, s);
    while (c->has_next && c->next.offset == s->offset) {
        if (!same(&c->next, s))
            untrue(c, &c->next, "the record is another one");
        advance(c);
    }
    return BITCASK_OK;
}

void bc_hint_check_gap(struct bc_hint_check *c, uint64_t offset, uint64_t size)
{
    for (; c->usable && c->has_next && c->next.offset < offset; advance(c))
        orphan(c, UINT64_MAX);
    c->gap_start = offset;
    c->gap_end = offset + size;
}

/* Every entry is an answer to the records of its key with lower sequences. */
static void settle_unhinted(struct bc_hint_check *c)
{
    size_t cursor = 0;
    for (uint64_t i = 0; i < c->count; i++) {
        struct bc_hint_entry e;
        bc_hint_check_entry(c, i, &cursor, &e);
        struct bc_unhinted *u = find(c->unhinted, c->unhinted_capacity, bc_hash(&c->secret, e.key, e.key_size));
        if (u->offset != 0 && e.sequence >= u->sequence)
            u->sequence = 0;
    }
    for (size_t i = 0; i < c->unhinted_capacity; i++) {
        if (c->unhinted[i].sequence == 0)
            continue;
        struct bc_finding f = {
            .severity = BITCASK_FINDING_ERROR, .code = BITCASK_FINDING_HINT, .sequence = c->unhinted[i].sequence};
        memcpy(f.file, c->name, sizeof f.file);
        c->truthful = false;
        bc_findings_add(c->findings, &f, "intact, but untrue: it does not have the record at byte %" PRIu64 " of the data file",
                        c->unhinted[i].offset);
    }
}

void bc_hint_check_finish(struct bc_hint_check *c, const struct bc_walk *w, bool whole)
{
    if (!c->usable)
        return;
    for (; c->has_next; advance(c))
        orphan(c, UINT64_MAX);
    if (c->pending)
        settle_unhinted(c);
    if (whole && (c->header.min_sequence != w->min_sequence || c->header.max_sequence != w->max_sequence)) {
        struct bc_finding f = {.severity = BITCASK_FINDING_ERROR, .code = BITCASK_FINDING_HINT};
        memcpy(f.file, c->name, sizeof f.file);
        c->truthful = false;
        bc_findings_add(c->findings, &f,
                        "intact, but untrue: sequences %" PRIu64 " to %" PRIu64 ", not %" PRIu64 " to %" PRIu64,
                        c->header.min_sequence, c->header.max_sequence, w->min_sequence, w->max_sequence);
    }
}
