#include "bitcask/filetable.h"

#include <errno.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/keydir_snapshot.h"

int bc_filetable_init(struct bc_filetable *t, const struct bc_directory *dir, const bitcask_allocator *a, struct bc_pins *pins,
                      struct bc_keydir *keydir, const struct bc_uuid *store, bool mapped, uint32_t budget)
{
    memset(t, 0, sizeof *t);
    t->dir = dir;
    t->allocator = a;
    t->pins = pins;
    t->keydir = keydir;
    t->store = *store;
    t->mapped = mapped;
    t->budget = budget;
    if (pthread_rwlock_init(&t->main, NULL) != 0 || pthread_mutex_init(&t->cache, NULL) != 0 ||
        pthread_mutex_init(&t->hints, NULL) != 0)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "cannot make a lock");
    return BITCASK_OK;
}

static void free_file(struct bc_filetable *t, struct bc_file *f)
{
    bc_handle_unref(atomic_load(&f->handle));
    bc_free(t->allocator, f);
}

void bc_filetable_free(struct bc_filetable *t, bool forked)
{
    if (!forked)
        bc_filetable_reclaim(t);
    for (struct bc_handle *h = t->retired; h != NULL;) {
        struct bc_handle *next = h->next;
        bc_handle_unref(h);
        h = next;
    }
    for (uint32_t i = 0; i < t->used; i++) {
        struct bc_file *f = bc_filetable_get(t, i);
        if (f != NULL)
            free_file(t, f);
    }
    for (size_t i = 0; i < BC_ARRAY_SIZE(t->blocks); i++)
        bc_free(t->allocator, (void *)atomic_load(&t->blocks[i]));
    pthread_rwlock_destroy(&t->main);
    pthread_mutex_destroy(&t->hints);
    pthread_mutex_destroy(&t->cache);
}

/* Under main for writing. An index that was freed is given out again: remove() has waited for its readers. */
static int take_index(struct bc_filetable *t, uint32_t *ret)
{
    if (t->free_indices > 0) {
        for (uint32_t i = 0; i < t->used; i++) {
            if (bc_filetable_get(t, i) == NULL) {
                t->free_indices--;
                *ret = i;
                return BITCASK_OK;
            }
        }
    }
    if (t->used == BC_KEYDIR_FILES_MAX)
        return bc_fail(BITCASK_NO_SPACE, 0, NULL, 0, "the store has %u data files, its limit; raise max_file_size and merge",
                       t->used);
    uint32_t block = t->used / BC_FILES_PER_BLOCK;
    if (atomic_load(&t->blocks[block]) == NULL) {
        _Atomic(struct bc_file *) *files = bc_alloc_zero(t->allocator, BC_FILES_PER_BLOCK, sizeof *files);
        if (files == NULL)
            return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for the file table");
        atomic_store_explicit(&t->blocks[block], files, memory_order_release);
    }
    *ret = t->used++;
    return BITCASK_OK;
}

int bc_filetable_add(struct bc_filetable *t, const struct bc_manifest_file *listed, enum bc_file_state state,
                     struct bc_handle *handle, struct bc_file **ret)
{
    struct bc_file *f = bc_alloc_zero(t->allocator, 1, sizeof *f);
    if (f == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a file");
    f->name = listed->name;
    f->kind = listed->kind;
    atomic_init(&f->state, (uint32_t)state);
    atomic_init(&f->handle, handle);
    atomic_init(&f->end, listed->end);
    atomic_init(&f->min_sequence, listed->min_sequence);
    atomic_init(&f->max_sequence, listed->max_sequence);
    pthread_rwlock_wrlock(&t->main);
    uint32_t index = 0;
    int result = take_index(t, &index);
    if (result == BITCASK_OK) {
        f->index = index;
        atomic_store_explicit(&atomic_load(&t->blocks[index / BC_FILES_PER_BLOCK])[index % BC_FILES_PER_BLOCK], f,
                              memory_order_release);
    }
    pthread_rwlock_unlock(&t->main);
    if (result != BITCASK_OK) {
        bc_free(t->allocator, f);
        return result;
    }
    *ret = f;
    return BITCASK_OK;
}

void bc_filetable_remove(struct bc_filetable *t, struct bc_file *f)
{
    pthread_mutex_lock(&t->cache);
    atomic_store(&f->state, BC_FILE_REMOVED);
    f->removed_at = bc_keydir_snapshot_newest(t->keydir);
    f->removed = t->removed;
    t->removed = f;
    atomic_store(&t->reclaimable, true);
    pthread_mutex_unlock(&t->cache);
}

int bc_filetable_each(struct bc_filetable *t, bc_file_fn fn, void *arg)
{
    int result = 0;
    pthread_rwlock_rdlock(&t->main);
    for (uint32_t i = 0; i < t->used && result == 0; i++) {
        struct bc_file *f = bc_filetable_get(t, i);
        uint32_t state = f == NULL ? BC_FILE_REMOVED : atomic_load(&f->state);
        if (state != BC_FILE_REMOVED && state != BC_FILE_OUTPUT)
            result = fn(f, arg);
    }
    pthread_rwlock_unlock(&t->main);
    return result;
}

/* Under cache: a handle that is no file's any more; the table's reference goes after the grace period. */
static void retire(struct bc_filetable *t, struct bc_handle *h)
{
    if (h == NULL)
        return;
    h->next = t->retired;
    t->retired = h;
    atomic_store(&t->reclaimable, true);
}

/* Under cache. */
static void detach(struct bc_filetable *t, struct bc_file *f)
{
    retire(t, atomic_exchange(&f->handle, NULL));
    f->cached = false;
    t->open_count--;
}

/* Under cache: the CLOCK hand passes over the files and stops at one that was not used since its last turn. */
static void evict_one(struct bc_filetable *t, const struct bc_file *keep)
{
    for (uint32_t steps = 0; steps < 2 * t->used; steps++) {
        struct bc_file *f = bc_filetable_get(t, t->hand++ % t->used);
        if (f == NULL || !f->cached || f == keep)
            continue;
        if (!atomic_exchange_explicit(&f->recent, false, memory_order_relaxed)) {
            detach(t, f);
            return;
        }
    }
}

void bc_filetable_set_budget(struct bc_filetable *t, uint32_t budget)
{
    pthread_mutex_lock(&t->cache);
    t->budget = budget;
    for (uint32_t n = t->open_count > budget ? t->open_count - budget : 0; n > 0; n--)
        evict_one(t, NULL);
    pthread_mutex_unlock(&t->cache);
    if (bc_filetable_reclaimable(t))
        bc_filetable_reclaim(t);
}

void bc_filetable_hand_over(struct bc_filetable *t, struct bc_file *f)
{
    pthread_mutex_lock(&t->cache);
    f->cached = true;
    atomic_store(&f->recent, true);
    if (++t->open_count > t->budget)
        evict_one(t, f);
    pthread_mutex_unlock(&t->cache);
}

void bc_filetable_take_over(struct bc_filetable *t, struct bc_file *f, struct bc_handle *handle)
{
    pthread_mutex_lock(&t->cache);
    if (f->cached)
        t->open_count--;
    f->cached = false;
    retire(t, atomic_exchange(&f->handle, handle));
    pthread_mutex_unlock(&t->cache);
}

struct bc_handle *bc_filetable_new_handle(const struct bc_filetable *t, int fd, void *map, size_t map_size, bool writable)
{
    const struct bc_io *io = t->dir->io;
    return t->guarded ? bc_handle_new_guarded(t->allocator, io, fd, map, map_size, writable)
                      : bc_handle_new(t->allocator, io, fd, map, map_size);
}

/* Maps what the descriptor has and makes both a handle. fd is taken over on success. */
static int make_handle(struct bc_filetable *t, struct bc_file *f, int fd, uint64_t size, struct bc_handle **ret)
{
    const struct bc_io *io = t->dir->io;
    char name[BC_NAME_SIZE];
    bc_data_name(name, f->name.id);
    uint64_t end = atomic_load(&f->end);
    void *map = NULL;
    if (size < end && !t->salvage)
        return bc_fail(BITCASK_CORRUPT, 0, name, size, "%s: %llu bytes long, should have %llu", name, (unsigned long long)size,
                       (unsigned long long)end);
    if (t->mapped && !atomic_load(&f->by_descriptor) && !t->salvage) {
        int error = io->map(io->ctx, fd, (size_t)end, false, &map);
        if (error != 0)
            return bc_fail_io(error, name, "cannot map");
    }
    *ret = bc_filetable_new_handle(t, fd, map, (size_t)end, false);
    if (*ret != NULL)
        return BITCASK_OK;
    if (map != NULL)
        io->unmap(io->ctx, map, (size_t)end);
    return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to open a data file");
}

/* Under cache. */
static int open_handle(struct bc_filetable *t, struct bc_file *f)
{
    int fd;
    struct bc_io_stat st;
    struct bc_handle *h = NULL;
    int result = t->salvage ? bc_datafile_open_damaged(t->dir, &f->name, &fd, &st)
                            : bc_datafile_open(t->dir, &t->store, &f->name, 0, &fd, &st);
    if (result != BITCASK_OK)
        return result;
    result = make_handle(t, f, fd, st.size, &h);
    if (result != BITCASK_OK) {
        t->dir->io->close(t->dir->io->ctx, fd);
        return result;
    }
    atomic_store_explicit(&f->handle, h, memory_order_release);
    f->cached = true;
    if (++t->open_count > t->budget)
        evict_one(t, f);
    return BITCASK_OK;
}

int bc_filetable_open_closed(struct bc_filetable *t, struct bc_file *f, struct bc_handle **ret)
{
    int result = BITCASK_OK;
    pthread_mutex_lock(&t->cache);
    struct bc_handle *h = bc_file_handle(f);
    if (h == NULL)
        result = open_handle(t, f);
    h = bc_file_handle(f);
    pthread_mutex_unlock(&t->cache);
    if (result == BITCASK_OK)
        *ret = h;
    return result;
}

int bc_filetable_read(struct bc_filetable *t, struct bc_file *f, uint64_t offset, void *buf, size_t size)
{
    struct bc_handle *h;
    int result = bc_filetable_open(t, f, &h);
    if (result != BITCASK_OK)
        return result;
    char name[BC_NAME_SIZE];
    size_t got;
    int error = t->dir->io->read(t->dir->io->ctx, h->fd, offset, buf, size, &got);
    bc_data_name(name, f->name.id);
    if (error != 0)
        return bc_fail_io(error, name, "cannot read");
    if (got < size)
        return bc_fail(BITCASK_CORRUPT, 0, name, offset + got, "%s: ends at byte %llu, within a record", name,
                       (unsigned long long)(offset + got));
    return BITCASK_OK;
}

int bc_filetable_remap(struct bc_filetable *t, struct bc_file *f, size_t size)
{
    const struct bc_io *io = t->dir->io;
    struct bc_handle *old = bc_file_handle(f);
    void *map;
    char name[BC_NAME_SIZE];
    bc_data_name(name, f->name.id);
    int error = io->map(io->ctx, old->fd, size, true, &map);
    if (error != 0)
        return bc_fail_io(error, name, "cannot map");
    struct bc_handle *h = bc_filetable_new_handle(t, old->fd, map, size, true);
    if (h == NULL) {
        io->unmap(io->ctx, map, size);
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to map a larger file");
    }
    pthread_mutex_lock(&t->cache);
    /* The descriptor stays the one that was opened before the first write: a failed write-back is reported to it. The smaller
     * mapping stays as long: who syncs or prepares the file may have it at hand, and is no reader inside a pin. */
    old->owns_fd = false;
    h->older = old;
    atomic_store_explicit(&f->handle, h, memory_order_release);
    pthread_mutex_unlock(&t->cache);
    return BITCASK_OK;
}

int bc_filetable_follow(struct bc_filetable *t, struct bc_file *f, bool by_descriptor)
{
    const struct bc_io *io = t->dir->io;
    struct bc_handle *old = bc_file_handle(f);
    uint64_t end = atomic_load(&f->end);
    void *map = NULL;
    char name[BC_NAME_SIZE];
    bc_data_name(name, f->name.id);
    if (old == NULL || (old->map == NULL && (by_descriptor || !t->mapped))) {
        atomic_store(&f->by_descriptor, by_descriptor);
        return BITCASK_OK;
    }
    int error = t->mapped && !by_descriptor ? io->map(io->ctx, old->fd, (size_t)end, false, &map) : 0;
    if (error != 0)
        return bc_fail_io(error, name, "cannot map");
    struct bc_handle *h = bc_filetable_new_handle(t, old->fd, map, (size_t)end, false);
    if (h == NULL) {
        if (map != NULL)
            io->unmap(io->ctx, map, (size_t)end);
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to follow a data file");
    }
    pthread_mutex_lock(&t->cache);
    old->owns_fd = false;
    atomic_store(&f->by_descriptor, by_descriptor);
    atomic_store_explicit(&f->handle, h, memory_order_release);
    retire(t, old);
    pthread_mutex_unlock(&t->cache);
    return BITCASK_OK;
}

/* Under cache: the removed files that no snapshot can look at any more. */
static struct bc_file *take_removed(struct bc_filetable *t)
{
    uint64_t oldest = bc_keydir_snapshot_oldest(t->keydir);
    struct bc_file *ready = NULL;
    for (struct bc_file **at = &t->removed; *at != NULL;) {
        struct bc_file *f = *at;
        if (oldest <= f->removed_at) {
            at = &f->removed;
            continue;
        }
        *at = f->removed;
        f->removed = ready;
        ready = f;
        if (f->cached)
            t->open_count--;
        f->cached = false;
    }
    return ready;
}

static void forget(struct bc_filetable *t, struct bc_file *f)
{
    char name[BC_NAME_SIZE];
    if (!t->borrowed) {
        bc_data_name(name, f->name.id);
        (void)bc_directory_unlink(t->dir, name);
        bc_hint_name(name, f->name.id);
        (void)bc_directory_unlink(t->dir, name);
    }
    /* Only now may the index be given out again: no reader that probed before the removal is left. Under cache, too: the CLOCK
     * hand finds files by the table, not by the KeyDir. */
    pthread_rwlock_wrlock(&t->main);
    pthread_mutex_lock(&t->cache);
    atomic_store(&atomic_load(&t->blocks[f->index / BC_FILES_PER_BLOCK])[f->index % BC_FILES_PER_BLOCK], NULL);
    pthread_mutex_unlock(&t->cache);
    t->free_indices++;
    pthread_rwlock_unlock(&t->main);
    free_file(t, f);
}

void bc_filetable_reclaim(struct bc_filetable *t)
{
    pthread_mutex_lock(&t->cache);
    struct bc_handle *retired = t->retired;
    struct bc_file *removed = take_removed(t);
    t->retired = NULL;
    atomic_store(&t->reclaimable, false);
    pthread_mutex_unlock(&t->cache);
    if (retired == NULL && removed == NULL)
        return;
    bc_pins_synchronize(t->pins);
    while (retired != NULL) {
        struct bc_handle *h = retired;
        retired = h->next;
        bc_handle_unref(h);
    }
    while (removed != NULL) {
        struct bc_file *f = removed;
        removed = f->removed;
        forget(t, f);
    }
}

bool bc_filetable_shrink(struct bc_filetable *t)
{
    /* Without a budget every handle must stay: a writer elsewhere may have taken the name away. */
    if (t->budget == UINT32_MAX)
        return false;
    pthread_mutex_lock(&t->cache);
    uint32_t before = t->open_count;
    for (uint32_t n = (before + 1) / 2; n > 0; n--)
        evict_one(t, NULL);
    bool any = t->open_count < before || t->retired != NULL;
    pthread_mutex_unlock(&t->cache);
    bc_filetable_reclaim(t);
    return any;
}
