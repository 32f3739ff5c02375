/* bitcask_backup: the public call, and the order of its steps (backup_internal.h). */
#include "bitcask/backup_internal.h"

#include <string.h>

#include "bitcask/error.h"

#define FLAGS (BITCASK_BACKUP_NO_LINK | BITCASK_BACKUP_VERIFY_ALL | BITCASK_BACKUP_SKIP_LINKED | BITCASK_BACKUP_RESTORE)

void bitcask_backup_options_init(bitcask_backup_options *options, size_t size)
{
    memset(options, 0, size);
    options->struct_size = size;
}

void bitcask_backup_result_init(bitcask_backup_result *result, size_t size)
{
    memset(result, 0, size);
    result->struct_size = size;
}

static int resolve(const bitcask_backup_options *given, bitcask_backup_options *ret)
{
    bitcask_backup_options o = BITCASK_BACKUP_OPTIONS_INIT;
    int result =
        given == NULL ? BITCASK_OK : bc_options_take(given, given->struct_size, &o, sizeof o, "bitcask_backup_options");
    if (result != BITCASK_OK)
        return result;
    if ((o.flags & ~FLAGS) != 0 || o.reserved != 0)
        return bc_fail(BITCASK_UNSUPPORTED, 0, NULL, 0, "bitcask_backup_options has a flag that this version does not know");
    if ((o.flags & BITCASK_BACKUP_VERIFY_ALL) != 0 && (o.flags & BITCASK_BACKUP_SKIP_LINKED) != 0)
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "bitcask_backup_options.flags: VERIFY_ALL contradicts SKIP_LINKED");
    *ret = o;
    return BITCASK_OK;
}

int bc_backup_step(struct bc_backup *b, const char *phase, uint64_t bytes)
{
    b->progress_done += bytes;
    uint64_t done = BC_MIN(b->progress_done, b->progress_total);
    if (b->options.progress == NULL || b->options.progress(phase, done, b->progress_total, b->options.progress_ctx) == 0)
        return BITCASK_OK;
    return bc_fail(BITCASK_CANCELLED, 0, NULL, 0, "the backup was cancelled");
}

static int place_all(struct bc_backup *b)
{
    b->progress_done = b->progress_total = 0;
    for (size_t i = 0; i < b->count; i++)
        b->progress_total += b->files[i].listed.end;
    b->done.files = b->count;
    b->done.bytes = b->progress_total;
    int result = BITCASK_OK;
    for (size_t i = 0; i < b->count && result == BITCASK_OK; i++)
        result = bc_backup_place(b, &b->files[i]);
    return result;
}

/* While the merge lock is held no file of the moment leaves the store. A merge that stands still would hold it for ever. */
static int place_under_lock(struct bc_backup *b)
{
    struct bc_merger *m = &b->db->merger;
    int result = bc_merger_lock(m, atomic_load(&m->pace.paused));
    if (result != BITCASK_OK)
        return result;
    result = bc_backup_take_point(b);
    if (result == BITCASK_OK)
        result = bc_backup_announce(b);
    if (result == BITCASK_OK)
        result = place_all(b);
    bc_merger_unlock(m);
    return result;
}

static int run(struct bc_backup *b, const char *destination)
{
    b->dir = (struct bc_directory){.fd = -1, .lock_fd = -1, .path = destination};
    b->no_links = (b->options.flags & (BITCASK_BACKUP_NO_LINK | BITCASK_BACKUP_RESTORE)) != 0;
    b->buffer = bc_alloc(b->allocator, BC_BACKUP_BUFFER);
    if (b->buffer == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a backup");
    int result = bc_backup_open_target(b);
    if (result != BITCASK_OK)
        return result;
    result = place_under_lock(b);
    if (result == BITCASK_OK)
        result = bc_backup_check(b);
    if (result == BITCASK_OK)
        result = bc_backup_commit(b);
    if (result != BITCASK_OK)
        bc_backup_give_up(b, result);
    return result;
}

int bitcask_backup(bitcask *db, const char *destination_dir, const bitcask_backup_options *given)
{
    struct bc_backup b = {.db = db, .allocator = &db->allocator, .done = BITCASK_BACKUP_RESULT_INIT};
    int result = bc_db_usable(db);
    if (result == BITCASK_OK)
        result = resolve(given, &b.options);
    if (result == BITCASK_OK)
        result = bc_result_check(b.options.result);
    if (result == BITCASK_OK && (destination_dir == NULL || destination_dir[0] == '\0'))
        result = bc_fail(BITCASK_INVALID, 0, NULL, 0, "no directory for the backup was named");
    if (result == BITCASK_OK && db->files.salvage)
        result =
            bc_fail(BITCASK_INVALID, 0, NULL, 0, "the handle was opened with BITCASK_OPEN_SALVAGE: no backup is made of it");
    if (result != BITCASK_OK)
        return result;
    unsigned call = bc_pins_call(db->pins);
    int64_t started = db->io->monotonic_ms(db->io->ctx);
    result = run(&b, destination_dir);
    bc_backup_close_target(&b);
    bc_free(b.allocator, b.files);
    bc_free(b.allocator, b.buffer);
    b.done.duration_ms = (uint64_t)(db->io->monotonic_ms(db->io->ctx) - started);
    bc_pins_return(db->pins, call);
    if (b.options.result != NULL) {
        int copied = bc_result_copy(b.options.result, &b.done, sizeof b.done);
        result = result == BITCASK_OK ? copied : result;
    }
    return result;
}
