/* test_verify.c - verify says what is damaged, where, and whose it is, for each kind of damage; repair makes the store whole
 * again and keeps all that is readable: what is lost is deleted, never an older version, and no byte is destroyed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bitcask/coding.h"
#include "bitcask/crc.h"
#include "bitcask/format_hint.h"
#include "bitcask/format_manifest.h"
#include "bitcask/format_record.h"
#include "test/support/findings.h"
#include "test/support/store.h"

static const char first[] = "0000000001.data", second[] = "0000000002.data", first_hint[] = "0000000001.hint";

/* ---- what damage does ---- */

static long find_bytes(const char *path, const char *needle)
{
    size_t size;
    char *data = store_read_file(path, &size);
    const char *at = memmem(data, size, needle, strlen(needle));
    long offset = at == NULL ? -1 : (long)(at - data);
    free(data);
    ck_assert_msg(offset >= 0, "no '%s' in %s", needle, path);
    return offset;
}

/* The start of number 5's record: in the first file. */
static long record_5(const char *path)
{
    return find_bytes(store_file(path, first), "key000005") - 24;
}

static void flip_first(const char *path, long offset)
{
    store_flip(store_file(path, first), offset, 0x20);
}

static void damage_value(const char *path)
{
    flip_first(path, record_5(path) + 24 + 9 + 100);
}
static void damage_value_crc(const char *path)
{
    flip_first(path, record_5(path) + 5);
}
static void damage_head_crc(const char *path)
{
    flip_first(path, record_5(path));
}
static void damage_sequence(const char *path)
{
    flip_first(path, record_5(path) + 9);
}
static void damage_size(const char *path)
{
    flip_first(path, record_5(path) + 18);
}
static void damage_type(const char *path)
{
    flip_first(path, record_5(path) + 22);
}
static void damage_key(const char *path)
{
    flip_first(path, record_5(path) + 26);
}
static void damage_key_without_hint(const char *path)
{
    damage_key(path);
    store_remove(store_file(path, first_hint));
}
static void damage_header(const char *path)
{
    flip_first(path, 100);
}
static void damage_mark(const char *path)
{
    flip_first(path, 4096 + 8);
    flip_first(path, 4096 + 512 + 8);
}
static void damage_link(const char *path)
{
    flip_first(path, 8192 + 24 + 9);
}
static void damage_link_head(const char *path)
{
    flip_first(path, 8192 + 16);
}
static void cut_file(const char *path)
{
    ck_assert_int_eq(truncate(store_file(path, first), record_5(path) + 1000), 0);
}
static void remove_file(const char *path)
{
    store_remove(store_file(path, first));
}
static void remove_file_and_hint(const char *path)
{
    remove_file(path);
    store_remove(store_file(path, first_hint));
}
static void swap_files(const char *path)
{
    char a[300], b[300], c[300];
    snprintf(a, sizeof a, "%s/%s", path, first);
    snprintf(b, sizeof b, "%s/%s", path, second);
    snprintf(c, sizeof c, "%s/x", path);
    ck_assert(rename(a, c) == 0 && rename(b, a) == 0 && rename(c, b) == 0);
}
static void foreign_file(const char *path)
{
    const char *other = store_make_numbers(0);
    store_copy_file(store_file(other, first), store_file(path, first));
}
static void link_instead(const char *path)
{
    char elsewhere[300];
    snprintf(elsewhere, sizeof elsewhere, "%s.elsewhere", path);
    ck_assert_int_eq(rename(store_file(path, first), elsewhere), 0);
    ck_assert_int_eq(symlink(elsewhere, store_file(path, first)), 0);
}
static void fifo_instead(const char *path)
{
    store_remove(store_file(path, first));
    ck_assert_int_eq(mkfifo(store_file(path, first), 0600), 0);
}
static void damage_hint(const char *path)
{
    store_flip(store_file(path, first_hint), 200, 4);
}
static void damage_hint_header(const char *path)
{
    store_flip(store_file(path, first_hint), 50, 4);
}
static void cut_hint(const char *path)
{
    ck_assert_int_eq(truncate(store_file(path, first_hint), 300), 0);
}
static void foreign_hint(const char *path)
{
    const char *other = store_make_numbers(0);
    store_copy_file(store_file(other, first_hint), store_file(path, first_hint));
}
static void fifo_for_hint(const char *path)
{
    store_remove(store_file(path, first_hint));
    ck_assert_int_eq(mkfifo(store_file(path, first_hint), 0600), 0);
}
static void damage_manifest_copy(const char *path)
{
    store_flip(store_file(path, "MANIFEST"), 60, 1);
}
static void damage_other_manifest_copy(const char *path)
{
    store_flip(store_file(path, "MANIFEST"), 4096 + 60, 1);
}
static void damage_manifest(const char *path)
{
    damage_manifest_copy(path);
    damage_other_manifest_copy(path);
}
static void remove_manifest(const char *path)
{
    store_remove(store_file(path, "MANIFEST"));
}
static void damage_header_without_manifest(const char *path)
{
    remove_manifest(path);
    damage_header(path);
}
static void damage_value_without_manifest(const char *path)
{
    damage_value(path);
    remove_manifest(path);
}

static void extra_newer_file(const char *path)
{
    const char *other = store_make_numbers(0);
    store_copy_file(store_file(other, first), store_file(path, "0000000099.data"));
}

/* Hints with good CRCs that lie. kind: what about. */
static void forge_hint(const char *path, int kind)
{
    size_t size;
    char *bytes = store_read_file(store_file(path, first_hint), &size);
    struct bc_hint_header h;
    ck_assert_int_eq(bc_hint_header_decode(&h, bytes), BC_FORMAT_OK);
    ck_assert_uint_eq(h.blocks, 1);
    char *payload = bytes + BC_HINT_HEADER + BC_HINT_BLOCK_HEADER;
    size_t left = size - BC_HINT_HEADER - BC_HINT_BLOCK_HEADER;
    struct bc_hint_entry e;
    size_t took = bc_hint_entry_decode(&e, payload, left, h.data_end);
    ck_assert_uint_ne(took, 0);
    switch (kind) {
    case 0: /* another sequence */
        e.sequence++;
        bc_hint_entry_encode(payload, &e);
        break;
    case 1: /* another place */
        e.offset += 8;
        bc_hint_entry_encode(payload, &e);
        break;
    case 2: /* a key is missing */
        memmove(payload, payload + took, left - took);
        left -= took;
        h.entries--;
        break;
    case 3: /* another key */
        payload[BC_HINT_ENTRY + 8] ^= 1;
        break;
    case 4: /* a deletion where there is none */
        e.type = BC_RECORD_TOMBSTONE;
        e.value_size = 0;
        h.tombstones++;
        bc_hint_entry_encode(payload, &e);
        break;
    default: /* other sequences in the header */
        h.min_sequence++;
        break;
    }
    bc_hint_block_encode(payload - BC_HINT_BLOCK_HEADER, h.data.nonce, 0, payload, (uint32_t)left, (uint32_t)h.entries);
    h.size = BC_HINT_HEADER + BC_HINT_BLOCK_HEADER + left;
    h.body_crc = bc_crc32(0, bytes + BC_HINT_HEADER, BC_HINT_BLOCK_HEADER + left);
    bc_hint_header_encode(bytes, &h);
    store_write_file(store_file(path, first_hint), bytes, h.size);
    free(bytes);
}

static void forge_0(const char *path)
{
    forge_hint(path, 0);
}
static void forge_1(const char *path)
{
    forge_hint(path, 1);
}
static void forge_2(const char *path)
{
    forge_hint(path, 2);
}
static void forge_3(const char *path)
{
    forge_hint(path, 3);
}
static void forge_4(const char *path)
{
    forge_hint(path, 4);
}
static void forge_5(const char *path)
{
    forge_hint(path, 5);
}

/* ---- what is to be found, and what repair must keep ---- */

#define ALL_OF_FILE 0xffU

struct damage {
    const char *what;
    void (*make)(const char *path);
    uint32_t code, severity;
    const char *file;
    unsigned lost;   /* 0: nothing; 1: number 5; 2: from number 5 to the end of the file; ALL_OF_FILE */
    bool keyed;      /* a finding names number 5 */
    bool unreadable; /* what is lost is not in a file that is still there */
};

static const struct damage damages[] = {
    {"value", damage_value, BITCASK_FINDING_VALUE, 3, first, 1, true, false},
    {"value CRC", damage_value_crc, BITCASK_FINDING_RECORD, 3, first, 1, true, false},
    {"head CRC", damage_head_crc, BITCASK_FINDING_RECORD, 3, first, 1, true, false},
    {"sequence", damage_sequence, BITCASK_FINDING_RECORD, 3, first, 1, true, false},
    {"size", damage_size, BITCASK_FINDING_RECORD, 3, first, 1, true, false},
    {"type", damage_type, BITCASK_FINDING_RECORD, 3, first, 1, true, false},
    {"key", damage_key, BITCASK_FINDING_RECORD, 3, first, 1, true, false},
    {"key, without hint", damage_key_without_hint, BITCASK_FINDING_RECORD, 3, first, 1, false, false},
    {"header", damage_header, BITCASK_FINDING_HEADER, 3, first, 0, false, false},
    {"mark", damage_mark, BITCASK_FINDING_MARK, 2, first, 0, false, false},
    {"link", damage_link, BITCASK_FINDING_LINK, 3, first, 0, false, false},
    {"link's head", damage_link_head, BITCASK_FINDING_RECORD, 3, first, 0, false, false},
    {"cut file", cut_file, BITCASK_FINDING_TRUNCATED, 3, first, 2, true, false},
    {"missing file", remove_file, BITCASK_FINDING_MISSING, 3, first, ALL_OF_FILE, false, true},
    {"missing file and hint", remove_file_and_hint, BITCASK_FINDING_MISSING, 3, first, ALL_OF_FILE, false, true},
    {"swapped files", swap_files, BITCASK_FINDING_FOREIGN, 3, second, 0, false, false},
    {"foreign file", foreign_file, BITCASK_FINDING_FOREIGN, 3, first, ALL_OF_FILE, false, true},
    {"symbolic link", link_instead, BITCASK_FINDING_MISSING, 3, first, ALL_OF_FILE, false, true},
    {"FIFO", fifo_instead, BITCASK_FINDING_MISSING, 3, first, ALL_OF_FILE, false, true},
    {"newer file of another store", extra_newer_file, BITCASK_FINDING_FOREIGN, 3, "0000000099.data", 0, false, false},
    {"hint", damage_hint, BITCASK_FINDING_HINT, 2, first_hint, 0, false, false},
    {"hint's header", damage_hint_header, BITCASK_FINDING_HINT, 2, first_hint, 0, false, false},
    {"cut hint", cut_hint, BITCASK_FINDING_HINT, 2, first_hint, 0, false, false},
    {"foreign hint", foreign_hint, BITCASK_FINDING_HINT, 2, first_hint, 0, false, false},
    {"FIFO for a hint", fifo_for_hint, BITCASK_FINDING_HINT, 2, first_hint, 0, false, false},
    {"forged hint: sequence", forge_0, BITCASK_FINDING_HINT, 3, first_hint, 0, false, false},
    {"forged hint: place", forge_1, BITCASK_FINDING_HINT, 3, first_hint, 0, false, false},
    {"forged hint: key missing", forge_2, BITCASK_FINDING_HINT, 3, first_hint, 0, false, false},
    {"forged hint: other key", forge_3, BITCASK_FINDING_HINT, 3, first_hint, 0, false, false},
    {"forged hint: deletion", forge_4, BITCASK_FINDING_HINT, 3, first_hint, 0, false, false},
    {"forged hint: sequences", forge_5, BITCASK_FINDING_HINT, 3, first_hint, 0, false, false},
    {"first copy of the MANIFEST", damage_manifest_copy, BITCASK_FINDING_COPY, 2, "MANIFEST", 0, false, false},
    {"second copy of the MANIFEST", damage_other_manifest_copy, BITCASK_FINDING_COPY, 2, "MANIFEST", 0, false, false},
    {"MANIFEST", damage_manifest, BITCASK_FINDING_MANIFEST, 3, "MANIFEST", 0, false, false},
    {"no MANIFEST", remove_manifest, BITCASK_FINDING_MANIFEST, 3, "MANIFEST", 0, false, false},
    {"no MANIFEST, header", damage_header_without_manifest, BITCASK_FINDING_HEADER, 3, first, 0, false, false},
    {"no MANIFEST, value", damage_value_without_manifest, BITCASK_FINDING_VALUE, 3, first, 1, true, false},
};

/* How many numbers have their record in the first file. */
static unsigned numbers_of_first(const char *path)
{
    size_t size;
    char *data = store_read_file(store_file(path, first), &size), key[16];
    unsigned n = 0;
    for (; n < STORE_NUMBERS; n++) {
        snprintf(key, sizeof key, "key%06u", n);
        if (memmem(data, size, key, 9) == NULL)
            break;
    }
    free(data);
    ck_assert_uint_gt(n, 8);
    return n;
}

static bool is_lost(const struct damage *d, unsigned number, unsigned of_first)
{
    if (d->lost == ALL_OF_FILE)
        return number < of_first;
    return d->lost == 1 ? number == 5 : d->lost == 2 && number >= 5 && number < of_first;
}

static void check_contents(const struct damage *d, const char *path, int mode, unsigned of_first)
{
    bitcask_options o = store_options(mode);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < STORE_NUMBERS; i++) {
        int result = store_check_number(db, i, 1, STORE_NUMBER_SIZE),
            expected = is_lost(d, i, of_first) ? BITCASK_NOT_FOUND : 0;
        ck_assert_msg(result == expected, "%s: number %u: %d", d->what, i, result);
    }
    /* Life goes on. */
    ck_assert_int_eq(store_put_number(db, 5, 1, STORE_NUMBER_SIZE), BITCASK_OK);
    store_close(db);
}

static void expect_clean(const char *what, const char *path)
{
    struct found_list l;
    int result = found_verify(path, 0, &l);
    if (result != BITCASK_OK)
        found_print(&l);
    ck_assert_msg(result == BITCASK_OK, "%s: not clean: %s", what, bitcask_last_error()->message);
    found_free(&l);
}

static void expect_found(const struct damage *d, const struct found_list *l)
{
    const struct found *f = NULL;
    bool good = false, keyed = false;
    for (size_t i = 0; i < l->count; i++) {
        f = &l->items[i];
        good = good || (f->code == d->code && f->severity == d->severity && strcmp(f->file, d->file) == 0);
        keyed = keyed || (f->code != BITCASK_FINDING_LOST && strcmp(f->key, "key000005") == 0);
    }
    if (!good || keyed != d->keyed)
        found_print(l);
    ck_assert_msg(good, "%s: not found", d->what);
    ck_assert_msg(keyed == d->keyed, "%s: key", d->what);
}

static bool same_file(const char *a, const char *b)
{
    size_t a_size, b_size;
    void *a_bytes = store_read_file(a, &a_size), *b_bytes = store_read_file(b, &b_size);
    bool same = a_size == b_size && memcmp(a_bytes, b_bytes, a_size) == 0;
    free(a_bytes);
    free(b_bytes);
    return same;
}

START_TEST(test_each_kind_of_damage)
{
    const struct damage *d = &damages[_i];
    int mode = _i % 2; /* of the handles that write and read: verify and repair know no modes */
    const char *path = store_make_numbers(mode), *before = store_path();
    unsigned of_first = numbers_of_first(path);
    d->make(path);
    bool whole =
        strcmp(d->what, "FIFO") == 0 || strcmp(d->what, "FIFO for a hint") == 0 || strcmp(d->what, "symbolic link") == 0;
    if (!whole)
        store_copy_directory(path, before);
    uint64_t digest = store_digest(path);
    struct found_list l;
    ck_assert_msg(found_verify(path, 0, &l) == BITCASK_CORRUPT, "%s: verify: %s", d->what, bitcask_last_error()->message);
    expect_found(d, &l);
    found_free(&l);
    ck_assert_int_eq(found_repair(path, BITCASK_REPAIR_DRY_RUN, &l), BITCASK_CORRUPT);
    expect_found(d, &l);
    ck_assert_uint_ge(l.result.repaired, 1);
    found_free(&l);
    ck_assert_msg(store_digest(path) == digest, "%s: verify or a dry run wrote", d->what);
    ck_assert_msg(found_repair(path, 0, &l) == BITCASK_OK, "%s: repair: %s", d->what, bitcask_last_error()->message);
    expect_found(d, &l);
    ck_assert_uint_ge(l.result.repaired, 1);
    if (d->keyed)
        ck_assert_uint_eq(l.result.lost, d->lost == 2 ? of_first - 5 : 1);
    ck_assert_uint_eq(found_count(&l, BITCASK_FINDING_LOST), l.result.lost);
    found_free(&l);
    /* Nothing is destroyed: what stood under the name is in lost+found, as it was. */
    for (unsigned i = 0; !whole && store_nth(before, "", i) != NULL; i++) {
        const char *name = store_nth(before, "", i);
        char aside[300];
        snprintf(aside, sizeof aside, "%s/lost+found/%s", path, name);
        bool kept = access(store_file(path, name), F_OK) == 0 && same_file(store_file(before, name), store_file(path, name));
        if (!kept && strcmp(name, "LOCK") != 0 &&
            !(strcmp(name, "MANIFEST") == 0 && d->severity == 3 && d->code != BITCASK_FINDING_MANIFEST))
            ck_assert_msg((access(aside, F_OK) == 0 && same_file(store_file(before, name), aside)) ||
                              strcmp(name, "MANIFEST") == 0,
                          "%s: %s is gone", d->what, name);
    }
    expect_clean(d->what, path);
    ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
    ck_assert_uint_eq(l.result.repaired, 0);
    found_free(&l);
    check_contents(d, path, mode, of_first);
    expect_clean(d->what, path);
}
END_TEST

/* ---- a clean store ---- */

START_TEST(test_clean_store_and_recount)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 400; i++) {
        ck_assert_int_eq(store_put_number(db, i % 150, i, 700), BITCASK_OK);
        if (i % 7 == 0)
            ck_assert_int_eq(bitcask_delete(db, i % 2 == 0 ? "key000007" : "key000014", 9, NULL, NULL) <= 0, 1);
    }
    bitcask_batch *b;
    ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
    for (unsigned i = 0; i < 40; i++)
        ck_assert_int_eq(bitcask_batch_put(b, "batch", 5, "0123456789", 10, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    bitcask_batch_free(b);
    ck_assert_int_eq(store_put_flags(db, "expires", "soon", 0, 0, 200000000000, NULL), BITCASK_OK);
    store_close(db);
    db = store_open(path, &o);
    bitcask_stats s = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(db, &s), BITCASK_OK);
    store_close(db);
    uint64_t digest = store_digest(path);
    struct found_list l;
    ck_assert_int_eq(found_verify(path, BITCASK_VERIFY_RECOUNT, &l), BITCASK_OK);
    ck_assert_uint_eq(l.count, 0);
    ck_assert_uint_eq(l.result.files, s.data_files);
    ck_assert_uint_eq(l.result.hints, s.data_files);
    ck_assert_uint_eq(l.result.keys, s.keys);
    ck_assert_uint_eq(l.result.live_bytes, s.live_bytes);
    ck_assert_uint_eq(l.result.dead_bytes, s.dead_bytes);
    ck_assert_uint_eq(l.result.bytes, s.disk_bytes);
    ck_assert_uint_eq(store_digest(path), digest);
    ck_assert_int_eq(bitcask_verify(path, NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_repair(path, NULL, NULL), BITCASK_OK);
    ck_assert_uint_eq(store_digest(path), digest);
    found_free(&l);
}
END_TEST

/* What a process that is killed leaves: numbers of 1000 bytes, the first ones synced. */
static const char *make_killed(int mode, unsigned synced, unsigned count)
{
    const char *path = store_path();
    bitcask_options o = store_options(mode);
    pid_t pid = fork();
    if (pid == 0) {
        bitcask *db = NULL;
        bool good = bitcask_open(path, &o, &db) == BITCASK_OK;
        for (unsigned i = 0; i < count && good; i++) {
            good = store_put_number(db, i, 1, 1000) == BITCASK_OK;
            if (good && i + 1 == synced)
                good = bitcask_sync(db) == BITCASK_OK;
        }
        raise(good ? SIGKILL : SIGTERM);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return path;
}

static void expect_numbers(const char *path, int mode, unsigned count, unsigned lost)
{
    bitcask_options o = store_options(mode);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, 1000), i == lost ? BITCASK_NOT_FOUND : 0);
    store_close(db);
}

/* What a crash leaves is no damage (P9): files listed open, torn tails, unfinished files. */
START_TEST(test_after_a_kill)
{
    const char *path = make_killed(_i, 0, 100);
    store_write_file(store_file(path, "MANIFEST.tmp"), "x", 1);
    store_write_file(store_file(path, "0000000001.hint.tmp"), "x", 1);
    uint64_t digest = store_digest(path);
    struct found_list l;
    ck_assert_int_eq(found_verify(path, BITCASK_VERIFY_RECOUNT, &l), BITCASK_OK);
    ck_assert_uint_eq(l.count, 0);
    ck_assert_uint_eq(l.result.keys, 100);
    found_free(&l);
    ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
    ck_assert_uint_eq(l.result.repaired, 0);
    found_free(&l);
    ck_assert_uint_eq(store_digest(path), digest);
    expect_numbers(path, _i, 100, UINT32_MAX);
}
END_TEST

/* Damage below the mark of a file that a kill left open: the records behind it were durable, too. */
START_TEST(test_damage_in_an_open_file)
{
    const char *path = make_killed(_i, 20, 25);
    long at = find_bytes(store_file(path, first), "key000007");
    store_flip(store_file(path, first), at, 1);
    struct found_list l;
    ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_CORRUPT);
    const struct found *f = found_find(&l, BITCASK_FINDING_RECORD, first, 0);
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(f->offset, (uint64_t)at - 24);
    found_free(&l);
    ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
    ck_assert_uint_eq(l.result.salvaged, 24);
    found_free(&l);
    expect_clean("open file", path);
    expect_numbers(path, _i, 25, 7);
}
END_TEST

/* Above the mark the first bad byte is the end: nobody looks behind it, and it is no damage. */
START_TEST(test_torn_tail_is_the_end)
{
    const char *path = make_killed(_i, 0, 20);
    store_flip(store_file(path, first), find_bytes(store_file(path, first), "key000007"), 1);
    struct found_list l;
    ck_assert_int_eq(found_verify(path, BITCASK_VERIFY_RECOUNT, &l), BITCASK_OK);
    ck_assert_uint_eq(l.count, 0);
    ck_assert_uint_eq(l.result.keys, 7);
    found_free(&l);
}
END_TEST

/* A lost record never gives way to the older version that stands before it. */
START_TEST(test_no_older_version_returns)
{
    for (unsigned round = 0; round < 3; round++) {
        const char *path = store_make_numbers(_i);
        bitcask_options o = store_options(_i);
        bitcask *db = store_open(path, &o);
        ck_assert_int_eq(store_put(db, "key000005", "the newer value"), BITCASK_OK);
        ck_assert_int_eq(store_put(db, "other", "stays"), BITCASK_OK);
        store_close(db);
        const char *name = store_nth(path, ".data", store_count(path, ".data") - 1);
        long at = find_bytes(store_file(path, name), "the newer value");
        /* Its value; its key, which the hint knows; the whole file, which the hint knows. */
        if (round < 2)
            store_flip(store_file(path, name), round == 0 ? at + 2 : at - 3, 1);
        else
            store_remove(store_file(path, name));
        struct found_list l;
        ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
        const struct found *f = found_find(&l, BITCASK_FINDING_LOST, NULL, 0);
        ck_assert_ptr_nonnull(f);
        found_free(&l);
        db = store_open(path, &o);
        store_expect(db, "key000005", NULL);
        store_expect(db, "other", round < 2 ? "stays" : NULL);
        store_close(db);
        expect_clean("older version", path);
    }
}
END_TEST

/* An older MANIFEST was put back alone: repair makes the newest again from the files. */
START_TEST(test_older_manifest)
{
    for (unsigned round = 0; round < 2; round++) {
        const char *path = store_path(), *saved = store_path();
        bitcask_options o = store_options(_i);
        bitcask *db = store_open(path, &o);
        ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
        store_close(db);
        store_copy_file(store_file(path, "MANIFEST"), saved);
        db = store_open(path, &o);
        for (unsigned i = 0; i < (round == 0 ? STORE_NUMBERS : 3); i++)
            ck_assert_int_eq(store_put_number(db, i, 1, STORE_NUMBER_SIZE), BITCASK_OK);
        store_close(db);
        store_copy_file(saved, store_file(path, "MANIFEST"));
        struct found_list l;
        ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_CORRUPT);
        ck_assert_ptr_nonnull(found_find(&l, BITCASK_FINDING_MANIFEST, NULL, 0));
        found_free(&l);
        ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
        found_free(&l);
        expect_clean("older MANIFEST", path);
        db = store_open(path, &o);
        store_expect(db, "a", "1");
        for (unsigned i = 0; i < (round == 0 ? STORE_NUMBERS : 3); i++)
            ck_assert_int_eq(store_check_number(db, i, 1, STORE_NUMBER_SIZE), 0);
        store_close(db);
    }
}
END_TEST

/* A MANIFEST that is lost after a kill: two open files, no ends. */
START_TEST(test_lost_manifest_after_a_kill)
{
    const char *path = make_killed(_i, 0, 100);
    store_remove(store_file(path, "MANIFEST"));
    struct found_list l;
    ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_CORRUPT);
    found_free(&l);
    ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
    ck_assert_uint_eq(l.result.lost, 0);
    found_free(&l);
    expect_clean("lost MANIFEST", path);
    expect_numbers(path, _i, 100, UINT32_MAX);
}
END_TEST

/* What was cleared does not come back with a lost MANIFEST (P6). */
START_TEST(test_lost_manifest_after_a_clear)
{
    const char *path = store_make_numbers(_i), *old = store_path();
    store_copy_directory(path, old);
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "after", "the clear"), BITCASK_OK);
    store_close(db);
    store_copy_file(store_file(old, first), store_file(path, first)); /* its name was not removed before the machine stopped */
    store_remove(store_file(path, "MANIFEST"));
    struct found_list l;
    ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
    found_free(&l);
    expect_clean("clear", path);
    db = store_open(path, &o);
    store_expect(db, "after", "the clear");
    store_expect(db, "key000001", NULL);
    store_close(db);
}
END_TEST

/* A batch that lost its frame, or one of its records, in a sealed file: what is readable was committed, and stays. */
START_TEST(test_damaged_batch)
{
    for (unsigned round = 0; round < 3; round++) {
        const char *path = store_path();
        bitcask_options o = store_options(_i);
        bitcask *db = store_open(path, &o);
        bitcask_batch *b;
        ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
        ck_assert_int_eq(bitcask_batch_put(b, "one", 3, "first value", 11, 0), BITCASK_OK);
        ck_assert_int_eq(bitcask_batch_put(b, "two", 3, "second value", 12, 0), BITCASK_OK);
        ck_assert_int_eq(bitcask_batch_put(b, "three", 5, "third value", 11, 0), BITCASK_OK);
        ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
        bitcask_batch_free(b);
        ck_assert_int_eq(store_put(db, "behind", "it"), BITCASK_OK);
        store_close(db);
        long at = find_bytes(store_file(path, first), "onefirst value") - 24;
        /* The frame stands behind the link. Its value; its header; the header of a record. */
        const long frame = 8192 + 56;
        store_flip(store_file(path, first), round == 0 ? frame + 24 + 9 : round == 1 ? frame + 16 : at + 16, 1);
        struct found_list l;
        ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_CORRUPT);
        ck_assert_ptr_nonnull(found_find(&l, round == 0 ? BITCASK_FINDING_BATCH : BITCASK_FINDING_RECORD, first, 0));
        found_free(&l);
        ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
        found_free(&l);
        expect_clean("batch", path);
        db = store_open(path, &o);
        store_expect(db, "one", round == 2 ? NULL : "first value");
        store_expect(db, "two", "second value");
        store_expect(db, "three", "third value");
        store_expect(db, "behind", "it");
        store_close(db);
    }
}
END_TEST

/* Unlisted files are notes, and stay for the next open. */
START_TEST(test_leftovers)
{
    const char *path = store_make_numbers(_i);
    store_write_file(store_file(path, "0000000099.hint"), "x", 1);
    store_write_file(store_file(path, "MANIFEST.tmp"), "x", 1);
    store_write_file(store_file(path, "notes.txt"), "x", 1);
    store_copy_file(store_file(path, first), store_file(path, "0000000007.data"));
    struct found_list l;
    int result = found_verify(path, 0, &l);
    ck_assert_int_eq(result,
                     BITCASK_CORRUPT); /* file 1 under the name of file 7, which the next open would take for a newer one */
    ck_assert_uint_eq(found_count(&l, BITCASK_FINDING_LEFTOVER), 2);
    ck_assert_uint_eq(found_count(&l, BITCASK_FINDING_FOREIGN), 1);
    found_free(&l);
    ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
    found_free(&l);
    ck_assert_int_eq(access(store_file(path, "notes.txt"), F_OK), 0);
    ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_OK);
    ck_assert_uint_eq(l.count, 1); /* MANIFEST.tmp made way for a new one */
    found_free(&l);
    store_check_numbers(path, 0, _i);
    expect_clean("leftovers", path);
}
END_TEST

/* A hint of an earlier end of its data file is no damage, and stays for the next open to replace. */
START_TEST(test_stale_hint)
{
    const char *path = store_path(), *saved = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_close(db);
    store_copy_file(store_file(path, first_hint), saved);
    db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "b", "2"), BITCASK_OK);
    store_close(db);
    ck_assert_uint_eq(store_count(path, ".data"), 1);
    store_copy_file(saved, store_file(path, first_hint));
    struct found_list l;
    ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_OK);
    ck_assert_uint_eq(l.count, 1);
    ck_assert_uint_eq(l.items[0].code, BITCASK_FINDING_HINT);
    ck_assert_uint_eq(l.result.hints, 0);
    found_free(&l);
    ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
    ck_assert_uint_eq(l.result.repaired, 0);
    found_free(&l);
}
END_TEST

/* Its bytes stand under another file's name, and under its own a copy of a third: the copy may not stay in the way. */
START_TEST(test_names_taken_by_others)
{
    const char *path = store_make_numbers(_i);
    const char *other = store_nth(path, ".data", 1), *third = store_nth(path, ".data", 2);
    store_copy_file(store_file(path, first), store_file(path, other));
    store_copy_file(store_file(path, third), store_file(path, first));
    struct found_list l;
    ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_CORRUPT);
    found_free(&l);
    ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
    found_free(&l);
    ck_assert_int_eq(access(store_file(path, store_file("lost+found", first)), F_OK), 0);
    ck_assert_int_eq(access(store_file(path, store_file("lost+found", other)), F_OK), 0);
    expect_clean("names taken by others", path);
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_check_number(db, 0, 1, STORE_NUMBER_SIZE), 0);
    ck_assert_int_eq(store_check_number(db, STORE_NUMBERS - 1, 1, STORE_NUMBER_SIZE), 0);
    store_close(db);
}
END_TEST

/* Hint files that nothing reads, until the repair makes their data files: it does not leave them there. */
START_TEST(test_hints_that_would_count)
{
    for (unsigned round = 0; round < 2; round++) {
        const char *path = round == 0 ? store_make_numbers(_i) : make_killed(_i, 0, 100);
        if (round == 0)
            damage_value(path);
        else
            damage_manifest_copy(path);
        for (unsigned id = 1; id < 20; id++) {
            char name[32];
            snprintf(name, sizeof name, "%010u.hint", id);
            if (access(store_file(path, name), F_OK) != 0)
                store_write_file(store_file(path, name), "no hint file", 12);
        }
        struct found_list l;
        ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
        ck_assert_uint_ge(l.result.repaired, 1);
        found_free(&l);
        expect_clean("hints that would count", path);
    }
}
END_TEST

/* ---- bad input ---- */

static int stop_at_once(const bitcask_finding *finding, void *ctx)
{
    (void)finding;
    ++*(unsigned *)ctx;
    return 1;
}

static int stop_progress(const char *phase, uint64_t done, uint64_t total, void *ctx)
{
    ck_assert_str_eq(phase, "verify");
    ck_assert_uint_le(done, total);
    ++*(unsigned *)ctx;
    return 1;
}

START_TEST(test_bad_arguments)
{
    const char *path = store_path(), *file = store_path(), *empty = store_path();
    bitcask_verify_result r = BITCASK_VERIFY_RESULT_INIT;
    store_write_file(file, "x", 1);
    ck_assert_int_eq(mkdir(empty, 0700), 0);
    ck_assert_int_eq(bitcask_verify(NULL, NULL, &r), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_repair("", NULL, &r), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_verify(path, NULL, &r), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_repair(path, NULL, &r), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_verify(file, NULL, &r), BITCASK_IO);
    ck_assert_int_eq(bitcask_repair(file, NULL, &r), BITCASK_IO);
    ck_assert_int_eq(bitcask_verify(empty, NULL, &r), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_repair(empty, NULL, &r), BITCASK_NOT_FOUND);
    ck_assert_uint_eq(store_count(empty, ""), 0);
    bitcask_verify_options vo = BITCASK_VERIFY_OPTIONS_INIT;
    bitcask_repair_options ro = BITCASK_REPAIR_OPTIONS_INIT;
    vo.flags = 0x80000000U;
    ro.flags = 0x80000000U;
    path = store_make_numbers(_i);
    ck_assert_int_eq(bitcask_verify(path, &vo, &r), BITCASK_UNSUPPORTED);
    ck_assert_int_eq(bitcask_repair(path, &ro, &r), BITCASK_UNSUPPORTED);
    vo.flags = ro.flags = 0;
    vo.threads = ro.threads = 65;
    ck_assert_int_eq(bitcask_verify(path, &vo, &r), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_repair(path, &ro, &r), BITCASK_INVALID);
    vo.threads = ro.threads = 0;
    unsigned calls = 0;
    vo.progress = ro.progress = stop_progress;
    vo.progress_ctx = ro.progress_ctx = &calls;
    ck_assert_int_eq(bitcask_verify(path, &vo, &r), BITCASK_CANCELLED);
    damage_value(path);
    uint64_t digest = store_digest(path);
    ck_assert_int_eq(bitcask_repair(path, &ro, &r), BITCASK_CANCELLED);
    ck_assert_uint_eq(calls, 2);
    vo.progress = ro.progress = NULL;
    vo.finding = ro.finding = stop_at_once;
    vo.finding_ctx = ro.finding_ctx = &calls;
    ck_assert_int_eq(bitcask_verify(path, &vo, &r), BITCASK_CANCELLED);
    ck_assert_int_eq(bitcask_repair(path, &ro, &r), BITCASK_CANCELLED);
    ck_assert_uint_eq(calls, 4);
    ck_assert_uint_eq(store_digest(path), digest);
}
END_TEST

/* In use: verify works, repair is refused and changes nothing. */
START_TEST(test_store_in_use)
{
    const char *path = store_make_numbers(_i);
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    struct found_list l;
    ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_OK);
    ck_assert_uint_eq(l.count, 0);
    found_free(&l);
    damage_value(path);
    uint64_t digest = store_digest(path);
    ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_CORRUPT);
    found_free(&l);
    ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_LOCKED);
    found_free(&l);
    ck_assert_uint_eq(store_digest(path), digest);
    store_close(db);
}
END_TEST

/* A newer version's files are refused and left alone. */
START_TEST(test_newer_version)
{
    const char *path = store_make_numbers(_i);
    size_t size;
    unsigned char *bytes = store_read_file(store_file(path, first), &size);
    bc_put_u32(bytes + 8, 2);
    bc_put_u32(bytes + 4092, bc_crc32(0, bytes, 4092));
    store_write_file(store_file(path, first), bytes, size);
    free(bytes);
    uint64_t digest = store_digest(path);
    struct found_list l;
    ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_UNSUPPORTED);
    found_free(&l);
    ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_UNSUPPORTED);
    found_free(&l);
    ck_assert_uint_eq(store_digest(path), digest);
}
END_TEST

/* P14: a directory of any bytes under the store's names ends in a result, and repair in a store. */
START_TEST(test_random_bytes)
{
    uint32_t x = 12345 + (uint32_t)_i;
    for (unsigned round = 0; round < 8 * store_scale(); round++) {
        const char *path = store_make_numbers(_i);
        /* Whole files, or parts of them. */
        for (unsigned n = 0; n < 3; n++) {
            x = x * 1664525U + 1013904223U;
            const char *name = store_nth(path, "", (x >> 8) % store_count(path, ""));
            size_t size;
            unsigned char *bytes = store_read_file(store_file(path, name), &size);
            size_t from = round % 2 == 0 || size == 0 ? 0 : (x >> 4) % size;
            for (size_t i = from; i < size; i++) {
                x = x * 1664525U + 1013904223U;
                bytes[i] = (unsigned char)(x >> 24);
            }
            store_write_file(store_file(path, name), bytes, size);
            free(bytes);
        }
        struct found_list l;
        int result = found_verify(path, BITCASK_VERIFY_RECOUNT, &l);
        ck_assert_msg(result == BITCASK_CORRUPT || result == BITCASK_OK, "verify: %s", bitcask_last_error()->message);
        found_free(&l);
        ck_assert_msg(found_repair(path, 0, &l) == BITCASK_OK, "repair: %s", bitcask_last_error()->message);
        found_free(&l);
        expect_clean("random bytes", path);
        bitcask_options o = store_options(_i);
        bitcask *db = store_open(path, &o);
        for (unsigned i = 0; i < STORE_NUMBERS; i++) {
            result = store_check_number(db, i, 1, STORE_NUMBER_SIZE);
            ck_assert_msg(result == 0 || result == BITCASK_NOT_FOUND, "number %u: %d", i, result);
        }
        store_close(db);
        store_remove(path);
    }
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("verify");
    TCase *t = store_tcase("each kind of damage");
    tcase_add_loop_test(t, test_each_kind_of_damage, 0, (int)BC_ARRAY_SIZE(damages));
    suite_add_tcase(s, t);
    t = store_tcase("stores");
    store_add_test(t, test_clean_store_and_recount);
    store_add_test(t, test_after_a_kill);
    store_add_test(t, test_damage_in_an_open_file);
    store_add_test(t, test_torn_tail_is_the_end);
    store_add_test(t, test_no_older_version_returns);
    store_add_test(t, test_older_manifest);
    store_add_test(t, test_lost_manifest_after_a_kill);
    store_add_test(t, test_lost_manifest_after_a_clear);
    store_add_test(t, test_damaged_batch);
    store_add_test(t, test_leftovers);
    store_add_test(t, test_stale_hint);
    store_add_test(t, test_names_taken_by_others);
    store_add_test(t, test_hints_that_would_count);
    suite_add_tcase(s, t);
    t = store_tcase("bad input");
    store_add_test(t, test_bad_arguments);
    store_add_test(t, test_store_in_use);
    store_add_test(t, test_newer_version);
    store_add_test(t, test_random_bytes);
    suite_add_tcase(s, t);
    return s;
}
