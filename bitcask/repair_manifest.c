#include "bitcask/repair_manifest.h"

#include <inttypes.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/repair_sources.h"

#define CEILING_MARGIN (1ULL << 40) /* above every sequence that was seen: those that were lost are not used again */

struct rebuilding {
    struct bc_sources sources;
    const struct bc_manifest *old;
    struct bc_findings *findings;
    bool durable;
    struct bc_manifest manifest;
};

static void say(struct rebuilding *b, const struct bc_source *s, uint32_t severity, uint64_t offset, uint64_t size,
                const char *what)
{
    struct bc_finding f = {
        .severity = severity, .code = BITCASK_FINDING_RECORD, .file = BC_MANIFEST_NAME, .offset = offset, .size = size};
    if (severity != BITCASK_FINDING_ERROR)
        f.code = BITCASK_FINDING_REBUILT;
    if (s != NULL)
        memcpy(f.file, s->name, sizeof f.file);
    bc_findings_add(b->findings, &f, "%s", what);
}

static bool same_name(const struct bc_file_name *a, const struct bc_file_name *b)
{
    return a->id == b->id && a->nonce == b->nonce;
}

static struct bc_source *find(const struct bc_sources *l, const struct bc_file_name *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (same_name(&l->files[i].identity, name))
            return &l->files[i];
    return NULL;
}

/* ---- whose files ---- */

/* The store of most files. */
static void choose_store(struct rebuilding *b)
{
    struct bc_sources *l = &b->sources;
    size_t votes = 0;
    if (b->old != NULL) {
        b->manifest.store = b->old->store;
        return;
    }
    for (size_t i = 0; i < l->count; i++) {
        if (!l->files[i].headed)
            continue;
        if (votes == 0)
            b->manifest.store = l->files[i].store;
        votes += memcmp(&b->manifest.store, &l->files[i].store, sizeof b->manifest.store) == 0 ? 1 : (size_t)-1;
    }
}

static void drop_strangers(struct rebuilding *b)
{
    struct bc_sources *l = &b->sources;
    for (size_t i = 0; i < l->count; i++) {
        struct bc_source *s = &l->files[i];
        if (s->out != NULL)
            continue;
        if (s->headed && memcmp(&s->store, &b->manifest.store, sizeof s->store) != 0)
            s->out = "it belongs to another store";
        else if (i > 0 && s->headed && l->files[i - 1].identity.id == s->identity.id)
            s->out = "it is a copy of another file, or has its id";
        else if (!s->headed && !bc_sources_find_nonce(l, s, b->old))
            s->out = "its header is damaged, and nothing else knows its nonce: no record in it can be checked";
        else if (!s->headed)
            bc_source_read_link(l, s);
        if (s->out != NULL && !s->headed)
            say(b, s, BITCASK_FINDING_ERROR, 0, s->size, s->out);
    }
}

/* A clear counts if its file has a record: made before the MANIFEST that commits the clear, an empty one proves nothing. */
static void drop_cleared(struct rebuilding *b)
{
    struct bc_sources *l = &b->sources;
    uint64_t below = b->old == NULL ? 0 : b->old->cleared_below;
    for (size_t i = 0; i < l->count; i++) {
        const struct bc_source *s = &l->files[i];
        if (s->out == NULL && s->headed && (s->linked || s->cleared_below < s->identity.id))
            below = BC_MAX(below, s->cleared_below);
    }
    for (size_t i = 0; i < l->count; i++)
        if (l->files[i].out == NULL && l->files[i].identity.id < below)
            l->files[i].out = "it was cleared";
    b->manifest.cleared_below = below;
}

/* ---- where they end ---- */

static struct bc_source *successor(struct rebuilding *b, const struct bc_source *s)
{
    struct bc_source *found = NULL;
    for (size_t i = 0; i < b->sources.count; i++) {
        struct bc_source *other = &b->sources.files[i];
        if (other->out == NULL && other->linked && other->link.id == s->identity.id && other->link.nonce == s->identity.nonce)
            found = other;
    }
    return found;
}

static bool is_last_log(const struct rebuilding *b, const struct bc_source *s)
{
    for (size_t i = 0; i < b->sources.count; i++) {
        const struct bc_source *other = &b->sources.files[i];
        if (other->out == NULL && other->kind == BC_DATA_KIND_LOG && other->identity.id > s->identity.id && other->linked)
            return false;
    }
    return true;
}

static int walk_log(struct rebuilding *b, struct bc_source *s)
{
    struct bc_source *next = successor(b, s);
    if (next == NULL)
        return bc_source_walk(&b->sources, s, s->mark, s->size);
    uint64_t end = next->link.end;
    bool doubtful = next->mark <= BC_DATA_START && is_last_log(b, next);
    int result = bc_source_walk(&b->sources, s, doubtful ? s->mark : end, end);
    if (result == BITCASK_OK && doubtful && s->end < end) {
        /* Nothing behind the hole had been made durable. */
        next->out = "the log file before it was cut, so it never counted";
        return BITCASK_OK;
    }
    s->damaged |= s->end < end;
    s->end = end;
    s->cut = false;
    return result;
}

/* A merge output counts as a whole or not at all; but what was committed may be damaged. */
static int walk_merge(struct rebuilding *b, struct bc_source *s)
{
    int result = bc_source_walk(&b->sources, s, s->mark, s->size);
    s->damaged |= s->cut;
    return result;
}

static int walk_all(struct rebuilding *b)
{
    int result = BITCASK_OK;
    for (size_t i = 0; i < b->sources.count && result == BITCASK_OK; i++) {
        struct bc_source *s = &b->sources.files[i];
        if (s->out != NULL)
            continue;
        if (b->durable)
            result = bc_source_settle(&b->sources, s);
        if (result == BITCASK_OK)
            result = s->kind == BC_DATA_KIND_LOG ? walk_log(b, s) : walk_merge(b, s);
    }
    return result;
}

/* ---- merges ---- */

static bool can_stand_in(const struct bc_source *s)
{
    return s != NULL && (s->out == NULL || strcmp(s->out, "it was cleared") == 0);
}

/* While all inputs are there, nobody can tell whether the output was committed. Whole inputs hold all that it holds; if one is
 * damaged, an output that is complete, which its mark tells, has what that one lost. If one has left, the merge was committed,
 * and no other one may come back: a deletion may have been dropped with the one that left. */
static int settle_merge(struct rebuilding *b, struct bc_source *output)
{
    bool all = true, whole = true;
    for (uint32_t i = 0; i < output->input_count; i++) {
        const struct bc_source *input = find(&b->sources, &output->inputs[i]);
        all = all && can_stand_in(input);
        whole = whole && all && !input->damaged && !input->cut;
    }
    if (output->input_count == 0)
        return BITCASK_OK;
    bool complete = !output->damaged && !output->cut && output->mark >= output->end;
    if (all && (whole || !complete)) {
        output->out = "all that it was made of is there";
        return BITCASK_OK;
    }
    for (uint32_t i = 0; i < output->input_count && !all; i++) {
        struct bc_source *input = find(&b->sources, &output->inputs[i]);
        if (input != NULL && input->out == NULL)
            input->out = "a merge replaced it";
    }
    if (!output->cut)
        return BITCASK_OK;
    /* It was durable as a whole when it was committed: what is bad in it is damage, and what follows is still the store's. */
    int result = bc_source_walk(&b->sources, output, output->size, output->size);
    output->damaged = true;
    return result;
}

static int settle_merges(struct rebuilding *b)
{
    int result = BITCASK_OK;
    for (size_t i = 0; i < b->sources.count && result == BITCASK_OK; i++)
        if (b->sources.files[i].out == NULL && b->sources.files[i].kind == BC_DATA_KIND_MERGE)
            result = settle_merge(b, &b->sources.files[i]);
    return result;
}

/* ---- the list ---- */

static void say_missing(struct rebuilding *b)
{
    for (size_t i = 0; i < b->sources.count; i++) {
        const struct bc_source *s = &b->sources.files[i];
        if (s->out == NULL && s->cut && s->kind == BC_DATA_KIND_LOG && !is_last_log(b, s))
            say(b, s, BITCASK_FINDING_ERROR, s->end, s->size - s->end,
                "what stands from here on is not taken: whether it ever counted cannot be known");
    }
    say(b, NULL, BITCASK_FINDING_NOTE, 0, 0,
        "listed anew from the data files: whether one is missing cannot be known, and what left the store since may be back");
}

static int make_list(struct rebuilding *b)
{
    struct bc_sources *l = &b->sources;
    struct bc_manifest *m = &b->manifest;
    uint64_t highest = 0;
    m->files = bc_alloc_zero(l->allocator, l->count + 1, sizeof *m->files);
    if (m->files == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a new MANIFEST");
    for (size_t i = 0; i < l->count; i++) {
        struct bc_source *s = &l->files[i];
        uint64_t named;
        (void)bc_name_parse(s->name, &named);
        m->next_id = BC_MAX(m->next_id, BC_MAX(named, s->identity.id == UINT64_MAX ? 0 : s->identity.id) + 1);
        highest = BC_MAX(highest, s->highest);
        if (s->out == NULL && s->operations == 0 && !s->damaged)
            s->out = "it holds no record";
        if (s->out != NULL)
            continue;
        m->files[m->count++] = (struct bc_manifest_file){.name = s->identity,
                                                         .state = BC_MANIFEST_SEALED,
                                                         .kind = s->kind,
                                                         .end = s->end,
                                                         .min_sequence = s->min_sequence,
                                                         .max_sequence = s->max_sequence};
    }
    m->ceiling = highest + CEILING_MARGIN;
    if (b->old != NULL) {
        m->generation = b->old->generation;
        m->next_id = BC_MAX(m->next_id, b->old->next_id);
        m->ceiling = BC_MAX(m->ceiling, b->old->ceiling);
    }
    return BITCASK_OK;
}

static int give(struct rebuilding *b, struct bc_rebuilt *ret)
{
    const struct bc_sources *l = &b->sources;
    *ret = (struct bc_rebuilt){.allocator = l->allocator, .manifest = b->manifest};
    ret->unlisted = bc_alloc_zero(l->allocator, l->count + 1, sizeof *ret->unlisted);
    if (ret->unlisted == NULL) {
        bc_rebuilt_free(ret);
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a new MANIFEST");
    }
    for (size_t i = 0; i < l->count; i++) {
        if (l->files[i].out == NULL)
            continue;
        struct bc_unlisted *u = &ret->unlisted[ret->unlisted_count++];
        memcpy(u->name, l->files[i].name, sizeof u->name);
        u->why = l->files[i].out;
    }
    return BITCASK_OK;
}

int bc_repair_rebuild(const struct bc_directory *dir, const bitcask_allocator *a, const struct bc_manifest *old, bool durable,
                      struct bc_findings *findings, struct bc_rebuilt *ret)
{
    struct rebuilding b = {.old = old, .findings = findings, .durable = durable, .manifest = {.next_id = 1}};
    int result = bc_sources_collect(&b.sources, dir, a);
    if (result != BITCASK_OK)
        return result;
    choose_store(&b);
    drop_strangers(&b);
    drop_cleared(&b);
    result = walk_all(&b);
    if (result == BITCASK_OK)
        result = settle_merges(&b);
    if (result == BITCASK_OK)
        say_missing(&b);
    if (result == BITCASK_OK)
        result = make_list(&b);
    if (result == BITCASK_OK)
        result = give(&b, ret);
    bc_sources_free(&b.sources);
    return result;
}

void bc_rebuilt_free(struct bc_rebuilt *r)
{
    bc_free(r->allocator, r->manifest.files);
    bc_free(r->allocator, r->unlisted);
    r->manifest.files = NULL;
    r->unlisted = NULL;
}
