#include "bitcask/keydir_table.h"

#include <string.h>

static struct bc_slot *slots_of(const struct bc_table *t)
{
    return atomic_load_explicit(&t->slots, memory_order_relaxed);
}

/* ---- readers ---- */

bool bc_table_probe(const struct bc_table *t, uint32_t tag, struct bc_pair *ret, unsigned max, unsigned *ret_count)
{
    uint32_t version = atomic_load_explicit(&t->version, memory_order_acquire);
    if ((version & 1) != 0)
        return false;
    const struct bc_slot *slot = atomic_load_explicit(&t->slots, memory_order_acquire);
    uint32_t capacity = atomic_load_explicit(&t->capacity, memory_order_acquire);
    /* Before the first slot: a capacity of another table would point beyond this one. */
    if (bc_get32(&t->version) != version)
        return false;
    unsigned count = 0;
    slot += bc_tag_home(tag, capacity);
    /* Every other probe ends in the line behind: it comes from memory together with the first. */
    __builtin_prefetch(slot + BC_CACHE_LINE / sizeof *slot);
    for (;; slot++) {
        /* The place first: if it is not empty, the head that goes with it is there. */
        uint64_t place = atomic_load_explicit(&slot->place, memory_order_acquire);
        uint64_t head = atomic_load_explicit(&slot->head, memory_order_acquire);
        if (place == 0 || bc_head_tag(head) > tag)
            break;
        if (bc_head_tag(head) < tag)
            continue;
        if (count < max)
            ret[count] = (struct bc_pair){head, place};
        count++;
    }
    if (bc_get32(&t->version) != version)
        return false;
    *ret_count = count;
    return true;
}

void bc_table_prefetch(const struct bc_table *t, uint32_t tag)
{
    const struct bc_slot *slots = atomic_load_explicit(&t->slots, memory_order_relaxed);
    uint32_t position = bc_tag_home(tag, bc_get32(&t->capacity));
    __builtin_prefetch(slots + position);
    __builtin_prefetch(slots + position + BC_CACHE_LINE / sizeof *slots);
    const uint64_t *sequences = bc_table_sequences(t);
    if (sequences != NULL) {
        __builtin_prefetch(sequences + position);
        __builtin_prefetch(sequences + position + BC_CACHE_LINE / sizeof *sequences);
    }
}

/* ---- the writer ---- */

bool bc_table_open(struct bc_table *t)
{
    uint32_t version = bc_get32(&t->version);
    if ((version & 1) != 0)
        return false;
    bc_put32(&t->version, version + 1);
    return true;
}

void bc_table_close(struct bc_table *t, bool opened)
{
    if (opened)
        atomic_store_explicit(&t->version, bc_get32(&t->version) + 1, memory_order_release);
}

uint32_t bc_table_first(const struct bc_table *t, uint32_t tag)
{
    const struct bc_slot *slots = slots_of(t);
    uint32_t i = bc_tag_home(tag, bc_get32(&t->capacity));
    for (;; i++) {
        struct bc_pair pair = bc_slot_get(&slots[i]);
        if (pair.place == 0 || bc_head_tag(pair.head) >= tag)
            return i;
    }
}

struct bc_pair bc_table_at(const struct bc_table *t, uint32_t position)
{
    return bc_slot_get(slots_of(t) + position);
}

/* Every insertion fills the first empty slot from its home on: it reaches at most one slot further than the last in use. */
uint32_t bc_table_tail_room(uint32_t physical, uint32_t capacity, uint32_t extent)
{
    return physical - 1 - BC_MAX(capacity, extent);
}

void bc_table_set_room(struct bc_table *t)
{
    uint32_t capacity = bc_get32(&t->capacity), count = bc_get32(&t->count), limit = bc_table_limit(capacity);
    uint32_t tail = bc_table_tail_room(bc_get32(&t->physical), capacity, t->extent);
    bc_put32(&t->room, limit > count ? BC_MIN(limit - count, tail) : 0);
}

void bc_table_insert(struct bc_table *t, uint32_t position, struct bc_pair pair)
{
    struct bc_slot *slots = slots_of(t);
    uint32_t end = position;
    while (bc_slot_get(&slots[end]).place != 0)
        end++;
    bool opened = bc_table_open(t);
    for (uint32_t i = end; i > position; i--)
        bc_slot_set(&slots[i], bc_slot_get(&slots[i - 1]));
    bc_slot_set(&slots[position], pair);
    bc_table_close(t, opened);
    uint64_t *sequences = bc_table_sequences(t);
    if (sequences != NULL)
        memmove(sequences + position + 1, sequences + position, (end - position) * sizeof *sequences);
    bc_put32(&t->count, bc_get32(&t->count) + 1);
    t->extent = BC_MAX(t->extent, end + 1);
    bc_table_set_room(t);
}

void bc_table_remove(struct bc_table *t, uint32_t position)
{
    struct bc_slot *slots = slots_of(t);
    uint32_t capacity = bc_get32(&t->capacity), end = position;
    bool opened = bc_table_open(t);
    /* What stands behind moves up until the next slot is empty or at its home. */
    for (;; end++) {
        struct bc_pair next = bc_slot_get(&slots[end + 1]);
        if (next.place == 0 || bc_tag_home(bc_head_tag(next.head), capacity) == end + 1)
            break;
        bc_slot_set(&slots[end], next);
    }
    bc_slot_set(&slots[end], (struct bc_pair){0, 0});
    bc_table_close(t, opened);
    uint64_t *sequences = bc_table_sequences(t);
    if (sequences != NULL)
        memmove(sequences + position, sequences + position + 1, (end - position) * sizeof *sequences);
    bc_put32(&t->count, bc_get32(&t->count) - 1);
    if (end + 1 == t->extent)
        t->extent = end;
    bc_table_set_room(t);
}

void bc_table_set(struct bc_table *t, uint32_t position, struct bc_pair pair)
{
    struct bc_slot *slot = slots_of(t) + position;
    /* Readers take tag, flags and place from a slot: if only the place changes, they see the old or the new. */
    bool opened = bc_head_flags(bc_slot_get(slot).head) != bc_head_flags(pair.head) && bc_table_open(t);
    bc_slot_set(slot, pair);
    bc_table_close(t, opened);
}
