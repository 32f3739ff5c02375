/* Views: values where they lie. A view owns a reference on the handle it looks through, or, where files are not mapped, the
 * memory that the record was read into; the low bit of the pin tells which. */
#include <stdlib.h>
#include <string.h>

#include "bitcask/db.h"
#include "bitcask/error.h"

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

int bitcask_view_get(bitcask *db, const void *key, size_t key_size, bitcask_view *ret)
{
    int result = bc_key_check(key, key_size);
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
    int checked[GROUP]; /* of the key itself */
};

/* Three rounds over the group: hash and ask for the slots; probe and ask for the records; read. Between the rounds the memory
 * answers for all of them together. */
static void prefetch(bitcask *db, struct group *g)
{
    for (size_t i = 0; i < g->count; i++) {
        g->checked[i] = bc_key_check(g->keys[i].data, g->keys[i].size);
        if (g->checked[i] != BITCASK_OK)
            continue;
        g->hashes[i] = bc_keydir_hash(db->keydir, g->keys[i].data, g->keys[i].size);
        bc_keydir_prefetch(db->keydir, g->hashes[i]);
    }
    for (size_t i = 0; i < g->count; i++) {
        struct bc_entry candidates[BC_KEYDIR_CANDIDATES];
        if (g->checked[i] != BITCASK_OK || bc_keydir_lookup(db->keydir, g->hashes[i], candidates) == 0)
            continue;
        struct bc_handle *h = bc_file_handle(bc_filetable_get(&db->files, candidates[0].file));
        if (h == NULL || !bc_handle_maps(h))
            continue;
        const char *record = h->map + candidates[0].offset;
        for (size_t at = 0; at < candidates[0].footprint && at < 4 * BC_CACHE_LINE; at += BC_CACHE_LINE)
            __builtin_prefetch(record + at);
    }
}

static void get_group(bitcask *db, struct group *g, bitcask_view *ret_views, int *ret_results)
{
    unsigned pin = bc_pins_enter(db->pins);
    prefetch(db, g);
    for (size_t i = 0; i < g->count; i++) {
        struct bc_found f;
        int result = g->checked[i];
        if (result == BITCASK_OK)
            result = bc_find(db, g->hashes[i], g->keys[i].data, g->keys[i].size, true, &f);
        if (result == BITCASK_OK)
            result = bc_view_make(db, &f, &ret_views[i]);
        if (result != BITCASK_OK)
            memset(&ret_views[i], 0, sizeof ret_views[i]);
        ret_results[i] = result;
    }
    bc_pins_leave(db->pins, pin);
    /* The rare ones that ran out of descriptors, or met a guarded fault, go the long way. */
    for (size_t i = 0; i < g->count; i++)
        if (ret_results[i] == BITCASK_IO || (ret_results[i] == BITCASK_CORRUPT && db->files.guarded))
            ret_results[i] = bitcask_view_get(db, g->keys[i].data, g->keys[i].size, &ret_views[i]);
}

int bitcask_get_many(bitcask *db, const bitcask_slice *keys, size_t count, bitcask_view *ret_views, int *ret_results)
{
    if (count != 0 && (keys == NULL || ret_views == NULL || ret_results == NULL))
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "get_many needs keys, views and results");
    unsigned call = bc_pins_call(db->pins);
    int result = bc_db_usable(db);
    for (size_t from = 0; from < count && result == BITCASK_OK; from += GROUP) {
        struct group g = {.keys = keys + from, .count = BC_MIN(count - from, (size_t)GROUP)};
        get_group(db, &g, ret_views + from, ret_results + from);
    }
    if (bc_filetable_reclaimable(&db->files))
        bc_filetable_reclaim(&db->files);
    bc_pins_return(db->pins, call);
    return result;
}
