/* handle.h - an open data file: its descriptor, and its mapping where it has one. Immutable but for the count of its owners.
 *
 * The file table owns a reference while the handle is the file's current one; every view owns one. The last owner closes it, so
 * a view outlives eviction, merge, overwrite and the store's close. Any thread.
 */
#ifndef BC_HANDLE_H
#define BC_HANDLE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bitcask/alloc.h"
#include "bitcask/io.h"

struct bc_handle {
    _Atomic uint32_t owners;
    int fd;
    bool owns_fd; /* false once a larger mapping of the same file took it over */
    char *map;    /* NULL: not mapped */
    size_t map_size;
    const struct bc_io *io;
    bitcask_allocator allocator;
    void *guard;             /* of the mapping; NULL: none */
    _Atomic uint32_t fault;  /* 1: a page of the mapping could not be read or stored to, and is zeros now */
    struct bc_handle *older; /* owned: of the same file with a smaller mapping, that it took the place of; NULL: none */
    struct bc_handle *next;  /* list of the handles that wait for their readers */
};

/* fd and map (may be NULL) are taken over on success. One owner. NULL: no memory. */
struct bc_handle *bc_handle_new(const bitcask_allocator *, const struct bc_io *, int fd, void *map, size_t map_size);
/* The same with a guarded mapping. */
struct bc_handle *bc_handle_new_guarded(const bitcask_allocator *, const struct bc_io *, int fd, void *map, size_t map_size,
                                        bool writable);
void bc_handle_unref(struct bc_handle *); /* NULL ok */

/* Whether bytes can be read through the mapping: else with a system call, which tells what is wrong with them. */
static inline bool bc_handle_maps(const struct bc_handle *h)
{
    return bc_likely(h->map != NULL) && bc_likely(atomic_load_explicit(&h->fault, memory_order_relaxed) == 0);
}

/* For one who is sure that another owner exists: inside a pin, with the handle loaded from the file. */
static inline void bc_handle_ref(struct bc_handle *h)
{
    atomic_fetch_add_explicit(&h->owners, 1, memory_order_relaxed);
}

#endif
