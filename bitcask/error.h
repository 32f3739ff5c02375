/* error.h - results, and the thread's last failure.
 *
 * The record of the last failure is the one piece of state outside a handle: it belongs to the thread. Safe from any thread.
 */
#ifndef BC_ERROR_H
#define BC_ERROR_H

#include <stdbool.h>

#include "bitcask/attr.h"
#include "bitcask/bitcask.h"

/* Records a failure and returns result, so that "return bc_fail(...)" is one line. file may be NULL or "". */
int bc_fail(int result, int sys_errno, const char *file, uint64_t offset, const char *format, ...) bc_printf(5, 6);

/* The same for a failed call of the I/O table: picks the result that fits the errno (ENOSPC, EDQUOT, EFBIG: NO_SPACE; ENOMEM:
 * NO_MEMORY; else IO) and appends the text of the errno. */
int bc_fail_io(int sys_errno, const char *file, const char *what);

/* For an answer rather than a failure (NOT_FOUND, CONDITION, SHORT_BUFFER): records the result with its standard text, without
 * formatting anything. */
int bc_answer(int result);

struct bc_last_error {
    bitcask_error error;
    bool plain; /* no message of its own */
    char file[256];
    char message[512];
};

/* Around a callback whose own calls may fail: what this thread's last failure was, it still is. */
void bc_error_save(struct bc_last_error *ret);
void bc_error_restore(const struct bc_last_error *);

/* The result that fits an errno of the I/O table. */
int bc_result_of_errno(int sys_errno);

#endif
