/* Merge on demand: the public calls. */
#include <string.h>

#include "bitcask/db.h"
#include "bitcask/error.h"

void bitcask_merge_options_init(bitcask_merge_options *options, size_t size)
{
    memset(options, 0, size);
    options->struct_size = size;
}

void bitcask_merge_result_init(bitcask_merge_result *result, size_t size)
{
    memset(result, 0, size);
    result->struct_size = size;
}

static int resolve(const bitcask_merge_options *given, bitcask_merge_options *ret)
{
    bitcask_merge_options o = BITCASK_MERGE_OPTIONS_INIT;
    int result = given == NULL ? BITCASK_OK : bc_options_take(given, given->struct_size, &o, sizeof o, "bitcask_merge_options");
    if (result != BITCASK_OK)
        return result;
    if ((o.flags & ~BITCASK_MERGE_POLICY) != 0 || o.reserved != 0)
        return bc_fail(BITCASK_UNSUPPORTED, 0, NULL, 0, "bitcask_merge_options has a flag that this version does not know");
    if ((o.files == NULL) != (o.file_count == 0))
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "bitcask_merge_options: files and file_count contradict each other");
    if (o.files != NULL && (o.flags & BITCASK_MERGE_POLICY) != 0)
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "bitcask_merge_options: chosen files contradict BITCASK_MERGE_POLICY");
    *ret = o;
    return BITCASK_OK;
}

static bitcask_merge_result result_of(const struct bc_merge_done *done, int64_t duration_ms)
{
    return (bitcask_merge_result){.struct_size = sizeof(bitcask_merge_result),
                                  .files_in = done->files_in,
                                  .files_out = done->files_out,
                                  .bytes_in = done->bytes_in,
                                  .bytes_out = done->bytes_out,
                                  .bytes_read = done->bytes_read,
                                  .records = done->records,
                                  .tombstones_dropped = done->tombstones_dropped,
                                  .tombstones_kept = done->tombstones_kept,
                                  .expired = done->expired,
                                  .duration_ms = (uint64_t)duration_ms};
}

int bitcask_merge(bitcask *db, const bitcask_merge_options *given, bitcask_merge_result *ret)
{
    bitcask_merge_options o = BITCASK_MERGE_OPTIONS_INIT;
    struct bc_merge_done done = {0};
    int result = bc_db_writable(db);
    if (result == BITCASK_OK)
        result = resolve(given, &o);
    if (result == BITCASK_OK)
        result = bc_result_check(ret);
    if (result != BITCASK_OK)
        return result;
    const struct bc_merge_order order = {.by_policy = (o.flags & BITCASK_MERGE_POLICY) != 0,
                                         .ids = o.files,
                                         .id_count = o.file_count,
                                         .progress = o.progress,
                                         .progress_ctx = o.progress_ctx};
    unsigned call = bc_pins_call(db->pins);
    int64_t started = db->io->monotonic_ms(db->io->ctx);
    result = bc_merge_run(&db->merger, &order, &done);
    bc_upkeep_inline(&db->upkeep);
    int64_t duration_ms = db->io->monotonic_ms(db->io->ctx) - started;
    bc_pins_return(db->pins, call);
    if (ret != NULL) {
        bitcask_merge_result r = result_of(&done, duration_ms);
        int copied = bc_result_copy(ret, &r, sizeof r);
        result = result == BITCASK_OK ? copied : result;
    }
    return result;
}

static int set_paused(bitcask *db, bool paused)
{
    unsigned call = bc_pins_call(db->pins);
    int result = bc_db_usable(db);
    if (result == BITCASK_OK) {
        atomic_store(&db->merger.pace.paused, paused);
        if (!paused)
            bc_upkeep_wake(&db->upkeep);
    }
    bc_pins_return(db->pins, call);
    return result;
}

int bitcask_merge_pause(bitcask *db)
{
    return set_paused(db, true);
}

int bitcask_merge_resume(bitcask *db)
{
    return set_paused(db, false);
}
