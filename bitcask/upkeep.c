#include "bitcask/upkeep.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "bitcask/error.h"
#include "bitcask/hintfile.h"

int bc_upkeep_init(struct bc_upkeep *u, struct bc_log *log, struct bc_keydir *keydir, struct bc_filetable *files,
                   struct bc_merger *merger, bool inlined)
{
    memset(u, 0, sizeof *u);
    u->log = log;
    u->keydir = keydir;
    u->files = files;
    u->merger = merger;
    u->inlined = inlined;
    pthread_condattr_t attr;
    bool good = pthread_mutex_init(&u->mutex, NULL) == 0 && pthread_condattr_init(&attr) == 0;
    if (good) {
        good = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0;
        for (size_t i = 0; i < BC_WORKERS && good; i++)
            good = pthread_cond_init(&u->wake[i], &attr) == 0;
        pthread_condattr_destroy(&attr);
    }
    return good ? BITCASK_OK : bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "cannot make a lock");
}

static int first_without_hint(struct bc_file *f, void *arg)
{
    struct bc_file **ret = arg;
    if (atomic_load(&f->state) != BC_FILE_SEALED || !atomic_load(&f->needs_hint))
        return 0;
    *ret = f;
    return 1;
}

static int same_id(struct bc_file *f, void *arg)
{
    return f->name.id == *(const uint64_t *)arg;
}

/* A file that left the store while its hint was being built took no hint along. */
static void drop_orphan(struct bc_upkeep *u, uint64_t id)
{
    char name[BC_NAME_SIZE];
    bc_hint_name(name, id);
    if (bc_filetable_each(u->files, same_id, &id) == 0)
        (void)bc_directory_unlink(u->log->dir, name);
}

bool bc_upkeep_hint(struct bc_upkeep *u, int *ret_result)
{
    struct bc_file *f = NULL;
    struct bc_log *log = u->log;
    if (bc_health_poisoned(log->health))
        return false;
    /* The pin keeps the struct; the file itself may leave the store at any time. */
    unsigned pin = bc_pins_enter_background(u->files->pins);
    (void)bc_filetable_each(u->files, first_without_hint, &f);
    struct bc_file_name name = {0, 0};
    uint64_t end = 0;
    if (f != NULL) {
        name = f->name;
        end = atomic_load(&f->end);
        atomic_store(&f->needs_hint, false);
    }
    bc_pins_leave(u->files->pins, pin);
    if (f == NULL)
        return false;
    pthread_mutex_lock(&u->files->hints);
    int result = bc_hint_build(log->dir, log->allocator, &u->files->store, &name, end, NULL);
    pthread_mutex_unlock(&u->files->hints);
    if (ret_result != NULL)
        *ret_result = result;
    if (result != BITCASK_OK)
        bc_log_failure(log->health, BITCASK_LOG_WARN, "no hint file");
    drop_orphan(u, name.id);
    return true;
}

/* One pass of a worker. Returns whether another one is due at once. */
static bool pass(struct bc_upkeep *u, enum bc_worker worker)
{
    switch (worker) {
    case BC_WORKER_AHEAD: {
        bool ahead = bc_log_run_ahead(u->log);
        bool grown = bc_keydir_upkeep(u->keydir);
        return ahead || grown;
    }
    case BC_WORKER_LOG: {
        bool busy = bc_log_upkeep(u->log);
        if (bc_filetable_reclaimable(u->files))
            bc_filetable_reclaim(u->files);
        return busy;
    }
    case BC_WORKER_SLOW:
        return bc_upkeep_hint(u, NULL);
    case BC_WORKER_MERGE:
    case BC_WORKERS:
    default:
        /* Inlined, merges are on demand only: when they run must not depend on a clock. */
        return !u->inlined && bc_merge_background(u->merger);
    }
}

static void want(struct bc_upkeep *u, enum bc_worker worker)
{
    pthread_mutex_lock(&u->mutex);
    if (!u->wanted[worker]) {
        u->wanted[worker] = true;
        pthread_cond_signal(&u->wake[worker]);
    }
    pthread_mutex_unlock(&u->mutex);
}

/* Under mutex. Until wanted, stopping, or the time that the log asks for. */
static void wait_for_work(struct bc_upkeep *u, enum bc_worker worker)
{
    int64_t due = worker == BC_WORKER_LOG ? bc_log_upkeep_due(u->log) : -1;
    if (worker == BC_WORKER_MERGE)
        due = bc_merge_background_due(u->merger);
    struct timespec until;
    const struct bc_io *io = u->log->dir->io;
    if (due >= 0) {
        int64_t at = io->monotonic_ms(io->ctx) + due;
        until = (struct timespec){.tv_sec = (time_t)(at / 1000), .tv_nsec = (long)(at % 1000) * 1000000L};
    }
    while (!u->wanted[worker] && !u->stopping) {
        if (due < 0)
            pthread_cond_wait(&u->wake[worker], &u->mutex);
        else if (pthread_cond_timedwait(&u->wake[worker], &u->mutex, &until) == ETIMEDOUT)
            return;
    }
}

static void *run(void *arg)
{
    const struct bc_worker_arg *a = arg;
    struct bc_upkeep *u = a->upkeep;
    const struct bc_io *io = u->log->dir->io;
    /* A merge takes locks that writers wait for, for moments: it must not be kept from giving them back for long. */
    if (a->worker == BC_WORKER_SLOW)
        io->lower_priority(io->ctx, 19);
    if (a->worker == BC_WORKER_MERGE)
        io->lower_priority(io->ctx, 5);
    pthread_mutex_lock(&u->mutex);
    while (!u->stopping) {
        u->wanted[a->worker] = false;
        pthread_mutex_unlock(&u->mutex);
        bool again = pass(u, a->worker);
        /* Each stage may have made work for those behind it; a long hint does not keep a merge waiting. */
        if (a->worker == BC_WORKER_AHEAD)
            want(u, BC_WORKER_LOG);
        if (a->worker == BC_WORKER_LOG) {
            want(u, BC_WORKER_SLOW);
            want(u, BC_WORKER_MERGE);
        }
        pthread_mutex_lock(&u->mutex);
        if (!again)
            wait_for_work(u, a->worker);
    }
    pthread_mutex_unlock(&u->mutex);
    return NULL;
}

int bc_upkeep_start(struct bc_upkeep *u)
{
    if (u->inlined)
        return BITCASK_OK;
    u->stopping = false; /* a start that failed has stopped what it had started */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (u->started < BC_WORKERS && error == 0) {
        unsigned i = u->started;
        u->args[i] = (struct bc_worker_arg){u, (enum bc_worker)i};
        error = pthread_create(&u->threads[i], NULL, run, &u->args[i]);
        if (error == 0)
            u->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        return BITCASK_OK;
    bc_upkeep_stop(u);
    return bc_fail(BITCASK_NO_MEMORY, error, NULL, 0, "cannot start a background thread");
}

void bc_upkeep_wake(void *arg)
{
    struct bc_upkeep *u = arg;
    if (u->inlined)
        atomic_store_explicit(&u->pending, true, memory_order_relaxed);
    else
        want(u, BC_WORKER_AHEAD);
}

void bc_upkeep_inline(struct bc_upkeep *u)
{
    if (bc_likely(!atomic_load_explicit(&u->pending, memory_order_relaxed)))
        return;
    atomic_store_explicit(&u->pending, false, memory_order_relaxed);
    for (enum bc_worker w = BC_WORKER_AHEAD; w < BC_WORKERS; w++)
        while (pass(u, w)) {
        }
}

void bc_upkeep_stop(struct bc_upkeep *u)
{
    pthread_mutex_lock(&u->mutex);
    u->stopping = true;
    for (size_t i = 0; i < BC_WORKERS; i++)
        pthread_cond_broadcast(&u->wake[i]);
    pthread_mutex_unlock(&u->mutex);
    for (unsigned i = 0; i < u->started; i++)
        pthread_join(u->threads[i], NULL);
    u->started = 0;
}

void bc_upkeep_free(struct bc_upkeep *u)
{
    pthread_mutex_destroy(&u->mutex);
    for (size_t i = 0; i < BC_WORKERS; i++)
        pthread_cond_destroy(&u->wake[i]);
}
