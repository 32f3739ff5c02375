#include "bitcask/verify.h"

#include <string.h>

#include "bitcask/error.h"
#include "bitcask/repair_manifest.h"
#include "bitcask/verify_names.h"
#include "bitcask/verify_store.h"

#define ROUNDS_BESIDE_A_WRITER 16U
#define LEFTOVER_LOOKS 10U
#define LEFTOVER_WAIT_US 50000U

void bitcask_verify_options_init(bitcask_verify_options *options, size_t size)
{
    memset(options, 0, size);
    options->struct_size = size;
}

void bitcask_verify_result_init(bitcask_verify_result *result, size_t size)
{
    memset(result, 0, size);
    result->struct_size = size;
}

struct verification {
    const struct bc_environment *environment;
    struct bc_directory dir;
    const bitcask_allocator *allocator;
    const bitcask_verify_options *options;
    struct bc_manifest manifest;
    bool rebuilt; /* the MANIFEST was lost: this one is what repair would write */
    struct bc_names names;
    struct bc_verify_sink sink;
    bitcask_verify_result result;
    struct bc_pins *pins;
    struct bc_keydir *keydir;
    /* Rounds beside a writer: ids of files that are done, or to be looked at again. */
    uint64_t *checked, *again;
    size_t checked_count, again_count;
};

unsigned bc_verify_threads(const struct bc_environment *environment, uint32_t wanted)
{
    if (environment->inlined)
        return 1;
    return wanted != 0 ? wanted : BC_MIN(environment->io->processors(environment->io->ctx), 8U);
}

void bc_verify_say_manifest(struct bc_findings *l, uint32_t severity, uint32_t code, const char *what)
{
    const struct bc_finding f = {.severity = severity, .code = code, .file = BC_MANIFEST_NAME};
    bc_findings_add(l, &f, "%s", what);
}

static int deliver(struct verification *v, struct bc_findings *l)
{
    int result = bc_sink_deliver(&v->sink, l);
    bc_findings_free(l);
    return result;
}

/* ---- MANIFEST ---- */

static int has_data(enum bc_name_kind kind, uint64_t id, const char *name, void *arg)
{
    (void)id;
    (void)name;
    *(bool *)arg |= kind == BC_NAME_DATA;
    return 0;
}

static int no_store(const struct verification *v)
{
    return bc_fail(BITCASK_NOT_FOUND, 0, BC_MANIFEST_NAME, 0, "%s: there is no store", v->dir.path);
}

/* The list that repair would make is checked in place of the one that is lost. */
static int without_manifest(struct verification *v, struct bc_findings *l)
{
    bool data = false;
    int result = bc_directory_each(&v->dir, has_data, &data);
    if (result == BITCASK_OK && !data && !bc_directory_has(&v->dir, BC_MANIFEST_NAME))
        return no_store(v);
    if (result == BITCASK_OK)
        bc_verify_say_manifest(
            l, BITCASK_FINDING_ERROR, BITCASK_FINDING_MANIFEST,
            bc_directory_has(&v->dir, BC_MANIFEST_NAME)
                ? "damaged in both copies, or not a regular file: the store does not open; repair rebuilds it"
                : "missing: the store does not open; repair rebuilds it from the data files");
    struct bc_rebuilt r;
    if (result == BITCASK_OK)
        result = bc_repair_rebuild(&v->dir, v->allocator, NULL, false, l, &r);
    if (result != BITCASK_OK)
        return result;
    v->manifest = r.manifest;
    v->rebuilt = true;
    r.manifest.files = NULL;
    bc_rebuilt_free(&r);
    return BITCASK_OK;
}

static int read_manifest(struct verification *v)
{
    struct bc_findings l;
    int damaged_copies = 0;
    bc_findings_init(&l, v->allocator);
    int result = bc_manifest_read(&v->dir, v->allocator, &v->manifest, &damaged_copies);
    if (result == BITCASK_NOT_FOUND || result == BITCASK_CORRUPT)
        result = without_manifest(v, &l);
    else if (result == BITCASK_OK && damaged_copies > 0)
        bc_verify_say_manifest(&l, BITCASK_FINDING_WARNING, BITCASK_FINDING_COPY, "one of its two copies is damaged");
    if (result == BITCASK_OK)
        result = deliver(v, &l);
    bc_findings_free(&l);
    return result;
}

/* Beside a writer; one that cannot be read now will be read by the next round. */
static int read_again(struct verification *v, uint64_t *ret_generation)
{
    struct bc_manifest now;
    int damaged_copies;
    *ret_generation = v->manifest.generation;
    if (v->rebuilt)
        return BITCASK_OK;
    int result = bc_manifest_read(&v->dir, v->allocator, &now, &damaged_copies);
    if (result != BITCASK_OK)
        return result == BITCASK_NO_MEMORY ? result : BITCASK_OK;
    bc_manifest_free(v->allocator, &v->manifest);
    v->manifest = now;
    *ret_generation = now.generation;
    return BITCASK_OK;
}

/* ---- rounds ---- */

static bool holds(const uint64_t *ids, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* After the first round: what changed under it, and outputs of merges, which hold what was in files that left. */
static bool wanted(const struct bc_manifest_file *f, void *arg)
{
    const struct verification *v = arg;
    if (v->checked == NULL || holds(v->again, v->again_count, f->name.id))
        return true;
    return f->kind == BC_DATA_KIND_MERGE && !holds(v->checked, v->checked_count, f->name.id);
}

static int check_tails(struct verification *v, struct bc_store_check *c)
{
    struct bc_file_report *open[2] = {NULL, NULL};
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        struct bc_file_report *r = &c->reports[i];
        if (r->listed.state == BC_MANIFEST_OPEN && !r->gone && !r->changed && count < BC_ARRAY_SIZE(open))
            open[count++] = r;
    }
    if (count < 2 || !open[0]->there || !open[1]->there)
        return BITCASK_OK;
    bool is_void;
    uint64_t end;
    int result = BITCASK_OK;
    /* The writer may have gone on between the two walks: then the link is newer than the first one's tail. */
    if (open[1]->walk.linked && open[0]->walk.end < open[1]->walk.link.end)
        result = bc_store_check_again(c, open[0]);
    struct bc_findings news;
    bc_findings_init(&news, v->allocator);
    bc_store_check_tails(open[0], open[1], &news, &is_void, &end);
    /* A writer that sealed the first one meanwhile may sync the second. */
    if (result == BITCASK_OK && c->beside_writer && !bc_findings_empty(&news))
        result = bc_store_check_confirm(c, open[0]);
    if (result == BITCASK_OK && !open[0]->gone && !open[0]->changed)
        result = bc_sink_deliver(&v->sink, &news);
    bc_findings_free(&news);
    return result;
}

static int remember(struct verification *v, const struct bc_store_check *c)
{
    size_t room = v->checked_count + c->count + 1;
    uint64_t *checked = bc_resize(v->allocator, v->checked, room * sizeof *checked);
    if (checked != NULL)
        v->checked = checked;
    uint64_t *again = bc_resize(v->allocator, v->again, (c->count + 1) * sizeof *again);
    if (again != NULL)
        v->again = again;
    if (checked == NULL || again == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to check the store");
    v->again_count = 0;
    for (size_t i = 0; i < c->count; i++) {
        v->checked[v->checked_count++] = c->reports[i].listed.name.id;
        if (c->reports[i].changed)
            v->again[v->again_count++] = c->reports[i].listed.name.id;
    }
    return BITCASK_OK;
}

static int check_round(struct verification *v, size_t *ret_count)
{
    struct bc_store_check c;
    int result = bc_store_check_init(&c, &v->dir, v->allocator, &v->manifest, wanted, v);
    if (result != BITCASK_OK)
        return result;
    *ret_count = c.count;
    c.common.keydir = v->keydir;
    c.sink = &v->sink;
    c.threads = bc_verify_threads(v->environment, v->options->threads);
    c.beside_writer = !v->rebuilt;
    result = bc_store_check_run(&c);
    if (result == BITCASK_OK)
        result = check_tails(v, &c);
    if (result == BITCASK_OK)
        result = remember(v, &c);
    bc_store_check_free(&c);
    return result;
}

static int check_files(struct verification *v)
{
    uint64_t generation = v->manifest.generation, before;
    size_t count = 0;
    int result = check_round(v, &count);
    for (unsigned round = 0; result == BITCASK_OK && round < ROUNDS_BESIDE_A_WRITER; round++) {
        before = generation;
        result = read_again(v, &generation);
        if (result != BITCASK_OK || (generation == before && v->again_count == 0))
            return result;
        result = check_round(v, &count);
        if (result != BITCASK_OK || count == 0)
            return result;
    }
    if (result == BITCASK_OK && v->again_count != 0)
        return bc_fail(BITCASK_BUSY, 0, NULL, 0, "%s: its writer changes files faster than they can be read; try again",
                       v->dir.path);
    return result;
}

/* ---- the rest of the directory ---- */

static bool in_use(const struct bc_manifest *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->files[i].state == BC_MANIFEST_OPEN)
            return true;
    return false;
}

static bool has_notes(const struct bc_findings *l)
{
    for (const struct bc_finding *f = l->first; f != NULL; f = f->next)
        if (f->severity == BITCASK_FINDING_NOTE)
            return true;
    return false;
}

static int look_around(struct verification *v, struct bc_findings *l)
{
    struct bc_names now;
    bool older;
    bc_findings_free(l);
    int result = bc_names_collect(&now, &v->dir, v->allocator, &v->manifest);
    if (result == BITCASK_OK)
        bc_names_judge(&now, &v->manifest, in_use(&v->manifest) ? NULL : &v->names, l, &older);
    bc_names_free(&v->names);
    v->names = now;
    return result;
}

/* Again until the MANIFEST stands still, as a file that is made now is listed a moment later. While a file is open a writer may
 * be at work, and what is unfinished is not left over; one that has none open may be, too: what is left over stays as it is for
 * a while. */
static int check_names(struct verification *v)
{
    const struct bc_io *io = v->environment->io;
    struct bc_findings l;
    uint64_t generation = v->manifest.generation, before;
    unsigned round = 0, waited = 0;
    int result;
    bool again;
    bc_findings_init(&l, v->allocator);
    do {
        before = generation;
        result = look_around(v, &l);
        if (result == BITCASK_OK)
            result = read_again(v, &generation);
        again = generation != before && ++round < ROUNDS_BESIDE_A_WRITER;
        if (result == BITCASK_OK && generation == before && waited < LEFTOVER_LOOKS && has_notes(&l)) {
            io->sleep_us(io->ctx, LEFTOVER_WAIT_US);
            again = ++waited > 0;
        }
    } while (result == BITCASK_OK && again);
    if (result == BITCASK_OK && generation == before)
        result = deliver(v, &l);
    bc_findings_free(&l);
    return result;
}

/* ---- recount ---- */

static int start_recount(struct verification *v)
{
    struct bc_hash_secret secret;
    const struct bc_io *io = v->environment->io;
    int error = io->random(io->ctx, &secret, sizeof secret);
    if (error != 0)
        return bc_fail_io(error, NULL, "no random bytes");
    v->pins = bc_pins_new(v->allocator, io);
    v->keydir = v->pins == NULL ? NULL : bc_keydir_new(v->allocator, io, v->pins, 512, &secret);
    if (v->keydir == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to count the keys");
    return bc_keydir_load_begin(v->keydir);
}

static void add_live(const struct bc_entry *e, int64_t expire_at_ms, void *arg)
{
    bitcask_verify_result *r = arg;
    (void)expire_at_ms;
    r->live_bytes += e->footprint;
}

static void finish_recount(struct verification *v)
{
    bitcask_verify_result *r = &v->result;
    bc_keydir_load_end(v->keydir);
    r->keys = bc_keydir_count(v->keydir);
    bc_keydir_each_entry(v->keydir, add_live, r);
    uint64_t records = r->bytes - BC_MIN(r->bytes, r->files * BC_DATA_START);
    r->dead_bytes = records - BC_MIN(r->live_bytes, records);
}

/* ---- all ---- */

static int check_store(struct verification *v)
{
    int result = read_manifest(v);
    if (result == BITCASK_OK && (v->options->flags & BITCASK_VERIFY_RECOUNT) != 0)
        result = start_recount(v);
    if (result == BITCASK_OK)
        result = bc_names_collect(&v->names, &v->dir, v->allocator, &v->manifest);
    if (result == BITCASK_OK)
        result = check_files(v);
    if (result == BITCASK_OK && !v->rebuilt)
        result = check_names(v);
    if (result == BITCASK_OK && v->keydir != NULL)
        finish_recount(v);
    bc_keydir_free(v->keydir);
    bc_pins_free(v->pins);
    bc_names_free(&v->names);
    bc_manifest_free(v->allocator, &v->manifest);
    bc_free(v->allocator, v->checked);
    bc_free(v->allocator, v->again);
    return result;
}

static int judge(const bitcask_verify_result *r)
{
    if (r->unreadable != 0)
        return bc_fail(BITCASK_IO, 0, NULL, 0, "%llu files could not be read in full", (unsigned long long)r->unreadable);
    if (r->errors + r->warnings != 0)
        return bc_fail(BITCASK_CORRUPT, 0, NULL, 0, "the store is damaged: %llu errors, %llu warnings",
                       (unsigned long long)r->errors, (unsigned long long)r->warnings);
    return BITCASK_OK;
}

static int take_options(const bitcask_verify_options *given, bitcask_verify_options *ret)
{
    bitcask_verify_options o = BITCASK_VERIFY_OPTIONS_INIT;
    int result =
        given == NULL ? BITCASK_OK : bc_options_take(given, given->struct_size, &o, sizeof o, "bitcask_verify_options");
    if (result == BITCASK_OK && (o.flags & ~BITCASK_VERIFY_RECOUNT) != 0)
        result = bc_fail(BITCASK_UNSUPPORTED, 0, NULL, 0, "bitcask_verify_options has a flag that this version does not know");
    if (result == BITCASK_OK && o.threads > 64)
        result = bc_fail(BITCASK_INVALID, 0, NULL, 0, "bitcask_verify_options.threads must be at most 64");
    *ret = o;
    return result;
}

int bc_verify(const char *path, const bitcask_verify_options *given, const struct bc_environment *environment,
              bitcask_verify_result *ret)
{
    bitcask_verify_options options;
    if (path == NULL || path[0] == '\0')
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "no directory was named");
    int result = take_options(given, &options);
    if (result == BITCASK_OK)
        result = bc_result_check(ret);
    if (result != BITCASK_OK)
        return result;
    struct verification v = {.environment = environment,
                             .allocator = &bc_allocator_default,
                             .options = &options,
                             .result = BITCASK_VERIFY_RESULT_INIT};
    v.sink = (struct bc_verify_sink){options.finding, options.finding_ctx, options.progress, options.progress_ctx, &v.result};
    v.names.allocator = v.allocator;
    result = bc_directory_open(&v.dir, environment->io, path, false, 0);
    if (result != BITCASK_OK)
        return result;
    result = check_store(&v);
    bc_directory_close(&v.dir);
    if (ret != NULL && result != BITCASK_NOT_FOUND && result != BITCASK_UNSUPPORTED) {
        int copied = bc_result_copy(ret, &v.result, sizeof v.result);
        result = result == BITCASK_OK ? copied : result;
    }
    return result == BITCASK_OK ? judge(&v.result) : result;
}

int bitcask_verify(const char *dir, const bitcask_verify_options *options, bitcask_verify_result *ret)
{
    const struct bc_environment environment = {.io = &bc_io_posix, .inlined = false};
    return bc_verify(dir, options, &environment, ret);
}
