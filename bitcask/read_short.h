/* read_short.h - the short way of a get: what almost every one needs, inline and without a branch that is hard to guess. A
 * processor overlaps the cache misses of one get with those of the next if both fit into what it looks ahead, some hundred
 * instructions: they count for more than the time that they take.
 *
 * Whatever is unusual (a large record, a file that is not open or not mapped, two keys with one tag, damage, expiry) gets no
 * answer here: the caller goes the long way, which finds out everything anew.
 */
#ifndef BC_READ_SHORT_H
#define BC_READ_SHORT_H

#include "bitcask/db.h"
#include "bitcask/keydir_probe.h"

#include <string.h>

#define BC_SHORT_UNKNOWN 1        /* no result of the public ones: go the long way */
#define BC_SHORT_FOOTPRINT 16384U /* below it a footprint is the size, rounded up to 8 */

/* A record with a good head and the right key; its value is not checked. */
struct bc_short {
    const char *value;
    struct bc_handle *handle;
    uint64_t sequence;
    int64_t expire_at_ms;
    uint32_t value_size, value_crc, seed;
};

/* Where a record lies, before it is touched. */
struct bc_short_place {
    const char *record; /* NULL: go the long way */
    struct bc_handle *handle;
    uint64_t offset, nonce;
    uint32_t footprint;
};

/* Inside a pin. */
static inline struct bc_short_place bc_short_locate(bitcask *db, const struct bc_entry *e)
{
    struct bc_file *f = bc_filetable_get(&db->files, e->file);
    struct bc_handle *h = bc_file_handle(f);
    if (bc_unlikely(h == NULL || !bc_handle_maps(h) || e->footprint >= BC_SHORT_FOOTPRINT))
        return (struct bc_short_place){.record = NULL};
    if (bc_unlikely(!atomic_load_explicit(&f->recent, memory_order_relaxed)))
        atomic_store_explicit(&f->recent, true, memory_order_relaxed);
    return (struct bc_short_place){h->map + e->offset, h, e->offset, f->name.nonce, (uint32_t)e->footprint};
}

static inline bool bc_short_check(bitcask *db, const struct bc_short_place *at, const void *key, size_t key_size,
                                  struct bc_short *ret)
{
    /* Key size, type and flags are the header's last four bytes: one comparison. */
    const uint32_t expires = (uint32_t)BC_RECORD_EXPIRES << 24;
    const char *p = at->record;
    uint32_t tail = bc_get_u32(p + 20);
    if (bc_unlikely((tail & ~expires) != ((uint32_t)key_size | (uint32_t)BC_RECORD_PUT << 16)))
        return false;
    size_t head = BC_RECORD_HEADER + ((tail & expires) != 0 ? BC_RECORD_EXPIRY : 0);
    ret->value_size = bc_get_u32(p + 16);
    /* From here on every byte that is looked at lies within the footprint. */
    if (bc_unlikely(bc_align_up(head + key_size + ret->value_size, BC_RECORD_ALIGN) != at->footprint))
        return false;
    ret->seed = bc_record_seed(at->nonce, at->offset);
    ret->sequence = bc_get_u64(p + 8);
    ret->expire_at_ms = (tail & expires) != 0 ? (int64_t)bc_get_u64(p + BC_RECORD_HEADER) : 0;
    if (bc_unlikely(memcmp(p + head, key, key_size) != 0 || ret->sequence == 0 ||
                    bc_crc32(ret->seed, p + 4, head - 4 + key_size) != bc_get_u32(p)))
        return false;
    if ((tail & expires) != 0 && bc_unlikely(ret->expire_at_ms <= bc_clock_now(&db->clock)))
        return false;
    ret->value_crc = bc_get_u32(p + 4);
    ret->value = p + head + key_size;
    ret->handle = at->handle;
    return true;
}

/* Inside a pin. OK, NOT_FOUND, BC_SHORT_UNKNOWN. */
static inline int bc_short_find(bitcask *db, uint64_t hash, const void *key, size_t key_size, struct bc_short *ret)
{
    struct bc_entry e;
    if (bc_unlikely(bc_forked(&db->fork)))
        return BC_SHORT_UNKNOWN;
    enum bc_probe probe = bc_keydir_probe(db->keydir, hash, &e);
    if (probe != BC_PROBE_FIRST)
        return probe == BC_PROBE_ABSENT ? BITCASK_NOT_FOUND : BC_SHORT_UNKNOWN;
    struct bc_short_place at = bc_short_locate(db, &e);
    if (bc_unlikely(at.record == NULL))
        return BC_SHORT_UNKNOWN;
    /* The lines of a small record come from memory together with its header. */
    __builtin_prefetch(at.record + BC_CACHE_LINE);
    __builtin_prefetch(at.record + 2 * BC_CACHE_LINE);
    if (bc_unlikely(!bc_short_check(db, &at, key, key_size, ret)))
        return BC_SHORT_UNKNOWN;
    bc_recency_note(&db->merger.recency, hash);
    return BITCASK_OK;
}

static inline bool bc_short_value_ok(const struct bc_short *s, const void *value)
{
    return bc_crc32(~s->seed, value, s->value_size) == s->value_crc;
}

#endif
