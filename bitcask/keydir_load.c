/* keydir_load.c - filling the KeyDir at open: from several threads, in any order, so that the outcome is the same. */
#include "bitcask/keydir.h"

#include "bitcask/error.h"
#include "bitcask/keydir_shard.h"

int bc_keydir_load_begin(struct bc_keydir *k)
{
    for (uint32_t i = 0; i < k->count; i++) {
        if (bc_table_load_begin(&k->shards[i].table, &k->memory))
            continue;
        while (i-- > 0)
            bc_table_load_end(&k->shards[i].table, &k->memory);
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to load the KeyDir");
    }
    k->loading = true;
    return BITCASK_OK;
}

/* Whether (sequence, place) stands above what is at the position. Equal sequences are copies; the offset decides between two in
 * one file, so that the order of the calls never does. */
static bool wins(const struct bc_shard *s, uint32_t position, uint64_t sequence, uint64_t place)
{
    uint64_t other = bc_table_sequences(&s->table)[position];
    if (bc_likely(sequence != other))
        return sequence > other;
    struct bc_pair pair = bc_table_at(&s->table, position);
    struct bc_entry at = bc_entry_decode(pair);
    pair.place = place;
    struct bc_entry entry = bc_entry_decode(pair);
    if (entry.file != at.file)
        return entry.file > at.file;
    return entry.offset > at.offset;
}

bool bc_shard_load(struct bc_keydir *k, struct bc_shard *s, uint32_t tag, const void *key, size_t key_size, uint64_t sequence,
                   struct bc_shard_value value)
{
    uint32_t position;
    if (bc_unlikely(!bc_shard_has_room(s, 1, key_size)) && !bc_shard_make_room(k, s, 1, key_size))
        return false;
    if (!bc_shard_seek(s, tag, key, key_size, &position))
        bc_shard_insert(s, position, tag, key, key_size, value);
    else if (wins(s, position, sequence, value.place))
        bc_shard_replace(s, position, key, key_size, value);
    else
        return true;
    bc_table_sequences(&s->table)[position] = sequence;
    s->tombstones |= (value.flags & BC_ENTRY_TOMBSTONE) != 0;
    return true;
}

int bc_keydir_load(struct bc_keydir *k, uint64_t hash, const void *key, size_t key_size, uint64_t sequence,
                   const struct bc_entry *entry, int64_t expire_at_ms)
{
    struct bc_shard *s = bc_shard_of(k, hash);
    struct bc_shard_value value = {bc_place_encode(entry), expire_at_ms, entry->flags};
    pthread_mutex_lock(&s->mutex);
    bool ok = bc_shard_load(k, s, bc_tag_of(hash), key, key_size, sequence, value);
    pthread_mutex_unlock(&s->mutex);
    return ok ? BITCASK_OK : bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to load the KeyDir");
}

int bc_keydir_each_loaded(struct bc_keydir *k, bc_keydir_loaded_fn fn, void *arg)
{
    int result = 0;
    for (uint32_t i = 0; i < k->count && result == 0; i++) {
        struct bc_shard *s = &k->shards[i];
        uint32_t left = bc_get32(&s->table.count);
        for (uint32_t position = 0; left != 0 && result == 0; position++) {
            struct bc_pair pair = bc_table_at(&s->table, position);
            if (pair.place == 0)
                continue;
            struct bc_entry entry = bc_entry_decode(pair);
            struct bc_arena_entry e = bc_shard_entry(s, pair);
            result = fn(bc_keydir_hash(k, e.key, e.key_size), &entry, e.expire_at_ms, bc_table_sequences(&s->table)[position],
                        e.key, e.key_size, arg);
            left--;
        }
    }
    return result;
}

static void drop_tombstones(struct bc_shard *s)
{
    uint32_t end = s->table.extent;
    for (uint32_t i = 0; i < end; i++) {
        /* What stood behind a removed slot may stand in its place. */
        for (;;) {
            struct bc_pair pair = bc_table_at(&s->table, i);
            if (pair.place == 0 || (bc_head_flags(pair.head) & BC_ENTRY_TOMBSTONE) == 0)
                break;
            bc_shard_remove(s, i);
        }
    }
}

void bc_keydir_load_end_of(struct bc_keydir *k, uint32_t shard)
{
    struct bc_shard *s = &k->shards[shard];
    pthread_mutex_lock(&s->mutex);
    if (bc_table_sequences(&s->table) != NULL) {
        bc_table_load_end(&s->table, &k->memory);
        if (s->tombstones)
            drop_tombstones(s);
        s->tombstones = false;
        /* What was expected may have been the same keys again. */
        bc_shard_trim(k, s);
    }
    pthread_mutex_unlock(&s->mutex);
}

void bc_keydir_drop_files(struct bc_keydir *k, uint32_t shard, const bool *gone)
{
    struct bc_shard *s = &k->shards[shard];
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->table.extent; i++) {
        struct bc_pair pair = bc_table_at(&s->table, i);
        count += pair.place != 0 && gone[bc_entry_decode(pair).file];
    }
    if (count != 0 && count == bc_get32(&s->table.count)) {
        bc_shard_clear(k, s);
        return;
    }
    for (uint32_t i = 0; count > 0; i++) {
        /* What stood behind a removed slot may stand in its place. */
        for (struct bc_pair pair; (pair = bc_table_at(&s->table, i)).place != 0 && gone[bc_entry_decode(pair).file]; count--)
            bc_shard_remove(s, i);
    }
    bc_shard_ask(k, s);
}

void bc_keydir_load_end(struct bc_keydir *k)
{
    for (uint32_t i = 0; i < k->count; i++)
        bc_keydir_load_end_of(k, i);
    k->loading = false;
}
