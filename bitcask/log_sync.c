/* Group commit. One thread holds the sync token and syncs for all who wait; a caller waits only for a round that covers him or
 * for the one that is under way. */
#include "bitcask/error.h"
#include "bitcask/log_internal.h"

/* What a waiter is told when the round that was to cover him failed. */
static int outcome_unknown(void)
{
    return bc_fail(BITCASK_IO, bitcask_last_error()->sys_errno, NULL, 0,
                   "a sync failed: whether the write is durable is unknown; the handle refuses writes from now on");
}

#define SETTLE_MIN (64ULL << 10)
#define SETTLE_PIECE (1ULL << 20) /* readers find no more than that out of the mapping at a time */

/* What was appended from one offset to another leaves the mapping, so that its sync interrupts nobody, and readers get it back
 * at once. full: nothing will be appended, so the pages that were prepared behind it leave as well. In the active file they
 * stay: a writer who must bring them in while they are being written waits longer than the interrupts take. */
static void settle(const struct bc_log *log, const struct bc_handle *h, uint64_t from, uint64_t until, bool full)
{
    const struct bc_io *io = log->dir->io;
    if (h->map == NULL)
        return;
    until = BC_MIN(until, h->map_size) & ~4095ULL;
    from = BC_MAX(from, BC_DATA_START) & ~4095ULL;
    for (uint64_t piece; from + SETTLE_MIN <= until; from += piece) {
        piece = BC_MIN(until - from, SETTLE_PIECE);
        io->settle(io->ctx, h->map + from, (size_t)piece);
        io->preload(io->ctx, h->map + from, (size_t)piece);
    }
    if (full && until < h->map_size)
        io->settle(io->ctx, h->map + until, (size_t)(h->map_size - until));
}

/* end: what was appended to f so far. full: nothing will be. */
static int sync_file(struct bc_log *log, struct bc_file *f, uint64_t end, bool full)
{
    const struct bc_io *io = log->dir->io;
    /* A large record may map the active file anew meanwhile: the old mapping stays, and the descriptor is the same. */
    const struct bc_handle *h = bc_file_handle(f);
    settle(log, h, f->synced, end, full);
    int error = io->sync(io->ctx, h->fd);
    if (error != 0) {
        char name[BC_NAME_SIZE];
        bc_data_name(name, f->name.id);
        (void)bc_health_poison(log->health, error, name, "cannot sync");
        return bc_fail(BITCASK_IO, error, name, 0,
                       "%s: cannot sync: whether the write is durable is unknown; the handle refuses writes from now on", name);
    }
    int result = bc_log_check_fault(log, f);
    if (result != BITCASK_OK)
        return result;
    /* A guarded fault or another sync may have poisoned the handle meanwhile: then this success vouches for nothing. */
    return bc_health_poisoned(log->health) ? outcome_unknown() : BITCASK_OK;
}

/* What is told of a file that was sealed. */
struct sealed {
    uint64_t id; /* 0: none was */
    uint64_t end, min_sequence, max_sequence;
};

/* The full file first: until it is sealed nothing in the active one may be acknowledged. */
static int finish_sealing(struct bc_log *log, struct bc_file *full, uint64_t *ret_durable, struct sealed *ret_sealed)
{
    uint64_t end = atomic_load(&full->end);
    if (full->synced < end) {
        int result = sync_file(log, full, end, true);
        if (result != BITCASK_OK)
            return result;
        full->synced = end;
    }
    *ret_durable = atomic_load(&full->max_sequence);
    /* Sealed, it may leave the store at any time. */
    const struct sealed sealed = {full->name.id, end, atomic_load(&full->min_sequence), *ret_durable};
    int result = bc_log_seal(log);
    if (result == BITCASK_OK)
        *ret_sealed = sealed;
    return result;
}

/* Holding the token: one round. *ret_durable says how far it came, *ret_sealed what it sealed, also on failure. */
static int sync_round(struct bc_log *log, bool with_active, uint64_t *ret_durable, struct sealed *ret_sealed)
{
    bc_log_lock(log);
    struct bc_file *full = log->sealing, *active = log->active;
    uint64_t end = log->tail, target = bc_log_sequence(log) - 1;
    bc_log_unlock(log);

    int result = BITCASK_OK;
    if (full != NULL)
        result = finish_sealing(log, full, ret_durable, ret_sealed);
    if (result != BITCASK_OK || !with_active)
        return result;
    if (bc_health_poisoned(log->health))
        return outcome_unknown();
    result = active == NULL ? BITCASK_OK : bc_log_check_fault(log, active);
    if (result != BITCASK_OK)
        return result;
    if (active != NULL && active->synced < end) {
        result = sync_file(log, active, end, false);
        if (result != BITCASK_OK)
            return result;
        active->synced = end;
        /* The mark's slots are written by the token's holder alone and never step back. */
        struct bc_handle *h = bc_file_handle(active);
        /* Background threads block the signal that a fault below the mapping raises. */
        bc_datafile_mark_store(log->dir, h->fd, h->guard != NULL ? NULL : h->map, active->name.nonce, ++active->mark_counter,
                               end);
    }
    bc_log_lock(log);
    if (log->active == active) {
        log->unsynced_since = end;
        /* The sync has written them, so each would be met anew: they are brought in again. */
        log->prepared_until = BC_MIN(log->prepared_until, log->tail);
    }
    bc_log_unlock(log);
    const struct bc_io *io = log->dir->io;
    atomic_store(&log->last_sync_ms, io->monotonic_ms(io->ctx));
    *ret_durable = target;
    return BITCASK_OK;
}

void bc_log_token_take(struct bc_log *log)
{
    pthread_mutex_lock(&log->sync);
    while (log->syncing)
        pthread_cond_wait(&log->turn[log->round % 2], &log->sync);
    log->syncing = true;
    pthread_mutex_unlock(&log->sync);
}

void bc_log_token_give(struct bc_log *log, uint64_t durable)
{
    pthread_mutex_lock(&log->sync);
    log->syncing = false;
    log->durable = BC_MAX(log->durable, durable);
    /* Those of this round are done or must look again; of those behind them one leads. */
    pthread_cond_broadcast(&log->turn[log->round % 2]);
    log->round++;
    pthread_cond_signal(&log->turn[log->round % 2]);
    pthread_mutex_unlock(&log->sync);
}

/* Holding the token, which goes. Only then is told what was sealed: the callback may write and sync. */
static int last_round(struct bc_log *log, bool with_active)
{
    uint64_t durable = 0;
    struct sealed sealed = {0};
    int result = sync_round(log, with_active, &durable, &sealed);
    bc_log_token_give(log, durable);
    bc_health_tell(log->health);
    if (sealed.id != 0) {
        char name[BC_NAME_SIZE];
        bc_data_name(name, sealed.id);
        bc_log_line(log->health, BITCASK_LOG_INFO, "%s: sealed at %llu bytes, sequences %llu to %llu", name,
                    (unsigned long long)sealed.end, (unsigned long long)sealed.min_sequence,
                    (unsigned long long)sealed.max_sequence);
    }
    return result;
}

int bc_log_sync_now(struct bc_log *log, bool with_active)
{
    bc_log_token_take(log);
    return last_round(log, with_active);
}

int bc_log_sync(struct bc_log *log, uint64_t sequence)
{
    int result = BITCASK_OK;
    pthread_mutex_lock(&log->sync);
    while (log->durable < sequence) {
        if (bc_health_poisoned(log->health)) {
            result = outcome_unknown();
            break;
        }
        if (log->syncing) {
            /* Covered by the running round, or to be woken when it is over and the next one needs a leader. */
            unsigned turn = log->round + (sequence <= log->sync_covers ? 0U : 1U);
            pthread_cond_wait(&log->turn[turn % 2], &log->sync);
            continue;
        }
        log->syncing = true;
        log->sync_covers = bc_log_sequence(log) - 1;
        pthread_mutex_unlock(&log->sync);
        result = last_round(log, true);
        pthread_mutex_lock(&log->sync);
        if (result != BITCASK_OK)
            break;
    }
    /* The round may have failed behind what this caller needs. */
    if (log->durable >= sequence)
        result = BITCASK_OK;
    /* This caller may have been woken to lead and have found himself served: the next one must not sleep on. */
    if (!log->syncing)
        pthread_cond_signal(&log->turn[log->round % 2]);
    pthread_mutex_unlock(&log->sync);
    return result;
}
