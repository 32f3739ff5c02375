/* pins.h - who may still look at what was taken away. Readers announce themselves before they probe the KeyDir; whoever unmaps
 * a file or frees a table that readers could hold waits until every reader that was inside has left. Any thread.
 *
 * A reader writes only to a stripe of its own thread's: no cache line is written by all readers.
 */
#ifndef BC_PINS_H
#define BC_PINS_H

#include "bitcask/alloc.h"
#include "bitcask/io.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Two counters, one for each parity of the epoch. */
struct bc_pins_stripe {
    _Alignas(BC_CACHE_LINE) atomic_uint inside[2];
    atomic_uint calls;
};

struct bc_pins {
    struct bc_pins_stripe *stripes; /* aligned, within memory; one more behind the mask's, for background threads */
    unsigned mask;
    atomic_uint epoch;

    /* Written seldom; not on the line that every enter() reads. */
    _Alignas(BC_CACHE_LINE) atomic_uint threads;
    const bitcask_allocator *allocator;
    const struct bc_io *io;
    void *memory;
    pthread_mutex_t mutex; /* one synchronize() at a time */
};

struct bc_pins *bc_pins_new(const bitcask_allocator *, const struct bc_io *); /* NULL: no memory */
void bc_pins_free(struct bc_pins *);                                          /* NULL ok; no reader inside */

/* This thread's number, 0 = none yet: given by the first pins that it enters, so that the threads of one store get stripes of
 * their own. With several stores two threads may share a stripe, which costs time and nothing else. */
extern _Thread_local unsigned bc_pins_thread __attribute__((tls_model("initial-exec"), visibility("hidden")));
void bc_pins_number(struct bc_pins *); /* gives it */

static inline unsigned bc_pins_enter_stripe(struct bc_pins *pins, unsigned stripe)
{
    for (;;) {
        unsigned epoch = atomic_load(&pins->epoch);
        atomic_uint *inside = &pins->stripes[stripe].inside[epoch & 1];
        atomic_fetch_add(inside, 1);
        /* Counted before the epoch moved: synchronize() sees the count. Moved in between: it may have seen
         * zero and gone. */
        if (bc_likely(atomic_load(&pins->epoch) == epoch))
            return stripe << 1 | (epoch & 1);
        atomic_fetch_sub(inside, 1);
    }
}

/* Never blocks. The token goes to leave(), on the same or another thread. */
static inline unsigned bc_pins_enter(struct bc_pins *pins)
{
    if (bc_unlikely(bc_pins_thread == 0))
        bc_pins_number(pins);
    return bc_pins_enter_stripe(pins, bc_pins_thread & pins->mask);
}

static inline void bc_pins_leave(struct bc_pins *pins, unsigned token)
{
    atomic_fetch_sub_explicit(&pins->stripes[token >> 1].inside[token & 1], 1, memory_order_release);
}

/* The same for a background thread of the store, which is no caller. */
unsigned bc_pins_enter_background(struct bc_pins *);

/* A call that is no reader under a pin: it may wait, and nothing that is taken away waits for it. */
unsigned bc_pins_call(struct bc_pins *);
void bc_pins_return(struct bc_pins *, unsigned token);
/* Whether a caller is inside a pin or a call at this moment. */
bool bc_pins_busy(struct bc_pins *);

/* Returns when every reader that was inside at the call has left. May sleep; not under wal, shard or cache locks. Callers
 * exclude each other inside. */
void bc_pins_synchronize(struct bc_pins *);

#endif
