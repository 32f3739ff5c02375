#include "bitcask/filetable.h"

#include <errno.h>
#include <string.h>

#include "bitcask/error.h"

struct bc_retired_handle {
    struct bc_retired_handle *next;
    char *map;
    size_t map_size;
    int fd;
};

int bc_filetable_init(struct bc_filetable *t, const struct bc_directory *dir, const bitcask_allocator *a, struct bc_pins *pins,
                      const struct bc_uuid *store, bool mapped, uint32_t budget)
{
    memset(t, 0, sizeof *t);
    t->dir = dir;
    t->allocator = a;
    t->pins = pins;
    t->store = *store;
    t->mapped = mapped;
    t->budget = budget;
    if (pthread_rwlock_init(&t->main, NULL) != 0 || pthread_mutex_init(&t->cache, NULL) != 0)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "cannot make a lock");
    return BITCASK_OK;
}

static void close_handle(const struct bc_filetable *t, char *map, size_t map_size, int fd)
{
    const struct bc_io *io = t->dir->io;
    if (map != NULL)
        io->unmap(io->ctx, map, map_size);
    if (fd >= 0)
        io->close(io->ctx, fd);
}

static void free_file(struct bc_filetable *t, struct bc_file *f)
{
    close_handle(t, atomic_load(&f->map), f->map_size, atomic_load(&f->fd));
    bc_free(t->allocator, f);
}

void bc_filetable_free(struct bc_filetable *t)
{
    bc_filetable_reclaim(t);
    for (uint32_t i = 0; i < t->used; i++) {
        struct bc_file *f = bc_filetable_get(t, i);
        if (f != NULL)
            free_file(t, f);
    }
    for (size_t i = 0; i < BC_ARRAY_SIZE(t->blocks); i++)
        bc_free(t->allocator, (void *)atomic_load(&t->blocks[i]));
    pthread_rwlock_destroy(&t->main);
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

int bc_filetable_add(struct bc_filetable *t, const struct bc_manifest_file *listed, enum bc_file_state state, int fd, void *map,
                     size_t map_size, struct bc_file **ret)
{
    struct bc_file *f = bc_alloc_zero(t->allocator, 1, sizeof *f);
    if (f == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a file");
    f->name = listed->name;
    f->kind = listed->kind;
    f->map_size = map_size;
    atomic_init(&f->state, (uint32_t)state);
    atomic_init(&f->map, map);
    atomic_init(&f->fd, fd);
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
    if (f->cached)
        t->open_count--;
    f->cached = false;
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
        if (f != NULL && atomic_load(&f->state) != BC_FILE_REMOVED)
            result = fn(f, arg);
    }
    pthread_rwlock_unlock(&t->main);
    return result;
}

/* Under cache: takes a handle away from a file; it closes after the grace period. Without memory for the note the handle stays.
 */
static bool detach(struct bc_filetable *t, struct bc_file *f)
{
    struct bc_retired_handle *h = bc_alloc(t->allocator, sizeof *h);
    if (h == NULL)
        return false;
    h->map = atomic_exchange(&f->map, NULL);
    h->map_size = f->map_size;
    h->fd = atomic_exchange(&f->fd, -1);
    h->next = t->retired;
    t->retired = h;
    atomic_store(&t->reclaimable, true);
    f->cached = false;
    t->open_count--;
    return true;
}

/* Under cache: the CLOCK hand passes over the files and stops at one that was not used since its last turn. */
static void evict_one(struct bc_filetable *t, const struct bc_file *keep)
{
    for (uint32_t steps = 0; steps < 2 * t->used; steps++) {
        struct bc_file *f = bc_filetable_get(t, t->hand++ % t->used);
        if (f == NULL || !f->cached || f == keep)
            continue;
        if (!atomic_exchange_explicit(&f->recent, false, memory_order_relaxed)) {
            (void)detach(t, f);
            return;
        }
    }
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

int bc_filetable_take_over(struct bc_filetable *t, struct bc_file *f, int fd, void *map, size_t map_size)
{
    int result = BITCASK_OK;
    pthread_mutex_lock(&t->cache);
    if (f->cached && !detach(t, f)) {
        result = bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to go on in a data file");
    } else {
        f->map_size = map_size;
        atomic_store_explicit(&f->map, map, memory_order_release);
        atomic_store_explicit(&f->fd, fd, memory_order_release);
    }
    pthread_mutex_unlock(&t->cache);
    return result;
}

static int open_handle(struct bc_filetable *t, struct bc_file *f)
{
    const struct bc_io *io = t->dir->io;
    int fd;
    struct bc_io_stat st;
    int result = bc_datafile_open(t->dir, &t->store, &f->name, 0, &fd, &st);
    if (result != BITCASK_OK)
        return result;
    char name[BC_NAME_SIZE];
    bc_data_name(name, f->name.id);
    uint64_t end = atomic_load(&f->end);
    void *map = NULL;
    if (st.size < end) {
        result = bc_fail(BITCASK_CORRUPT, 0, name, st.size, "%s: %llu bytes long, should have %llu", name,
                         (unsigned long long)st.size, (unsigned long long)end);
    } else if (t->mapped && !f->by_descriptor) {
        int error = io->map(io->ctx, fd, (size_t)end, false, &map);
        if (error != 0)
            result = bc_fail_io(error, name, "cannot map");
    }
    if (result != BITCASK_OK) {
        io->close(io->ctx, fd);
        return result;
    }
    f->map_size = (size_t)end;
    atomic_store_explicit(&f->map, map, memory_order_release);
    atomic_store_explicit(&f->fd, fd, memory_order_release);
    f->cached = true;
    t->open_count++;
    return BITCASK_OK;
}

int bc_filetable_open(struct bc_filetable *t, struct bc_file *f)
{
    atomic_store_explicit(&f->recent, true, memory_order_relaxed);
    if (atomic_load_explicit(&f->fd, memory_order_acquire) >= 0)
        return BITCASK_OK;
    int result = BITCASK_OK;
    pthread_mutex_lock(&t->cache);
    if (atomic_load(&f->fd) < 0) {
        result = open_handle(t, f);
        if (result == BITCASK_OK && t->open_count > t->budget)
            evict_one(t, f);
    }
    pthread_mutex_unlock(&t->cache);
    return result;
}

int bc_filetable_read(struct bc_filetable *t, struct bc_file *f, uint64_t offset, void *buf, size_t size)
{
    int result = bc_filetable_open(t, f);
    if (result != BITCASK_OK)
        return result;
    /* Another thread may evict the handle at any time: what was loaded stays usable until the pin is left, and where it was
     * taken away in between it is opened again. */
    int fd = atomic_load_explicit(&f->fd, memory_order_acquire);
    if (fd < 0)
        return bc_filetable_read(t, f, offset, buf, size);
    char name[BC_NAME_SIZE];
    size_t got;
    int error = t->dir->io->read(t->dir->io->ctx, fd, offset, buf, size, &got);
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
    struct bc_retired_handle *h = bc_alloc(t->allocator, sizeof *h);
    if (h == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to map a larger file");
    void *map;
    int error = io->map(io->ctx, atomic_load(&f->fd), size, true, &map);
    if (error != 0) {
        char name[BC_NAME_SIZE];
        bc_data_name(name, f->name.id);
        bc_free(t->allocator, h);
        return bc_fail_io(error, name, "cannot map");
    }
    pthread_mutex_lock(&t->cache);
    *h = (struct bc_retired_handle){t->retired, atomic_exchange(&f->map, map), f->map_size, -1};
    t->retired = h;
    f->map_size = size;
    atomic_store(&t->reclaimable, true);
    pthread_mutex_unlock(&t->cache);
    return BITCASK_OK;
}

void bc_filetable_reclaim(struct bc_filetable *t)
{
    pthread_mutex_lock(&t->cache);
    struct bc_retired_handle *retired = t->retired;
    struct bc_file *removed = t->removed;
    t->retired = NULL;
    t->removed = NULL;
    atomic_store(&t->reclaimable, false);
    pthread_mutex_unlock(&t->cache);
    if (retired == NULL && removed == NULL)
        return;
    bc_pins_synchronize(t->pins);
    while (retired != NULL) {
        struct bc_retired_handle *h = retired;
        retired = h->next;
        close_handle(t, h->map, h->map_size, h->fd);
        bc_free(t->allocator, h);
    }
    while (removed != NULL) {
        struct bc_file *f = removed;
        removed = f->removed;
        /* Only now may the index be given out again: no reader that probed before the removal is left. */
        pthread_rwlock_wrlock(&t->main);
        atomic_store(&atomic_load(&t->blocks[f->index / BC_FILES_PER_BLOCK])[f->index % BC_FILES_PER_BLOCK], NULL);
        t->free_indices++;
        pthread_rwlock_unlock(&t->main);
        free_file(t, f);
    }
}

bool bc_filetable_shrink(struct bc_filetable *t)
{
    pthread_mutex_lock(&t->cache);
    uint32_t before = t->open_count;
    for (uint32_t n = (before + 1) / 2; n > 0; n--)
        evict_one(t, NULL);
    bool any = t->open_count < before || t->retired != NULL;
    pthread_mutex_unlock(&t->cache);
    bc_filetable_reclaim(t);
    return any;
}
