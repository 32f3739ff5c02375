#include "bitcask/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *default_resize(void *ptr, size_t size, void *ctx)
{
    (void)ctx;
    if (size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, size);
}

const bitcask_allocator bc_allocator_default = {default_resize, NULL};

void *bc_alloc(const bitcask_allocator *a, size_t size)
{
    return a->resize(NULL, size == 0 ? 1 : size, a->ctx);
}

void *bc_alloc_zero(const bitcask_allocator *a, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    void *ptr = bc_alloc(a, count * size);
    if (ptr != NULL)
        memset(ptr, 0, count * size);
    return ptr;
}

void *bc_resize(const bitcask_allocator *a, void *ptr, size_t size)
{
    return a->resize(ptr, size == 0 ? 1 : size, a->ctx);
}

void *bc_memdup(const bitcask_allocator *a, const void *data, size_t size)
{
    void *ptr = bc_alloc(a, size);
    if (ptr != NULL && size != 0)
        memcpy(ptr, data, size);
    return ptr;
}

void bc_free(const bitcask_allocator *a, void *ptr)
{
    if (ptr != NULL)
        a->resize(ptr, 0, a->ctx);
}
