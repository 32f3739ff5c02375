#include "bitcask/merge_pace.h"

#define SLICE_US 5000U /* a change of the limit, a resume or an interrupt is seen this soon */
#define WINDOW_MS 1000 /* the account is settled this often: what was not used is not saved up for longer */

void bc_merge_pace_init(struct bc_merge_pace *p, const struct bc_io *io)
{
    p->io = io;
    atomic_init(&p->limit, UINT64_MAX);
    atomic_init(&p->paused, false);
    atomic_init(&p->interrupts, 0);
    p->since_ms = 0;
    p->spent = 0;
}

/* Milliseconds that are missing until the bytes of this account were within the limit. */
static int64_t ahead_by(const struct bc_merge_pace *p, int64_t now)
{
    uint64_t limit = atomic_load_explicit(&p->limit, memory_order_relaxed);
    if (limit == UINT64_MAX)
        return 0;
    double due = (double)p->spent * 1000.0 / (double)BC_MAX(limit, 1);
    return due > (double)(now - p->since_ms) ? (int64_t)(due - (double)(now - p->since_ms)) : 0;
}

bool bc_merge_pace_spend(struct bc_merge_pace *p, uint64_t bytes)
{
    int64_t now = p->io->monotonic_ms(p->io->ctx);
    if (p->since_ms == 0 || (now - p->since_ms > WINDOW_MS && ahead_by(p, now) == 0)) {
        p->since_ms = now;
        p->spent = 0;
    }
    p->spent += bytes;
    while (!bc_merge_pace_interrupted(p)) {
        if (!atomic_load_explicit(&p->paused, memory_order_relaxed) && ahead_by(p, p->io->monotonic_ms(p->io->ctx)) == 0)
            return true;
        p->io->sleep_us(p->io->ctx, SLICE_US);
    }
    return false;
}
