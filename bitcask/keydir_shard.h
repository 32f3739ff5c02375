/* keydir_shard.h - what the files of the KeyDir share: a shard (slots and keys under one mutex), and how it gets room.
 *
 * Room never shrinks but by publications: what a writer was promised under wal holds whatever upkeep does meanwhile.
 */
#ifndef BC_KEYDIR_SHARD_H
#define BC_KEYDIR_SHARD_H

#include "bitcask/format_record.h"
#include "bitcask/keydir.h"
#include "bitcask/keydir_arena.h"
#include "bitcask/keydir_table.h"

#include <pthread.h>

/* The first line is all that a lookup touches; mutex and arena up to its lists are the second. */
struct bc_shard {
    _Alignas(BC_CACHE_LINE) struct bc_table table;
    _Alignas(BC_CACHE_LINE) pthread_mutex_t mutex;
    struct bc_arena arena;
    _Atomic uint64_t preserved;  /* snapshots up to this number have a version; read under wal alone, too */
    struct bc_version *versions; /* newest first (keydir_snapshot.h) */
    bool tombstones;             /* some were loaded */
};

struct bc_keydir {
    /* Read by every lookup, written by nobody. */
    struct bc_shard *shards;
    struct bc_hash_secret secret;
    uint32_t count; /* of shards */
    unsigned shift; /* of a hash, to its shard */
    bool loading;
    struct bc_slot empty[BC_TABLE_AT_ONCE]; /* the table of every shard that has none */
    struct bc_keydir_memory memory;
    struct bc_pool pool;
    struct bc_pins *pins;
    void *blocks[2];              /* this struct and the shards, as allocated */
    _Atomic uint64_t newest_held; /* number of the newest snapshot that is held; 0: none */
    struct bc_snapshots *snapshots;

    /* For upkeep. */
    _Alignas(BC_CACHE_LINE) _Atomic(struct bc_table_block *) retired; /* tables that readers may still hold */
    _Atomic uint64_t retired_bytes;
    atomic_bool woken;
    void (*wake)(void *arg);
    void *wake_arg;
    _Atomic uint64_t asked[]; /* a bit for each shard */
};

/* Whether a change of the shard must be preceded by bc_shard_preserve(). Under wal or the shard's mutex. */
static inline bool bc_shard_wanted(const struct bc_keydir *k, const struct bc_shard *s)
{
    return atomic_load_explicit(&k->newest_held, memory_order_relaxed) >
           atomic_load_explicit(&s->preserved, memory_order_relaxed);
}

static inline struct bc_shard *bc_shard_of(const struct bc_keydir *k, uint64_t hash)
{
    return &k->shards[hash >> k->shift];
}

/* Not of the bits that choose the shard: there are at most 16 of those. */
static inline uint32_t bc_tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 19) & BC_TAG_MAX;
}

uint64_t bc_place_encode(const struct bc_entry *);

static inline struct bc_entry bc_entry_decode(struct bc_pair pair)
{
    return (struct bc_entry){
        .offset = pair.place >> 33 << 3,
        .footprint = bc_footprint_decode((uint16_t)pair.place),
        .file = (uint32_t)(pair.place >> 16) & (BC_KEYDIR_FILES_MAX - 1),
        .flags = bc_head_flags(pair.head),
    };
}

/* All under the shard's mutex. */
bool bc_shard_has_room(const struct bc_shard *, uint32_t count, uint64_t bytes); /* also without, under wal */
/* Room for count publications of bytes in all. false: no memory; what it got is kept. */
bool bc_shard_make_room(struct bc_keydir *, struct bc_shard *, uint32_t count, uint64_t bytes) bc_must_check;
/* So many more entries are to come: one growth for all of them. Promises nothing. false: no memory. */
bool bc_shard_expect(struct bc_keydir *, struct bc_shard *, uint64_t count, uint64_t bytes) bc_must_check;
/* Asks for upkeep if the shard has little room or much garbage. */
void bc_shard_ask(struct bc_keydir *, struct bc_shard *);
/* What it was asked for. false: no memory; a writer will meet that, and say so. */
bool bc_shard_tidy(struct bc_keydir *, struct bc_shard *);
/* For upkeep, before the mutex: the pages that tidy() would have to wait for. What it returns goes to bc_pool_drop() after it.
 */
struct bc_region *bc_shard_prepare(struct bc_keydir *, const struct bc_shard *);
/* How large a shard's table of a generation is (bc_pool_span_fn). */
uint64_t bc_shard_span(uint32_t generation, uint32_t shard, uint32_t shards);
void bc_shard_clear(struct bc_keydir *, struct bc_shard *);
/* After many removals while loading: table and arena become as small as what is left allows, if there is memory to do it. */
void bc_shard_trim(struct bc_keydir *, struct bc_shard *);

/* Where the key stands; false: where it would. */
bool bc_shard_seek(const struct bc_shard *, uint32_t tag, const void *key, size_t key_size, uint32_t *ret_position);

/* What a key's slot is to say. */
struct bc_shard_value {
    uint64_t place;
    int64_t expire_at_ms; /* 0 = never */
    uint32_t flags;       /* BC_ENTRY_CORRUPT, BC_ENTRY_TOMBSTONE */
};
/* Puts an entry in if it is above what is there for its key. Only while loading. false: no memory. */
bool bc_shard_load(struct bc_keydir *, struct bc_shard *, uint32_t tag, const void *key, size_t key_size, uint64_t sequence,
                   struct bc_shard_value) bc_must_check;

/* Needs room for one. */
void bc_shard_insert(struct bc_shard *, uint32_t position, uint32_t tag, const void *key, size_t key_size,
                     struct bc_shard_value);
void bc_shard_replace(struct bc_shard *, uint32_t position, const void *key, size_t key_size, struct bc_shard_value);
void bc_shard_remove(struct bc_shard *, uint32_t position);

/* What a slot says; the key is valid until the shard's next change. */
struct bc_arena_entry bc_shard_entry(const struct bc_shard *, struct bc_pair);

#endif
