/* Bringing one data file, and its hint, into the backup: kept, linked or copied. */
#include <errno.h>
#include <string.h>

#include "bitcask/backup_internal.h"
#include "bitcask/error.h"
#include "bitcask/format_hint.h"

#define ATTEMPTS 8U /* to open a file while descriptors are short */

#define PHASE "backup"

/* ---- where the bytes come from ---- */

struct source {
    int fd;
    struct bc_handle *handle; /* NULL: fd is this run's own */
};

static int open_kept(struct bc_backup *b, struct bc_file *f, struct source *ret)
{
    struct bc_handle *h;
    unsigned pin = bc_pins_enter(b->db->pins);
    int result = bc_filetable_open(&b->db->files, f, &h);
    if (result == BITCASK_OK) {
        bc_handle_ref(h);
        *ret = (struct source){h->fd, h};
    }
    bc_pins_leave(b->db->pins, pin);
    return result;
}

static int open_source(struct bc_backup *b, const struct bc_backup_file *f, struct source *ret)
{
    bitcask *db = b->db;
    int result;
    if (f->file != NULL)
        return open_kept(b, f->file, ret);
    for (unsigned attempt = 0;; attempt++) {
        struct bc_io_stat st;
        *ret = (struct source){-1, NULL};
        result = bc_datafile_open(&db->dir, &db->files.store, &f->listed.name, 0, &ret->fd, &st);
        int sys_errno = result == BITCASK_IO ? bitcask_last_error()->sys_errno : 0;
        bool none_left = sys_errno == EMFILE || sys_errno == ENFILE;
        if (!none_left || attempt > ATTEMPTS || !bc_filetable_shrink(&db->files))
            return result;
    }
}

static void close_source(const struct bc_backup *b, const struct source *s)
{
    if (s->handle != NULL)
        bc_handle_unref(s->handle);
    else
        b->db->io->close(b->db->io->ctx, s->fd);
}

/* ---- copies ---- */

/* The mark says how far the file was synced: the copy has one of its own. */
static void set_mark(char *first, const struct bc_manifest_file *f)
{
    char *mark = first + BC_DATA_MARK_OFFSET;
    memset(mark, 0, BC_DATA_START - BC_DATA_MARK_OFFSET);
    bc_mark_encode(mark, f->name.nonce, 0, f->end);
    bc_mark_encode(mark + BC_DATA_MARK_SECTOR, f->name.nonce, 1, f->end);
}

/* data: NULL for a hint, which progress does not count. */
static int copy_bytes(struct bc_backup *b, int from, int to, const char *name, uint64_t size,
                      const struct bc_manifest_file *data)
{
    const struct bc_io *io = b->db->io;
    for (uint64_t at = 0; at < size;) {
        size_t want = (size_t)BC_MIN((uint64_t)BC_BACKUP_BUFFER, size - at), got;
        int error = io->read(io->ctx, from, at, b->buffer, want, &got);
        if (error != 0)
            return bc_fail_io(error, name, "cannot read");
        if (got < want)
            return bc_fail(BITCASK_CORRUPT, 0, name, at + got, "%s: ends at byte %llu, should have %llu", name,
                           (unsigned long long)(at + got), (unsigned long long)size);
        if (at == 0 && data != NULL)
            set_mark(b->buffer, data);
        struct bc_io_slice slice = {b->buffer, want};
        error = io->write(io->ctx, to, at, &slice, 1);
        if (error != 0)
            return bc_fail_io(error, name, "cannot write the copy");
        at += want;
        int result = data == NULL ? BITCASK_OK : bc_backup_step(b, PHASE, want);
        if (result != BITCASK_OK)
            return result;
    }
    int error = io->sync(io->ctx, to);
    return error == 0 ? BITCASK_OK : bc_fail_io(error, name, "cannot sync the copy");
}

/* With read and write, whatever the file system could share: a shared extent may meet a full disk under a mapping later. */
static int copy_to_tmp(struct bc_backup *b, int from, const char *name, const char *tmp, uint64_t size,
                       const struct bc_manifest_file *data)
{
    const struct bc_io *io = b->db->io;
    int to;
    int result = bc_directory_open_file(&b->dir, tmp, BC_IO_WRITE | BC_IO_CREATE | BC_IO_EXCLUSIVE, &to);
    if (result != BITCASK_OK)
        return result;
    int error = size == 0 ? 0 : io->allocate(io->ctx, to, 0, size);
    if (error != 0 && error != EOPNOTSUPP)
        result = bc_fail_io(error, name, "cannot allocate the copy");
    if (result == BITCASK_OK)
        result = copy_bytes(b, from, to, name, size, data);
    io->close(io->ctx, to);
    if (result != BITCASK_OK)
        (void)io->unlink(io->ctx, b->dir.fd, tmp);
    return result;
}

/* ---- links ---- */

/* Whether there is one is in *ret. What cannot be linked is copied. */
static int link_to_tmp(struct bc_backup *b, const char *name, const char *tmp, bool *ret)
{
    const struct bc_io *io = b->db->io;
    *ret = false;
    if (b->no_links)
        return BITCASK_OK;
    int error = io->link(io->ctx, b->db->dir.fd, name, b->dir.fd, tmp);
    switch (error) {
    case 0:
        *ret = true;
        return BITCASK_OK;
    case EXDEV:
    case EOPNOTSUPP:
    case ENOSYS:
        b->no_links = true;
        return BITCASK_OK;
    case EPERM:
    case EACCES:
    case EMLINK:
    case ENOENT: /* merged away beside a read-only handle, which still has it open */
        return BITCASK_OK;
    default:
        return bc_fail_io(error, name, "cannot link into the backup");
    }
}

static int give_name(struct bc_backup *b, const char *tmp, const char *name)
{
    const struct bc_io *io = b->db->io;
    int error = io->rename(io->ctx, b->dir.fd, tmp, name);
    if (error == 0)
        return BITCASK_OK;
    (void)io->unlink(io->ctx, b->dir.fd, tmp);
    return bc_fail_io(error, name, "cannot name the copy");
}

/* ---- data files ---- */

/* Whether an earlier run brought it, as far as it is needed now. A file gets its name when it is synced, or is a link to one
 * that is, so one that has a name is whole. */
static int is_there(struct bc_backup *b, const struct bc_backup_file *f, bool *ret)
{
    struct bc_io_stat st;
    int fd;
    *ret = false;
    int result = bc_datafile_open(&b->dir, &b->db->files.store, &f->listed.name, 0, &fd, &st);
    if (result == BITCASK_CORRUPT)
        return BITCASK_OK; /* absent, or not it: replaced */
    if (result != BITCASK_OK)
        return result;
    b->dir.io->close(b->dir.io->ctx, fd);
    *ret = st.size >= f->listed.end;
    return BITCASK_OK;
}

static int copy(struct bc_backup *b, const struct bc_backup_file *f, const char *name, const char *tmp)
{
    struct source s;
    int result = open_source(b, f, &s);
    if (result != BITCASK_OK)
        return result;
    result = copy_to_tmp(b, s.fd, name, tmp, f->listed.end, &f->listed);
    close_source(b, &s);
    return result;
}

static int bring(struct bc_backup *b, struct bc_backup_file *f, const char *name)
{
    char tmp[BC_NAME_SIZE];
    bc_data_tmp_name(tmp, f->listed.name.id);
    int result = bc_directory_unlink(&b->dir, tmp);
    if (result == BITCASK_OK && !f->changes)
        result = link_to_tmp(b, name, tmp, &f->linked);
    if (result == BITCASK_OK && !f->linked)
        result = copy(b, f, name, tmp);
    if (result == BITCASK_OK)
        result = give_name(b, tmp, name);
    if (result != BITCASK_OK)
        return result;
    f->came = true;
    b->done.linked += f->linked;
    b->done.copied += !f->linked;
    b->done.bytes_copied += f->linked ? 0 : f->listed.end;
    return f->linked ? bc_backup_step(b, PHASE, f->listed.end) : BITCASK_OK;
}

/* ---- hints ---- */

/* Whether a directory has a hint for this file and end; the size of the hint file. Its CRCs are for its readers. */
static bool hint_fits(const struct bc_directory *dir, const struct bc_manifest_file *f, int *ret_fd, uint64_t *ret_size)
{
    const struct bc_io *io = dir->io;
    char name[BC_NAME_SIZE], bytes[BC_HINT_HEADER];
    struct bc_hint_header h;
    struct bc_io_stat st;
    size_t got;
    int fd;
    bc_hint_name(name, f->name.id);
    if (io->open(io->ctx, dir->fd, name, 0, 0, &fd) != 0)
        return false;
    bool fits = io->stat(io->ctx, fd, &st) == 0 && io->read(io->ctx, fd, 0, bytes, sizeof bytes, &got) == 0 &&
                got == sizeof bytes && bc_hint_header_decode(&h, bytes) == BC_FORMAT_OK && h.data.id == f->name.id &&
                h.data.nonce == f->name.nonce && h.data_end == f->end && h.size == st.size;
    if (!fits || ret_fd == NULL) {
        io->close(io->ctx, fd);
        return fits;
    }
    *ret_fd = fd;
    *ret_size = st.size;
    return true;
}

/* A hint file is replaced by renaming, never written again: it may be linked whatever becomes of its data file. */
static int place_hint(struct bc_backup *b, const struct bc_manifest_file *f)
{
    char name[BC_NAME_SIZE], tmp[BC_NAME_SIZE];
    uint64_t size = 0;
    bool linked;
    int fd;
    if (hint_fits(&b->dir, f, NULL, NULL) || !hint_fits(&b->db->dir, f, &fd, &size))
        return BITCASK_OK;
    bc_hint_name(name, f->name.id);
    bc_hint_tmp_name(tmp, f->name.id);
    int result = bc_directory_unlink(&b->dir, tmp);
    if (result == BITCASK_OK)
        result = link_to_tmp(b, name, tmp, &linked);
    if (result == BITCASK_OK && !linked)
        result = copy_to_tmp(b, fd, name, tmp, size, NULL);
    b->db->io->close(b->db->io->ctx, fd);
    return result == BITCASK_OK ? give_name(b, tmp, name) : result;
}

int bc_backup_place(struct bc_backup *b, struct bc_backup_file *f)
{
    char name[BC_NAME_SIZE];
    bool there;
    bc_data_name(name, f->listed.name.id);
    int result = bc_backup_step(b, PHASE, 0);
    if (result == BITCASK_OK)
        result = is_there(b, f, &there);
    if (result != BITCASK_OK)
        return result;
    if (there) {
        /* Not from an earlier backup that was finished: nobody has read it back. */
        f->came = !bc_backup_knows(b, &f->listed);
        b->done.kept++;
        result = bc_backup_step(b, PHASE, f->listed.end);
    } else {
        result = bring(b, f, name);
    }
    return result == BITCASK_OK ? place_hint(b, &f->listed) : result;
}
