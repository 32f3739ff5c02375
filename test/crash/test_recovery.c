/* Recovery, case by case: states of the disk that are made by hand, and what an open must make of each.
 *
 * The states come from the library itself, cut short by a kill, and are then changed by flips, cuts, and records that are
 * encoded here. Every case runs on a store that is read and written through mappings and on one that uses system calls.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/db.h"
#include "test/support/simdisk.h"

struct store {
    struct simdisk *disk;
    bitcask *db;
    uint32_t flags;
    uint64_t max_file_size;
};

#define FLAGS (_i == 0 ? 0U : BITCASK_OPEN_NO_MMAP)

static struct store new_store(uint32_t flags)
{
    return (struct store){simdisk_new(7), NULL, flags, 65536};
}

static int try_open(struct store *s, uint32_t more_flags)
{
    const struct bc_environment environment = {simdisk_io(s->disk), true};
    bitcask_options options = BITCASK_OPTIONS_INIT;
    options.flags = s->flags | more_flags;
    options.max_file_size = s->max_file_size;
    options.keydir_shards = 64;
    return bc_db_open("/store", &options, &environment, &s->db);
}

static void open_store(struct store *s)
{
    int result = try_open(s, 0);
    ck_assert_msg(result == BITCASK_OK, "open: %s: %s", bitcask_errname(result), bitcask_last_error()->message);
}

static void close_store(struct store *s)
{
    ck_assert_int_eq(bitcask_close(s->db), BITCASK_OK);
    ck_assert_uint_eq(simdisk_open_descriptors(s->disk), 0);
    ck_assert_uint_eq(simdisk_open_mappings(s->disk), 0);
    char text[200] = "";
    ck_assert_msg(simdisk_misuses(s->disk, text, sizeof text) == 0, "%s", text);
}

/* The process dies; what it wrote is in the page cache. */
static void kill_store(struct store *s)
{
    simdisk_kill(s->disk);
    (void)!bitcask_close(s->db);
}

static void end(struct store *s)
{
    simdisk_free(s->disk);
}

static struct store copy_of(const struct store *s)
{
    return (struct store){simdisk_clone(s->disk), NULL, s->flags, s->max_file_size};
}

/* ---- keys ---- */

/* Values tell their key and version, and are never zeros. */
static void fill_value(char *dst, const char *key, unsigned version, size_t size)
{
    for (size_t i = 0; i < size; i++)
        dst[i] = (char)(1 + ((unsigned char)key[i % strlen(key)] + version * 37 + i * 11 + (i >> 8)) % 255);
}

static int try_put(struct store *s, const char *key, unsigned version, size_t size, uint32_t flags)
{
    static char value[70000];
    bitcask_put_options options = BITCASK_PUT_OPTIONS_INIT;
    options.flags = flags;
    fill_value(value, key, version, size);
    return bitcask_put(s->db, key, strlen(key), value, size, &options, NULL);
}

static void put(struct store *s, const char *key, unsigned version, size_t size)
{
    ck_assert_int_eq(try_put(s, key, version, size, 0), BITCASK_OK);
}

static void put_sync(struct store *s, const char *key, unsigned version, size_t size)
{
    ck_assert_int_eq(try_put(s, key, version, size, BITCASK_PUT_SYNC), BITCASK_OK);
}

static int get_result(struct store *s, const char *key)
{
    void *value;
    size_t size;
    int result = bitcask_get(s->db, key, strlen(key), &value, &size);
    if (result == BITCASK_OK)
        bitcask_free(value);
    return result;
}

static void expect(struct store *s, const char *key, unsigned version, size_t size)
{
    static char expected[70000];
    void *value;
    size_t got;
    int result = bitcask_get(s->db, key, strlen(key), &value, &got);
    ck_assert_msg(result == BITCASK_OK, "%s: %s: %s", key, bitcask_errname(result), bitcask_last_error()->message);
    fill_value(expected, key, version, size);
    ck_assert_msg(got == size && memcmp(value, expected, size) == 0, "%s has another value", key);
    bitcask_free(value);
}

static void expect_absent(struct store *s, const char *key)
{
    int result = get_result(s, key);
    ck_assert_msg(result == BITCASK_NOT_FOUND, "%s: %s", key, bitcask_errname(result));
}

/* An open that must fail: names the file and the offset, and changes nothing (P7, P8). */
static void expect_corrupt(struct store *s, const char *file, uint64_t offset)
{
    uint64_t before = simdisk_digest(s->disk, SIMDISK_VOLATILE);
    int result = try_open(s, 0);
    const bitcask_error *e = bitcask_last_error();
    ck_assert_msg(result == BITCASK_CORRUPT, "open: %s", bitcask_errname(result));
    ck_assert_str_eq(e->file, file);
    ck_assert_msg(e->offset == offset, "offset %llu, not %llu: %s", (unsigned long long)e->offset, (unsigned long long)offset,
                  e->message);
    ck_assert_uint_eq(simdisk_digest(s->disk, SIMDISK_VOLATILE), before);
    ck_assert_uint_eq(simdisk_open_descriptors(s->disk), 0);
    ck_assert_uint_eq(simdisk_open_mappings(s->disk), 0);
}

/* ---- files ---- */

struct piece {
    uint64_t offset, footprint;
    struct bc_record record;
    char key[32];
};

struct file {
    char name[32], path[64];
    char *bytes;
    size_t size;
    struct bc_file_name id;
    struct piece pieces[64];
    size_t count;
    uint64_t end;
};

static struct file read_data_file(struct store *s, unsigned id)
{
    struct file f = {.end = BC_DATA_START};
    struct bc_data_header h;
    void *bytes;
    snprintf(f.name, sizeof f.name, "%010u.data", id);
    snprintf(f.path, sizeof f.path, "/store/%s", f.name);
    ck_assert_int_eq(simdisk_read_file(s->disk, f.path, SIMDISK_VOLATILE, &bytes, &f.size), 0);
    f.bytes = bytes;
    ck_assert_int_eq(bc_data_header_decode(&h, bytes), BC_FORMAT_OK);
    f.id = h.name;
    while (f.count < BC_ARRAY_SIZE(f.pieces)) {
        struct piece *p = &f.pieces[f.count];
        if (bc_record_decode(&p->record, f.bytes + f.end, f.size - f.end, bc_record_seed(f.id.nonce, f.end)) != BC_RECORD_OK)
            break;
        p->offset = f.end;
        p->footprint = bc_record_footprint(&p->record);
        memcpy(p->key, f.bytes + f.end + bc_record_head_size(&p->record), BC_MIN(p->record.key_size, 31U));
        f.end += p->footprint;
        f.count++;
    }
    return f;
}

static void write_back(struct store *s, const struct file *f)
{
    ck_assert_int_eq(simdisk_write_file(s->disk, f->path, f->bytes, f->size), 0);
}

static const struct piece *piece_of(const struct file *f, const char *key)
{
    for (size_t i = f->count; i-- > 0;)
        if (strcmp(f->pieces[i].key, key) == 0)
            return &f->pieces[i];
    ck_abort_msg("no record of %s in %s", key, f->name);
}

/* A record as the library would have written it there. */
static void place(const struct file *f, uint64_t offset, const struct bc_record *r, const char *key, const void *value)
{
    char *dst = f->bytes + offset;
    memset(dst, 0, (size_t)bc_record_footprint(r));
    bc_record_encode(dst, r, bc_record_seed(f->id.nonce, offset), key, value);
    memcpy(dst + bc_record_head_size(r), key, r->key_size);
    if (r->value_size != 0)
        memcpy(dst + bc_record_head_size(r) + r->key_size, value, r->value_size);
}

static void store_mark(const struct file *f, uint64_t counter, uint64_t offset)
{
    bc_mark_encode(f->bytes + BC_DATA_MARK_OFFSET + counter % 2 * BC_DATA_MARK_SECTOR, f->id.nonce, counter, offset);
}

static int count_data(const char *name, void *arg)
{
    const char *dot = strrchr(name, '.');
    *(unsigned *)arg += dot != NULL && strcmp(dot, ".data") == 0;
    return 0;
}

static unsigned data_files(struct store *s)
{
    unsigned count = 0;
    (void)simdisk_list(s->disk, "/store", SIMDISK_VOLATILE, count_data, &count);
    return count;
}

static void *resize(void *ptr, size_t size, void *ctx)
{
    (void)ctx;
    if (size != 0)
        return realloc(ptr, size);
    free(ptr);
    return NULL;
}

static const bitcask_allocator allocator = {resize, NULL};

static struct bc_manifest read_manifest(struct store *s)
{
    struct bc_manifest m;
    void *bytes;
    size_t size;
    int damaged;
    ck_assert_int_eq(simdisk_read_file(s->disk, "/store/MANIFEST", SIMDISK_VOLATILE, &bytes, &size), 0);
    ck_assert_int_eq(bc_manifest_decode(&m, &damaged, bytes, size, &allocator), BITCASK_OK);
    free(bytes);
    return m;
}

static unsigned open_files(struct store *s)
{
    struct bc_manifest m = read_manifest(s);
    unsigned count = 0;
    for (size_t i = 0; i < m.count; i++)
        count += m.files[i].state == BC_MANIFEST_OPEN;
    free(m.files);
    return count;
}

/* ---- the torn tail ---- */

enum tear { TRUNCATED, ZEROS, GARBAGE, HEAD_LOST, TEARS };

/* A record is there up to cut bytes. Returns whether it counts as whole. */
static bool tear_at(struct store *s, struct file *f, const struct piece *last, enum tear tear, uint64_t cut)
{
    uint64_t from = last->offset + cut,
             data = bc_record_head_size(&last->record) + last->record.key_size + last->record.value_size;
    switch (tear) {
    case TRUNCATED:
        f->size = (size_t)from;
        write_back(s, f);
        return false;
    case ZEROS:
        memset(f->bytes + from, 0, f->size - from);
        break;
    case GARBAGE:
        for (uint64_t i = from; i < f->size; i++)
            f->bytes[i] = (char)(0xA5 ^ (i * 29) ^ (i >> 7));
        break;
    case HEAD_LOST:
    case TEARS:
    default:
        memset(f->bytes + last->offset, 0, (size_t)cut);
        write_back(s, f);
        return false;
    }
    write_back(s, f);
    return cut >= data;
}

/* An unacknowledged record at the end, torn in any way at any place, is wholly there or wholly not, and everything before it is
 * there; the next write goes on in a new file and survives. */
START_TEST(test_torn_tail)
{
    struct store left = new_store(FLAGS);
    open_store(&left);
    put_sync(&left, "first", 1, 700);
    put(&left, "second", 1, 300);
    put(&left, "torn", 1, 20);
    put(&left, "torn", 2, 1500);
    kill_store(&left);
    struct file whole = read_data_file(&left, 1);
    const struct piece *last = piece_of(&whole, "torn");
    ck_assert_uint_eq(last->offset + last->footprint, whole.end);
    for (int tear = TRUNCATED; tear < TEARS; tear++) {
        for (uint64_t cut = 0; cut < last->footprint; cut += cut < 48 || cut + 16 > last->footprint ? 1 : 37) {
            if (tear == HEAD_LOST && cut < 4)
                continue;
            struct store s = copy_of(&left);
            struct file f = read_data_file(&s, 1);
            bool complete = tear_at(&s, &f, &f.pieces[f.count - 1], (enum tear)tear, cut);
            free(f.bytes);
            open_store(&s);
            expect(&s, "first", 1, 700);
            expect(&s, "second", 1, 300);
            expect(&s, "torn", complete ? 2 : 1, complete ? 1500 : 20);
            put(&s, "next", 1, 100);
            kill_store(&s);
            open_store(&s);
            expect(&s, "first", 1, 700);
            expect(&s, "torn", complete ? 2 : 1, complete ? 1500 : 20);
            expect(&s, "next", 1, 100);
            ck_assert_uint_eq(data_files(&s), 2);
            close_store(&s);
            end(&s);
        }
    }
    free(whole.bytes);
    end(&left);
}
END_TEST

/* ---- the torn batch ---- */

static void write_batch(struct store *s, int expected, size_t size)
{
    static char value[5000];
    static const char *const keys[] = {"b1", "b2", "b3"};
    bitcask_batch *b;
    ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
    for (size_t i = 0; i < BC_ARRAY_SIZE(keys); i++) {
        fill_value(value, keys[i], 2, size);
        ck_assert_int_eq(bitcask_batch_put(b, keys[i], 2, value, size, 0), BITCASK_OK);
    }
    ck_assert_int_eq(bitcask_batch_delete(b, "gone", 4), BITCASK_OK);
    ck_assert_int_eq(bitcask_write(s->db, b, 0), expected);
    bitcask_batch_free(b);
}

/* The second version of all of the batch's keys, or the first of all. */
static void expect_batch(struct store *s, bool applied, size_t size)
{
    static const char *const keys[] = {"b1", "b2", "b3"};
    for (size_t i = 0; i < BC_ARRAY_SIZE(keys); i++)
        expect(s, keys[i], applied ? 2 : 1, applied ? size : 50);
    if (applied)
        expect_absent(s, "gone");
    else
        expect(s, "gone", 1, 50);
}

static struct store store_before_batch(uint32_t flags)
{
    static const char *const keys[] = {"b1", "b2", "b3", "gone"};
    struct store s = new_store(flags);
    open_store(&s);
    for (size_t i = 0; i < BC_ARRAY_SIZE(keys); i++)
        put(&s, keys[i], 1, 50);
    ck_assert_int_eq(bitcask_sync(s.db), BITCASK_OK);
    return s;
}

/* P3: a batch whose frame or any of whose records is missing or torn is void as a whole. */
START_TEST(test_torn_batch)
{
    struct store left = store_before_batch(FLAGS);
    write_batch(&left, BITCASK_OK, 200);
    kill_store(&left);
    struct file whole = read_data_file(&left, 1);
    size_t frame = whole.count - 5;
    ck_assert_uint_eq(whole.pieces[frame].record.type, BC_RECORD_BATCH);
    uint64_t from = whole.pieces[frame].offset;
    /* Cut, or filled with zeros, from every eighth byte on; each record alone lost; its value alone lost. */
    uint64_t cuts = (whole.end - from) / 8;
    for (uint64_t n = 0; n < 2 * cuts + 10; n++) {
        struct store s = copy_of(&left);
        struct file f = read_data_file(&s, 1);
        bool complete = false;
        if (n < 2 * cuts) {
            uint64_t at = from + n / 2 * 8;
            if (n % 2 == 0)
                f.size = (size_t)at;
            else
                memset(f.bytes + at, 0, f.size - at);
        } else {
            const struct piece *p = &f.pieces[frame + (n - 2 * cuts) / 2];
            size_t head = bc_record_head_size(&p->record) + p->record.key_size;
            if (n % 2 == 0)
                memset(f.bytes + p->offset, 0, head);
            else
                memset(f.bytes + p->offset + head, 0, (size_t)p->footprint - head);
            complete = n % 2 != 0 && p->record.value_size == 0; /* the tombstone has none */
        }
        /* The last eight bytes may be nothing but padding. */
        const struct piece *last = &f.pieces[f.count - 1];
        uint64_t data = bc_record_head_size(&last->record) + last->record.key_size + last->record.value_size;
        if (n % 2 != 0 && n < 2 * cuts && from + n / 2 * 8 >= last->offset + data)
            complete = true;
        write_back(&s, &f);
        free(f.bytes);
        open_store(&s);
        expect_batch(&s, complete, 200);
        close_store(&s);
        end(&s);
    }
    free(whole.bytes);
    end(&left);
}
END_TEST

/* A frame that counts wrong is not a batch, whatever follows it. */
START_TEST(test_frame_that_does_not_fit_its_records)
{
    struct store left = store_before_batch(FLAGS);
    write_batch(&left, BITCASK_OK, 200);
    put(&left, "after", 1, 30);
    kill_store(&left);
    struct file whole = read_data_file(&left, 1);
    size_t at = whole.count - 6;
    struct bc_record r = whole.pieces[at].record;
    ck_assert_uint_eq(r.type, BC_RECORD_BATCH);
    uint32_t count;
    uint64_t bytes;
    ck_assert(bc_batch_decode(whole.bytes + whole.pieces[at].offset + BC_RECORD_HEADER, &count, &bytes));
    for (int more = -1; more <= 1; more++) {
        for (int longer = -1; longer <= 1; longer++) {
            struct store s = copy_of(&left);
            struct file f = read_data_file(&s, 1);
            char value[BC_BATCH_VALUE];
            bc_batch_encode(value, (uint32_t)((int)count + more),
                            bytes + (uint64_t)((int64_t)f.pieces[f.count - 1].footprint * longer));
            place(&f, f.pieces[at].offset, &r, "", value);
            write_back(&s, &f);
            free(f.bytes);
            open_store(&s);
            /* Counting the record behind it in is a batch of five: nobody could tell. */
            bool fits = (more == 0 && longer == 0) || (more == 1 && longer == 1);
            expect_batch(&s, fits, 200);
            if (!fits)
                expect_absent(&s, "after");
            close_store(&s);
            end(&s);
        }
    }
    free(whole.bytes);
    end(&left);
}
END_TEST

/* Rolled-back bytes must not return: a batch fails at its third record, a put that ends where its first record stands takes its
 * place, and the process is killed. That first record is intact on the disk, but its sequence is not above the put's. */
START_TEST(test_records_of_a_failed_batch_do_not_return)
{
    struct store s = store_before_batch(FLAGS);
    uint64_t tail = s.db->log.tail;
    const struct simdisk_fault fault = {.kinds = SIMDISK_WRITE, .name = ".data", .at = 3, .error = EIO, .done = true};
    simdisk_fail(s.disk, &fault);
    write_batch(&s, BITCASK_IO, 3000);
    ck_assert_uint_eq(simdisk_fail_hits(s.disk), 1);
    simdisk_fail_clear(s.disk);
    expect_batch(&s, false, 3000);
    struct store failed = copy_of(&s);
    open_store(&failed);
    expect_batch(&failed, false, 3000);
    close_store(&failed);
    end(&failed);

    put(&s, "shorter!", 1, 8);
    ck_assert_uint_eq(s.db->log.tail, tail + 40);
    struct file f = read_data_file(&s, 1);
    const struct piece *stale = &f.pieces[f.count - 1];
    while (stale->offset > tail + 40)
        stale--;
    ck_assert_uint_eq(stale->offset, tail + 40);
    ck_assert(stale->record.type == BC_RECORD_PUT || stale->record.type == BC_RECORD_TOMBSTONE);
    ck_assert_uint_lt(stale->record.sequence, stale[-1].record.sequence);
    free(f.bytes);
    for (unsigned state = 0; state <= simdisk_crash_states(s.disk); state++) {
        struct store after = copy_of(&s);
        if (state == 0)
            simdisk_kill(after.disk);
        else
            simdisk_crash_apply(after.disk, state - 1);
        open_store(&after);
        expect_batch(&after, false, 3000);
        if (state == 0)
            expect(&after, "shorter!", 1, 8);
        close_store(&after);
        end(&after);
    }
    kill_store(&s);
    end(&s);
}
END_TEST

/* A failed put does not come back either, and leaves its old value. */
START_TEST(test_failed_put_does_not_return)
{
    for (unsigned done = 0; done < 2; done++) {
        struct store s = store_before_batch(FLAGS);
        const struct simdisk_fault fault = {
            .kinds = SIMDISK_WRITE, .name = ".data", .at = 1, .error = ENOSPC, .done = done != 0, .short_bytes = 2500};
        simdisk_fail(s.disk, &fault);
        ck_assert_int_eq(try_put(&s, "b1", 2, 4000, 0), BITCASK_NO_SPACE);
        simdisk_fail_clear(s.disk);
        for (unsigned again = 0; again < 2; again++) {
            expect_batch(&s, false, 0);
            struct store after = copy_of(&s);
            open_store(&after);
            expect_batch(&after, false, 0);
            close_store(&after);
            end(&after);
            if (again == 0)
                put(&s, "shorter!", 1, 8);
        }
        close_store(&s);
        end(&s);
    }
}
END_TEST

/* ---- damage below the mark ---- */

static struct store store_with_synced_records(uint32_t flags)
{
    struct store s = new_store(flags);
    open_store(&s);
    put(&s, "alpha", 1, 90);
    put(&s, "beta", 1, 90);
    put(&s, "alpha", 2, 90);
    ck_assert_int_eq(bitcask_write(s.db, NULL, 0x80), BITCASK_INVALID);
    put(&s, "gamma", 1, 90);
    ck_assert_int_eq(bitcask_sync(s.db), BITCASK_OK);
    put(&s, "unsynced", 1, 90);
    kill_store(&s);
    return s;
}

/* P8: what was durable once is no torn tail. Any byte of the head or key of any record below the durable mark. */
START_TEST(test_damaged_head_below_the_mark)
{
    struct store left = store_with_synced_records(FLAGS);
    struct file f = read_data_file(&left, 1);
    ck_assert_uint_eq(f.count, 6);
    for (size_t i = 0; i + 1 < f.count; i++) {
        size_t head = bc_record_head_size(&f.pieces[i].record) + f.pieces[i].record.key_size;
        for (size_t byte = 0; byte < head; byte++) {
            struct store s = copy_of(&left);
            ck_assert_int_eq(simdisk_flip(s.disk, f.path, SIMDISK_BOTH, f.pieces[i].offset + byte, 1U << (byte % 8)), 0);
            expect_corrupt(&s, f.name, f.pieces[i].offset);
            end(&s);
        }
    }
    free(f.bytes);
    end(&left);
}
END_TEST

/* The same records, zeroed or cut off with the end of the file. */
START_TEST(test_lost_bytes_below_the_mark)
{
    struct store left = store_with_synced_records(FLAGS);
    struct file f = read_data_file(&left, 1);
    for (size_t i = 0; i + 1 < f.count; i++) {
        struct store s = copy_of(&left);
        struct file changed = read_data_file(&s, 1);
        memset(changed.bytes + f.pieces[i].offset, 0, changed.size - f.pieces[i].offset);
        write_back(&s, &changed);
        expect_corrupt(&s, f.name, f.pieces[i].offset);
        changed.size = f.pieces[i].offset + 8;
        write_back(&s, &changed);
        expect_corrupt(&s, f.name, f.pieces[i].offset);
        free(changed.bytes);
        end(&s);
    }
    free(f.bytes);
    end(&left);
}
END_TEST

/* The frame of a batch that was synced: a wrong count or size is damage, not a shorter batch. */
START_TEST(test_damaged_frame_below_the_mark)
{
    struct store left = store_before_batch(FLAGS);
    write_batch(&left, BITCASK_OK, 200);
    ck_assert_int_eq(bitcask_sync(left.db), BITCASK_OK);
    kill_store(&left);
    struct file f = read_data_file(&left, 1);
    const struct piece *frame = &f.pieces[f.count - 5];
    ck_assert_uint_eq(frame->record.type, BC_RECORD_BATCH);
    for (unsigned bit = 0; bit < 8 * (BC_RECORD_HEADER + BC_BATCH_VALUE); bit++) {
        struct store s = copy_of(&left);
        ck_assert_int_eq(simdisk_flip(s.disk, f.path, SIMDISK_BOTH, frame->offset + bit / 8, 1U << (bit % 8)), 0);
        int result = try_open(&s, 0);
        ck_assert_msg(result == BITCASK_CORRUPT, "bit %u: %s", bit, bitcask_errname(result));
        ck_assert_str_eq(bitcask_last_error()->file, f.name);
        end(&s);
    }
    free(f.bytes);
    end(&left);
}
END_TEST

/* P7: a damaged value below the mark costs its own key, which answers CORRUPT and never an older version (P5); it can be
 * overwritten and deleted. */
START_TEST(test_damaged_value_below_the_mark)
{
    struct store s = store_with_synced_records(FLAGS);
    struct file f = read_data_file(&s, 1);
    const struct piece *p = piece_of(&f, "alpha");
    ck_assert_int_eq(simdisk_flip(s.disk, f.path, SIMDISK_BOTH, p->offset + 24 + 5 + 40, 0x10), 0);
    for (unsigned again = 0; again < 2; again++) {
        open_store(&s);
        ck_assert_int_eq(get_result(&s, "alpha"), BITCASK_CORRUPT);
        ck_assert_str_eq(bitcask_last_error()->file, f.name);
        ck_assert_uint_eq(bitcask_last_error()->offset, p->offset);
        ck_assert_int_eq(bitcask_touch(s.db, "alpha", 5, 0, 0), BITCASK_CORRUPT);
        ck_assert_int_eq(try_put(&s, "alpha", 3, 10, BITCASK_PUT_IF_ABSENT), BITCASK_CONDITION);
        expect(&s, "beta", 1, 90);
        expect(&s, "gamma", 1, 90);
        expect(&s, "unsynced", 1, 90);
        close_store(&s);
    }
    struct store deleted = copy_of(&s);
    open_store(&deleted);
    ck_assert_int_eq(bitcask_delete(deleted.db, "alpha", 5, NULL, NULL), BITCASK_OK);
    expect_absent(&deleted, "alpha");
    kill_store(&deleted);
    open_store(&deleted);
    expect_absent(&deleted, "alpha");
    close_store(&deleted);
    end(&deleted);
    open_store(&s);
    put(&s, "alpha", 3, 10);
    expect(&s, "alpha", 3, 10);
    kill_store(&s);
    open_store(&s);
    expect(&s, "alpha", 3, 10);
    close_store(&s);
    free(f.bytes);
    end(&s);
}
END_TEST

/* Past the mark a bad value is a torn write like any other: the log ends before it (P2). */
START_TEST(test_damaged_value_past_the_mark)
{
    struct store s = new_store(FLAGS);
    open_store(&s);
    put_sync(&s, "alpha", 1, 90);
    put(&s, "alpha", 2, 90);
    put(&s, "beta", 1, 90);
    kill_store(&s);
    struct file f = read_data_file(&s, 1);
    ck_assert_int_eq(simdisk_flip(s.disk, f.path, SIMDISK_BOTH, piece_of(&f, "alpha")->offset + 60, 1), 0);
    open_store(&s);
    expect(&s, "alpha", 1, 90);
    expect_absent(&s, "beta");
    close_store(&s);
    free(f.bytes);
    end(&s);
}
END_TEST

/* The durable mark: one slot may be lost, in any byte; both are damage, as no crash does that. */
START_TEST(test_damaged_mark)
{
    struct store left = store_with_synced_records(FLAGS);
    struct file f = read_data_file(&left, 1);
    for (unsigned slot = 0; slot < 2; slot++) {
        for (unsigned byte = 0; byte < BC_DATA_MARK_SIZE; byte++) {
            struct store s = copy_of(&left);
            ck_assert_int_eq(
                simdisk_flip(s.disk, f.path, SIMDISK_BOTH, BC_DATA_MARK_OFFSET + slot * BC_DATA_MARK_SECTOR + byte, 4), 0);
            open_store(&s);
            expect(&s, "alpha", 2, 90);
            expect(&s, "unsynced", 1, 90);
            kill_store(&s);
            end(&s);
        }
    }
    struct store s = copy_of(&left);
    ck_assert_int_eq(simdisk_flip(s.disk, f.path, SIMDISK_BOTH, BC_DATA_MARK_OFFSET + 9, 1), 0);
    ck_assert_int_eq(simdisk_flip(s.disk, f.path, SIMDISK_BOTH, BC_DATA_MARK_OFFSET + BC_DATA_MARK_SECTOR, 1), 0);
    expect_corrupt(&s, f.name, BC_DATA_MARK_OFFSET);
    end(&s);
    free(f.bytes);
    end(&left);
}
END_TEST

/* ---- two open files ---- */

/* Killed between a rotation and the sync of the full file: both are open, the second has a link to the first. */
static struct store store_with_two_open_files(uint32_t flags)
{
    struct store s = new_store(flags);
    open_store(&s);
    put_sync(&s, "synced", 1, 40000);
    put(&s, "one", 1, 5000);
    put(&s, "two", 1, 5000);
    s.db->upkeep.inlined = false; /* nobody seals the full file */
    put(&s, "three", 1, 20000);
    put(&s, "four", 1, 300);
    ck_assert_ptr_nonnull(s.db->log.sealing);
    kill_store(&s);
    ck_assert_uint_eq(open_files(&s), 2);
    return s;
}

START_TEST(test_two_open_files)
{
    struct store s = store_with_two_open_files(FLAGS);
    open_store(&s);
    expect(&s, "synced", 1, 40000);
    expect(&s, "one", 1, 5000);
    expect(&s, "two", 1, 5000);
    expect(&s, "three", 1, 20000);
    expect(&s, "four", 1, 300);
    ck_assert_uint_eq(open_files(&s), 0);
    close_store(&s);
    end(&s);
}
END_TEST

/* P2: the first was cut before the place where the second goes on: everything in the second came after the hole. */
START_TEST(test_second_file_is_void_behind_a_hole)
{
    struct store left = store_with_two_open_files(FLAGS);
    struct file f = read_data_file(&left, 1);
    const char *const keys[] = {"one", "two"};
    for (size_t i = 0; i < BC_ARRAY_SIZE(keys); i++) {
        struct store s = copy_of(&left);
        ck_assert_int_eq(simdisk_flip(s.disk, f.path, SIMDISK_BOTH, piece_of(&f, keys[i])->offset + 2000 * i + 3, 8), 0);
        open_store(&s);
        expect(&s, "synced", 1, 40000);
        if (i > 0)
            expect(&s, "one", 1, 5000);
        else
            expect_absent(&s, "one");
        expect_absent(&s, "two");
        expect_absent(&s, "three");
        expect_absent(&s, "four");
        ck_assert_uint_eq(data_files(&s), 1);
        put_sync(&s, "new", 1, 10);
        kill_store(&s);
        simdisk_crash_apply(s.disk, 0);
        open_store(&s);
        expect(&s, "new", 1, 10);
        expect_absent(&s, "three");
        close_store(&s);
        end(&s);
    }
    /* The first file merely shorter than the link says. */
    struct store s = copy_of(&left);
    ck_assert_int_eq(simdisk_cut(s.disk, f.path, piece_of(&f, "two")->offset), 0);
    open_store(&s);
    expect(&s, "one", 1, 5000);
    expect_absent(&s, "three");
    close_store(&s);
    end(&s);
    free(f.bytes);
    end(&left);
}
END_TEST

/* P8: if the second was ever synced, the first had been whole: damage. */
START_TEST(test_hole_before_a_synced_second_file)
{
    struct store s = store_with_two_open_files(FLAGS);
    struct file first = read_data_file(&s, 1), second = read_data_file(&s, 2);
    store_mark(&second, 2, second.end);
    write_back(&s, &second);
    struct store whole = copy_of(&s);
    open_store(&whole);
    expect(&whole, "four", 1, 300);
    close_store(&whole);
    end(&whole);
    const struct piece *two = piece_of(&first, "two");
    ck_assert_int_eq(simdisk_flip(s.disk, first.path, SIMDISK_BOTH, two->offset + 3, 8), 0);
    expect_corrupt(&s, first.name, two->offset);
    free(first.bytes);
    free(second.bytes);
    end(&s);
}
END_TEST

/* A tear in the second file costs nothing of the first. */
START_TEST(test_torn_second_file)
{
    struct store left = store_with_two_open_files(FLAGS);
    struct file f = read_data_file(&left, 2);
    for (size_t i = 0; i < f.count; i++) {
        struct store s = copy_of(&left);
        ck_assert_int_eq(simdisk_flip(s.disk, f.path, SIMDISK_BOTH, f.pieces[i].offset + 9, 8), 0);
        open_store(&s);
        expect(&s, "two", 1, 5000);
        if (i > 1)
            expect(&s, "three", 1, 20000);
        else
            expect_absent(&s, "three");
        expect_absent(&s, "four");
        close_store(&s);
        end(&s);
    }
    free(f.bytes);
    end(&left);
}
END_TEST

/* A link that names another file than the one that is listed before it, or the right id with another nonce. */
START_TEST(test_link_of_a_foreign_file)
{
    struct store left = store_with_two_open_files(FLAGS);
    for (unsigned which = 0; which < 2; which++) {
        struct store s = copy_of(&left);
        struct file f = read_data_file(&s, 2);
        struct bc_link link;
        char value[BC_LINK_VALUE];
        ck_assert_uint_eq(f.pieces[0].record.type, BC_RECORD_LINK);
        ck_assert(bc_link_decode(f.bytes + BC_DATA_START + BC_RECORD_HEADER, &link));
        ck_assert_uint_eq(link.id, 1);
        if (which == 0)
            link.id = 9;
        else
            link.nonce ^= 1;
        bc_link_encode(value, &link);
        place(&f, BC_DATA_START, &f.pieces[0].record, "", value);
        write_back(&s, &f);
        expect_corrupt(&s, f.name, BC_DATA_START);
        free(f.bytes);
        end(&s);
    }
    end(&left);
}
END_TEST

/* Prepared, listed, never used: it goes, and nothing is missing. */
START_TEST(test_prepared_file_that_was_not_used)
{
    struct store s = new_store(FLAGS);
    open_store(&s);
    put(&s, "large", 1, 40000);
    put(&s, "small", 1, 40);
    ck_assert_ptr_nonnull(s.db->log.next);
    kill_store(&s);
    ck_assert_uint_eq(open_files(&s), 2);
    ck_assert_uint_eq(data_files(&s), 2);
    open_store(&s);
    expect(&s, "large", 1, 40000);
    expect(&s, "small", 1, 40);
    ck_assert_uint_eq(open_files(&s), 0);
    ck_assert_uint_eq(data_files(&s), 1);
    put_sync(&s, "more", 1, 40000);
    kill_store(&s);
    open_store(&s);
    expect(&s, "large", 1, 40000);
    expect(&s, "more", 1, 40000);
    close_store(&s);
    end(&s);
}
END_TEST

/* A new file is listed, but its link cannot be written; the store goes on, and a kill finds what it wrote. (The file was once
 * left listed open beside the one that was made instead: "does not follow".) */
START_TEST(test_file_whose_link_could_not_be_written)
{
    for (unsigned clears = 0; clears < 2; clears++) {
        struct store s = new_store(BITCASK_OPEN_NO_MMAP);
        open_store(&s);
        if (clears != 0)
            put(&s, "old", 1, 10);
        /* The header of the new file comes first. */
        const struct simdisk_fault fault = {.kinds = SIMDISK_WRITE, .name = ".data", .at = 2, .error = EIO};
        simdisk_fail(s.disk, &fault);
        if (clears != 0)
            ck_assert_int_eq(bitcask_clear(s.db, 0), BITCASK_OK);
        else
            ck_assert_int_eq(try_put(&s, "key", 1, 10, 0), BITCASK_IO);
        ck_assert_uint_eq(simdisk_fail_hits(s.disk), 1);
        simdisk_fail_clear(s.disk);
        expect_absent(&s, "old");
        put_sync(&s, "key", 2, 10);
        struct store killed = copy_of(&s);
        open_store(&killed);
        expect(&killed, "key", 2, 10);
        expect_absent(&killed, "old");
        close_store(&killed);
        end(&killed);
        for (unsigned i = 0; i < 6; i++) {
            put(&s, "large", i, 30000);
            killed = copy_of(&s);
            open_store(&killed);
            expect(&killed, "key", 2, 10);
            expect(&killed, "large", i, 30000);
            close_store(&killed);
            end(&killed);
        }
        close_store(&s);
        end(&s);
    }
}
END_TEST

/* ---- sequences ---- */

/* A record at or above the ceiling: somebody put an older MANIFEST in place. One below it is taken. */
START_TEST(test_sequence_above_the_ceiling)
{
    struct store left = store_with_synced_records(FLAGS);
    struct bc_manifest m = read_manifest(&left);
    for (unsigned i = 0; i < 4; i++) {
        static const int64_t distances[] = {-1, 0, 1, 1000000};
        struct store s = copy_of(&left);
        struct file f = read_data_file(&s, 1);
        struct bc_record r = {
            .type = BC_RECORD_PUT, .key_size = 5, .value_size = 3, .sequence = m.ceiling + (uint64_t)distances[i]};
        place(&f, f.end, &r, "added", "xyz");
        write_back(&s, &f);
        if (distances[i] >= 0) {
            expect_corrupt(&s, f.name, f.end);
        } else {
            open_store(&s);
            ck_assert_int_eq(get_result(&s, "added"), BITCASK_OK);
            expect(&s, "unsynced", 1, 90);
            close_store(&s);
        }
        free(f.bytes);
        end(&s);
    }
    free(m.files);
    end(&left);
}
END_TEST

/* P16: what was handed out is never used again, over kills, power failures, failed writes and clean closes. */
START_TEST(test_sequences_only_go_up)
{
    struct store s = new_store(FLAGS);
    uint64_t highest = 0, rng = 5;
    for (unsigned round = 0; round < 12; round++) {
        open_store(&s);
        for (unsigned i = 0; i < 5; i++) {
            uint64_t sequence = 0;
            if (i == 2) {
                const struct simdisk_fault fault = {
                    .kinds = SIMDISK_WRITE, .name = ".data", .at = 1, .error = EIO, .done = true};
                uint64_t lost = bc_log_sequence(&s.db->log);
                simdisk_fail(s.disk, &fault);
                ck_assert_int_eq(try_put(&s, "failed", round, 3000, 0), BITCASK_IO);
                simdisk_fail_clear(s.disk);
                highest = BC_MAX(highest, lost);
            }
            ck_assert_int_eq(bitcask_put(s.db, "key", 3, "value", 5, NULL, &sequence), BITCASK_OK);
            ck_assert_uint_gt(sequence, highest);
            highest = sequence;
        }
        expect_absent(&s, "failed");
        if (round % 3 == 0) {
            close_store(&s);
        } else {
            simdisk_kill(s.disk);
            if (round % 3 == 2)
                simdisk_crash_random(s.disk, &rng);
            (void)!bitcask_close(s.db);
        }
    }
    end(&s);
}
END_TEST

/* ---- hints ---- */

static int remember_hint(const char *name, void *arg)
{
    char(*names)[64] = arg;
    const char *dot = strrchr(name, '.');
    if (dot == NULL || strcmp(dot, ".hint") != 0)
        return 0;
    while ((*names)[0] != '\0')
        names++;
    snprintf(*names, sizeof *names, "/store/%s", name);
    return 0;
}

/* P6, P13: with every subset of the hint files removed a deleted key stays deleted and an overwritten one new. */
START_TEST(test_no_resurrection_without_hints)
{
    struct store left = new_store(FLAGS);
    open_store(&left);
    put(&left, "deleted", 1, 100);
    put(&left, "kept", 1, 100);
    put(&left, "replaced", 1, 100);
    put(&left, "reborn", 1, 100);
    put(&left, "filler", 1, 60000);
    put(&left, "filler", 2, 60000);
    ck_assert_int_eq(bitcask_delete(left.db, "deleted", 7, NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_delete(left.db, "reborn", 6, NULL, NULL), BITCASK_OK);
    put(&left, "replaced", 2, 100);
    put(&left, "filler", 3, 60000);
    put(&left, "reborn", 2, 100);
    close_store(&left);
    char hints[16][64] = {{0}};
    (void)simdisk_list(left.disk, "/store", SIMDISK_VOLATILE, remember_hint, hints);
    unsigned count = 0;
    while (hints[count][0] != '\0')
        count++;
    ck_assert_uint_ge(count, 3);
    for (unsigned subset = 0; subset < 1U << count; subset++) {
        struct store s = copy_of(&left);
        for (unsigned i = 0; i < count; i++)
            if ((subset >> i & 1) != 0)
                ck_assert_int_eq(simdisk_remove(s.disk, hints[i]), 0);
        for (unsigned again = 0; again < 2; again++) {
            open_store(&s);
            expect_absent(&s, "deleted");
            expect(&s, "kept", 1, 100);
            expect(&s, "replaced", 2, 100);
            expect(&s, "reborn", 2, 100);
            expect(&s, "filler", 3, 60000);
            close_store(&s);
        }
        end(&s);
    }
    end(&left);
}
END_TEST

/* ---- files that are gone on in ---- */

/* The first write after a clean close goes on in the file; whatever a power failure then does, what the close had is there. */
START_TEST(test_continued_file)
{
    struct store s = new_store(FLAGS);
    open_store(&s);
    put(&s, "before", 1, 1000);
    put(&s, "changed", 1, 1000);
    close_store(&s);
    open_store(&s);
    put(&s, "after", 1, 1000);
    put(&s, "changed", 2, 500);
    ck_assert_uint_eq(data_files(&s), 1);
    unsigned with_after = 0, states = simdisk_crash_states(s.disk);
    for (unsigned state = 0; state <= states; state++) {
        struct store after = copy_of(&s);
        if (state < states)
            simdisk_crash_apply(after.disk, state);
        open_store(&after);
        expect(&after, "before", 1, 1000);
        bool there = get_result(&after, "after") == BITCASK_OK;
        with_after += there;
        if (there)
            expect(&after, "after", 1, 1000);
        void *value;
        size_t size;
        ck_assert_int_eq(bitcask_get(after.db, "changed", 7, &value, &size), BITCASK_OK);
        ck_assert(size == 1000 || (size == 500 && there));
        bitcask_free(value);
        /* After anything but a clean close no open file is written again. */
        put_sync(&after, "later", 1, 10);
        ck_assert_uint_eq(data_files(&after), 2);
        kill_store(&after);
        open_store(&after);
        expect(&after, "before", 1, 1000);
        expect(&after, "later", 1, 10);
        ck_assert_int_eq(get_result(&after, "after"), there ? BITCASK_OK : BITCASK_NOT_FOUND);
        close_store(&after);
        end(&after);
    }
    ck_assert_uint_gt(with_after, 0);
    ck_assert_uint_lt(with_after, states);
    close_store(&s);
    end(&s);
}
END_TEST

/* The end that the close had fixed counts as durable, also if the mark in the file lags behind. */
START_TEST(test_damage_below_the_end_of_a_continued_file)
{
    struct store left = new_store(FLAGS);
    open_store(&left);
    put(&left, "one", 1, 200);
    put(&left, "two", 1, 200);
    close_store(&left);
    struct file f = read_data_file(&left, 1);
    store_mark(&f, 0, BC_DATA_START);
    store_mark(&f, 1, BC_DATA_START);
    write_back(&left, &f);
    open_store(&left);
    put(&left, "three", 1, 200);
    ck_assert_uint_eq(data_files(&left), 1);
    kill_store(&left);
    for (size_t i = 0; i < f.count; i++) {
        struct store s = copy_of(&left);
        ck_assert_int_eq(simdisk_flip(s.disk, f.path, SIMDISK_BOTH, f.pieces[i].offset + 12, 1), 0);
        expect_corrupt(&s, f.name, f.pieces[i].offset);
        end(&s);
    }
    open_store(&left);
    expect(&left, "three", 1, 200);
    close_store(&left);
    free(f.bytes);
    end(&left);
}
END_TEST

/* A file that somebody else has a link to (a backup) is not gone on in: two writers would meet in one inode. */
START_TEST(test_linked_file_is_not_continued)
{
    struct store s = new_store(FLAGS);
    open_store(&s);
    put(&s, "before", 1, 1000);
    close_store(&s);
    ck_assert_int_eq(simdisk_link(s.disk, "/store/0000000001.data", "/backup"), 0);
    void *before, *after;
    size_t before_size, after_size;
    ck_assert_int_eq(simdisk_read_file(s.disk, "/backup", SIMDISK_VOLATILE, &before, &before_size), 0);
    open_store(&s);
    put_sync(&s, "after", 1, 1000);
    ck_assert_uint_eq(data_files(&s), 2);
    kill_store(&s);
    open_store(&s);
    expect(&s, "before", 1, 1000);
    expect(&s, "after", 1, 1000);
    close_store(&s);
    ck_assert_int_eq(simdisk_read_file(s.disk, "/backup", SIMDISK_VOLATILE, &after, &after_size), 0);
    ck_assert_uint_eq(after_size, before_size);
    ck_assert_mem_eq(before, after, before_size);
    free(before);
    free(after);
    end(&s);
}
END_TEST

/* Nor one whose durable mark is damaged. */
START_TEST(test_file_without_a_mark_is_not_continued)
{
    struct store s = new_store(FLAGS);
    open_store(&s);
    put(&s, "before", 1, 1000);
    close_store(&s);
    ck_assert_int_eq(simdisk_flip(s.disk, "/store/0000000001.data", SIMDISK_BOTH, BC_DATA_MARK_OFFSET, 1), 0);
    ck_assert_int_eq(simdisk_flip(s.disk, "/store/0000000001.data", SIMDISK_BOTH, BC_DATA_MARK_OFFSET + BC_DATA_MARK_SECTOR, 1),
                     0);
    open_store(&s);
    put(&s, "after", 1, 1000);
    ck_assert_uint_eq(data_files(&s), 2);
    kill_store(&s);
    open_store(&s);
    expect(&s, "before", 1, 1000);
    expect(&s, "after", 1, 1000);
    close_store(&s);
    end(&s);
}
END_TEST

/* A file that is gone on in is given no more space than its mapping covers: preparation ahead of the tail stays inside it. */
START_TEST(test_space_of_a_continued_file_stays_in_its_mapping)
{
    struct store s = new_store(FLAGS);
    s.max_file_size = 1 << 20;
    open_store(&s);
    for (unsigned i = 0; i < 7; i++)
        put(&s, "filler", i, 60000);
    close_store(&s);
    open_store(&s);
    for (unsigned i = 0; i < 1000; i++)
        put(&s, "small", i, 1500);
    expect(&s, "filler", 6, 60000);
    expect(&s, "small", 999, 1500);
    close_store(&s);
    end(&s);
}
END_TEST

/* ---- recovery itself ---- */

static void expect_all_of_two(struct store *s)
{
    expect(s, "synced", 1, 40000);
    expect(s, "one", 1, 5000);
    expect(s, "two", 1, 5000);
    expect(s, "three", 1, 20000);
    expect(s, "four", 1, 300);
}

/* P10: cut off at any change and begun again, it finds the same. P20: a read-only open finds it too and writes nothing. */
START_TEST(test_recovery_is_idempotent)
{
    struct store left = store_with_two_open_files(FLAGS);
    uint64_t digest = simdisk_digest(left.disk, SIMDISK_VOLATILE), durable = simdisk_digest(left.disk, SIMDISK_DURABLE);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(try_open(&left, BITCASK_OPEN_READ_ONLY), BITCASK_OK);
        expect_all_of_two(&left);
        ck_assert_int_eq(try_put(&left, "x", 1, 1, 0), BITCASK_READ_ONLY);
        close_store(&left);
        ck_assert_uint_eq(simdisk_digest(left.disk, SIMDISK_VOLATILE), digest);
        ck_assert_uint_eq(simdisk_digest(left.disk, SIMDISK_DURABLE), durable);
    }
    struct simdisk *cut = NULL;
    unsigned cuts = 0;
    for (uint64_t k = 1; k == 1 || cut != NULL; k++) {
        struct store s = copy_of(&left);
        simdisk_stop_at(s.disk, SIMDISK_OPS_CHANGE, k);
        int result = try_open(&s, 0);
        if (result == BITCASK_OK)
            result = bitcask_close(s.db);
        cut = simdisk_take_stopped(s.disk);
        ck_assert(result == BITCASK_OK || cut != NULL);
        end(&s);
        if (cut == NULL)
            break;
        cuts++;
        s.disk = cut;
        simdisk_kill(s.disk);
        open_store(&s);
        expect_all_of_two(&s);
        close_store(&s);
        open_store(&s);
        expect_all_of_two(&s);
        close_store(&s);
        end(&s);
    }
    ck_assert_uint_gt(cuts, 5);
    end(&left);
}
END_TEST

/* What the system says it cannot drop from the cache is read all the same. */
START_TEST(test_kill_with_a_cache_that_cannot_be_dropped)
{
    struct store s = store_with_two_open_files(FLAGS);
    const struct simdisk_fault fault = {.kinds = SIMDISK_DROP_CACHE, .at = 1, .error = ENOSYS, .from = true};
    simdisk_fail(s.disk, &fault);
    open_store(&s);
    expect_all_of_two(&s);
    close_store(&s);
    end(&s);
}
END_TEST

/* ---- the MANIFEST and the files it lists ---- */

/* One copy of its body may be damaged, in any byte; both are damage. */
START_TEST(test_damaged_manifest)
{
    struct store left = store_with_synced_records(FLAGS);
    uint64_t size;
    ck_assert_int_eq(simdisk_size(left.disk, "/store/MANIFEST", SIMDISK_VOLATILE, &size), 0);
    ck_assert_uint_eq(size, 8192);
    for (unsigned byte = 0; byte < 148; byte += 3) {
        for (unsigned copies = 1; copies <= 3; copies++) {
            struct store s = copy_of(&left);
            for (unsigned copy = 0; copy < 2; copy++)
                if ((copies >> copy & 1) != 0)
                    ck_assert_int_eq(simdisk_flip(s.disk, "/store/MANIFEST", SIMDISK_BOTH, copy * 4096 + byte, 2), 0);
            if (copies == 3) {
                expect_corrupt(&s, "MANIFEST", 0);
            } else {
                open_store(&s);
                expect(&s, "alpha", 2, 90);
                expect(&s, "unsynced", 1, 90);
                kill_store(&s);
            }
            end(&s);
        }
    }
    end(&left);
}
END_TEST

/* Data files without a MANIFEST are no new store, and nothing is deleted. */
START_TEST(test_lost_manifest)
{
    struct store s = store_with_synced_records(FLAGS);
    ck_assert_int_eq(simdisk_remove(s.disk, "/store/MANIFEST"), 0);
    expect_corrupt(&s, "MANIFEST", 0);
    end(&s);
}
END_TEST

/* An older MANIFEST, put in place alone: the store has a file that it does not know, with records in it. */
START_TEST(test_older_manifest)
{
    struct store s = new_store(FLAGS);
    void *old;
    size_t old_size;
    open_store(&s);
    put(&s, "early", 1, 100);
    ck_assert_int_eq(simdisk_read_file(s.disk, "/store/MANIFEST", SIMDISK_VOLATILE, &old, &old_size), 0);
    put(&s, "filler", 1, 60000);
    put(&s, "filler", 2, 60000);
    put(&s, "late", 1, 100);
    close_store(&s);
    ck_assert_int_eq(simdisk_write_file(s.disk, "/store/MANIFEST", old, old_size), 0);
    uint64_t before = simdisk_digest(s.disk, SIMDISK_VOLATILE);
    ck_assert_int_eq(try_open(&s, 0), BITCASK_CORRUPT);
    ck_assert_uint_eq(simdisk_digest(s.disk, SIMDISK_VOLATILE), before);
    free(old);
    end(&s);
}
END_TEST

/* P8: a listed file that is missing is damage, by name, sealed or open. */
START_TEST(test_missing_file)
{
    struct store left = store_with_two_open_files(FLAGS);
    struct store sealed = copy_of(&left);
    open_store(&sealed);
    close_store(&sealed);
    static const char *const names[] = {"0000000001.data", "0000000002.data"};
    for (unsigned i = 0; i < 4; i++) {
        struct store s = copy_of(i < 2 ? &left : &sealed);
        char path[64];
        snprintf(path, sizeof path, "/store/%s", names[i % 2]);
        ck_assert_int_eq(simdisk_remove(s.disk, path), 0);
        expect_corrupt(&s, names[i % 2], 0);
        end(&s);
    }
    end(&sealed);
    end(&left);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("recovery");
    TCase *t = tcase_create("tail");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, test_torn_tail, 0, 2);
    tcase_add_loop_test(t, test_torn_batch, 0, 2);
    tcase_add_loop_test(t, test_frame_that_does_not_fit_its_records, 0, 2);
    tcase_add_loop_test(t, test_records_of_a_failed_batch_do_not_return, 0, 2);
    tcase_add_loop_test(t, test_failed_put_does_not_return, 0, 2);
    suite_add_tcase(s, t);
    t = tcase_create("damage");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, test_damaged_head_below_the_mark, 0, 2);
    tcase_add_loop_test(t, test_lost_bytes_below_the_mark, 0, 2);
    tcase_add_loop_test(t, test_damaged_frame_below_the_mark, 0, 2);
    tcase_add_loop_test(t, test_damaged_value_below_the_mark, 0, 2);
    tcase_add_loop_test(t, test_damaged_value_past_the_mark, 0, 2);
    tcase_add_loop_test(t, test_damaged_mark, 0, 2);
    tcase_add_loop_test(t, test_damaged_manifest, 0, 2);
    tcase_add_loop_test(t, test_lost_manifest, 0, 2);
    tcase_add_loop_test(t, test_older_manifest, 0, 2);
    tcase_add_loop_test(t, test_missing_file, 0, 2);
    suite_add_tcase(s, t);
    t = tcase_create("files");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, test_two_open_files, 0, 2);
    tcase_add_loop_test(t, test_second_file_is_void_behind_a_hole, 0, 2);
    tcase_add_loop_test(t, test_hole_before_a_synced_second_file, 0, 2);
    tcase_add_loop_test(t, test_torn_second_file, 0, 2);
    tcase_add_loop_test(t, test_link_of_a_foreign_file, 0, 2);
    tcase_add_loop_test(t, test_prepared_file_that_was_not_used, 0, 2);
    tcase_add_test(t, test_file_whose_link_could_not_be_written);
    tcase_add_loop_test(t, test_continued_file, 0, 2);
    tcase_add_loop_test(t, test_damage_below_the_end_of_a_continued_file, 0, 2);
    tcase_add_loop_test(t, test_linked_file_is_not_continued, 0, 2);
    tcase_add_loop_test(t, test_file_without_a_mark_is_not_continued, 0, 2);
    tcase_add_loop_test(t, test_space_of_a_continued_file_stays_in_its_mapping, 0, 2);
    suite_add_tcase(s, t);
    t = tcase_create("order");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, test_sequence_above_the_ceiling, 0, 2);
    tcase_add_loop_test(t, test_sequences_only_go_up, 0, 2);
    tcase_add_loop_test(t, test_no_resurrection_without_hints, 0, 2);
    tcase_add_loop_test(t, test_recovery_is_idempotent, 0, 2);
    tcase_add_loop_test(t, test_kill_with_a_cache_that_cannot_be_dropped, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
