/* Snapshots: the store at one moment, across all shards. Taking one freezes nobody; see keydir_snapshot.h for what it costs. */
#include "bitcask/db.h"
#include "bitcask/error.h"
#include "bitcask/keydir_snapshot.h"

static int take(bitcask *db, bitcask_snapshot **ret)
{
    bitcask_snapshot *s = bc_alloc(&db->allocator, sizeof *s);
    if (s == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a snapshot");
    *s = (bitcask_snapshot){.db = db};
    /* Under wal nothing is between its append and its publication. */
    bc_log_lock_settled(&db->log);
    int result = bc_keydir_snapshot_take(db->keydir, &s->number);
    s->sequence = bc_log_sequence(&db->log) - 1;
    bc_log_unlock(&db->log);
    if (result != BITCASK_OK) {
        bc_free(&db->allocator, s);
        return result;
    }
    s->created_ms = bc_clock_now(&db->clock);
    atomic_fetch_add(&db->children, 1);
    *ret = s;
    return BITCASK_OK;
}

int bitcask_snapshot_new(bitcask *db, bitcask_snapshot **ret)
{
    unsigned call = bc_pins_call(db->pins);
    int result = bc_db_usable(db);
    if (result == BITCASK_OK)
        result = take(db, ret);
    bc_pins_return(db->pins, call);
    return result;
}

void bitcask_snapshot_release(bitcask_snapshot *s)
{
    if (s == NULL)
        return;
    bitcask *db = s->db;
    bool forked = bc_forked(&db->fork);
    if (!forked)
        bc_keydir_snapshot_release(db->keydir, s->number);
    bc_free(&db->allocator, s);
    /* Files that were removed meanwhile may have waited for this snapshot alone. */
    if (!forked)
        bc_filetable_reclaim(&db->files);
    atomic_fetch_sub(&db->children, 1);
}

static int view_once(bitcask_snapshot *s, const void *key, size_t key_size, bitcask_view *ret)
{
    bitcask *db = s->db;
    struct bc_entry entry;
    struct bc_found f;
    int64_t expire_at_ms;
    uint64_t hash = bc_keydir_hash(db->keydir, key, key_size);
    if (bc_forked(&db->fork))
        return bc_db_refuse_forked();
    if (!bc_keydir_snapshot_find(db->keydir, s->number, hash, key, key_size, &entry, &expire_at_ms))
        return bc_answer(BITCASK_NOT_FOUND);
    if (expire_at_ms != 0 && expire_at_ms <= s->created_ms)
        return bc_answer(BITCASK_NOT_FOUND);
    int result = bc_find_at(db, &entry, key, key_size, true, &f);
    return result == BITCASK_OK ? bc_view_make(db, &f, ret) : result;
}

int bitcask_snapshot_view(bitcask_snapshot *s, const void *key, size_t key_size, bitcask_view *ret)
{
    int result = bc_key_check(key, key_size);
    if (result != BITCASK_OK)
        return result;
    unsigned pin = bc_pins_enter(s->db->pins);
    for (unsigned attempt = 0;; attempt++) {
        result = view_once(s, key, key_size, ret);
        if (!bc_read_again(s->db, &pin, result, attempt))
            break;
    }
    return result;
}
