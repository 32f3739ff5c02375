#include "bitcask/io.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct bc_io *const io = &bc_io_posix;
static char path[64]; /* a directory of the test's own */
static int dir;

/* These stand before the C library's. While `unkind` they transfer at most three bytes, and every other call is interrupted. */
static bool unkind;
static unsigned interruptions;

static bool interrupted(void)
{
    if (!unkind || interruptions++ % 2 != 0)
        return false;
    errno = EINTR;
    return true;
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    if (interrupted())
        return -1;
    struct iovec first = iov[0];
    first.iov_len = BC_MIN(first.iov_len, (size_t)3);
    return syscall(SYS_pwritev, fd, unkind ? &first : iov, unkind ? 1 : count, offset, 0);
}

ssize_t pread(int fd, void *buf, size_t size, off_t offset)
{
    if (interrupted())
        return -1;
    return syscall(SYS_pread64, fd, buf, unkind ? BC_MIN(size, (size_t)3) : size, offset);
}

static void setup(void)
{
    strcpy(path, "/tmp/bitcask-io-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    ck_assert_int_eq(io->dir_open(NULL, path, false, &dir), 0);
    errno = 4711; /* no call of the table may touch it */
}

static int remove_name(const char *name, void *arg)
{
    (void)arg;
    return unlinkat(dir, name, 0) == 0 ? 0 : unlinkat(dir, name, AT_REMOVEDIR) == 0 ? 0 : errno;
}

static void teardown(void)
{
    ck_assert_int_eq(errno, 4711);
    ck_assert_int_eq(io->dir_list(NULL, dir, remove_name, NULL), 0);
    io->dir_close(NULL, dir);
    ck_assert_int_eq(rmdir(path), 0);
}

/* For the calls of the test's own, which may set errno. */
#define OWN(call)                                                                                                              \
    do {                                                                                                                       \
        int before = errno;                                                                                                    \
        ck_assert_int_ge((call), 0);                                                                                           \
        errno = before;                                                                                                        \
    } while (0)

static int open_file(const char *name)
{
    int fd = -1;
    ck_assert_int_eq(io->open(NULL, dir, name, BC_IO_WRITE | BC_IO_CREATE, 0600, &fd), 0);
    return fd;
}

static int put(int fd, uint64_t offset, const void *data, size_t size)
{
    struct bc_io_slice slice = {data, size};
    return io->write(NULL, fd, offset, &slice, 1);
}

static uint64_t size_of(int fd)
{
    struct bc_io_stat st;
    ck_assert_int_eq(io->stat(NULL, fd, &st), 0);
    return st.size;
}

START_TEST(only_regular_files_are_opened)
{
    int fd = -1;
    OWN(symlinkat("target", dir, "link"));
    OWN(mkfifoat(dir, "fifo", 0600));
    OWN(mkdirat(dir, "dir", 0700));
    int sock = -1;
    OWN(sock = socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/sock", path);
    OWN(bind(sock, (struct sockaddr *)&addr, sizeof addr));
    static const char *const names[] = {"fifo", "dir", "sock"};
    static const unsigned flags[] = {0, BC_IO_WRITE, BC_IO_WRITE | BC_IO_CREATE};
    for (size_t i = 0; i < BC_ARRAY_SIZE(flags); i++) {
        ck_assert_int_eq(io->open(NULL, dir, "link", flags[i], 0600, &fd), ELOOP);
        for (size_t j = 0; j < BC_ARRAY_SIZE(names); j++)
            ck_assert_msg(io->open(NULL, dir, names[j], flags[i], 0600, &fd) == EINVAL, "%s %u", names[j], flags[i]);
    }
    int target = open_file("target");
    ck_assert_int_eq(io->open(NULL, dir, "link", 0, 0, &fd), ELOOP);
    ck_assert_int_eq(fd, -1);
    io->close(NULL, target);
    close(sock);
}
END_TEST

START_TEST(open_flags)
{
    int fd = -1;
    ck_assert_int_eq(io->open(NULL, dir, "a", BC_IO_WRITE, 0600, &fd), ENOENT);
    int made = open_file("a");
    ck_assert_int_eq(io->open(NULL, dir, "a", BC_IO_WRITE | BC_IO_CREATE | BC_IO_EXCLUSIVE, 0600, &fd), EEXIST);
    ck_assert_int_eq(io->open(NULL, dir, "a", 0, 0, &fd), 0);
    ck_assert_int_eq(put(fd, 0, "x", 1), EBADF);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    struct stat st;
    ck_assert_int_eq(fstat(made, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    struct bc_io_stat mine;
    ck_assert_int_eq(io->stat(NULL, made, &mine), 0);
    ck_assert(mine.inode == st.st_ino && mine.device == st.st_dev && mine.links == 1 && mine.size == 0);
    io->close(NULL, fd);
    io->close(NULL, made);
}
END_TEST

START_TEST(lock_is_of_the_descriptor)
{
    int first = open_file("LOCK");
    int second = open_file("LOCK");
    ck_assert_int_eq(io->lock(NULL, first), 0);
    ck_assert_int_eq(io->lock(NULL, second), EWOULDBLOCK);
    int third = open_file("LOCK");
    io->close(NULL, third); /* a POSIX lock would be gone now */
    ck_assert_int_eq(io->lock(NULL, second), EWOULDBLOCK);
    io->close(NULL, first);
    ck_assert_int_eq(io->lock(NULL, second), 0);
    io->close(NULL, second);
}
END_TEST

START_TEST(lock_of_a_killed_process_is_free)
{
    int ready[2];
    OWN(pipe(ready));
    pid_t child = -1;
    OWN(child = fork());
    if (child == 0) {
        char go = io->lock(NULL, open_file("LOCK")) == 0 ? 'y' : 'n';
        if (write(ready[1], &go, 1) == 1)
            pause();
        _exit(1);
    }
    char go = 0;
    ck_assert_int_eq(read(ready[0], &go, 1), 1);
    ck_assert_int_eq(go, 'y');
    int fd = open_file("LOCK");
    ck_assert_int_eq(io->lock(NULL, fd), EWOULDBLOCK);
    OWN(kill(child, SIGKILL));
    OWN(waitpid(child, NULL, 0));
    ck_assert_int_eq(io->lock(NULL, fd), 0);
    io->close(NULL, fd);
    close(ready[0]);
    close(ready[1]);
}
END_TEST

START_TEST(read_tells_where_the_file_ends)
{
    char buf[16];
    size_t got = 99;
    int fd = open_file("a");
    ck_assert_int_eq(put(fd, 3, "hello", 5), 0);
    ck_assert_uint_eq(size_of(fd), 8);
    ck_assert_int_eq(io->read(NULL, fd, 2, buf, sizeof buf, &got), 0);
    ck_assert_uint_eq(got, 6);
    ck_assert_mem_eq(buf, "\0hello", 6);
    static const uint64_t beyond[] = {8, 4096, INT64_MAX - 1, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < BC_ARRAY_SIZE(beyond); i++) {
        got = 99;
        ck_assert_int_eq(io->read(NULL, fd, beyond[i], buf, sizeof buf, &got), 0);
        ck_assert_uint_eq(got, 0);
    }
    got = 99;
    ck_assert_int_eq(io->read(NULL, -1, 0, buf, sizeof buf, &got), EBADF);
    ck_assert_uint_eq(got, 99);
    io->close(NULL, fd);
}
END_TEST

START_TEST(write_takes_any_number_of_slices)
{
    enum { N = 100 };
    struct bc_io_slice slices[N];
    char data[N], back[N * 2];
    size_t total = 0, got;
    for (size_t i = 0; i < N; i++) {
        data[i] = (char)('a' + i % 26);
        slices[i] = (struct bc_io_slice){data + i, i % 3 == 0 ? 0 : 1}; /* empty ones between */
        total += slices[i].size;
    }
    int fd = open_file("a");
    ck_assert_int_eq(io->write(NULL, fd, 10, slices, N), 0);
    ck_assert_uint_eq(size_of(fd), total + 10);
    ck_assert_int_eq(io->read(NULL, fd, 10, back, sizeof back, &got), 0);
    ck_assert_uint_eq(got, total);
    for (size_t i = 0, at = 0; i < N; i++)
        if (slices[i].size != 0)
            ck_assert_int_eq(back[at++], data[i]);
    ck_assert_int_eq(io->write(NULL, fd, 0, NULL, 0), 0);
    ck_assert_int_eq(put(fd, (uint64_t)INT64_MAX, "x", 1), EFBIG);
    struct bc_io_slice huge[] = {{data, SIZE_MAX}, {data, 2}};
    ck_assert_int_eq(io->write(NULL, fd, 0, huge, 2), EFBIG);
    io->close(NULL, fd);
}
END_TEST

START_TEST(short_and_interrupted_transfers_go_on)
{
    char back[32];
    size_t got;
    int fd = open_file("a");
    struct bc_io_slice slices[] = {{"abcdefg", 7}, {"", 0}, {"hi", 2}, {"jklmno", 6}};
    unkind = true;
    ck_assert_int_eq(io->write(NULL, fd, 5, slices, BC_ARRAY_SIZE(slices)), 0);
    ck_assert_int_eq(io->read(NULL, fd, 5, back, sizeof back, &got), 0);
    unkind = false;
    ck_assert_uint_gt(interruptions, 12);
    ck_assert_uint_eq(got, 15);
    ck_assert_mem_eq(back, "abcdefghijklmno", 15);
    ck_assert_uint_eq(size_of(fd), 20);
    io->close(NULL, fd);
}
END_TEST

static int limited(void)
{
    struct rlimit limit = {1000, 1000};
    char block[600] = {0};
    int fd = open_file("a");
    /* The default action of SIGXFSZ would end the process here. */
    if (signal(SIGXFSZ, SIG_DFL) == SIG_ERR || setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 1;
    if (put(fd, 0, block, sizeof block) != 0)
        return 2;
    if (put(fd, 600, block, sizeof block) != EFBIG || size_of(fd) != 600)
        return 3;
    if (io->allocate(NULL, fd, 0, 1001) != EFBIG || io->allocate(NULL, fd, 2000, 1) != EFBIG)
        return 4;
    if (io->truncate(NULL, fd, 1001) != EFBIG || size_of(fd) != 600)
        return 5;
    if (io->truncate(NULL, fd, 1000) != 0 || put(fd, 600, block, 400) != 0)
        return 6;
    return 0;
}

START_TEST(file_size_limit_is_an_error_not_a_signal)
{
    pid_t child = -1;
    int status = -1;
    OWN(child = fork());
    if (child == 0)
        _exit(limited());
    OWN(waitpid(child, &status, 0));
    ck_assert_msg(WIFEXITED(status), "signal %d", WTERMSIG(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

START_TEST(shrinking_below_no_limit_asks_none)
{
    pid_t child = -1;
    int status = -1;
    int fd = open_file("a");
    ck_assert_int_eq(io->truncate(NULL, fd, 5000), 0);
    OWN(child = fork());
    if (child == 0) {
        struct rlimit limit = {1000, 1000};
        _exit(setrlimit(RLIMIT_FSIZE, &limit) == 0 && io->truncate(NULL, fd, 3000) == 0 ? 0 : 1);
    }
    OWN(waitpid(child, &status, 0));
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_uint_eq(size_of(fd), 3000);
    io->close(NULL, fd);
}
END_TEST

static int count_name(const char *name, void *arg)
{
    unsigned *seen = arg;
    *seen += strcmp(name, "a") == 0 ? 1U : strcmp(name, "b") == 0 ? 100U : 10000U;
    return *seen == 20202 ? 77 : 0;
}

START_TEST(list_rename_unlink)
{
    unsigned seen = 0;
    struct bc_io_stat st;
    int a = open_file("a");
    int b = open_file("b");
    int c = open_file("c");
    ck_assert_int_eq(io->dir_list(NULL, dir, count_name, &seen), 0);
    ck_assert_uint_eq(seen, 10101);
    seen = 10101;
    ck_assert_int_eq(io->dir_list(NULL, dir, count_name, &seen), 77); /* from the start again, and stopped */
    ck_assert_int_eq(io->rename(NULL, dir, "a", "b"), 0);
    ck_assert_int_eq(io->stat(NULL, b, &st), 0);
    ck_assert_uint_eq(st.links, 0);
    ck_assert_int_eq(io->rename(NULL, dir, "a", "b"), ENOENT);
    ck_assert_int_eq(io->unlink(NULL, dir, "c"), 0);
    ck_assert_int_eq(io->unlink(NULL, dir, "c"), ENOENT);
    ck_assert_int_eq(io->dir_sync(NULL, dir), 0);
    seen = 0;
    ck_assert_int_eq(io->dir_list(NULL, dir, count_name, &seen), 0);
    ck_assert_uint_eq(seen, 100);
    io->close(NULL, a);
    io->close(NULL, b);
    io->close(NULL, c);
}
END_TEST

START_TEST(directories)
{
    char deep[128];
    int fd = -1;
    struct stat st;
    snprintf(deep, sizeof deep, "%s/store", path);
    ck_assert_int_eq(io->dir_open(NULL, deep, false, &fd), ENOENT);
    snprintf(deep, sizeof deep, "%s/store/deep", path);
    ck_assert_int_eq(io->dir_open(NULL, deep, true, &fd), ENOENT);
    ck_assert_int_eq(fd, -1);
    snprintf(deep, sizeof deep, "%s/store/", path);
    ck_assert_int_eq(io->dir_open(NULL, deep, true, &fd), 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0700);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    io->dir_close(NULL, fd);
    ck_assert_int_eq(io->dir_open(NULL, deep, true, &fd), 0);
    uint64_t space = 0;
    ck_assert_int_eq(io->dir_free_space(NULL, fd, &space), 0);
    ck_assert_uint_gt(space, 0);
    io->dir_close(NULL, fd);
    io->close(NULL, open_file("file"));
    snprintf(deep, sizeof deep, "%s/file", path);
    ck_assert_int_eq(io->dir_open(NULL, deep, true, &fd), ENOTDIR);
}
END_TEST

START_TEST(maps_well_is_an_allow_list)
{
    int fd = -1;
    ck_assert_int_eq(io->dir_open(NULL, "/proc", false, &fd), 0);
    ck_assert(!io->dir_maps_well(NULL, fd));
    io->dir_close(NULL, fd);
    ck_assert(!io->dir_maps_well(NULL, -1));
    if (access("/dev/shm", R_OK) == 0) {
        ck_assert_int_eq(io->dir_open(NULL, "/dev/shm", false, &fd), 0);
        ck_assert(io->dir_maps_well(NULL, fd));
        io->dir_close(NULL, fd);
    }
    errno = 4711;
}
END_TEST

START_TEST(mapping_and_calls_see_the_same_bytes)
{
    void *raw = NULL;
    char back[4];
    size_t got;
    int fd = open_file("a");
    int error = io->allocate(NULL, fd, 0, 8192);
    if (error == EOPNOTSUPP)
        error = io->truncate(NULL, fd, 8192);
    ck_assert_int_eq(error, 0);
    ck_assert_uint_eq(size_of(fd), 8192);
    ck_assert_int_eq(io->map(NULL, fd, 1 << 20, true, &raw), 0); /* longer than the file */
    char *map = raw;
    ck_assert_int_eq(put(fd, 5000, "call", 4), 0);
    error = io->populate(NULL, map + 4097, 4095);
    ck_assert(error == 0 || error == ENOSYS);
    ck_assert_mem_eq(map + 5000, "call", 4);
    memcpy(map + 100, "map!", 4);
    ck_assert_int_eq(io->read(NULL, fd, 100, back, 4, &got), 0);
    ck_assert_mem_eq(back, "map!", 4);
    ck_assert_int_eq(io->sync(NULL, fd), 0);
    ck_assert_int_eq(io->drop_cache(NULL, fd, 50, 100), 0);
    ck_assert_int_eq(io->drop_cache(NULL, fd, UINT64_MAX, 1), 0);
    ck_assert_mem_eq(map + 100, "map!", 4);
    io->unmap(NULL, raw, 1 << 20);
    ck_assert_int_eq(io->map(NULL, -1, 4096, false, &raw), EBADF);
    ck_assert_ptr_eq(raw, map);
    io->close(NULL, fd);
}
END_TEST

START_TEST(populate_prepares_without_storing)
{
    void *map = NULL;
    int fd = open_file("a");
    char block[4096];
    memset(block, 'x', sizeof block);
    ck_assert_int_eq(put(fd, 0, block, sizeof block), 0);
    ck_assert_int_eq(io->map(NULL, fd, 4096, false, &map), 0);
    ck_assert_int_ne(io->populate(NULL, map, 4096), 0); /* not a writable mapping */
    io->unmap(NULL, map, 4096);
    ck_assert_int_eq(io->map(NULL, fd, 4096, true, &map), 0);
    int error = io->populate(NULL, map, 4096);
    ck_assert(error == 0 || error == ENOSYS);
    ck_assert_mem_eq(map, block, sizeof block);
    io->unmap(NULL, map, 4096);
    io->close(NULL, fd);
}
END_TEST

struct storing {
    uint64_t *words;
    size_t count;
    atomic_bool done;
};

static void *store_words(void *arg)
{
    struct storing *s = arg;
    for (size_t i = 0; i < s->count; i++)
        __atomic_store_n(&s->words[i], i + 1, __ATOMIC_RELAXED);
    atomic_store(&s->done, true);
    return NULL;
}

/* Nothing that was stored is lost, whatever a caller promised, and what is stored afterwards counts as well. */
START_TEST(settled_pages_keep_their_stores)
{
    enum { SIZE = 4 << 20 };
    void *map = NULL;
    size_t got;
    int fd = open_file("a");
    ck_assert_int_eq(io->truncate(NULL, fd, SIZE), 0);
    ck_assert_int_eq(io->map(NULL, fd, 2 * SIZE, true, &map), 0); /* longer than the file */
    struct storing s = {.words = map, .count = SIZE / sizeof(uint64_t)};
    pthread_t thread;
    unsigned rounds = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, store_words, &s), 0);
    do {
        io->settle(NULL, map, SIZE);
        if (++rounds % 2 == 0)
            io->preload(NULL, map, SIZE);
    } while (!atomic_load(&s.done));
    pthread_join(thread, NULL);
    io->settle(NULL, (char *)map + 100, 2 * SIZE - 100);
    io->preload(NULL, (char *)map + 100, 2 * SIZE - 100);
    uint64_t *back = malloc(SIZE);
    ck_assert_ptr_nonnull(back);
    ck_assert_int_eq(io->read(NULL, fd, 0, back, SIZE, &got), 0);
    ck_assert_uint_eq(got, SIZE);
    for (size_t i = 0; i < s.count; i++)
        ck_assert(back[i] == i + 1 && s.words[i] == i + 1);
    ck_assert_int_eq(io->sync(NULL, fd), 0);
    s.words[1000] = 5;
    ck_assert_int_eq(io->read(NULL, fd, 8000, back, 8, &got), 0);
    ck_assert_uint_eq(back[0], 5);
    free(back);
    io->unmap(NULL, map, 2 * SIZE);
    io->close(NULL, fd);
}
END_TEST

/* Pages of a mapping that this process can touch without a fault. */
static size_t pages_there(const void *map, size_t pages)
{
    int fd = open("/proc/self/pagemap", O_RDONLY);
    size_t there = 0;
    ck_assert_int_ge(fd, 0);
    for (size_t i = 0; i < pages; i++) {
        uint64_t entry = 0;
        ck_assert_int_eq(pread(fd, &entry, sizeof entry, (off_t)(((uintptr_t)map / 4096 + i) * sizeof entry)), sizeof entry);
        there += entry >> 63;
    }
    close(fd);
    return there;
}

/* What is in memory is mapped for readers; what is not stays on the disk. */
START_TEST(preload_reads_nothing_from_the_disk)
{
    enum { SIZE = 8 << 20, PAGES = SIZE / 4096 };
    void *map = NULL;
    static unsigned char resident[PAGES];
    int fd = open_file("a");
    char *block = malloc(SIZE);
    ck_assert_ptr_nonnull(block);
    memset(block, 'x', SIZE);
    ck_assert_int_eq(put(fd, 0, block, SIZE), 0);
    ck_assert_int_eq(io->sync(NULL, fd), 0);
    ck_assert_int_eq(io->map(NULL, fd, SIZE, false, &map), 0);
    ck_assert_uint_eq(pages_there(map, PAGES), 0);
    io->preload(NULL, map, SIZE);
    ck_assert_uint_eq(pages_there(map, PAGES), PAGES);
    /* A mapped page is not dropped. */
    io->unmap(NULL, map, SIZE);
    ck_assert_int_eq(io->drop_cache(NULL, fd, 0, SIZE), 0);
    ck_assert_int_eq(io->map(NULL, fd, SIZE, false, &map), 0);
    ck_assert_int_eq(mincore(map, SIZE, resident), 0);
    size_t absent = 0, still_absent = 0;
    for (size_t i = 0; i < PAGES; i++)
        absent += (resident[i] & 1) == 0;
    io->preload(NULL, map, SIZE);
    ck_assert_int_eq(mincore(map, SIZE, resident), 0);
    for (size_t i = 0; i < PAGES; i++)
        still_absent += (resident[i] & 1) == 0;
    ck_assert_uint_eq(still_absent, absent); /* on tmpfs both are none */
    io->unmap(NULL, map, SIZE);
    io->close(NULL, fd);
    free(block);
}
END_TEST

START_TEST(store_after_protect_dies)
{
    void *map = NULL;
    int status = -1;
    pid_t child = -1;
    int fd = open_file("a");
    ck_assert_int_eq(io->truncate(NULL, fd, 8192), 0);
    ck_assert_int_eq(io->map(NULL, fd, 8192, true, &map), 0);
    ((volatile char *)map)[0] = 1;
    ck_assert_int_eq(io->protect(NULL, (char *)map + 1, 4095), 0); /* whole pages */
    ((volatile char *)map)[4096] = 1;
    ck_assert_int_eq(((volatile char *)map)[0], 1);
    OWN(child = fork());
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        ((volatile char *)map)[0] = 2;
        _exit(0);
    }
    OWN(waitpid(child, &status, 0));
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    io->unmap(NULL, map, 8192);
    io->close(NULL, fd);
}
END_TEST

START_TEST(memory)
{
    char *map = io->memory_map(NULL, 100000);
    ck_assert_ptr_nonnull(map);
    ck_assert_uint_eq((uintptr_t)map % 4096, 0);
    for (size_t i = 0; i < 100000; i += 1000)
        ck_assert_int_eq(map[i], 0);
    map[99999] = 1;
    io->memory_unmap(NULL, map, 100000);
    ck_assert_ptr_null(io->memory_map(NULL, SIZE_MAX / 2));
    ck_assert_ptr_null(io->memory_map(NULL, 0));
    map = io->memory_map_huge(NULL, 5 << 20);
    ck_assert_ptr_nonnull(map);
    ck_assert_uint_eq((uintptr_t)map % (2 << 20), 0);
    memset(map, 1, 5 << 20);
    io->memory_discard(NULL, map + (1 << 20), 1 << 20);
    ck_assert_int_eq(map[(1 << 20) - 1], 1);
    ck_assert_int_eq(map[1 << 20], 0);
    ck_assert_int_eq(map[(2 << 20) - 1], 0);
    ck_assert_int_eq(map[2 << 20], 1);
    io->memory_unmap(NULL, map, 5 << 20);
    ck_assert_ptr_null(io->memory_map_huge(NULL, SIZE_MAX - 4096));
}
END_TEST

START_TEST(sync_leaves_the_signal_mask)
{
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    ck_assert(!sigismember(&before, SIGTERM));
    int fd = open_file("a");
    ck_assert_int_eq(put(fd, 0, "x", 1), 0);
    ck_assert_int_eq(io->sync(NULL, fd), 0);
    ck_assert_int_eq(io->dir_sync(NULL, dir), 0);
    ck_assert_int_ne(io->sync(NULL, -1), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    ck_assert(!sigismember(&after, SIGTERM));
    io->close(NULL, fd);
}
END_TEST

static void *background(void *arg)
{
    io->lower_priority(NULL, 19);
    int *nice_value = arg;
    *nice_value = getpriority(PRIO_PROCESS, (id_t)gettid());
    return NULL;
}

START_TEST(machine)
{
    unsigned char a[300] = {0}, b[300] = {0};
    ck_assert_int_eq(io->random(NULL, a, sizeof a), 0);
    ck_assert_int_eq(io->random(NULL, b, sizeof b), 0);
    ck_assert_mem_ne(a, b, sizeof a);
    ck_assert_int_gt(io->wall_ms(NULL), 1600000000000);
    int64_t start = io->monotonic_ms(NULL);
    io->sleep_us(NULL, 20000);
    ck_assert_int_ge(io->monotonic_ms(NULL) - start, 19);
    cpu_set_t set;
    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    ck_assert_uint_eq(io->processors(NULL), (unsigned)CPU_COUNT(&set));
    int before = getpriority(PRIO_PROCESS, 0), in_thread = -1;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, background, &in_thread), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(in_thread, 19);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), before); /* of that thread alone */
    errno = 4711;
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("io_posix");
    TCase *tc = tcase_create("io_posix");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, only_regular_files_are_opened);
    tcase_add_test(tc, open_flags);
    tcase_add_test(tc, lock_is_of_the_descriptor);
    tcase_add_test(tc, lock_of_a_killed_process_is_free);
    tcase_add_test(tc, read_tells_where_the_file_ends);
    tcase_add_test(tc, write_takes_any_number_of_slices);
    tcase_add_test(tc, short_and_interrupted_transfers_go_on);
    tcase_add_test(tc, file_size_limit_is_an_error_not_a_signal);
    tcase_add_test(tc, shrinking_below_no_limit_asks_none);
    tcase_add_test(tc, list_rename_unlink);
    tcase_add_test(tc, directories);
    tcase_add_test(tc, maps_well_is_an_allow_list);
    tcase_add_test(tc, mapping_and_calls_see_the_same_bytes);
    tcase_add_test(tc, populate_prepares_without_storing);
    tcase_add_test(tc, settled_pages_keep_their_stores);
    tcase_add_test(tc, preload_reads_nothing_from_the_disk);
    tcase_add_test(tc, store_after_protect_dies);
    tcase_add_test(tc, memory);
    tcase_add_test(tc, sync_leaves_the_signal_mask);
    tcase_add_test(tc, machine);
    suite_add_tcase(suite, tc);
    return suite;
}
