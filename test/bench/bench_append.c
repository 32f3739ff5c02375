/* Ways to append a record so that it survives a kill of the process, CRC included: the measurement behind
 * docs/decisions/0002-write-path.md.
 *
 *   bench_append [DIR [MEGABYTES]]
 *
 * Each way appends the same records of 144 and 1,064 bytes to a fresh file of 256 MiB; per way ns per record (mean), p99.9,
 * p99.99 and the worst single append in microseconds. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bitcask/crc.h"

#define FILE_SIZE (256UL << 20)
#define AHEAD (4UL << 20)
#define RING (256UL << 10)
#define CHUNK (64UL << 10)

struct way {
    const char *name;
    bool mapped, prepared, ring;
};

struct run {
    const struct way *way;
    int fd;
    char *map, *ring;
    size_t at, moved, record;
    _Atomic size_t tail, ready;
    atomic_bool stop;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void *prepare(void *arg)
{
    struct run *r = arg;
    while (!atomic_load(&r->stop)) {
        size_t ready = atomic_load(&r->ready), want = atomic_load(&r->tail) + AHEAD;
        if (ready >= want || ready + (512UL << 10) > FILE_SIZE) {
            usleep(20);
            continue;
        }
        madvise(r->map + ready, 512UL << 10, 23 /* MADV_POPULATE_WRITE */);
        atomic_store(&r->ready, ready + (512UL << 10));
    }
    return NULL;
}

static void must(bool good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(1);
}

static void append(struct run *r, char *record)
{
    uint32_t crc = bc_crc32((uint32_t)r->at, record + 4, r->record - 4);
    memcpy(record, &crc, sizeof crc);
    if (r->way->mapped) {
        memcpy(r->map + r->at, record, r->record);
    } else if (r->way->ring) {
        size_t place = r->at % RING, first = RING - place < r->record ? RING - place : r->record;
        memcpy(r->ring + place, record, first);
        memcpy(r->ring, record + first, r->record - first);
        if (r->at + r->record - r->moved >= CHUNK) {
            must(pwrite(r->fd, r->ring + r->moved % RING, CHUNK, (off_t)r->moved) == (ssize_t)CHUNK, "pwrite");
            r->moved += CHUNK;
        }
    } else {
        must(pwrite(r->fd, record, r->record, (off_t)r->at) == (ssize_t)r->record, "pwrite");
    }
    r->at += r->record;
    atomic_store_explicit(&r->tail, r->at, memory_order_relaxed);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void measure(const char *dir, const struct way *way, size_t record, size_t bytes)
{
    char path[4096], buffer[2048] = {0};
    struct run r = {.way = way, .record = record};
    snprintf(path, sizeof path, "%s/bench_append.tmp", dir);
    r.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(r.fd >= 0 && fallocate(r.fd, 0, 0, (off_t)FILE_SIZE) == 0, path);
    r.map = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0);
    r.ring = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    must(r.map != MAP_FAILED && r.ring != MAP_FAILED, "mmap");
    pthread_t thread;
    if (way->prepared) {
        madvise(r.map, AHEAD, 23);
        atomic_store(&r.ready, AHEAD);
        must(pthread_create(&thread, NULL, prepare, &r) == 0, "pthread_create");
    }
    size_t count = bytes / record;
    uint32_t *each = malloc(count * sizeof *each);
    must(each != NULL, "malloc");
    uint64_t begin = now_ns(), last = begin;
    for (size_t i = 0; i < count; i++) {
        memcpy(buffer + 8, &i, sizeof i);
        append(&r, buffer);
        uint64_t t = now_ns();
        each[i] = (uint32_t)(t - last);
        last = t;
    }
    double mean = (double)(last - begin) / (double)count;
    qsort(each, count, sizeof *each, by_value);
    printf("%-32s %5zu B : %7.0f ns  p99.9 %7.2f us  p99.99 %8.2f us  worst %9.1f us\n", way->name, record, mean,
           each[count - count / 1000 - 1] / 1e3, each[count - count / 10000 - 1] / 1e3, each[count - 1] / 1e3);
    fflush(stdout);
    atomic_store(&r.stop, true);
    if (way->prepared)
        pthread_join(thread, NULL);
    munmap(r.map, FILE_SIZE);
    munmap(r.ring, RING);
    free(each);
    close(r.fd);
    unlink(path);
}

int main(int argc, char **argv)
{
    static const struct way ways[] = {
        {"mapped, pages prepared ahead", true, true, false},
        {"mapped, not prepared", true, false, false},
        {"ring in memory, 64 KiB chunks", false, false, true},
        {"pwrite each record", false, false, false},
    };
    const char *dir = argc > 1 ? argv[1] : "/tmp";
    size_t bytes = (argc > 2 ? strtoul(argv[2], NULL, 10) : 200) << 20;
    if (bytes > FILE_SIZE - AHEAD)
        bytes = FILE_SIZE - AHEAD;
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
            measure(dir, &ways[i], 144, bytes);
            measure(dir, &ways[i], 1064, bytes);
        }
    return 0;
}
