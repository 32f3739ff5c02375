/* put, delete, touch and sync. Everything that can fail is reserved before the first byte of a record is placed. */
#include <stdlib.h>
#include <string.h>

#include "bitcask/db.h"
#include "bitcask/error.h"

static bool is_expired(bitcask *db, int64_t expire_at_ms)
{
    return expire_at_ms != 0 && expire_at_ms <= bc_clock_now(&db->clock);
}

/* Under wal and the shard's lock. */
static int decide(bitcask *db, struct bc_operation *op, const struct bc_cursor *c)
{
    bool present = c->found && !is_expired(db, c->expire_at_ms);
    if (op->condition == BC_IF_ENTRY) {
        op->moved = !c->found || c->entry.offset != op->expected_offset ||
                    bc_filetable_get(&db->files, c->entry.file)->name.id != op->expected_file;
        if (op->moved)
            return BITCASK_CONDITION;
    }
    if (op->type == BC_RECORD_TOMBSTONE && !present)
        return bc_answer(BITCASK_NOT_FOUND);
    if ((op->condition == BC_IF_ABSENT && present) || (op->condition == BC_IF_PRESENT && !present))
        return bc_answer(BITCASK_CONDITION);
    if (op->keep_ttl)
        op->expire_at_ms = present ? c->expire_at_ms : 0;
    return BITCASK_OK;
}

static struct bc_record record_of(const struct bc_operation *op, uint64_t sequence)
{
    return (struct bc_record){.type = op->type,
                              .flags = op->expire_at_ms != 0 ? BC_RECORD_EXPIRES : 0,
                              .key_size = (uint16_t)op->key_size,
                              .value_size = (uint32_t)op->value_size,
                              .expire_at_ms = op->expire_at_ms,
                              .sequence = sequence};
}

/* Under wal: the record is in the store. */
static int append(bitcask *db, const struct bc_operation *op, const struct bc_record *r, struct bc_entry *ret)
{
    struct bc_log *log = &db->log;
    uint64_t offset = log->tail, footprint = bc_record_footprint(r);
    int result = bc_log_place(log, offset, r, op->key, op->value);
    if (result != BITCASK_OK) {
        bc_log_roll_back(log, r->sequence);
        return result;
    }
    bc_log_advance(log, offset + footprint, r->sequence);
    *ret = (struct bc_entry){.file = log->active->index, .offset = offset, .footprint = footprint};
    return BITCASK_OK;
}

void bc_publish(bitcask *db, const struct bc_cursor *c, const struct bc_operation *op, const struct bc_entry *e)
{
    struct bc_file *active = db->log.active;
    if (c->found)
        bc_file_lose(bc_filetable_get(&db->files, c->entry.file), c->entry.footprint, c->expire_at_ms != 0);
    if (op->type == BC_RECORD_TOMBSTONE) {
        atomic_fetch_add_explicit(&active->tombstone_bytes, e->footprint, memory_order_relaxed);
        if (c->found)
            bc_keydir_remove(db->keydir, c);
        return;
    }
    bc_keydir_publish(db->keydir, c, op->key, op->key_size, e, op->expire_at_ms);
    bc_file_gain(active, e->footprint, op->expire_at_ms);
}

/* Under wal. An unconditional put builds its record while the slot is on its way from memory. */
static int apply_locked(bitcask *db, struct bc_operation *op, uint64_t hash, uint64_t *ret_sequence)
{
    uint32_t shard = bc_keydir_shard(db->keydir, hash);
    bool decided_first = op->condition != BC_ALWAYS || op->keep_ttl || op->type == BC_RECORD_TOMBSTONE;
    struct bc_entry e = {.offset = 0};
    struct bc_cursor c;
    struct bc_record r;
    int result = BITCASK_OK;
    if (decided_first) {
        bc_keydir_lock(db->keydir, shard);
        bc_keydir_seek(db->keydir, hash, op->key, op->key_size, &c);
        result = decide(db, op, &c);
    }
    if (result == BITCASK_OK) {
        r = record_of(op, bc_log_sequence(&db->log));
        result = append(db, op, &r, &e);
    }
    if (!decided_first && result == BITCASK_OK) {
        bc_keydir_lock(db->keydir, shard);
        bc_keydir_seek(db->keydir, hash, op->key, op->key_size, &c);
    }
    if (result == BITCASK_OK) {
        bc_publish(db, &c, op, &e);
        *ret_sequence = r.sequence;
    }
    if (decided_first || result == BITCASK_OK)
        bc_keydir_unlock(db->keydir, shard);
    return result;
}

int bc_apply(bitcask *db, struct bc_operation *op, uint64_t *ret_sequence)
{
    struct bc_record largest = record_of(op, 0);
    if (op->keep_ttl)
        largest.flags |= BC_RECORD_EXPIRES;
    uint64_t hash = bc_keydir_hash(db->keydir, op->key, op->key_size), sequence = 0;
    bc_keydir_prefetch(db->keydir, hash);
    /* To a close, who holds wal is inside; so is who is counted. A call that need not wait is spared the counting. */
    unsigned call = 0;
    bool counted = op->sync || !bc_log_try_lock(&db->log);
    if (counted) {
        call = bc_pins_call(db->pins);
        bc_log_lock(&db->log);
    }
    int result = bc_log_reserve(&db->log, bc_record_footprint(&largest), 1,
                                (op->sync ? BC_RESERVE_SYNC : 0) | (op->type == BC_RECORD_TOMBSTONE ? BC_RESERVE_DELETE : 0));
    if (result == BITCASK_OK)
        result = bc_keydir_reserve(db->keydir, hash, 1, op->key_size);
    if (result == BITCASK_OK)
        result = apply_locked(db, op, hash, &sequence);
    if (!counted && bc_unlikely(db->upkeep.inlined || result != BITCASK_OK)) {
        counted = true;
        call = bc_pins_call(db->pins);
    }
    bc_log_unlock(&db->log);
    if (result == BITCASK_OK && op->sync)
        result = bc_log_sync(&db->log, sequence);
    if (result == BITCASK_OK && ret_sequence != NULL)
        *ret_sequence = sequence;
    if (counted) {
        bc_health_tell(&db->health);
        bc_upkeep_inline(&db->upkeep);
        bc_pins_return(db->pins, call);
    }
    return result;
}

/* The write holds only if the key still stands where f was read: file ids are never used twice, so the place says it all. */
static void expect(struct bc_operation *op, const struct bc_found *f)
{
    op->condition = BC_IF_ENTRY;
    op->expected_file = f->file->name.id;
    op->expected_offset = f->entry.offset;
}

/* IF_SEQUENCE: the KeyDir holds no sequences, so the record's header is read before the wal lock. A merge that moves the record
 * in between makes it look again. */
static int apply_if_sequence(bitcask *db, struct bc_operation *op, uint64_t sequence, uint64_t *ret_sequence)
{
    uint64_t hash = bc_keydir_hash(db->keydir, op->key, op->key_size);
    struct bc_found f;
    int result;
    do {
        unsigned pin = bc_pins_enter(db->pins), attempt = 0;
        do {
            result = bc_find(db, hash, op->key, op->key_size, false, &f);
            if (result == BITCASK_OK) {
                expect(op, &f);
                bc_found_release(db, &f);
            }
        } while (bc_read_again(db, &pin, result, attempt++));
        op->moved = false;
        if (result == BITCASK_OK)
            result = f.record.sequence == sequence ? bc_apply(db, op, ret_sequence) : bc_answer(BITCASK_CONDITION);
        else if (result == BITCASK_NOT_FOUND && op->type == BC_RECORD_PUT)
            result = bc_answer(BITCASK_CONDITION);
    } while (op->moved);
    return result;
}

/* A put or delete from the first to the last look at the handle. */
static int run(bitcask *db, struct bc_operation *op, const bitcask_put_options *o, uint64_t *ret_sequence)
{
    int result = bc_db_writable(db);
    if (bc_unlikely(result != BITCASK_OK))
        return result;
    op->sync = (o->flags & BITCASK_PUT_SYNC) != 0 || bc_db_syncs_always(db);
    if ((o->flags & BITCASK_PUT_IF_SEQUENCE) == 0)
        return bc_apply(db, op, ret_sequence);
    unsigned call = bc_pins_call(db->pins);
    result = apply_if_sequence(db, op, o->sequence, ret_sequence);
    bc_pins_return(db->pins, call);
    return result;
}

int bitcask_put(bitcask *db, const void *key, size_t key_size, const void *value, size_t value_size,
                const bitcask_put_options *options, uint64_t *ret_sequence)
{
    const uint32_t allowed =
        BITCASK_PUT_SYNC | BITCASK_PUT_IF_ABSENT | BITCASK_PUT_IF_PRESENT | BITCASK_PUT_IF_SEQUENCE | BITCASK_PUT_KEEP_TTL;
    bitcask_put_options o;
    int result = bc_key_check(key, key_size);
    if (result == BITCASK_OK)
        result = bc_value_check(value, value_size);
    if (result == BITCASK_OK)
        result = bc_put_options_resolve(options, allowed, &o);
    if (result != BITCASK_OK)
        return result;
    struct bc_operation op = {.type = BC_RECORD_PUT,
                              .key = key,
                              .key_size = key_size,
                              .value = value,
                              .value_size = value_size,
                              .expire_at_ms = o.expire_at_ms,
                              .keep_ttl = (o.flags & BITCASK_PUT_KEEP_TTL) != 0};
    if ((o.flags & BITCASK_PUT_IF_ABSENT) != 0)
        op.condition = BC_IF_ABSENT;
    if ((o.flags & BITCASK_PUT_IF_PRESENT) != 0)
        op.condition = BC_IF_PRESENT;
    return run(db, &op, &o, ret_sequence);
}

int bitcask_delete(bitcask *db, const void *key, size_t key_size, const bitcask_put_options *options, uint64_t *ret_sequence)
{
    bitcask_put_options o;
    int result = bc_key_check(key, key_size);
    if (result == BITCASK_OK)
        result = bc_put_options_resolve(options, BITCASK_PUT_SYNC | BITCASK_PUT_IF_SEQUENCE, &o);
    if (result != BITCASK_OK)
        return result;
    struct bc_operation op = {.type = BC_RECORD_TOMBSTONE, .key = key, .key_size = key_size};
    return run(db, &op, &o, ret_sequence);
}

/* The value is copied, so that no pin is held while the write may wait. *ret_copy is the caller's. */
static int read_for_touch(bitcask *db, struct bc_operation *op, uint64_t hash, void **ret_copy)
{
    struct bc_found f;
    int result = bc_find(db, hash, op->key, op->key_size, true, &f);
    if (result != BITCASK_OK)
        return result;
    expect(op, &f);
    op->value_size = f.record.value_size;
    void *copy = bc_memdup(&db->allocator, f.value, f.record.value_size);
    if (copy == NULL)
        result = bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to touch a value of %u bytes", f.record.value_size);
    else if (!bc_record_value_ok(&f.record, copy, f.seed)) /* damage must not get a good CRC */
        result = bc_found_corrupt(&f, "its value");
    bc_found_release(db, &f);
    if (result == BITCASK_OK)
        *ret_copy = copy;
    else
        bc_free(&db->allocator, copy);
    return result;
}

static int touch_once(bitcask *db, struct bc_operation *op, uint64_t hash)
{
    void *copy = NULL;
    int result;
    unsigned pin = bc_pins_enter(db->pins), attempt = 0;
    do
        result = read_for_touch(db, op, hash, &copy);
    while (bc_read_again(db, &pin, result, attempt++));
    op->moved = false;
    op->value = copy;
    if (result == BITCASK_OK)
        result = bc_apply(db, op, NULL);
    bc_free(&db->allocator, copy);
    return result;
}

int bitcask_touch(bitcask *db, const void *key, size_t key_size, int64_t expire_at_ms, uint32_t flags)
{
    int result = bc_key_check(key, key_size);
    if (result == BITCASK_OK)
        result = bc_expiry_check(expire_at_ms);
    if (result == BITCASK_OK && (flags & ~BITCASK_PUT_SYNC) != 0)
        result = bc_fail(BITCASK_INVALID, 0, NULL, 0, "touch takes no flag but BITCASK_PUT_SYNC");
    if (result != BITCASK_OK)
        return result;
    struct bc_operation op = {.type = BC_RECORD_PUT, .key = key, .key_size = key_size, .expire_at_ms = expire_at_ms};
    unsigned call = bc_pins_call(db->pins);
    result = bc_db_writable(db);
    if (result == BITCASK_OK) {
        op.sync = (flags & BITCASK_PUT_SYNC) != 0 || bc_db_syncs_always(db);
        uint64_t hash = bc_keydir_hash(db->keydir, key, key_size);
        do
            result = touch_once(db, &op, hash);
        while (op.moved);
    }
    bc_pins_return(db->pins, call);
    return result;
}

int bitcask_sync(bitcask *db)
{
    unsigned call = bc_pins_call(db->pins);
    int result = bc_db_writable(db);
    if (result == BITCASK_OK) {
        bc_log_lock(&db->log);
        uint64_t last = bc_log_sequence(&db->log) - 1;
        bc_log_unlock(&db->log);
        result = bc_log_sync(&db->log, last);
        bc_upkeep_inline(&db->upkeep);
    }
    bc_pins_return(db->pins, call);
    return result;
}

static int preserve_keydir(void *arg)
{
    bitcask *db = arg;
    return bc_keydir_preserve_all(db->keydir);
}

static void empty_keydir(void *arg)
{
    bitcask *db = arg;
    bc_keydir_clear(db->keydir);
}

int bitcask_clear(bitcask *db, uint32_t flags)
{
    if (flags != 0)
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "clear takes no flags");
    unsigned call = bc_pins_call(db->pins);
    int result = bc_db_writable(db);
    const struct bc_clear clear = {preserve_keydir, empty_keydir, db};
    /* A merge that is running would commit what was cleared. */
    if (result == BITCASK_OK)
        result = bc_merger_lock(&db->merger, true);
    if (result == BITCASK_OK) {
        result = bc_log_clear(&db->log, &clear);
        bc_merger_unlock(&db->merger);
        bc_health_tell(&db->health);
        bc_filetable_reclaim(&db->files);
        bc_upkeep_inline(&db->upkeep);
    }
    bc_pins_return(db->pins, call);
    return result;
}
