#include "test/support/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[256];
static atomic_uint paths_given;

static void make_root(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(root, sizeof root, "%s/bitcask-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    ck_assert_msg(mkdtemp(root) != NULL, "no temporary directory: %s", root);
    ck_assert_int_eq(chmod(root, 0755), 0);
}

static void remove_root(void)
{
    store_remove(root);
}

TCase *store_tcase(const char *name)
{
    TCase *t = tcase_create(name);
    tcase_add_unchecked_fixture(t, make_root, remove_root);
    tcase_set_timeout(t, 120);
    return t;
}

unsigned long store_scale(void)
{
    const char *text = getenv("BITCASK_TEST_SCALE");
    unsigned long scale = text == NULL ? 1 : strtoul(text, NULL, 10);
    return scale == 0 ? 1 : scale;
}

const char *store_path(void)
{
    static char paths[64][300];
    unsigned n = atomic_fetch_add(&paths_given, 1);
    char *path = paths[n % 64];
    snprintf(path, sizeof paths[0], "%s/%ld-%u", root, (long)getpid(), n);
    store_remove(path);
    return path;
}

const char *store_file(const char *dir, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

bitcask_options store_options(int mode)
{
    bitcask_options o = BITCASK_OPTIONS_INIT;
    o.flags = mode == 0 ? 0 : BITCASK_OPEN_NO_MMAP;
    o.max_file_size = 65536;
    o.keydir_shards = 64;
    return o;
}

bitcask *store_open(const char *path, const bitcask_options *options)
{
    bitcask *db = NULL;
    int result = bitcask_open(path, options, &db);
    ck_assert_msg(result == BITCASK_OK, "open: %s: %s", bitcask_errname(result), bitcask_last_error()->message);
    ck_assert_ptr_nonnull(db);
    return db;
}

void store_close(bitcask *db)
{
    int result = bitcask_close(db);
    ck_assert_msg(result == BITCASK_OK, "close: %s: %s", bitcask_errname(result), bitcask_last_error()->message);
}

/* ---- keys and values ---- */

int store_put(bitcask *db, const char *key, const char *value)
{
    return bitcask_put(db, key, strlen(key), value, strlen(value), NULL, NULL);
}

int store_put_flags(bitcask *db, const char *key, const char *value, uint32_t flags, uint64_t sequence, int64_t expire_at_ms,
                    uint64_t *ret_sequence)
{
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.flags = flags;
    o.sequence = sequence;
    o.expire_at_ms = expire_at_ms;
    return bitcask_put(db, key, strlen(key), value, strlen(value), &o, ret_sequence);
}

void store_expect_at(bitcask *db, const char *key, const char *value, int line)
{
    void *got = NULL;
    size_t size = 0;
    int result = bitcask_get(db, key, strlen(key), &got, &size);
    if (value == NULL) {
        ck_assert_msg(result == BITCASK_NOT_FOUND, "line %d: %s: %s, not absent", line, key, bitcask_errname(result));
        return;
    }
    ck_assert_msg(result == BITCASK_OK, "line %d: %s: %s (%s)", line, key, bitcask_errname(result),
                  bitcask_last_error()->message);
    ck_assert_msg(size == strlen(value) && memcmp(got, value, size) == 0, "line %d: %s: %.*s, not %s", line, key, (int)size,
                  (char *)got, value);
    bitcask_free(got);
}

static size_t number_key(unsigned number, char dst[16])
{
    return (size_t)snprintf(dst, 16, "key%06u", number);
}

static void number_value(unsigned number, unsigned version, unsigned char *dst, size_t size)
{
    uint32_t x = number * 2654435761U + version * 40503U + 1;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525U + 1013904223U;
        dst[i] = (unsigned char)(x >> 24);
    }
}

int store_put_number(bitcask *db, unsigned number, unsigned version, size_t size)
{
    char key[16];
    unsigned char *value = malloc(size + 1);
    if (value == NULL)
        return BITCASK_NO_MEMORY;
    number_value(number, version, value, size);
    int result = bitcask_put(db, key, number_key(number, key), value, size, NULL, NULL);
    free(value);
    return result;
}

int store_check_number(bitcask *db, unsigned number, unsigned version, size_t size)
{
    char key[16];
    void *got;
    size_t got_size;
    int result = bitcask_get(db, key, number_key(number, key), &got, &got_size);
    if (result != BITCASK_OK)
        return result;
    unsigned char *value = malloc(size + 1);
    if (value != NULL)
        number_value(number, version, value, size);
    bool same = value != NULL && got_size == size && memcmp(got, value, size) == 0;
    free(value);
    bitcask_free(got);
    return same ? 0 : 1;
}

const char *store_make_numbers(int mode)
{
    const char *path = store_path();
    bitcask_options o = store_options(mode);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < STORE_NUMBERS; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, STORE_NUMBER_SIZE), BITCASK_OK);
    store_close(db);
    ck_assert_uint_ge(store_count(path, ".data"), 3);
    return path;
}

void store_check_numbers(const char *path, uint32_t flags, int mode)
{
    bitcask_options o = store_options(mode);
    o.flags |= flags;
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < STORE_NUMBERS; i++)
        ck_assert_msg(store_check_number(db, i, 1, STORE_NUMBER_SIZE) == 0, "key %u: %s", i, bitcask_last_error()->message);
    store_close(db);
}

void store_expect_failure_at(int result, const char *file, const char *part, int line)
{
    const bitcask_error *e = bitcask_last_error();
    ck_assert_msg(e->result == result, "line %d: last error is %s, not %s", line, bitcask_errname(e->result),
                  bitcask_errname(result));
    ck_assert_msg(file == NULL || strcmp(e->file, file) == 0, "line %d: it names '%s', not '%s': %s", line, e->file, file,
                  e->message);
    ck_assert_msg(part == NULL || strstr(e->message, part) != NULL, "line %d: no '%s' in: %s", line, part, e->message);
    ck_assert_msg(e->message[0] != '\0' && strchr(e->message, '\n') == NULL, "line %d: message: '%s'", line, e->message);
}

/* ---- from outside ---- */

static bool ends_with(const char *name, const char *suffix)
{
    size_t size = strlen(name), tail = strlen(suffix);
    return size >= tail && strcmp(name + size - tail, suffix) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

struct names {
    char (*names)[256];
    size_t count;
};

static struct names list(const char *dir, const char *suffix)
{
    struct names n = {NULL, 0};
    DIR *d = opendir(dir);
    ck_assert_msg(d != NULL, "cannot list %s", dir);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || !ends_with(e->d_name, suffix))
            continue;
        n.names = realloc(n.names, (n.count + 1) * sizeof *n.names);
        snprintf(n.names[n.count++], sizeof *n.names, "%s", e->d_name);
    }
    closedir(d);
    if (n.count > 0)
        qsort(n.names, n.count, sizeof *n.names, by_name);
    return n;
}

unsigned store_count(const char *dir, const char *suffix)
{
    struct names n = list(dir, suffix);
    free(n.names);
    return (unsigned)n.count;
}

const char *store_nth(const char *dir, const char *suffix, unsigned nth)
{
    static char found[8][256];
    static unsigned next;
    struct names n = list(dir, suffix);
    char *name = NULL;
    if (nth < n.count) {
        name = found[next++ % 8];
        snprintf(name, sizeof found[0], "%s", n.names[nth]);
    }
    free(n.names);
    return name;
}

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
    return hash;
}

uint64_t store_digest(const char *dir)
{
    uint64_t digest = 0xcbf29ce484222325ULL;
    struct names n = list(dir, "");
    for (size_t i = 0; i < n.count; i++) {
        const char *path = store_file(dir, n.names[i]);
        struct stat st;
        ck_assert_int_eq(lstat(path, &st), 0);
        digest = mix(digest, n.names[i], strlen(n.names[i]) + 1);
        digest = mix(digest, &st.st_mode, sizeof st.st_mode);
        if (S_ISREG(st.st_mode)) {
            size_t size;
            void *data = store_read_file(path, &size);
            digest = mix(mix(digest, &size, sizeof size), data, size);
            free(data);
        }
    }
    free(n.names);
    return digest;
}

void *store_read_file(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "cannot read %s", path);
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    rewind(f);
    void *data = malloc((size_t)size + 1);
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq(fread(data, 1, (size_t)size, f), (size_t)size);
    fclose(f);
    *ret_size = (size_t)size;
    return data;
}

void store_write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "cannot write %s", path);
    ck_assert_uint_eq(fwrite(data, 1, size, f), size);
    ck_assert_int_eq(fclose(f), 0);
}

void store_copy_file(const char *from, const char *to)
{
    size_t size;
    void *data = store_read_file(from, &size);
    store_write_file(to, data, size);
    free(data);
}

void store_copy_directory(const char *from, const char *to)
{
    struct names n = list(from, "");
    ck_assert_int_eq(mkdir(to, 0700), 0);
    for (size_t i = 0; i < n.count; i++) {
        /* The store may be open: its background threads rename these away at any time. */
        size_t length = strlen(n.names[i]);
        if (length > 4 && strcmp(n.names[i] + length - 4, ".tmp") == 0)
            continue;
        store_copy_file(store_file(from, n.names[i]), store_file(to, n.names[i]));
    }
    free(n.names);
}

void store_flip(const char *path, long offset, unsigned mask)
{
    size_t size;
    unsigned char *data = store_read_file(path, &size);
    size_t at = offset < 0 ? size - (size_t)-offset : (size_t)offset;
    ck_assert_uint_lt(at, size);
    data[at] = (unsigned char)(data[at] ^ mask);
    FILE *f = fopen(path, "r+b"); /* in place: the inode stays */
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, (long)at, SEEK_SET), 0);
    ck_assert_uint_eq(fwrite(data + at, 1, 1, f), 1);
    ck_assert_int_eq(fclose(f), 0);
    free(data);
}

void store_remove(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return;
    if (!S_ISDIR(st.st_mode)) {
        ck_assert_int_eq(unlink(path), 0);
        return;
    }
    struct names n = list(path, "");
    for (size_t i = 0; i < n.count; i++) {
        char below[1024];
        snprintf(below, sizeof below, "%s/%s", path, n.names[i]);
        store_remove(below);
    }
    free(n.names);
    ck_assert_int_eq(rmdir(path), 0);
}

/* ---- callbacks ---- */

int64_t store_clock_now(void *ctx)
{
    struct store_clock *clock = ctx;
    return atomic_load(&clock->now);
}

void store_log_line(int level, const char *message, void *ctx)
{
    struct store_log *log = ctx;
    if (level < BITCASK_LOG_ERROR || level > BITCASK_LOG_INFO || message[0] == '\0' || strchr(message, '\n') != NULL)
        atomic_store(&log->malformed, true);
    else
        atomic_fetch_add(&log->lines[level], 1);
    while (atomic_flag_test_and_set(&log->busy)) {
    }
    size_t used = strlen(log->text);
    snprintf(log->text + used, sizeof log->text - used, "%s\n", message);
    atomic_flag_clear(&log->busy);
}
