/* Views: values where they lie. A view owns a reference on the handle it looks through, or, where files are not mapped, the
 * memory that the record was read into; the low bit of the pin tells which. */
#include <stdlib.h>
#include <string.h>

#include "bitcask/db.h"
#include "bitcask/error.h"
#include "bitcask/read_short.h"

#define PIN_MEMORY ((uintptr_t)1)

int bc_view_make(bitcask *db, struct bc_found *f, bitcask_view *ret)
{
    if (!bc_record_value_ok(&f->record, f->value, f->seed)) {
        int result = bc_found_corrupt(f, "its value");
        bc_found_release(db, f);
        return result;
    }
    bitcask_view view = {f->value, f->record.value_size, f->record.sequence, f->record.expire_at_ms, f->handle};
    if (f->owned != NULL) {
        /* Views outlive the store and its allocator. */
        char *copy = malloc(f->record.value_size == 0 ? 1 : f->record.value_size);
        if (copy != NULL)
            memcpy(copy, f->value, f->record.value_size);
        bc_found_release(db, f);
        if (copy == NULL)
            return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a value of %zu bytes", view.size);
        view.data = copy;
        view.pin = (void *)((uintptr_t)copy | PIN_MEMORY);
    } else {
        bc_handle_ref(f->handle);
    }
    *ret = view;
    return BITCASK_OK;
}

static int view_once(bitcask *db, const void *key, size_t key_size, bitcask_view *ret)
{
    struct bc_found f;
    uint64_t hash = bc_keydir_hash(db->keydir, key, key_size);
    int result = bc_find(db, hash, key, key_size, true, &f);
    return result == BITCASK_OK ? bc_view_make(db, &f, ret) : result;
}

/* Inside the pin. */
static inline bitcask_view view_of(const struct bc_short *s)
{
    bc_handle_ref(s->handle);
    return (bitcask_view){s->value, s->value_size, s->sequence, s->expire_at_ms, s->handle};
}

static int view_short(bitcask *db, const void *key, size_t key_size, bitcask_view *ret)
{
    struct bc_short s;
    uint64_t hash = bc_keydir_hash(db->keydir, key, key_size);
    unsigned pin = bc_pins_enter(db->pins);
    int result = bc_short_find(db, hash, key, key_size, &s);
    if (result == BITCASK_OK && bc_unlikely(!bc_short_value_ok(&s, s.value)))
        result = BC_SHORT_UNKNOWN;
    if (bc_likely(result == BITCASK_OK))
        *ret = view_of(&s);
    bc_read_leave(db, pin);
    return result;
}

int bitcask_view_get(bitcask *db, const void *key, size_t key_size, bitcask_view *ret)
{
    int result = bc_likely(bc_key_good(key, key_size)) ? view_short(db, key, key_size, ret) : BC_SHORT_UNKNOWN;
    if (bc_likely(result == BITCASK_OK))
        return result;
    if (result == BITCASK_NOT_FOUND)
        return bc_answer(result);
    result = bc_key_check(key, key_size);
    if (result != BITCASK_OK)
        return result;
    unsigned pin = bc_pins_enter(db->pins);
    for (unsigned attempt = 0;; attempt++) {
        result = view_once(db, key, key_size, ret);
        if (!bc_read_again(db, &pin, result, attempt))
            break;
    }
    return result;
}

void bitcask_view_release(bitcask_view *view)
{
    uintptr_t pin = (uintptr_t)view->pin;
    if ((pin & PIN_MEMORY) != 0)
        free((void *)(pin & ~PIN_MEMORY));
    else
        bc_handle_unref(view->pin);
    memset(view, 0, sizeof *view);
}

/* ---- many ---- */

#define GROUP 32U /* keys whose memory accesses overlap */

struct group {
    const bitcask_slice *keys;
    size_t count;
    uint64_t hashes[GROUP];
    struct bc_short_place places[GROUP];
};

/* Three rounds over the group: hash and ask for the slots; probe and ask for the records; read. Between the rounds the memory
 * answers for all of them together. */
static void prefetch(bitcask *db, struct group *g)
{
    for (size_t i = 0; i < g->count; i++) {
        g->places[i].record = NULL;
        if (!bc_key_good(g->keys[i].data, g->keys[i].size))
            continue;
        g->hashes[i] = bc_keydir_hash(db->keydir, g->keys[i].data, g->keys[i].size);
        bc_keydir_prefetch_probe(db->keydir, g->hashes[i]);
    }
    for (size_t i = 0; i < g->count; i++) {
        struct bc_entry e;
        if (!bc_key_good(g->keys[i].data, g->keys[i].size) || bc_keydir_probe(db->keydir, g->hashes[i], &e) != BC_PROBE_FIRST)
            continue;
        g->places[i] = bc_short_locate(db, &e);
        const char *record = g->places[i].record;
        if (record == NULL)
            continue;
        __builtin_prefetch(record);
        __builtin_prefetch(record + BC_CACHE_LINE);
        for (size_t at = 2 * BC_CACHE_LINE; at < g->places[i].footprint + 7 * BC_RECORD_ALIGN && at < 4 * BC_CACHE_LINE;
             at += BC_CACHE_LINE)
            __builtin_prefetch(record + at);
    }
}

/* What the short way could not answer. */
static int get_long(bitcask *db, const struct group *g, size_t i, bitcask_view *ret)
{
    struct bc_found f;
    int result = bc_key_check(g->keys[i].data, g->keys[i].size);
    if (result == BITCASK_OK)
        result = bc_find(db, g->hashes[i], g->keys[i].data, g->keys[i].size, true, &f);
    if (result == BITCASK_OK)
        result = bc_view_make(db, &f, ret);
    if (result != BITCASK_OK)
        memset(ret, 0, sizeof *ret);
    return result;
}

static void get_group(bitcask *db, struct group *g, bitcask_view *ret_views, int *ret_results)
{
    unsigned pin = bc_pins_enter(db->pins);
    prefetch(db, g);
    for (size_t i = 0; i < g->count; i++) {
        const struct bc_short_place *at = &g->places[i];
        struct bc_short s;
        if (bc_likely(at->record != NULL && bc_short_check(db, at, g->keys[i].data, g->keys[i].size, &s) &&
                      bc_short_value_ok(&s, s.value))) {
            bc_recency_note(&db->merger.recency, g->hashes[i]);
            ret_views[i] = view_of(&s);
            ret_results[i] = BITCASK_OK;
        } else {
            ret_results[i] = get_long(db, g, i, &ret_views[i]);
        }
    }
    bc_pins_leave(db->pins, pin);
    /* The rare ones that ran out of descriptors, or met a guarded fault, go the long way. */
    for (size_t i = 0; i < g->count; i++)
        if (bc_unlikely(ret_results[i] == BITCASK_IO || (ret_results[i] == BITCASK_CORRUPT && db->files.guarded)))
            ret_results[i] = bitcask_view_get(db, g->keys[i].data, g->keys[i].size, &ret_views[i]);
}

int bitcask_get_many(bitcask *db, const bitcask_slice *keys, size_t count, bitcask_view *ret_views, int *ret_results)
{
    if (count != 0 && (keys == NULL || ret_views == NULL || ret_results == NULL))
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "get_many needs keys, views and results");
    unsigned call = bc_pins_call(db->pins);
    int result = bc_db_usable(db);
    for (size_t from = 0; from < count && result == BITCASK_OK; from += GROUP) {
        struct group g;
        g.keys = keys + from;
        g.count = BC_MIN(count - from, (size_t)GROUP);
        get_group(db, &g, ret_views + from, ret_results + from);
    }
    if (bc_filetable_reclaimable(&db->files))
        bc_filetable_reclaim(&db->files);
    bc_pins_return(db->pins, call);
    return result;
}
