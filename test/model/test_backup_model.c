/* test_backup_model.c - backups against a model, with threads: whoever makes a backup while others put, delete, write batches,
 * clear, merge and rotate gets the store exactly as it was at one sequence, in a new directory or in one that holds earlier
 * backups.
 *
 * Writers log what they did with the sequence that it got; a backup tells its own. When all is over the log is put in order,
 * played up to each backup's sequence, and compared with what was found in it. Puts and deletes run beside each other; batches
 * and clears, whose sequence the interface does not tell, run alone, so that the newest sequence is theirs.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitcask/bitcask.h"
#include "test/support/store.h"

#define KEYS 96U
#define WRITERS 3U
#define TAKERS 2U

struct state {
    uint32_t version[KEYS]; /* 0: absent */
};

struct entry {
    uint64_t sequence;
    uint32_t key, version; /* KEYS: all keys are cleared */
};

struct seen {
    uint64_t sequence;
    struct state state;
};

struct trial {
    bitcask *db;
    pthread_rwlock_t alone;
    pthread_mutex_t mutex; /* guards the two lists */
    struct entry *log;
    size_t logged, log_capacity;
    struct seen *seen;
    size_t seen_count, seen_capacity;
    _Atomic uint32_t version;
    atomic_uint writing; /* writers that are not done */
    unsigned operations;
};

struct worker {
    struct trial *t;
    pthread_t thread;
    unsigned number, x;
    char failure[160];
};

static unsigned next_random(struct worker *w, unsigned below)
{
    w->x = w->x * 1664525U + 1013904223U;
    return (w->x >> 8) % below;
}

static void blame(struct worker *w, const char *what, int result)
{
    if (w->failure[0] == '\0')
        snprintf(w->failure, sizeof w->failure, "%s: %s: %s", what, bitcask_errname(result), bitcask_last_error()->message);
}

static void note(struct trial *t, uint64_t sequence, uint32_t key, uint32_t version)
{
    pthread_mutex_lock(&t->mutex);
    if (t->logged == t->log_capacity) {
        t->log_capacity = t->log_capacity * 2 + 1024;
        t->log = realloc(t->log, t->log_capacity * sizeof *t->log);
        if (t->log == NULL)
            abort();
    }
    t->log[t->logged++] = (struct entry){sequence, key, version};
    pthread_mutex_unlock(&t->mutex);
}

/* ---- writers ---- */

static size_t make_value(uint32_t key, uint32_t version, unsigned char dst[1100])
{
    size_t size = 8 + (key * 31 + version * 101) % 1000;
    memcpy(dst, &version, 4);
    memcpy(dst + 4, &key, 4);
    for (size_t i = 8; i < size; i++)
        dst[i] = (unsigned char)(version * 7 + key + i);
    return size;
}

static uint64_t newest(struct worker *w)
{
    bitcask_stats s = BITCASK_STATS_INIT;
    int result = bitcask_stats_get(w->t->db, &s);
    if (result != BITCASK_OK)
        blame(w, "stats", result);
    return s.last_sequence;
}

static void put_or_delete(struct worker *w)
{
    struct trial *t = w->t;
    unsigned char value[1100];
    uint32_t key = next_random(w, KEYS), version = atomic_fetch_add(&t->version, 1) + 1;
    uint64_t sequence;
    char name[16];
    size_t name_size = (size_t)snprintf(name, sizeof name, "k%u", key);
    bool deletes = next_random(w, 4) == 0;
    pthread_rwlock_rdlock(&t->alone);
    int result = deletes ? bitcask_delete(t->db, name, name_size, NULL, &sequence)
                         : bitcask_put(t->db, name, name_size, value, make_value(key, version, value), NULL, &sequence);
    if (result == BITCASK_OK)
        note(t, sequence, key, deletes ? 0 : version);
    else if (result != BITCASK_NOT_FOUND)
        blame(w, "write", result);
    pthread_rwlock_unlock(&t->alone);
}

/* A pair of keys gets the same version; a third one goes. */
static void write_batch(struct worker *w)
{
    struct trial *t = w->t;
    unsigned char value[1100];
    uint32_t key = next_random(w, KEYS - 2), version = atomic_fetch_add(&t->version, 1) + 1;
    bitcask_batch *b;
    char name[16];
    int result = bitcask_batch_new(&b);
    for (uint32_t i = 0; i < 3 && result == BITCASK_OK; i++) {
        size_t name_size = (size_t)snprintf(name, sizeof name, "k%u", key + i);
        result = i < 2 ? bitcask_batch_put(b, name, name_size, value, make_value(key + i, version, value), 0)
                       : bitcask_batch_delete(b, name, name_size);
    }
    if (result != BITCASK_OK) {
        blame(w, "batch", result);
        return;
    }
    pthread_rwlock_wrlock(&t->alone);
    result = bitcask_write(t->db, b, 0);
    uint64_t sequence = newest(w);
    for (uint32_t i = 0; i < 3 && result == BITCASK_OK; i++)
        note(t, sequence, key + i, i < 2 ? version : 0);
    pthread_rwlock_unlock(&t->alone);
    if (result != BITCASK_OK)
        blame(w, "batch", result);
    bitcask_batch_free(b);
}

static void clear(struct worker *w)
{
    pthread_rwlock_wrlock(&w->t->alone);
    int result = bitcask_clear(w->t->db, 0);
    note(w->t, newest(w), KEYS, 0);
    pthread_rwlock_unlock(&w->t->alone);
    if (result != BITCASK_OK)
        blame(w, "clear", result);
}

static void *write_all(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < w->t->operations && w->failure[0] == '\0'; i++) {
        unsigned what = next_random(w, 1000);
        if (what < 3)
            clear(w);
        else if (what < 200)
            write_batch(w);
        else
            put_or_delete(w);
    }
    atomic_fetch_sub(&w->t->writing, 1);
    return NULL;
}

/* ---- takers ---- */

static bool take_in(struct worker *w, struct state *s, uint32_t key, const void *data, size_t size)
{
    unsigned char value[1100];
    uint32_t version = 0;
    if (size >= 4)
        memcpy(&version, data, 4);
    if (version == 0 || make_value(key, version, value) != size || memcmp(value, data, size) != 0) {
        blame(w, "a value that nobody put", BITCASK_OK);
        return false;
    }
    s->version[key] = version;
    return true;
}

struct reading {
    struct worker *w;
    struct state *state;
};

static int read_key(bitcask_slice key, bitcask_slice value, const bitcask_key_info *info, void *ctx)
{
    struct reading *r = ctx;
    char name[16] = {0};
    unsigned number;
    (void)info;
    memcpy(name, key.data, key.size < 15 ? key.size : 15);
    if (sscanf(name, "k%u", &number) != 1 || number >= KEYS || r->state->version[number] != 0) {
        blame(r->w, "a key that nobody put, or twice", BITCASK_OK);
        return 1;
    }
    return take_in(r->w, r->state, number, value.data, value.size) ? 0 : 1;
}

static void read_backup(struct worker *w, const char *path, struct state *ret)
{
    struct reading r = {w, ret};
    bitcask *db;
    memset(ret, 0, sizeof *ret);
    bitcask_options o = store_options((int)next_random(w, 2));
    o.flags |= BITCASK_OPEN_READ_ONLY;
    int result = bitcask_open(path, &o, &db);
    if (result != BITCASK_OK) {
        blame(w, "open of a backup", result);
        return;
    }
    result = bitcask_fold(db, NULL, read_key, &r);
    if (result != BITCASK_OK)
        blame(w, "fold of a backup", result);
    (void)bitcask_close(db);
}

static void remember(struct trial *t, uint64_t sequence, const struct state *s)
{
    pthread_mutex_lock(&t->mutex);
    if (t->seen_count == t->seen_capacity) {
        t->seen_capacity = t->seen_capacity * 2 + 256;
        t->seen = realloc(t->seen, t->seen_capacity * sizeof *t->seen);
        if (t->seen == NULL)
            abort();
    }
    t->seen[t->seen_count++] = (struct seen){sequence, *s};
    pthread_mutex_unlock(&t->mutex);
}

/* Each into a directory of his own; after some backups into a new one. */
static void *take_all(void *arg)
{
    struct worker *w = arg;
    const char *to = store_path();
    struct state state;
    for (unsigned round = 0; (round < 4 || atomic_load(&w->t->writing) > 0) && w->failure[0] == '\0'; round++) {
        bitcask_backup_options o = BITCASK_BACKUP_OPTIONS_INIT;
        bitcask_backup_result r = BITCASK_BACKUP_RESULT_INIT;
        static const uint32_t flags[] = {0, BITCASK_BACKUP_NO_LINK, BITCASK_BACKUP_SKIP_LINKED, BITCASK_BACKUP_VERIFY_ALL};
        o.flags = flags[next_random(w, 4)];
        o.result = &r;
        uint64_t before = newest(w);
        int result = bitcask_backup(w->t->db, to, &o);
        if (result != BITCASK_OK) {
            blame(w, "backup", result);
            break;
        }
        if (r.sequence < before || r.sequence > newest(w))
            blame(w, "a backup of another moment than that of its call", BITCASK_OK);
        read_backup(w, to, &state);
        remember(w->t, r.sequence, &state);
        if (next_random(w, 8) == 0) {
            store_remove(to);
            to = store_path();
        }
    }
    return NULL;
}

static void *merge_all(void *arg)
{
    struct worker *w = arg;
    while (atomic_load(&w->t->writing) > 0 && w->failure[0] == '\0') {
        int result = bitcask_merge(w->t->db, NULL, NULL);
        if (result != BITCASK_OK && result != BITCASK_CANCELLED) /* by a clear */
            blame(w, "merge", result);
        usleep(20000);
    }
    return NULL;
}

/* ---- afterwards ---- */

static int by_sequence(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b; /* the first member of both lists' elements */
    return (*x > *y) - (*x < *y);
}

static void play(struct state *s, const struct entry *e)
{
    if (e->key == KEYS)
        memset(s, 0, sizeof *s);
    else
        s->version[e->key] = e->version;
}

static void compare(struct trial *t)
{
    struct state model = {{0}};
    size_t at = 0;
    qsort(t->log, t->logged, sizeof *t->log, by_sequence);
    qsort(t->seen, t->seen_count, sizeof *t->seen, by_sequence);
    for (size_t i = 0; i < t->seen_count; i++) {
        const struct seen *s = &t->seen[i];
        while (at < t->logged && t->log[at].sequence <= s->sequence)
            play(&model, &t->log[at++]);
        for (uint32_t key = 0; key < KEYS; key++)
            ck_assert_msg(s->state.version[key] == model.version[key],
                          "the backup at sequence %llu shows version %u of key %u, the model has %u",
                          (unsigned long long)s->sequence, s->state.version[key], key, model.version[key]);
    }
}

static void run_trial(unsigned seed, int mode)
{
    struct trial t = {.operations = (unsigned)(600 * store_scale()), .writing = WRITERS};
    struct worker w[WRITERS + TAKERS + 1];
    bitcask_options o = store_options(mode);
    o.max_open_files = seed % 2 == 0 ? 2 : 0;
    const char *path = store_path();
    t.db = store_open(path, &o);
    ck_assert_int_eq(pthread_rwlock_init(&t.alone, NULL), 0);
    ck_assert_int_eq(pthread_mutex_init(&t.mutex, NULL), 0);
    for (unsigned i = 0; i < WRITERS + TAKERS + 1; i++) {
        w[i] = (struct worker){.t = &t, .number = i, .x = seed * 977 + i * 7919};
        void *(*work)(void *) = i < WRITERS ? write_all : i < WRITERS + TAKERS ? take_all : merge_all;
        ck_assert_int_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS + TAKERS + 1; i++)
        ck_assert_int_eq(pthread_join(w[i].thread, NULL), 0);
    for (unsigned i = 0; i < WRITERS + TAKERS + 1; i++)
        ck_assert_msg(w[i].failure[0] == '\0', "seed %u, worker %u: %s", seed, i, w[i].failure);
    compare(&t);
    ck_assert_uint_ge(t.seen_count, 8);
    store_close(t.db);
    free(t.log);
    free(t.seen);
    pthread_rwlock_destroy(&t.alone);
    pthread_mutex_destroy(&t.mutex);
    store_remove(path);
}

START_TEST(test_each_backup_is_one_moment)
{
    for (unsigned seed = 1; seed <= 2; seed++)
        run_trial(seed, _i);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("backup_model");
    TCase *t = store_tcase("model");
    store_add_test(t, test_each_backup_is_one_moment);
    suite_add_tcase(s, t);
    return s;
}
