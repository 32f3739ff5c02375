#include "tools/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"

/* The largest value that the library takes is a little less. */
#define INPUT_MAX (UINT64_C(4) << 30)

static int digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* In place. White space between digits is ignored, so that a wrapped dump can be fed back. */
static bool decode_hex(struct cli_bytes *bytes)
{
    size_t digits = 0;
    for (size_t i = 0; i < bytes->size; i++) {
        unsigned char c = bytes->data[i];
        if (strchr(" \t\r\n", c) && c)
            continue;
        int value = digit(c);
        if (value < 0)
            return false;
        if (digits % 2 == 0)
            bytes->data[digits / 2] = (unsigned char)(value << 4);
        else
            bytes->data[digits / 2] = (unsigned char)(bytes->data[digits / 2] | value);
        digits++;
    }
    bytes->size = digits / 2;
    return digits % 2 == 0;
}

int cli_argument(const char *what, const char *text, bool hex, struct cli_bytes *ret)
{
    struct cli_bytes bytes = {(unsigned char *)strdup(text), strlen(text)};
    if (!bytes.data)
        return cli_say(CLI_ERROR, "out of memory");
    if (hex && !decode_hex(&bytes)) {
        free(bytes.data);
        return cli_usage("%s is not hex: '%s'", what, text);
    }
    *ret = bytes;
    return CLI_OK;
}

int cli_key(const char *text, bool hex, struct cli_bytes *ret)
{
    struct cli_bytes key = {0};
    int code = cli_argument("KEY", text, hex, &key);
    if (code != CLI_OK)
        return code;
    if (key.size == 0) {
        free(key.data);
        return cli_usage("KEY is empty");
    }
    *ret = key;
    return CLI_OK;
}

bool cli_reserve(struct cli_bytes *bytes, size_t *capacity, size_t size)
{
    if (size <= *capacity)
        return true;
    size_t wanted = *capacity ? *capacity : (size_t)64 << 10;
    while (wanted < size)
        wanted *= 2;
    unsigned char *data = realloc(bytes->data, wanted);
    if (!data)
        return false;
    bytes->data = data;
    *capacity = wanted;
    return true;
}

/* Input that is longer than any value is not read to its end: the library refuses what was read. */
int cli_stdin(bool hex, struct cli_bytes *ret)
{
    struct cli_bytes bytes = {NULL, 0};
    size_t capacity = 0;
    uint64_t enough = hex ? 2 * INPUT_MAX + INPUT_MAX / 16 : INPUT_MAX;
    while (bytes.size <= enough) {
        if (!cli_reserve(&bytes, &capacity, bytes.size + 1)) {
            free(bytes.data);
            return cli_say(CLI_ERROR, "out of memory");
        }
        size_t got = fread(bytes.data + bytes.size, 1, capacity - bytes.size, stdin);
        bytes.size += got;
        if (got == 0)
            break;
    }
    if (ferror(stdin)) {
        free(bytes.data);
        return cli_say(CLI_ERROR, "stdin: %s", strerror(errno));
    }
    if (hex && !decode_hex(&bytes)) {
        free(bytes.data);
        return cli_usage("stdin is not hex");
    }
    *ret = bytes;
    return CLI_OK;
}

bool cli_number(const char *text, uint64_t max, uint64_t *ret)
{
    uint64_t number = 0;
    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        uint64_t next = (uint64_t)(*text - '0');
        if (number > (max - next) / 10)
            return false;
        number = number * 10 + next;
    }
    *ret = number;
    return true;
}
