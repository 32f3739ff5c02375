/* The directory that a backup goes to: whose it is, what its MANIFEST says, what leaves it. */
#include "bitcask/backup_internal.h"

#include <errno.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/leftovers.h"

static int refuse(const struct bc_backup *b, const char *why)
{
    return bc_fail(BITCASK_CONDITION, EEXIST, BC_MANIFEST_NAME, 0, "%s: %s; nothing was changed", b->dir.path, why);
}

/* ---- whose it is ---- */

static bool manifest_identity(const struct bc_directory *dir, struct bc_io_stat *ret)
{
    const struct bc_io *io = dir->io;
    int fd;
    if (io->open(io->ctx, dir->fd, BC_MANIFEST_NAME, 0, 0, &fd) != 0)
        return false;
    int error = io->stat(io->ctx, fd, ret);
    io->close(io->ctx, fd);
    return error == 0;
}

static bool is_source(const struct bc_backup *b)
{
    struct bc_io_stat here, there;
    return manifest_identity(&b->db->dir, &here) && manifest_identity(&b->dir, &there) && here.device == there.device &&
           here.inode == there.inode;
}

static int only_ours(enum bc_name_kind kind, uint64_t id, const char *name, void *arg)
{
    (void)id;
    (void)arg;
    /* What mkfs makes, so that a whole file system can be the place. */
    bool harmless = kind == BC_NAME_LOCK || kind == BC_NAME_TMP || strcmp(name, "lost+found") == 0;
    return harmless ? BITCASK_OK : BITCASK_CONDITION;
}

static int check_empty(struct bc_backup *b)
{
    int result = bc_directory_each(&b->dir, only_ours, NULL);
    return result == BITCASK_CONDITION ? refuse(b, "is not empty, and what stands there is no backup") : result;
}

static int check_before(struct bc_backup *b)
{
    bool unfinished = (b->before.incompatible & BC_MANIFEST_UNFINISHED) != 0;
    if (!unfinished && (b->options.flags & BITCASK_BACKUP_RESTORE) != 0)
        return refuse(b, "a store is there already");
    if (memcmp(&b->before.store, &b->db->files.store, sizeof b->before.store) != 0)
        return refuse(b, unfinished ? "holds an unfinished backup of another store" : "another store is there");
    if (!unfinished && (b->before.compatible & BC_MANIFEST_BACKUP) == 0)
        return refuse(b, "a store is there that is no backup, or that was written to since it was one");
    return BITCASK_OK;
}

int bc_backup_open_target(struct bc_backup *b)
{
    const char *path = b->dir.path;
    int result = bc_directory_open(&b->dir, b->db->io, path, true, b->db->options.file_mode);
    if (result != BITCASK_OK) {
        b->dir.fd = -1;
        return result;
    }
    if (is_source(b))
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "%s: is the store itself", path);
    if (!bc_directory_has(&b->dir, BC_MANIFEST_NAME))
        result = check_empty(b);
    /* Not before: a directory that is somebody else's gets no LOCK file. */
    if (result == BITCASK_OK)
        result = bc_directory_lock(&b->dir);
    if (result == BITCASK_OK)
        result = bc_manifest_read_backup(&b->dir, b->allocator, &b->before);
    /* The name alone would not say which of the two directories is meant. */
    if (result == BITCASK_CORRUPT)
        return bc_fail(BITCASK_CORRUPT, 0, BC_MANIFEST_NAME, 0,
                       "%s: its MANIFEST is damaged, so it takes no backup; nothing was changed; give another directory", path);
    if (result != BITCASK_NOT_FOUND)
        return result == BITCASK_OK ? check_before(b) : result;
    b->new_directory = true;
    b->before = (struct bc_manifest){
        .store = b->db->files.store, .compatible = BC_MANIFEST_BACKUP, .incompatible = BC_MANIFEST_UNFINISHED};
    const struct bc_io *io = b->dir.io;
    int error = io->dir_sync_parent(io->ctx, b->dir.fd);
    return error == 0 ? BITCASK_OK : bc_fail_io(error, path, "cannot sync the directory's parent");
}

void bc_backup_close_target(struct bc_backup *b)
{
    bc_manifest_free(b->allocator, &b->before);
    if (b->dir.fd >= 0)
        bc_directory_close(&b->dir);
}

/* ---- what its MANIFEST says ---- */

/* m becomes what is durable there; its files are taken over. */
static int replace(struct bc_backup *b, struct bc_manifest *m)
{
    const char *unknown;
    m->generation = b->before.generation + 1;
    int result = bc_manifest_write(&b->dir, b->allocator, m, &unknown);
    if (unknown != NULL)
        b->in_doubt = true;
    if (result != BITCASK_OK) {
        bc_manifest_free(b->allocator, m);
        return result;
    }
    bc_manifest_free(b->allocator, &b->before);
    b->before = *m;
    return BITCASK_OK;
}

static const struct bc_manifest_file *before_find(const struct bc_backup *b, uint64_t id)
{
    size_t low = 0, high = b->before.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (b->before.files[middle].name.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < b->before.count && b->before.files[low].name.id == id ? &b->before.files[low] : NULL;
}

bool bc_backup_knows(const struct bc_backup *b, const struct bc_manifest_file *f)
{
    const struct bc_manifest_file *listed = before_find(b, f->name.id);
    return listed != NULL && listed->name.nonce == f->name.nonce && listed->end >= f->end;
}

int bc_backup_announce(struct bc_backup *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct bc_manifest_file *f = &b->files[i].listed, *listed = before_find(b, f->name.id);
        /* One of the two went on from an older copy. Its file would have to be overwritten before the new backup is valid. */
        if (listed != NULL && listed->name.nonce != f->name.nonce)
            return refuse(b, "holds a backup of this store from which the store has gone another way; use a new directory");
    }
    if (!b->new_directory && b->before.ceiling >= b->point.ceiling && b->before.next_id >= b->point.next_id)
        return BITCASK_OK;
    struct bc_manifest m = b->before;
    m.files = NULL;
    if (m.count > 0) {
        m.files = bc_memdup(b->allocator, b->before.files, m.count * sizeof *m.files);
        if (m.files == NULL)
            return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a backup");
    }
    m.ceiling = BC_MAX(m.ceiling, b->point.ceiling);
    m.next_id = BC_MAX(m.next_id, b->point.next_id);
    return replace(b, &m);
}

int bc_backup_commit(struct bc_backup *b)
{
    const struct bc_io *io = b->dir.io;
    int error = io->dir_sync(io->ctx, b->dir.fd);
    if (error != 0)
        return bc_fail_io(error, b->dir.path, "cannot sync the directory");
    struct bc_manifest m = b->point;
    bool restored = (b->options.flags & BITCASK_BACKUP_RESTORE) != 0;
    m.compatible = restored ? 0 : BC_MANIFEST_BACKUP;
    m.incompatible = 0;
    m.ceiling = BC_MAX(b->before.ceiling, b->point.ceiling);
    m.next_id = BC_MAX(b->before.next_id, b->point.next_id);
    m.files = bc_alloc_zero(b->allocator, b->count + 1, sizeof *m.files);
    if (m.files == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a backup");
    for (size_t i = 0; i < b->count; i++)
        m.files[i] = b->files[i].listed;
    m.count = b->count;
    int result = replace(b, &m);
    if (result == BITCASK_OK)
        b->done.removed = bc_leftovers_remove(&b->dir, b->allocator, &b->before);
    return result;
}

/* ---- what leaves it ---- */

void bc_backup_give_up(struct bc_backup *b, int result)
{
    /* After a cancel or a device error the next run goes on from what came. */
    bool in_the_way = result == BITCASK_NO_SPACE || result == BITCASK_CORRUPT;
    if (in_the_way && !b->in_doubt)
        (void)bc_leftovers_remove(&b->dir, b->allocator, &b->before);
}
