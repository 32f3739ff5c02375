#include "tools/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The largest value that the library takes is a little less. */
#define INPUT_MAX (UINT64_C(4) << 30)
#define BUSY_TRIES 50
#define LONG_OPTIONS_MAX 16

static const char *command_name = "";
static bool quiet;
static int output_errno; /* of the first write to stdout that failed */

void cli_set_command(const char *name)
{
    command_name = name;
}

void cli_set_quiet(void)
{
    quiet = true;
}

bool cli_quiet(void)
{
    return quiet;
}

static void prefix(void)
{
    fprintf(stderr, "bitcask%s%s: ", *command_name ? " " : "", command_name);
}

int cli_say(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    prefix();
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return code;
}

int cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    prefix();
    vfprintf(stderr, format, args);
    fprintf(stderr, "; see: bitcask help%s%s\n", *command_name ? " " : "", command_name);
    va_end(args);
    return CLI_USAGE;
}

int cli_result(int result)
{
    switch (result) {
    case BITCASK_OK:
        return CLI_OK;
    case BITCASK_NOT_FOUND:
    case BITCASK_CONDITION:
        return quiet ? CLI_ABSENT : cli_say(CLI_ABSENT, "%s", bitcask_strerror(result));
    case BITCASK_INVALID:
        return cli_usage("%s", bitcask_last_error()->message);
    default:
        return cli_say(CLI_ERROR, "%s", bitcask_last_error()->message);
    }
}

int cli_option(int argc, char **argv, const char *short_options, const struct option *long_options,
               const struct cli_command *command)
{
    struct option all[LONG_OPTIONS_MAX] = {{"help", no_argument, NULL, 'h'}, {"quiet", no_argument, NULL, 'q'}};
    for (size_t i = 0; long_options[i].name && i + 3 < LONG_OPTIONS_MAX; i++)
        all[i + 2] = long_options[i];
    char shorts[LONG_OPTIONS_MAX + 8];
    snprintf(shorts, sizeof shorts, "+:hq%s", short_options);

    opterr = 0;
    for (;;) {
        int option = getopt_long(argc, argv, shorts, all, NULL);
        switch (option) {
        case 'q':
            cli_set_quiet();
            break;
        case 'h':
            fputs(command->help, stdout);
            return 'h';
        case ':':
            cli_usage("option '%s' needs a value", argv[optind - 1]);
            return '?';
        case '?':
            if (optopt > 0 && optopt < 128 && strncmp(argv[optind - 1], "--", 2) != 0)
                cli_usage("no option '-%c'", optopt);
            else
                cli_usage("no option '%s'", argv[optind - 1]);
            return '?';
        default:
            return option;
        }
    }
}

int cli_open(const char *dir, uint32_t flags, bitcask **ret_db)
{
    bitcask_options options = BITCASK_OPTIONS_INIT;
    options.flags = flags;
    int result = bitcask_open(dir, &options, ret_db);
    for (int tries = 1; result == BITCASK_BUSY && tries < BUSY_TRIES; tries++) {
        nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
        result = bitcask_open(dir, &options, ret_db);
    }
    return result == BITCASK_OK ? CLI_OK : cli_say(CLI_ERROR, "%s", bitcask_last_error()->message);
}

int cli_close(bitcask *db, int code)
{
    if (bitcask_close(db) == BITCASK_OK)
        return code;
    cli_say(CLI_ERROR, "%s", bitcask_last_error()->message);
    return code == CLI_OK ? CLI_ERROR : code;
}

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

void cli_write(const void *data, size_t size, bool hex)
{
    errno = 0;
    if (!hex) {
        fwrite(data, 1, size, stdout);
    } else {
        const unsigned char *bytes = data;
        for (size_t i = 0; i < size && !ferror(stdout); i++) {
            putchar("0123456789abcdef"[bytes[i] >> 4]);
            putchar("0123456789abcdef"[bytes[i] & 15]);
        }
        if (!ferror(stdout))
            putchar('\n');
    }
    if (ferror(stdout))
        output_errno = errno;
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
