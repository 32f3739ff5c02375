/* keydir_rebuild.c - the blocks of a table and its growth: what keydir_table.h declares and every put does not need. */
#include "bitcask/keydir_table.h"

#define BLOCK_HEAD BC_CACHE_LINE
#define TAIL_MIN 4U
#define TAIL_MAX 64U
#define SLOTS_A_PAGE (BC_MEMORY_PAGE / sizeof(struct bc_slot))

_Static_assert(sizeof(struct bc_table_block) <= BLOCK_HEAD, "slots start on a cache line of the block");
_Static_assert(sizeof(struct bc_table) <= BC_CACHE_LINE, "a lookup touches one line beside the slots");

static void set_empty(struct bc_table *t, struct bc_slot *empty)
{
    atomic_store_explicit(&t->slots, empty, memory_order_release);
    atomic_store_explicit(&t->capacity, 0, memory_order_release);
    bc_put32(&t->physical, 1);
    bc_put32(&t->count, 0);
    bc_put32(&t->room, 0);
    t->extent = 0;
    t->block = NULL;
}

void bc_table_init(struct bc_table *t, struct bc_slot *empty)
{
    bc_put32(&t->version, 0);
    atomic_store_explicit(&t->sequences, NULL, memory_order_relaxed);
    t->sequences_reserved = 0;
    set_empty(t, empty);
}

void bc_table_reset(struct bc_table *t, struct bc_slot *empty, struct bc_table_block **ret_old)
{
    *ret_old = t->block;
    bool opened = bc_table_open(t);
    set_empty(t, empty);
    bc_table_close(t, opened);
}

/* ---- blocks ---- */

static struct bc_slot *block_slots(struct bc_table_block *block)
{
    return (struct bc_slot *)((char *)block + BLOCK_HEAD);
}

static uint32_t plan_slots(struct bc_table_plan plan)
{
    return plan.capacity + plan.tail;
}

static uint64_t block_bytes(uint32_t physical)
{
    return bc_memory_round(BLOCK_HEAD + (uint64_t)physical * sizeof(struct bc_slot));
}

uint64_t bc_table_plan_bytes(struct bc_table_plan plan)
{
    return block_bytes(plan_slots(plan));
}

uint64_t bc_table_bytes(const struct bc_table *t)
{
    uint32_t physical = bc_get32(&t->physical);
    return physical > 1 ? block_bytes(physical) : 0;
}

struct bc_table_plan bc_table_plan(uint64_t slots, uint32_t room)
{
    /* A little room comes out of the slots, so that tables of one size remain so. */
    uint64_t more = room > slots / 16 ? room : 1;
    uint64_t size = bc_memory_round(BLOCK_HEAD + (slots + 2 + more) * sizeof(struct bc_slot));
    uint64_t physical = (size - BLOCK_HEAD) / sizeof(struct bc_slot);
    struct bc_table_plan plan = {.generation = 0};
    plan.tail = (uint32_t)BC_MAX(BC_MIN(BC_MAX(physical / 8, TAIL_MIN), TAIL_MAX), (uint64_t)room + 2);
    plan.capacity = (uint32_t)BC_MIN(physical - plan.tail, UINT32_MAX - plan.tail);
    return plan;
}

/* Twice the bytes that are used, where unused ones cost nothing. */
static uint64_t reserve_for(const struct bc_keydir_memory *m, uint64_t used)
{
    return bc_memory_lazy(m, used) ? used * 2 : used;
}

static struct bc_table_block *block_new(const struct bc_keydir_memory *m, struct bc_table_plan plan)
{
    uint64_t used = block_bytes(plan_slots(plan)), reserved = used;
    struct bc_region *region = NULL;
    struct bc_table_block *block = NULL;
    if (m->pool != NULL && plan.generation != 0)
        block = bc_pool_take(m->pool, plan.generation, plan.shard, used, &region);
    if (block == NULL) {
        reserved = reserve_for(m, used);
        block = bc_memory_new(m, reserved);
    }
    if (block != NULL)
        *block = (struct bc_table_block){.reserved = reserved, .used = used, .region = region, .shard = plan.shard};
    return block;
}

void bc_table_block_free(const struct bc_keydir_memory *m, struct bc_table_block *block)
{
    if (block == NULL)
        return;
    if (block->region != NULL)
        bc_pool_give(m->pool, block->region, block->shard);
    else
        bc_memory_free(m, block, block->reserved);
}

/* ---- sequences ---- */

static uint64_t sequences_bytes(uint32_t physical)
{
    return bc_memory_round((uint64_t)physical * sizeof(uint64_t));
}

bool bc_table_load_begin(struct bc_table *t, const struct bc_keydir_memory *m)
{
    uint64_t reserved = reserve_for(m, sequences_bytes(bc_get32(&t->physical)));
    uint64_t *sequences = bc_memory_new(m, reserved);
    if (sequences == NULL)
        return false;
    atomic_store_explicit(&t->sequences, sequences, memory_order_relaxed);
    t->sequences_reserved = reserved;
    return true;
}

void bc_table_load_end(struct bc_table *t, const struct bc_keydir_memory *m)
{
    bc_memory_free(m, bc_table_sequences(t), t->sequences_reserved);
    atomic_store_explicit(&t->sequences, NULL, memory_order_relaxed);
    t->sequences_reserved = 0;
}

void bc_table_populate(const struct bc_table *t, const struct bc_keydir_memory *m)
{
    uint32_t physical = bc_get32(&t->physical);
    uint64_t *sequences = bc_table_sequences(t);
    if (t->block != NULL)
        bc_memory_populate(m, t->block->reserved, block_slots(t->block), physical * sizeof(struct bc_slot));
    if (sequences != NULL)
        bc_memory_populate(m, t->sequences_reserved, sequences, physical * sizeof *sequences);
}

/* ---- a new shape ---- */

/* The extent that the table's slots would have; 0 if fewer than room slots of the tail would be left. */
static uint32_t fitting(const struct bc_table *t, struct bc_table_plan plan, uint32_t room)
{
    const struct bc_slot *from = atomic_load_explicit(&t->slots, memory_order_relaxed);
    uint32_t next = 0, left = bc_get32(&t->count), physical = plan_slots(plan);
    for (uint32_t i = 0; left != 0; i++) {
        struct bc_pair pair = bc_slot_get(&from[i]);
        if (pair.place == 0)
            continue;
        uint32_t position = bc_tag_home(bc_head_tag(pair.head), plan.capacity);
        next = BC_MAX(position, next) + 1;
        left--;
    }
    return next < physical && bc_table_tail_room(physical, plan.capacity, next) >= room ? BC_MAX(next, 1) : 0;
}

/* Slots and sequences, from first on to the next end. */
struct span {
    struct bc_slot *slots;
    uint64_t *sequences; /* NULL: none */
};

static void move(struct span to, uint32_t position, struct span from, uint32_t i)
{
    bc_slot_set(&to.slots[position], bc_slot_get(&from.slots[i]));
    if (to.sequences != NULL)
        to.sequences[position] = from.sequences[i];
}

/* Spreads count slots, the first of which is at or behind position i, over a shape in which they fit. Within one span i is far
 * enough to the right that no slot is overwritten before it has moved; emptied says that the slots of to are zeros. */
static void spread(struct span to, struct span from, uint32_t i, uint32_t count, struct bc_table_plan plan, bool emptied)
{
    uint32_t next = 0;
    for (; count != 0; i++) {
        struct bc_pair pair = bc_slot_get(&from.slots[i]);
        if (pair.place == 0)
            continue;
        uint32_t position = BC_MAX(bc_tag_home(bc_head_tag(pair.head), plan.capacity), next);
        move(to, position, from, i);
        for (; next < position && !emptied; next++)
            bc_slot_set(&to.slots[next], (struct bc_pair){0, 0});
        next = position + 1;
        count--;
    }
    for (; next < plan_slots(plan) && !emptied; next++)
        bc_slot_set(&to.slots[next], (struct bc_pair){0, 0});
}

static void set_shape(struct bc_table *t, struct bc_slot *slots, struct bc_table_plan plan)
{
    atomic_store_explicit(&t->slots, slots, memory_order_release);
    atomic_store_explicit(&t->capacity, plan.capacity, memory_order_release);
    bc_put32(&t->physical, plan_slots(plan));
}

/* First all slots move to the right end of the new shape (but for its last slot, which ends every probe), packed; from there
 * each to its position, which is never further right than where it waits, as all behind it need a slot, too. */
static void grow_in_place(struct bc_table *t, struct bc_table_plan plan)
{
    struct span all = {atomic_load_explicit(&t->slots, memory_order_relaxed), bc_table_sequences(t)};
    uint32_t physical = plan_slots(plan), wait = physical - 1, left = bc_get32(&t->count);
    /* Fresh pages are slow: they come before readers have to wait. */
    for (uint32_t i = bc_get32(&t->physical); i < physical; i += SLOTS_A_PAGE)
        bc_slot_set(&all.slots[i], (struct bc_pair){0, 0});
    bool opened = bc_table_open(t);
    for (uint32_t i = t->extent; left != 0; i--) {
        if (bc_slot_get(&all.slots[i - 1]).place == 0)
            continue;
        move(all, --wait, all, i - 1);
        left--;
    }
    spread(all, all, wait, bc_get32(&t->count), plan, false);
    set_shape(t, all.slots, plan);
    bc_table_close(t, opened);
    t->block->used = BC_MAX(t->block->used, block_bytes(physical));
}

static bool move_to_new_block(struct bc_table *t, const struct bc_keydir_memory *m, struct bc_table_plan plan)
{
    struct bc_table_block *block = block_new(m, plan);
    if (block == NULL)
        return false;
    uint64_t *sequences = NULL, reserved = reserve_for(m, sequences_bytes(plan_slots(plan)));
    if (bc_table_sequences(t) != NULL && (sequences = bc_memory_new(m, reserved)) == NULL) {
        bc_table_block_free(m, block);
        return false;
    }
    struct span from = {atomic_load_explicit(&t->slots, memory_order_relaxed), bc_table_sequences(t)};
    struct span to = {block_slots(block), sequences};
    spread(to, from, 0, bc_get32(&t->count), plan, true);
    bool opened = bc_table_open(t);
    set_shape(t, to.slots, plan);
    bc_table_close(t, opened);
    t->block = block;
    if (sequences != NULL) {
        bc_table_load_end(t, m);
        atomic_store_explicit(&t->sequences, sequences, memory_order_relaxed);
        t->sequences_reserved = reserved;
    }
    return true;
}

bool bc_table_rebuild(struct bc_table *t, const struct bc_keydir_memory *m, struct bc_table_plan plan, uint32_t room,
                      struct bc_table_block **ret_old)
{
    uint32_t extent;
    while ((extent = fitting(t, plan, room)) == 0)
        plan.tail *= 2;
    uint32_t physical = plan_slots(plan);
    struct bc_table_block *block = t->block, *old = NULL;
    bool in_place = block != NULL && physical > bc_get32(&t->physical) && block_bytes(physical) <= block->reserved;
    if (bc_table_sequences(t) != NULL && sequences_bytes(physical) > t->sequences_reserved)
        in_place = false;
    if (in_place) {
        grow_in_place(t, plan);
    } else {
        if (!move_to_new_block(t, m, plan))
            return false;
        old = block;
    }
    t->extent = extent;
    bc_table_set_room(t);
    *ret_old = old;
    return true;
}
