/* May a tombstone go? It may when no file outside the inputs can bring back what it hides: a put of its key that is older than
 * it, and that is that file's last word on the key. Where the file's last word is a tombstone itself, or a newer put, the file
 * brings back nothing, and whoever merges it later asks for itself.
 *
 * The last words stand in the hint files, which are read from end to end, so that only the doubts take memory: 24 bytes each.
 */
#include <stdlib.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/hintfile.h"
#include "bitcask/merge_internal.h"

/* Without thoroughness the hints of other files are read if they are no more than this, than the inputs, or than this much for
 * each tombstone that might go. */
#define HINTS_CHEAP (64ULL << 20)
#define HINT_BYTES_A_DOUBT 512U

static int no_memory(void)
{
    return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to merge");
}

int bc_merge_add_doubt(struct bc_merge_step *s, uint64_t hash, uint64_t sequence, size_t input, uint64_t offset)
{
    if (s->doubt_count == s->doubt_capacity) {
        size_t capacity = s->doubt_capacity * 2 + 256;
        struct bc_merge_doubt *doubts =
            bc_memory_grow(&s->memory, s->doubts, bc_merge_list_bytes(s->doubt_capacity, sizeof *doubts),
                           bc_merge_list_bytes(capacity, sizeof *doubts));
        if (doubts == NULL)
            return no_memory();
        s->doubts = doubts;
        s->doubt_capacity = capacity;
    }
    s->doubts[s->doubt_count++] =
        (struct bc_merge_doubt){.hash = hash, .sequence = sequence, .offset = (uint32_t)(offset / 8), .input = (uint16_t)input};
    return BITCASK_OK;
}

/* By hash; the newest of a key first. */
static int compare(const void *a, const void *b)
{
    const struct bc_merge_doubt *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->sequence > y->sequence ? -1 : x->sequence < y->sequence;
}

/* A counting pass over the hashes' first bits, into a list of its own; what is left to sort is short. qsort() alone would take
 * as much from malloc, which may keep it. */
#define SORT_BITS 16U
#define SORT_SHORT 4096U

static void sort_short(struct bc_merge_doubt *doubts, size_t count)
{
    qsort(doubts, count, sizeof *doubts, compare);
}

/* starts: zeros; then where each bucket begins in sorted. */
static void spread(const struct bc_merge_step *s, struct bc_merge_doubt *sorted, size_t *starts)
{
    for (size_t i = 0; i < s->doubt_count; i++)
        starts[s->doubts[i].hash >> (64 - SORT_BITS)]++;
    for (size_t b = 1; b < 1U << SORT_BITS; b++)
        starts[b] += starts[b - 1];
    for (size_t i = s->doubt_count; i > 0; i--)
        sorted[--starts[s->doubts[i - 1].hash >> (64 - SORT_BITS)]] = s->doubts[i - 1];
}

static void sort(struct bc_merge_step *s)
{
    uint64_t bytes = bc_merge_list_bytes(s->doubt_capacity, sizeof *s->doubts);
    uint64_t starts_bytes = bc_merge_list_bytes(1U << SORT_BITS, sizeof(size_t));
    struct bc_merge_doubt *sorted = s->doubt_count < SORT_SHORT ? NULL : bc_memory_new(&s->memory, bytes);
    size_t *starts = sorted == NULL ? NULL : bc_memory_new(&s->memory, starts_bytes);
    if (starts == NULL) {
        bc_memory_free(&s->memory, sorted, bytes);
        sort_short(s->doubts, s->doubt_count);
        return;
    }
    spread(s, sorted, starts);
    for (size_t b = 0; b < 1U << SORT_BITS; b++) {
        size_t end = b + 1 < 1U << SORT_BITS ? starts[b + 1] : s->doubt_count;
        if (end - starts[b] > 1)
            sort_short(sorted + starts[b], end - starts[b]);
    }
    bc_memory_free(&s->memory, starts, starts_bytes);
    bc_memory_free(&s->memory, s->doubts, bytes);
    s->doubts = sorted;
}

/* ---- the other files ---- */

struct other {
    struct bc_file_name name;
    uint64_t end, min_sequence;
    bool sealed;
};

struct others {
    struct bc_merge_step *step;
    struct other *files;
    size_t count, capacity;
    uint64_t newest; /* highest sequence in doubt */
};

static bool is_input(const struct bc_merge_step *s, const struct bc_file *f)
{
    for (size_t i = 0; i < s->input_count; i++)
        if (s->inputs[i].file == f)
            return true;
    return false;
}

/* A file whose records are all newer than every doubt has nothing to say. */
static int note_other(struct bc_file *f, void *arg)
{
    struct others *o = arg;
    uint64_t min_sequence = atomic_load(&f->min_sequence);
    if (is_input(o->step, f) || min_sequence == 0 || min_sequence > o->newest)
        return 0;
    if (o->count == o->capacity) {
        size_t capacity = o->capacity * 2 + 64;
        struct other *files = bc_resize(o->step->m->allocator, o->files, capacity * sizeof *files);
        if (files == NULL)
            return no_memory();
        o->files = files;
        o->capacity = capacity;
    }
    o->files[o->count++] =
        (struct other){f->name, atomic_load(&f->end), min_sequence, atomic_load(&f->state) == BC_FILE_SEALED};
    return 0;
}

/* ---- their hints ---- */

/* The first doubt with this hash, or where it would stand. */
static size_t find_hash(const struct bc_merge_step *s, uint64_t hash)
{
    size_t low = 0, high = s->doubt_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->doubts[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int ask_entries(const struct bc_hint_entry *entries, size_t count, void *arg)
{
    struct bc_merge_step *s = arg;
    for (size_t i = 0; i < count; i++) {
        const struct bc_hint_entry *e = &entries[i];
        if (e->type != BC_RECORD_PUT)
            continue;
        uint64_t hash = bc_keydir_hash(s->m->keydir, e->key, e->key_size);
        for (size_t at = find_hash(s, hash); at < s->doubt_count && s->doubts[at].hash == hash; at++)
            s->doubts[at].keep |= s->doubts[at].sequence > e->sequence;
    }
    return BITCASK_OK;
}

static void keep_all(struct bc_merge_step *s, const struct other *o)
{
    for (size_t i = 0; i < s->doubt_count; i++)
        s->doubts[i].keep |= s->doubts[i].sequence > o->min_sequence;
}

static bool make_hint(struct bc_merger *m, const struct other *o)
{
    pthread_mutex_lock(&m->files->hints);
    int result = bc_hint_build(m->dir, m->allocator, &m->files->store, &o->name, o->end, NULL);
    pthread_mutex_unlock(&m->files->hints);
    return result == BITCASK_OK;
}

static int ask_file(struct bc_merge_step *s, const struct other *o)
{
    struct bc_merger *m = s->m;
    struct bc_hint_header header;
    bool valid = false;
    int result = BITCASK_OK;
    for (unsigned attempt = 0; attempt < 2 && result == BITCASK_OK && !valid && o->sealed; attempt++) {
        if (attempt > 0 && !make_hint(m, o))
            break;
        result = bc_hint_read(m->dir, m->allocator, &o->name, o->end, ask_entries, s, &header, &valid);
    }
    if (result != BITCASK_OK)
        return result;
    if (!valid) {
        keep_all(s, o);
        return BITCASK_OK;
    }
    s->done.bytes_read += header.size;
    return bc_merge_spend(s, header.size);
}

static uint64_t hint_size(const struct bc_merge_step *s, const struct other *o)
{
    const struct bc_directory *dir = s->m->dir;
    char name[BC_NAME_SIZE];
    struct bc_io_stat st = {0};
    int fd;
    bc_hint_name(name, o->name.id);
    if (dir->io->open(dir->io->ctx, dir->fd, name, 0, 0, &fd) != 0)
        return o->end;
    (void)dir->io->stat(dir->io->ctx, fd, &st);
    dir->io->close(dir->io->ctx, fd);
    return st.size;
}

static int ask_all(struct bc_merge_step *s, const struct others *o)
{
    uint64_t cost = 0;
    for (size_t i = 0; i < o->count && !s->wish->thorough; i++)
        cost += o->files[i].sealed ? hint_size(s, &o->files[i]) : 0;
    bool cheap = cost <= BC_MAX(BC_MAX(HINTS_CHEAP, s->total), s->doubt_count * HINT_BYTES_A_DOUBT);
    int result = BITCASK_OK;
    for (size_t i = 0; i < o->count && result == BITCASK_OK; i++) {
        if (cheap)
            result = ask_file(s, &o->files[i]);
        else
            keep_all(s, &o->files[i]);
    }
    return result;
}

/* ---- what stays ---- */

/* The keys that were kept for one hash: nearly always one. */
struct kept {
    char *keys[8];
    size_t sizes[8], count;
};

static bool is_kept(const struct kept *k, const char *key, size_t size)
{
    for (size_t i = 0; i < k->count; i++)
        if (k->sizes[i] == size && memcmp(k->keys[i], key, size) == 0)
            return true;
    return false;
}

static void forget_kept(struct bc_merge_step *s, struct kept *k)
{
    for (size_t i = 0; i < k->count; i++)
        bc_free(s->m->allocator, k->keys[i]);
    k->count = 0;
}

static int write_tombstone(struct bc_merge_step *s, const struct bc_merge_doubt *d, struct kept *kept, char *key)
{
    struct bc_record r;
    uint64_t offset;
    int result = bc_merge_fetch_head(s, &s->inputs[d->input], (uint64_t)d->offset * 8, &r, key);
    if (result == BITCASK_CORRUPT)
        atomic_store(&s->inputs[d->input].file->barred, true);
    if (result != BITCASK_OK || is_kept(kept, key, r.key_size))
        return result;
    struct bc_record tombstone = {.type = BC_RECORD_TOMBSTONE, .sequence = r.sequence, .key_size = r.key_size};
    result = bc_merge_need_output(s);
    if (result == BITCASK_OK)
        result = bc_merge_output_put(&s->out, &tombstone, key, "", &offset);
    if (result == BITCASK_OK)
        result = bc_merge_hint(s, &tombstone, key, offset);
    /* A key that lived when its put was copied may have been deleted before its older tombstone was met. */
    s->hint_spoiled = true;
    if (result == BITCASK_OK)
        result = bc_merge_spend(s, bc_record_footprint(&tombstone));
    /* Another doubt with the same hash: of the same key, then it is older and hides nothing more; or not. */
    bool more = d + 1 < s->doubts + s->doubt_count && d[1].hash == d->hash;
    if (result == BITCASK_OK && (more || kept->count > 0) && kept->count < BC_ARRAY_SIZE(kept->keys)) {
        kept->keys[kept->count] = bc_memdup(s->m->allocator, key, r.key_size);
        if (kept->keys[kept->count] == NULL)
            return no_memory();
        kept->sizes[kept->count++] = r.key_size;
    }
    return result;
}

static int write_kept(struct bc_merge_step *s)
{
    struct kept kept = {.count = 0};
    char *key = bc_alloc(s->m->allocator, BC_KEY_MAX);
    int result = key == NULL ? no_memory() : BITCASK_OK;
    for (size_t i = 0; i < s->doubt_count && result == BITCASK_OK; i++) {
        if (i > 0 && s->doubts[i].hash != s->doubts[i - 1].hash)
            forget_kept(s, &kept);
        if (s->doubts[i].keep)
            result = write_tombstone(s, &s->doubts[i], &kept, key);
    }
    forget_kept(s, &kept);
    bc_free(s->m->allocator, key);
    return result;
}

int bc_merge_settle(struct bc_merge_step *s)
{
    if (s->doubt_count == 0)
        return BITCASK_OK;
    struct others o = {.step = s};
    sort(s);
    for (size_t i = 0; i < s->doubt_count; i++)
        o.newest = BC_MAX(o.newest, s->doubts[i].sequence);
    int result = bc_filetable_each(s->m->files, note_other, &o);
    if (result == BITCASK_OK)
        result = ask_all(s, &o);
    if (result == BITCASK_OK)
        result = write_kept(s);
    bc_free(s->m->allocator, o.files);
    s->done.tombstones_kept += s->out.tombstones;
    s->done.tombstones_dropped += s->doubt_count - BC_MIN(s->out.tombstones, s->doubt_count);
    return result;
}
