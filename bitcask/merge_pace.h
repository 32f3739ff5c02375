/* merge_pace.h - how fast a merge may go, and whether it may: rate limit, pause, and those who want it to stop.
 *
 * Any thread may change the limit, pause, resume or interrupt; one merge at a time spends.
 */
#ifndef BC_MERGE_PACE_H
#define BC_MERGE_PACE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bitcask/attr.h"
#include "bitcask/io.h"

struct bc_merge_pace {
    const struct bc_io *io;
    _Atomic uint64_t limit; /* bytes a second, read and written; UINT64_MAX: none */
    atomic_bool paused;
    _Atomic uint32_t interrupts; /* how many want the merge to stop: a clear, a close */
    int64_t since_ms;            /* the spender's own: when the account was opened */
    uint64_t spent;              /* bytes since then */
};

void bc_merge_pace_init(struct bc_merge_pace *, const struct bc_io *);

/* Accounts for bytes that were read or written, and waits until the limit allows for them and no pause holds. Returns whether
 * the merge may go on. Not under any lock but the merge's own. */
bool bc_merge_pace_spend(struct bc_merge_pace *, uint64_t bytes) bc_must_check;

static inline bool bc_merge_pace_interrupted(const struct bc_merge_pace *p)
{
    return atomic_load_explicit(&p->interrupts, memory_order_relaxed) != 0;
}

#endif
