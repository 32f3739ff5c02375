/* fork.h - what a fork() of the host must do to open handles: the child's copy answers FORKED, and its copy of the LOCK
 * descriptor goes at once, so that a child that lives longer than its parent does not keep the store locked.
 *
 * A child that is made without the C library's knowledge (a bare clone system call) is told by a page of memory that the kernel
 * wipes in every child, where it can; the LOCK descriptor stays in such a child until it closes the handle.
 *
 * The list of open handles is the library's one piece of state that belongs to the process. Any thread.
 */
#ifndef BC_FORK_H
#define BC_FORK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bitcask/directory.h"

struct bc_fork_guard {
    _Atomic uint32_t *own; /* 0: this is a child's copy; in the page, or here where there is none */
    _Atomic uint32_t here;
    void *page; /* NULL: none */
    struct bc_directory *dir;
    struct bc_fork_guard *next, *previous;
};

/* Watches a handle until removed. OK, NO_MEMORY. */
int bc_fork_watch(struct bc_fork_guard *, struct bc_directory *) bc_must_check;
void bc_fork_unwatch(struct bc_fork_guard *);

static inline bool bc_forked(const struct bc_fork_guard *g)
{
    return atomic_load_explicit(g->own, memory_order_relaxed) == 0;
}

#endif
