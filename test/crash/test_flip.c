/* test_flip.c - damage anywhere: every byte of a store flipped, one after the other, every file cut to every length, files
 * exchanged, replaced and lost; opened with hints and without; on a store that was closed and on one that was killed.
 *
 * For each flip the one right outcome is known beforehand from what the byte is part of:
 *   - a value costs its own key, and nothing else (P7); one that is superseded costs nothing;
 *   - a header or key makes the open refuse, naming file and offset, and modify nothing (P7, P8); with a hint, which knows the
 *     key, it costs that key alone; salvage shows everything else;
 *   - an open file is cut at the damage only where nothing was known durable; below the durable mark it is damage, never a torn
 *     tail (P8); what is left is a state that the store once had (P2);
 *   - a hint, one copy of the MANIFEST, padding and what lies behind the end cost nothing (P13).
 * Never a wrong value, an absence or an older version in place of an error (P4, P5, P6). */
#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/db.h"
#include "test/support/simdisk.h"

#define KEYS 14U
#define OPERATIONS 128U
#define FILES 16U
#define PIECES 512U
#define FUTURE 4000000000000 /* an expiry that no test lives to see */
#define PAST 100000000001

/* Under a sanitizer an open takes so much longer that of all flips and lengths only every STRIDE-th is tried: of every part,
 * both masks and both ways are among them, as it has no divisor in common with their numbers. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRIDE 31U
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define STRIDE 31U
#endif
#endif
#ifndef STRIDE
#define STRIDE 1U
#endif

/* What a byte is part of. */
enum part { HEADER, MARK, GAP, LINK, FRAME, HEAD, VALUE, PADDING, BEHIND, MANIFEST, HINT, PARTS };
static const char *const part_names[] = {"header", "mark",    "mark's page",    "link",     "frame", "record head",
                                         "value",  "padding", "behind the end", "MANIFEST", "hint"};

enum outcome { UNCHANGED, ONE_KEY, CUT, REFUSED, OUTCOMES };
static const char *const outcome_names[] = {"nothing changed", "one key CORRUPT", "cut", "refused"};

struct truth {
    struct {
        uint32_t version; /* 0: absent */
        bool expires;
    } key[KEYS];
};

struct history {
    struct truth after[OPERATIONS + 1];
    struct {
        uint64_t file, start, end;
    } place[OPERATIONS + 1];
    unsigned count;
};

struct piece {
    enum part part;
    uint64_t start, end;
    uint64_t record; /* where the record starts */
    int key;         /* of a head or value; -1: none */
    bool live;       /* it is its key's newest */
};

struct image {
    char path[64];
    enum bc_name_kind kind;
    uint64_t id;
    unsigned char *bytes;
    size_t size;
    bool open;           /* in the MANIFEST */
    uint64_t mark, ends; /* an open file's durable mark; where the records end */
    struct piece pieces[PIECES];
    size_t piece_count;
};

struct store {
    struct simdisk *disk;
    bitcask *db;
    uint32_t flags;
    struct history history;
    struct image files[FILES];
    size_t file_count;
};

static unsigned long counts[PARTS][OUTCOMES];
static unsigned long flips, places;
static char scene[256];

/* ---- keys and values ---- */

static size_t make_key(unsigned k, char dst[32])
{
    return (size_t)snprintf(dst, 32, "key%u%.*s", k, (int)k, "abcdefghijklmnop");
}

static size_t make_value(unsigned k, uint32_t version, unsigned char *dst)
{
    static const size_t sizes[] = {4, 13, 40, 5, 100, 24, 9, 33};
    if (version == 0x8000)
        return 0;
    size_t size = version >= 0x4000 ? 9000 : sizes[(k + version) % BC_ARRAY_SIZE(sizes)];
    memcpy(dst, &version, sizeof version);
    for (size_t i = sizeof version; i < size; i++)
        dst[i] = (unsigned char)(k * 31 + version * 7 + i * 13 + (i >> 8));
    return size;
}

/* ---- making stores ---- */

static int open_on(struct simdisk *disk, uint32_t flags, bitcask **ret)
{
    const struct bc_environment environment = {simdisk_io(disk), true};
    bitcask_options options = BITCASK_OPTIONS_INIT;
    options.flags = flags;
    options.max_file_size = 65536;
    options.keydir_shards = 64;
    return bc_db_open("/store", &options, &environment, ret);
}

static void begin(struct store *s)
{
    ck_assert_int_eq(open_on(s->disk, s->flags, &s->db), BITCASK_OK);
}

/* What the last operation did, and where it stands. from: the tail before it. */
static void note(struct store *s, const struct bc_file *file, uint64_t from)
{
    struct history *h = &s->history;
    const struct bc_file *active = s->db->log.active;
    ck_assert_uint_le(h->count, OPERATIONS);
    h->place[h->count].file = active->name.id;
    h->place[h->count].start = active == file ? from : BC_DATA_START + BC_RECORD_HEADER + BC_LINK_VALUE;
    h->place[h->count].end = s->db->log.tail;
}

static struct truth *next_truth(struct store *s)
{
    struct history *h = &s->history;
    h->count++;
    h->after[h->count] = h->after[h->count - 1];
    return &h->after[h->count];
}

static void put(struct store *s, unsigned k, uint32_t version, int64_t expire_at_ms, uint32_t flags)
{
    unsigned char value[9000];
    char key[32];
    const struct bc_file *file = s->db->log.active;
    uint64_t from = s->db->log.tail;
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.flags = flags;
    o.expire_at_ms = expire_at_ms;
    ck_assert_int_eq(bitcask_put(s->db, key, make_key(k, key), value, make_value(k, version, value), &o, NULL), BITCASK_OK);
    struct truth *t = next_truth(s);
    t->key[k].version = expire_at_ms == PAST ? 0 : version;
    t->key[k].expires = expire_at_ms != 0;
    note(s, file, from);
}

static void delete (struct store *s, unsigned k, uint32_t flags)
{
    char key[32];
    const struct bc_file *file = s->db->log.active;
    uint64_t from = s->db->log.tail;
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.flags = flags;
    ck_assert_int_eq(bitcask_delete(s->db, key, make_key(k, key), &o, NULL), BITCASK_OK);
    next_truth(s)->key[k].version = 0;
    note(s, file, from);
}

/* Puts k and k + 1, deletes gone. */
static void batch(struct store *s, unsigned k, uint32_t version, unsigned gone, uint32_t flags)
{
    unsigned char value[9000];
    char key[32];
    const struct bc_file *file = s->db->log.active;
    uint64_t from = s->db->log.tail;
    struct truth *t = next_truth(s);
    bitcask_batch *b;
    ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
    for (unsigned i = k; i < k + 2; i++) {
        ck_assert_int_eq(bitcask_batch_put(b, key, make_key(i, key), value, make_value(i, version, value), 0), BITCASK_OK);
        t->key[i].version = version;
        t->key[i].expires = false;
    }
    ck_assert_int_eq(bitcask_batch_delete(b, key, make_key(gone, key)), BITCASK_OK);
    t->key[gone].version = 0;
    ck_assert_int_eq(bitcask_write(s->db, b, flags), BITCASK_OK);
    bitcask_batch_free(b);
    note(s, file, from);
}

static void end(struct store *s)
{
    bitcask *db = s->db;
    s->db = NULL;
    ck_assert_int_eq(bitcask_close(db), BITCASK_OK);
}

/* The process dies: what it wrote is in the page cache. */
static void kill_it(struct store *s)
{
    simdisk_kill(s->disk);
    (void)bitcask_close(s->db);
    s->db = NULL;
    struct simdisk *left = simdisk_clone(s->disk);
    simdisk_free(s->disk);
    s->disk = left;
}

/* The next writer does not go on in a file that has a second name. */
static void end_file(struct store *s, const char *name)
{
    char path[64];
    end(s);
    snprintf(path, sizeof path, "/store/%s", name);
    ck_assert_int_eq(simdisk_link(s->disk, path, "/store/second-name"), 0);
    begin(s);
    put(s, 13, 50 + s->history.count, 0, 0);
    ck_assert_int_eq(simdisk_remove(s->disk, "/store/second-name"), 0);
}

/* Three small files, two of them sealed: live, superseded, deleted, expired, rewritten, empty, by batch and by touch. */
static void fill_small(struct store *s)
{
    begin(s);
    for (unsigned k = 0; k < 6; k++)
        put(s, k, k + 1, k == 4 ? FUTURE : 0, 0);
    batch(s, 6, 11, 3, 0);
    put(s, 8, 0x8000, 0, 0);
    end_file(s, "0000000001.data");
    put(s, 0, 21, 0, 0);
    delete (s, 1, 0);
    put(s, 5, 22, PAST, 0);
    put(s, 9, 23, FUTURE, 0);
    put(s, 10, 24, 0, 0);
    batch(s, 11, 25, 7, 0);
    end_file(s, "0000000002.data");
    delete (s, 10, 0);
    put(s, 10, 31, 0, 0);
    put(s, 6, 32, 0, 0);
    delete (s, 8, 0);
    put(s, 9, 33, 0, 0);
}

/* ---- looking at files ---- */

static int collect(const char *name, void *arg)
{
    struct store *s = arg;
    uint64_t id;
    enum bc_name_kind kind = bc_name_parse(name, &id);
    ck_assert_uint_lt(s->file_count, FILES);
    struct image *f = &s->files[s->file_count++];
    memset(f, 0, sizeof *f);
    snprintf(f->path, sizeof f->path, "/store/%s", name);
    f->kind = kind;
    f->id = id;
    void *bytes;
    ck_assert_int_eq(simdisk_read_file(s->disk, f->path, SIMDISK_VOLATILE, &bytes, &f->size), 0);
    f->bytes = bytes;
    return 0;
}

static void add_piece(struct image *f, enum part part, uint64_t start, uint64_t finish, uint64_t record, int key)
{
    if (start == finish)
        return;
    ck_assert_uint_lt(f->piece_count, PIECES);
    f->pieces[f->piece_count++] = (struct piece){part, start, finish, record, key, false};
}

static int key_number(const unsigned char *key, size_t size)
{
    for (unsigned k = 0; k < KEYS; k++) {
        char expected[32];
        if (make_key(k, expected) == size && memcmp(key, expected, size) == 0)
            return (int)k;
    }
    return -1;
}

/* Takes a data file apart. newest: for each key the highest sequence met so far and its pieces. */
static void dissect(struct image *f, uint64_t nonce)
{
    add_piece(f, HEADER, 0, BC_DATA_HEADER_SIZE, 0, -1);
    for (unsigned slot = 0; slot < 2; slot++) {
        uint64_t at = BC_DATA_MARK_OFFSET + slot * BC_DATA_MARK_SECTOR, counter, offset;
        add_piece(f, MARK, at, at + BC_DATA_MARK_SIZE, 0, -1);
        add_piece(f, GAP, at + BC_DATA_MARK_SIZE, slot == 0 ? at + BC_DATA_MARK_SECTOR : BC_DATA_START, 0, -1);
        ck_assert(bc_mark_decode(f->bytes + at, nonce, &counter, &offset));
        f->mark = BC_MAX(f->mark, offset);
    }
    uint64_t at = BC_DATA_START;
    struct bc_record r;
    while (at < f->ends && bc_record_decode(&r, f->bytes + at, f->size - at, bc_record_seed(nonce, at)) == BC_RECORD_OK) {
        const unsigned char *key = f->bytes + at + bc_record_head_size(&r);
        uint64_t value = at + bc_record_head_size(&r) + r.key_size, next = at + bc_record_footprint(&r);
        bool service = r.type == BC_RECORD_LINK || r.type == BC_RECORD_BATCH;
        enum part head = r.type == BC_RECORD_LINK ? LINK : r.type == BC_RECORD_BATCH ? FRAME : HEAD;
        int k = service ? -1 : key_number(key, r.key_size);
        ck_assert(service || k >= 0);
        add_piece(f, head, at, value, at, k);
        add_piece(f, service ? head : VALUE, value, value + r.value_size, at, k);
        add_piece(f, PADDING, value + r.value_size, next, at, -1);
        at = next;
    }
    ck_assert_uint_eq(at, f->ends);
    add_piece(f, BEHIND, f->ends, f->size, f->ends, -1);
}

/* In log order the last record of a key is its newest. */
static void find_live(struct store *s)
{
    struct piece *newest[KEYS] = {NULL};
    uint64_t files[KEYS] = {0};
    for (size_t i = 0; i < s->file_count; i++) {
        struct image *f = &s->files[i];
        for (size_t p = 0; f->kind == BC_NAME_DATA && p < f->piece_count; p++) {
            struct piece *piece = &f->pieces[p];
            if (piece->part != HEAD || (newest[piece->key] != NULL && files[piece->key] > f->id))
                continue;
            newest[piece->key] = piece;
            files[piece->key] = f->id;
        }
    }
    for (size_t i = 0; i < s->file_count; i++)
        for (size_t p = 0; p < s->files[i].piece_count; p++) {
            struct piece *piece = &s->files[i].pieces[p];
            if (piece->key < 0 || s->history.after[s->history.count].key[piece->key].version == 0)
                continue;
            piece->live = files[piece->key] == s->files[i].id && newest[piece->key]->record == piece->record;
        }
}

static void look(struct store *s)
{
    struct bc_manifest m;
    int damaged = 0;
    s->file_count = 0;
    ck_assert_int_eq(simdisk_list(s->disk, "/store", SIMDISK_VOLATILE, collect, s), 0);
    const struct image *listing = NULL;
    for (size_t i = 0; i < s->file_count; i++)
        if (s->files[i].kind == BC_NAME_MANIFEST)
            listing = &s->files[i];
    ck_assert_ptr_nonnull(listing);
    ck_assert_int_eq(bc_manifest_decode(&m, &damaged, listing->bytes, listing->size, &bc_allocator_default), BITCASK_OK);
    for (size_t i = 0; i < s->file_count; i++) {
        struct image *f = &s->files[i];
        const struct bc_manifest_file *listed = NULL;
        for (size_t n = 0; n < m.count; n++)
            listed = f->kind == BC_NAME_DATA && m.files[n].name.id == f->id ? &m.files[n] : listed;
        if (listed == NULL) {
            ck_assert_int_ne(f->kind, BC_NAME_DATA);
            if (f->size != 0)
                add_piece(f, f->kind == BC_NAME_HINT ? HINT : MANIFEST, 0, f->size, 0, -1);
            continue;
        }
        f->open = listed->state == BC_MANIFEST_OPEN;
        f->ends = f->open ? BC_DATA_START : listed->end;
        for (unsigned op = 1; f->open && op <= s->history.count; op++)
            if (s->history.place[op].file == f->id)
                f->ends = s->history.place[op].end;
        dissect(f, listed->name.nonce);
        f->mark = BC_MAX(f->mark, listed->end);
    }
    find_live(s);
    bc_manifest_free(&bc_allocator_default, &m);
}

static void forget(struct store *s)
{
    for (size_t i = 0; i < s->file_count; i++)
        free(s->files[i].bytes);
    simdisk_free(s->disk);
    free(s);
}

/* ---- what must be seen ---- */

struct expected {
    enum outcome outcome;
    bool may_refuse;  /* as well as outcome */
    bool hint_hides;  /* the damage is met when the file is scanned for a new hint: a later open refuses */
    unsigned state;   /* of the history */
    int key;          /* ONE_KEY, or the one that salvage may show otherwise */
    const char *file; /* REFUSED: what is blamed */
    uint64_t offset;  /* and where; 0: not checked */
};

#define reject_if(condition, ...)                                                                                              \
    do {                                                                                                                       \
        if (condition) {                                                                                                       \
            char why_[256];                                                                                                    \
            snprintf(why_, sizeof why_, __VA_ARGS__);                                                                          \
            ck_abort_msg("%s: %s", scene, why_);                                                                               \
        }                                                                                                                      \
    } while (0)

static void check_value(unsigned k, const struct truth *t, const void *data, size_t size, const char *by)
{
    unsigned char bytes[9000];
    size_t right = make_value(k, t->key[k].version, bytes);
    reject_if(t->key[k].version == 0, "key %u is there (by %s), should be absent", k, by);
    reject_if(size != right || (size != 0 && memcmp(data, bytes, size) != 0), "key %u has another value (by %s)", k, by);
}

/* A key by a read and by its metadata. exempt: it may show anything that it once was. */
static void check_key(bitcask *db, unsigned k, const struct truth *t, bool corrupt, bool exempt)
{
    char key[32];
    size_t key_size = make_key(k, key), size = 0;
    void *value = NULL;
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    int result = bitcask_get(db, key, key_size, &value, &size);
    reject_if(result != BITCASK_OK && result != BITCASK_NOT_FOUND && result != BITCASK_CORRUPT, "key %u: %s", k,
              bitcask_errname(result));
    if (exempt) {
        bitcask_free(value);
        return;
    }
    reject_if(corrupt && result != BITCASK_CORRUPT, "key %u: %s, its record is damaged", k, bitcask_errname(result));
    reject_if(!corrupt && result == BITCASK_CORRUPT, "key %u: %s", k, bitcask_last_error()->message);
    reject_if(result == BITCASK_NOT_FOUND && t->key[k].version != 0, "key %u is absent", k);
    if (result == BITCASK_OK)
        check_value(k, t, value, size, "get");
    bitcask_free(value);
    int known = bitcask_info(db, key, key_size, &info);
    /* Metadata may be known where the value is damaged; it must not be an absence. */
    reject_if(corrupt ? known == BITCASK_NOT_FOUND : known != result, "key %u: info says %s", k, bitcask_errname(known));
    reject_if(known == BITCASK_OK && (info.expire_at_ms != 0) != t->key[k].expires, "key %u has another expiry", k);
}

/* Every key that is there once, and none that is not. */
static void check_walk(bitcask *db, const struct truth *t, int corrupt, int exempt)
{
    bool seen[KEYS] = {false};
    bitcask_iter *iter;
    ck_assert_int_eq(bitcask_iter_new(db, NULL, &iter), BITCASK_OK);
    while (bitcask_iter_next(iter) == BITCASK_OK) {
        bitcask_slice key = bitcask_iter_key(iter), value;
        int k = key_number(key.data, key.size);
        reject_if(k < 0 || seen[k], "a walk meets a key that is none, or one twice");
        seen[k] = true;
        int result = bitcask_iter_value(iter, &value);
        if (k == exempt)
            continue;
        reject_if((result == BITCASK_CORRUPT) != (k == corrupt), "key %d: a walk says %s", k, bitcask_errname(result));
        if (result == BITCASK_OK)
            check_value((unsigned)k, t, value.data, value.size, "walk");
    }
    bitcask_iter_free(iter);
    for (unsigned k = 0; k < KEYS; k++)
        reject_if(seen[k] != (t->key[k].version != 0) && (int)k != exempt, "a walk %s key %u", seen[k] ? "shows" : "misses", k);
}

static void check_all(bitcask *db, const struct truth *t, int corrupt, int exempt)
{
    for (unsigned k = 0; k < KEYS; k++)
        check_key(db, k, t, (int)k == corrupt, (int)k == exempt);
    check_walk(db, t, corrupt, exempt);
}

static void check_refusal(int result, const struct expected *e)
{
    const bitcask_error *error = bitcask_last_error();
    reject_if(result != BITCASK_CORRUPT, "open: %s: %s", bitcask_errname(result), error->message);
    reject_if(e->outcome != REFUSED && !e->may_refuse, "open: %s", error->message);
    reject_if(strcmp(error->file, e->file) != 0, "open blames '%s', not '%s': %s", error->file, e->file, error->message);
    reject_if(e->offset != 0 && error->offset != e->offset, "open blames byte %" PRIu64 ", not %" PRIu64, error->offset,
              e->offset);
}

static bool open_and_check(const struct store *s, struct simdisk *disk, uint32_t flags, const struct expected *e)
{
    bitcask *db = NULL;
    int result = open_on(disk, s->flags | flags, &db);
    if (result != BITCASK_OK) {
        check_refusal(result, e);
        return false;
    }
    if (e->outcome == REFUSED)
        (void)bitcask_close(db);
    reject_if(e->outcome == REFUSED, "open does not see it");
    check_all(db, &s->history.after[e->state], e->outcome == ONE_KEY ? e->key : -1, -1);
    ck_assert_int_eq(bitcask_close(db), BITCASK_OK);
    return true;
}

/* A store that refuses shows all else in salvage. */
static void check_salvage(const struct store *s, struct simdisk *disk, int exempt)
{
    bitcask *db = NULL;
    int result = open_on(disk, s->flags | BITCASK_OPEN_SALVAGE, &db);
    reject_if(result != BITCASK_OK, "salvage: %s", bitcask_last_error()->message);
    check_all(db, &s->history.after[s->history.count], -1, exempt);
    ck_assert_int_eq(bitcask_close(db), BITCASK_OK);
}

/* With a writer's open: it sees the same, modifies nothing if it refuses, launders no damage, and the damaged key can be
 * written. */
static void check_writing(const struct store *s, struct simdisk *disk, const struct expected *e)
{
    struct simdisk *clone = simdisk_clone(disk);
    uint64_t before = simdisk_digest(clone, SIMDISK_BOTH);
    unsigned char value[9000];
    char key[32];
    bitcask *db = NULL;
    if (!open_and_check(s, clone, 0, e)) {
        reject_if(simdisk_digest(clone, SIMDISK_BOTH) != before, "a refused open changed the disk");
    } else {
        reject_if(!open_and_check(s, clone, 0, e), "the second open refuses");
        struct truth t = s->history.after[e->state];
        unsigned k = e->outcome == ONE_KEY ? (unsigned)e->key : 2;
        ck_assert_int_eq(open_on(clone, s->flags, &db), BITCASK_OK);
        ck_assert_int_eq(bitcask_put(db, key, make_key(k, key), value, make_value(k, 99, value), NULL, NULL), BITCASK_OK);
        ck_assert_int_eq(bitcask_close(db), BITCASK_OK);
        t.key[k].version = 99;
        t.key[k].expires = false;
        int result = open_on(clone, s->flags | BITCASK_OPEN_READ_ONLY, &db);
        if (result != BITCASK_OK && e->hint_hides) {
            reject_if(strcmp(bitcask_last_error()->file, e->file) != 0, "after a write: %s", bitcask_last_error()->message);
            result = open_on(clone, s->flags | BITCASK_OPEN_SALVAGE, &db);
        }
        reject_if(result != BITCASK_OK, "after a write: %s", bitcask_last_error()->message);
        check_all(db, &t, -1, e->hint_hides ? e->key : -1);
        ck_assert_int_eq(bitcask_close(db), BITCASK_OK);
    }
    simdisk_free(clone);
}

/* ---- flips ---- */

static const char *base_name(const struct image *f)
{
    return f->path + strlen("/store/");
}

/* The state before the first operation at or behind a piece. */
static unsigned state_before(const struct store *s, const struct image *f, const struct piece *p)
{
    const struct history *h = &s->history;
    for (unsigned op = 1; op <= h->count; op++)
        if (h->place[op].file == f->id && h->place[op].end > p->start)
            return op - 1;
    return h->count;
}

/* Where the open says the damage is: a batch that cannot be whole is bad from its frame on. */
static uint64_t blamed_offset(const struct store *s, const struct image *f, const struct piece *p)
{
    const struct history *h = &s->history;
    for (unsigned op = 1; f->open && op <= h->count; op++)
        if (h->place[op].file == f->id && h->place[op].start <= p->record && h->place[op].end > p->record)
            return p->record == h->place[op].start ? p->record : 0;
    return p->record;
}

static struct expected expect(const struct store *s, const struct image *f, const struct piece *p, bool hints)
{
    struct expected e = {.outcome = UNCHANGED, .state = s->history.count, .key = p->key, .file = base_name(f)};
    bool service = p->part == LINK || p->part == FRAME, is_record = service || p->part == HEAD || p->part == VALUE;
    if (p->part == HEADER)
        e.outcome = REFUSED;
    if (!is_record)
        return e;
    e.state = state_before(s, f, p);
    if (f->open && p->start >= f->mark) {
        e.outcome = CUT;
        return e;
    }
    e.state = s->history.count;
    if (p->part == VALUE) {
        e.outcome = p->live ? ONE_KEY : UNCHANGED;
        return e;
    }
    if (hints && !f->open) {
        e.hint_hides = true;
        e.outcome = p->part == HEAD && p->live ? ONE_KEY : UNCHANGED;
        return e;
    }
    /* Of links and frames a value that contradicts itself is damage, one that still makes sense is of no consequence. */
    bool contents = service && p->start != p->record;
    e.outcome = contents ? UNCHANGED : REFUSED;
    e.may_refuse = contents;
    e.offset = contents ? 0 : blamed_offset(s, f, p);
    return e;
}

static void count_outcome(enum part part, enum outcome outcome)
{
    counts[part][outcome]++;
}

static void try_flip(const struct store *s, struct simdisk *disk, const struct image *f, const struct piece *p, uint64_t offset,
                     unsigned mask, bool hints)
{
    if (++places % STRIDE != 0)
        return;
    struct expected e = expect(s, f, p, hints);
    snprintf(scene, sizeof scene, "%s byte %" PRIu64 " (%s) ^ %02x, %s hints", base_name(f), offset, part_names[p->part], mask,
             hints ? "with" : "without");
    ck_assert_int_eq(simdisk_flip(disk, f->path, SIMDISK_BOTH, offset, mask), 0);
    bool opened = open_and_check(s, disk, BITCASK_OPEN_READ_ONLY, &e);
    count_outcome(p->part, opened ? e.outcome : REFUSED);
    flips++;
    if (!opened && ((p->part != HEADER && !f->open) || flips % 11 == 0))
        check_salvage(s, disk, e.key);
    /* An odd stride, so that it meets all parts, both masks and both ways. */
    if (flips % 59 == 0)
        check_writing(s, disk, &e);
    ck_assert_int_eq(simdisk_flip(disk, f->path, SIMDISK_BOTH, offset, mask), 0);
}

/* Long stretches of the same are sampled where the store is large, and where a store like it was gone through before. */
static uint64_t step_at(const struct piece *p, uint64_t offset, bool every)
{
    bool edge = offset - p->start < 16 || p->end - offset <= 16;
    if (every || edge || p->end - p->start < 200)
        return 1;
    return BC_MIN(BC_MAX(131, (p->end - p->start) / 64), p->end - offset - 16);
}

/* Not of the records: hints and I/O mode make no difference. */
static bool is_frozen(enum part part)
{
    return part == HEADER || part == GAP || part == MANIFEST || part == BEHIND;
}

static struct simdisk *without_hints(const struct store *s)
{
    struct simdisk *bare = simdisk_clone(s->disk);
    for (size_t i = 0; i < s->file_count; i++)
        if (s->files[i].kind == BC_NAME_HINT)
            ck_assert_int_eq(simdisk_remove(bare, s->files[i].path), 0);
    return bare;
}

static void flip_all(struct store *s, bool every)
{
    struct simdisk *bare = without_hints(s);
    uint64_t digest = simdisk_digest(s->disk, SIMDISK_BOTH), random = 7;
    for (size_t i = 0; i < s->file_count; i++) {
        const struct image *f = &s->files[i];
        for (size_t n = 0; n < f->piece_count; n++) {
            const struct piece *p = &f->pieces[n];
            for (uint64_t at = p->start; at < p->end; at += step_at(p, at, every && (s->flags == 0 || !is_frozen(p->part)))) {
                random = random * 6364136223846793005U + 1442695040888963407U;
                const unsigned masks[2] = {0xff, 1U << (random >> 61)};
                for (unsigned m = 0; m < 2; m++) {
                    if (s->flags != 0 && m != at % 2) /* the second time half of them will do */
                        continue;
                    try_flip(s, s->disk, f, p, at, masks[m], true);
                    if (p->part != HINT && !is_frozen(p->part))
                        try_flip(s, bare, f, p, at, masks[m], false);
                }
            }
        }
    }
    ck_assert_uint_eq(simdisk_digest(s->disk, SIMDISK_BOTH), digest);
    simdisk_free(bare);
}

static void report(void)
{
    for (unsigned part = 0; part < PARTS; part++) {
        printf("# %-14s", part_names[part]);
        for (unsigned o = 0; o < OUTCOMES; o++)
            if (counts[part][o] != 0)
                printf("  %lu %s", counts[part][o], outcome_names[o]);
        printf("\n");
    }
}

/* ---- stores ---- */

static struct store *new_store(int mode)
{
    struct store *s = calloc(1, sizeof *s);
    ck_assert_ptr_nonnull(s);
    s->disk = simdisk_new(1);
    s->flags = mode == 0 ? 0 : BITCASK_OPEN_NO_MMAP;
    memset(counts, 0, sizeof counts);
    return s;
}

static struct store *closed_store(int mode)
{
    struct store *s = new_store(mode);
    fill_small(s);
    end(s);
    look(s);
    return s;
}

static struct expected all_right(const struct store *s)
{
    return (struct expected){.outcome = UNCHANGED, .state = s->history.count, .key = -1, .file = ""};
}

/* The expectations themselves: without damage everything is there, and the store has what the tests are about. */
static void check_undamaged(const struct store *s, unsigned open_files)
{
    struct expected e = all_right(s);
    snprintf(scene, sizeof scene, "no damage");
    ck_assert(open_and_check(s, s->disk, BITCASK_OPEN_READ_ONLY, &e));
    check_writing(s, s->disk, &e);
    unsigned found[PARTS] = {0}, open = 0, live = 0;
    for (size_t i = 0; i < s->file_count; i++) {
        open += s->files[i].open;
        for (size_t n = 0; n < s->files[i].piece_count; n++) {
            found[s->files[i].pieces[n].part]++;
            live += s->files[i].pieces[n].live && s->files[i].pieces[n].part == HEAD;
        }
    }
    ck_assert_uint_eq(open, open_files);
    for (unsigned part = 0; part < PARTS; part++)
        ck_assert_msg(found[part] > 0 || part == BEHIND, "no %s in the store", part_names[part]);
    unsigned present = 0;
    for (unsigned k = 0; k < KEYS; k++)
        present += s->history.after[s->history.count].key[k].version != 0;
    ck_assert_uint_eq(live, present);
}

START_TEST(test_flip_closed)
{
    struct store *s = closed_store(_i);
    check_undamaged(s, 0);
    flip_all(s, true);
    report();
    forget(s);
}
END_TEST

/* What a killed session adds: some of it synced, some not. */
static void work_on(struct store *s)
{
    put(s, 0, 61, 0, 0);
    delete (s, 2, 0);
    batch(s, 3, 62, 9, 0);
    put(s, 11, 63, FUTURE, BITCASK_PUT_SYNC);
    put(s, 0, 64, 0, 0);
    delete (s, 12, 0);
    batch(s, 1, 65, 6, 0);
    put(s, 9, 66, PAST, 0);
    put(s, 13, 67, 0, 0);
}

/* Killed in a file that it had gone on in: the MANIFEST has a floor. */
START_TEST(test_flip_killed)
{
    struct store *s = new_store(_i);
    fill_small(s);
    end(s);
    begin(s);
    work_on(s);
    kill_it(s);
    look(s);
    check_undamaged(s, 1);
    flip_all(s, false);
    report();
    forget(s);
}
END_TEST

/* Killed in a file of its own. */
START_TEST(test_flip_killed_in_new_file)
{
    struct store *s = new_store(_i);
    fill_small(s);
    end_file(s, "0000000003.data");
    work_on(s);
    kill_it(s);
    look(s);
    check_undamaged(s, 1);
    flip_all(s, false);
    report();
    forget(s);
}
END_TEST

/* The same with nothing synced: whatever is hit, what was before it is there. */
START_TEST(test_flip_killed_unsynced)
{
    struct store *s = new_store(_i);
    fill_small(s);
    end_file(s, "0000000003.data");
    put(s, 0, 61, 0, 0);
    batch(s, 1, 65, 6, 0);
    delete (s, 0, 0);
    kill_it(s);
    look(s);
    check_undamaged(s, 1);
    flip_all(s, false);
    report();
    forget(s);
}
END_TEST

/* Killed between a rotation and the MANIFEST that seals the full file: two files are open, the later one has a link. The
 * earlier one was synced in part; where it is cut, the later one is void. */
START_TEST(test_flip_killed_after_rotation)
{
    struct store *s = new_store(_i);
    fill_small(s);
    end_file(s, "0000000003.data");
    for (uint32_t i = 0; i < 5; i++)
        put(s, i, 0x4000 + i, 0, i == 2 ? BITCASK_PUT_SYNC : 0);
    delete (s, 1, 0);
    const struct bc_file *full = s->db->log.active;
    simdisk_stop_at(s->disk, SIMDISK_RENAME, 1);
    batch(s, 5, 0x4010, 2, 0);
    ck_assert_ptr_ne(s->db->log.active, full);
    struct simdisk *stopped = simdisk_take_stopped(s->disk);
    ck_assert_ptr_nonnull(stopped);
    (void)bitcask_close(s->db);
    s->db = NULL;
    simdisk_free(s->disk);
    simdisk_kill(stopped);
    s->disk = stopped;
    look(s);
    check_undamaged(s, 2);
    flip_all(s, false);
    report();
    forget(s);
}
END_TEST

/* ---- whole files ---- */

static void check_damaged_file(const struct store *s, struct simdisk *disk, const struct expected *e)
{
    (void)open_and_check(s, disk, BITCASK_OPEN_READ_ONLY, e);
}

/* Every file cut to every length: of a data file every byte is missed, of a MANIFEST one whole copy is enough. */
START_TEST(test_every_length)
{
    struct store *s = closed_store(_i);
    unsigned long tried = 0;
    for (size_t i = 0; i < s->file_count; i++) {
        const struct image *f = &s->files[i];
        struct simdisk *disk = simdisk_clone(s->disk);
        uint64_t step = STRIDE * (_i == 0 ? 1 : 5); /* without mappings it is the same code */
        for (uint64_t less = 1; less <= f->size; less += step, tried++) {
            uint64_t size = f->size - less;
            struct expected e = all_right(s);
            e.file = base_name(f);
            snprintf(scene, sizeof scene, "%s cut to %" PRIu64 " bytes", base_name(f), size);
            ck_assert_int_eq(simdisk_cut(disk, f->path, size), 0);
            e.outcome = f->kind == BC_NAME_DATA ? REFUSED : UNCHANGED;
            if (f->kind == BC_NAME_MANIFEST) {
                size_t body = 84 + 3 * 64;
                e.outcome = size < body ? REFUSED : UNCHANGED;
            }
            check_damaged_file(s, disk, &e);
            if (tried % 499 == 0)
                check_writing(s, disk, &e);
        }
        simdisk_free(disk);
    }
    printf("# %lu lengths\n", tried);
    forget(s);
}
END_TEST

/* Bytes behind what the MANIFEST knows of are never looked at. */
START_TEST(test_garbage_behind)
{
    struct store *s = closed_store(_i);
    for (size_t i = 0; i < s->file_count; i++) {
        const struct image *f = &s->files[i];
        for (unsigned n = 0; n < 24; n++) {
            size_t more = (size_t)1 << n % 8 << (n >= 16 ? 5 : 0);
            unsigned char *bytes = malloc(f->size + more);
            memcpy(bytes, f->bytes, f->size);
            for (size_t b = 0; b < more; b++)
                bytes[f->size + b] = (unsigned char)(n < 8 ? 0 : n < 16 ? 0xff : f->bytes[b % BC_MAX(f->size, 1)]);
            struct simdisk *disk = simdisk_clone(s->disk);
            ck_assert_int_eq(simdisk_write_file(disk, f->path, bytes, f->size + more), 0);
            struct expected e = all_right(s);
            snprintf(scene, sizeof scene, "%s with %zu bytes more", base_name(f), more);
            check_damaged_file(s, disk, &e);
            check_writing(s, disk, &e);
            simdisk_free(disk);
            free(bytes);
        }
    }
    forget(s);
}
END_TEST

/* What an open may say of a store in which a file has the contents of another (-1: is missing). */
static struct expected expect_replaced(const struct store *s, const struct image *f)
{
    struct expected e = all_right(s);
    e.outcome = f->kind == BC_NAME_DATA || f->kind == BC_NAME_MANIFEST ? REFUSED : UNCHANGED;
    e.file = base_name(f);
    return e;
}

static void replace(struct simdisk *disk, const struct image *f, const struct image *by)
{
    ck_assert_int_eq(simdisk_write_file(disk, f->path, by->bytes, by->size), 0);
}

/* Every file lost, overwritten with every other one, and exchanged with it. */
START_TEST(test_every_replacement)
{
    struct store *s = closed_store(_i);
    unsigned long tried = 0;
    for (size_t i = 0; i < s->file_count; i++) {
        const struct image *a = &s->files[i];
        struct simdisk *disk = simdisk_clone(s->disk);
        struct expected e = expect_replaced(s, a);
        snprintf(scene, sizeof scene, "%s missing", base_name(a));
        ck_assert_int_eq(simdisk_remove(disk, a->path), 0);
        check_damaged_file(s, disk, &e);
        check_writing(s, disk, &e);
        simdisk_free(disk);
        for (size_t j = 0; j < s->file_count; j++) {
            const struct image *b = &s->files[j];
            if (i == j)
                continue;
            disk = simdisk_clone(s->disk);
            e = expect_replaced(s, a);
            replace(disk, a, b);
            snprintf(scene, sizeof scene, "%s in place of %s", base_name(b), base_name(a));
            check_damaged_file(s, disk, &e);
            check_writing(s, disk, &e);
            /* Now the other way round, too: the MANIFEST is read first, then the data files. */
            struct expected both = expect_replaced(s, b);
            if (e.outcome != REFUSED || (both.outcome == REFUSED && (b->kind == BC_NAME_MANIFEST || b->id < a->id)))
                e = a->kind == BC_NAME_MANIFEST ? e : both;
            replace(disk, b, a);
            snprintf(scene, sizeof scene, "%s and %s exchanged", base_name(b), base_name(a));
            check_damaged_file(s, disk, &e);
            check_writing(s, disk, &e);
            simdisk_free(disk);
            tried += 2;
        }
        tried++;
    }
    printf("# %lu replacements\n", tried);
    forget(s);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("flip");
    TCase *t = tcase_create("P2 P4 P5 P6 P7 P8 P13");
    tcase_set_timeout(t, 900);
    tcase_add_loop_test(t, test_flip_closed, 0, 2);
    tcase_add_loop_test(t, test_flip_killed, 0, 2);
    tcase_add_loop_test(t, test_flip_killed_in_new_file, 0, 2);
    tcase_add_loop_test(t, test_flip_killed_unsynced, 0, 2);
    tcase_add_loop_test(t, test_flip_killed_after_rotation, 0, 2);
    tcase_add_loop_test(t, test_every_length, 0, 2);
    tcase_add_loop_test(t, test_garbage_behind, 0, 2);
    tcase_add_loop_test(t, test_every_replacement, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
