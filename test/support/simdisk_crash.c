#include "test/support/simdisk_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PREFIXES 16 /* of a file's dirty sectors; more are sampled evenly */
#define HOLES 8
#define ALL_SUBSETS 4 /* pending names of which every subset is tried */

/* What may become of one dirty file. */
enum outcome {
    ALL_LOST,
    ALL_KEPT,
    SIZE_ONLY,    /* the new size, no sector */
    PREFIX,       /* n sectors, and the size that reaches them */
    PREFIX_SIZED, /* n sectors, and the new size */
    TORN_HEAD,    /* the sectors before the n-th, and half of that */
    TORN_TAIL,    /* its other half */
    HOLE,         /* all but the n-th */
    HOLE_TORN,    /* all, but of the n-th only half */
    ONLY,         /* the n-th alone */
};

static const char *const outcome_names[] = {"lost",
                                            "kept",
                                            "new size, no sector",
                                            "first sectors",
                                            "first sectors, new size",
                                            "torn (head kept) at",
                                            "torn (tail kept) at",
                                            "all but",
                                            "torn alone",
                                            "only"};

struct variant {
    enum outcome outcome;
    size_t n;
};

/* Everything un-synced that a power failure decides about. */
struct undecided {
    struct sd_dirty *dirty;
    size_t dirty_count;
    size_t names; /* pending operations */
    bool ordered;
};

/* One decision. */
struct plan {
    bool rest_kept;         /* of the files but focus */
    size_t focus;           /* index of the one that deviates; dirty_count: none */
    struct variant variant; /* of focus */
    bool *names;            /* by pending operation */
};

static struct undecided survey(struct simdisk *disk)
{
    struct undecided u = {NULL, 0, disk->pending_count, disk->names_model == SIMDISK_NAMES_ORDERED};
    for (size_t i = 0; i < disk->inode_count; i++) {
        if (!sd_reachable(disk, disk->inodes[i]))
            continue;
        struct sd_dirty d = sd_inode_dirty(disk->inodes[i]);
        if (d.count == 0 && !d.size_changed)
            continue;
        u.dirty = sd_alloc(u.dirty, (u.dirty_count + 1) * sizeof *u.dirty);
        u.dirty[u.dirty_count++] = d;
    }
    return u;
}

static void survey_free(struct undecided *u)
{
    for (size_t i = 0; i < u->dirty_count; i++)
        free(u->dirty[i].sectors);
    free(u->dirty);
}

/* ---- names ---- */

static size_t name_outcomes(const struct undecided *u)
{
    if (u->ordered || u->names < 2)
        return u->names + 1;
    return u->names <= ALL_SUBSETS ? (size_t)1 << u->names : 3 * u->names - 1;
}

/* Outcome 0 keeps none. */
static void decide_names(const struct undecided *u, size_t outcome, bool *keep)
{
    size_t n = u->names;
    for (size_t i = 0; i < n; i++) {
        if (!u->ordered && n >= 2 && n <= ALL_SUBSETS)
            keep[i] = (outcome >> i & 1) != 0;
        else if (outcome <= n)
            keep[i] = i < outcome; /* a prefix */
        else if (outcome <= 2 * n - 1)
            keep[i] = i != outcome - n - 1; /* all but one; all but the last is a prefix */
        else
            keep[i] = i == outcome - 2 * n + 1; /* one alone; the first alone is a prefix */
    }
}

/* ---- files ---- */

/* The j-th of cap positions spread evenly over [first, last], both ends included. */
static size_t spread(size_t first, size_t last, size_t cap, size_t j)
{
    size_t count = last - first + 1;
    return count <= cap ? first + j : first + j * (count - 1) / (cap - 1);
}

/* All outcomes of a file but ALL_LOST and ALL_KEPT. list holds them, or is NULL to count. */
static size_t variants(const struct sd_dirty *d, struct variant *list)
{
    size_t count = 0;
#define ADD(outcome, n) (list != NULL ? (void)(list[count] = (struct variant){(outcome), (n)}) : (void)0, count++)
    size_t n = d->count;
    if (n == 0)
        return 0;
    bool grew = d->inode->size > d->inode->durable_size;
    if (d->size_changed)
        ADD(SIZE_ONLY, 0);
    for (size_t j = 0; j < BC_MIN(n - 1, (size_t)PREFIXES); j++) {
        size_t at = spread(1, n - 1, PREFIXES, j);
        ADD(PREFIX, at);
        if (grew)
            ADD(PREFIX_SIZED, at);
    }
    for (size_t j = 0; j < BC_MIN(n, (size_t)HOLES); j++) {
        size_t at = spread(0, n - 1, HOLES, j);
        ADD(TORN_HEAD, at);
        ADD(TORN_TAIL, at);
        if (at == n - 1)
            continue;
        ADD(HOLE, at);
        ADD(HOLE_TORN, at);
    }
    if (n > 1)
        ADD(ONLY, n - 1);
#undef ADD
    return count;
}

static unsigned char fate(struct variant v, size_t i)
{
    switch (v.outcome) {
    case ALL_KEPT:
        return SD_KEPT;
    case PREFIX:
    case PREFIX_SIZED:
        return i < v.n ? SD_KEPT : SD_LOST;
    case TORN_HEAD:
        return i < v.n ? SD_KEPT : i == v.n ? SD_HEAD_KEPT : SD_LOST;
    case TORN_TAIL:
        return i < v.n ? SD_KEPT : i == v.n ? SD_TAIL_KEPT : SD_LOST;
    case HOLE:
        return i != v.n ? SD_KEPT : SD_LOST;
    case HOLE_TORN:
        return i != v.n ? SD_KEPT : SD_HEAD_KEPT;
    case ONLY:
        return i == v.n ? SD_KEPT : SD_LOST;
    case ALL_LOST:
    case SIZE_ONLY:
    default:
        return SD_LOST;
    }
}

/* The size that reaches the last sector that was kept, at least the old one. */
static uint64_t reached_size(const struct sd_dirty *d, const unsigned char *fates)
{
    uint64_t size = d->inode->durable_size;
    for (size_t i = 0; i < d->count; i++)
        if (fates[i] != SD_LOST)
            size = BC_MAX(size, BC_MIN((d->sectors[i] + 1) * SIMDISK_SECTOR, d->inode->size));
    return size;
}

static void crash_file(const struct sd_dirty *d, struct variant v)
{
    unsigned char *fates = sd_alloc(NULL, d->count);
    for (size_t i = 0; i < d->count; i++)
        fates[i] = fate(v, i);
    uint64_t size = v.outcome == ALL_LOST                           ? d->inode->durable_size
                    : v.outcome == PREFIX || v.outcome == TORN_HEAD ? reached_size(d, fates)
                                                                    : d->inode->size;
    sd_inode_crash(d, fates, size);
    free(fates);
}

/* ---- states ----
 * First every outcome of the names, with all files lost and with all kept; then each variant of each file, with the others
 * lost and kept, and no name and every name. */

static size_t rests(const struct undecided *u, size_t files)
{
    return u->dirty_count >= files ? 2 : 1;
}

/* With more than one dirty file, its being the only one lost or kept are variants too. */
static size_t file_variants(const struct undecided *u, size_t i, struct variant *list)
{
    size_t count = variants(&u->dirty[i], list);
    if (u->dirty_count > 1) {
        if (list != NULL) {
            list[count] = (struct variant){ALL_LOST, 0};
            list[count + 1] = (struct variant){ALL_KEPT, 0};
        }
        count += 2;
    }
    return count;
}

static size_t count_states(const struct undecided *u)
{
    size_t count = name_outcomes(u) * rests(u, 1);
    for (size_t i = 0; i < u->dirty_count; i++)
        count += file_variants(u, i, NULL) * rests(u, 2) * (u->names > 0 ? 2 : 1);
    return count;
}

static struct plan make_plan(const struct undecided *u, size_t state)
{
    struct plan p = {false, u->dirty_count, {ALL_LOST, 0}, sd_alloc(NULL, u->names * sizeof(bool))};
    size_t first = name_outcomes(u) * rests(u, 1);
    if (state < first) {
        p.rest_kept = state % rests(u, 1) != 0;
        decide_names(u, state / rests(u, 1), p.names);
        return p;
    }
    state -= first;
    size_t each = rests(u, 2) * (u->names > 0 ? 2 : 1);
    for (p.focus = 0; p.focus < u->dirty_count; p.focus++) {
        size_t count = file_variants(u, p.focus, NULL);
        if (state >= count * each) {
            state -= count * each;
            continue;
        }
        struct variant *list = sd_alloc(NULL, count * sizeof *list);
        file_variants(u, p.focus, list);
        p.variant = list[state / each];
        free(list);
        p.rest_kept = state % rests(u, 2) != 0;
        for (size_t i = 0; i < u->names; i++)
            p.names[i] = state % each >= rests(u, 2);
        return p;
    }
    abort(); /* no such state */
}

/* ---- the public face ---- */

unsigned simdisk_crash_states(struct simdisk *disk)
{
    sd_lock(disk);
    struct undecided u = survey(disk);
    unsigned count = (unsigned)count_states(&u);
    survey_free(&u);
    sd_unlock(disk);
    return count;
}

/* After the fates of the dirty files: the names, and what was in the page cache of all other files is gone. */
static void come_up_again(struct simdisk *disk, const bool *keep)
{
    for (size_t i = 0; i < disk->inode_count; i++) {
        struct sd_dirty clean = {disk->inodes[i], NULL, 0, false};
        if (clean.inode->memfd >= 0)
            sd_inode_crash(&clean, NULL, clean.inode->durable_size);
    }
    for (size_t i = 0; i < disk->pending_count; i++)
        if (keep[i])
            sd_pending_apply(&disk->pending[i]);
    sd_pending_clear(disk, NULL);
    for (size_t i = 0; i < disk->dir_count; i++)
        sd_names_copy(&disk->dirs[i]->now, &disk->dirs[i]->durable);
    sd_collect(disk);
}

void simdisk_crash_apply(struct simdisk *disk, unsigned state)
{
    sd_lock(disk);
    sd_drop_process(disk);
    struct undecided u = survey(disk);
    struct plan p = make_plan(&u, state);
    for (size_t i = 0; i < u.dirty_count; i++)
        crash_file(&u.dirty[i], i == p.focus ? p.variant : (struct variant){p.rest_kept ? ALL_KEPT : ALL_LOST, 0});
    survey_free(&u);
    come_up_again(disk, p.names);
    free(p.names);
    sd_unlock(disk);
}

void simdisk_crash_describe(struct simdisk *disk, unsigned state, char *buf, size_t size)
{
    sd_lock(disk);
    struct undecided u = survey(disk);
    struct plan p = make_plan(&u, state);
    size_t at = 0;
#define SAY(...) at += (size_t)snprintf(at < size ? buf + at : NULL, at < size ? size - at : 0, __VA_ARGS__)
    SAY("state %u of %zu: ", state, count_states(&u));
    if (p.focus < u.dirty_count) {
        const struct sd_dirty *d = &u.dirty[p.focus];
        SAY("%s (%" PRIu64 " -> %" PRIu64 " bytes, %zu dirty sectors): %s %zu, ", d->inode->name, d->inode->durable_size,
            d->inode->size, d->count, outcome_names[p.variant.outcome], p.variant.n);
    }
    SAY("%zu %sdirty files %s; names:", u.dirty_count, p.focus < u.dirty_count ? "in all, other " : "",
        p.rest_kept ? "kept" : "lost");
    for (size_t i = 0; i < u.names; i++) {
        const struct sd_pending *op = &disk->pending[i];
        SAY(" %s%s%s%s", p.names[i] ? "+" : "lost:", op->from == NULL ? "" : op->from, op->from == NULL ? "" : ">",
            op->to == NULL ? "" : op->to);
    }
#undef SAY
    free(p.names);
    survey_free(&u);
    sd_unlock(disk);
}

void simdisk_crash_random(struct simdisk *disk, uint64_t *rng)
{
    sd_lock(disk);
    sd_drop_process(disk);
    struct undecided u = survey(disk);
    for (size_t i = 0; i < u.dirty_count; i++) {
        const struct sd_dirty *d = &u.dirty[i];
        unsigned kept_of_16 = (unsigned)(sd_next_random(rng) % 17); /* some files nearly lost, some nearly whole */
        unsigned char *fates = sd_alloc(NULL, d->count);
        for (size_t j = 0; j < d->count; j++) {
            uint64_t coin = sd_next_random(rng);
            bool torn = (coin >> 8) % 16 == 0;
            fates[j] = coin % 16 >= kept_of_16 ? SD_LOST
                       : !torn                 ? SD_KEPT
                       : (coin >> 16 & 1) != 0 ? SD_HEAD_KEPT
                                               : SD_TAIL_KEPT;
        }
        uint64_t sizes[] = {d->inode->durable_size, reached_size(d, fates), d->inode->size};
        sd_inode_crash(d, fates, sizes[sd_next_random(rng) % BC_ARRAY_SIZE(sizes)]);
        free(fates);
    }
    bool *keep = sd_alloc(NULL, u.names * sizeof *keep);
    size_t prefix = (size_t)(sd_next_random(rng) % (u.names + 1));
    for (size_t i = 0; i < u.names; i++)
        keep[i] = u.ordered ? i < prefix : (sd_next_random(rng) >> 32 & 1) != 0;
    survey_free(&u);
    come_up_again(disk, keep);
    free(keep);
    sd_unlock(disk);
}
