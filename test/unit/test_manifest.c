/* test_manifest.c - bitcask/manifest.h: how the MANIFEST is replaced, what each failure on the way leaves, and how many files
 * it may list open. On a simulated disk. */
#include "bitcask/manifest.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/db.h"
#include "bitcask/error.h"
#include "test/support/simdisk.h"
#include "test/support/store.h"

struct fixture {
    struct simdisk *disk;
    struct bc_directory dir;
    struct bc_health health;
    _Atomic uint64_t next_sequence;
    struct bc_manifest_keeper keeper;
};

static void begin(struct fixture *f)
{
    struct bc_manifest none = {.next_id = 1, .ceiling = 1, .store = {{9}}};
    memset(f, 0, sizeof *f);
    f->disk = simdisk_new(1);
    f->next_sequence = 1;
    ck_assert_int_eq(bc_directory_open(&f->dir, simdisk_io(f->disk), "/store", true, 0600), BITCASK_OK);
    ck_assert_int_eq(bc_manifest_keeper_init(&f->keeper, &f->dir, &bc_allocator_default, &f->health, &f->next_sequence, &none),
                     BITCASK_OK);
}

static void end(struct fixture *f)
{
    bc_manifest_keeper_free(&f->keeper);
    bc_directory_close(&f->dir);
    ck_assert_uint_eq(simdisk_open_descriptors(f->disk), 0);
    simdisk_free(f->disk);
}

static int add_file(struct fixture *f, uint64_t id)
{
    struct bc_manifest edit;
    const struct bc_manifest_file file = {.name = {id, id * 3}, .state = BC_MANIFEST_SEALED, .end = BC_DATA_START};
    int result = bc_manifest_begin(&f->keeper, 1, &edit);
    if (result != BITCASK_OK)
        return result;
    bc_manifest_add(&edit, &file);
    return bc_manifest_commit(&f->keeper, &edit);
}

/* What a new opener would read. */
static struct bc_manifest read_back(struct fixture *f)
{
    struct bc_manifest m = {0};
    int damaged = -1;
    ck_assert_int_eq(bc_manifest_read(&f->dir, &bc_allocator_default, &m, &damaged), BITCASK_OK);
    ck_assert_int_eq(damaged, 0);
    return m;
}

START_TEST(test_edits)
{
    struct fixture f;
    struct bc_manifest edit, m = {.generation = 77};
    int damaged = 77;
    begin(&f);
    ck_assert_int_eq(bc_manifest_read(&f.dir, &bc_allocator_default, &m, &damaged), BITCASK_NOT_FOUND);
    ck_assert(m.generation == 77 && damaged == 77);
    for (uint64_t id = 1; id <= 200; id++) {
        ck_assert_int_eq(add_file(&f, id), BITCASK_OK);
        m = read_back(&f);
        ck_assert(m.count == id && m.generation == id && m.next_id == id + 1);
        ck_assert_uint_ge(m.ceiling, 1 + BC_CEILING_STEP);
        bc_manifest_free(&bc_allocator_default, &m);
    }
    ck_assert_int_eq(bc_manifest_begin(&f.keeper, 0, &edit), BITCASK_OK);
    ck_assert_ptr_null(bc_manifest_find(&edit, 201));
    ck_assert_uint_eq(bc_manifest_find(&edit, 7)->name.nonce, 21);
    bc_manifest_remove(&edit, 7);
    bc_manifest_remove(&edit, 200);
    bc_manifest_remove(&edit, 1);
    bc_manifest_remove(&edit, 1);
    ck_assert_uint_eq(edit.count, 197);
    ck_assert_ptr_null(bc_manifest_find(&edit, 7));
    ck_assert_uint_eq(edit.next_id, 201); /* ids are never used again */
    bc_manifest_abort(&f.keeper, &edit);
    m = read_back(&f);
    ck_assert_uint_eq(m.count, 200);
    bc_manifest_free(&bc_allocator_default, &m);
    end(&f);
}
END_TEST

/* No sequence at or above the durable ceiling: it moves ahead of the sequences by its step, and never back. */
START_TEST(test_ceiling)
{
    struct fixture f;
    begin(&f);
    ck_assert_int_eq(add_file(&f, 1), BITCASK_OK);
    ck_assert_uint_eq(f.keeper.ceiling, 1 + BC_CEILING_STEP);
    f.next_sequence = 1ULL << 40;
    ck_assert_int_eq(add_file(&f, 2), BITCASK_OK);
    ck_assert_uint_eq(f.keeper.ceiling, (1ULL << 40) + BC_CEILING_STEP);
    f.next_sequence = 5;
    ck_assert_int_eq(add_file(&f, 3), BITCASK_OK);
    struct bc_manifest m = read_back(&f);
    ck_assert_uint_eq(m.ceiling, (1ULL << 40) + BC_CEILING_STEP);
    bc_manifest_free(&bc_allocator_default, &m);
    end(&f);
}
END_TEST

/* An error at every operation of a replacement. Before the rename: the old truth stands, on the disk too, and the next one goes
 * through. From the rename on nobody knows: POISONED, and no MANIFEST is written any more. */
START_TEST(test_failures)
{
    static const int errors[] = {EIO, ENOSPC, EMFILE};
    unsigned poisoned = 0, refused = 0;
    for (unsigned e = 0; e < 3; e++) {
        for (uint64_t at = 1;; at++) {
            struct fixture f;
            begin(&f);
            ck_assert_int_eq(add_file(&f, 1), BITCASK_OK);
            const struct simdisk_fault fault = {.kinds = SIMDISK_OPS_ALL, .at = at, .error = errors[e]};
            simdisk_fail(f.disk, &fault);
            int result = add_file(&f, 2);
            bool hit = simdisk_fail_hits(f.disk) != 0;
            simdisk_fail_clear(f.disk);
            struct bc_manifest m = read_back(&f);
            if (!hit) {
                ck_assert_int_eq(result, BITCASK_OK);
            } else if (result == BITCASK_POISONED) {
                poisoned++;
                ck_assert(bc_health_poisoned(&f.health));
                uint64_t changes = simdisk_op_count(f.disk, SIMDISK_OPS_CHANGE);
                ck_assert_int_eq(add_file(&f, 3), BITCASK_POISONED);
                ck_assert_uint_eq(simdisk_op_count(f.disk, SIMDISK_OPS_CHANGE), changes);
            } else {
                refused++;
                ck_assert_int_eq(result, errors[e] == ENOSPC ? BITCASK_NO_SPACE : BITCASK_IO);
                ck_assert_uint_eq(m.count, 1);
                ck_assert(!bc_health_poisoned(&f.health));
                ck_assert_int_eq(add_file(&f, 2), BITCASK_OK);
            }
            bc_manifest_free(&bc_allocator_default, &m);
            end(&f);
            if (!hit)
                break;
        }
    }
    ck_assert_uint_eq(poisoned, 6); /* rename and directory sync */
    ck_assert_uint_ge(refused, 12);
}
END_TEST

/* A power failure before every operation of it: one MANIFEST or the other, whole, in every outcome. */
START_TEST(test_power_failure)
{
    unsigned long tried = 0;
    for (uint64_t k = 1;; k++) {
        struct fixture f;
        begin(&f);
        ck_assert_int_eq(add_file(&f, 1), BITCASK_OK);
        simdisk_stop_at(f.disk, SIMDISK_OPS_CHANGE, k);
        int result = add_file(&f, 2);
        struct simdisk *stopped = simdisk_take_stopped(f.disk);
        for (unsigned s = 0; stopped != NULL && s < simdisk_crash_states(stopped); s++, tried++) {
            struct fixture after = {.disk = simdisk_clone(stopped)};
            simdisk_crash_apply(after.disk, s);
            ck_assert_int_eq(bc_directory_open(&after.dir, simdisk_io(after.disk), "/store", false, 0600), BITCASK_OK);
            struct bc_manifest m = read_back(&after);
            ck_assert(m.count == 1 || m.count == 2);
            bc_manifest_free(&bc_allocator_default, &m);
            bc_directory_close(&after.dir);
            simdisk_free(after.disk);
        }
        bool over = stopped == NULL;
        ck_assert(!over || result == BITCASK_OK);
        simdisk_free(stopped);
        end(&f);
        if (over)
            break;
    }
    ck_assert_uint_gt(tried, 10);
}
END_TEST

/* A left-over temporary file may be a hard link to something: it is replaced, never written through. */
START_TEST(test_linked_temporary_file)
{
    struct fixture f;
    void *data;
    size_t size;
    begin(&f);
    ck_assert_int_eq(simdisk_write_file(f.disk, "/store/precious", "precious", 8), 0);
    ck_assert_int_eq(simdisk_link(f.disk, "/store/precious", "/store/MANIFEST.tmp"), 0);
    ck_assert_int_eq(add_file(&f, 1), BITCASK_OK);
    ck_assert_int_eq(simdisk_read_file(f.disk, "/store/precious", SIMDISK_VOLATILE, &data, &size), 0);
    ck_assert(size == 8 && memcmp(data, "precious", 8) == 0);
    free(data);
    end(&f);
}
END_TEST

/* ---- at most two open files ---- */

static unsigned listed_open(const struct bc_manifest *m)
{
    unsigned open = 0;
    for (size_t i = 0; i < m->count; i++)
        open += m->files[i].state == BC_MANIFEST_OPEN;
    return open;
}

/* Who prepares the next file may have decided so before another thread prepared one and rotated into it: while the full file is
 * not sealed a further one would be the third, and after a kill the store would not open. */
START_TEST(test_no_third_open_file_while_one_is_sealed)
{
    struct simdisk *disk = simdisk_new(1);
    const struct bc_environment environment = {simdisk_io(disk), true};
    bitcask_options o = store_options(_i);
    bitcask *db = NULL;
    ck_assert_int_eq(bc_db_open("/store", &o, &environment, &db), BITCASK_OK);
    ck_assert_int_eq(store_put_number(db, 1, 1, 1000), BITCASK_OK);
    ck_assert_int_eq(bc_log_prepare_next(&db->log), BITCASK_OK);
    bc_log_lock(&db->log);
    ck_assert_int_eq(bc_log_rotate(&db->log), BITCASK_OK);
    bc_log_unlock(&db->log);
    ck_assert_int_eq(bc_log_prepare_next(&db->log), BITCASK_OK);
    ck_assert_uint_le(listed_open(&db->manifest.current), 2);
    /* A kill here: what is left opens. */
    struct simdisk *killed = simdisk_clone(disk);
    const struct bc_environment after = {simdisk_io(killed), true};
    bitcask *second = NULL;
    int result = bc_db_open("/store", &o, &after, &second);
    ck_assert_msg(result == BITCASK_OK, "%s", bitcask_last_error()->message);
    ck_assert_int_eq(store_check_number(second, 1, 1, 1000), 0);
    store_close(second);
    simdisk_free(killed);
    /* And life goes on. */
    for (unsigned i = 0; i < 200; i++) {
        ck_assert_int_eq(store_put_number(db, i, 2, 1000), BITCASK_OK);
        ck_assert_uint_le(listed_open(&db->manifest.current), 2);
    }
    store_close(db);
    simdisk_free(disk);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("manifest");
    TCase *t = tcase_create("keeper");
    tcase_add_test(t, test_edits);
    tcase_add_test(t, test_ceiling);
    tcase_add_test(t, test_failures);
    tcase_add_test(t, test_power_failure);
    tcase_add_test(t, test_linked_temporary_file);
    suite_add_tcase(s, t);
    t = tcase_create("open files");
    store_add_test(t, test_no_third_open_file_while_one_is_sealed);
    suite_add_tcase(s, t);
    return s;
}
