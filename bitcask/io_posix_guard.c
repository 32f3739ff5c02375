/* Guarded mappings: a SIGBUS below one of them is taken, its page is replaced by a page of zeros that belongs to nobody, and
 * the mapping's owner is told. Everything else goes to whoever had the signal before.
 *
 * The handler runs at any place of any thread. It takes no lock: it reads a table of slots, each a range whose start is stored
 * last and cleared first; the slot of the range that it runs below cannot change meanwhile. Blocks of slots are never freed.
 * All else is under a mutex, which a fork() of the host takes over in a usable state.
 */
#include "bitcask/io_posix.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

struct slot {
    _Atomic uintptr_t start; /* 0: free */
    _Atomic uintptr_t end;
    _Atomic(_Atomic uint32_t *) fault;
    atomic_bool writable;
};

struct block {
    struct slot slots[128];
    _Atomic(struct block *) next;
};

static struct block first;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool prepared, installed; /* under mutex */
static size_t users;             /* under mutex: slots in use */
static struct sigaction previous;
static uintptr_t page_size;
static _Thread_local volatile sig_atomic_t passing_on __attribute__((tls_model("initial-exec")));

/* ---- the handler ---- */

static bool take(struct slot *s, uintptr_t addr)
{
    uintptr_t start = atomic_load(&s->start), end = atomic_load(&s->end);
    _Atomic uint32_t *fault = atomic_load(&s->fault);
    bool writable = atomic_load(&s->writable);
    if (start == 0 || addr < start || addr >= end || atomic_load(&s->start) != start)
        return false;
    /* Told first: who reads zeros finds out why. */
    atomic_store(fault, 1);
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *page = (void *)(addr & ~(page_size - 1));
    return mmap(page, page_size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page;
}

static bool is_ours(const siginfo_t *info)
{
    uintptr_t addr = (uintptr_t)info->si_addr;
    if (info->si_code <= 0 || info->si_code == BUS_MCEERR_AO) /* sent by somebody, or about memory that nobody touched yet */
        return false;
    for (struct block *b = &first; b != NULL; b = atomic_load(&b->next))
        for (size_t i = 0; i < BC_ARRAY_SIZE(b->slots); i++)
            if (take(&b->slots[i], addr))
                return true;
    return false;
}

/* As if this handler had never been there. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    bool sent = info->si_code <= 0;
    bool none = previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN;
    if (none || passing_on) {
        if (sent && previous.sa_handler == SIG_IGN)
            return;
        /* The access is done again and ends the process with the right signal; a signal that was sent is sent again. */
        const struct sigaction none_left = {.sa_handler = SIG_DFL};
        sigaction(SIGBUS, &none_left, NULL);
        if (sent)
            raise(SIGBUS);
        return;
    }
    passing_on = 1;
    if ((previous.sa_flags & SA_SIGINFO) != 0)
        previous.sa_sigaction(number, info, context);
    else
        previous.sa_handler(number);
    passing_on = 0;
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    BC_KEEP_ERRNO;
    if (!is_ours(info))
        pass_on(number, info, context);
}

/* ---- under mutex ---- */

static bool is_installed(void)
{
    struct sigaction now;
    return sigaction(SIGBUS, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_sigbus;
}

static bool install(void)
{
    struct sigaction ours = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (installed && is_installed())
        return true;
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&ours.sa_mask);
    /* Read first: it is in place before the handler can be called. */
    installed = sigaction(SIGBUS, NULL, &previous) == 0 && sigaction(SIGBUS, &ours, NULL) == 0;
    return installed;
}

/* Where somebody else has taken the signal since, he may call this handler: it stays as it is. */
static void uninstall(void)
{
    if (!is_installed())
        return;
    sigaction(SIGBUS, &previous, NULL);
    installed = false;
}

static struct slot *free_slot(void)
{
    struct block *b = &first;
    for (;;) {
        for (size_t i = 0; i < BC_ARRAY_SIZE(b->slots); i++)
            if (atomic_load_explicit(&b->slots[i].start, memory_order_relaxed) == 0)
                return &b->slots[i];
        struct block *next = atomic_load(&b->next);
        if (next == NULL) {
            next = bc_posix_memory_map(NULL, sizeof *next);
            if (next == NULL)
                return NULL;
            atomic_store(&b->next, next);
        }
        b = next;
    }
}

/* ---- the table's functions ---- */

static void lock(void)
{
    pthread_mutex_lock(&mutex);
}

static void unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

static void prepare_once(void)
{
    prepared = pthread_atfork(lock, unlock, unlock) == 0;
}

int bc_posix_guard(void *ctx, void *addr, size_t size, bool writable, _Atomic(uint32_t) *fault, void **ret)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    pthread_once(&once, prepare_once);
    lock();
    struct slot *s = prepared && (users > 0 || install()) ? free_slot() : NULL;
    if (s != NULL) {
        users++;
        atomic_store(&s->end, (uintptr_t)addr + size);
        atomic_store(&s->fault, fault);
        atomic_store(&s->writable, writable);
        atomic_store(&s->start, (uintptr_t)addr);
        *ret = s;
    }
    unlock();
    return s == NULL ? ENOMEM : 0;
}

void bc_posix_unguard(void *ctx, void *guard)
{
    BC_KEEP_ERRNO;
    (void)ctx;
    struct slot *s = guard;
    lock();
    atomic_store(&s->start, 0);
    if (--users == 0)
        uninstall();
    unlock();
}
