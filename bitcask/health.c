#include "bitcask/health.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bitcask/error.h"

int bc_health_poison(struct bc_health *h, int sys_errno, const char *file, const char *what)
{
    atomic_store_explicit(&h->poisoned, true, memory_order_release);
    char text[128];
    bc_fail(BITCASK_POISONED, sys_errno, file, 0,
            "%s: %s: %s; what was not durable is in doubt, writes are refused until the store is opened again", file, what,
            strerror_r(sys_errno, text, sizeof text));
    if (!atomic_exchange(&h->has_reason, true)) {
        snprintf(h->reason, sizeof h->reason, "%s", bitcask_last_error()->message);
        atomic_store_explicit(&h->untold, true, memory_order_release);
    }
    return BITCASK_POISONED;
}

void bc_health_tell(struct bc_health *h)
{
    if (bc_unlikely(atomic_load_explicit(&h->untold, memory_order_acquire)) && atomic_exchange(&h->untold, false))
        bc_log_line(h, BITCASK_LOG_ERROR, "%s", h->reason);
}

int bc_health_refuse(void)
{
    return bc_fail(BITCASK_POISONED, 0, NULL, 0, "a sync failed earlier: writes are refused until the store is opened again");
}

void bc_log_line(const struct bc_health *h, int level, const char *format, ...)
{
    if (h->log == NULL)
        return;
    char message[768];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    struct bc_last_error before;
    bc_error_save(&before);
    h->log(level, message, h->log_ctx);
    bc_error_restore(&before);
}

void bc_log_failure(const struct bc_health *h, int level, const char *what)
{
    const bitcask_error *e = bitcask_last_error();
    bc_log_line(h, level, "%s: %s (%s)", what, e->message, bitcask_errname(e->result));
}
