/* Iterators: a walk over a snapshot, shard by shard, some keys at a time, so that no lock is held while the caller works. With
 * SORTED all keys that match are collected first and put in memcmp order. */
#include <stdlib.h>
#include <string.h>

#include "bitcask/db.h"
#include "bitcask/error.h"
#include "bitcask/keydir_snapshot.h"

#define BATCH 128U

struct item {
    struct bc_entry entry;
    size_t key; /* offset in keys */
    size_t key_size;
};

struct bitcask_iter {
    bitcask *db;
    bitcask_snapshot *snapshot;
    bool own_snapshot;
    uint32_t flags;
    bitcask_slice prefix, first, last; /* copies, in bounds */
    char *bounds;
    uint64_t left; /* items that may still be given */
    struct bc_walk walk;
    bool collected; /* SORTED: all items are there */
    bool failed;    /* out of memory while collecting */
    struct item *items;
    size_t count, capacity, next;
    char *keys;
    size_t keys_size, keys_capacity;
    struct item *current; /* NULL: before the first, or at the end */
    bitcask_view value;   /* of current, if it was asked for */
};

void bitcask_iter_options_init(bitcask_iter_options *options, size_t size)
{
    memset(options, 0, size);
    options->struct_size = size;
}

static int compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
    int order = memcmp(a, b, BC_MIN(a_size, b_size));
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static bool matches(const bitcask_iter *it, const void *key, size_t size)
{
    if (it->prefix.size != 0 && (size < it->prefix.size || memcmp(key, it->prefix.data, it->prefix.size) != 0))
        return false;
    if (it->first.data != NULL && compare(key, size, it->first.data, it->first.size) < 0)
        return false;
    return it->last.data == NULL || compare(key, size, it->last.data, it->last.size) <= 0;
}

/* ---- collecting: under the shard's mutex ---- */

static bool grow(const bitcask_allocator *a, void **array, size_t *capacity, size_t need, size_t element)
{
    if (need <= *capacity)
        return true;
    size_t larger = BC_MAX(*capacity + *capacity / 2, need);
    void *resized = larger > SIZE_MAX / element ? NULL : bc_resize(a, *array, larger * element);
    if (resized == NULL)
        return false;
    *array = resized;
    *capacity = larger;
    return true;
}

static void collect(const struct bc_entry *entry, int64_t expire_at_ms, const void *key, size_t key_size, void *arg)
{
    bitcask_iter *it = arg;
    const bitcask_allocator *a = &it->db->allocator;
    void *items = it->items, *keys = it->keys;
    if ((expire_at_ms != 0 && expire_at_ms <= it->snapshot->created_ms) || !matches(it, key, key_size) || it->failed)
        return;
    it->failed = !grow(a, &items, &it->capacity, it->count + 1, sizeof *it->items);
    it->items = items;
    if (!it->failed)
        it->failed = !grow(a, &keys, &it->keys_capacity, it->keys_size + key_size, 1);
    it->keys = keys;
    if (it->failed)
        return;
    it->items[it->count++] = (struct item){*entry, it->keys_size, key_size};
    memcpy(it->keys + it->keys_size, key, key_size);
    it->keys_size += key_size;
}

static int by_key(const void *a, const void *b, void *arg)
{
    const bitcask_iter *it = arg;
    const struct item *x = a, *y = b;
    return compare(it->keys + x->key, x->key_size, it->keys + y->key, y->key_size);
}

/* The records of a batch come from memory together. */
static void prefetch(bitcask_iter *it)
{
    bitcask *db = it->db;
    unsigned pin = bc_pins_enter(db->pins);
    for (size_t i = 0; i < it->count; i++) {
        struct bc_handle *h = bc_file_handle(bc_filetable_get(&db->files, it->items[i].entry.file));
        if (h == NULL || !bc_handle_maps(h))
            continue;
        __builtin_prefetch(h->map + it->items[i].entry.offset);
        __builtin_prefetch(h->map + it->items[i].entry.offset + BC_CACHE_LINE);
    }
    bc_pins_leave(db->pins, pin);
}

/* The next items into the buffer. NOT_FOUND: there are none. */
static int refill(bitcask_iter *it)
{
    struct bc_keydir *keydir = it->db->keydir;
    bool sorted = (it->flags & BITCASK_ITER_SORTED) != 0;
    if (it->collected)
        return BITCASK_NOT_FOUND;
    it->count = it->next = it->keys_size = 0;
    while ((sorted || it->count == 0) && it->walk.shard < bc_keydir_shards(keydir) && !it->failed)
        if (bc_keydir_snapshot_walk(keydir, it->snapshot->number, &it->walk, BATCH, collect, it) == 0)
            it->walk = (struct bc_walk){.shard = it->walk.shard + 1};
    if (it->failed)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for the keys of an iterator");
    it->collected = sorted || it->count == 0;
    if (sorted && it->count > 0) /* no items: there may be no array */
        qsort_r(it->items, it->count, sizeof *it->items, by_key, it);
    else if (!sorted && (it->flags & BITCASK_ITER_KEYS_ONLY) == 0)
        prefetch(it);
    return it->count == 0 ? BITCASK_NOT_FOUND : BITCASK_OK;
}

/* ---- the public calls ---- */

static int check(const bitcask_iter_options *o, bitcask *db)
{
    int usable = bc_db_usable(db);
    if (usable != BITCASK_OK)
        return usable;
    if ((o->flags & ~(BITCASK_ITER_SORTED | BITCASK_ITER_KEYS_ONLY)) != 0)
        return bc_fail(BITCASK_UNSUPPORTED, 0, NULL, 0,
                       "bitcask_iter_options.flags has a flag that this version does not know");
    if (o->reserved != 0)
        return bc_fail(BITCASK_UNSUPPORTED, 0, NULL, 0, "bitcask_iter_options.reserved must be zero");
    if (o->snapshot != NULL && o->snapshot->db != db)
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "bitcask_iter_options.snapshot is of another handle");
    if (o->prefix.data == NULL && o->prefix.size != 0)
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "bitcask_iter_options.prefix has a size but no data");
    /* Their sum must not overflow; a size that nothing can have is a mistake. */
    if (BC_MAX(BC_MAX(o->prefix.size, o->first.size), o->last.size) > SIZE_MAX / 8)
        return bc_fail(BITCASK_INVALID, 0, NULL, 0,
                       "bitcask_iter_options: prefix, first or last has a size that is impossible");
    return BITCASK_OK;
}

static bitcask_slice keep(char **at, bitcask_slice s)
{
    if (s.data == NULL)
        return s;
    char *copy = *at;
    if (s.size != 0)
        memcpy(copy, s.data, s.size);
    *at += s.size;
    return (bitcask_slice){copy, s.size};
}

static int set_up(bitcask_iter *it, const bitcask_iter_options *o)
{
    it->flags = o->flags;
    it->left = o->limit == 0 ? UINT64_MAX : o->limit;
    it->bounds = bc_alloc(&it->db->allocator, o->prefix.size + o->first.size + o->last.size + 1);
    if (it->bounds == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for an iterator");
    char *at = it->bounds;
    it->prefix = keep(&at, o->prefix);
    it->first = keep(&at, o->first);
    it->last = keep(&at, o->last);
    it->snapshot = o->snapshot;
    it->own_snapshot = o->snapshot == NULL;
    return it->own_snapshot ? bitcask_snapshot_new(it->db, &it->snapshot) : BITCASK_OK;
}

int bitcask_iter_new(bitcask *db, const bitcask_iter_options *given, bitcask_iter **ret)
{
    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
    int result = BITCASK_OK;
    if (given != NULL)
        result = bc_options_take(given, given->struct_size, &o, sizeof o, "bitcask_iter_options");
    if (result == BITCASK_OK)
        result = check(&o, db);
    if (result != BITCASK_OK)
        return result;
    atomic_fetch_add(&db->children, 1);
    bitcask_iter *it = bc_alloc_zero(&db->allocator, 1, sizeof *it);
    if (it == NULL) {
        atomic_fetch_sub(&db->children, 1);
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for an iterator");
    }
    it->db = db;
    result = set_up(it, &o);
    if (result != BITCASK_OK) {
        bitcask_iter_free(it);
        return result;
    }
    *ret = it;
    return BITCASK_OK;
}

void bitcask_iter_free(bitcask_iter *it)
{
    if (it == NULL)
        return;
    bitcask *db = it->db;
    bitcask_view_release(&it->value);
    if (it->own_snapshot)
        bitcask_snapshot_release(it->snapshot);
    bc_free(&db->allocator, it->bounds);
    bc_free(&db->allocator, it->items);
    bc_free(&db->allocator, it->keys);
    bc_free(&db->allocator, it);
    atomic_fetch_sub(&db->children, 1);
}

int bitcask_iter_next(bitcask_iter *it)
{
    bitcask_view_release(&it->value);
    it->current = NULL;
    int result = bc_db_usable(it->db);
    if (result != BITCASK_OK)
        return result;
    if (it->left == 0)
        return bc_answer(BITCASK_NOT_FOUND);
    if (it->next == it->count) {
        result = refill(it);
        if (result != BITCASK_OK)
            return result == BITCASK_NOT_FOUND ? bc_answer(result) : result;
    }
    it->current = &it->items[it->next++];
    it->left--;
    return BITCASK_OK;
}

bitcask_slice bitcask_iter_key(const bitcask_iter *it)
{
    if (it->current == NULL)
        return (bitcask_slice){NULL, 0};
    return (bitcask_slice){it->keys + it->current->key, it->current->key_size};
}

/* Whether the key that it stands on can be asked about. */
static int standing(const bitcask_iter *it)
{
    if (it->current == NULL)
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "the iterator stands on no key: bitcask_iter_next() first");
    return bc_db_usable(it->db);
}

static int value_once(bitcask_iter *it)
{
    bitcask *db = it->db;
    struct bc_found f;
    int result = bc_find_at(db, &it->current->entry, it->keys + it->current->key, it->current->key_size, true, &f);
    if (result == BITCASK_OK)
        result = bc_view_make(db, &f, &it->value);
    return result;
}

int bitcask_iter_value(bitcask_iter *it, bitcask_slice *ret)
{
    int result = standing(it);
    if (result != BITCASK_OK)
        return result;
    if ((it->flags & BITCASK_ITER_KEYS_ONLY) != 0)
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "the iterator was made with BITCASK_ITER_KEYS_ONLY");
    if (it->value.data == NULL) {
        unsigned pin = bc_pins_enter(it->db->pins), attempt = 0;
        do
            result = value_once(it);
        while (bc_read_again(it->db, &pin, result, attempt++));
    }
    if (result == BITCASK_OK)
        *ret = (bitcask_slice){it->value.data, it->value.size};
    return result;
}

static int info_once(const bitcask_iter *it, bitcask_key_info *ret)
{
    bitcask *db = it->db;
    struct bc_found f;
    int result = bc_find_at(db, &it->current->entry, it->keys + it->current->key, it->current->key_size, false, &f);
    if (result == BITCASK_OK) {
        *ret = (bitcask_key_info){sizeof *ret, f.record.value_size, f.record.sequence, f.record.expire_at_ms};
        bc_found_release(db, &f);
    }
    return result;
}

int bitcask_iter_info(const bitcask_iter *it, bitcask_key_info *ret)
{
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    int result = standing(it);
    if (result != BITCASK_OK)
        return result;
    unsigned pin = bc_pins_enter(it->db->pins), attempt = 0;
    do
        result = info_once(it, &info);
    while (bc_read_again(it->db, &pin, result, attempt++));
    return result == BITCASK_OK ? bc_result_copy(ret, &info, sizeof info) : result;
}

/* ---- fold ---- */

static int visit(bitcask_iter *it, bitcask_fold_fn fn, void *ctx)
{
    bitcask_slice value = {NULL, 0};
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    int result = BITCASK_OK;
    if ((it->flags & BITCASK_ITER_KEYS_ONLY) == 0) {
        result = bitcask_iter_value(it, &value);
        info = (bitcask_key_info){sizeof info, it->value.size, it->value.sequence, it->value.expire_at_ms};
    }
    return result == BITCASK_OK ? fn(bitcask_iter_key(it), value, &info, ctx) : result;
}

int bitcask_fold(bitcask *db, const bitcask_iter_options *options, bitcask_fold_fn fn, void *ctx)
{
    bitcask_iter *it;
    int result = bitcask_iter_new(db, options, &it);
    if (result != BITCASK_OK)
        return result;
    while (result == BITCASK_OK && (result = bitcask_iter_next(it)) == BITCASK_OK)
        result = visit(it, fn, ctx);
    bool ended = result == BITCASK_NOT_FOUND && it->current == NULL;
    bitcask_iter_free(it);
    return ended ? BITCASK_OK : result;
}
