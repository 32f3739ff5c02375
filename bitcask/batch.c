/* Batches: built in memory, appended as one frame with its records behind it, published as one step.
 *
 * Crash order: the records first, the frame last; until the frame's header is there the log ends before it. */
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->indexed = false)
#include <uthash.h>

#include "bitcask/db.h"
#include "bitcask/error.h"

#define BATCH_BYTES_MAX (1ULL << 30)

struct batch_operation {
    struct bc_operation op;         /* key and value lie behind the struct */
    bool dead;                      /* a later operation on the key takes its place */
    bool indexed;                   /* the first operation on its key stands in the index */
    struct batch_operation *newest; /* of an indexed one: the last operation on the key */
    UT_hash_handle hh;
    char bytes[];
};

struct bitcask_batch {
    struct batch_operation **operations;
    size_t count, capacity;
    uint64_t bytes; /* upper bound of what it takes on disk */
    struct batch_operation *index;
};

int bitcask_batch_new(bitcask_batch **ret_batch)
{
    bitcask_batch *b = calloc(1, sizeof *b);
    if (b == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a batch");
    *ret_batch = b;
    return BITCASK_OK;
}

void bitcask_batch_clear(bitcask_batch *b)
{
    HASH_CLEAR(hh, b->index);
    for (size_t i = 0; i < b->count; i++)
        free(b->operations[i]);
    b->count = 0;
    b->bytes = 0;
}

void bitcask_batch_free(bitcask_batch *b)
{
    if (b == NULL)
        return;
    bitcask_batch_clear(b);
    free(b->operations);
    free(b);
}

static uint64_t footprint_of(const struct bc_operation *op)
{
    struct bc_record r = {.type = op->type,
                          .flags = op->expire_at_ms != 0 ? BC_RECORD_EXPIRES : 0,
                          .key_size = (uint16_t)op->key_size,
                          .value_size = (uint32_t)op->value_size};
    return bc_record_footprint(&r);
}

static struct batch_operation *copy_operation(const struct bc_operation *op)
{
    struct batch_operation *o = malloc(sizeof *o + op->key_size + op->value_size);
    if (o == NULL)
        return NULL;
    memset(o, 0, sizeof *o);
    o->op = *op;
    memcpy(o->bytes, op->key, op->key_size);
    if (op->value_size != 0)
        memcpy(o->bytes + op->key_size, op->value, op->value_size);
    o->op.key = o->bytes;
    o->op.value = o->bytes + op->key_size;
    o->newest = o;
    return o;
}

/* The index keeps the first operation on each key and says there which one is the newest: nothing is ever taken out, so nothing
 * can fail halfway. */
static bool index_operation(bitcask_batch *b, struct batch_operation *o)
{
    struct batch_operation *first;
    HASH_FIND(hh, b->index, o->op.key, o->op.key_size, first);
    if (first != NULL) {
        first->newest->dead = true;
        first->newest = o;
        return true;
    }
    o->indexed = true;
    HASH_ADD_KEYPTR(hh, b->index, o->op.key, o->op.key_size, o);
    return o->indexed;
}

static int add(bitcask_batch *b, const struct bc_operation *op)
{
    uint64_t bytes = footprint_of(op);
    if (b->bytes + bytes > BATCH_BYTES_MAX)
        return bc_fail(BITCASK_TOO_LARGE, 0, NULL, 0, "the batch would be larger than 1 GiB");
    if (b->count == b->capacity) {
        size_t capacity = b->capacity * 2 + 16;
        struct batch_operation **operations = realloc(b->operations, capacity * sizeof *operations); /* NOLINT: of pointers */
        if (operations == NULL)
            return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a larger batch");
        b->operations = operations;
        b->capacity = capacity;
    }
    struct batch_operation *o = copy_operation(op);
    if (o == NULL || !index_operation(b, o)) {
        free(o);
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for an operation of a batch");
    }
    b->operations[b->count++] = o;
    b->bytes += bytes;
    return BITCASK_OK;
}

int bitcask_batch_put(bitcask_batch *b, const void *key, size_t key_size, const void *value, size_t value_size,
                      int64_t expire_at_ms)
{
    int result = bc_key_check(key, key_size);
    if (result == BITCASK_OK)
        result = bc_value_check(value, value_size);
    if (result == BITCASK_OK)
        result = bc_expiry_check(expire_at_ms);
    struct bc_operation op = {.type = BC_RECORD_PUT,
                              .key = key,
                              .key_size = key_size,
                              .value = value,
                              .value_size = value_size,
                              .expire_at_ms = expire_at_ms};
    return result == BITCASK_OK ? add(b, &op) : result;
}

int bitcask_batch_delete(bitcask_batch *b, const void *key, size_t key_size)
{
    int result = bc_key_check(key, key_size);
    struct bc_operation op = {.type = BC_RECORD_TOMBSTONE, .key = key, .key_size = key_size};
    return result == BITCASK_OK ? add(b, &op) : result;
}

/* ---- application ---- */

/* One operation of a batch that is being applied. */
struct step {
    const struct bc_operation *op;
    uint64_t hash;
    uint32_t shard;
    struct bc_entry entry;
};

struct application {
    bitcask *db;
    struct step *steps; /* sorted by shard */
    size_t count;
};

static int by_shard(const void *a, const void *b)
{
    const struct step *x = a, *y = b;
    return (x->shard > y->shard) - (x->shard < y->shard);
}

static int collect(bitcask *db, const bitcask_batch *b, struct application *ret)
{
    struct step *steps = bc_alloc(&db->allocator, b->count * sizeof *steps);
    if (steps == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to apply a batch of %zu operations", b->count);
    size_t count = 0;
    for (size_t i = 0; i < b->count; i++) {
        if (b->operations[i]->dead)
            continue;
        const struct bc_operation *op = &b->operations[i]->op;
        uint64_t hash = bc_keydir_hash(db->keydir, op->key, op->key_size);
        steps[count++] = (struct step){.op = op, .hash = hash, .shard = bc_keydir_shard(db->keydir, hash)};
    }
    qsort(steps, count, sizeof *steps, by_shard);
    *ret = (struct application){db, steps, count};
    return BITCASK_OK;
}

/* Calls fn once for each shard of the batch, ascending. */
static void each_shard(const struct application *a, void (*fn)(struct bc_keydir *, uint32_t))
{
    for (size_t i = 0; i < a->count; i++)
        if (i == 0 || a->steps[i].shard != a->steps[i - 1].shard)
            fn(a->db->keydir, a->steps[i].shard);
}

static int reserve_keydir(const struct application *a)
{
    int result = BITCASK_OK;
    for (size_t i = 0, end; i < a->count && result == BITCASK_OK; i = end) {
        uint32_t count = 0;
        size_t bytes = 0;
        for (end = i; end < a->count && a->steps[end].shard == a->steps[i].shard; end++) {
            if (a->steps[end].op->type != BC_RECORD_PUT)
                continue; /* takes no room, but the shard is reserved for its change too */
            count++;
            bytes += a->steps[end].op->key_size;
        }
        result = bc_keydir_reserve(a->db->keydir, a->steps[i].hash, count, bytes);
    }
    return result;
}

/* Under the shards' locks. A delete of an absent key is no operation. */
static void drop_idle(struct application *a)
{
    bitcask *db = a->db;
    int64_t now = bc_clock_now(&db->clock);
    for (size_t i = 0; i < a->count; i++) {
        struct step *s = &a->steps[i];
        struct bc_cursor c;
        if (s->op->type != BC_RECORD_TOMBSTONE)
            continue;
        bc_keydir_seek(db->keydir, s->hash, s->op->key, s->op->key_size, &c);
        if (!c.found || (c.expire_at_ms != 0 && c.expire_at_ms <= now))
            s->op = NULL;
    }
}

/* Under wal and the shards' locks: all records, then the frame. */
static int append(struct application *a, uint64_t *ret_last)
{
    struct bc_log *log = &a->db->log;
    uint32_t operations = 0;
    for (size_t i = 0; i < a->count; i++)
        operations += a->steps[i].op != NULL;
    uint64_t first = bc_log_sequence(log), last = first;
    *ret_last = first - 1;
    if (operations == 0)
        return BITCASK_OK;
    bool framed = operations > 1;
    struct bc_record frame = {.type = BC_RECORD_BATCH, .value_size = BC_BATCH_VALUE, .sequence = first};
    uint64_t start = log->tail + (framed ? bc_record_footprint(&frame) : 0), at = start;
    int result = BITCASK_OK;
    for (size_t i = 0; i < a->count && result == BITCASK_OK; i++) {
        struct step *s = &a->steps[i];
        if (s->op == NULL)
            continue;
        struct bc_record r = {.type = s->op->type,
                              .flags = s->op->expire_at_ms != 0 ? BC_RECORD_EXPIRES : 0,
                              .key_size = (uint16_t)s->op->key_size,
                              .value_size = (uint32_t)s->op->value_size,
                              .expire_at_ms = s->op->expire_at_ms,
                              .sequence = framed ? ++last : first};
        result = bc_log_place(log, at, &r, s->op->key, s->op->value);
        s->entry = (struct bc_entry){.file = log->active->index, .offset = at, .footprint = bc_record_footprint(&r)};
        at += s->entry.footprint;
    }
    if (result == BITCASK_OK && framed) {
        char value[BC_BATCH_VALUE];
        bc_batch_encode(value, operations, at - start);
        result = bc_log_place(log, log->tail, &frame, "", value);
    }
    if (result != BITCASK_OK) {
        bc_log_roll_back(log, last);
        return result;
    }
    bc_log_advance(log, at, last);
    *ret_last = last;
    return BITCASK_OK;
}

/* No reader sees one of these shards before all of them are done. */
static void publish(const struct application *a)
{
    each_shard(a, bc_keydir_hold);
    for (size_t i = 0; i < a->count; i++) {
        const struct step *s = &a->steps[i];
        struct bc_cursor c;
        if (s->op == NULL)
            continue;
        bc_keydir_seek(a->db->keydir, s->hash, s->op->key, s->op->key_size, &c);
        bc_publish(a->db, &c, s->op, &s->entry);
    }
    each_shard(a, bc_keydir_release);
}

static int apply(struct application *a, uint64_t bytes, bool sync)
{
    struct bc_log *log = &a->db->log;
    uint64_t last = 0;
    bc_log_lock(log);
    struct bc_record frame = {.type = BC_RECORD_BATCH, .value_size = BC_BATCH_VALUE};
    int result = bc_log_reserve(log, bytes + bc_record_footprint(&frame), a->count + 1, sync ? BC_RESERVE_SYNC : 0);
    if (result == BITCASK_OK)
        result = reserve_keydir(a);
    if (result == BITCASK_OK) {
        each_shard(a, bc_keydir_lock);
        drop_idle(a);
        result = append(a, &last);
        if (result == BITCASK_OK)
            publish(a);
        each_shard(a, bc_keydir_unlock);
    }
    bc_log_unlock(log);
    return result == BITCASK_OK && sync ? bc_log_sync(log, last) : result;
}

static int write_batch(bitcask *db, bitcask_batch *b, uint32_t flags)
{
    int result = bc_db_writable(db);
    if (result != BITCASK_OK || b->count == 0)
        return result;
    struct application a = {0};
    result = collect(db, b, &a);
    if (result != BITCASK_OK)
        return result;
    bool sync = (flags & BITCASK_PUT_SYNC) != 0 || bc_db_syncs_always(db);
    result = apply(&a, b->bytes, sync);
    bc_free(&db->allocator, a.steps);
    bc_health_tell(&db->health);
    bc_upkeep_inline(&db->upkeep);
    return result;
}

int bitcask_write(bitcask *db, bitcask_batch *b, uint32_t flags)
{
    if ((flags & ~BITCASK_PUT_SYNC) != 0)
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "write takes no flag but BITCASK_PUT_SYNC");
    unsigned call = bc_pins_call(db->pins);
    int result = write_batch(db, b, flags);
    bc_pins_return(db->pins, call);
    return result;
}
