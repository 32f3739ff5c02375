#include "bitcask/pins.h"

/* synchronize() moves the epoch on, so that nobody new enters the old
 * parity, and waits until its counters are zero. Model: test/model/pins.pml. */

#define STRIPES_MIN 8U
#define STRIPES_MAX 256U
#define STRIPES_PER_PROCESSOR 4U
#define SPINS 64
#define SLEEP_MAX_US 128U

_Thread_local unsigned bc_pins_thread;

void bc_pins_number(struct bc_pins *pins)
{
    bc_pins_thread = 1 + (atomic_fetch_add_explicit(&pins->threads, 1, memory_order_relaxed) & (STRIPES_MAX - 1));
}

struct bc_pins *bc_pins_new(const bitcask_allocator *allocator, const struct bc_io *io)
{
    unsigned count = STRIPES_MIN;
    unsigned wanted = BC_MIN(io->processors(io->ctx), STRIPES_MAX) * STRIPES_PER_PROCESSOR;
    while (count < wanted && count < STRIPES_MAX)
        count *= 2;
    size_t head = bc_align_up(sizeof(struct bc_pins), BC_CACHE_LINE);
    void *memory = bc_alloc_zero(allocator, 1, head + (count + 1) * sizeof(struct bc_pins_stripe) + BC_CACHE_LINE);
    if (memory == NULL)
        return NULL;
    struct bc_pins *pins = (struct bc_pins *)bc_align_up((uintptr_t)memory, BC_CACHE_LINE);
    pins->memory = memory;
    pins->allocator = allocator;
    pins->io = io;
    pins->mask = count - 1;
    pins->stripes = (struct bc_pins_stripe *)((char *)pins + head);
    for (unsigned i = 0; i <= count; i++) {
        atomic_init(&pins->stripes[i].inside[0], 0);
        atomic_init(&pins->stripes[i].inside[1], 0);
        atomic_init(&pins->stripes[i].calls, 0);
    }
    atomic_init(&pins->epoch, 0);
    atomic_init(&pins->threads, 0);
    if (pthread_mutex_init(&pins->mutex, NULL) != 0) {
        bc_free(allocator, memory);
        return NULL;
    }
    return pins;
}

void bc_pins_free(struct bc_pins *pins)
{
    if (pins == NULL)
        return;
    pthread_mutex_destroy(&pins->mutex);
    bc_free(pins->allocator, pins->memory);
}

unsigned bc_pins_enter_background(struct bc_pins *pins)
{
    return bc_pins_enter_stripe(pins, pins->mask + 1);
}

unsigned bc_pins_call(struct bc_pins *pins)
{
    if (bc_unlikely(bc_pins_thread == 0))
        bc_pins_number(pins);
    unsigned stripe = bc_pins_thread & pins->mask;
    atomic_fetch_add_explicit(&pins->stripes[stripe].calls, 1, memory_order_relaxed);
    return stripe;
}

void bc_pins_return(struct bc_pins *pins, unsigned token)
{
    atomic_fetch_sub_explicit(&pins->stripes[token].calls, 1, memory_order_release);
}

bool bc_pins_busy(struct bc_pins *pins)
{
    bool busy = false;
    for (unsigned i = 0; i <= pins->mask; i++) {
        struct bc_pins_stripe *s = &pins->stripes[i];
        busy |= atomic_load(&s->inside[0]) != 0 || atomic_load(&s->inside[1]) != 0 || atomic_load(&s->calls) != 0;
    }
    return busy;
}

void bc_pins_synchronize(struct bc_pins *pins)
{
    pthread_mutex_lock(&pins->mutex);
    unsigned parity = atomic_fetch_add(&pins->epoch, 1) & 1;
    unsigned sleep_us = 1;
    for (unsigned i = 0, spins = 0; i <= pins->mask + 1;) {
        if (atomic_load(&pins->stripes[i].inside[parity]) == 0) {
            i++;
        } else if (++spins > SPINS) {
            pins->io->sleep_us(pins->io->ctx, sleep_us);
            sleep_us = BC_MIN(sleep_us * 2, SLEEP_MAX_US);
        }
    }
    pthread_mutex_unlock(&pins->mutex);
}
