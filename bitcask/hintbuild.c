/* Writing a hint file: a first scan finds each key's last operation, a second one writes those. */
#include <stdatomic.h>
#include <string.h>

#include "bitcask/datafile.h"
#include "bitcask/error.h"
#include "bitcask/hash.h"
#include "bitcask/hintfile.h"
#include "bitcask/hintwrite.h"
#include "bitcask/keydir_memory.h"
#include "bitcask/scan.h"

struct seen {
    uint32_t tag;    /* of the key's hash */
    uint32_t offset; /* of its last record so far, in units of 8 bytes; 0: empty, as no record starts there */
};

struct builder {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_keydir_memory memory; /* of table and last: large for a moment, then it goes back to the system, not to malloc */
    const _Atomic(bool) *stop;
    struct bc_file_name file;
    uint64_t end;
    int fd;
    struct bc_hash_secret secret;
    struct seen *table;
    size_t capacity, used; /* capacity: a power of two */
    uint8_t *last;         /* a bit per 8 bytes of the data file: the record there is its key's last */
    uint64_t min_sequence, max_sequence;
    struct bc_hint_writer out;
};

static uint64_t table_bytes(size_t capacity)
{
    return bc_memory_round(capacity * sizeof(struct seen));
}

static uint64_t last_bytes(const struct builder *b)
{
    return bc_memory_round(b->end / 64 + 1);
}

/* Memory that will be touched all over, by reading first: page by page each of the two would stop all threads of the process.
 */
static void *new_block(const struct builder *b, uint64_t bytes)
{
    void *block = bc_memory_new(&b->memory, bytes);
    if (block != NULL)
        bc_memory_populate(&b->memory, bytes, block, bytes);
    return block;
}

static int no_memory(void)
{
    return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to build a hint file");
}

static bool same_key(const struct builder *b, uint32_t offset8, const void *key, size_t key_size, char *scratch,
                     uint64_t *ret_sequence, bool *ret_same)
{
    const struct bc_io *io = b->dir->io;
    struct bc_record r;
    size_t got, head = BC_RECORD_HEADER + BC_RECORD_EXPIRY;
    if (io->read(io->ctx, b->fd, (uint64_t)offset8 * 8, scratch, head + key_size, &got) != 0)
        return false;
    *ret_same = got >= BC_RECORD_HEADER && bc_record_peek(&r, scratch, got) && r.key_size == key_size &&
                got >= bc_record_head_size(&r) + key_size && memcmp(scratch + bc_record_head_size(&r), key, key_size) == 0;
    if (*ret_same)
        *ret_sequence = r.sequence;
    return true;
}

static int grow(struct builder *b)
{
    size_t capacity = b->capacity * 2;
    struct seen *table = new_block(b, table_bytes(capacity));
    if (table == NULL)
        return no_memory();
    for (size_t i = 0; i < b->capacity; i++) {
        if (b->table[i].offset == 0)
            continue;
        size_t at = b->table[i].tag & (capacity - 1);
        while (table[at].offset != 0)
            at = (at + 1) & (capacity - 1);
        table[at] = b->table[i];
    }
    bc_memory_free(&b->memory, b->table, table_bytes(b->capacity));
    b->table = table;
    b->capacity = capacity;
    return BITCASK_OK;
}

static void set_last(struct builder *b, uint32_t offset8, bool is_last)
{
    uint8_t bit = (uint8_t)(1U << (offset8 % 8));
    if (is_last)
        b->last[offset8 / 8] |= bit;
    else
        b->last[offset8 / 8] &= (uint8_t)~bit;
}

static int note_key(struct builder *b, const struct bc_scan *s, char *scratch)
{
    if (b->used * 4 >= b->capacity * 3 && grow(b) != BITCASK_OK)
        return BITCASK_NO_MEMORY;
    uint32_t tag = (uint32_t)bc_hash(&b->secret, s->key, s->record.key_size);
    uint32_t offset8 = (uint32_t)(s->offset / 8);
    size_t at = tag & (b->capacity - 1);
    for (; b->table[at].offset != 0; at = (at + 1) & (b->capacity - 1)) {
        if (b->table[at].tag != tag)
            continue;
        bool same;
        uint64_t sequence = 0;
        if (!same_key(b, b->table[at].offset, s->key, s->record.key_size, scratch, &sequence, &same))
            return bc_fail(BITCASK_IO, 0, NULL, 0, "cannot read a key again while building a hint file");
        /* The records of a merge's output stand in any order. */
        if (same && sequence > s->record.sequence)
            return BITCASK_OK;
        if (same)
            break;
    }
    if (b->table[at].offset == 0)
        b->used++;
    else
        set_last(b, b->table[at].offset, false);
    b->table[at] = (struct seen){tag, offset8};
    set_last(b, offset8, true);
    return BITCASK_OK;
}

static int put_entry(struct builder *b, const struct bc_scan *s)
{
    struct bc_hint_entry e = {.sequence = s->record.sequence,
                              .offset = s->offset,
                              .expire_at_ms = s->record.expire_at_ms,
                              .value_size = s->record.value_size,
                              .key_size = s->record.key_size,
                              .type = s->record.type,
                              .flags = s->record.flags,
                              .key = s->key};
    return bc_hint_writer_put(&b->out, &e);
}

/* Both passes: the first notes, the second writes. */
static int pass(struct builder *b, bool writing)
{
    struct bc_scan s;
    char *scratch = writing ? NULL : bc_alloc(b->allocator, BC_RECORD_HEADER + BC_RECORD_EXPIRY + BC_KEY_MAX);
    if (!writing && scratch == NULL)
        return no_memory();
    int result = bc_scan_init(&s, b->dir->io, b->allocator, b->fd, &b->file, BC_DATA_START, b->end);
    if (result != BITCASK_OK) {
        bc_free(b->allocator, scratch);
        return result;
    }
    enum bc_scan_result scanned = BC_SCAN_END;
    while (result == BITCASK_OK && (scanned = bc_scan_next(&s)) == BC_SCAN_RECORD) {
        if (!s.value_ok) {
            scanned = BC_SCAN_BAD;
            break;
        }
        if (b->stop != NULL && atomic_load_explicit(b->stop, memory_order_relaxed))
            result = bc_fail(BITCASK_CANCELLED, 0, NULL, 0, "cancelled");
        if (s.record.type != BC_RECORD_PUT && s.record.type != BC_RECORD_TOMBSTONE)
            continue;
        uint32_t offset8 = (uint32_t)(s.offset / 8);
        if (!writing && result == BITCASK_OK) {
            b->min_sequence = b->min_sequence == 0 ? s.record.sequence : BC_MIN(b->min_sequence, s.record.sequence);
            b->max_sequence = BC_MAX(b->max_sequence, s.record.sequence);
            result = note_key(b, &s, scratch);
        } else if (result == BITCASK_OK && (b->last[offset8 / 8] & (1U << (offset8 % 8))) != 0) {
            result = put_entry(b, &s);
        }
    }
    if (result == BITCASK_OK && scanned == BC_SCAN_FAILED)
        result = bitcask_last_error()->result;
    if (result == BITCASK_OK && scanned == BC_SCAN_BAD) {
        char name[BC_NAME_SIZE];
        bc_data_name(name, b->file.id);
        result = bc_fail(BITCASK_CORRUPT, 0, name, s.next, "%s: damaged at byte %llu; no hint file is made of it", name,
                         (unsigned long long)s.next);
    }
    bc_scan_free(&s);
    bc_free(b->allocator, scratch);
    return result;
}

static int build(struct builder *b)
{
    const struct bc_io *io = b->dir->io;
    int error = io->random(io->ctx, &b->secret, sizeof b->secret);
    if (error != 0)
        return bc_fail_io(error, NULL, "no random bytes");
    b->capacity = 1024;
    b->table = new_block(b, table_bytes(b->capacity));
    b->last = new_block(b, last_bytes(b));
    if (b->table == NULL || b->last == NULL)
        return no_memory();
    int result = pass(b, false);
    if (result != BITCASK_OK)
        return result;
    result = bc_hint_writer_begin(&b->out, b->dir, b->allocator, &b->file);
    if (result == BITCASK_OK)
        result = pass(b, true);
    if (result == BITCASK_OK)
        result = bc_hint_writer_finish(&b->out, b->end, b->min_sequence, b->max_sequence);
    bc_hint_writer_end(&b->out);
    return result;
}

int bc_hint_build(const struct bc_directory *dir, const bitcask_allocator *a, const struct bc_uuid *store,
                  const struct bc_file_name *file, uint64_t end, const _Atomic(bool) *stop)
{
    struct builder b = {.dir = dir, .allocator = a, .stop = stop, .file = *file, .end = end, .fd = -1};
    struct bc_io_stat st;
    int result = bc_datafile_open(dir, store, file, 0, &b.fd, &st);
    if (result != BITCASK_OK)
        return result;
    bc_memory_init(&b.memory, a, dir->io, 1);
    result = build(&b);
    dir->io->close(dir->io->ctx, b.fd);
    bc_memory_free(&b.memory, b.table, table_bytes(b.capacity));
    bc_memory_free(&b.memory, b.last, last_bytes(&b));
    return result;
}
