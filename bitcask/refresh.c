/* bitcask_refresh(): what the MANIFEST says now, against what the handle has. */
#include "bitcask/refresh.h"

#include <stdlib.h>
#include <string.h>

#include "bitcask/error.h"

#define ATTEMPTS_BESIDE_A_WRITER 16U

struct refresh {
    bitcask *db;
    struct bc_manifest manifest;
    struct bc_recovery recovery;
    bool all;              /* nothing that the handle has is believed: every file is loaded anew */
    struct bc_file **have; /* the table's files by id; NULL where the new MANIFEST lists them, too */
    size_t have_count;
    struct bc_load_part *parts; /* what is to be loaded */
    struct bc_file **added;     /* new in the table */
    uint32_t part_count, added_count;
    struct bc_news news;
};

static bool same_file(const struct bc_file_name *a, const struct bc_file_name *b)
{
    return a->id == b->id && a->nonce == b->nonce;
}

/* Of a file that is open only what the walk took in was seen, which may be less than it met. */
static uint64_t seen_of(const struct bc_manifest_file *f, const struct bc_recovery *r)
{
    for (size_t i = 0; i < BC_OPEN_FILES_MAX; i++)
        if (same_file(&r->tails[i].name, &f->name))
            return r->tails[i].last_sequence;
    return f->max_sequence;
}

void bc_refresh_begin(bitcask *db, const struct bc_manifest *m, const struct bc_recovery *r)
{
    for (size_t i = 0; i < m->count; i++)
        db->seen = BC_MAX(db->seen, seen_of(&m->files[i], r));
    memcpy(db->tails, r->tails, sizeof db->tails);
}

static int no_memory(void)
{
    return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to refresh");
}

/* ---- what there is now ---- */

struct search {
    const struct bc_file_name *name;
    struct bc_file *found;
};

static int is_named(struct bc_file *f, void *arg)
{
    struct search *s = arg;
    if (same_file(&f->name, s->name))
        s->found = f;
    return s->found != NULL;
}

/* Whether the last record that was read of an open file is there still: a write that failed may have been seen before it was
 * taken back, and something else may stand in its place. */
static bool tail_stands(bitcask *db, const struct bc_tail *t)
{
    struct search s = {.name = &t->name};
    if (t->last_offset == 0 || bc_filetable_each(&db->files, is_named, &s) == 0)
        return true;
    char header[BC_RECORD_HEADER];
    struct bc_record r;
    unsigned pin = bc_pins_enter(db->pins);
    int result = bc_filetable_read(&db->files, s.found, t->last_offset, header, sizeof header);
    bc_pins_leave(db->pins, pin);
    return result == BITCASK_OK && bc_record_peek(&r, header, sizeof header) && r.sequence == t->last_sequence;
}

static bool tails_stand(bitcask *db)
{
    bool stand = true;
    for (size_t i = 0; i < BC_OPEN_FILES_MAX; i++)
        stand = stand && tail_stands(db, &db->tails[i]);
    return stand;
}

static bool tails_moved(const struct refresh *r)
{
    bool moved = false;
    for (size_t i = 0; i < BC_OPEN_FILES_MAX; i++) {
        const struct bc_tail *before = &r->db->tails[i], *now = &r->recovery.tails[i];
        moved = moved || !same_file(&before->name, &now->name) || before->end != now->end;
    }
    return moved;
}

static int read_manifest(struct refresh *r)
{
    bitcask *db = r->db;
    int damaged_copies;
    const struct bc_manifest *before = &db->manifest.current;
    int result = bc_manifest_read(&db->dir, &db->allocator, &r->manifest, &damaged_copies);
    if (result != BITCASK_OK)
        return result;
    if (memcmp(&r->manifest.store, &before->store, sizeof before->store) != 0 || r->manifest.generation < before->generation)
        return bc_fail(BITCASK_CORRUPT, 0, BC_MANIFEST_NAME, 0,
                       "%s: of another store, or older than the one that was read before: open the store again",
                       BC_MANIFEST_NAME);
    r->all = !tails_stand(db);
    return bc_recover_on(&db->dir, &db->allocator, &db->health, r->all ? NULL : db->tails, &r->manifest, &r->recovery);
}

/* ---- what of it is new ---- */

static int by_id(const void *a, const void *b)
{
    const struct bc_file *const *x = a, *const *y = b;
    return ((*x)->name.id > (*y)->name.id) - ((*x)->name.id < (*y)->name.id);
}

static int list_file(struct bc_file *f, void *arg)
{
    struct refresh *r = arg;
    r->have[r->have_count++] = f;
    return 0;
}

static int list_files(struct refresh *r)
{
    bitcask *db = r->db;
    r->have = bc_alloc_zero(&db->allocator, db->files.used + 1, sizeof(struct bc_file *));
    r->parts = bc_alloc_zero(&db->allocator, r->manifest.count + 1, sizeof *r->parts);
    r->added = bc_alloc_zero(&db->allocator, r->manifest.count + 1, sizeof(struct bc_file *));
    if (r->have == NULL || r->parts == NULL || r->added == NULL)
        return no_memory();
    (void)bc_filetable_each(&db->files, list_file, r);
    qsort(r->have, r->have_count, sizeof(struct bc_file *), by_id);
    return BITCASK_OK;
}

static bool is_open(const struct refresh *r, const struct bc_file_name *name)
{
    bool open = false;
    for (size_t i = 0; i < BC_OPEN_FILES_MAX; i++)
        open = open || same_file(&r->recovery.tails[i].name, name);
    return open;
}

/* A file that ends before what was read of it: what lay behind that end is in doubt, and everything else with it. */
static bool any_shrank(const struct refresh *r)
{
    bool shrank = false;
    size_t at = 0;
    for (size_t i = 0; i < r->manifest.count; i++) {
        const struct bc_manifest_file *listed = &r->manifest.files[i];
        while (at < r->have_count && r->have[at]->name.id < listed->name.id)
            at++;
        shrank = shrank || (at < r->have_count && same_file(&r->have[at]->name, &listed->name) &&
                            listed->end < atomic_load(&r->have[at]->end));
    }
    return shrank;
}

static int take_new(struct refresh *r, const struct bc_manifest_file *listed)
{
    struct bc_file *f;
    int result = bc_filetable_add(&r->db->files, listed, BC_FILE_SEALED, NULL, &f);
    if (result != BITCASK_OK)
        return result;
    atomic_store(&f->by_descriptor, is_open(r, &listed->name));
    r->added[r->added_count++] = f;
    r->parts[r->part_count++] = (struct bc_load_part){f, BC_DATA_START, listed->end};
    return BITCASK_OK;
}

/* A file that a clean close ended may have been gone on in: behind the mapping's end it is read by its descriptor. */
static int take_grown(struct refresh *r, struct bc_file *f, const struct bc_manifest_file *listed)
{
    uint64_t end = atomic_load(&f->end);
    if (listed->end == end)
        return BITCASK_OK;
    r->parts[r->part_count++] = (struct bc_load_part){f, end, listed->end};
    return bc_filetable_follow(&r->db->files, f, true);
}

/* Both lists ascend by id. */
static int compare(struct refresh *r)
{
    int result = list_files(r);
    if (result != BITCASK_OK)
        return result;
    r->all = r->all || any_shrank(r);
    size_t at = 0;
    for (size_t i = 0; i < r->manifest.count && result == BITCASK_OK; i++) {
        const struct bc_manifest_file *listed = &r->manifest.files[i];
        while (at < r->have_count && r->have[at]->name.id < listed->name.id)
            at++;
        bool had = !r->all && at < r->have_count && same_file(&r->have[at]->name, &listed->name);
        result = had ? take_grown(r, r->have[at], listed) : take_new(r, listed);
        if (had && result == BITCASK_OK)
            r->have[at++] = NULL;
    }
    return result;
}

/* ---- loading it ---- */

static int load_news(struct refresh *r)
{
    bitcask *db = r->db;
    struct bc_news *news = &r->news;
    news->seen = r->all ? 0 : db->seen;
    news->gone = bc_alloc_zero(&db->allocator, db->files.used + 1, sizeof *news->gone);
    news->keydir = bc_keydir_new(&db->allocator, db->io, db->pins, bc_keydir_shards(db->keydir), bc_keydir_secret(db->keydir));
    if (news->gone == NULL || news->keydir == NULL)
        return no_memory();
    for (size_t i = 0; i < r->have_count; i++) {
        if (r->have[i] == NULL)
            continue;
        news->any_gone = true;
        news->gone[r->have[i]->index] = true;
    }
    int result = bc_keydir_load_begin(news->keydir);
    if (result != BITCASK_OK)
        return result;
    struct bc_load load = {.dir = &db->dir,
                           .allocator = &db->allocator,
                           .files = &db->files,
                           .keydir = news->keydir,
                           .health = &db->health,
                           .ceiling = r->manifest.ceiling,
                           .threads = bc_db_load_threads(db, db->upkeep.inlined),
                           .parts = r->parts,
                           .count = r->part_count};
    return bc_load_parts(&load);
}

/* ---- taking it over: nothing fails any more ---- */

/* What the writer has sealed is mapped from now on; where that fails it is read by its descriptor. */
static int settle_file(struct bc_file *f, void *arg)
{
    struct refresh *r = arg;
    const struct bc_manifest_file *listed = bc_manifest_find(&r->manifest, f->name.id);
    if (listed == NULL || !same_file(&listed->name, &f->name))
        return 0;
    atomic_store(&f->end, listed->end);
    atomic_store(&f->min_sequence, listed->min_sequence);
    atomic_store(&f->max_sequence, listed->max_sequence);
    return 0;
}

static void map_sealed(struct refresh *r)
{
    for (uint32_t i = 0; i < r->db->files.used; i++) {
        struct bc_file *f = bc_filetable_get(&r->db->files, i);
        if (f != NULL && atomic_load(&f->state) != BC_FILE_REMOVED && atomic_load(&f->by_descriptor) && !is_open(r, &f->name))
            (void)!bc_filetable_follow(&r->db->files, f, false);
    }
}

static void remove_files(struct refresh *r, struct bc_file *const *files, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (files[i] != NULL)
            bc_filetable_remove(&r->db->files, files[i]);
}

static void take_over(struct refresh *r)
{
    bitcask *db = r->db;
    remove_files(r, r->have, r->have_count);
    (void)bc_filetable_each(&db->files, settle_file, r);
    map_sealed(r);
    bc_refresh_begin(db, &r->manifest, &r->recovery);
    bc_log_lock(&db->log);
    atomic_store(&db->log.next_sequence, r->manifest.ceiling);
    bc_log_unlock(&db->log);
    bc_manifest_follow(&db->manifest, &r->manifest);
    r->manifest.files = NULL;
}

static int take_news(struct refresh *r)
{
    int result = compare(r);
    if (result == BITCASK_OK)
        result = load_news(r);
    if (result == BITCASK_OK)
        result = bc_refresh_apply(r->db, &r->news);
    if (result == BITCASK_OK)
        take_over(r);
    else
        remove_files(r, r->added, r->added_count);
    return result;
}

static void free_refresh(struct refresh *r)
{
    bitcask *db = r->db;
    if (r->news.keydir != NULL) {
        bc_keydir_load_end(r->news.keydir);
        bc_keydir_free(r->news.keydir);
    }
    bc_free(&db->allocator, r->news.gone);
    bc_free(&db->allocator, r->have);
    bc_free(&db->allocator, r->parts);
    bc_free(&db->allocator, r->added);
    bc_manifest_free(&db->allocator, &r->manifest);
}

/* *ret_generation: of the MANIFEST that was read. */
static int refresh_once(bitcask *db, uint64_t *ret_generation)
{
    struct refresh r = {.db = db};
    int result = read_manifest(&r);
    *ret_generation = r.manifest.generation;
    bool news = r.all || r.manifest.generation != db->manifest.current.generation || tails_moved(&r);
    if (result == BITCASK_OK && news)
        result = take_news(&r);
    free_refresh(&r);
    return result;
}

static int refresh(bitcask *db)
{
    uint64_t generation = 0, before;
    for (unsigned attempt = 0; attempt < ATTEMPTS_BESIDE_A_WRITER; attempt++) {
        before = generation;
        int result = refresh_once(db, &generation);
        if (result != BITCASK_CORRUPT && result != BITCASK_IO)
            return result;
        /* A writer may take files away while they are being read: if its MANIFEST moved on, what went wrong says nothing. */
        if (attempt > 0 && generation == before)
            return result;
    }
    return bc_fail(BITCASK_BUSY, 0, NULL, 0, "%s: its writer changes files faster than they can be read; try again", db->path);
}

static int refresh_call(bitcask *db)
{
    int result = bc_db_usable(db);
    if (result == BITCASK_OK && (!db->read_only || db->files.salvage))
        result = bc_fail(BITCASK_INVALID, 0, NULL, 0,
                         "only a handle opened with BITCASK_OPEN_READ_ONLY, and without SALVAGE, can be refreshed");
    if (result != BITCASK_OK)
        return result;
    pthread_mutex_lock(&db->log.making);
    result = refresh(db);
    pthread_mutex_unlock(&db->log.making);
    /* Files and tables that readers have left; a read-only handle has no threads for that. */
    bc_filetable_reclaim(&db->files);
    (void)bc_keydir_upkeep(db->keydir);
    return result;
}

int bitcask_refresh(bitcask *db)
{
    unsigned call = bc_pins_call(db->pins);
    int result = refresh_call(db);
    bc_pins_return(db->pins, call);
    return result;
}
