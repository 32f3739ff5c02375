#include "bitcask/verify_names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/format_hint.h"
#include "bitcask/scan.h"

/* Ids ascend. NULL: not listed. */
static const struct bc_manifest_file *find_listed(const struct bc_manifest *m, uint64_t id)
{
    size_t from = 0, to = m->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (m->files[middle].name.id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from < m->count && m->files[from].name.id == id ? &m->files[from] : NULL;
}

static bool same_store(const struct bc_uuid *a, const struct bc_uuid *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static enum bc_format_check read_header(const struct bc_directory *dir, int fd, struct bc_data_header *ret)
{
    char bytes[BC_DATA_HEADER_SIZE] = {0};
    size_t got;
    if (dir->io->read(dir->io->ctx, fd, 0, bytes, sizeof bytes, &got) != 0)
        return BC_FORMAT_BAD;
    return bc_data_header_decode(ret, bytes);
}

enum bc_format_check bc_names_header(const struct bc_directory *dir, const char *name, struct bc_data_header *ret)
{
    int fd;
    if (dir->io->open(dir->io->ctx, dir->fd, name, 0, 0, &fd) != 0)
        return BC_FORMAT_BAD;
    enum bc_format_check check = read_header(dir, fd, ret);
    dir->io->close(dir->io->ctx, fd);
    return check;
}

/* A record of a log file at its start; where the header cannot tell the nonce, any byte there. */
static int look_for_record(const struct bc_directory *dir, const bitcask_allocator *a, int fd, struct bc_stray *s)
{
    struct bc_scan scan;
    int result = bc_scan_init(&scan, dir->io, a, fd, &s->identity, BC_DATA_START, BC_MAX(s->size, BC_DATA_START));
    if (result != BITCASK_OK)
        return result;
    if (s->header == BC_FORMAT_OK) {
        s->holds_record = s->data_kind == BC_DATA_KIND_LOG && bc_scan_next(&scan) == BC_SCAN_RECORD;
    } else {
        bool zeros = true;
        (void)bc_scan_all_zero(&scan, &zeros);
        s->holds_record = !zeros;
    }
    bc_scan_free(&scan);
    return BITCASK_OK;
}

/* The hint of a listed file that was gone on with since: it does not count, and that is no damage. */
static bool is_stale(const struct bc_directory *dir, int fd, const struct bc_manifest_file *listed)
{
    char bytes[BC_HINT_HEADER] = {0};
    struct bc_hint_header h;
    size_t got;
    return dir->io->read(dir->io->ctx, fd, 0, bytes, sizeof bytes, &got) == 0 &&
           bc_hint_header_decode(&h, bytes) == BC_FORMAT_OK && h.data.id == listed->name.id &&
           h.data.nonce == listed->name.nonce && h.data_end != listed->end && listed->state == BC_MANIFEST_SEALED;
}

static int examine(const struct bc_directory *dir, const bitcask_allocator *a, const struct bc_manifest *m, struct bc_stray *s)
{
    const struct bc_io *io = dir->io;
    struct bc_io_stat st;
    int fd, result = BITCASK_OK;
    s->header = BC_FORMAT_BAD;
    int error = io->open(io->ctx, dir->fd, s->name, 0, 0, &fd);
    s->regular = error == 0;
    if (error == ENOENT || error == ELOOP || error == EINVAL)
        return BITCASK_OK;
    if (error != 0)
        return bc_fail_io(error, s->name, "cannot open");
    if (io->stat(io->ctx, fd, &st) == 0) {
        s->inode = st.inode;
        s->size = st.size;
    }
    const struct bc_manifest_file *listed = s->kind == BC_NAME_HINT ? find_listed(m, s->id) : NULL;
    s->stale = listed != NULL && is_stale(dir, fd, listed);
    if (s->kind == BC_NAME_DATA) {
        struct bc_data_header h;
        s->header = read_header(dir, fd, &h);
        if (s->header == BC_FORMAT_OK) {
            s->store = h.store;
            s->identity = h.name;
            s->data_kind = h.kind;
        }
        result = look_for_record(dir, a, fd, s);
    }
    io->close(io->ctx, fd);
    return result;
}

struct collecting {
    struct bc_names *names;
    const struct bc_manifest *manifest;
};

static int take_name(enum bc_name_kind kind, uint64_t id, const char *name, void *arg)
{
    struct collecting *c = arg;
    struct bc_names *n = c->names;
    bool ours = kind == BC_NAME_DATA || kind == BC_NAME_HINT || kind == BC_NAME_TMP;
    if (kind == BC_NAME_DATA)
        n->highest = BC_MAX(n->highest, id);
    if (!ours || (kind == BC_NAME_DATA && find_listed(c->manifest, id) != NULL))
        return BITCASK_OK;
    if (n->count == n->capacity) {
        size_t capacity = n->capacity * 2 + 16;
        struct bc_stray *strays = bc_resize(n->allocator, n->strays, capacity * sizeof *strays);
        if (strays == NULL)
            return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to list the directory");
        n->strays = strays;
        n->capacity = capacity;
    }
    struct bc_stray *s = &n->strays[n->count++];
    *s = (struct bc_stray){.kind = kind, .id = id};
    strncpy(s->name, name, sizeof s->name - 1);
    return BITCASK_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct bc_stray *)a)->name, ((const struct bc_stray *)b)->name);
}

int bc_names_collect(struct bc_names *n, const struct bc_directory *dir, const bitcask_allocator *a,
                     const struct bc_manifest *m)
{
    *n = (struct bc_names){.allocator = a};
    struct collecting c = {n, m};
    int result = bc_directory_each(dir, take_name, &c);
    size_t kept = 0;
    for (size_t i = 0; i < n->count && result == BITCASK_OK; i++) {
        struct bc_stray *s = &n->strays[i];
        result = examine(dir, a, m, s);
        if (s->kind != BC_NAME_HINT || s->stale || find_listed(m, s->id) == NULL)
            n->strays[kept++] = *s;
    }
    n->count = kept;
    if (n->count > 1)
        qsort(n->strays, n->count, sizeof *n->strays, by_name);
    return result;
}

void bc_names_free(struct bc_names *n)
{
    bc_free(n->allocator, n->strays);
    n->strays = NULL;
    n->count = n->capacity = 0;
}

/* ---- judging ---- */

static void say(struct bc_findings *l, const struct bc_stray *s, uint32_t severity, uint32_t code, const char *what)
{
    struct bc_finding f = {.severity = severity, .code = code};
    memcpy(f.file, s->name, sizeof f.file);
    bc_findings_add(l, &f, "%s", what);
}

/* One that is there unchanged since the earlier look is not in the making. */
static bool lasting(const struct bc_stray *s, const struct bc_names *earlier)
{
    for (size_t i = 0; earlier != NULL && i < earlier->count; i++) {
        const struct bc_stray *e = &earlier->strays[i];
        if (strcmp(e->name, s->name) == 0)
            return e->inode == s->inode && e->size == s->size && e->regular == s->regular;
    }
    return false;
}

static void judge_data(struct bc_stray *s, const struct bc_manifest *m, bool is_lasting, struct bc_findings *l, bool *older)
{
    bool ours = s->header == BC_FORMAT_OK && same_store(&s->store, &m->store);
    bool refused = s->id >= m->next_id && s->holds_record;
    if (s->header == BC_FORMAT_OK && (!ours || s->identity.id != s->id)) {
        s->aside = true;
        say(l, s, refused ? BITCASK_FINDING_ERROR : BITCASK_FINDING_WARNING, BITCASK_FINDING_FOREIGN,
            ours ? "another data file of this store under a wrong name, not listed"
                 : "a data file of another store, not listed");
    } else if (refused && ours) {
        *older = true;
        say(l, s, BITCASK_FINDING_ERROR, BITCASK_FINDING_MANIFEST,
            "newer than the MANIFEST, which does not know of it: an older MANIFEST was put in place");
    } else if (refused) {
        s->aside = true;
        say(l, s, BITCASK_FINDING_ERROR, BITCASK_FINDING_HEADER, "newer than the MANIFEST, and its header is damaged");
    } else if (is_lasting) {
        say(l, s, BITCASK_FINDING_NOTE, BITCASK_FINDING_LEFTOVER,
            "not listed: left over, the next open for writing removes it");
    }
}

void bc_names_judge(struct bc_names *n, const struct bc_manifest *m, const struct bc_names *earlier, struct bc_findings *l,
                    bool *ret_older)
{
    *ret_older = false;
    for (size_t i = 0; i < n->count; i++) {
        struct bc_stray *s = &n->strays[i];
        bool is_lasting = lasting(s, earlier);
        if (s->kind == BC_NAME_DATA && s->regular)
            judge_data(s, m, is_lasting, l, ret_older);
        else if (is_lasting && s->stale)
            say(l, s, BITCASK_FINDING_NOTE, BITCASK_FINDING_HINT,
                "the hint file is of an earlier end of its data file: it does not count");
        else if (is_lasting)
            say(l, s, BITCASK_FINDING_NOTE, BITCASK_FINDING_LEFTOVER,
                s->kind == BC_NAME_TMP ? "unfinished: left over, the next open for writing removes it"
                                       : "not listed: left over, the next open for writing removes it");
    }
}

/* ---- a file under another name ---- */

struct searching {
    const struct bc_directory *dir;
    const struct bc_uuid *store;
    const struct bc_file_name *wanted;
    char *ret;
};

static int compare(enum bc_name_kind kind, uint64_t id, const char *name, void *arg)
{
    const struct searching *s = arg;
    struct bc_data_header h;
    if (kind != BC_NAME_DATA || id == s->wanted->id || bc_names_header(s->dir, name, &h) != BC_FORMAT_OK)
        return 0;
    if (!same_store(&h.store, s->store) || h.name.id != s->wanted->id || h.name.nonce != s->wanted->nonce)
        return 0;
    strncpy(s->ret, name, BC_NAME_SIZE - 1);
    s->ret[BC_NAME_SIZE - 1] = '\0';
    return 1;
}

bool bc_names_find_renamed(const struct bc_directory *dir, const struct bc_uuid *store, const struct bc_file_name *wanted,
                           char *ret)
{
    struct searching s = {dir, store, wanted, ret};
    return bc_directory_each(dir, compare, &s) == 1;
}
