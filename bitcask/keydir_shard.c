#include "bitcask/keydir_shard.h"

#include "bitcask/format_record.h"

#define STEP_MIN 6U       /* slots of the smallest table */
#define STEP_GROWTH 4U    /* each next one is a quarter larger */
#define ASK_CAPACITY 192U /* smaller tables grow in a moment */
#define ARENA_MIN 128U

uint64_t bc_place_encode(const struct bc_entry *e)
{
    return e->offset / 8 << 33 | (uint64_t)e->file << 16 | bc_footprint_encode(e->footprint);
}

static uint64_t entries_max(uint32_t count, uint64_t bytes)
{
    return bytes + (uint64_t)count * BC_ARENA_ENTRY_MAX;
}

bool bc_shard_has_room(const struct bc_shard *s, uint32_t count, uint64_t bytes)
{
    return bc_get32(&s->table.room) >= count && bc_get32(&s->arena.room) >= entries_max(count, bytes);
}

/* ---- the table ---- */

static void upkeep_wake(struct bc_keydir *k)
{
    if (!atomic_load_explicit(&k->woken, memory_order_relaxed) && !atomic_exchange(&k->woken, true) && k->wake != NULL)
        k->wake(k->wake_arg);
}

/* Readers may be in it. */
static void retire(struct bc_keydir *k, struct bc_table_block *block)
{
    if (block == NULL)
        return;
    if (k->loading) {
        bc_table_block_free(&k->memory, block);
        return;
    }
    atomic_fetch_add_explicit(&k->retired_bytes, block->used, memory_order_relaxed);
    block->next = atomic_load_explicit(&k->retired, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&k->retired, &block->next, block, memory_order_release, memory_order_relaxed))
        ;
    upkeep_wake(k);
}

/* The sizes of a shard's tables, in slots << 16, are a series of its own: each shard starts it a little behind the one before,
 * so that at any count of keys some tables are fresh and some full, the memory of all grows evenly, and they grow in their
 * order (keydir_pool.h). */
static uint64_t first_step(uint32_t shard, uint32_t shards)
{
    return ((uint64_t)STEP_MIN << 16) + ((uint64_t)STEP_MIN << 16) / STEP_GROWTH * shard / shards;
}

static uint64_t next_step(uint64_t step)
{
    return step + step / STEP_GROWTH;
}

uint64_t bc_shard_span(uint32_t generation, uint32_t shard, uint32_t shards)
{
    uint64_t step = first_step(shard, shards);
    for (; generation > 1; generation--)
        step = next_step(step);
    return bc_align_up(bc_table_plan_bytes(bc_table_plan(step >> 16, 1)), BC_MEMORY_PAGE);
}

static struct bc_table_plan plan_for(const struct bc_keydir *k, const struct bc_shard *s, uint32_t larger_than, uint32_t count,
                                     uint32_t room)
{
    uint32_t shard = (uint32_t)(s - k->shards);
    uint64_t step = first_step(shard, k->count), need = (uint64_t)count + room;
    for (uint32_t generation = 1;; generation++, step = next_step(step)) {
        if (step >> 16 <= larger_than || step >> 16 < need)
            continue;
        struct bc_table_plan plan = bc_table_plan(step >> 16, room);
        plan.generation = generation;
        plan.shard = shard;
        if (bc_table_limit(plan.capacity) >= need)
            return plan;
    }
}

static bool grow_table(struct bc_keydir *k, struct bc_shard *s, uint32_t room)
{
    struct bc_table_plan plan = plan_for(k, s, bc_get32(&s->table.physical), bc_get32(&s->table.count), room);
    struct bc_table_block *old;
    if (!bc_table_rebuild(&s->table, &k->memory, plan, room, &old))
        return false;
    retire(k, old);
    return true;
}

/* ---- the arena ---- */

/* Entries move in the order of their slots, and the slots learn where to. */
static void copy_living(struct bc_arena *to, struct bc_shard *s)
{
    uint32_t left = bc_get32(&s->table.count);
    for (uint32_t i = 0; left != 0; i++) {
        struct bc_pair pair = bc_table_at(&s->table, i);
        if (pair.place == 0)
            continue;
        struct bc_arena_entry e = bc_shard_entry(s, pair);
        pair.head =
            bc_slot_head(bc_head_tag(pair.head), bc_head_flags(pair.head), bc_arena_add(to, e.key, e.key_size, e.expire_at_ms));
        bc_table_set(&s->table, i, pair);
        left--;
    }
}

/* A new block with room for bytes: without the garbage if there is much of it, else with everything where it was. Pages that
 * nobody wrote to are free, so a mapping can be more generous. */
static bool renew_arena(struct bc_keydir *k, struct bc_shard *s, uint64_t bytes)
{
    uint64_t used = bc_get32(&s->arena.used), dropped = s->arena.dropped;
    bool compact = dropped > used / 8 || used + bytes > BC_ARENA_MAX;
    uint64_t kept = compact ? used - dropped : used;
    if (kept + bytes > BC_ARENA_MAX)
        return false;
    uint64_t spare = bc_memory_lazy(&k->memory, kept) ? kept : kept / 8;
    uint64_t size = BC_MIN(bc_memory_round(BC_MAX(kept + BC_MAX(bytes, spare), ARENA_MIN)), BC_ARENA_MAX);
    struct bc_arena arena;
    if (!bc_arena_new(&arena, &k->memory, (uint32_t)size))
        return false;
    if (compact)
        copy_living(&arena, s);
    else
        bc_arena_copy(&arena, &s->arena);
    bc_arena_replace(&s->arena, &k->memory, &arena);
    return true;
}

/* ---- both ---- */

void bc_shard_trim(struct bc_keydir *k, struct bc_shard *s)
{
    uint32_t count = bc_get32(&s->table.count);
    struct bc_table_plan plan = plan_for(k, s, 0, count + count / 16, 1);
    struct bc_table_block *old;
    if (plan.capacity < bc_get32(&s->table.capacity) && bc_table_rebuild(&s->table, &k->memory, plan, 1, &old))
        retire(k, old);
    if (s->arena.dropped > bc_get32(&s->arena.used) / 8)
        renew_arena(k, s, 0);
}

bool bc_shard_make_room(struct bc_keydir *k, struct bc_shard *s, uint32_t count, uint64_t bytes)
{
    if (bc_get32(&s->table.room) < count && !grow_table(k, s, count))
        return false;
    return bc_get32(&s->arena.room) >= entries_max(count, bytes) || renew_arena(k, s, entries_max(count, bytes));
}

bool bc_shard_expect(struct bc_keydir *k, struct bc_shard *s, uint64_t count, uint64_t bytes)
{
    uint64_t all = bc_get32(&s->table.count) + count;
    if (all > bc_table_limit(bc_get32(&s->table.capacity)) && all < UINT32_MAX / 2) {
        struct bc_table_plan plan = plan_for(k, s, bc_get32(&s->table.physical), (uint32_t)all, 1);
        struct bc_table_block *old;
        if (!bc_table_rebuild(&s->table, &k->memory, plan, 1, &old))
            return false;
        retire(k, old);
        bc_table_populate(&s->table, &k->memory);
    }
    uint64_t more = bytes + count; /* a length of one byte each; what is longer grows when it comes */
    if (more > BC_ARENA_MAX / 2)
        return true;
    if (bc_get32(&s->arena.room) < more && !renew_arena(k, s, more))
        return false;
    bc_memory_populate(&k->memory, s->arena.size, s->arena.base + bc_get32(&s->arena.used), more);
    return true;
}

static bool table_is_tight(const struct bc_table *t)
{
    uint32_t capacity = bc_get32(&t->capacity);
    return capacity >= ASK_CAPACITY && bc_get32(&t->count) > bc_table_limit(capacity) - capacity / 64;
}

static bool arena_is_tight(const struct bc_arena *a)
{
    bool low = bc_get32(&a->room) < a->size / 16 && a->size < BC_ARENA_MAX;
    return a->size >= BC_MEMORY_PAGE && (low || a->dropped > bc_get32(&a->used) / 4);
}

void bc_shard_ask(struct bc_keydir *k, struct bc_shard *s)
{
    if (bc_likely(!table_is_tight(&s->table) && !arena_is_tight(&s->arena)) || k->loading)
        return;
    size_t shard = (size_t)(s - k->shards);
    uint64_t bit = UINT64_C(1) << (shard % 64);
    _Atomic uint64_t *word = &k->asked[shard / 64];
    if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0) {
        atomic_fetch_or(word, bit);
        upkeep_wake(k);
    }
}

struct bc_region *bc_shard_prepare(struct bc_keydir *k, const struct bc_shard *s)
{
    const struct bc_table *t = &s->table;
    if (k->memory.pool == NULL || !table_is_tight(t))
        return NULL;
    struct bc_table_plan plan = plan_for(k, s, bc_get32(&t->physical), bc_get32(&t->count), bc_get32(&t->room));
    return bc_pool_prepare(k->memory.pool, plan.generation, plan.shard);
}

bool bc_shard_tidy(struct bc_keydir *k, struct bc_shard *s)
{
    if (table_is_tight(&s->table) && !grow_table(k, s, bc_get32(&s->table.room)))
        return false;
    return !arena_is_tight(&s->arena) || renew_arena(k, s, bc_get32(&s->arena.room));
}

void bc_shard_clear(struct bc_keydir *k, struct bc_shard *s)
{
    struct bc_table_block *old;
    bc_table_reset(&s->table, k->empty, &old);
    retire(k, old);
    struct bc_arena none;
    bc_arena_init(&none);
    bc_arena_replace(&s->arena, &k->memory, &none);
}

/* ---- keys ---- */

static bool expires(struct bc_pair pair)
{
    return (bc_head_flags(pair.head) & BC_ENTRY_EXPIRES) != 0;
}

struct bc_arena_entry bc_shard_entry(const struct bc_shard *s, struct bc_pair pair)
{
    return bc_arena_read(&s->arena, bc_head_key(pair.head), expires(pair));
}

bool bc_shard_seek(const struct bc_shard *s, uint32_t tag, const void *key, size_t key_size, uint32_t *ret_position)
{
    bool found = false;
    uint32_t position = bc_table_first(&s->table, tag);
    for (;; position++) {
        struct bc_pair pair = bc_table_at(&s->table, position);
        if (pair.place == 0 || bc_head_tag(pair.head) != tag)
            break;
        found = bc_arena_matches(&s->arena, bc_head_key(pair.head), expires(pair), key, key_size);
        if (found)
            break;
    }
    *ret_position = position;
    return found;
}

static uint32_t flags_of(struct bc_shard_value v)
{
    return (v.flags & (BC_ENTRY_CORRUPT | BC_ENTRY_TOMBSTONE)) | (v.expire_at_ms != 0 ? BC_ENTRY_EXPIRES : 0);
}

void bc_shard_insert(struct bc_shard *s, uint32_t position, uint32_t tag, const void *key, size_t key_size,
                     struct bc_shard_value v)
{
    uint32_t entry = bc_arena_add(&s->arena, key, key_size, v.expire_at_ms);
    bc_table_insert(&s->table, position, (struct bc_pair){bc_slot_head(tag, flags_of(v), entry), v.place});
}

void bc_shard_replace(struct bc_shard *s, uint32_t position, const void *key, size_t key_size, struct bc_shard_value v)
{
    struct bc_pair old = bc_table_at(&s->table, position);
    uint32_t entry = bc_head_key(old.head);
    /* An expiry that a version shows is not changed where it stands. */
    if (expires(old) != (v.expire_at_ms != 0) || (v.expire_at_ms != 0 && s->arena.share != NULL)) {
        entry = bc_arena_add(&s->arena, key, key_size, v.expire_at_ms);
        bc_arena_drop(&s->arena, bc_head_key(old.head), expires(old));
    } else if (v.expire_at_ms != 0) {
        bc_arena_set_expiry(&s->arena, entry, v.expire_at_ms);
    }
    bc_table_set(&s->table, position, (struct bc_pair){bc_slot_head(bc_head_tag(old.head), flags_of(v), entry), v.place});
}

void bc_shard_remove(struct bc_shard *s, uint32_t position)
{
    struct bc_pair pair = bc_table_at(&s->table, position);
    bc_table_remove(&s->table, position);
    bc_arena_drop(&s->arena, bc_head_key(pair.head), expires(pair));
}
