/* test_pins.c - bitcask/pins.h: synchronize() waits for those inside, and for nobody else. */
#include "bitcask/pins.h"

#include "bitcask/io_posix.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static struct bc_pins *new_pins(void)
{
    struct bc_pins *pins = bc_pins_new(&bc_allocator_default, &bc_io_posix);
    ck_assert_ptr_nonnull(pins);
    return pins;
}

START_TEST(test_synchronize_alone_returns)
{
    struct bc_pins *pins = new_pins();
    for (int i = 0; i < 5; i++) {
        bc_pins_synchronize(pins);
        bc_pins_leave(pins, bc_pins_enter(pins));
    }
    bc_pins_synchronize(pins);
    bc_pins_free(pins);
    bc_pins_free(NULL);
}
END_TEST

struct waiter {
    struct bc_pins *pins;
    atomic_bool done;
};

static void *synchronize_main(void *arg)
{
    struct waiter *w = arg;
    bc_pins_synchronize(w->pins);
    atomic_store(&w->done, true);
    return NULL;
}

static void sleep_ms(unsigned ms)
{
    bc_io_posix.sleep_us(bc_io_posix.ctx, ms * 1000);
}

/* In both parities of the epoch, with a later reader that must not be waited for; the token leaves on another thread. */
START_TEST(test_synchronize_waits_for_the_reader_inside)
{
    struct waiter w = {.pins = new_pins()};
    for (int round = 0; round < 4; round++) {
        pthread_t thread;
        unsigned inside = bc_pins_enter(w.pins), again = bc_pins_enter(w.pins);
        atomic_store(&w.done, false);
        ck_assert_int_eq(pthread_create(&thread, NULL, synchronize_main, &w), 0);
        sleep_ms(20);
        ck_assert(!atomic_load(&w.done));
        bc_pins_leave(w.pins, again);
        unsigned later = bc_pins_enter(w.pins);
        sleep_ms(5);
        ck_assert(!atomic_load(&w.done));
        bc_pins_leave(w.pins, inside);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        bc_pins_leave(w.pins, later);
    }
    bc_pins_free(w.pins);
}
END_TEST

struct shared {
    struct bc_pins *pins;
    _Atomic(uint64_t *) object;
    atomic_bool stop;
    atomic_uint reads;
};

#define ALIVE UINT64_C(0x5AFE5AFE5AFE5AFE)

static void *reader_main(void *arg)
{
    struct shared *s = arg;
    uintptr_t bad = 0;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        unsigned token = bc_pins_enter(s->pins);
        const uint64_t *object = atomic_load_explicit(&s->object, memory_order_acquire);
        bad += *object != ALIVE;
        atomic_fetch_add_explicit(&s->reads, 1, memory_order_relaxed);
        bad += *object != ALIVE;
        bc_pins_leave(s->pins, token);
    }
    return (void *)bad;
}

/* What is replaced dies after synchronize(): no reader sees it dead. The sanitizers see more than the value. */
START_TEST(test_nobody_holds_what_synchronize_let_go)
{
    struct shared s = {.pins = new_pins()};
    pthread_t readers[4];
    uint64_t *first = malloc(sizeof *first);
    ck_assert_ptr_nonnull(first);
    *first = ALIVE;
    atomic_store(&s.object, first);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, reader_main, &s), 0);
    for (int i = 0; i < 2000 || atomic_load(&s.reads) < 10000; i++) {
        uint64_t *next = malloc(sizeof *next);
        ck_assert_ptr_nonnull(next);
        *next = ALIVE;
        uint64_t *old = atomic_exchange(&s.object, next);
        bc_pins_synchronize(s.pins);
        *old = 0;
        free(old);
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < 4; i++) {
        void *bad;
        ck_assert_int_eq(pthread_join(readers[i], &bad), 0);
        ck_assert_ptr_null(bad);
    }
    free(atomic_load(&s.object));
    bc_pins_free(s.pins);
}
END_TEST

static void *no_memory(void *ptr, size_t size, void *ctx)
{
    (void)ptr;
    (void)size;
    (void)ctx;
    return NULL;
}

START_TEST(test_no_memory)
{
    const bitcask_allocator none = {no_memory, NULL};
    ck_assert_ptr_null(bc_pins_new(&none, &bc_io_posix));
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("pins");
    TCase *tc = tcase_create("pins");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_synchronize_alone_returns);
    tcase_add_test(tc, test_synchronize_waits_for_the_reader_inside);
    tcase_add_test(tc, test_nobody_holds_what_synchronize_let_go);
    tcase_add_test(tc, test_no_memory);
    suite_add_tcase(suite, tc);
    return suite;
}
