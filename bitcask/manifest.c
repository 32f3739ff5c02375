#include "bitcask/manifest.h"

#include <errno.h>
#include <string.h>

#include "bitcask/error.h"

#define MANIFEST_SIZE_MAX (64U << 20) /* a million files; more is no MANIFEST of ours */

static int read_bytes(const struct bc_directory *dir, const bitcask_allocator *a, int fd, void **ret, size_t *ret_size)
{
    struct bc_io_stat st;
    int error = dir->io->stat(dir->io->ctx, fd, &st);
    if (error != 0)
        return bc_fail_io(error, BC_MANIFEST_NAME, "cannot stat");
    if (st.size > MANIFEST_SIZE_MAX)
        return bc_fail(BITCASK_CORRUPT, 0, BC_MANIFEST_NAME, 0, "%s: too large to be one", BC_MANIFEST_NAME);
    void *bytes = bc_alloc(a, (size_t)st.size);
    if (bytes == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, BC_MANIFEST_NAME, 0, "no memory to read the MANIFEST");
    size_t got;
    error = dir->io->read(dir->io->ctx, fd, 0, bytes, (size_t)st.size, &got);
    if (error != 0) {
        bc_free(a, bytes);
        return bc_fail_io(error, BC_MANIFEST_NAME, "cannot read");
    }
    *ret = bytes;
    *ret_size = got;
    return BITCASK_OK;
}

static int read_any(const struct bc_directory *dir, const bitcask_allocator *a, struct bc_manifest *ret,
                    int *ret_damaged_copies)
{
    int fd;
    int result = bc_directory_open_file(dir, BC_MANIFEST_NAME, 0, &fd);
    if (result != BITCASK_OK)
        return result;
    void *bytes = NULL;
    size_t size = 0;
    result = read_bytes(dir, a, fd, &bytes, &size);
    dir->io->close(dir->io->ctx, fd);
    if (result != BITCASK_OK)
        return result;
    result = bc_manifest_decode_backup(ret, ret_damaged_copies, bytes, size, a);
    bc_free(a, bytes);
    if (result == BITCASK_CORRUPT)
        return bc_fail(result, 0, BC_MANIFEST_NAME, 0,
                       "%s: damaged in both copies; nothing was changed; repair rebuilds it from the data files",
                       BC_MANIFEST_NAME);
    if (result == BITCASK_NO_MEMORY)
        return bc_fail(result, 0, BC_MANIFEST_NAME, 0, "no memory to read the MANIFEST");
    if (result == BITCASK_UNSUPPORTED)
        return bc_fail(result, 0, BC_MANIFEST_NAME, 0, "%s: written by a newer version of the format", BC_MANIFEST_NAME);
    return result;
}

int bc_manifest_read_backup(const struct bc_directory *dir, const bitcask_allocator *a, struct bc_manifest *ret)
{
    int damaged_copies;
    return read_any(dir, a, ret, &damaged_copies);
}

int bc_manifest_read(const struct bc_directory *dir, const bitcask_allocator *a, struct bc_manifest *ret,
                     int *ret_damaged_copies)
{
    struct bc_manifest m;
    int result = read_any(dir, a, &m, ret_damaged_copies);
    if (result != BITCASK_OK)
        return result;
    if ((m.incompatible & BC_MANIFEST_UNFINISHED) != 0) {
        bc_manifest_free(a, &m);
        return bc_fail(BITCASK_UNSUPPORTED, 0, BC_MANIFEST_NAME, 0,
                       "%s: a backup into this directory was not finished: it is no store; run the backup again, or remove it",
                       dir->path);
    }
    *ret = m;
    return BITCASK_OK;
}

void bc_manifest_free(const bitcask_allocator *a, struct bc_manifest *m)
{
    bc_free(a, m->files);
    m->files = NULL;
    m->count = 0;
}

int bc_manifest_keeper_init(struct bc_manifest_keeper *k, const struct bc_directory *dir, const bitcask_allocator *a,
                            struct bc_health *health, _Atomic uint64_t *next_sequence, struct bc_manifest *current)
{
    *k = (struct bc_manifest_keeper){
        .dir = dir, .allocator = a, .health = health, .next_sequence = next_sequence, .current = *current};
    atomic_init(&k->ceiling, current->ceiling);
    if (pthread_mutex_init(&k->mutex, NULL) != 0)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "cannot make a mutex");
    return BITCASK_OK;
}

void bc_manifest_follow(struct bc_manifest_keeper *k, struct bc_manifest *current)
{
    pthread_mutex_lock(&k->mutex);
    bc_manifest_free(k->allocator, &k->current);
    k->current = *current;
    atomic_store(&k->ceiling, current->ceiling);
    pthread_mutex_unlock(&k->mutex);
}

void bc_manifest_keeper_free(struct bc_manifest_keeper *k)
{
    bc_manifest_free(k->allocator, &k->current);
    pthread_mutex_destroy(&k->mutex);
}

int bc_manifest_begin(struct bc_manifest_keeper *k, size_t extra, struct bc_manifest *ret_edit)
{
    pthread_mutex_lock(&k->mutex);
    if (bc_health_poisoned(k->health)) {
        pthread_mutex_unlock(&k->mutex);
        return bc_health_refuse();
    }
    struct bc_manifest edit = k->current;
    edit.files = bc_alloc_zero(k->allocator, edit.count + extra, sizeof *edit.files);
    if (edit.files == NULL) {
        pthread_mutex_unlock(&k->mutex);
        return bc_fail(BITCASK_NO_MEMORY, 0, BC_MANIFEST_NAME, 0, "no memory for a new MANIFEST");
    }
    if (edit.count != 0)
        memcpy(edit.files, k->current.files, edit.count * sizeof *edit.files);
    *ret_edit = edit;
    return BITCASK_OK;
}

void bc_manifest_abort(struct bc_manifest_keeper *k, struct bc_manifest *edit)
{
    bc_manifest_free(k->allocator, edit);
    pthread_mutex_unlock(&k->mutex);
}

static int write_tmp(const struct bc_directory *dir, const void *bytes, size_t size)
{
    const struct bc_io *io = dir->io;
    /* A left-over one may be a hard link or worse: never written through. */
    int result = bc_directory_unlink(dir, BC_MANIFEST_TMP);
    if (result != BITCASK_OK)
        return result;
    int fd;
    result = bc_directory_open_file(dir, BC_MANIFEST_TMP, BC_IO_WRITE | BC_IO_CREATE | BC_IO_EXCLUSIVE, &fd);
    if (result != BITCASK_OK)
        return result;
    struct bc_io_slice slice = {bytes, size};
    int error = io->write(io->ctx, fd, 0, &slice, 1);
    if (error != 0)
        result = bc_fail_io(error, BC_MANIFEST_TMP, "cannot write");
    /* This sync may fail without poison: the file is not yet anybody's truth and is dropped. */
    if (error == 0 && (error = io->sync(io->ctx, fd)) != 0)
        result = bc_fail_io(error, BC_MANIFEST_TMP, "cannot sync");
    io->close(io->ctx, fd);
    if (result != BITCASK_OK)
        (void)io->unlink(io->ctx, dir->fd, BC_MANIFEST_TMP);
    return result;
}

int bc_manifest_write(const struct bc_directory *dir, const bitcask_allocator *a, const struct bc_manifest *m,
                      const char **ret_unknown)
{
    size_t size = bc_manifest_size(m->count);
    void *bytes = bc_alloc(a, size);
    *ret_unknown = NULL;
    if (bytes == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, BC_MANIFEST_NAME, 0, "no memory to write the MANIFEST");
    bc_manifest_encode(bytes, m);
    int result = write_tmp(dir, bytes, size);
    bc_free(a, bytes);
    if (result != BITCASK_OK)
        return result;
    const struct bc_io *io = dir->io;
    const char *what = "cannot rename the new MANIFEST into place";
    int error = io->rename(io->ctx, dir->fd, BC_MANIFEST_TMP, BC_MANIFEST_NAME);
    if (error == 0) {
        what = "cannot sync the directory";
        error = io->dir_sync(io->ctx, dir->fd);
    }
    if (error == 0)
        return BITCASK_OK;
    *ret_unknown = what;
    return bc_fail_io(error, BC_MANIFEST_NAME, what);
}

static int replace(const struct bc_manifest_keeper *k, const struct bc_manifest *edit)
{
    const char *unknown;
    int result = bc_manifest_write(k->dir, k->allocator, edit, &unknown);
    if (unknown == NULL)
        return result;
    return bc_health_poison(k->health, bitcask_last_error()->sys_errno, BC_MANIFEST_NAME, unknown);
}

int bc_manifest_commit(struct bc_manifest_keeper *k, struct bc_manifest *edit)
{
    uint64_t next = atomic_load(k->next_sequence);
    edit->generation = k->current.generation + 1;
    /* Whatever it was made as, it goes its own way from here on. */
    edit->compatible = 0;
    edit->ceiling = BC_MAX(k->current.ceiling, next + BC_CEILING_STEP);
    int result = replace(k, edit);
    if (result == BITCASK_OK) {
        bc_manifest_free(k->allocator, &k->current);
        k->current = *edit;
        atomic_store(&k->ceiling, edit->ceiling);
    } else {
        bc_manifest_free(k->allocator, edit);
    }
    pthread_mutex_unlock(&k->mutex);
    return result;
}

struct bc_manifest_file *bc_manifest_find(struct bc_manifest *m, uint64_t id)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->files[i].name.id == id)
            return &m->files[i];
    return NULL;
}

void bc_manifest_add(struct bc_manifest *edit, const struct bc_manifest_file *file)
{
    size_t at = edit->count;
    while (at > 0 && edit->files[at - 1].name.id > file->name.id)
        at--;
    memmove(&edit->files[at + 1], &edit->files[at], (edit->count - at) * sizeof *edit->files);
    edit->files[at] = *file;
    edit->count++;
    edit->next_id = BC_MAX(edit->next_id, file->name.id + 1);
}

void bc_manifest_remove(struct bc_manifest *edit, uint64_t id)
{
    struct bc_manifest_file *file = bc_manifest_find(edit, id);
    if (file == NULL)
        return;
    size_t behind = edit->count - (size_t)(file - edit->files) - 1;
    memmove(file, file + 1, behind * sizeof *file);
    edit->count--;
}
