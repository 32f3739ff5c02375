/* What a merge step changes in the KeyDir. The list is complete, and so is the memory it takes, before the commit. */
#include "bitcask/error.h"
#include "bitcask/merge_internal.h"

#define LOOKS 8U
#define AHEAD 8U /* slots on their way from memory */
#define RETRY_US 10000U

int bc_merge_add_move(struct bc_merge_step *s, uint64_t hash, uint64_t from, uint64_t to)
{
    if (s->move_count == s->move_capacity) {
        size_t capacity = s->move_capacity * 2 + 1024;
        struct bc_merge_move *moves = bc_memory_grow(&s->memory, s->moves, bc_merge_list_bytes(s->move_capacity, sizeof *moves),
                                                     bc_merge_list_bytes(capacity, sizeof *moves));
        if (moves == NULL)
            return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to merge");
        s->moves = moves;
        s->move_capacity = capacity;
    }
    s->moves[s->move_count++] = (struct bc_merge_move){hash, (uint32_t)(from / 8), (uint32_t)(to / 8)};
    return BITCASK_OK;
}

static size_t moves_end(const struct bc_merge_step *s, size_t input)
{
    return input + 1 < s->input_count ? s->inputs[input + 1].first_move : s->move_count;
}

static struct bc_entry place_of(const struct bc_file *f, uint32_t units)
{
    return (struct bc_entry){.file = f->index, .offset = (uint64_t)units * 8};
}

static void prefetch(const struct bc_merge_step *s, size_t i)
{
    if (i < s->move_count)
        bc_keydir_prefetch(s->m->keydir, s->moves[i].hash);
}

/* How many of an input's moves would still move something. */
static uint64_t count_standing(const struct bc_merge_step *s, size_t input)
{
    uint64_t standing = 0;
    for (size_t i = s->inputs[input].first_move; i < moves_end(s, input); i++) {
        struct bc_entry from = place_of(s->inputs[input].file, s->moves[i].from);
        prefetch(s, i + AHEAD);
        standing += bc_keydir_stands(s->m->keydir, s->moves[i].hash, &from);
    }
    return standing;
}

/* Live counts of a sealed file only ever fall. Each record that is counted was alive at some moment between the two readings of
 * the counter, so the count lies between them; where both are the same it is exact. A writer lowers the counter a moment before
 * he changes the slot, so one look may be off by him: several are not. */
static int account_one(const struct bc_merge_step *s, size_t input)
{
    const struct bc_file *f = s->inputs[input].file;
    uint64_t found = 0, after = 0;
    bool plausible = false;
    for (unsigned attempt = 0; attempt < LOOKS; attempt++) {
        uint64_t before = atomic_load(&f->live_keys);
        found = count_standing(s, input);
        after = atomic_load(&f->live_keys);
        bool between = found <= before && found >= after;
        plausible |= between;
        if (between && before == after)
            return BITCASK_OK;
    }
    if (plausible)
        return BITCASK_OK;
    char name[BC_NAME_SIZE];
    bc_data_name(name, f->name.id);
    return bc_fail(BITCASK_CORRUPT, 0, name, 0, "%s: %llu live records were found in it, the KeyDir knows %llu", name,
                   (unsigned long long)found, (unsigned long long)after);
}

int bc_merge_account(const struct bc_merge_step *s)
{
    int result = BITCASK_OK;
    for (size_t input = 0; input < s->input_count && result == BITCASK_OK; input++) {
        result = account_one(s, input);
        if (result == BITCASK_CORRUPT)
            atomic_store(&s->inputs[input].file->barred, true);
    }
    return result;
}

/* Without memory for what a snapshot must keep there is nothing to do but to wait, for memory or for the end of the snapshot:
 * the commit is done. Who wants the merge to stop waits, too: a move that was left out would let a later step take the record
 * in the output for a dead one. */
static enum bc_moved move_or_wait(const struct bc_merge_step *s, uint64_t hash, const struct bc_entry *from,
                                  const struct bc_entry *to, struct bc_entry *ret_was)
{
    const struct bc_io *io = s->m->dir->io;
    for (;;) {
        enum bc_moved moved = bc_keydir_move(s->m->keydir, hash, from, to, ret_was);
        if (moved != BC_MOVED_NO_MEMORY)
            return moved;
        io->sleep_us(io->ctx, RETRY_US);
    }
}

void bc_merge_move_all(struct bc_merge_step *s)
{
    uint64_t bytes = 0, keys = 0, expiring = 0;
    for (size_t input = 0; input < s->input_count; input++) {
        struct bc_file *f = s->inputs[input].file;
        for (size_t i = s->inputs[input].first_move; i < moves_end(s, input); i++) {
            const struct bc_merge_move *m = &s->moves[i];
            struct bc_entry from = place_of(f, m->from), to = {0}, was;
            if (m->to != 0)
                to = place_of(s->out_file, m->to);
            prefetch(s, i + AHEAD);
            if (move_or_wait(s, m->hash, &from, m->to == 0 ? NULL : &to, &was) != BC_MOVED)
                continue;
            bool expires = (was.flags & BC_ENTRY_EXPIRES) != 0;
            bc_file_lose(f, was.footprint, expires);
            if (m->to != 0) {
                bytes += was.footprint;
                keys++;
                expiring += expires;
            } else if (s->wish->evict) {
                s->done.evicted++;
            } else {
                s->done.expired++;
            }
        }
    }
    /* It was credited with all of them before the first moved, so that nobody ever sees less than nothing. */
    if (s->out_file == NULL)
        return;
    atomic_fetch_sub(&s->out_file->live_bytes, s->live_bytes - bytes);
    atomic_fetch_sub(&s->out_file->live_keys, s->live_keys - keys);
    atomic_fetch_sub(&s->out_file->expiring_keys, s->expiring_keys - expiring);
}
