/* bitcask_repair. What it does follows from what a check finds. The order that a crash forces: the new files are written and
 * synced; damaged ones get their second names in lost+found, synced; the MANIFEST that lists the new files and not the damaged
 * ones is the commit; then the first names of the damaged ones go. Before the commit the store is what it was, with unlisted
 * files that mean nothing; after it, it is whole, and nobody who removes leftovers can destroy anything. */
#include <inttypes.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/repair_internal.h"
#include "bitcask/repair_manifest.h"
#include "bitcask/repair_salvage.h"

void bitcask_repair_options_init(bitcask_repair_options *options, size_t size)
{
    memset(options, 0, size);
    options->struct_size = size;
}

int bc_repair_deliver(struct bc_repair *p, struct bc_findings *l)
{
    int result = bc_sink_deliver(&p->sink, l);
    bc_findings_free(l);
    return result;
}

/* ---- the MANIFEST ---- */

static int has_data(enum bc_name_kind kind, uint64_t id, const char *name, void *arg)
{
    (void)id;
    (void)name;
    *(bool *)arg |= kind == BC_NAME_DATA;
    return 0;
}

/* From the headers; what is listed now (old, or NULL) helps where it can. */
static int rebuild(struct bc_repair *p, const struct bc_manifest *old, struct bc_findings *l)
{
    struct bc_rebuilt r;
    int result = bc_repair_rebuild(&p->dir, p->allocator, old, !p->dry_run, l, &r);
    if (result != BITCASK_OK)
        return result;
    p->rebuilt = p->needed = true;
    if (bc_directory_has(&p->dir, BC_MANIFEST_NAME))
        result = bc_aside_add(&p->aside, BC_MANIFEST_NAME, true, "it was damaged, or not the newest");
    for (size_t i = 0; i < r.unlisted_count && result == BITCASK_OK; i++)
        result = bc_aside_add(&p->aside, r.unlisted[i].name, false, r.unlisted[i].why);
    bc_manifest_free(p->allocator, &p->manifest);
    p->manifest = r.manifest;
    r.manifest.files = NULL;
    bc_rebuilt_free(&r);
    return result;
}

static int rebuild_lost(struct bc_repair *p, struct bc_findings *l)
{
    bool there = bc_directory_has(&p->dir, BC_MANIFEST_NAME);
    bc_verify_say_manifest(l, BITCASK_FINDING_ERROR, BITCASK_FINDING_MANIFEST,
                           there ? "damaged in both copies, or not a regular file" : "missing");
    return rebuild(p, NULL, l);
}

/* The last log files as a killed process left them, before anything relies on what they hold: as recovery does. */
static int settle_open_files(struct bc_repair *p)
{
    const struct bc_io *io = p->dir.io;
    for (size_t i = 0; i < p->manifest.count; i++) {
        char name[BC_NAME_SIZE];
        int fd;
        if (p->manifest.files[i].state != BC_MANIFEST_OPEN)
            continue;
        bc_data_name(name, p->manifest.files[i].name.id);
        if (io->open(io->ctx, p->dir.fd, name, 0, 0, &fd) != 0)
            continue;
        int error = io->sync(io->ctx, fd);
        (void)io->drop_cache(io->ctx, fd, 0, UINT64_MAX / 2);
        io->close(io->ctx, fd);
        if (error != 0)
            return bc_fail_io(error, name, "cannot sync what a killed process left");
    }
    return BITCASK_OK;
}

static int judge_names(struct bc_repair *p, struct bc_findings *l, bool *ret_older)
{
    *ret_older = false;
    bc_names_free(&p->names);
    int result = bc_names_collect(&p->names, &p->dir, p->allocator, &p->manifest);
    if (result == BITCASK_OK)
        bc_names_judge(&p->names, &p->manifest, &p->names, l, ret_older);
    for (size_t i = 0; i < p->names.count && result == BITCASK_OK; i++)
        if (p->names.strays[i].aside) {
            p->needed = true;
            result = bc_aside_add(&p->aside, p->names.strays[i].name, false, "it is not part of the store, and was in its way");
        }
    return result;
}

static int read_manifest(struct bc_repair *p)
{
    struct bc_findings l;
    bool older = false;
    bc_findings_init(&l, p->allocator);
    int result = bc_manifest_read(&p->dir, p->allocator, &p->manifest, &p->damaged_copies);
    if (result == BITCASK_OK && p->damaged_copies > 0) {
        p->needed = true;
        bc_verify_say_manifest(&l, BITCASK_FINDING_WARNING, BITCASK_FINDING_COPY, "one of its two copies is damaged");
    }
    if (result == BITCASK_OK)
        result = judge_names(p, &l, &older);
    if (result == BITCASK_NOT_FOUND || result == BITCASK_CORRUPT) {
        result = rebuild_lost(p, &l);
    } else if (result == BITCASK_OK && older) {
        struct bc_manifest old = p->manifest;
        p->manifest = (struct bc_manifest){.count = 0};
        result = rebuild(p, &old, &l);
        bc_manifest_free(p->allocator, &old);
    }
    if (result == BITCASK_OK && !p->rebuilt && !p->dry_run)
        result = settle_open_files(p);
    if (result == BITCASK_OK)
        result = bc_repair_deliver(p, &l);
    bc_findings_free(&l);
    return result;
}

/* ---- the check ---- */

static int check_once(struct bc_repair *p)
{
    struct bc_store_check *c = &p->check;
    int result = bc_store_check_init(c, &p->dir, p->allocator, &p->manifest, NULL, NULL);
    if (result != BITCASK_OK)
        return result;
    c->sink = &p->sink;
    c->threads = bc_verify_threads(p->environment, p->options->threads);
    result = bc_store_check_run(c);
    if (result != BITCASK_OK)
        bc_store_check_free(c);
    return result;
}

static bool proves_older(const struct bc_file_report *r)
{
    for (const struct bc_finding *f = r->findings.first; f != NULL; f = f->next)
        if (f->code == BITCASK_FINDING_MANIFEST)
            return true;
    return false;
}

/* A file may show that the MANIFEST is older than it is: then it is rebuilt, and everything checked again by the new one. */
static int check_all(struct bc_repair *p)
{
    int result = check_once(p);
    bool older = false;
    for (size_t i = 0; result == BITCASK_OK && i < p->check.count; i++)
        older = older || proves_older(&p->check.reports[i]);
    if (result != BITCASK_OK || !older || p->rebuilt)
        return result;
    struct bc_findings l;
    struct bc_manifest old = p->manifest;
    bc_store_check_free(&p->check);
    bc_findings_init(&l, p->allocator);
    p->manifest = (struct bc_manifest){.count = 0};
    result = rebuild(p, &old, &l);
    bc_manifest_free(p->allocator, &old);
    if (result == BITCASK_OK)
        result = bc_repair_deliver(p, &l);
    bc_findings_free(&l);
    if (result == BITCASK_OK) {
        p->result.files = p->result.hints = p->result.bytes = p->result.records = 0;
        result = check_once(p);
    }
    if (result != BITCASK_OK)
        p->check.reports = NULL;
    return result;
}

/* ---- carrying it out ---- */

/* Whether a listed file has what this one had, too: where a MANIFEST was rebuilt, a merge output and its inputs may be listed.
 */
static bool has_copy(const struct bc_repair *p, const struct bc_file_name *name)
{
    for (size_t i = 0; p->rebuilt && i < p->manifest.count; i++) {
        struct bc_data_header h;
        char other[BC_NAME_SIZE];
        bc_data_name(other, p->manifest.files[i].name.id);
        if (bc_names_header(&p->dir, other, &h) != BC_FORMAT_OK)
            continue;
        for (uint32_t j = 0; j < h.input_count; j++)
            if (h.inputs[j].id == name->id && h.inputs[j].nonce == name->nonce)
                return true;
    }
    return false;
}

static void say_salvaged(struct bc_repair *p, const struct bc_file_report *r, const struct bc_salvage *s)
{
    struct bc_finding f = {.severity = BITCASK_FINDING_NOTE, .code = BITCASK_FINDING_SALVAGED};
    memcpy(f.file, r->name, sizeof f.file);
    if (s->made.name.id == 0)
        bc_findings_add(&p->done, &f, "nothing could be read in it");
    else
        bc_findings_add(&p->done, &f, "%" PRIu64 " records copied to %010" PRIu64 ".data, %" PRIu64 " keys deleted there",
                        s->copied, s->made.name.id, s->deleted);
}

static int salvage_all(struct bc_repair *p, uint64_t *next_id)
{
    int result = BITCASK_OK;
    for (size_t i = 0; i < p->check.count && result == BITCASK_OK; i++) {
        const struct bc_file_report *r = &p->check.reports[i];
        if (p->plans[i].fate != FATE_REPLACED)
            continue;
        struct bc_salvage s = {.dir = &p->dir,
                               .allocator = p->allocator,
                               .store = p->manifest.store,
                               .cleared_below = p->manifest.cleared_below,
                               .ceiling = p->manifest.ceiling,
                               .id = (*next_id)++,
                               .no_deletions = has_copy(p, &r->listed.name)};
        result = bc_salvage_file(&s, r, p->plans[i].end, &p->done);
        if (result != BITCASK_OK)
            break;
        p->plans[i].made = s.made;
        p->result.salvaged += s.copied;
        p->result.lost += s.deleted;
        p->result.lost_bytes += s.lost_bytes;
        say_salvaged(p, r, &s);
    }
    return result;
}

/* Nothing lists them. */
static void drop_outputs(struct bc_repair *p)
{
    for (size_t i = 0; i < p->check.count; i++) {
        char name[BC_NAME_SIZE];
        if (p->plans[i].made.name.id == 0)
            continue;
        bc_data_name(name, p->plans[i].made.name.id);
        (void)bc_directory_unlink(&p->dir, name);
    }
}

static void list_kept(const struct bc_repair *p, size_t i, struct bc_manifest *edit)
{
    const struct bc_file_report *r = &p->check.reports[i];
    struct bc_manifest_file f = r->listed;
    if (p->plans[i].fate == FATE_RELISTED || f.state == BC_MANIFEST_OPEN) {
        /* An open file ends where recovery would end it; without an operation it leaves, as there. */
        f.min_sequence = r->walk.min_sequence;
        f.max_sequence = r->walk.max_sequence;
        f.end = p->plans[i].end;
        f.flags = 0;
        if (f.state == BC_MANIFEST_OPEN && r->walk.operations == 0)
            return;
        f.state = BC_MANIFEST_SEALED;
    }
    bc_manifest_add(edit, &f);
}

static int commit(struct bc_repair *p, uint64_t next_id)
{
    struct bc_health health = {.log = NULL};
    struct bc_manifest_keeper keeper;
    struct bc_manifest edit;
    _Atomic uint64_t next_sequence = 0;
    int result = bc_manifest_keeper_init(&keeper, &p->dir, p->allocator, &health, &next_sequence, &p->manifest);
    if (result != BITCASK_OK)
        return result;
    p->manifest.files = NULL; /* the keeper's now; check.common.manifest is not used any more */
    result = bc_manifest_begin(&keeper, p->replaced, &edit);
    if (result == BITCASK_OK) {
        edit.count = 0;
        for (size_t i = 0; i < p->check.count; i++)
            if (p->plans[i].fate == FATE_KEPT || p->plans[i].fate == FATE_RELISTED)
                list_kept(p, i, &edit);
        for (size_t i = 0; i < p->check.count; i++)
            if (p->plans[i].made.name.id != 0)
                bc_manifest_add(&edit, &p->plans[i].made);
        edit.next_id = BC_MAX(edit.next_id, next_id);
        result = bc_manifest_commit(&keeper, &edit);
    }
    bc_manifest_keeper_free(&keeper);
    return result == BITCASK_POISONED ? BITCASK_IO : result;
}

static int carry_out(struct bc_repair *p)
{
    const struct bc_io *io = p->dir.io;
    uint64_t next_id = bc_repair_first_output(p);
    int result = salvage_all(p, &next_id);
    int error = result == BITCASK_OK ? io->dir_sync(io->ctx, p->dir.fd) : 0;
    if (error != 0)
        result = bc_fail_io(error, p->dir.path, "cannot sync the directory");
    if (result == BITCASK_OK)
        result = bc_aside_link(&p->aside, &p->done);
    if (result != BITCASK_OK) {
        drop_outputs(p);
        return result;
    }
    /* From here on the disk may list the new files, whatever it answers. */
    result = commit(p, next_id);
    if (result == BITCASK_NO_SPACE || result == BITCASK_NO_MEMORY)
        drop_outputs(p);
    if (result != BITCASK_OK)
        return result;
    p->result.repaired = p->replaced + p->aside.count + 1;
    bc_verify_say_manifest(&p->done, BITCASK_FINDING_NOTE, BITCASK_FINDING_REBUILT, "a new one was written");
    return bc_aside_unlink(&p->aside);
}

static void say_would(struct bc_repair *p)
{
    for (size_t i = 0; i < p->check.count; i++) {
        const struct bc_file_report *r = &p->check.reports[i];
        struct bc_finding f = {.severity = BITCASK_FINDING_NOTE, .code = BITCASK_FINDING_SALVAGED};
        memcpy(f.file, r->name, sizeof f.file);
        if (p->plans[i].fate == FATE_REPLACED)
            bc_findings_add(&p->done, &f, "would be replaced by a new file with what can be read of it");
    }
    for (size_t i = 0; i < p->aside.count; i++) {
        struct bc_finding f = {.severity = BITCASK_FINDING_NOTE, .code = BITCASK_FINDING_ASIDE};
        memcpy(f.file, p->aside.files[i].name, sizeof f.file);
        bc_findings_add(&p->done, &f, "would go to " BC_LOST_FOUND ": %s", p->aside.files[i].why);
    }
    bc_verify_say_manifest(&p->done, BITCASK_FINDING_NOTE, BITCASK_FINDING_REBUILT, "a new one would be written");
    p->result.repaired = p->replaced + p->aside.count + 1;
}

/* ---- all ---- */

static int check_and_repair(struct bc_repair *p)
{
    int result = read_manifest(p);
    if (result == BITCASK_OK)
        result = check_all(p);
    if (result != BITCASK_OK)
        return result;
    result = bc_repair_make_plan(p);
    if (result == BITCASK_OK && p->needed && p->dry_run)
        say_would(p);
    else if (result == BITCASK_OK && p->needed)
        result = carry_out(p);
    int delivered = bc_repair_deliver(p, &p->done);
    bc_store_check_free(&p->check);
    return result != BITCASK_OK ? result : delivered;
}

static int open_store(struct bc_repair *p, const char *path)
{
    bool data = false;
    int result = bc_directory_open(&p->dir, p->environment->io, path, false, 0600);
    if (result != BITCASK_OK)
        return result;
    if (!bc_directory_has(&p->dir, BC_MANIFEST_NAME)) {
        result = bc_directory_each(&p->dir, has_data, &data);
        if (result == BITCASK_OK && !data)
            result = bc_fail(BITCASK_NOT_FOUND, 0, BC_MANIFEST_NAME, 0, "%s: there is no store", path);
    }
    if (result == BITCASK_OK)
        result = bc_directory_lock(&p->dir);
    if (result != BITCASK_OK)
        bc_directory_close(&p->dir);
    return result;
}

static int take_options(const bitcask_repair_options *given, bitcask_repair_options *ret)
{
    bitcask_repair_options o = BITCASK_REPAIR_OPTIONS_INIT;
    int result =
        given == NULL ? BITCASK_OK : bc_options_take(given, given->struct_size, &o, sizeof o, "bitcask_repair_options");
    if (result == BITCASK_OK && (o.flags & ~BITCASK_REPAIR_DRY_RUN) != 0)
        result = bc_fail(BITCASK_UNSUPPORTED, 0, NULL, 0, "bitcask_repair_options has a flag that this version does not know");
    if (result == BITCASK_OK && o.threads > 64)
        result = bc_fail(BITCASK_INVALID, 0, NULL, 0, "bitcask_repair_options.threads must be at most 64");
    *ret = o;
    return result;
}

int bc_repair(const char *path, const bitcask_repair_options *given, const struct bc_environment *environment,
              bitcask_verify_result *ret)
{
    bitcask_repair_options options;
    if (path == NULL || path[0] == '\0')
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "no directory was named");
    int result = take_options(given, &options);
    if (result == BITCASK_OK)
        result = bc_result_check(ret);
    if (result != BITCASK_OK)
        return result;
    struct bc_repair p = {.environment = environment,
                          .allocator = &bc_allocator_default,
                          .options = &options,
                          .dry_run = (options.flags & BITCASK_REPAIR_DRY_RUN) != 0,
                          .result = BITCASK_VERIFY_RESULT_INIT};
    p.sink = (struct bc_verify_sink){options.finding, options.finding_ctx, options.progress, options.progress_ctx, &p.result};
    p.names.allocator = p.allocator;
    p.aside = (struct bc_aside){.dir = &p.dir, .allocator = p.allocator};
    bc_findings_init(&p.done, p.allocator);
    result = open_store(&p, path);
    if (result != BITCASK_OK)
        return result;
    result = check_and_repair(&p);
    bc_findings_free(&p.done);
    bc_names_free(&p.names);
    bc_aside_free(&p.aside);
    bc_manifest_free(p.allocator, &p.manifest);
    bc_free(p.allocator, p.plans);
    bc_directory_close(&p.dir);
    if (ret != NULL && result != BITCASK_UNSUPPORTED) {
        int copied = bc_result_copy(ret, &p.result, sizeof p.result);
        result = result == BITCASK_OK ? copied : result;
    }
    if (result == BITCASK_OK && p.dry_run && p.needed)
        return bc_fail(BITCASK_CORRUPT, 0, NULL, 0, "the store is damaged: %" PRIu64 " errors, %" PRIu64 " warnings",
                       p.result.errors, p.result.warnings);
    return result;
}

int bitcask_repair(const char *dir, const bitcask_repair_options *options, bitcask_verify_result *ret)
{
    const struct bc_environment environment = {.io = &bc_io_posix, .inlined = false};
    return bc_repair(dir, options, &environment, ret);
}
