/* fuzz_store.c - whole directories of damaged stores: verify, open in every way, repair, and all of it again.
 *
 * The first byte of an input chooses one of three valid stores and whether it is opened for writing before it is repaired; the
 * rest is read as changes to its files, CHANGE bytes each: bytes, sizes, files swapped, renamed, removed, replaced by links and
 * pipes. One kind of change makes the CRCs of a file right, so that the rules behind them are reached too. Nothing may crash,
 * hang, leak memory or descriptors, follow a link, or allocate beyond a bound that a hostile size would pass. Besides:
 * verify and read-only opens write nothing; what a repair has called repaired verifies clean, opens for writing and can be
 * read without an error; and as long as no CRC was forged no value is ever wrong. What does not hold traps.
 *
 * With libFuzzer: -fsanitize=fuzzer,address,undefined -DBC_LIBFUZZER. Without it a main() replays the files that it is given,
 * or with none a fixed number of random inputs; with --trace it says what each change is.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bitcask/bitcask.h"
#include "bitcask/coding.h"
#include "bitcask/crc.h"
#include "bitcask/format_data.h"
#include "bitcask/format_hint.h"
#include "bitcask/format_manifest.h"
#include "bitcask/format_record.h"
#include "bitcask/verify.h"

#define KEYS 24U
#define VERSIONS 4U
#define VALUE_MAX 6000U
#define CHANGE 8U
#define FILES_MAX 40U
#define BASES 3U
#define FILE_ROOM ((uint64_t)4 << 20)
#define RUN_SECONDS 20U /* SIGALRM ends the program: a hang is a failure */
#define MEMORY ((rlim_t)3 << 30)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct file {
    char name[64];
    uint8_t *bytes;
    uint64_t used; /* zeros follow, up to size */
    uint64_t size;
    char kind; /* 'f'ile, 'l'ink, 'p'ipe, 'd'irectory, '-' nothing */
};

struct image {
    struct file files[FILES_MAX];
    unsigned count;
};

static struct image bases[BASES];
static char root[64], dir[80], outside[80];
static bool trace;

static void check(bool holds, const char *what, int line)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz_store.c:%d: %s; last error: %s; the directory is %s\n", line, what, bitcask_last_error()->message,
            dir);
    __builtin_trap();
}

#define REQUIRE(what) check((what), #what, __LINE__)

/* ---- what the stores hold ---- */

static size_t value_of(unsigned number, unsigned version, uint8_t *value)
{
    size_t size = 1 + (number * 977 + version * 331) % (VALUE_MAX - 1);
    for (size_t i = 0; i < size; i++)
        value[i] = (uint8_t)(number * 31 + version * 17 + i * 7 + (i >> 8));
    value[0] = (uint8_t)version;
    return size;
}

static void check_value(const void *key, size_t key_size, const void *value, size_t size)
{
    uint8_t want[VALUE_MAX];
    char text[8] = "";
    if (key_size == 5 && memcmp(key, "after", 5) == 0)
        return;
    REQUIRE(key_size == 4);
    memcpy(text, key, 4);
    unsigned number = (unsigned)strtoul(text + 1, NULL, 10);
    REQUIRE(text[0] == 'k' && number < KEYS && size >= 1);
    unsigned version = ((const uint8_t *)value)[0];
    REQUIRE(version >= 1 && version <= VERSIONS);
    REQUIRE(value_of(number, version, want) == size && memcmp(want, value, size) == 0);
}

static void put(bitcask *db, unsigned number, unsigned version, int64_t expire_at_ms)
{
    uint8_t value[VALUE_MAX];
    char key[8];
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.expire_at_ms = expire_at_ms;
    snprintf(key, sizeof key, "k%03u", number);
    REQUIRE(bitcask_put(db, key, 4, value, value_of(number, version, value), &o, NULL) == BITCASK_OK);
}

static bitcask_options options_of(uint32_t flags)
{
    bitcask_options o = BITCASK_OPTIONS_INIT;
    o.flags = flags | BITCASK_OPEN_NO_MERGE | BITCASK_OPEN_NO_CREATE;
    o.max_file_size = 65536;
    o.keydir_shards = 64;
    o.load_threads = 1;
    return o;
}

static void fill(bitcask *db, bool merged)
{
    bitcask_batch *batch;
    uint8_t value[VALUE_MAX];
    for (unsigned version = 1; version < VERSIONS; version++)
        for (unsigned i = 0; i < KEYS; i++)
            put(db, i, version, i % 5 == 0 ? 4102444800000 : 0);
    for (unsigned i = 0; i < KEYS; i += 6)
        REQUIRE(bitcask_delete(db, (char[]){'k', '0', (char)('0' + i / 10), (char)('0' + i % 10)}, 4, NULL, NULL) ==
                BITCASK_OK);
    if (merged)
        REQUIRE(bitcask_merge(db, NULL, NULL) == BITCASK_OK);
    REQUIRE(bitcask_batch_new(&batch) == BITCASK_OK);
    REQUIRE(bitcask_batch_put(batch, "k001", 4, value, value_of(1, VERSIONS, value), 0) == BITCASK_OK);
    REQUIRE(bitcask_batch_put(batch, "k002", 4, value, value_of(2, VERSIONS, value), 0) == BITCASK_OK);
    REQUIRE(bitcask_batch_delete(batch, "k003", 4) == BITCASK_OK);
    REQUIRE(bitcask_write(db, batch, BITCASK_PUT_SYNC) == BITCASK_OK);
    bitcask_batch_free(batch);
    put(db, 4, VERSIONS, 0);
}

/* ---- directories ---- */

static const char *path_of(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void empty_directory(const char *path)
{
    char name[400];
    DIR *d = opendir(path);
    if (d == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (unlink(name) != 0) {
            empty_directory(name);
            rmdir(name);
        }
    }
    closedir(d);
}

static void read_image(struct image *image)
{
    DIR *d = opendir(dir);
    REQUIRE(d != NULL);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        struct stat st;
        REQUIRE(stat(path_of(entry->d_name), &st) == 0);
        if (!S_ISREG(st.st_mode))
            continue;
        REQUIRE(image->count < FILES_MAX / 2);
        struct file *f = &image->files[image->count++];
        snprintf(f->name, sizeof f->name, "%.63s", entry->d_name);
        f->kind = 'f';
        f->used = f->size = (uint64_t)st.st_size;
        f->bytes = malloc((size_t)f->size + 1);
        int fd = open(path_of(entry->d_name), O_RDONLY | O_CLOEXEC);
        REQUIRE(f->bytes != NULL && fd >= 0 && read(fd, f->bytes, (size_t)f->size) == (ssize_t)f->size);
        close(fd);
        while (f->used > 0 && f->bytes[f->used - 1] == 0)
            f->used--;
    }
    closedir(d);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static void fill_and(unsigned kind)
{
    bitcask *db;
    bitcask_options o = options_of(0);
    o.flags &= ~BITCASK_OPEN_NO_CREATE;
    REQUIRE(bitcask_open(dir, &o, &db) == BITCASK_OK);
    fill(db, kind == 2);
    if (kind == 1)
        _exit(EXIT_SUCCESS);
    REQUIRE(bitcask_close(db) == BITCASK_OK);
}

/* One was closed, one is as a kill leaves it, one was merged. */
static void make_base(unsigned kind)
{
    empty_directory(dir);
    pid_t child = kind == 1 ? fork() : -1;
    if (child == 0 || kind != 1)
        fill_and(kind);
    int status = 0;
    REQUIRE(kind != 1 || (child > 0 && waitpid(child, &status, 0) == child && status == 0));
    read_image(&bases[kind]);
    qsort(bases[kind].files, bases[kind].count, sizeof bases[kind].files[0], by_name);
}

static void clean_up(void)
{
    empty_directory(root);
    rmdir(root);
    for (unsigned kind = 0; kind < BASES; kind++)
        for (unsigned i = 0; i < bases[kind].count; i++)
            free(bases[kind].files[i].bytes);
}

static void no_sleep(void *ctx, unsigned us)
{
    (void)ctx;
    (void)us;
}

/* That of bitcask_verify(), but for the half second that it gives a writer to finish what looks like a leftover: here is none.
 */
static struct bc_io io_without_sleep;
static const struct bc_environment impatient = {.io = &io_without_sleep, .inlined = false};

/* A size that is believed meets the limit, and NO_MEMORY is no answer to damage. Sanitizers reserve terabytes: not with them.
 */
static void limit_memory(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL)
        return;
    int got = fscanf(file, "%llu", &pages);
    fclose(file);
    if (got == 1 && pages < MEMORY / 4096)
        REQUIRE(setrlimit(RLIMIT_AS, &(struct rlimit){MEMORY, MEMORY}) == 0);
}

static void prepare(void)
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(root, sizeof root, "%s/bitcask-fuzz-XXXXXX", base);
    if (mkdtemp(root) == NULL) {
        perror(root);
        exit(EXIT_FAILURE);
    }
    snprintf(dir, sizeof dir, "%s/store", root);
    snprintf(outside, sizeof outside, "%s/outside", root);
    REQUIRE(mkdir(dir, 0700) == 0 && atexit(clean_up) == 0);
    io_without_sleep = bc_io_posix;
    io_without_sleep.sleep_us = no_sleep;
    for (unsigned kind = 0; kind < BASES; kind++)
        make_base(kind);
    limit_memory();
}

static void write_image(const struct image *image)
{
    empty_directory(dir);
    for (unsigned i = 0; i < image->count; i++) {
        const struct file *f = &image->files[i];
        int fd;
        switch (f->kind) {
        case 'l':
            (void)!symlink(outside, path_of(f->name));
            break;
        case 'p':
            (void)mkfifo(path_of(f->name), 0600);
            break;
        case 'd':
            (void)mkdir(path_of(f->name), 0700);
            break;
        case 'f':
            /* Of two with one name the last counts. */
            fd = open(path_of(f->name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
            if (fd < 0)
                break;
            REQUIRE(write(fd, f->bytes, (size_t)f->used) == (ssize_t)f->used);
            REQUIRE(ftruncate(fd, (off_t)f->size) == 0);
            close(fd);
            break;
        default:
            break;
        }
    }
}

/* Of names, sizes and times of the store: reading changes none of them. */
static uint64_t fingerprint(const char *path)
{
    char name[400];
    uint64_t sum = 0;
    DIR *d = opendir(path);
    REQUIRE(d != NULL);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        struct stat st;
        if (strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        REQUIRE(lstat(name, &st) == 0);
        uint64_t parts[] = {(uint64_t)st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
                            (uint64_t)st.st_mtim.tv_nsec, bc_crc32(0, entry->d_name, strlen(entry->d_name))};
        sum += bc_crc32(0, parts, sizeof parts) * (uint64_t)0x9E3779B97F4A7C15;
    }
    closedir(d);
    return sum;
}

/* ---- changes ---- */

/* To a size that may be larger, the bytes writable up to used. */
static bool room(struct file *f, uint64_t used)
{
    if (used <= f->used)
        return true;
    uint8_t *bytes = used > FILE_ROOM ? NULL : realloc(f->bytes, (size_t)used + 1);
    if (bytes == NULL)
        return false;
    memset(bytes + f->used, 0, (size_t)(used - f->used));
    f->bytes = bytes;
    f->used = used;
    if (f->size < used)
        f->size = used;
    return true;
}

static void fix_manifest(struct file *f)
{
    for (uint64_t at = 0; at + 100 < f->used; at += 4096) {
        uint64_t body = bc_get_u32(f->bytes + at + 12);
        if (body >= 84 && body <= f->used - at)
            bc_put_u32(f->bytes + at + body - 4, bc_crc32(0, f->bytes + at, (size_t)body - 4));
    }
}

static void fix_record(uint8_t *p, uint64_t left, uint64_t nonce, uint64_t at)
{
    struct bc_record r;
    uint32_t seed = bc_record_seed(nonce, at);
    if (!bc_record_peek(&r, p, (size_t)left))
        return;
    uint64_t key_end = bc_record_head_size(&r) + r.key_size;
    if (key_end > left || r.value_size > left - key_end)
        return;
    bc_put_u32(p + 4, bc_crc32(~seed, p + key_end, r.value_size));
    bc_put_u32(p, bc_crc32(seed, p + 4, (size_t)key_end - 4));
}

static void fix_data(struct file *f)
{
    if (!room(f, BC_DATA_START))
        return;
    uint8_t *p = f->bytes;
    bc_put_u32(p + BC_DATA_HEADER_SIZE - 4, bc_crc32(0, p, BC_DATA_HEADER_SIZE - 4));
    struct bc_data_header h;
    if (bc_data_header_decode(&h, p) != BC_FORMAT_OK)
        return;
    uint64_t nonce = h.name.nonce;
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *slot = p + BC_DATA_MARK_OFFSET + (size_t)i * BC_DATA_MARK_SECTOR;
        bc_put_u32(slot, bc_crc32((uint32_t)(nonce ^ nonce >> 32), slot + 4, BC_DATA_MARK_SIZE - 4));
    }
    for (uint64_t at = BC_DATA_START, step; at + BC_RECORD_HEADER <= f->used; at += step) {
        struct bc_record r;
        step = 8;
        if (bc_record_peek(&r, p + at, (size_t)(f->used - at)) && bc_record_footprint(&r) <= f->used - at + 8)
            step = bc_record_footprint(&r);
        fix_record(p + at, f->used - at, nonce, at);
    }
}

static void fix_hint(struct file *f)
{
    struct bc_hint_header h;
    if (!room(f, BC_HINT_HEADER))
        return;
    uint8_t *p = f->bytes;
    bc_put_u32(p + BC_HINT_HEADER - 4, bc_crc32(0, p, BC_HINT_HEADER - 4));
    if (bc_hint_header_decode(&h, p) != BC_FORMAT_OK)
        return;
    uint64_t at = BC_HINT_HEADER;
    for (uint64_t block = 0; at + BC_HINT_BLOCK_HEADER <= f->used; block++) {
        uint32_t payload, count;
        bc_hint_block_peek(p + at, &payload, &count);
        if (payload > f->used - at - BC_HINT_BLOCK_HEADER)
            break;
        bc_hint_block_encode(p + at, h.data.nonce, block, p + at + BC_HINT_BLOCK_HEADER, payload, count);
        at += BC_HINT_BLOCK_HEADER + payload;
    }
    if (h.size <= FILE_ROOM && h.size >= BC_HINT_HEADER && room(f, h.size)) {
        p = f->bytes;
        h.body_crc = bc_crc32(0, p + BC_HINT_HEADER, (size_t)h.size - BC_HINT_HEADER);
        bc_hint_header_encode(p, &h);
    }
}

static bool ends_with(const struct file *f, const char *end)
{
    size_t name = strlen(f->name), size = strlen(end);
    return name >= size && strcmp(f->name + name - size, end) == 0;
}

static bool fix(struct file *f)
{
    if (strcmp(f->name, "MANIFEST") == 0)
        fix_manifest(f);
    else if (ends_with(f, ".data"))
        fix_data(f);
    else if (ends_with(f, ".hint"))
        fix_hint(f);
    return true;
}

/* Half of all places are near the start or just behind the two pages of a header, where the fields are. */
static uint64_t place(const struct file *f, const uint8_t *c)
{
    uint64_t at = (uint64_t)c[2] | (uint64_t)c[3] << 8 | (uint64_t)c[4] << 16;
    if (f->used == 0)
        return 0;
    switch (c[5] & 3) {
    case 0:
        return at % BC_MIN(f->used, 256);
    case 1:
        return ends_with(f, ".data") && f->used > BC_DATA_START ? BC_DATA_START + at % BC_MIN(f->used - BC_DATA_START, 256)
                                                                : at % f->used;
    default:
        return at % f->used;
    }
}

static void interesting(uint8_t *p, uint64_t left, const uint8_t *c)
{
    static const uint64_t values[] = {0,          1,          8,          8192,      65536, 0x7fffffff,
                                      0x80000000, 0xffffffff, UINT64_MAX, INT64_MAX, 64,    (uint64_t)1 << 34};
    uint64_t value = values[c[6] % (sizeof values / sizeof values[0])] + (c[7] & 3) - 1;
    unsigned width = (c[7] & 4) != 0 ? 8 : 4;
    for (unsigned i = 0; i < width && i < left; i++)
        p[i] = (uint8_t)(value >> 8 * i);
}

static void copy_over(struct file *to, const struct file *from)
{
    uint8_t *bytes = malloc((size_t)from->used + 1);
    if (bytes == NULL)
        return;
    if (from->used != 0)
        memcpy(bytes, from->bytes, (size_t)from->used);
    free(to->bytes);
    to->bytes = bytes;
    to->used = from->used;
    to->size = from->size;
}

static void rename_file(struct file *f, const uint8_t *c)
{
    static const char *const ends[] = {".data", ".hint", ".tmp", ".data.tmp", "", ".hint.tmp", ".DATA", ".data.2"};
    unsigned long id = strtoul(f->name, NULL, 10) + c[6] % 5;
    if ((c[7] & 0xf0) == 0)
        snprintf(f->name, sizeof f->name, "%s", c[7] & 1 ? "MANIFEST" : c[7] & 2 ? "LOCK" : c[7] & 4 ? "lost+found" : "note");
    else
        snprintf(f->name, sizeof f->name, c[7] & 8 ? "%lu%s" : "%010lu%s", id, ends[c[7] & 7]);
}

/* Another one with the same bytes. */
static void add_copy(struct image *image, const struct file *f, const uint8_t *c)
{
    if (image->count == FILES_MAX)
        return;
    struct file *copy = &image->files[image->count];
    *copy = (struct file){.kind = 'f'};
    copy_over(copy, f);
    if (copy->bytes == NULL)
        return;
    memcpy(copy->name, f->name, sizeof copy->name);
    rename_file(copy, c);
    image->count++;
}

/* Returns whether it was the one that makes CRCs right. */
static bool change(struct image *image, const uint8_t *c)
{
    struct file *f = &image->files[c[1] % image->count];
    uint64_t at = place(f, c), left = f->used - at;
    if (trace)
        fprintf(stderr, "# change %u of %s at %llu: %02x %02x\n", c[0] % 16U, f->name, (unsigned long long)at, c[6], c[7]);
    switch (c[0] % 16) {
    case 0:
    case 1:
    case 2:
        if (left != 0)
            f->bytes[at] ^= c[7] == 0 ? 1 : c[7];
        return false;
    case 3:
        memset(f->bytes + at,
               c[7] & 1   ? 0
               : c[7] & 2 ? 0xff
                          : c[7],
               (size_t)BC_MIN(left, (uint64_t)c[6] * (c[7] & 4 ? 64 : 1)));
        return false;
    case 4:
        interesting(f->bytes + at, left, c);
        return false;
    case 5:
        f->used = at;
        f->size = c[7] & 1 ? at : f->size;
        return false;
    case 6:
        f->size += (uint64_t)c[6] * (c[7] & 1 ? 1 : 4096);
        if (c[7] & 2 && room(f, f->size) && f->used != 0)
            f->bytes[f->used - 1] = 1;
        return false;
    case 7:
        f->kind = c[7] & 1 ? 'f' : "-lpd"[c[6] & 3];
        return false;
    case 8:
        copy_over(f, &image->files[c[6] % image->count]);
        return false;
    case 9:
        rename_file(f, c);
        return false;
    case 10:
        add_copy(image, f, c);
        return false;
    case 11: {
        uint64_t from = (at + (uint64_t)c[6] * 8) % (f->used + 1), size = BC_MIN(left, (uint64_t)c[7] * 8);
        memmove(f->bytes + at, f->bytes + from, (size_t)BC_MIN(size, f->used - from));
        return false;
    }
    case 12: /* swap two files' contents */ {
        struct file *g = &image->files[c[6] % image->count], kept = *f;
        f->bytes = g->bytes, f->used = g->used, f->size = g->size;
        g->bytes = kept.bytes, g->used = kept.used, g->size = kept.size;
        return false;
    }
    default:
        return fix(f);
    }
}

/* ---- what is done with it ---- */

static void known(int result)
{
    REQUIRE(result == BITCASK_OK || result == BITCASK_NOT_FOUND || result == BITCASK_IO || result == BITCASK_CORRUPT ||
            result == BITCASK_UNSUPPORTED);
}

static int on_finding(const bitcask_finding *f, void *ctx)
{
    if (trace)
        fprintf(stderr, "# %s: %s:%llu: %u: %s\n", (const char *)ctx, f->file, (unsigned long long)f->offset,
                (unsigned)f->severity, f->message);
    return 0;
}

static int verify(uint32_t flags, bitcask_verify_result *found)
{
    bitcask_verify_options o = BITCASK_VERIFY_OPTIONS_INIT;
    *found = (bitcask_verify_result)BITCASK_VERIFY_RESULT_INIT;
    o.flags = flags;
    o.finding = on_finding;
    o.finding_ctx = (void *)"verify";
    int result = bc_verify(dir, &o, &impatient, found);
    known(result);
    return result;
}

/* Everything that can be read. honest: no CRC was forged. whole: it was repaired. */
static void walk(bitcask *db, bool honest, bool whole)
{
    bitcask_iter *iter;
    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
    int result;
    o.flags = BITCASK_ITER_SORTED;
    REQUIRE(bitcask_iter_new(db, &o, &iter) == BITCASK_OK);
    while ((result = bitcask_iter_next(iter)) == BITCASK_OK) {
        bitcask_slice key = bitcask_iter_key(iter), value;
        void *got;
        size_t size;
        int read = bitcask_iter_value(iter, &value);
        known(read);
        REQUIRE(read == BITCASK_OK || !whole);
        if (read == BITCASK_OK && honest)
            check_value(key.data, key.size, value.data, value.size);
        read = bitcask_get(db, key.data, key.size, &got, &size);
        known(read);
        REQUIRE(read == BITCASK_OK || read == BITCASK_NOT_FOUND || !whole); /* it may just have expired */
        if (read == BITCASK_OK) {
            if (honest)
                check_value(key.data, key.size, got, size);
            bitcask_free(got);
        }
    }
    known(result);
    REQUIRE(result == BITCASK_NOT_FOUND || !whole);
    bitcask_iter_free(iter);
}

static int open_and_walk(uint32_t flags, bool honest)
{
    bitcask *db;
    bitcask_options o = options_of(flags);
    int result = bitcask_open(dir, &o, &db);
    known(result);
    if (result != BITCASK_OK)
        return result;
    walk(db, honest, false);
    REQUIRE(bitcask_close(db) == BITCASK_OK);
    return BITCASK_OK;
}

static int write_something(bool honest, bool whole)
{
    bitcask *db;
    bitcask_options o = options_of(0);
    int result = bitcask_open(dir, &o, &db);
    known(result);
    if (result != BITCASK_OK)
        return result;
    result = bitcask_put(db, "after", 5, "damage", 6, NULL, NULL);
    REQUIRE(result == BITCASK_OK || !whole);
    known(result);
    known(bitcask_delete(db, "k005", 4, NULL, NULL));
    result = bitcask_merge(db, NULL, NULL);
    REQUIRE(result == BITCASK_OK || !whole);
    known(result);
    walk(db, honest, whole);
    result = bitcask_close(db);
    REQUIRE(result == BITCASK_OK || !whole);
    known(result);
    return BITCASK_OK;
}

static int repair(uint32_t flags, bitcask_verify_result *found)
{
    bitcask_repair_options o = BITCASK_REPAIR_OPTIONS_INIT;
    *found = (bitcask_verify_result)BITCASK_VERIFY_RESULT_INIT;
    o.flags = flags;
    o.finding = on_finding;
    o.finding_ctx = (void *)"repair";
    int result = bitcask_repair(dir, &o, found);
    known(result);
    return result;
}

static struct {
    unsigned runs, clean, opened, repaired, refused;
} seen;

static void run(uint8_t how, bool honest)
{
    bitcask_verify_result found;
    uint64_t before = fingerprint(dir);
    int checked = verify(how & 4 ? BITCASK_VERIFY_RECOUNT : 0, &found);
    uint32_t mode = how & 8 ? BITCASK_OPEN_NO_MMAP : 0;
    int opened = open_and_walk(BITCASK_OPEN_READ_ONLY | mode, honest);
    known(open_and_walk(BITCASK_OPEN_SALVAGE | mode, honest));
    REQUIRE(fingerprint(dir) == before);
    REQUIRE(checked != BITCASK_OK || opened == BITCASK_OK);
    seen.runs++;
    seen.clean += checked == BITCASK_OK;
    seen.opened += opened == BITCASK_OK;
    if (how & 16)
        (void)write_something(honest, false);
    else if (how & 32)
        (void)repair(BITCASK_REPAIR_DRY_RUN, &found);
    int result = repair(0, &found);
    if (result != BITCASK_OK) {
        seen.refused++;
        if (trace)
            fprintf(stderr, "# repair: %s\n", bitcask_last_error()->message);
        return;
    }
    seen.repaired += found.repaired != 0;
    REQUIRE(verify(BITCASK_VERIFY_RECOUNT, &found) == BITCASK_OK);
    REQUIRE(write_something(honest, true) == BITCASK_OK);
    REQUIRE(verify(0, &found) == BITCASK_OK);
}

static int lowest_descriptor(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char untouched[] = "what a link points at";
    char now[sizeof untouched + 1] = "";
    struct image image = {0};
    bool honest = true;
    if (size < 1)
        return 0;
    if (bases[0].count == 0)
        prepare();
    int descriptor = lowest_descriptor();
    const struct image *base = &bases[data[0] % BASES];
    for (unsigned i = 0; i < base->count; i++) {
        image.files[i].kind = 'f';
        snprintf(image.files[i].name, sizeof image.files[i].name, "%s", base->files[i].name);
        copy_over(&image.files[i], &base->files[i]);
        REQUIRE(image.files[i].bytes != NULL);
    }
    image.count = base->count;
    for (size_t at = 1; at + CHANGE <= size; at += CHANGE)
        honest = !change(&image, data + at) && honest;
    FILE *file = fopen(outside, "w");
    REQUIRE(file != NULL && fputs(untouched, file) >= 0 && fclose(file) == 0);
    write_image(&image);
    for (unsigned i = 0; i < image.count; i++)
        free(image.files[i].bytes);
    alarm(RUN_SECONDS);
    run(data[0], honest);
    alarm(0);
    file = fopen(outside, "r");
    REQUIRE(file != NULL && fgets(now, sizeof now, file) != NULL && fclose(file) == 0 && strcmp(now, untouched) == 0);
    REQUIRE(lowest_descriptor() == descriptor);
    return 0;
}

#ifndef BC_LIBFUZZER

#define INPUTS 1000U
#define CHANGES_MAX 6U

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static void random_input(unsigned number)
{
    uint8_t input[1 + CHANGE * CHANGES_MAX];
    uint64_t x = 88172645463325252U + number * 0x9E3779B97F4A7C15;
    for (unsigned i = 0; i < 8; i++)
        (void)next_random(&x);
    unsigned changes = 1 + (unsigned)(next_random(&x) % CHANGES_MAX);
    for (size_t i = 0; i < 1 + changes * CHANGE; i++)
        input[i] = (uint8_t)(next_random(&x) >> 32);
    /* Every other one stays honest. */
    for (size_t i = 1; number % 2 == 0 && i < 1 + changes * CHANGE; i += CHANGE)
        input[i] %= 13;
    if (trace)
        fprintf(stderr, "# input %u\n", number);
    LLVMFuzzerTestOneInput(input, 1 + changes * CHANGE);
}

static int replay(const char *path)
{
    uint8_t data[4096];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return EXIT_FAILURE;
    }
    LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof data, file));
    fclose(file);
    return EXIT_SUCCESS;
}

/* fuzz_store [--trace] [NUMBER | FIRST-LAST | FILE]... The numbers are those of random inputs. */
int main(int argc, char **argv)
{
    int result = EXIT_SUCCESS, first = 1;
    trace = argc > 1 && strcmp(argv[1], "--trace") == 0;
    first += trace;
    for (unsigned i = 0; first == argc && i < INPUTS; i++)
        random_input(i);
    for (int i = first; i < argc && result == EXIT_SUCCESS; i++) {
        unsigned from, to;
        int parts = sscanf(argv[i], "%u-%u", &from, &to);
        if (parts < 1)
            result = replay(argv[i]);
        for (unsigned number = from; parts >= 1 && number <= (parts == 2 ? to : from); number++)
            random_input(number);
    }
    printf("%u stores: %u verify clean, %u open, %u were repaired, of %u a repair was refused\n", seen.runs, seen.clean,
           seen.opened, seen.repaired, seen.refused);
    return result;
}

#endif
