/* One merge step, from its inputs to its commit, and what follows it. The order is the promise: see merge.h. */
#include "bitcask/merge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/hintfile.h"
#include "bitcask/merge_internal.h"
#include "bitcask/scan.h"

/* Left to everybody else on a file system that a step fills. */
#define FREE_SPACE_MIN (16ULL << 20)
/* Descriptors for the output, hint files and the MANIFEST, where there are too few for all inputs. */
#define DESCRIPTORS_SPARE 8U

int bc_merger_init(struct bc_merger *m, const struct bc_directory *dir, const bitcask_allocator *a, struct bc_filetable *files,
                   struct bc_keydir *keydir, struct bc_log *log, struct bc_manifest_keeper *manifest, struct bc_health *health,
                   struct bc_clock *clock)
{
    memset(m, 0, sizeof *m);
    m->dir = dir;
    m->allocator = a;
    m->files = files;
    m->keydir = keydir;
    m->log = log;
    m->manifest = manifest;
    m->health = health;
    m->clock = clock;
    bc_merge_pace_init(&m->pace, dir->io);
    bc_recency_init(&m->recency, dir->io);
    return pthread_mutex_init(&m->mutex, NULL) == 0 ? BITCASK_OK
                                                    : bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "cannot make a mutex");
}

void bc_merger_free(struct bc_merger *m)
{
    bc_recency_free(&m->recency);
    pthread_mutex_destroy(&m->mutex);
}

static _Thread_local const char own_mark; /* its address is the thread's */

int bc_merger_lock(struct bc_merger *m, bool interrupt)
{
    if (atomic_load(&m->holder) == &own_mark)
        return bc_fail(BITCASK_BUSY, 0, NULL, 0, "a merge is running on this thread: not from within its callback");
    if (interrupt)
        atomic_fetch_add(&m->pace.interrupts, 1);
    pthread_mutex_lock(&m->mutex);
    if (interrupt)
        atomic_fetch_sub(&m->pace.interrupts, 1);
    atomic_store(&m->holder, &own_mark);
    return BITCASK_OK;
}

void bc_merger_unlock(struct bc_merger *m)
{
    atomic_store(&m->holder, NULL);
    pthread_mutex_unlock(&m->mutex);
}

/* ---- inputs ---- */

static bool too_few_descriptors(int result)
{
    int error = bitcask_last_error()->sys_errno;
    return result == BITCASK_IO && (error == EMFILE || error == ENFILE);
}

static int open_input(struct bc_merge_step *s, struct bc_file *f, int *ret_fd)
{
    struct bc_merger *m = s->m;
    struct bc_io_stat st;
    int result = bc_datafile_open(m->dir, &m->files->store, &f->name, 0, ret_fd, &st);
    if (too_few_descriptors(result) && bc_filetable_shrink(m->files))
        result = bc_datafile_open(m->dir, &m->files->store, &f->name, 0, ret_fd, &st);
    if (result == BITCASK_CORRUPT)
        atomic_store(&f->barred, true);
    return result;
}

/* After a commit their files may be gone: only the descriptors are the step's own. */
static void close_inputs(struct bc_merge_step *s, size_t down_to)
{
    const struct bc_io *io = s->m->dir->io;
    while (s->input_count > down_to)
        io->close(io->ctx, s->inputs[--s->input_count].fd);
}

/* Where there are too few descriptors for all of them it takes fewer: any choice of inputs is as good as another. */
static int open_inputs(struct bc_merge_step *s)
{
    const struct bc_merge_wish *w = s->wish;
    for (size_t i = 0; i < w->count; i++) {
        int fd;
        if (!bc_log_keep_sealed(s->m->log, w->files[i]))
            continue;
        int result = open_input(s, w->files[i], &fd);
        if (too_few_descriptors(result) && s->input_count > DESCRIPTORS_SPARE) {
            close_inputs(s, s->input_count - DESCRIPTORS_SPARE);
            return BITCASK_OK;
        }
        if (result != BITCASK_OK)
            return result;
        s->inputs[s->input_count++] = (struct bc_merge_input){.file = w->files[i], .fd = fd};
    }
    return BITCASK_OK;
}

/* Live bytes fall while the step runs, so this is enough; the output's header and what tombstones take is small change. */
static int check_space(const struct bc_merge_step *s)
{
    uint64_t need = 0, free_bytes = 0;
    for (size_t i = 0; i < s->input_count && !s->wish->evict; i++)
        need += atomic_load(&s->inputs[i].file->live_bytes);
    const struct bc_io *io = s->m->dir->io;
    if (need == 0 || io->dir_free_space(io->ctx, s->m->dir->fd, &free_bytes) != 0 || free_bytes >= need + FREE_SPACE_MIN)
        return BITCASK_OK;
    return bc_fail(BITCASK_NO_SPACE, 0, NULL, 0, "a merge needs %llu bytes for its output, and %llu are free",
                   (unsigned long long)need, (unsigned long long)free_bytes);
}

static int read_inputs(struct bc_merge_step *s)
{
    int result = BITCASK_OK;
    for (size_t i = 0; i < s->input_count && result == BITCASK_OK; i++) {
        result = bc_merge_read(s, i);
        /* Damage bars the file, not its neighbours. */
        if (result == BITCASK_CORRUPT)
            atomic_store(&s->inputs[i].file->barred, true);
    }
    return result;
}

/* ---- output ---- */

/* Every byte of the output is read from the disk and checked: a merge must not launder rot. */
static int read_back(struct bc_merge_step *s)
{
    struct bc_merger *m = s->m;
    struct bc_scan scan;
    uint64_t records = 0;
    (void)m->dir->io->drop_cache(m->dir->io->ctx, s->out.fd, 0, s->out.end);
    int result = bc_scan_init(&scan, m->dir->io, m->allocator, s->out.fd, &s->out.name, BC_DATA_START, s->out.end);
    if (result != BITCASK_OK)
        return result;
    enum bc_scan_result scanned = BC_SCAN_END;
    while (result == BITCASK_OK && (scanned = bc_scan_next(&scan)) == BC_SCAN_RECORD && scan.value_ok) {
        records++;
        result = bc_merge_spend(s, scan.footprint);
    }
    char name[BC_NAME_SIZE];
    bc_data_name(name, s->out.name.id);
    if (result == BITCASK_OK && scanned == BC_SCAN_FAILED)
        result = bitcask_last_error()->result;
    else if (result == BITCASK_OK && (scanned != BC_SCAN_END || records != s->out.records))
        result = bc_fail(BITCASK_IO, 0, name, scan.next, "%s: a merge's output is not on disk as it was written, at byte %llu",
                         name, (unsigned long long)scan.next);
    bc_scan_free(&scan);
    return result;
}

/* The hint may be named now: the output is durable and its end is fixed. Where a key may stand in it twice a scan sorts it out.
 */
static int finish_hint(struct bc_merge_step *s)
{
    struct bc_merger *m = s->m;
    if (!s->hint_spoiled)
        return bc_hint_writer_finish(&s->hint, s->out.end, s->out.min_sequence, s->out.max_sequence);
    bc_hint_writer_end(&s->hint);
    int result = bc_hint_build(m->dir, m->allocator, &m->files->store, &s->out.name, s->out.end, NULL);
    /* No file of the store is damaged. */
    return result == BITCASK_CORRUPT ? bc_fail(BITCASK_IO, 0, NULL, 0, "a merge's output cannot be read back") : result;
}

/* The output is on disk, was read back from there, and is in the file table, where nobody sees it yet. */
static int finish_output(struct bc_merge_step *s)
{
    if (!s->making)
        return BITCASK_OK;
    struct bc_merger *m = s->m;
    int result = bc_merge_output_finish(&s->out);
    if (result == BITCASK_OK)
        result = read_back(s);
    if (result == BITCASK_OK)
        result = finish_hint(s);
    if (result != BITCASK_OK)
        return result;
    struct bc_manifest_file listed = {.name = s->out.name,
                                      .state = BC_MANIFEST_SEALED,
                                      .kind = BC_DATA_KIND_MERGE,
                                      .end = s->out.end,
                                      .min_sequence = s->out.min_sequence,
                                      .max_sequence = s->out.max_sequence};
    result = bc_filetable_add(m->files, &listed, BC_FILE_OUTPUT, NULL, &s->out_file);
    if (result != BITCASK_OK)
        return result;
    int64_t latest = 0;
    for (size_t i = 0; i < s->input_count; i++)
        latest = BC_MAX(latest, atomic_load(&s->inputs[i].file->latest_expiry_ms));
    atomic_store(&s->out_file->live_bytes, s->live_bytes);
    atomic_store(&s->out_file->live_keys, s->live_keys);
    atomic_store(&s->out_file->expiring_keys, s->expiring_keys);
    atomic_store(&s->out_file->latest_expiry_ms, latest);
    atomic_store(&s->out_file->tombstone_bytes, s->out.tombstone_bytes);
    s->out_file->asked_at = s->out.tombstones > 0 ? atomic_load(&m->steps) + 1 : 0;
    s->out_file->mean_sequence = (uint64_t)(s->out.sum_of_sequences / (double)BC_MAX(s->out.records, 1));
    return BITCASK_OK;
}

/* What was made for a step that did not commit. After a commit whose outcome is unknown it stays: the disk may list it. */
static void drop_output(struct bc_merge_step *s)
{
    if (!s->making || bc_health_poisoned(s->m->health))
        return;
    if (s->out_file != NULL) {
        bc_filetable_remove(s->m->files, s->out_file);
        return;
    }
    char name[BC_NAME_SIZE];
    bc_data_name(name, s->out.name.id);
    (void)bc_directory_unlink(s->m->dir, name);
    bc_hint_name(name, s->out.name.id);
    (void)bc_directory_unlink(s->m->dir, name);
}

/* ---- commit ---- */

/* Whatever a record was judged dead by is in the log up to now, and durable before the record goes. */
static int sync_log(struct bc_merge_step *s)
{
    struct bc_log *log = s->m->log;
    bc_log_lock(log);
    uint64_t last = bc_log_sequence(log) - 1;
    bc_log_unlock(log);
    return bc_log_sync(log, last);
}

static int commit(struct bc_merge_step *s)
{
    struct bc_manifest edit;
    int result = bc_manifest_begin(s->m->manifest, 1, &edit);
    if (result != BITCASK_OK)
        return result;
    for (size_t i = 0; i < s->input_count; i++)
        bc_manifest_remove(&edit, s->inputs[i].file->name.id);
    if (s->making) {
        struct bc_manifest_file listed = {.name = s->out.name,
                                          .state = BC_MANIFEST_SEALED,
                                          .kind = BC_DATA_KIND_MERGE,
                                          .end = s->out.end,
                                          .min_sequence = s->out.min_sequence,
                                          .max_sequence = s->out.max_sequence};
        bc_manifest_add(&edit, &listed);
    }
    return bc_manifest_commit(s->m->manifest, &edit);
}

static void remove_inputs(struct bc_merge_step *s)
{
    for (size_t i = 0; i < s->input_count; i++) {
        struct bc_file *f = s->inputs[i].file;
        uint64_t live = atomic_load(&f->live_keys);
        if (live == 0) {
            bc_filetable_remove(s->m->files, f);
        } else {
            char name[BC_NAME_SIZE];
            bc_data_name(name, f->name.id);
            bc_log_line(s->m->health, BITCASK_LOG_ERROR, "%s: %llu live records were left in it by a merge: it is kept open",
                        name, (unsigned long long)live);
        }
    }
}

/* ---- the step ---- */

static int prepare(struct bc_merge_step *s)
{
    int result = open_inputs(s);
    for (size_t i = 0; i < s->input_count; i++)
        s->total += atomic_load(&s->inputs[i].file->end);
    if (result == BITCASK_OK)
        result = check_space(s);
    if (result == BITCASK_OK)
        result = read_inputs(s);
    if (result == BITCASK_OK)
        result = bc_merge_settle(s);
    if (result == BITCASK_OK)
        result = finish_output(s);
    if (result == BITCASK_OK)
        result = bc_merge_spend_rest(s);
    if (result == BITCASK_OK)
        result = bc_merge_account(s);
    /* Copies that snapshots need: what relocation could fail for is got before the commit. */
    if (result == BITCASK_OK)
        result = bc_keydir_preserve_all(s->m->keydir);
    if (result == BITCASK_OK)
        result = sync_log(s);
    if (result == BITCASK_OK && bc_merge_pace_interrupted(&s->m->pace))
        result = bc_fail(BITCASK_CANCELLED, 0, NULL, 0, "the merge was cancelled");
    return result == BITCASK_OK ? commit(s) : result;
}

static void count(struct bc_merge_step *s, struct bc_merge_done *done)
{
    struct bc_merger *m = s->m;
    struct bc_merge_done *d = &s->done;
    for (size_t i = 0; i < s->input_count; i++)
        d->bytes_in += atomic_load(&s->inputs[i].file->end);
    d->files_in = s->input_count;
    d->files_out = s->making;
    d->bytes_out = s->making ? s->out.end : 0;
    done->files_in += d->files_in;
    done->files_out += d->files_out;
    done->bytes_in += d->bytes_in;
    done->bytes_read += d->bytes_read;
    done->bytes_out += d->bytes_out;
    done->records += d->records;
    done->tombstones_dropped += d->tombstones_dropped;
    done->tombstones_kept += d->tombstones_kept;
    done->expired += d->expired;
    done->evicted += d->evicted;
    atomic_fetch_add(&m->bytes_in, d->bytes_in);
    atomic_fetch_add(&m->bytes_read, d->bytes_read);
    atomic_fetch_add(&m->bytes_out, d->bytes_out);
    atomic_fetch_add(&m->tombstones_dropped, d->tombstones_dropped);
    atomic_fetch_add(&m->expired, d->expired);
    atomic_fetch_add(&m->evicted, d->evicted);
    atomic_fetch_add(&m->steps, 1);
}

/* Where all readers of the inputs' records go at once. It was read back a moment ago, so it is in the system's cache. */
static void make_ready(struct bc_merge_step *s)
{
    const struct bc_io *io = s->m->dir->io;
    struct bc_handle *h;
    unsigned pin = bc_pins_enter_background(s->m->files->pins);
    if (bc_filetable_open(s->m->files, s->out_file, &h) == BITCASK_OK && h->map != NULL)
        io->preload(io->ctx, h->map, h->map_size);
    bc_pins_leave(s->m->files->pins, pin);
}

static const struct {
    uint32_t bit;
    const char *text;
} reason_texts[] = {
    {BITCASK_MERGE_BECAUSE_FRAGMENTED, "fragmented"}, {BITCASK_MERGE_BECAUSE_DEAD_BYTES, "dead bytes"},
    {BITCASK_MERGE_BECAUSE_SMALL, "small"},           {BITCASK_MERGE_BECAUSE_EXPIRED, "all expired"},
    {BITCASK_MERGE_BECAUSE_SPACE, "total space"},     {BITCASK_MERGE_BECAUSE_ASKED, "asked for"},
    {BITCASK_MERGE_BECAUSE_LIMIT, "limit"},
};

static void say(const struct bc_merge_step *s)
{
    const struct bc_merge_done *d = &s->done;
    const struct bc_io *io = s->m->dir->io;
    char reasons[128] = "";
    for (size_t i = 0; i < BC_ARRAY_SIZE(reason_texts); i++) {
        size_t used = strlen(reasons);
        if ((s->wish->reasons & reason_texts[i].bit) != 0)
            snprintf(reasons + used, sizeof reasons - used, "%s%s", used > 0 ? ", " : "", reason_texts[i].text);
    }
    bc_log_line(
        s->m->health, BITCASK_LOG_INFO,
        "merged %llu files of %llu bytes into %llu of %llu bytes in %lld ms (%s); %llu bytes read, %llu records copied, "
        "%llu tombstones dropped",
        (unsigned long long)d->files_in, (unsigned long long)d->bytes_in, (unsigned long long)d->files_out,
        (unsigned long long)d->bytes_out, (long long)(io->monotonic_ms(io->ctx) - s->started_ms), reasons,
        (unsigned long long)d->bytes_read, (unsigned long long)d->records, (unsigned long long)d->tombstones_dropped);
}

static void finish(struct bc_merge_step *s, struct bc_merge_done *done)
{
    if (s->out_file != NULL) {
        atomic_store(&s->out_file->state, BC_FILE_SEALED);
        make_ready(s);
    }
    bc_merge_move_all(s);
    count(s, done);
    remove_inputs(s);
    say(s);
}

static int run(struct bc_merge_step *s, struct bc_merge_done *done)
{
    struct bc_merger *m = s->m;
    int result = prepare(s);
    if (s->making)
        bc_hint_writer_end(&s->hint);
    if (result == BITCASK_OK)
        finish(s, done);
    else
        drop_output(s);
    if (result != BITCASK_OK && result != BITCASK_CANCELLED) {
        atomic_fetch_add(&m->failures, 1);
        bc_health_tell(m->health);
        bc_log_failure(m->health, result == BITCASK_CORRUPT ? BITCASK_LOG_ERROR : BITCASK_LOG_WARN, "merge");
    }
    close_inputs(s, 0);
    if (s->making)
        bc_merge_output_close(&s->out);
    bc_memory_free(&s->memory, s->moves, bc_merge_list_bytes(s->move_capacity, sizeof *s->moves));
    bc_memory_free(&s->memory, s->doubts, bc_merge_list_bytes(s->doubt_capacity, sizeof *s->doubts));
    return result;
}

int bc_merge_step(struct bc_merger *m, const struct bc_merge_wish *wish, struct bc_merge_done *done)
{
    const struct bc_io *io = m->dir->io;
    struct bc_merge_step *s = bc_alloc_zero(m->allocator, 1, sizeof *s);
    if (s == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to merge");
    int64_t started = io->monotonic_ms(io->ctx);
    s->started_ms = started;
    s->m = m;
    s->wish = wish;
    s->now_ms = bc_clock_now(m->clock);
    s->out.fd = -1;
    s->hint.fd = -1;
    s->hint.dir = m->dir;
    s->hint.allocator = m->allocator;
    bc_memory_init(&s->memory, m->allocator, io, 1);
    for (size_t i = 0; i < wish->count; i++)
        atomic_fetch_add(&m->running_total, atomic_load(&wish->files[i]->end));
    int result = run(s, done);
    bc_free(m->allocator, s);
    atomic_store(&m->running_total, 0);
    atomic_store(&m->running_done, 0);
    atomic_store(&m->last_ms, (uint64_t)(io->monotonic_ms(io->ctx) - started));
    atomic_store(&m->last_result, result);
    atomic_store(&m->last_reasons, wish->reasons);
    /* Readers have left, or will be waited for: no pin is held here. */
    bc_filetable_reclaim(m->files);
    return result;
}
