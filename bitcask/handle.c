#include "bitcask/handle.h"

struct bc_handle *bc_handle_new(const bitcask_allocator *a, const struct bc_io *io, int fd, void *map, size_t map_size)
{
    struct bc_handle *h = bc_alloc(a, sizeof *h);
    if (h == NULL)
        return NULL;
    *h = (struct bc_handle){.fd = fd, .owns_fd = true, .map = map, .map_size = map_size, .io = io, .allocator = *a};
    atomic_init(&h->owners, 1);
    return h;
}

void bc_handle_unref(struct bc_handle *h)
{
    if (h == NULL || atomic_fetch_sub_explicit(&h->owners, 1, memory_order_acq_rel) != 1)
        return;
    if (h->map != NULL)
        h->io->unmap(h->io->ctx, h->map, h->map_size);
    if (h->owns_fd)
        h->io->close(h->io->ctx, h->fd);
    const bitcask_allocator a = h->allocator;
    bc_free(&a, h);
}
