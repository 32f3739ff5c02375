#include "bitcask/verify_store.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/manifest.h"
#include "bitcask/verify_names.h"

int bc_sink_deliver(struct bc_verify_sink *sink, const struct bc_findings *l)
{
    bitcask_verify_result *r = sink->result;
    for (const struct bc_finding *f = l->first; f != NULL; f = f->next) {
        bitcask_finding shown;
        r->errors += f->severity == BITCASK_FINDING_ERROR;
        r->warnings += f->severity == BITCASK_FINDING_WARNING;
        r->notes += f->severity == BITCASK_FINDING_NOTE;
        bc_finding_show(f, &shown);
        if (sink->finding != NULL && sink->finding(&shown, sink->finding_ctx) != 0)
            return bc_fail(BITCASK_CANCELLED, 0, NULL, 0, "cancelled by the callback for findings");
    }
    return l->no_memory ? bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to keep what was found") : BITCASK_OK;
}

/* ---- one file ---- */

static void start_again(struct bc_file_report *r, const bitcask_allocator *a)
{
    struct bc_file_report fresh = {.listed = r->listed};
    bc_findings_free(&r->findings);
    memcpy(fresh.name, r->name, sizeof fresh.name);
    *r = fresh;
    bc_findings_init(&r->findings, a);
}

/* Beside a writer files are merged away, rotated, sealed, gone on with. What was found counts if the MANIFEST still says of
 * this file what it said. */
int bc_store_check_confirm(struct bc_store_check *c, struct bc_file_report *r)
{
    struct bc_manifest now;
    int damaged_copies;
    int result = bc_manifest_read(c->common.dir, c->common.allocator, &now, &damaged_copies);
    if (result == BITCASK_NO_MEMORY)
        return result;
    if (result != BITCASK_OK)
        return BITCASK_OK;
    const struct bc_manifest_file *f = bc_manifest_find(&now, r->listed.name.id), *was = &r->listed;
    r->gone = f == NULL || f->name.nonce != was->name.nonce;
    r->changed = !r->gone && (f->state != was->state || f->end != was->end || f->flags != was->flags ||
                              now.ceiling != c->common.manifest->ceiling);
    if (r->gone || r->changed)
        bc_findings_free(&r->findings);
    bc_manifest_free(c->common.allocator, &now);
    return BITCASK_OK;
}

static int check_file(struct bc_store_check *c, size_t index)
{
    struct bc_file_report *r = &c->reports[index];
    int result = bc_verify_file(&c->common, (uint32_t)index, r);
    char name[BC_NAME_SIZE];
    bool absent = result == BITCASK_OK && !r->there && !r->incomplete;
    if (absent && bc_names_find_renamed(c->common.dir, &c->common.manifest->store, &r->listed.name, name)) {
        memcpy(r->name, name, sizeof r->name);
        start_again(r, c->common.allocator);
        r->misnamed = true;
        bc_report_data(r, BITCASK_FINDING_ERROR, BITCASK_FINDING_FOREIGN, 0, 0,
                       "is file %" PRIu64 " by its header: it stands under the wrong name", r->listed.name.id);
        result = bc_verify_file(&c->common, (uint32_t)index, r);
    }
    if (result == BITCASK_OK && c->beside_writer && !bc_findings_empty(&r->findings))
        result = bc_store_check_confirm(c, r);
    return result;
}

int bc_store_check_again(struct bc_store_check *c, struct bc_file_report *r)
{
    start_again(r, c->common.allocator);
    return bc_verify_file(&c->common, (uint32_t)(r - c->reports), r);
}

/* ---- all files ---- */

static void note_failure(struct bc_store_check *c, int result)
{
    const bitcask_error *e = bitcask_last_error();
    atomic_store(&c->common.cancelled, true);
    if (c->failure != BITCASK_OK)
        return;
    c->failure = result;
    c->failure_errno = e->sys_errno;
    snprintf(c->failure_file, sizeof c->failure_file, "%s", e->file);
    snprintf(c->failure_message, sizeof c->failure_message, "%s", e->message);
}

static void *work(void *arg)
{
    struct bc_store_check *c = arg;
    for (;;) {
        size_t index = atomic_fetch_add(&c->next, 1);
        if (index >= c->count)
            return NULL;
        int result = atomic_load(&c->common.cancelled) ? BITCASK_CANCELLED : check_file(c, index);
        pthread_mutex_lock(&c->mutex);
        if (result != BITCASK_OK)
            note_failure(c, result);
        c->done[index] = 1;
        pthread_cond_signal(&c->moved);
        pthread_mutex_unlock(&c->mutex);
    }
}

static int wake_caller(void *arg)
{
    struct bc_store_check *c = arg;
    pthread_cond_signal(&c->moved);
    return BITCASK_OK;
}

static int show_progress(void *arg)
{
    struct bc_store_check *c = arg;
    struct bc_verify_sink *sink = c->sink;
    uint64_t done = BC_MIN(atomic_load(&c->common.bytes), c->total_bytes);
    if (sink->progress != NULL && sink->progress("verify", done, c->total_bytes, sink->progress_ctx) != 0)
        return bc_fail(BITCASK_CANCELLED, 0, NULL, 0, "the check was cancelled");
    return BITCASK_OK;
}

static void add_up(struct bc_verify_sink *sink, const struct bc_file_report *r)
{
    bitcask_verify_result *sum = sink->result;
    if (r->gone || r->changed)
        return;
    sum->files++;
    sum->hints += r->hinted;
    sum->bytes += r->bytes;
    sum->records += r->records;
    sum->unreadable += r->incomplete;
}

/* Counts and delivers the reports from *next on that are done. */
static int deliver_done(struct bc_store_check *c, size_t *next)
{
    int result = BITCASK_OK;
    while (*next < c->count && result == BITCASK_OK) {
        pthread_mutex_lock(&c->mutex);
        bool done = c->done[*next] != 0;
        pthread_mutex_unlock(&c->mutex);
        if (!done)
            break;
        add_up(c->sink, &c->reports[*next]);
        result = bc_sink_deliver(c->sink, &c->reports[(*next)++].findings);
    }
    return result;
}

static int run_alone(struct bc_store_check *c)
{
    int result = show_progress(c);
    c->common.progress = show_progress;
    c->common.progress_arg = c;
    for (size_t i = 0; i < c->count && result == BITCASK_OK; i++) {
        result = check_file(c, i);
        if (result != BITCASK_OK)
            break;
        add_up(c->sink, &c->reports[i]);
        result = bc_sink_deliver(c->sink, &c->reports[i].findings);
    }
    return result;
}

/* The caller's thread only waits, shows progress and delivers: callbacks come from it alone. */
static int attend(struct bc_store_check *c)
{
    size_t next = 0;
    int result = BITCASK_OK;
    while (next < c->count) {
        if (result == BITCASK_OK)
            result = show_progress(c);
        if (result == BITCASK_OK)
            result = deliver_done(c, &next);
        pthread_mutex_lock(&c->mutex);
        if (result != BITCASK_OK)
            note_failure(c, result);
        if (c->failure != BITCASK_OK) {
            pthread_mutex_unlock(&c->mutex);
            return c->failure;
        }
        if (next < c->count && c->done[next] == 0)
            pthread_cond_wait(&c->moved, &c->mutex);
        pthread_mutex_unlock(&c->mutex);
    }
    return result;
}

static int run_together(struct bc_store_check *c, unsigned threads)
{
    pthread_t workers[64];
    unsigned started = 0;
    sigset_t all, before;
    c->common.progress = wake_caller;
    c->common.progress_arg = c;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < threads && started < BC_ARRAY_SIZE(workers) && pthread_create(&workers[started], NULL, work, c) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started == 0)
        return run_alone(c);
    int result = attend(c);
    for (unsigned i = 0; i < started; i++)
        pthread_join(workers[i], NULL);
    if (c->failure != BITCASK_OK)
        return bc_fail(c->failure, c->failure_errno, c->failure_file, 0, "%s", c->failure_message);
    return result;
}

int bc_store_check_run(struct bc_store_check *c)
{
    unsigned threads = (unsigned)BC_MIN((size_t)c->threads, c->count);
    return threads > 1 ? run_together(c, threads) : run_alone(c);
}

int bc_store_check_init(struct bc_store_check *c, const struct bc_directory *dir, const bitcask_allocator *a,
                        const struct bc_manifest *m, bool (*wanted)(const struct bc_manifest_file *, void *arg), void *arg)
{
    *c = (struct bc_store_check){.threads = 1};
    c->common.dir = dir;
    c->common.allocator = a;
    c->common.manifest = m;
    if (pthread_mutex_init(&c->mutex, NULL) != 0)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "cannot make a mutex");
    if (pthread_cond_init(&c->moved, NULL) != 0) {
        pthread_mutex_destroy(&c->mutex);
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "cannot make a condition variable");
    }
    c->reports = bc_alloc_zero(a, m->count + 1, sizeof *c->reports);
    c->done = bc_alloc_zero(a, m->count + 1, 1);
    if (c->reports == NULL || c->done == NULL) {
        bc_store_check_free(c);
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to check the store");
    }
    for (size_t i = 0; i < m->count; i++) {
        if (wanted != NULL && !wanted(&m->files[i], arg))
            continue;
        struct bc_file_report *r = &c->reports[c->count++];
        r->listed = m->files[i];
        bc_data_name(r->name, r->listed.name.id);
        bc_findings_init(&r->findings, a);
        c->total_bytes += r->listed.end;
    }
    return BITCASK_OK;
}

void bc_store_check_free(struct bc_store_check *c)
{
    for (size_t i = 0; i < c->count && c->reports != NULL; i++)
        bc_findings_free(&c->reports[i].findings);
    bc_free(c->common.allocator, c->reports);
    bc_free(c->common.allocator, c->done);
    pthread_cond_destroy(&c->moved);
    pthread_mutex_destroy(&c->mutex);
}

/* ---- two open files ---- */

void bc_store_check_tails(struct bc_file_report *first, struct bc_file_report *second, struct bc_findings *news, bool *ret_void,
                          uint64_t *ret_end)
{
    const struct bc_link *link = &second->walk.link;
    struct bc_finding f = {.severity = BITCASK_FINDING_ERROR};
    *ret_void = false;
    *ret_end = first->walk.end;
    if (!second->walk.linked || !first->there)
        return;
    if (link->id != first->listed.name.id || link->nonce != first->listed.name.nonce) {
        second->damaged = true;
        f.code = BITCASK_FINDING_LINK;
        f.offset = BC_DATA_START;
        memcpy(f.file, second->name, sizeof f.file);
        bc_findings_add(news, &f, "does not follow %s", first->name);
        return;
    }
    if (first->walk.end >= link->end) {
        *ret_end = link->end;
        return;
    }
    if (second->mark <= BC_DATA_START) {
        *ret_void = true;
        return;
    }
    first->damaged = true;
    f.code = BITCASK_FINDING_RECORD;
    f.offset = first->walk.bad;
    f.size = link->end - first->walk.bad;
    memcpy(f.file, first->name, sizeof f.file);
    bc_findings_add(news, &f, "no record can be read here, and %s was synced after the file had reached byte %" PRIu64,
                    second->name, link->end);
    *ret_end = link->end;
}
