#include "test/support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIG 40000U
#define VALUE_MAX 41000U

struct world *world_new(struct simdisk *disk, uint32_t flags)
{
    struct world *w = calloc(1, sizeof *w);
    w->states = calloc(WORLD_STEPS + 1, sizeof *w->states);
    w->disk = disk;
    w->flags = flags;
    w->next_version = 1;
    return w;
}

void world_free(struct world *w)
{
    simdisk_free(w->disk);
    free(w->states);
    free(w);
}

struct world *world_fork(const struct world *w, struct simdisk *disk)
{
    struct world *twin = world_new(disk, w->flags);
    struct world_state *states = twin->states;
    *twin = *w;
    twin->disk = disk;
    twin->db = NULL;
    twin->io = NULL;
    twin->states = states;
    memcpy(states, w->states, (w->count + 1) * sizeof *states);
    return twin;
}

int world_open(struct world *w)
{
    const struct bc_environment environment = {w->io != NULL ? w->io : simdisk_io(w->disk), true};
    bitcask_options options = BITCASK_OPTIONS_INIT;
    options.flags = w->flags;
    options.max_file_size = 65536;
    options.keydir_shards = 64;
    options.allocator = w->allocator;
    return bc_db_open("/store", &options, &environment, &w->db);
}

int world_close(struct world *w)
{
    bitcask *db = w->db;
    w->db = NULL;
    return bitcask_close(db);
}

const char *world_kind_name(enum world_kind kind)
{
    static const char *const names[] = {"put",   "put+sync", "delete", "batch", "batch+sync", "big",
                                        "touch", "expire",   "sync",   "clear", "merge",      "reopen"};
    return names[kind];
}

/* ---- values ---- */

static size_t value_size(unsigned key, uint32_t version, bool big)
{
    if (big)
        return BIG + key;
    /* Across the sizes where the store changes its ways: none, small, odd, a sector, more than a large record's threshold. */
    static const size_t sizes[] = {4, 5, 20, 100, 511, 2040, 2500, 4100};
    return sizes[(key * 3 + version) % BC_ARRAY_SIZE(sizes)];
}

/* The top bit of a version says big. */
static size_t make_value(unsigned key, uint32_t version, unsigned char *dst)
{
    size_t size = value_size(key, version & 0x7fffffffU, (version & 0x80000000U) != 0);
    memcpy(dst, &version, sizeof version);
    for (size_t i = sizeof version; i < size; i++)
        dst[i] = (unsigned char)(key * 31 + version * 7 + i * 13 + (i >> 8));
    return size;
}

static size_t make_key(unsigned key, char dst[16])
{
    return (size_t)snprintf(dst, 16, "key%u%.*s", key, (int)key, "xxxxxxxx");
}

bool world_read(struct world *w, struct world_state *ret, char *message, size_t size)
{
    static _Thread_local unsigned char got[VALUE_MAX], expected[VALUE_MAX];
    memset(ret, 0, sizeof *ret);
    for (unsigned k = 0; k < WORLD_KEYS; k++) {
        char key[16];
        size_t key_size = make_key(k, key), got_size;
        int result = bitcask_read(w->db, key, key_size, got, sizeof got, &got_size);
        if (result == BITCASK_NOT_FOUND)
            continue;
        if (result != BITCASK_OK) {
            snprintf(message, size, "key %u: %s: %s", k, bitcask_errname(result), bitcask_last_error()->message);
            return false;
        }
        uint32_t version = 0;
        memcpy(&version, got, got_size < sizeof version ? got_size : sizeof version);
        if (version == 0 || make_value(k, version, expected) != got_size || memcmp(got, expected, got_size) != 0) {
            snprintf(message, size, "key %u: %zu bytes that nobody put (version %u)", k, got_size, version);
            return false;
        }
        ret->version[k] = version;
    }
    return true;
}

bool world_allows(const struct world *w, unsigned oldest, const struct world_state *s, char *message, size_t size)
{
    for (unsigned i = oldest; i <= w->count; i++)
        if (memcmp(&w->states[i], s, sizeof *s) == 0)
            return true;
    int n = snprintf(message, size, "found no state of %u..%u:", oldest, w->count);
    for (unsigned k = 0; k < WORLD_KEYS && n > 0 && (size_t)n < size; k++)
        n += snprintf(message + n, size - (size_t)n, " %u", s->version[k] & 0x7fffffffU);
    for (unsigned i = oldest; i <= w->count && i < oldest + 4 && n > 0 && (size_t)n < size; i++) {
        n += snprintf(message + n, size - (size_t)n, " | state %u:", i);
        for (unsigned k = 0; k < WORLD_KEYS && n > 0 && (size_t)n < size; k++)
            n += snprintf(message + n, size - (size_t)n, " %u", w->states[i].version[k] & 0x7fffffffU);
    }
    return false;
}

/* ---- operations ---- */

static struct world_state *next_state(struct world *w)
{
    if (w->count == WORLD_STEPS)
        abort();
    w->states[w->count + 1] = w->states[w->count];
    w->count++;
    return &w->states[w->count];
}

/* An operation that changed nothing, as the store says, is no state. */
static void forget_state(struct world *w)
{
    w->count--;
}

void world_forget(struct world *w, unsigned count)
{
    w->count = count;
}

static int put(struct world *w, unsigned k, bool big, bool sync)
{
    static _Thread_local unsigned char value[VALUE_MAX];
    char key[16];
    uint32_t version = w->next_version++ | (big ? 0x80000000U : 0);
    bitcask_put_options options = BITCASK_PUT_OPTIONS_INIT;
    options.flags = sync ? BITCASK_PUT_SYNC : 0;
    next_state(w)->version[k] = version;
    return bitcask_put(w->db, key, make_key(k, key), value, make_value(k, version, value), &options, NULL);
}

static int delete_key(struct world *w, unsigned k)
{
    char key[16];
    bool there = w->states[w->count].version[k] != 0;
    next_state(w)->version[k] = 0;
    int result = bitcask_delete(w->db, key, make_key(k, key), NULL, NULL);
    if (result == BITCASK_NOT_FOUND && !there) {
        forget_state(w);
        return BITCASK_OK;
    }
    return result;
}

static int touch(struct world *w, unsigned k, bool expires)
{
    char key[16];
    bool there = w->states[w->count].version[k] != 0;
    struct world_state *s = next_state(w);
    if (expires)
        s->version[k] = 0;
    int result = bitcask_touch(w->db, key, make_key(k, key), bitcask_now_ms(w->db) + (expires ? -1 : 1000000), 0);
    if (result == BITCASK_NOT_FOUND && !there) {
        forget_state(w);
        return BITCASK_OK;
    }
    return result;
}

static int batch(struct world *w, unsigned k, bool sync)
{
    static _Thread_local unsigned char value[VALUE_MAX];
    struct world_state *s = next_state(w);
    bitcask_batch *b;
    int result = bitcask_batch_new(&b);
    for (unsigned i = 0; i < 3 && result == BITCASK_OK; i++) {
        unsigned which = (k + i) % WORLD_KEYS;
        char key[16];
        size_t key_size = make_key(which, key);
        s->version[which] = i < 2 ? w->next_version++ : 0;
        result = i < 2 ? bitcask_batch_put(b, key, key_size, value, make_value(which, s->version[which], value), 0)
                       : bitcask_batch_delete(b, key, key_size);
    }
    if (result == BITCASK_OK)
        result = bitcask_write(w->db, b, sync ? BITCASK_PUT_SYNC : 0);
    bitcask_batch_free(b);
    return result;
}

static int clear(struct world *w)
{
    memset(next_state(w), 0, sizeof(struct world_state));
    return bitcask_clear(w->db, 0);
}

static int reopen(struct world *w)
{
    int result = world_close(w);
    return result == BITCASK_OK ? world_open(w) : result;
}

static int run(struct world *w, const struct world_operation *op)
{
    switch (op->kind) {
    case WORLD_PUT:
        return put(w, op->key, false, false);
    case WORLD_PUT_SYNC:
        return put(w, op->key, false, true);
    case WORLD_BIG:
        return put(w, op->key, true, false);
    case WORLD_DELETE:
        return delete_key(w, op->key);
    case WORLD_TOUCH:
    case WORLD_EXPIRE:
        return touch(w, op->key, op->kind == WORLD_EXPIRE);
    case WORLD_BATCH:
        return batch(w, op->key, false);
    case WORLD_BATCH_SYNC:
        return batch(w, op->key, true);
    case WORLD_SYNC:
        return bitcask_sync(w->db);
    case WORLD_CLEAR:
        return clear(w);
    case WORLD_MERGE:
        return bitcask_merge(w->db, NULL, NULL);
    case WORLD_REOPEN:
    case WORLD_KINDS:
    default:
        return reopen(w);
    }
}

int world_apply(struct world *w, const struct world_operation *op)
{
    int result = run(w, op);
    if (result != BITCASK_OK)
        return result;
    w->acked = w->count;
    bool durable = op->kind == WORLD_PUT_SYNC || op->kind == WORLD_BATCH_SYNC || op->kind == WORLD_SYNC ||
                   op->kind == WORLD_CLEAR || op->kind == WORLD_REOPEN;
    if (durable)
        w->durable = w->count;
    return BITCASK_OK;
}
