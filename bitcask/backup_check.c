/* What came into a backup is read back from there, record by record, before it counts. */
#include <inttypes.h>

#include "bitcask/backup_internal.h"
#include "bitcask/error.h"
#include "bitcask/scan.h"

#define PHASE "verify"
#define STEP (1ULL << 20) /* bytes between two calls of progress */

static bool wanted(const struct bc_backup *b, const struct bc_backup_file *f)
{
    if ((b->options.flags & BITCASK_BACKUP_VERIFY_ALL) != 0)
        return true;
    return f->came && !(f->linked && (b->options.flags & BITCASK_BACKUP_SKIP_LINKED) != 0);
}

static int damaged(const struct bc_backup *b, const struct bc_manifest_file *f, uint64_t offset)
{
    char name[BC_NAME_SIZE];
    bc_data_name(name, f->name.id);
    return bc_fail(BITCASK_CORRUPT, 0, name, offset, "%s: damaged at byte %" PRIu64 "; the backup in %s was not completed",
                   name, offset, b->dir.path);
}

static int scan_all(struct bc_backup *b, const struct bc_manifest_file *f, struct bc_scan *s)
{
    uint64_t told = 0;
    for (;;) {
        switch (bc_scan_next(s)) {
        case BC_SCAN_END:
            return bc_backup_step(b, PHASE, f->end - told);
        case BC_SCAN_FAILED:
            return bitcask_last_error()->result;
        case BC_SCAN_BAD:
        default:
            return damaged(b, f, s->next);
        case BC_SCAN_RECORD:
            if (!s->value_ok)
                return damaged(b, f, s->offset);
            if (s->next - told < STEP)
                break;
            int result = bc_backup_step(b, PHASE, s->next - told);
            if (result != BITCASK_OK)
                return result;
            told = s->next;
        }
    }
}

static int check_file(struct bc_backup *b, const struct bc_backup_file *f)
{
    const struct bc_io *io = b->dir.io;
    struct bc_io_stat st;
    struct bc_scan s;
    int fd;
    int result = bc_datafile_open(&b->dir, &b->db->files.store, &f->listed.name, 0, &fd, &st);
    if (result != BITCASK_OK)
        return result;
    if (st.size < f->listed.end)
        result = damaged(b, &f->listed, st.size);
    if (result == BITCASK_OK && wanted(b, f)) {
        /* From the disk, not from the cache that the copy has just filled. */
        if (!f->linked)
            (void)io->drop_cache(io->ctx, fd, 0, f->listed.end);
        result = bc_scan_init(&s, io, b->allocator, fd, &f->listed.name, BC_DATA_START, f->listed.end);
        if (result == BITCASK_OK) {
            result = scan_all(b, &f->listed, &s);
            bc_scan_free(&s);
        }
    }
    io->close(io->ctx, fd);
    return result;
}

int bc_backup_check(struct bc_backup *b)
{
    b->progress_done = b->progress_total = 0;
    for (size_t i = 0; i < b->count; i++)
        b->progress_total += wanted(b, &b->files[i]) ? b->files[i].listed.end : 0;
    int result = BITCASK_OK;
    for (size_t i = 0; i < b->count && result == BITCASK_OK; i++)
        result = check_file(b, &b->files[i]);
    return result;
}
