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
        atomic_store(&g->forked, true);
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

int bc_fork_watch(struct bc_fork_guard *g, struct bc_directory *dir)
{
    pthread_once(&once, register_once);
    if (!registered)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to watch for forks");
    atomic_init(&g->forked, false);
    g->dir = dir;
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
}
