/* store.h - stores in temporary directories for the tests of the public interface, and what such tests look at from outside:
 * names, bytes and digests of a directory.
 *
 * Every test of the public interface runs in both I/O modes: store_add_test() adds it as a loop test, _i is the mode. Fixture
 * and temporary directories belong to the process that runs the suite, so nothing is left behind by a test that fails.
 * Helpers assert; they are for the thread of the test, unless said otherwise.
 */
#ifndef TEST_SUPPORT_STORE_H
#define TEST_SUPPORT_STORE_H

#include <check.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "bitcask/bitcask.h"

#define STORE_MODES 2 /* mapped, NO_MMAP */

TCase *store_tcase(const char *name); /* with the fixture that makes and removes the directory of temporary stores */
#define store_add_test(tcase, test) tcase_add_loop_test(tcase, test, 0, STORE_MODES)

unsigned long store_scale(void); /* BITCASK_TEST_SCALE, 1 without: factor for loops */

/* A path that nothing stands at yet, in a directory of this test's own. Valid as long as the test runs. */
const char *store_path(void);
/* dir/name; valid until the eighth call from now. */
const char *store_file(const char *dir, const char *name);

/* The smallest files and KeyDir, in the I/O mode. */
bitcask_options store_options(int mode);
bitcask *store_open(const char *path, const bitcask_options *); /* asserts OK */
void store_close(bitcask *);                                    /* asserts OK */

/* ---- keys and values ---- */

int store_put(bitcask *, const char *key, const char *value); /* strings, without the terminator; the store's result */
int store_put_flags(bitcask *, const char *key, const char *value, uint32_t flags, uint64_t sequence, int64_t expire_at_ms,
                    uint64_t *ret_sequence);
/* The value must be this one; NULL: the key must be absent. */
#define store_expect(db, key, value) store_expect_at(db, key, value, __LINE__)
void store_expect_at(bitcask *, const char *key, const char *value, int line);

/* Numbered keys with values of a size that follow from (number, version). */
int store_put_number(bitcask *, unsigned number, unsigned version, size_t size); /* any thread */
/* 0 if the key holds exactly that; else the store's result, or 1 for other bytes. Any thread. */
int store_check_number(bitcask *, unsigned number, unsigned version, size_t size);

/* A new store with this many numbers of version 1, synced and closed: three data files and more, each with its hint. */
#define STORE_NUMBERS 60U
#define STORE_NUMBER_SIZE 3000U
const char *store_make_numbers(int mode);
void store_check_numbers(const char *path, uint32_t flags, int mode); /* opens it with these flags: all must be there */

/* The thread's last failure: its result, and a file name and part of the message that it must have. */
#define store_expect_failure(result, file, part) store_expect_failure_at(result, file, part, __LINE__)
void store_expect_failure_at(int result, const char *file, const char *part, int line);

/* ---- from outside ---- */

unsigned store_count(const char *dir, const char *suffix); /* names that end so */
/* Names, kinds, permissions and contents of all that stands in a directory. Nothing in it is opened that is not a file. */
uint64_t store_digest(const char *dir);
void *store_read_file(const char *path, size_t *ret_size); /* free() it */
void store_write_file(const char *path, const void *data, size_t size);
void store_copy_file(const char *from, const char *to);
void store_copy_directory(const char *from, const char *to);
void store_flip(const char *path, long offset, unsigned mask); /* offset below 0: from the end */
void store_remove(const char *path);                           /* a directory with all that is in it, or a file */
/* The name of the n-th file (from 0, by name) that ends so; NULL if there are fewer. Valid until the eighth call from now. */
const char *store_nth(const char *dir, const char *suffix, unsigned n);

/* ---- callbacks for options ---- */

struct store_clock { /* bitcask_options.clock = store_clock_now, clock_ctx = &clock */
    _Atomic int64_t now;
};
int64_t store_clock_now(void *ctx);

struct store_log {         /* bitcask_options.log = store_log_line, log_ctx = &log; zero at first */
    atomic_uint lines[4];  /* by level */
    atomic_bool malformed; /* a line with a newline, an empty one, or an unknown level */
    atomic_flag busy;
    char text[16384];
};
void store_log_line(int level, const char *message, void *ctx);

#endif
