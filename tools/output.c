#include "tools/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"

static int output_errno; /* of the first write that failed */

static bool failed_before(void)
{
    errno = 0;
    return ferror(stdout) != 0;
}

static void note_failure(void)
{
    if (ferror(stdout))
        output_errno = errno;
}

void cli_write(const void *data, size_t size)
{
    if (failed_before())
        return;
    fwrite(data, 1, size, stdout);
    note_failure();
}

void cli_write_hex(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    if (failed_before())
        return;
    for (size_t i = 0; i < size && !ferror(stdout); i++) {
        putchar("0123456789abcdef"[bytes[i] >> 4]);
        putchar("0123456789abcdef"[bytes[i] & 15]);
    }
    note_failure();
}

void cli_print(const char *format, ...)
{
    va_list args;
    if (failed_before())
        return;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    note_failure();
}

/* The bytes of a control character at the start of what is there; 0 if it is none. U+0080 to U+009F are some, too. */
static size_t control(const unsigned char *bytes, size_t size)
{
    if (bytes[0] < 0x20 || bytes[0] == 0x7f)
        return 1;
    return size > 1 && bytes[0] == 0xc2 && bytes[1] >= 0x80 && bytes[1] < 0xa0 ? 2 : 0;
}

void cli_write_shown(const void *data, size_t size)
{
    static int terminal = -1;
    const unsigned char *bytes = data;
    if (terminal < 0)
        terminal = isatty(STDOUT_FILENO);
    if (!terminal) {
        cli_write(data, size);
        return;
    }
    if (failed_before())
        return;
    for (size_t i = 0, length; i < size; i += length ? length : 1) {
        length = bytes[i] == '\n' || bytes[i] == '\t' ? 0 : control(bytes + i, size - i);
        putchar(length ? '?' : bytes[i]);
    }
    note_failure();
}

/* The length of the character at the start; 0: no UTF-8. Neither overlong forms nor surrogates are. */
static size_t utf8_length(const unsigned char *bytes, size_t size)
{
    if (bytes[0] < 0x80)
        return 1;
    size_t length = bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : 4;
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xed && bytes[1] > 0x9f) ||
        (bytes[0] == 0xf0 && bytes[1] < 0x90) || (bytes[0] == 0xf4 && bytes[1] > 0x8f))
        return 0;
    return length;
}

bool cli_is_utf8(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0, length; i < size; i += length) {
        length = utf8_length(bytes + i, size - i);
        if (length == 0)
            return false;
    }
    return true;
}

void cli_write_json(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    if (failed_before())
        return;
    putchar('"');
    for (size_t i = 0; i < size && !ferror(stdout); i++) {
        size_t length = control(bytes + i, size - i);
        if (length > 0)
            printf("\\u%04x", (unsigned)bytes[i + length - 1]);
        else if (bytes[i] == '"' || bytes[i] == '\\')
            printf("\\%c", bytes[i]);
        else
            putchar(bytes[i]);
        i += length > 1 ? length - 1 : 0;
    }
    putchar('"');
    note_failure();
}

static void write_base64(const unsigned char *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (failed_before())
        return;
    for (size_t i = 0; i < size && !ferror(stdout); i += 3) {
        unsigned second = i + 1 < size ? bytes[i + 1] : 0;
        unsigned third = i + 2 < size ? bytes[i + 2] : 0;
        unsigned group = (unsigned)bytes[i] << 16 | second << 8 | third;
        putchar(digits[group >> 18]);
        putchar(digits[group >> 12 & 63]);
        putchar(i + 1 < size ? digits[group >> 6 & 63] : '=');
        putchar(i + 2 < size ? digits[group & 63] : '=');
    }
    note_failure();
}

void cli_write_json_member(const char *name, const void *data, size_t size)
{
    if (cli_is_utf8(data, size)) {
        cli_print("\"%s\":", name);
        cli_write_json(data, size);
        return;
    }
    cli_print("\"%s_b64\":\"", name);
    write_base64(data, size);
    cli_print("\"");
}

bool cli_output_failed(void)
{
    return ferror(stdout) != 0;
}

int cli_flush(void)
{
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) != 0 && !failed) {
        output_errno = errno;
        failed = true;
    }
    if (!failed)
        return CLI_OK;
    return cli_say(CLI_ERROR, "stdout: %s", output_errno ? strerror(output_errno) : "write error");
}
