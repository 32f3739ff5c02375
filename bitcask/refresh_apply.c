/* The step in which a handle goes over to what is new.
 *
 * A record with a sequence that the handle had not seen decides over its key. One that it had seen is a copy that a merge made,
 * and counts only where the key's record stood in a file that is gone: then it is that record, as a merge keeps the newest one
 * of each key or, when that is dead, none that is older. What still stands in a file that is gone afterwards was cleared, or
 * died. */
#include "bitcask/error.h"
#include "bitcask/keydir_snapshot.h"
#include "bitcask/refresh.h"

/* What a shard needs before it changes. */
struct need {
    uint64_t hash; /* of any of its keys */
    uint32_t count;
    bool touched;
    size_t bytes;
};

struct step {
    bitcask *db;
    const struct bc_news *news;
    struct need *needs; /* by shard */
};

static bool is_new(const struct step *s, uint64_t sequence)
{
    return sequence > s->news->seen;
}

static int measure(uint64_t hash, const struct bc_entry *e, int64_t expire_at_ms, uint64_t sequence, const void *key,
                   size_t key_size, void *arg)
{
    struct step *s = arg;
    struct bc_keydir *k = s->db->keydir;
    uint32_t shard = bc_keydir_shard(k, hash);
    struct bc_cursor c;
    if (!is_new(s, sequence))
        return 0;
    struct need *need = &s->needs[shard];
    need->hash = hash;
    need->touched = true;
    if ((e->flags & BC_ENTRY_TOMBSTONE) != 0)
        return 0;
    bc_keydir_lock(k, shard);
    bc_keydir_seek(k, hash, key, key_size, &c);
    bc_keydir_unlock(k, shard);
    /* A key that is there and has no expiry, before or after, needs no room. */
    if (c.found && c.expire_at_ms == 0 && expire_at_ms == 0)
        return 0;
    need->count++;
    need->bytes += key_size;
    return 0;
}

/* Under wal: what is reserved holds. */
static int reserve(const struct step *s)
{
    struct bc_keydir *k = s->db->keydir;
    int result = s->news->any_gone ? bc_keydir_preserve_all(k) : BITCASK_OK;
    for (uint32_t i = 0; i < bc_keydir_shards(k) && result == BITCASK_OK; i++)
        if (s->needs[i].touched)
            result = bc_keydir_reserve(k, s->needs[i].hash, s->needs[i].count, s->needs[i].bytes);
    return result;
}

static void lose(bitcask *db, const struct bc_cursor *c)
{
    bc_file_lose(bc_filetable_get(&db->files, c->entry.file), c->entry.footprint, c->expire_at_ms != 0);
}

static void gain(bitcask *db, const struct bc_entry *e, int64_t expire_at_ms)
{
    bc_file_gain(bc_filetable_get(&db->files, e->file), e->footprint, expire_at_ms);
}

/* Nobody sees a difference, and it cannot fail: what snapshots show was kept by preserve_all(). */
static int relocate(uint64_t hash, const struct bc_entry *e, int64_t expire_at_ms, uint64_t sequence, const void *key,
                    size_t key_size, void *arg)
{
    const struct step *s = arg;
    struct bc_keydir *k = s->db->keydir;
    struct bc_cursor c;
    struct bc_entry was;
    if (is_new(s, sequence) || (e->flags & BC_ENTRY_TOMBSTONE) != 0)
        return 0;
    bc_keydir_lock(k, bc_keydir_shard(k, hash));
    bc_keydir_seek(k, hash, key, key_size, &c);
    bc_keydir_unlock(k, bc_keydir_shard(k, hash));
    if (c.found && s->news->gone[c.entry.file] && bc_keydir_move(k, hash, &c.entry, e, &was) == BC_MOVED) {
        lose(s->db, &c);
        gain(s->db, e, expire_at_ms);
    }
    return 0;
}

static int publish(uint64_t hash, const struct bc_entry *e, int64_t expire_at_ms, uint64_t sequence, const void *key,
                   size_t key_size, void *arg)
{
    const struct step *s = arg;
    struct bc_keydir *k = s->db->keydir;
    struct bc_cursor c;
    if (!is_new(s, sequence))
        return 0;
    bc_keydir_seek(k, hash, key, key_size, &c);
    if (c.found)
        lose(s->db, &c);
    if ((e->flags & BC_ENTRY_TOMBSTONE) == 0) {
        bc_keydir_publish(k, &c, key, key_size, e, expire_at_ms);
        gain(s->db, e, expire_at_ms);
    } else if (c.found) {
        bc_keydir_remove(k, &c);
    }
    return 0;
}

/* A shard that changes: all do when files are gone. */
static bool changes(const struct step *s, uint32_t shard)
{
    return s->news->any_gone || s->needs[shard].touched;
}

static void change(struct step *s)
{
    struct bc_keydir *k = s->db->keydir;
    uint32_t shards = bc_keydir_shards(k);
    for (uint32_t i = 0; i < shards; i++) {
        if (changes(s, i)) {
            bc_keydir_lock(k, i);
            bc_keydir_hold(k, i);
        }
    }
    (void)bc_keydir_each_loaded(s->news->keydir, publish, s);
    for (uint32_t i = 0; i < shards && s->news->any_gone; i++)
        bc_keydir_drop_files(k, i, s->news->gone);
    for (uint32_t i = 0; i < shards; i++) {
        if (changes(s, i)) {
            bc_keydir_release(k, i);
            bc_keydir_unlock(k, i);
        }
    }
}

int bc_refresh_apply(bitcask *db, const struct bc_news *news)
{
    struct step s = {.db = db, .news = news};
    s.needs = bc_alloc_zero(&db->allocator, bc_keydir_shards(db->keydir), sizeof *s.needs);
    if (s.needs == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to refresh");
    /* Under wal no snapshot is taken in between. */
    bc_log_lock(&db->log);
    (void)bc_keydir_each_loaded(news->keydir, measure, &s);
    int result = reserve(&s);
    if (result == BITCASK_OK) {
        if (news->any_gone)
            (void)bc_keydir_each_loaded(news->keydir, relocate, &s);
        change(&s);
    }
    bc_log_unlock(&db->log);
    bc_free(&db->allocator, s.needs);
    return result;
}
