#include "bitcask/repair_sources.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/datafile.h"
#include "bitcask/error.h"
#include "bitcask/format_hint.h"

static int no_memory(void)
{
    return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to list the data files");
}

static int open_source(const struct bc_sources *l, const struct bc_source *s, int *ret_fd)
{
    const struct bc_io *io = l->dir->io;
    return io->open(io->ctx, l->dir->fd, s->name, 0, 0, ret_fd);
}

static int take_header(const struct bc_sources *l, struct bc_source *s, const char *bytes)
{
    struct bc_data_header h;
    enum bc_format_check check = bc_data_header_decode(&h, bytes);
    if (check == BC_FORMAT_UNSUPPORTED)
        return bc_fail(BITCASK_UNSUPPORTED, 0, s->name, 0, "%s: written by a newer version of the format", s->name);
    if (check != BC_FORMAT_OK)
        return BITCASK_OK;
    s->headed = true;
    s->store = h.store;
    s->identity = h.name;
    s->cleared_below = h.cleared_below;
    s->kind = h.kind;
    s->input_count = h.input_count;
    if (h.input_count == 0)
        return BITCASK_OK;
    s->inputs = bc_memdup(l->allocator, h.inputs, h.input_count * sizeof *h.inputs);
    return s->inputs == NULL ? no_memory() : BITCASK_OK;
}

static void read_mark(const struct bc_sources *l, struct bc_source *s, int fd)
{
    uint64_t counter;
    s->mark = BC_DATA_START;
    if (bc_datafile_mark_read(l->dir, fd, &s->identity, &counter, &s->mark) != BITCASK_OK)
        s->mark = BC_DATA_START;
}

static int examine(const struct bc_sources *l, struct bc_source *s)
{
    const struct bc_io *io = l->dir->io;
    char bytes[BC_DATA_HEADER_SIZE] = {0};
    struct bc_io_stat st;
    size_t got;
    int fd;
    s->mark = BC_DATA_START;
    int error = open_source(l, s, &fd);
    if (error == ELOOP || error == EINVAL) {
        s->out = "it is no regular file";
        return BITCASK_OK;
    }
    if (error != 0)
        return bc_fail_io(error, s->name, "cannot open");
    error = io->stat(io->ctx, fd, &st);
    int result = error == 0 ? BITCASK_OK : bc_fail_io(error, s->name, "cannot stat");
    if (error == 0) {
        struct bc_patient_io patient;
        s->size = st.size;
        bc_patient_io_init(&patient, io, st.size);
        (void)patient.io.read(&patient, fd, 0, bytes, sizeof bytes, &got);
        result = take_header(l, s, bytes);
    }
    if (result == BITCASK_OK && s->headed)
        read_mark(l, s, fd);
    io->close(io->ctx, fd);
    if (result == BITCASK_OK && s->headed)
        bc_source_read_link(l, s);
    return result;
}

static int take_name(enum bc_name_kind kind, uint64_t id, const char *name, void *arg)
{
    struct bc_sources *l = arg;
    if (kind != BC_NAME_DATA)
        return BITCASK_OK;
    if (l->count == l->capacity) {
        size_t capacity = l->capacity * 2 + 16;
        struct bc_source *files = bc_resize(l->allocator, l->files, capacity * sizeof *files);
        if (files == NULL)
            return no_memory();
        l->files = files;
        l->capacity = capacity;
    }
    struct bc_source *s = &l->files[l->count++];
    *s = (struct bc_source){.identity = {id, 0}};
    strncpy(s->name, name, sizeof s->name - 1);
    return BITCASK_OK;
}

/* By id; the one that has it in its name first, as another may be a copy of it. */
static int by_id(const void *a, const void *b)
{
    const struct bc_source *x = a, *y = b;
    if (x->identity.id != y->identity.id)
        return x->identity.id < y->identity.id ? -1 : 1;
    uint64_t x_id, y_id;
    (void)bc_name_parse(x->name, &x_id);
    (void)bc_name_parse(y->name, &y_id);
    return (x_id != x->identity.id) - (y_id != y->identity.id);
}

int bc_sources_collect(struct bc_sources *l, const struct bc_directory *dir, const bitcask_allocator *a)
{
    *l = (struct bc_sources){.dir = dir, .allocator = a};
    int result = bc_directory_each(dir, take_name, l);
    for (size_t i = 0; i < l->count && result == BITCASK_OK; i++)
        result = examine(l, &l->files[i]);
    if (l->count > 1)
        qsort(l->files, l->count, sizeof *l->files, by_id);
    if (result != BITCASK_OK)
        bc_sources_free(l);
    return result;
}

void bc_sources_free(struct bc_sources *l)
{
    for (size_t i = 0; i < l->count; i++)
        bc_free(l->allocator, l->files[i].inputs);
    bc_free(l->allocator, l->files);
    l->files = NULL;
    l->count = 0;
}

static bool hint_knows(const struct bc_sources *l, struct bc_source *s)
{
    const struct bc_io *io = l->dir->io;
    char name[BC_NAME_SIZE], bytes[BC_HINT_HEADER] = {0};
    struct bc_hint_header h;
    size_t got;
    int fd;
    bc_hint_name(name, s->identity.id);
    if (io->open(io->ctx, l->dir->fd, name, 0, 0, &fd) != 0)
        return false;
    bool good = io->read(io->ctx, fd, 0, bytes, sizeof bytes, &got) == 0 && bc_hint_header_decode(&h, bytes) == BC_FORMAT_OK &&
                h.data.id == s->identity.id;
    io->close(io->ctx, fd);
    if (good)
        s->identity.nonce = h.data.nonce;
    return good;
}

bool bc_sources_find_nonce(const struct bc_sources *l, struct bc_source *s, const struct bc_manifest *old)
{
    uint64_t id = s->identity.id;
    for (size_t i = 0; old != NULL && i < old->count; i++)
        if (old->files[i].name.id == id)
            s->identity.nonce = old->files[i].name.nonce;
    for (size_t i = 0; i < l->count && s->identity.nonce == 0; i++) {
        const struct bc_source *other = &l->files[i];
        if (other->linked && other->link.id == id)
            s->identity.nonce = other->link.nonce;
        for (uint32_t j = 0; j < other->input_count; j++)
            if (other->inputs[j].id == id)
                s->identity.nonce = other->inputs[j].nonce;
    }
    return s->identity.nonce != 0 || hint_knows(l, s);
}

void bc_source_read_link(const struct bc_sources *l, struct bc_source *s)
{
    struct bc_scan scan;
    int fd;
    if (s->size <= BC_DATA_START || open_source(l, s, &fd) != 0)
        return;
    if (bc_scan_init(&scan, l->dir->io, l->allocator, fd, &s->identity, BC_DATA_START, s->size) == BITCASK_OK) {
        s->linked = bc_scan_next(&scan) == BC_SCAN_RECORD && scan.record.type == BC_RECORD_LINK && scan.value_ok &&
                    bc_link_decode(scan.small_value, &s->link);
        if (!s->headed)
            s->kind = s->linked ? BC_DATA_KIND_LOG : BC_DATA_KIND_MERGE;
        bc_scan_free(&scan);
    }
    if (!s->headed)
        read_mark(l, s, fd);
    l->dir->io->close(l->dir->io->ctx, fd);
}

static int on_damage(const struct bc_damage *d, void *arg)
{
    (void)d;
    *(bool *)arg = true;
    return BITCASK_OK;
}

static bool only_zeros_behind(const struct bc_sources *l, const struct bc_source *s, struct bc_patient_io *patient, int fd)
{
    struct bc_scan scan;
    bool zeros = true;
    if (s->end >= s->size || bc_scan_init(&scan, &patient->io, l->allocator, fd, &s->identity, s->end, s->size) != BITCASK_OK)
        return true;
    (void)bc_scan_all_zero(&scan, &zeros);
    bc_scan_free(&scan);
    return zeros;
}

int bc_source_walk(const struct bc_sources *l, struct bc_source *s, uint64_t vouched, uint64_t limit)
{
    struct bc_patient_io patient;
    int fd;
    int error = open_source(l, s, &fd);
    if (error != 0)
        return bc_fail_io(error, s->name, "cannot open");
    bc_patient_io_init(&patient, l->dir->io, s->size);
    s->damaged = !s->headed;
    limit = BC_MIN(limit, s->size);
    struct bc_walk w = {.io = &patient.io,
                        .allocator = l->allocator,
                        .fd = fd,
                        .name = s->identity,
                        .kind = s->kind,
                        .vouched = BC_MIN(vouched, limit),
                        .limit = limit,
                        .ceiling = UINT64_MAX,
                        .damage = on_damage,
                        .arg = &s->damaged};
    int result = bc_walk(&w);
    if (result == BITCASK_OK) {
        s->end = w.end;
        s->operations = w.operations;
        s->min_sequence = w.min_sequence;
        s->max_sequence = w.max_sequence;
        s->highest = w.highest;
        s->cut = !only_zeros_behind(l, s, &patient, fd);
    }
    l->dir->io->close(l->dir->io->ctx, fd);
    return result;
}

int bc_source_settle(const struct bc_sources *l, const struct bc_source *s)
{
    const struct bc_io *io = l->dir->io;
    int fd;
    int error = open_source(l, s, &fd);
    if (error == 0) {
        error = io->sync(io->ctx, fd);
        (void)io->drop_cache(io->ctx, fd, 0, s->size);
        io->close(io->ctx, fd);
    }
    return error == 0 ? BITCASK_OK : bc_fail_io(error, s->name, "cannot sync");
}
