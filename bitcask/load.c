#include "bitcask/load.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "bitcask/error.h"
#include "bitcask/scan.h"

#define GATHER_MAX (512ULL << 20) /* bytes of all threads that wait for their shards */

struct job {
    struct bc_load *load;
    unsigned threads;
    _Atomic uint32_t next; /* index of the next file that nobody has taken */
    _Atomic uint32_t next_shard;
    _Atomic int result; /* the first failure */
    pthread_t opener;
    pthread_mutex_t mutex; /* guards failure */
    struct {
        int sys_errno;
        uint64_t offset;
        char file[BC_NAME_SIZE];
        char message[256];
    } failure;
};

struct target {
    struct bc_load *load;
    struct bc_file *file;
    struct bc_loader *loader; /* of the thread */
};

static int load_entries(const struct bc_hint_entry *entries, size_t count, void *arg)
{
    const struct target *t = arg;
    struct bc_keydir *keydir = t->load->keydir;
    for (size_t i = 0; i < count; i++) {
        const struct bc_hint_entry *h = &entries[i];
        struct bc_record r = {
            .type = h->type, .flags = h->flags, .key_size = h->key_size, .value_size = h->value_size, .sequence = h->sequence};
        struct bc_entry e = {.file = t->file->index,
                             .offset = h->offset,
                             .footprint = bc_record_footprint(&r),
                             .flags = h->type == BC_RECORD_TOMBSTONE ? BC_ENTRY_TOMBSTONE : 0};
        if (h->type == BC_RECORD_TOMBSTONE)
            atomic_fetch_add_explicit(&t->file->tombstone_bytes, e.footprint, memory_order_relaxed);
        uint64_t hash = bc_keydir_hash(keydir, h->key, h->key_size);
        int result = bc_keydir_loader_add(t->loader, hash, h->key, h->key_size, h->sequence, &e, h->expire_at_ms);
        if (result != BITCASK_OK)
            return result;
    }
    return BITCASK_OK;
}

static int load_record(const struct target *t, const struct bc_scan *s)
{
    struct bc_keydir *keydir = t->load->keydir;
    uint32_t flags = s->record.type == BC_RECORD_TOMBSTONE ? BC_ENTRY_TOMBSTONE : 0;
    if (flags != 0)
        atomic_fetch_add_explicit(&t->file->tombstone_bytes, s->footprint, memory_order_relaxed);
    if (!s->value_ok) {
        /* Its key is known: it shadows older versions and answers CORRUPT. */
        flags |= BC_ENTRY_CORRUPT;
        char name[BC_NAME_SIZE];
        bc_data_name(name, t->file->name.id);
        bc_log_line(t->load->health, BITCASK_LOG_ERROR, "%s: the value at byte %" PRIu64 " is damaged", name, s->offset);
    }
    uint64_t hash = bc_keydir_hash(keydir, s->key, s->record.key_size);
    struct bc_entry e = {.file = t->file->index, .offset = s->offset, .footprint = s->footprint, .flags = flags};
    return bc_keydir_loader_add(t->loader, hash, s->key, s->record.key_size, s->record.sequence, &e, s->record.expire_at_ms);
}

/* The next record; with salvage, damage is passed over to the next place where a whole one stands. */
static enum bc_scan_result scan_on(const struct bc_load *load, struct bc_scan *s)
{
    enum bc_scan_result scanned = bc_scan_next(s);
    if (scanned != BC_SCAN_BAD || !load->salvage)
        return scanned;
    char name[BC_NAME_SIZE];
    bc_data_name(name, s->name.id);
    bc_log_line(load->health, BITCASK_LOG_ERROR, "%s: damaged at byte %" PRIu64 ": looking for the next whole record", name,
                s->next);
    return bc_scan_resync(s);
}

static int load_by_scan(struct bc_load *load, struct bc_loader *loader, const struct bc_load_part *part, int fd)
{
    struct bc_file *f = part->file;
    struct target t = {load, f, loader};
    struct bc_scan s;
    int result = bc_scan_init(&s, load->dir->io, load->allocator, fd, &f->name, part->from, part->until);
    if (result != BITCASK_OK)
        return result;
    enum bc_scan_result scanned = BC_SCAN_END;
    while (result == BITCASK_OK && (scanned = scan_on(load, &s)) == BC_SCAN_RECORD)
        if (s.record.type == BC_RECORD_PUT || s.record.type == BC_RECORD_TOMBSTONE)
            result = load_record(&t, &s);
    if (result == BITCASK_OK && scanned == BC_SCAN_FAILED)
        result = bitcask_last_error()->result;
    if (result == BITCASK_OK && scanned == BC_SCAN_BAD) {
        char name[BC_NAME_SIZE];
        bc_data_name(name, f->name.id);
        result = bc_fail(BITCASK_CORRUPT, 0, name, s.next,
                         "%s: damaged at byte %" PRIu64 ": which key stood there cannot be known; nothing was changed", name,
                         s.next);
    }
    bc_scan_free(&s);
    return result;
}

/* Space behind the end of a sealed file is what a crash left before the trim, and holds no record there that was written by a
 * later session: such a file went on under a MANIFEST that is not this one. */
static int check_behind_end(const struct bc_load *load, struct bc_file *f, int fd)
{
    const struct bc_io *io = load->dir->io;
    struct bc_io_stat st;
    struct bc_scan s;
    char name[BC_NAME_SIZE];
    uint64_t end = atomic_load(&f->end);
    bc_data_name(name, f->name.id);
    int error = io->stat(io->ctx, fd, &st);
    if (error != 0)
        return bc_fail_io(error, name, "cannot stat");
    if (st.size <= end)
        return BITCASK_OK;
    int result = bc_scan_init(&s, io, load->allocator, fd, &f->name, end, st.size);
    if (result != BITCASK_OK)
        return result;
    enum bc_scan_result scanned = bc_scan_next(&s);
    if (scanned == BC_SCAN_FAILED)
        result = bitcask_last_error()->result;
    if (scanned == BC_SCAN_RECORD && s.record.sequence >= load->ceiling)
        result = bc_fail(BITCASK_CORRUPT, 0, name, end,
                         "%s: goes on behind byte %" PRIu64 ", where the MANIFEST ends it: an older MANIFEST was put in place; "
                         "nothing was changed",
                         name, end);
    bc_scan_free(&s);
    return result;
}

static int load_opened(struct bc_load *load, struct bc_loader *loader, const struct bc_load_part *part,
                       const struct bc_handle *h)
{
    struct bc_file *f = part->file;
    struct target t = {load, f, loader};
    struct bc_hint_header header;
    bool valid = false;
    int result = BITCASK_OK;
    if (!load->salvage && !atomic_load(&f->by_descriptor) && part->from == BC_DATA_START) {
        result = check_behind_end(load, f, h->fd);
        if (result == BITCASK_OK)
            result =
                bc_hint_read(load->dir, load->allocator, &f->name, atomic_load(&f->end), load_entries, &t, &header, &valid);
    }
    if (result != BITCASK_OK || valid)
        return result;
    atomic_store(&f->needs_hint, true);
    atomic_store(&f->tombstone_bytes, 0); /* what a hint that proved wrong has told */
    return load_by_scan(load, loader, part, h->fd);
}

/* Opening a file proves that it is there, is that file and is long enough, whatever its hint says. The handle is owned
 * meanwhile, so that other threads may evict it. */
static int open_file(struct bc_load *load, struct bc_file *f, struct bc_handle **ret)
{
    unsigned pin = bc_pins_enter(load->files->pins);
    int result = bc_filetable_open(load->files, f, ret);
    if (result == BITCASK_OK)
        bc_handle_ref(*ret);
    bc_pins_leave(load->files->pins, pin);
    return result;
}

static int load_once(struct bc_load *load, struct bc_loader *loader, const struct bc_load_part *part)
{
    struct bc_handle *h;
    int result = open_file(load, part->file, &h);
    if (result == BITCASK_OK) {
        result = load_opened(load, loader, part, h);
        bc_handle_unref(h);
    } else if (load->salvage && result == BITCASK_CORRUPT) {
        bc_log_failure(load->health, BITCASK_LOG_ERROR, "salvage goes on without it");
        result = BITCASK_OK;
    }
    /* What the budget evicted is closed now, not when descriptors run out. */
    if (bc_filetable_reclaimable(load->files))
        bc_filetable_reclaim(load->files);
    return result;
}

static int load_file(struct bc_load *load, struct bc_loader *loader, const struct bc_load_part *part)
{
    for (unsigned attempt = 0;; attempt++) {
        int result = load_once(load, loader, part);
        int sys_errno = result == BITCASK_IO ? bitcask_last_error()->sys_errno : 0;
        if ((sys_errno != EMFILE && sys_errno != ENFILE) || attempt > 8 || !bc_filetable_shrink(load->files))
            return result;
    }
}

static void note_failure(struct job *j, int result)
{
    const bitcask_error *e = bitcask_last_error();
    pthread_mutex_lock(&j->mutex);
    if (atomic_load(&j->result) == BITCASK_OK) {
        j->failure.sys_errno = e->sys_errno;
        j->failure.offset = e->offset;
        snprintf(j->failure.file, sizeof j->failure.file, "%s", e->file);
        snprintf(j->failure.message, sizeof j->failure.message, "%s", e->message);
        atomic_store(&j->result, result);
    }
    pthread_mutex_unlock(&j->mutex);
}

static uint32_t parts_of(const struct bc_load *load)
{
    return load->parts != NULL ? load->count : load->files->used;
}

static struct bc_load_part part_of(const struct bc_load *load, uint32_t index)
{
    if (load->parts != NULL)
        return load->parts[index];
    struct bc_file *f = bc_filetable_get(load->files, index);
    return (struct bc_load_part){f, BC_DATA_START, atomic_load(&f->end)};
}

/* On the opener's thread only: callbacks do not come from threads that he does not know. */
static bool cancelled(struct job *j)
{
    const struct bc_load *load = j->load;
    uint32_t used = parts_of(load), next = atomic_load(&j->next);
    if (load->progress == NULL || load->progress("load", BC_MIN(next, used), used, load->progress_ctx) == 0)
        return false;
    note_failure(j, bc_fail(BITCASK_CANCELLED, 0, NULL, 0, "the load was cancelled"));
    return true;
}

/* O(what is on disk), and a bounded part of a large store. */
static uint64_t gather_bytes(const struct bc_load *load, unsigned threads)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < parts_of(load); i++) {
        struct bc_load_part part = part_of(load, i);
        bytes += part.until - part.from;
    }
    return BC_MIN(bytes / 2, GATHER_MAX) / threads;
}

static void load_files(struct job *j, struct bc_loader *loader)
{
    struct bc_load *load = j->load;
    uint32_t used = parts_of(load);
    int result = BITCASK_OK;
    bool opener = pthread_equal(pthread_self(), j->opener);
    while (result == BITCASK_OK && atomic_load(&j->result) == BITCASK_OK) {
        if (opener && cancelled(j))
            return;
        uint32_t index = atomic_fetch_add(&j->next, 1);
        if (index >= used) {
            /* Other threads may have taken the last files since it was told: who shows it must come to the end. */
            if (opener && j->threads > 1 && cancelled(j))
                return;
            break;
        }
        struct bc_load_part part = part_of(load, index);
        result = load_file(load, loader, &part);
    }
    if (result == BITCASK_OK && atomic_load(&j->result) == BITCASK_OK)
        result = bc_keydir_loader_flush(loader);
    if (result != BITCASK_OK)
        note_failure(j, result);
}

static void *work(void *arg)
{
    struct job *j = arg;
    struct bc_loader *loader = bc_keydir_loader_new(j->load->keydir, gather_bytes(j->load, j->threads));
    if (loader != NULL)
        load_files(j, loader);
    else
        note_failure(j, bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to load the KeyDir"));
    bc_keydir_loader_free(loader);
    return NULL;
}

/* ---- what is live in each file ---- */

struct live {
    uint64_t bytes, keys, expiring;
    int64_t latest_expiry_ms;
};

static void add_live(const struct bc_entry *entry, int64_t expire_at_ms, void *arg)
{
    struct live *live = (struct live *)arg + entry->file;
    live->bytes += entry->footprint;
    live->keys++;
    live->expiring += expire_at_ms != 0;
    live->latest_expiry_ms = BC_MAX(live->latest_expiry_ms, expire_at_ms);
}

static void add_to_file(struct bc_file *f, const struct live *live)
{
    atomic_fetch_add(&f->live_bytes, live->bytes);
    atomic_fetch_add(&f->live_keys, live->keys);
    atomic_fetch_add(&f->expiring_keys, live->expiring);
    int64_t latest = atomic_load(&f->latest_expiry_ms);
    while (latest < live->latest_expiry_ms &&
           !atomic_compare_exchange_weak(&f->latest_expiry_ms, &latest, live->latest_expiry_ms)) {
    }
}

/* Ends the load of the shards that nobody has taken, and counts in them. */
static void *finish(void *arg)
{
    struct job *j = arg;
    struct bc_filetable *files = j->load->files;
    struct live *live = bc_alloc_zero(j->load->allocator, BC_MAX(files->used, 1), sizeof *live);
    if (live == NULL)
        note_failure(j, bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to load the KeyDir"));
    for (;;) {
        uint32_t shard = atomic_fetch_add(&j->next_shard, 1);
        if (shard >= bc_keydir_shards(j->load->keydir))
            break;
        bc_keydir_load_end_of(j->load->keydir, shard);
        if (live != NULL)
            bc_keydir_each_entry_of(j->load->keydir, shard, add_live, live);
    }
    for (uint32_t i = 0; live != NULL && i < files->used; i++)
        add_to_file(bc_filetable_get(files, i), &live[i]);
    bc_free(j->load->allocator, live);
    return NULL;
}

static void run(struct job *j, unsigned threads, void *(*fn)(void *))
{
    pthread_t others[64];
    unsigned started = 0;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started + 1 < threads && started < BC_ARRAY_SIZE(others) && pthread_create(&others[started], NULL, fn, j) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)fn(j);
    for (unsigned i = 0; i < started; i++)
        pthread_join(others[i], NULL);
}

static int end_job(struct job *j)
{
    pthread_mutex_destroy(&j->mutex);
    int result = atomic_load(&j->result);
    if (result != BITCASK_OK)
        return bc_fail(result, j->failure.sys_errno, j->failure.file, j->failure.offset, "%s", j->failure.message);
    return BITCASK_OK;
}

int bc_load_parts(struct bc_load *load)
{
    struct job j = {.load = load, .opener = pthread_self()};
    if (pthread_mutex_init(&j.mutex, NULL) != 0)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "cannot make a mutex");
    j.threads = BC_MIN(load->threads, BC_MAX(parts_of(load), 1));
    run(&j, j.threads, work);
    return end_job(&j);
}

/* Nobody else has the handle yet: the shards are ended by as many threads as there are. */
static int finish_all(struct bc_load *load)
{
    struct job j = {.load = load, .threads = load->threads, .opener = pthread_self()};
    if (pthread_mutex_init(&j.mutex, NULL) != 0)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "cannot make a mutex");
    run(&j, j.threads, finish);
    return end_job(&j);
}

int bc_load(struct bc_load *load)
{
    int result = bc_keydir_load_begin(load->keydir);
    if (result != BITCASK_OK)
        return result;
    result = bc_load_parts(load);
    if (result == BITCASK_OK)
        result = finish_all(load);
    bc_keydir_load_end(load->keydir);
    return result;
}
