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
    bitcask_log_fn log; /* NULL: nobody listens */
    void *log_ctx;
};

static inline bool bc_health_poisoned(const struct bc_health *h)
{
    return atomic_load_explicit(&h->poisoned, memory_order_acquire);
}

/* Refuses writes from now on. Returns POISONED with what and the errno recorded as the thread's failure. */
int bc_health_poison(struct bc_health *, int sys_errno, const char *file, const char *what);
/* The failure of a write on a poisoned handle. */
int bc_health_refuse(void);

/* One line to the log callback. */
void bc_log_line(const struct bc_health *, int level, const char *format, ...) bc_printf(3, 4);
/* One line with this thread's last failure behind it. */
void bc_log_failure(const struct bc_health *, int level, const char *what);

#endif
