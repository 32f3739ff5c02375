#include "bitcask/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct bc_last_error last;

const bitcask_error *bitcask_last_error(void)
{
    last.error.struct_size = sizeof last.error;
    last.error.file = last.file;
    last.error.message = last.plain ? bitcask_strerror(last.error.result) : last.message;
    return &last.error;
}

int bc_fail(int result, int sys_errno, const char *file, uint64_t offset, const char *format, ...)
{
    va_list args;
    char message[sizeof last.message];
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    snprintf(last.file, sizeof last.file, "%s", file == NULL ? "" : file);
    memcpy(last.message, message, sizeof last.message);
    last.plain = false;
    last.error.result = result;
    last.error.sys_errno = sys_errno;
    last.error.offset = offset;
    return result;
}

int bc_answer(int result)
{
    last.plain = true;
    last.file[0] = '\0';
    last.error.result = result;
    last.error.sys_errno = 0;
    last.error.offset = 0;
    return result;
}

void bc_error_save(struct bc_last_error *ret)
{
    *ret = last;
}

void bc_error_restore(const struct bc_last_error *saved)
{
    last = *saved;
}

int bc_result_of_errno(int sys_errno)
{
    switch (sys_errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return BITCASK_NO_SPACE;
    case ENOMEM:
        return BITCASK_NO_MEMORY;
    default:
        return BITCASK_IO;
    }
}

int bc_fail_io(int sys_errno, const char *file, const char *what)
{
    char buffer[128];
    /* The GNU strerror_r: the text may be static and not in the buffer. */
    const char *text = strerror_r(sys_errno, buffer, sizeof buffer);
    const char *colon = file == NULL ? "" : ": ";
    return bc_fail(bc_result_of_errno(sys_errno), sys_errno, file, 0, "%s%s%s: %s", file == NULL ? "" : file, colon, what,
                   text);
}

const char *bitcask_strerror(int result)
{
    switch (result) {
#define CASE(name, code, text)                                                                                                 \
    case BITCASK_##name:                                                                                                       \
        return text;
        BITCASK_RESULT_MAP(CASE)
#undef CASE
    default:
        return "unknown result";
    }
}

const char *bitcask_errname(int result)
{
    switch (result) {
#define CASE(name, code, text)                                                                                                 \
    case BITCASK_##name:                                                                                                       \
        return "BITCASK_" #name;
        BITCASK_RESULT_MAP(CASE)
#undef CASE
    default:
        return "BITCASK_UNKNOWN";
    }
}

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)

const char *bitcask_version(void)
{
    return STRINGIFY(BITCASK_VERSION_MAJOR) "." STRINGIFY(BITCASK_VERSION_MINOR) "." STRINGIFY(BITCASK_VERSION_PATCH);
}
