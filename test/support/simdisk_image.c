#include "test/support/simdisk_impl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE SIMDISK_PAGE
#define SECTORS_PER_PAGE (PAGE / SIMDISK_SECTOR)

static void require(bool ok)
{
    if (!ok)
        abort();
}

static int new_memfd(uint64_t size)
{
    int fd = memfd_create("simdisk", MFD_CLOEXEC);
    require(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

static void memfd_read(int fd, uint64_t offset, void *buf, size_t size)
{
    while (size > 0) {
        ssize_t n = pread(fd, buf, size, (off_t)offset);
        require(n > 0);
        buf = (char *)buf + n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
}

static void memfd_write(int fd, uint64_t offset, const void *data, size_t size)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, data, size, (off_t)offset);
        require(n > 0);
        data = (const char *)data + n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
}

static void volatile_page(const struct sd_inode *f, uint64_t i, unsigned char page[PAGE])
{
    if (f->memfd < 0) {
        memcpy(page, sd_page_get(&f->durable, i), PAGE);
        return;
    }
    uint64_t offset = i * PAGE;
    size_t n = offset >= f->size ? 0 : (size_t)BC_MIN(f->size - offset, (uint64_t)PAGE);
    memfd_read(f->memfd, offset, page, n);
    memset(page + n, 0, PAGE - n);
}

/* The first page from i on that may not be all zeros in both images; UINT64_MAX: none. */
static uint64_t next_page(const struct sd_inode *f, uint64_t i)
{
    uint64_t next = UINT64_MAX;
    if (f->memfd >= 0) {
        off_t data = lseek(f->memfd, (off_t)(i * PAGE), SEEK_DATA);
        if (data >= 0)
            next = (uint64_t)data / PAGE;
    }
    for (; i < next && i < f->durable.count; i++)
        if (f->durable.page[i] != NULL)
            return i;
    return next;
}

struct sd_inode *sd_inode_new(uint64_t id, const char *name)
{
    struct sd_inode *f = sd_alloc(NULL, sizeof *f);
    memset(f, 0, sizeof *f);
    f->id = id;
    snprintf(f->name, sizeof f->name, "%s", name);
    f->memfd = -1;
    f->lock_owner = -1;
    return f;
}

void sd_inode_free(struct sd_inode *f)
{
    if (f->memfd >= 0)
        close(f->memfd);
    sd_pages_free(&f->durable);
    sd_pages_free(&f->dropped);
    free(f->allocated);
    free(f);
}

static int copy_volatile(const struct sd_inode *f)
{
    int fd = new_memfd(f->size);
    unsigned char page[PAGE];
    for (uint64_t i = next_page(f, 0); i < sd_pages_of(f->size); i = next_page(f, i + 1)) {
        volatile_page(f, i, page);
        if (memcmp(page, sd_zeros, PAGE) != 0)
            memfd_write(fd, i * PAGE, page, (size_t)BC_MIN((uint64_t)PAGE, f->size - i * PAGE));
    }
    return fd;
}

struct sd_inode *sd_inode_clone(struct sd_inode *from)
{
    struct sd_inode *f = sd_inode_new(from->id, from->name);
    f->size = from->size;
    f->durable_size = from->durable_size;
    sd_pages_clone(&f->durable, &from->durable);
    sd_pages_clone(&f->dropped, &from->dropped);
    f->memfd = from->memfd < 0 ? -1 : copy_volatile(from);
    f->allocated = memcpy(sd_alloc(NULL, from->allocated_count), from->allocated_count > 0 ? from->allocated : sd_zeros,
                          from->allocated_count);
    f->allocated_count = from->allocated_count;
    f->pages_used = from->pages_used;
    return f;
}

void sd_inode_open(struct sd_inode *f)
{
    if (f->memfd < 0)
        f->memfd = copy_volatile(f);
}

void sd_inode_detach(struct sd_inode *f)
{
    if (f->memfd >= 0 && f->mappings > 0) {
        int fd = copy_volatile(f);
        close(f->memfd);
        f->memfd = fd;
    }
    f->mappings = f->writable_mappings = f->descriptors = 0;
    f->lock_owner = -1;
}

void sd_inode_resize(struct sd_inode *f, uint64_t size)
{
    sd_inode_open(f);
    require(ftruncate(f->memfd, (off_t)size) == 0);
    f->size = size;
    for (uint64_t i = sd_pages_of(size); i < f->allocated_count; i++) {
        f->pages_used -= f->allocated[i];
        f->allocated[i] = 0;
    }
    for (uint64_t i = size / PAGE; i < f->dropped.count; i++)
        sd_page_drop(&f->dropped, i);
}

void sd_inode_read(struct sd_inode *f, uint64_t offset, void *buf, size_t size)
{
    if (f->memfd < 0)
        sd_durable_read(f, offset, buf, size);
    else
        memfd_read(f->memfd, offset, buf, size);
}

void sd_inode_write(struct sd_inode *f, uint64_t offset, const void *data, size_t size)
{
    if (size == 0)
        return;
    sd_inode_open(f);
    memfd_write(f->memfd, offset, data, size);
    f->size = BC_MAX(f->size, offset + size);
    for (uint64_t i = offset / PAGE; i < sd_pages_of(offset + size); i++)
        sd_page_drop(&f->dropped, i);
}

bool sd_inode_is_allocated(const struct sd_inode *f, uint64_t page)
{
    return page < f->allocated_count && f->allocated[page] != 0;
}

void sd_inode_allocate(struct sd_inode *f, uint64_t page)
{
    if (page >= f->allocated_count) {
        size_t count = (size_t)BC_MAX(page + 1, (uint64_t)f->allocated_count * 2);
        f->allocated = sd_alloc(f->allocated, count);
        memset(f->allocated + f->allocated_count, 0, count - f->allocated_count);
        f->allocated_count = count;
    }
    f->pages_used += f->allocated[page] == 0;
    f->allocated[page] = 1;
}

bool sd_inode_clear_past_end(struct sd_inode *f)
{
    uint64_t tail = f->size % PAGE;
    if (f->memfd < 0 || tail == 0 || f->writable_mappings == 0)
        return false;
    /* The rest of the last page cannot be read while it is past the end; shrinking back clears it. */
    unsigned char rest[PAGE];
    require(ftruncate(f->memfd, (off_t)(f->size - tail + PAGE)) == 0);
    memfd_read(f->memfd, f->size, rest, PAGE - tail);
    require(ftruncate(f->memfd, (off_t)f->size) == 0);
    return memcmp(rest, sd_zeros, PAGE - tail) != 0;
}

/* Clean because a failed sync said so, and not stored to since. */
static bool is_dropped(const struct sd_inode *f, uint64_t i, const unsigned char *page)
{
    return sd_page_present(&f->dropped, i) && memcmp(f->dropped.page[i], page, PAGE) == 0;
}

bool sd_inode_sync(struct sd_inode *f, unsigned drop_every)
{
    bool stored_in_hole = false;
    unsigned dirty = 0;
    unsigned char page[PAGE];
    if (f->memfd >= 0) {
        for (uint64_t i = next_page(f, 0); i < sd_pages_of(f->size); i = next_page(f, i + 1)) {
            volatile_page(f, i, page);
            if (is_dropped(f, i, page) || memcmp(page, sd_page_get(&f->durable, i), PAGE) == 0)
                continue;
            stored_in_hole |= !sd_inode_is_allocated(f, i);
            if (drop_every != 0 && dirty++ % drop_every == 0) {
                sd_page_keep(&f->dropped, i, page);
                continue;
            }
            sd_page_drop(&f->dropped, i);
            sd_page_put(&f->durable, i, page);
        }
    }
    if (drop_every == 0)
        sd_durable_resize(f, f->size);
    return stored_in_hole;
}

void sd_inode_forget_dropped(struct sd_inode *f, uint64_t offset, uint64_t size)
{
    unsigned char page[PAGE];
    for (uint64_t i = offset / PAGE; i < f->dropped.count && i * PAGE < offset + size; i++) {
        if (!sd_page_present(&f->dropped, i))
            continue;
        volatile_page(f, i, page);
        if (is_dropped(f, i, page)) {
            uint64_t n = BC_MIN((uint64_t)PAGE, f->size - i * PAGE);
            memfd_write(f->memfd, i * PAGE, sd_page_get(&f->durable, i), (size_t)n);
        }
        sd_page_drop(&f->dropped, i);
    }
}

/* ---- power failure ---- */

struct sd_dirty sd_inode_dirty(struct sd_inode *f)
{
    struct sd_dirty d = {f, NULL, 0, f->size != f->durable_size};
    size_t capacity = 0;
    unsigned char page[PAGE];
    if (f->memfd < 0)
        return d;
    for (uint64_t i = next_page(f, 0); i < sd_pages_of(f->size); i = next_page(f, i + 1)) {
        volatile_page(f, i, page);
        const unsigned char *old = sd_page_get(&f->durable, i);
        if (memcmp(page, old, PAGE) == 0 || is_dropped(f, i, page))
            continue;
        for (unsigned s = 0; s < SECTORS_PER_PAGE; s++) {
            uint64_t sector = i * SECTORS_PER_PAGE + s;
            size_t at = s * SIMDISK_SECTOR;
            if (sector * SIMDISK_SECTOR >= f->size || memcmp(page + at, old + at, SIMDISK_SECTOR) == 0)
                continue;
            if (d.count == capacity) {
                capacity = capacity == 0 ? 64 : capacity * 2;
                d.sectors = sd_alloc(d.sectors, capacity * sizeof *d.sectors);
            }
            d.sectors[d.count++] = sector;
        }
    }
    return d;
}

void sd_inode_crash(const struct sd_dirty *d, const unsigned char *fates, uint64_t size)
{
    struct sd_inode *f = d->inode;
    for (size_t i = 0; i < d->count; i++) {
        if (fates[i] == SD_LOST)
            continue;
        unsigned char page[PAGE];
        uint64_t offset = d->sectors[i] * SIMDISK_SECTOR;
        size_t start = fates[i] == SD_TAIL_KEPT ? SIMDISK_SECTOR / 2 : 0;
        size_t end = fates[i] == SD_HEAD_KEPT ? SIMDISK_SECTOR / 2 : SIMDISK_SECTOR;
        volatile_page(f, offset / PAGE, page);
        sd_durable_write(f, offset + start, page + offset % PAGE + start, end - start);
    }
    sd_durable_resize(f, size);
    if (f->memfd >= 0)
        close(f->memfd);
    f->memfd = -1;
    f->size = size;
    sd_pages_free(&f->dropped);
    for (uint64_t i = sd_pages_of(size); i < f->allocated_count; i++) {
        f->pages_used -= f->allocated[i];
        f->allocated[i] = 0;
    }
}
