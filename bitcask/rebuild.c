/* bitcask_rebuild_hints: hint files of a store that nobody has open. */
#include <string.h>

#include "bitcask/db.h"
#include "bitcask/error.h"

void bitcask_hint_options_init(bitcask_hint_options *options, size_t size)
{
    memset(options, 0, size);
    options->struct_size = size;
}

void bitcask_hint_result_init(bitcask_hint_result *result, size_t size)
{
    memset(result, 0, size);
    result->struct_size = size;
}

struct rebuild {
    bool all;
    uint64_t files, wanted;
    int result;                   /* of the first failure; OK: none */
    struct bc_last_error failure; /* it */
};

static int mark(struct bc_file *f, void *arg)
{
    struct rebuild *r = arg;
    r->files++;
    if (r->all)
        atomic_store(&f->needs_hint, true);
    r->wanted += atomic_load(&f->needs_hint);
    return 0;
}

/* Close builds what still lacks a hint: what was cancelled must not be done there. */
static int unmark(struct bc_file *f, void *arg)
{
    (void)arg;
    atomic_store(&f->needs_hint, false);
    return 0;
}

static void note_failure(struct rebuild *r, int result)
{
    if (r->result != BITCASK_OK)
        return;
    r->result = result;
    bc_error_save(&r->failure);
}

/* What came after the failure may have left another error, or the callback may. */
static int tell_failure(const struct rebuild *r)
{
    if (r->result != BITCASK_OK)
        bc_error_restore(&r->failure);
    return r->result;
}

static int build_all(bitcask *db, const bitcask_hint_options *o, bitcask_hint_result *ret)
{
    struct rebuild r = {.all = (o->flags & BITCASK_HINT_ALL) != 0};
    (void)bc_filetable_each(&db->files, mark, &r);
    ret->files = r.files;
    for (uint64_t done = 0; done < r.wanted; done++) {
        if (o->progress != NULL && o->progress("hint", done, r.wanted, o->progress_ctx) != 0) {
            (void)bc_filetable_each(&db->files, unmark, NULL);
            return bc_fail(BITCASK_CANCELLED, 0, NULL, 0, "cancelled");
        }
        int built;
        if (!bc_upkeep_hint(&db->upkeep, &built))
            break;
        ret->built += built == BITCASK_OK;
        ret->failed += built != BITCASK_OK;
        if (built != BITCASK_OK)
            note_failure(&r, built);
    }
    if (o->progress != NULL)
        (void)o->progress("hint", r.wanted, r.wanted, o->progress_ctx);
    return tell_failure(&r);
}

int bitcask_rebuild_hints(const char *dir, const bitcask_hint_options *given, bitcask_hint_result *ret)
{
    bitcask_hint_options o = BITCASK_HINT_OPTIONS_INIT;
    bitcask_hint_result done = BITCASK_HINT_RESULT_INIT;
    int result = given == NULL ? BITCASK_OK : bc_options_take(given, given->struct_size, &o, sizeof o, "bitcask_hint_options");
    if (result == BITCASK_OK && ((o.flags & ~BITCASK_HINT_ALL) != 0 || o.reserved != 0))
        result = bc_fail(BITCASK_UNSUPPORTED, 0, NULL, 0, "bitcask_hint_options has a flag that this version does not know");
    if (result == BITCASK_OK)
        result = bc_result_check(ret);
    if (result != BITCASK_OK)
        return result;
    /* Opening it takes the lock, recovers it, and tells which hints are valid: all that must be known. */
    bitcask_options options = BITCASK_OPTIONS_INIT;
    options.flags = BITCASK_OPEN_NO_CREATE;
    options.log = o.log;
    options.log_ctx = o.log_ctx;
    bitcask *db;
    result = bitcask_open(dir, &options, &db);
    if (result != BITCASK_OK)
        return result;
    result = build_all(db, &o, &done);
    int closed = bitcask_close(db);
    if (result == BITCASK_OK)
        result = closed;
    int copied = ret == NULL ? BITCASK_OK : bc_result_copy(ret, &done, sizeof done);
    return result == BITCASK_OK ? copied : result;
}
