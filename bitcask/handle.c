#include "bitcask/handle.h"

struct bc_handle *bc_handle_new(const bitcask_allocator *a, const struct bc_io *io, int fd, void *map, size_t map_size)
{
    struct bc_handle *h = bc_alloc(a, sizeof *h);
    if (h == NULL)
        return NULL;
    *h = (struct bc_handle){.fd = fd, .owns_fd = true, .map = map, .map_size = map_size, .io = io, .allocator = *a};
    atomic_init(&h->owners, 1);
    atomic_init(&h->fault, 0);
    return h;
}

struct bc_handle *bc_handle_new_guarded(const bitcask_allocator *a, const struct bc_io *io, int fd, void *map, size_t map_size,
                                        bool writable)
{
    struct bc_handle *h = bc_handle_new(a, io, fd, map, map_size);
    if (h == NULL || map == NULL || io->guard == NULL)
        return h;
    if (io->guard(io->ctx, map, map_size, writable, &h->fault, &h->guard) == 0)
        return h;
    bc_free(a, h);
    return NULL;
}

/* Returns what it owned. */
static struct bc_handle *close_one(struct bc_handle *h)
{
    struct bc_handle *older = h->older;
    if (h->guard != NULL)
        h->io->unguard(h->io->ctx, h->guard);
    if (h->map != NULL)
        h->io->unmap(h->io->ctx, h->map, h->map_size);
    if (h->owns_fd)
        h->io->close(h->io->ctx, h->fd);
    const bitcask_allocator a = h->allocator;
    bc_free(&a, h);
    return older;
}

void bc_handle_unref(struct bc_handle *h)
{
    while (h != NULL && atomic_fetch_sub_explicit(&h->owners, 1, memory_order_acq_rel) == 1)
        h = close_one(h);
}
