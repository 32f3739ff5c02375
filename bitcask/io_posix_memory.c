#include "bitcask/io_posix.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define HUGE_PAGE ((size_t)2 << 20)
#define PRELOAD_PIECE ((size_t)1 << 20)

int bc_posix_map(void *ctx, int fd, size_t size, bool writable, void **ret)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    void *addr = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (addr == MAP_FAILED)
        return errno;
    *ret = addr;
    return 0;
}

void bc_posix_unmap(void *ctx, void *addr, size_t size)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    munmap(addr, size);
}

/* The whole pages that hold [addr, addr + size). */
static void *page_span(void *addr, size_t *size)
{
    size_t skew = (uintptr_t)addr & ((size_t)sysconf(_SC_PAGESIZE) - 1);
    *size += skew;
    return (char *)addr - skew;
}

int bc_posix_populate(void *ctx, void *addr, size_t size)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    int rc;
    addr = page_span(addr, &size);
    BC_RETRY(rc, madvise(addr, size, MADV_POPULATE_WRITE));
    if (rc == 0)
        return 0;
    return errno == EINVAL ? ENOSYS : errno;
}

int bc_posix_protect(void *ctx, void *addr, size_t size)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    addr = page_span(addr, &size);
    return mprotect(addr, size, PROT_READ) == 0 ? 0 : errno;
}

/* Of a shared mapping DONTNEED takes the page table's entries and nothing else: what was stored is in the file's pages, which
 * are marked to be written. */
void bc_posix_settle(void *ctx, void *addr, size_t size)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    addr = page_span(addr, &size);
    (void)madvise(addr, size, MADV_DONTNEED);
}

static bool in_memory(void *addr, size_t size)
{
    unsigned char pages[PRELOAD_PIECE / 4096];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = (size + page - 1) / page;
    if (mincore(addr, size, pages) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if ((pages[i] & 1) == 0)
            return false;
    return true;
}

/* Where it cannot be done they come in as they are asked for. In pieces, as the address space is locked meanwhile. */
void bc_posix_preload(void *ctx, void *addr, size_t size)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    addr = page_span(addr, &size);
    for (size_t done = 0, piece; done < size; done += piece) {
        piece = BC_MIN(size - done, PRELOAD_PIECE);
        if (in_memory((char *)addr + done, piece) && madvise((char *)addr + done, piece, MADV_POPULATE_READ) != 0)
            return;
    }
}

void *bc_posix_memory_map(void *ctx, size_t size)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return addr == MAP_FAILED ? NULL : addr;
}

void bc_posix_memory_unmap(void *ctx, void *addr, size_t size)
{
    bc_posix_unmap(ctx, addr, size);
}

int bc_posix_memory_wipe_on_fork(void *ctx, void *addr, size_t size)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    return madvise(addr, size, MADV_WIPEONFORK) == 0 ? 0 : errno;
}

void *bc_posix_memory_map_huge(void *ctx, size_t size)
{
    BC_KEEP_ERRNO;
    char *addr = size > SIZE_MAX - HUGE_PAGE ? NULL : bc_posix_memory_map(ctx, size + HUGE_PAGE);
    if (addr == NULL)
        return NULL;
    /* A huge page begins where its size says; what was mapped to have the choice goes back. */
    size_t skip = (size_t)(bc_align_up((uintptr_t)addr, HUGE_PAGE) - (uintptr_t)addr);
    size_t used = (size_t)bc_align_up(size, (uint64_t)sysconf(_SC_PAGESIZE));
    if (skip != 0)
        munmap(addr, skip);
    if (used < size + HUGE_PAGE - skip)
        munmap(addr + skip + used, size + HUGE_PAGE - skip - used);
    /* Without them it is slower, and nothing else. */
    (void)madvise(addr + skip, used, MADV_HUGEPAGE);
    return addr + skip;
}

void bc_posix_memory_discard(void *ctx, void *addr, size_t size)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    madvise(addr, size, MADV_DONTNEED);
}

/* ---- the machine ---- */

int bc_posix_random(void *ctx, void *buf, size_t size)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    for (size_t got = 0; got < size;) {
        ssize_t n;
        BC_RETRY(n, getrandom((char *)buf + got, size - got, 0));
        if (n < 0)
            return errno;
        got += (size_t)n;
    }
    return 0;
}

static int64_t clock_ms(clockid_t clock)
{
    BC_KEEP_ERRNO;
    struct timespec now = {0, 0};
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t bc_posix_wall_ms(void *ctx)
{
    (void)ctx;
    return clock_ms(CLOCK_REALTIME);
}

int64_t bc_posix_monotonic_ms(void *ctx)
{
    (void)ctx;
    return clock_ms(CLOCK_MONOTONIC);
}

void bc_posix_sleep_us(void *ctx, unsigned us)
{
    (void)ctx;
    struct timespec left = {us / 1000000, (long)(us % 1000000) * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
}

unsigned bc_posix_processors(void *ctx)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    cpu_set_t sets[16]; /* 16384 processors: a mask that is too short for the machine is refused */
    CPU_ZERO_S(sizeof sets, sets);
    if (sched_getaffinity(0, sizeof sets, sets) != 0)
        return 1;
    int count = CPU_COUNT_S(sizeof sets, sets);
    return count > 0 ? (unsigned)count : 1;
}

void bc_posix_lower_priority(void *ctx, int nice_value)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    /* Not SCHED_IDLE: a thread that never runs on a busy machine may hold a lock that a put waits for. */
    setpriority(PRIO_PROCESS, (id_t)gettid(), nice_value);
}
