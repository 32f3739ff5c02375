/* health.h - whether a handle may still write, and whom to tell. Any thread.
 *
 * Poisoned once, poisoned for good: after a failed sync nobody knows what the disk holds, and a second sync that succeeds would
 * say nothing about the first (the kernel has marked the pages clean). Checked after every sync, before any acknowledgement or
 * durable mark, and before every append.
 */
#ifndef BC_HEALTH_H
#define BC_HEALTH_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bitcask/attr.h"
#include "bitcask/bitcask.h"

struct bc_health {
    atomic_bool poisoned;
    atomic_bool has_reason; /* the first one counts */
    atomic_bool untold;     /* reason is there and the log does not have it yet */
    char reason[512];
    bitcask_log_fn log; /* NULL: nobody listens */
    void *log_ctx;
};

static inline bool bc_health_poisoned(const struct bc_health *h)
{
    return atomic_load_explicit(&h->poisoned, memory_order_acquire);
}

/* Refuses writes from now on. Returns POISONED with what and the errno recorded as the thread's failure. Under any lock: the
 * log is told by bc_health_tell(). */
int bc_health_poison(struct bc_health *, int sys_errno, const char *file, const char *what);
/* Tells the log why the handle was poisoned, once. Under no lock but merge: whoever may have met the failure calls it when he
 * has given his locks back. */
void bc_health_tell(struct bc_health *);
/* The failure of a write on a poisoned handle. */
int bc_health_refuse(void);

/* One line to the log callback. This thread's last failure stays what it is. */
void bc_log_line(const struct bc_health *, int level, const char *format, ...) bc_printf(3, 4);
/* One line with this thread's last failure behind it. */
void bc_log_failure(const struct bc_health *, int level, const char *what);

#endif
