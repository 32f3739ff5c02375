/* clock.h - the store's wall clock in Unix milliseconds: the caller's callback, or the system's clock.
 *
 * Expiry is judged by it, and nothing else: order comes from sequences. Within a handle it never steps back, whatever its
 * source does: what was once seen expired stays expired. Safe from any thread after init.
 */
#ifndef BC_CLOCK_H
#define BC_CLOCK_H

#include <stdatomic.h>

#include "bitcask/bitcask.h"
#include "bitcask/io.h"

struct bc_clock {
    const struct bc_io *io; /* borrowed; asked when fn is NULL */
    bitcask_clock_fn fn;
    void *ctx;
    _Atomic int64_t latest; /* the highest reading so far */
};

void bc_clock_init(struct bc_clock *, const struct bc_io *, bitcask_clock_fn, void *ctx);
int64_t bc_clock_now(struct bc_clock *);

#endif
