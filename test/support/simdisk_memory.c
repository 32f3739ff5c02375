#include "test/support/simdisk_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE SIMDISK_PAGE

static void add_mapping(struct simdisk *disk, void *addr, size_t size, struct sd_inode *inode, bool writable)
{
    disk->mappings = sd_alloc(disk->mappings, (disk->mapping_count + 1) * sizeof *disk->mappings);
    disk->mappings[disk->mapping_count++] = (struct sd_mapping){addr, size, inode, writable};
}

/* The mapping that holds the range. */
static struct sd_mapping *find_mapping(struct simdisk *disk, const void *addr, size_t size)
{
    for (size_t i = 0; i < disk->mapping_count; i++) {
        struct sd_mapping *m = &disk->mappings[i];
        uintptr_t skip = (uintptr_t)addr - (uintptr_t)m->addr;
        if ((uintptr_t)addr >= (uintptr_t)m->addr && skip <= m->size && size <= m->size - skip)
            return m;
    }
    return NULL;
}

int sd_sim_map(void *ctx, int fd, size_t size, bool writable, void **ret)
{
    struct sd_op op;
    struct sd_descriptor *d;
    if (!sd_enter_file(&op, ctx, SIMDISK_MAP, fd, 0, size, &d) || op.error != 0)
        return sd_end(&op, 0);
    if (op.disk->map_error != 0)
        return sd_end(&op, op.disk->map_error);
    if (writable && !d->writable)
        return sd_end(&op, EACCES);
    void *addr;
    int error = bc_io_posix.map(NULL, d->inode->memfd, size, writable, &addr);
    if (error == 0) {
        d->inode->mappings++;
        d->inode->writable_mappings += writable;
        add_mapping(op.disk, addr, size, d->inode, writable);
        *ret = addr;
    }
    return sd_end(&op, error);
}

void sd_sim_unmap(void *ctx, void *addr, size_t size)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    struct sd_mapping *m = find_mapping(disk, addr, size);
    if (m == NULL || m->addr != addr || m->size != size) {
        sd_misuse(disk, "unmap of %zu bytes that are no mapping", size);
    } else {
        if (m->inode != NULL) {
            sd_check_past_end(disk, m->inode);
            m->inode->mappings--;
            m->inode->writable_mappings -= m->writable;
        }
        munmap(addr, size);
        *m = disk->mappings[--disk->mapping_count];
        sd_collect(disk);
    }
    sd_unlock(disk);
}

static bool enter_mapping(struct sd_op *op, void *ctx, unsigned kind, const void *addr, size_t size, struct sd_mapping **ret)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    *ret = find_mapping(disk, addr, size);
    *op = sd_new_op(disk, kind, *ret != NULL && (*ret)->inode != NULL ? (*ret)->inode->name : "memory", 0, size);
    if (*ret == NULL) {
        sd_misuse(disk, "%zu bytes that are not mapped", size);
        op->error = ENOMEM;
        return false;
    }
    op->offset = (uint64_t)((uintptr_t)addr - (uintptr_t)(*ret)->addr);
    return sd_begin(op);
}

int sd_sim_populate(void *ctx, void *addr, size_t size)
{
    struct sd_op op;
    struct sd_mapping *m;
    if (!enter_mapping(&op, ctx, SIMDISK_POPULATE, addr, size, &m))
        return sd_end(&op, 0);
    if (m->inode != NULL && !sd_reserve(op.disk, m->inode, op.offset / PAGE, sd_pages_of(op.offset + size)))
        return sd_end(&op, EFAULT);
    return sd_end(&op, bc_io_posix.populate(NULL, addr, size));
}

int sd_sim_protect(void *ctx, void *addr, size_t size)
{
    struct sd_op op;
    struct sd_mapping *m;
    if (!enter_mapping(&op, ctx, SIMDISK_PROTECT, addr, size, &m))
        return sd_end(&op, 0);
    return sd_end(&op, bc_io_posix.protect(NULL, addr, size));
}

static void advise(void *ctx, void *addr, size_t size, void (*advice)(void *ctx, void *addr, size_t size))
{
    struct sd_op op;
    struct sd_mapping *m;
    if (enter_mapping(&op, ctx, SIMDISK_PROTECT, addr, size, &m))
        advice(NULL, addr, size);
    sd_end(&op, op.error);
}

void sd_sim_settle(void *ctx, void *addr, size_t size)
{
    advise(ctx, addr, size, bc_io_posix.settle);
}

void sd_sim_preload(void *ctx, void *addr, size_t size)
{
    advise(ctx, addr, size, bc_io_posix.preload);
}

void *sd_sim_memory_map(void *ctx, size_t size)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    struct sd_op op = sd_new_op(disk, SIMDISK_MEMORY, "memory", 0, size);
    void *addr = sd_begin(&op) && op.error == 0 ? bc_io_posix.memory_map(NULL, size) : NULL;
    if (addr != NULL)
        add_mapping(disk, addr, size, NULL, true);
    sd_end(&op, addr == NULL ? ENOMEM : 0);
    return addr;
}

void *sd_sim_memory_map_huge(void *ctx, size_t size)
{
    return sd_sim_memory_map(ctx, size);
}

void sd_sim_memory_discard(void *ctx, void *addr, size_t size)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    struct sd_mapping *m = find_mapping(disk, addr, size);
    if (m == NULL || m->inode != NULL || (uintptr_t)addr % PAGE != 0)
        sd_misuse(disk, "discard of %zu bytes that are no memory", size);
    else
        bc_io_posix.memory_discard(NULL, addr, size);
    sd_unlock(disk);
}

/* ---- the machine ---- */

int sd_sim_random(void *ctx, void *buf, size_t size)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    struct sd_op op = sd_new_op(disk, SIMDISK_RANDOM, "random", 0, size);
    if (!sd_begin(&op))
        return sd_end(&op, 0);
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)buf)[i] = (unsigned char)sd_next_random(&disk->random);
    return sd_end(&op, 0);
}

int64_t sd_sim_wall_ms(void *ctx)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    int64_t now = disk->wall_ms;
    sd_unlock(disk);
    return now;
}

int64_t sd_sim_monotonic_ms(void *ctx)
{
    struct simdisk *disk = ctx;
    sd_lock(disk);
    int64_t now = disk->monotonic_ms;
    sd_unlock(disk);
    return now;
}

void sd_sim_sleep_us(void *ctx, unsigned us)
{
    (void)ctx;
    bc_io_posix.sleep_us(NULL, BC_MIN(us, 1000U)); /* lets others run; no test waits for the clock of the host */
}

unsigned sd_sim_processors(void *ctx)
{
    (void)ctx;
    return 2;
}

void sd_sim_lower_priority(void *ctx, int nice)
{
    (void)nice;
    (void)ctx;
}
