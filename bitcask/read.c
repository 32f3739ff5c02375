/* get, read and info: one KeyDir probe and one data access, no lock. The short way (read_short.h) first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/db.h"
#include "bitcask/error.h"
#include "bitcask/read_short.h"

int bc_found_corrupt(const struct bc_found *f, const char *what)
{
    char name[BC_NAME_SIZE];
    bc_data_name(name, f->file->name.id);
    return bc_fail(BITCASK_CORRUPT, 0, name, f->entry.offset, "%s: the record at byte %llu is damaged (%s)", name,
                   (unsigned long long)f->entry.offset, what);
}

void bc_found_release(bitcask *db, struct bc_found *f)
{
    bc_free(&db->allocator, f->owned);
    f->owned = NULL;
}

/* Brings the record's bytes within reach: all of them, or as much as its head can be. */
static int fetch(bitcask *db, struct bc_found *f, bool with_value, const char **ret, size_t *ret_size)
{
    size_t size = (size_t)f->entry.footprint;
    int result = bc_filetable_open(&db->files, f->file, &f->handle);
    if (result != BITCASK_OK)
        return result;
    *ret_size = size;
    if (bc_handle_maps(f->handle)) {
        *ret = f->handle->map + f->entry.offset;
        /* The lines of a small record come from memory together with its header. */
        __builtin_prefetch(*ret + BC_CACHE_LINE);
        __builtin_prefetch(*ret + 2 * BC_CACHE_LINE);
        return BITCASK_OK;
    }
    if (!with_value)
        *ret_size = size = BC_MIN(size, BC_RECORD_HEADER + BC_RECORD_EXPIRY + BC_KEY_MAX);
    f->owned = bc_alloc(&db->allocator, size);
    if (f->owned == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to read a record of %zu bytes", size);
    *ret = f->owned;
    return bc_filetable_read(&db->files, f->file, f->entry.offset, f->owned, size);
}

enum match { MATCH, OTHER_KEY, DAMAGED };

static enum match match(struct bc_found *f, const char *bytes, size_t size, const void *key, size_t key_size)
{
    f->seed = bc_record_seed(f->file->name.nonce, f->entry.offset);
    if (bc_record_decode(&f->record, bytes, size, f->seed) != BC_RECORD_OK || f->record.type != BC_RECORD_PUT ||
        bc_record_footprint(&f->record) != f->entry.footprint)
        return DAMAGED;
    f->key = bytes + bc_record_head_size(&f->record);
    f->value = f->key + f->record.key_size;
    return f->record.key_size == key_size && memcmp(f->key, key, key_size) == 0 ? MATCH : OTHER_KEY;
}

/* f->entry is known to be the key's. */
static int find_there(bitcask *db, const void *key, size_t key_size, bool with_value, struct bc_found *f)
{
    f->file = bc_filetable_get(&db->files, f->entry.file);
    const char *bytes = NULL;
    size_t size = 0;
    int result = fetch(db, f, with_value, &bytes, &size);
    if (result != BITCASK_OK)
        return result;
    enum match matched = match(f, bytes, size, key, key_size);
    return matched == MATCH ? BITCASK_OK : bc_found_corrupt(f, matched == DAMAGED ? "its head" : "it has another key");
}

/* What lookup could not settle: a record that does not answer for its key, or more equal tags than it stores. The arena knows
 * whose the slots are. */
static int find_exactly(bitcask *db, uint64_t hash, const void *key, size_t key_size, bool with_value, struct bc_found *f)
{
    int64_t expire_at_ms;
    if (!bc_keydir_find(db->keydir, hash, key, key_size, &f->entry, &expire_at_ms))
        return bc_answer(BITCASK_NOT_FOUND);
    if (expire_at_ms != 0 && expire_at_ms <= bc_clock_now(&db->clock))
        return bc_answer(BITCASK_NOT_FOUND);
    return find_there(db, key, key_size, with_value, f);
}

int bc_find_at(bitcask *db, const struct bc_entry *entry, const void *key, size_t key_size, bool with_value,
               struct bc_found *ret)
{
    ret->entry = *entry;
    ret->owned = NULL;
    int result = bc_db_usable(db);
    if (result == BITCASK_OK)
        result = find_there(db, key, key_size, with_value, ret);
    if (result != BITCASK_OK)
        bc_found_release(db, ret);
    return result;
}

/* Whether the record of a candidate is the key's. */
static enum match try(bitcask *db, const struct bc_entry *candidate, const void *key, size_t key_size, bool with_value,
                      struct bc_found *ret)
{
    const char *bytes = NULL;
    size_t size = 0;
    ret->entry = *candidate;
    ret->owned = NULL;
    ret->file = bc_filetable_get(&db->files, candidate->file);
    enum match matched = DAMAGED;
    if (bc_likely(fetch(db, ret, with_value, &bytes, &size) == BITCASK_OK))
        matched = match(ret, bytes, size, key, key_size);
    if (bc_unlikely(matched != MATCH))
        bc_found_release(db, ret);
    return matched;
}

static int judge(bitcask *db, uint64_t hash, struct bc_found *f)
{
    if (bc_likely(f->record.expire_at_ms == 0) || f->record.expire_at_ms > bc_clock_now(&db->clock)) {
        bc_recency_note(&db->merger.recency, hash);
        return BITCASK_OK;
    }
    bc_found_release(db, f);
    return bc_answer(BITCASK_NOT_FOUND);
}

/* The long way: all slots with the key's tag. */
static int find_among(bitcask *db, uint64_t hash, const void *key, size_t key_size, bool with_value, struct bc_found *ret)
{
    struct bc_entry candidates[BC_KEYDIR_CANDIDATES];
    unsigned count = bc_keydir_lookup(db->keydir, hash, candidates);
    bool sure = count <= BC_KEYDIR_CANDIDATES;
    for (unsigned i = 0; i < count && sure; i++) {
        enum match matched = try(db, &candidates[i], key, key_size, with_value, ret);
        if (matched == MATCH)
            return judge(db, hash, ret);
        sure = matched == OTHER_KEY;
    }
    if (sure)
        return bc_answer(BITCASK_NOT_FOUND);
    ret->owned = NULL;
    int result = find_exactly(db, hash, key, key_size, with_value, ret);
    if (result != BITCASK_OK)
        bc_found_release(db, ret);
    return result;
}

int bc_find(bitcask *db, uint64_t hash, const void *key, size_t key_size, bool with_value, struct bc_found *ret)
{
    struct bc_entry candidate;
    if (bc_unlikely(bc_forked(&db->fork)))
        return bc_db_refuse_forked();
    enum bc_probe probe = bc_keydir_probe(db->keydir, hash, &candidate);
    if (probe == BC_PROBE_ABSENT)
        return bc_answer(BITCASK_NOT_FOUND);
    if (bc_likely(probe == BC_PROBE_FIRST && try(db, &candidate, key, key_size, with_value, ret) == MATCH))
        return judge(db, hash, ret);
    return find_among(db, hash, key, key_size, with_value, ret);
}

bool bc_read_again_slowly(bitcask *db, unsigned *pin, int result, unsigned attempt)
{
    bool again = result == BITCASK_CORRUPT && db->files.guarded && attempt == 0;
    int sys_errno = result == BITCASK_IO ? bitcask_last_error()->sys_errno : 0;
    /* Out of the pin nobody else could see that this call is still inside. */
    unsigned call = bc_pins_call(db->pins);
    bc_pins_leave(db->pins, *pin);
    if (bc_filetable_reclaimable(&db->files))
        bc_filetable_reclaim(&db->files);
    if ((sys_errno == EMFILE || sys_errno == ENFILE) && attempt <= 8)
        again = bc_filetable_shrink(&db->files);
    if (again)
        *pin = bc_pins_enter(db->pins);
    bc_pins_return(db->pins, call);
    return again;
}

/* The copy is what is checked: what the caller gets is what the CRC vouches for. */
static int copy_value(const struct bc_found *f, void *dst)
{
    if (f->record.value_size != 0)
        memcpy(dst, f->value, f->record.value_size);
    if (bc_unlikely(!bc_record_value_ok(&f->record, dst, f->seed)))
        return bc_found_corrupt(f, "its value");
    return BITCASK_OK;
}

static int get_once(bitcask *db, const void *key, size_t key_size, void **ret_value, size_t *ret_size)
{
    struct bc_found f;
    uint64_t hash = bc_keydir_hash(db->keydir, key, key_size);
    int result = bc_find(db, hash, key, key_size, true, &f);
    if (result == BITCASK_OK) {
        void *value = malloc(f.record.value_size == 0 ? 1 : f.record.value_size);
        if (value == NULL)
            result = bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a value of %u bytes", f.record.value_size);
        else
            result = copy_value(&f, value);
        if (result == BITCASK_OK) {
            *ret_value = value;
            *ret_size = f.record.value_size;
        } else {
            free(value);
        }
        bc_found_release(db, &f);
    }
    return result;
}

static int get_short(bitcask *db, const void *key, size_t key_size, void **ret_value, size_t *ret_size)
{
    struct bc_short s;
    uint64_t hash = bc_keydir_hash(db->keydir, key, key_size);
    unsigned pin = bc_pins_enter(db->pins);
    int result = bc_short_find(db, hash, key, key_size, &s);
    if (bc_likely(result == BITCASK_OK)) {
        result = BC_SHORT_UNKNOWN;
        void *value = malloc(s.value_size == 0 ? 1 : s.value_size);
        if (bc_likely(value != NULL)) {
            memcpy(value, s.value, s.value_size);
            if (bc_likely(bc_short_value_ok(&s, value))) {
                *ret_value = value;
                *ret_size = s.value_size;
                result = BITCASK_OK;
            } else {
                free(value);
            }
        }
    }
    bc_read_leave(db, pin);
    return result;
}

int bitcask_get(bitcask *db, const void *key, size_t key_size, void **ret_value, size_t *ret_size)
{
    int result = bc_likely(bc_key_good(key, key_size)) ? get_short(db, key, key_size, ret_value, ret_size) : BC_SHORT_UNKNOWN;
    if (bc_likely(result == BITCASK_OK))
        return result;
    if (result == BITCASK_NOT_FOUND)
        return bc_answer(result);
    result = bc_key_check(key, key_size);
    if (result != BITCASK_OK)
        return result;
    unsigned pin = bc_pins_enter(db->pins);
    for (unsigned attempt = 0;; attempt++) {
        result = get_once(db, key, key_size, ret_value, ret_size);
        if (!bc_read_again(db, &pin, result, attempt))
            break;
    }
    return result;
}

static int read_once(bitcask *db, const void *key, size_t key_size, void *buf, size_t capacity, size_t *ret_size)
{
    struct bc_found f;
    uint64_t hash = bc_keydir_hash(db->keydir, key, key_size);
    int result = bc_find(db, hash, key, key_size, true, &f);
    if (result == BITCASK_OK) {
        if (f.record.value_size > capacity) {
            *ret_size = f.record.value_size;
            result = bc_answer(BITCASK_SHORT_BUFFER);
        } else {
            result = copy_value(&f, buf);
        }
        if (result == BITCASK_OK)
            *ret_size = f.record.value_size;
        bc_found_release(db, &f);
    }
    return result;
}

static int read_short(bitcask *db, const void *key, size_t key_size, void *buf, size_t capacity, size_t *ret_size)
{
    struct bc_short s;
    uint64_t hash = bc_keydir_hash(db->keydir, key, key_size);
    unsigned pin = bc_pins_enter(db->pins);
    int result = bc_short_find(db, hash, key, key_size, &s);
    if (bc_likely(result == BITCASK_OK)) {
        result = BC_SHORT_UNKNOWN;
        if (bc_likely(s.value_size <= capacity)) {
            /* The copy is what is checked: what the caller gets is what the CRC vouches for. */
            memcpy(buf, s.value, s.value_size);
            if (bc_likely(bc_short_value_ok(&s, buf))) {
                *ret_size = s.value_size;
                result = BITCASK_OK;
            }
        }
    }
    bc_read_leave(db, pin);
    return result;
}

int bitcask_read(bitcask *db, const void *key, size_t key_size, void *buf, size_t capacity, size_t *ret_size)
{
    int result = BC_SHORT_UNKNOWN;
    if (bc_likely(bc_key_good(key, key_size) && buf != NULL))
        result = read_short(db, key, key_size, buf, capacity, ret_size);
    if (bc_likely(result == BITCASK_OK))
        return result;
    if (result == BITCASK_NOT_FOUND)
        return bc_answer(result);
    result = bc_key_check(key, key_size);
    if (result == BITCASK_OK && buf == NULL && capacity != 0)
        result = bc_fail(BITCASK_INVALID, 0, NULL, 0, "buf is NULL but has a capacity");
    if (result != BITCASK_OK)
        return result;
    unsigned pin = bc_pins_enter(db->pins);
    for (unsigned attempt = 0;; attempt++) {
        result = read_once(db, key, key_size, buf, capacity, ret_size);
        if (!bc_read_again(db, &pin, result, attempt))
            break;
    }
    return result;
}

static int info_once(bitcask *db, const void *key, size_t key_size, bitcask_key_info *ret)
{
    struct bc_found f;
    uint64_t hash = bc_keydir_hash(db->keydir, key, key_size);
    int result = bc_find(db, hash, key, key_size, false, &f);
    if (result == BITCASK_OK) {
        *ret = (bitcask_key_info){sizeof *ret, f.record.value_size, f.record.sequence, f.record.expire_at_ms};
        bc_found_release(db, &f);
    }
    return result;
}

int bitcask_info(bitcask *db, const void *key, size_t key_size, bitcask_key_info *ret)
{
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    int result = bc_key_check(key, key_size);
    if (result != BITCASK_OK)
        return result;
    unsigned pin = bc_pins_enter(db->pins);
    for (unsigned attempt = 0;; attempt++) {
        result = info_once(db, key, key_size, &info);
        if (!bc_read_again(db, &pin, result, attempt))
            break;
    }
    return result == BITCASK_OK ? bc_result_copy(ret, &info, sizeof info) : result;
}

void bitcask_free(void *ptr)
{
    free(ptr);
}

int64_t bitcask_now_ms(bitcask *db)
{
    return bc_clock_now(&db->clock);
}
