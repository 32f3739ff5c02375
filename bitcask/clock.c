#include "bitcask/clock.h"

void bc_clock_init(struct bc_clock *clock, const struct bc_io *io, bitcask_clock_fn fn, void *ctx)
{
    clock->io = io;
    clock->fn = fn;
    clock->ctx = ctx;
    atomic_init(&clock->latest, INT64_MIN);
}

int64_t bc_clock_now(struct bc_clock *clock)
{
    int64_t now = clock->fn != NULL ? clock->fn(clock->ctx) : clock->io->wall_ms(clock->io->ctx);
    /* Most readings fall into a millisecond that was seen before: they only load, and the line stays shared.
     * Relaxed: one variable, and its own modification order is all that "never back" needs. */
    int64_t latest = atomic_load_explicit(&clock->latest, memory_order_relaxed);
    while (now > latest) {
        if (atomic_compare_exchange_weak_explicit(&clock->latest, &latest, now, memory_order_relaxed, memory_order_relaxed))
            return now;
    }
    return latest;
}
