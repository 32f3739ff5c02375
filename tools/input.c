#include "tools/input.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/progress.h"

#define PIECE ((size_t)256 << 10)
#define WAIT_MS 200

int input_open(struct input *input)
{
    struct stat st;
    *input = (struct input){.data = malloc(PIECE)};
    if (!input->data)
        return cli_say(CLI_ERROR, "out of memory");
    if (fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode))
        input->total = (uint64_t)st.st_size;
    return CLI_OK;
}

void input_free(struct input *input)
{
    free(input->data);
}

uint64_t input_offset(const struct input *input)
{
    return input->read - (input->end - input->at);
}

/* read() is started again after a signal, poll() is not; the time limit is for a signal just before it. */
static bool wait_for_input(struct input *input)
{
    struct pollfd poll_stdin = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!progress_interrupted()) {
        int ready = poll(&poll_stdin, 1, WAIT_MS);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return true;
    }
    input->interrupted = true;
    return false;
}

bool input_fill(struct input *input)
{
    if (input->ended)
        return false;
    input->at = input->end = 0;
    progress_show_bytes("load", input->read, input->total, NULL);
    if (wait_for_input(input)) {
        ssize_t got = read(STDIN_FILENO, input->data, PIECE);
        if (got > 0) {
            input->end = (size_t)got;
            input->read += (uint64_t)got;
            return true;
        }
        input->error = got < 0 ? errno : 0;
    }
    input->ended = true;
    return false;
}

/* What is quoted is what somebody sent: its control characters must not command a terminal. */
static void make_harmless(unsigned char *text)
{
    for (; *text; text++) {
        bool two = text[0] == 0xc2 && text[1] >= 0x80 && text[1] < 0xa0;
        if (two)
            *text++ = '?';
        if (two || *text < 0x20 || *text == 0x7f)
            *text = '?';
    }
}

enum input_result input_bad(struct input *input, const char *format, ...)
{
    va_list args;
    int length = snprintf(input->problem, sizeof input->problem, "%s %ju: ", input->by_line ? "line" : "byte",
                          (uintmax_t)input->position);
    va_start(args, format);
    vsnprintf(input->problem + length, sizeof input->problem - (size_t)length, format, args);
    va_end(args);
    make_harmless((unsigned char *)input->problem);
    return INPUT_BAD;
}

enum input_result input_cut(struct input *input, const char *what)
{
    if (input->interrupted)
        snprintf(input->problem, sizeof input->problem, "interrupted");
    else if (input->error)
        snprintf(input->problem, sizeof input->problem, "stdin: %s", strerror(input->error));
    else
        return input_bad(input, "the input ends inside of %s", what);
    return INPUT_BAD;
}

enum input_result input_append(struct input *input, struct buffer *buffer, uint64_t size, const char *what)
{
    while (size > 0) {
        if (input_peek(input) < 0)
            return input_cut(input, what);
        size_t there = input->end - input->at;
        size_t part = there < size ? there : (size_t)size;
        if (!cli_reserve(&buffer->bytes, &buffer->capacity, buffer->bytes.size + part))
            return input_bad(input, "out of memory");
        memcpy(buffer->bytes.data + buffer->bytes.size, input->data + input->at, part);
        buffer->bytes.size += part;
        input->at += part;
        size -= part;
    }
    return INPUT_OK;
}

enum input_result input_line(struct input *input, struct buffer *buffer, uint64_t max)
{
    size_t before = buffer->bytes.size;
    for (;;) {
        if (input_peek(input) < 0) {
            if (input->error || input->interrupted)
                return input_cut(input, "a line");
            return buffer->bytes.size > before ? INPUT_OK : INPUT_END;
        }
        const unsigned char *start = input->data + input->at;
        const unsigned char *newline = memchr(start, '\n', input->end - input->at);
        size_t part = newline ? (size_t)(newline - start) : input->end - input->at;
        if (buffer->bytes.size - before + part > max)
            return input_bad(input, "the line is longer than any record can be");
        enum input_result result = input_append(input, buffer, part, "a line");
        if (result != INPUT_OK)
            return result;
        if (newline) {
            input->at++;
            return INPUT_OK;
        }
    }
}
