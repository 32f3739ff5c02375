/* The store's clock: its source, and that it never steps back. */
#include "bitcask/clock.h"

#include <check.h>
#include <pthread.h>

static int64_t read_ctx(void *ctx)
{
    return *(int64_t *)ctx;
}

START_TEST(asks_the_io_without_a_callback)
{
    int64_t wall = 1700000000123;
    struct bc_io io = {.ctx = &wall, .wall_ms = read_ctx};
    struct bc_clock clock;
    bc_clock_init(&clock, &io, NULL, NULL);
    ck_assert_int_eq(bc_clock_now(&clock), 1700000000123);
    wall++;
    ck_assert_int_eq(bc_clock_now(&clock), 1700000000124);
}
END_TEST

START_TEST(callback_goes_before_the_io)
{
    int64_t wall = 5, user = -7;
    struct bc_io io = {.ctx = &wall, .wall_ms = read_ctx};
    struct bc_clock clock;
    bc_clock_init(&clock, &io, read_ctx, &user);
    ck_assert_int_eq(bc_clock_now(&clock), -7);
}
END_TEST

START_TEST(never_steps_back)
{
    int64_t user = 1000;
    struct bc_clock clock;
    bc_clock_init(&clock, NULL, read_ctx, &user);
    ck_assert_int_eq(bc_clock_now(&clock), 1000);
    user = 400;
    ck_assert_int_eq(bc_clock_now(&clock), 1000);
    user = 999;
    ck_assert_int_eq(bc_clock_now(&clock), 1000);
    user = 1001;
    ck_assert_int_eq(bc_clock_now(&clock), 1001);
}
END_TEST

/* Each reading of the source is a different one, most of them behind earlier ones. */
static int64_t jumping(void *ctx)
{
    uint64_t n = atomic_fetch_add((_Atomic uint64_t *)ctx, 1);
    return (int64_t)(n * 2654435761U % 1000003);
}

static void *watch(void *arg)
{
    struct bc_clock *clock = arg;
    int64_t previous = INT64_MIN;
    for (int i = 0; i < 50000; i++) {
        int64_t now = bc_clock_now(clock);
        if (now < previous)
            return arg;
        previous = now;
    }
    return NULL;
}

START_TEST(never_steps_back_for_any_thread)
{
    _Atomic uint64_t readings = 0;
    struct bc_clock clock;
    bc_clock_init(&clock, NULL, jumping, &readings);
    pthread_t threads[4];
    for (size_t i = 0; i < BC_ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, watch, &clock), 0);
    for (size_t i = 0; i < BC_ARRAY_SIZE(threads); i++) {
        void *went_back;
        ck_assert_int_eq(pthread_join(threads[i], &went_back), 0);
        ck_assert_ptr_null(went_back);
    }
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("clock");
    TCase *tc = tcase_create("clock");
    tcase_add_test(tc, asks_the_io_without_a_callback);
    tcase_add_test(tc, callback_goes_before_the_io);
    tcase_add_test(tc, never_steps_back);
    tcase_add_test(tc, never_steps_back_for_any_thread);
    suite_add_tcase(suite, tc);
    return suite;
}
