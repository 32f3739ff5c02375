/* test_error.c - results, their texts and the failure record: closed lists, one line that says what and where, kept per thread,
 * never confused by another thread or by a success. */
#include <pthread.h>
#include <string.h>

#include "bitcask/error.h"
#include "test/support/store.h"

START_TEST(test_codes_are_what_they_always_were)
{
    static const struct {
        int code;
        const char *name;
    } codes[] = {
        {0, "BITCASK_OK"},          {-1, "BITCASK_NOT_FOUND"},    {-2, "BITCASK_CONDITION"}, {-3, "BITCASK_INVALID"},
        {-4, "BITCASK_TOO_LARGE"},  {-5, "BITCASK_SHORT_BUFFER"}, {-6, "BITCASK_NO_MEMORY"}, {-7, "BITCASK_NO_SPACE"},
        {-8, "BITCASK_IO"},         {-9, "BITCASK_CORRUPT"},      {-10, "BITCASK_LOCKED"},   {-11, "BITCASK_BUSY"},
        {-12, "BITCASK_READ_ONLY"}, {-13, "BITCASK_POISONED"},    {-14, "BITCASK_FORKED"},   {-15, "BITCASK_UNSUPPORTED"},
        {-16, "BITCASK_CANCELLED"}, {-17, "BITCASK_UNKNOWN"},     {1, "BITCASK_UNKNOWN"},
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        ck_assert_str_eq(bitcask_errname(codes[i].code), codes[i].name);
        const char *text = bitcask_strerror(codes[i].code);
        ck_assert_ptr_nonnull(text);
        ck_assert_int_ne(text[0], '\0');
        for (size_t j = 0; j < i; j++)
            ck_assert(codes[i].code == 1 || strcmp(text, bitcask_strerror(codes[j].code)) != 0);
    }
    ck_assert_str_eq(bitcask_version(), "0.1.0");
}
END_TEST

START_TEST(test_no_failure_yet)
{
    const bitcask_error *e = bitcask_last_error();
    ck_assert_ptr_nonnull(e);
    ck_assert_uint_eq(e->struct_size, sizeof *e);
    ck_assert_int_eq(e->result, BITCASK_OK);
    ck_assert_int_eq(e->sys_errno, 0);
    ck_assert_uint_eq(e->offset, 0);
    ck_assert_str_eq(e->file, "");
    ck_assert_ptr_nonnull(e->message);
}
END_TEST

/* A failure stays until the next one, also past successes; a plain answer forgets the file of the failure before it. */
START_TEST(test_last_failure_stays)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o), *second = NULL;
    ck_assert_int_eq(bitcask_open(path, &o, &second), BITCASK_LOCKED);
    ck_assert_ptr_null(second);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_expect(db, "a", "1");
    store_expect_failure(BITCASK_LOCKED, "LOCK", path);
    store_expect(db, "b", NULL);
    store_expect_failure(BITCASK_NOT_FOUND, "", "not found");
    ck_assert_int_eq(bitcask_last_error()->sys_errno, 0);
    ck_assert_uint_eq(bitcask_last_error()->offset, 0);
    uint64_t sequence = 5;
    ck_assert_int_eq(store_put_flags(db, "a", "2", BITCASK_PUT_IF_ABSENT, 0, 0, &sequence), BITCASK_CONDITION);
    store_expect_failure(BITCASK_CONDITION, "", NULL);
    ck_assert_uint_eq(sequence, 5);
    store_close(db);
    store_expect_failure(BITCASK_CONDITION, "", NULL);
}
END_TEST

static void *fail_elsewhere(void *arg)
{
    ck_assert_int_eq(bitcask_last_error()->result, BITCASK_OK);
    size_t size;
    (void)bitcask_read(arg, "", 0, NULL, 0, &size);
    ck_assert_int_eq(bitcask_last_error()->result, BITCASK_INVALID);
    return NULL;
}

START_TEST(test_failures_belong_to_their_thread)
{
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    store_expect(db, "absent", NULL);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, fail_elsewhere, db), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    store_expect_failure(BITCASK_NOT_FOUND, "", NULL);
    store_close(db);
}
END_TEST

/* The record itself: errno to result; names and messages of any length are cut, not overrun; a message may be made of the last
 * one. */
START_TEST(test_record)
{
    ck_assert_int_eq(bc_result_of_errno(28), BITCASK_NO_SPACE);  /* ENOSPC */
    ck_assert_int_eq(bc_result_of_errno(122), BITCASK_NO_SPACE); /* EDQUOT */
    ck_assert_int_eq(bc_result_of_errno(27), BITCASK_NO_SPACE);  /* EFBIG */
    ck_assert_int_eq(bc_result_of_errno(12), BITCASK_NO_MEMORY); /* ENOMEM */
    ck_assert_int_eq(bc_result_of_errno(5), BITCASK_IO);
    ck_assert_int_eq(bc_result_of_errno(30), BITCASK_IO);
    char long_text[2000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    ck_assert_int_eq(bc_fail(BITCASK_CORRUPT, 5, long_text, 1ULL << 40, "%s", long_text), BITCASK_CORRUPT);
    const bitcask_error *e = bitcask_last_error();
    ck_assert_uint_eq(e->offset, 1ULL << 40);
    ck_assert_int_eq(e->sys_errno, 5);
    ck_assert_uint_ge(strlen(e->file), 200);
    ck_assert_uint_ge(strlen(e->message), 400);
    ck_assert_uint_lt(strlen(e->message), sizeof long_text - 1);
    ck_assert_int_eq(bc_fail(BITCASK_IO, 0, NULL, 0, "first"), BITCASK_IO);
    ck_assert_int_eq(bc_fail(BITCASK_IO, 0, "f", 0, "second after %s", bitcask_last_error()->message), BITCASK_IO);
    store_expect_failure(BITCASK_IO, "f", "second after first");
    ck_assert_int_eq(bc_fail_io(2, "name", "cannot do it"), BITCASK_IO);
    store_expect_failure(BITCASK_IO, "name", "No such file");
    ck_assert_int_eq(bitcask_last_error()->sys_errno, 2);
}
END_TEST

/* A failure that no file is to blame for must not print a null pointer. */
START_TEST(test_system_failure_without_a_file)
{
    ck_assert_int_eq(bc_fail_io(11, NULL, "no random bytes"), BITCASK_IO);
    store_expect_failure(BITCASK_IO, "", "no random bytes");
    ck_assert_msg(strstr(bitcask_last_error()->message, "(null)") == NULL, "%s", bitcask_last_error()->message);
}
END_TEST

/* Out-parameters are untouched on failure; SHORT_BUFFER says the size, and only that. */
START_TEST(test_outputs_untouched)
{
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    ck_assert_int_eq(store_put(db, "a", "12345"), BITCASK_OK);
    void *value = db;
    size_t size = 99;
    char buf[8];
    ck_assert_int_eq(bitcask_get(db, "b", 1, &value, &size), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_get(db, "", 0, &value, &size), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_get(db, NULL, 1, &value, &size), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_read(db, "b", 1, buf, sizeof buf, &size), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_read(db, "a", 1, NULL, 5, &size), BITCASK_INVALID);
    ck_assert_ptr_eq(value, db);
    ck_assert_uint_eq(size, 99);
    ck_assert_int_eq(bitcask_read(db, "a", 1, buf, 4, &size), BITCASK_SHORT_BUFFER);
    ck_assert_uint_eq(size, 5);
    size = 99;
    ck_assert_int_eq(bitcask_read(db, "a", 1, NULL, 0, &size), BITCASK_SHORT_BUFFER);
    ck_assert_uint_eq(size, 5);
    ck_assert_int_eq(bitcask_read(db, "a", 1, buf, 5, &size), BITCASK_OK);
    ck_assert_int_eq(memcmp(buf, "12345", 5), 0);

    struct {
        bitcask_key_info info;
        uint64_t tail;
    } r;
    memset(&r, 0x5a, sizeof r);
    r.info.struct_size = sizeof r;
    ck_assert_int_eq(bitcask_info(db, "b", 1, &r.info), BITCASK_NOT_FOUND);
    ck_assert_uint_eq(r.info.value_size, 0x5a5a5a5a5a5a5a5aULL);
    ck_assert_int_eq(bitcask_info(db, "a", 1, &r.info), BITCASK_OK);
    ck_assert_uint_eq(r.info.value_size, 5);
    ck_assert_uint_eq(r.info.struct_size, sizeof r);
    ck_assert_uint_eq(r.tail, 0x5a5a5a5a5a5a5a5aULL);
    /* struct_size says how much is filled in. */
    r.info = (bitcask_key_info){offsetof(bitcask_key_info, sequence), 1, 2, 3};
    ck_assert_int_eq(bitcask_info(db, "a", 1, &r.info), BITCASK_OK);
    ck_assert_uint_eq(r.info.value_size, 5);
    ck_assert_uint_eq(r.info.sequence, 2);
    r.info.struct_size = 0;
    ck_assert_int_eq(bitcask_info(db, "a", 1, &r.info), BITCASK_INVALID);
    store_close(db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("error");
    TCase *t = store_tcase("error");
    tcase_add_test(t, test_codes_are_what_they_always_were);
    tcase_add_test(t, test_no_failure_yet);
    store_add_test(t, test_last_failure_stays);
    store_add_test(t, test_failures_belong_to_their_thread);
    tcase_add_test(t, test_record);
    tcase_add_test(t, test_system_failure_without_a_file);
    store_add_test(t, test_outputs_untouched);
    suite_add_tcase(s, t);
    return s;
}
