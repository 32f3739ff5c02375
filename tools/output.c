#include "tools/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/base64.h"
#include "tools/cli.h"

/* A longer text goes as base64: with every character escaped it would take six times its length. */
#define JSON_TEXT_MAX ((size_t)1 << 30)

static bool quiet_pipe;
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

/* What a character, or one byte of it, is in a JSON string. Returns how many of bytes were taken. */
static size_t json_character(const unsigned char *bytes, size_t size, char *text, size_t *length)
{
    size_t taken = control(bytes, size);
    if (taken > 0) {
        unsigned code = bytes[taken - 1];
        const char escaped[] = {'\\', 'u', '0', '0', "0123456789abcdef"[code >> 4], "0123456789abcdef"[code & 15]};
        memcpy(text, escaped, sizeof escaped);
        *length = sizeof escaped;
        return taken;
    }
    *length = 0;
    if (bytes[0] == '"' || bytes[0] == '\\')
        text[(*length)++] = '\\';
    text[(*length)++] = (char)bytes[0];
    return 1;
}

void cli_write_json(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    char text[4096];
    size_t used = 0, length;
    text[used++] = '"';
    for (size_t i = 0; i < size && !cli_output_failed(); used += length) {
        if (used > sizeof text - 8) {
            cli_write(text, used);
            used = 0;
        }
        i += json_character(bytes + i, size - i, text + used, &length);
    }
    text[used++] = '"';
    cli_write(text, used);
}

static void write_base64(const unsigned char *bytes, size_t size)
{
    enum { PIECE = 3072 };
    char text[PIECE / 3 * 4];
    for (size_t i = 0; i < size && !cli_output_failed(); i += PIECE) {
        size_t part = size - i < PIECE ? size - i : PIECE;
        base64_encode(bytes + i, part, text);
        cli_write(text, base64_size(part));
    }
}

void cli_write_json_member(const char *name, const void *data, size_t size)
{
    if (size <= JSON_TEXT_MAX && cli_is_utf8(data, size)) {
        cli_print("\"%s\":", name);
        cli_write_json(data, size);
        return;
    }
    cli_print("\"%s_b64\":\"", name);
    write_base64(data, size);
    cli_print("\"");
}

void cli_output_quiet_pipe(void)
{
    quiet_pipe = true;
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
    if (quiet_pipe && output_errno == EPIPE)
        return CLI_ERROR;
    return cli_say(CLI_ERROR, "stdout: %s", output_errno ? strerror(output_errno) : "write error");
}
