#include "bitcask/fork.h"

#include <pthread.h>

#include "bitcask/error.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct bc_fork_guard *guards;
static bool registered;

static void before_fork(void)
{
    pthread_mutex_lock(&mutex);
}

static void in_parent(void)
{
    pthread_mutex_unlock(&mutex);
}

/* Closing a copy of the descriptor does not release the parent's lock; only its last copy does. */
static void in_child(void)
{
    for (struct bc_fork_guard *g = guards; g != NULL; g = g->next) {
        atomic_store(g->own, 0);
        if (g->dir->lock_fd >= 0)
            g->dir->io->close(g->dir->io->ctx, g->dir->lock_fd);
        g->dir->lock_fd = -1;
    }
    pthread_mutex_unlock(&mutex);
}

static void register_once(void)
{
    registered = pthread_atfork(before_fork, in_parent, in_child) == 0;
}

#define PAGE 4096U

static void make_page(struct bc_fork_guard *g)
{
    const struct bc_io *io = g->dir->io;
    g->own = &g->here;
    g->page = io->memory_wipe_on_fork == NULL ? NULL : io->memory_map(io->ctx, PAGE);
    if (g->page != NULL && io->memory_wipe_on_fork(io->ctx, g->page, PAGE) == 0)
        g->own = g->page;
    atomic_store(g->own, 1);
}

int bc_fork_watch(struct bc_fork_guard *g, struct bc_directory *dir)
{
    pthread_once(&once, register_once);
    if (!registered)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to watch for forks");
    g->dir = dir;
    make_page(g);
    g->previous = NULL;
    pthread_mutex_lock(&mutex);
    g->next = guards;
    if (guards != NULL)
        guards->previous = g;
    guards = g;
    pthread_mutex_unlock(&mutex);
    return BITCASK_OK;
}

void bc_fork_unwatch(struct bc_fork_guard *g)
{
    pthread_mutex_lock(&mutex);
    if (g->previous != NULL)
        g->previous->next = g->next;
    else
        guards = g->next;
    if (g->next != NULL)
        g->next->previous = g->previous;
    pthread_mutex_unlock(&mutex);
    if (g->page != NULL)
        g->dir->io->memory_unmap(g->dir->io->ctx, g->page, PAGE);
}
