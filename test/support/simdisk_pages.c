#include "test/support/simdisk_impl.h"

#include <stdlib.h>
#include <string.h>

#define PAGE SIMDISK_PAGE

const unsigned char sd_zeros[PAGE];

void *sd_alloc(void *old, size_t size)
{
    void *p = realloc(old, size == 0 ? 1 : size);
    if (p == NULL)
        abort();
    return p;
}

const unsigned char *sd_page_get(const struct sd_pages *p, uint64_t i)
{
    return i < p->count && p->page[i] != NULL ? p->page[i] : sd_zeros;
}

bool sd_page_present(const struct sd_pages *p, uint64_t i)
{
    return i < p->count && p->page[i] != NULL;
}

void sd_page_drop(struct sd_pages *p, uint64_t i)
{
    if (sd_page_present(p, i)) {
        free(p->page[i]);
        p->page[i] = NULL;
    }
}

void sd_page_keep(struct sd_pages *p, uint64_t i, const unsigned char *data)
{
    if (i >= p->count) {
        p->page = sd_alloc(p->page, (size_t)(i + 1) * sizeof *p->page);
        memset(p->page + p->count, 0, (size_t)(i + 1 - p->count) * sizeof *p->page);
        p->count = (size_t)(i + 1);
    }
    if (p->page[i] == NULL)
        p->page[i] = sd_alloc(NULL, PAGE);
    memcpy(p->page[i], data, PAGE);
}

void sd_page_put(struct sd_pages *p, uint64_t i, const unsigned char *data)
{
    if (memcmp(data, sd_zeros, PAGE) == 0)
        sd_page_drop(p, i);
    else
        sd_page_keep(p, i, data);
}

void sd_pages_clone(struct sd_pages *to, const struct sd_pages *from)
{
    to->count = from->count;
    to->page = sd_alloc(NULL, from->count * sizeof *to->page);
    for (size_t i = 0; i < from->count; i++) {
        to->page[i] = NULL;
        if (from->page[i] != NULL)
            to->page[i] = memcpy(sd_alloc(NULL, PAGE), from->page[i], PAGE);
    }
}

void sd_pages_free(struct sd_pages *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->page[i]);
    free(p->page);
    memset(p, 0, sizeof *p);
}

void sd_durable_read(const struct sd_inode *f, uint64_t offset, void *buf, size_t size)
{
    for (size_t done = 0; done < size;) {
        uint64_t at = offset + done;
        size_t n = BC_MIN(size - done, (size_t)(PAGE - at % PAGE));
        memcpy((char *)buf + done, sd_page_get(&f->durable, at / PAGE) + at % PAGE, n);
        done += n;
    }
}

void sd_durable_write(struct sd_inode *f, uint64_t offset, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        uint64_t at = offset + done;
        size_t n = BC_MIN(size - done, (size_t)(PAGE - at % PAGE));
        unsigned char page[PAGE];
        memcpy(page, sd_page_get(&f->durable, at / PAGE), PAGE);
        memcpy(page + at % PAGE, (const char *)data + done, n);
        sd_page_put(&f->durable, at / PAGE, page);
        done += n;
    }
}

void sd_durable_resize(struct sd_inode *f, uint64_t size)
{
    for (uint64_t i = sd_pages_of(size); i < f->durable.count; i++)
        sd_page_drop(&f->durable, i);
    if (size % PAGE != 0)
        sd_durable_write(f, size, sd_zeros, (size_t)(PAGE - size % PAGE));
    f->durable_size = size;
}
