/* input.h - stdin in pieces of bounded size, with the position for messages; it ends early when a signal asked for that. */
#ifndef TOOLS_INPUT_H
#define TOOLS_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/bytes.h"

struct input {
    unsigned char *data;
    size_t at, end;
    uint64_t read;  /* bytes up to end */
    uint64_t total; /* of a regular file, else 0 */
    bool ended;     /* nothing follows: end of file, an error, an interrupt */
    bool interrupted;
    int error; /* errno of the read that failed */

    /* Kept by who reads: the line in hand, from 1, or the byte at which what is in hand starts. */
    bool by_line;
    uint64_t position;
    char problem[400]; /* what input_bad() was told, with the position before it */
};

/* CLI_OK, or CLI_ERROR, reported. input_free() in each case. */
int input_open(struct input *input);
void input_free(struct input *input);

/* Reads on if nothing is left in hand. false: it has ended. */
bool input_fill(struct input *input);

/* The next byte, -1 at the end; peek does not take it. */
static inline int input_peek(struct input *input)
{
    return input->at < input->end || input_fill(input) ? input->data[input->at] : -1;
}

static inline int input_byte(struct input *input)
{
    return input->at < input->end || input_fill(input) ? input->data[input->at++] : -1;
}

/* The offset of the next byte. */
uint64_t input_offset(const struct input *input);

/* Bytes that grow. */
struct buffer {
    struct cli_bytes bytes;
    size_t capacity;
};

enum input_result {
    INPUT_OK,
    INPUT_END, /* there is no more, and nothing is missing */
    INPUT_BAD, /* problem says what is wrong where */
};

/* Sets the problem; returns INPUT_BAD. */
enum input_result input_bad(struct input *input, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* For an end where there should be more: what is read; the problem may be an error of stdin or an interrupt instead. */
enum input_result input_cut(struct input *input, const char *what);

/* Appends size bytes of the input. The buffer grows with what is there, not with what is asked for. OK or BAD. */
enum input_result input_append(struct input *input, struct buffer *buffer, uint64_t size, const char *what);
/* Appends what stands before the next newline, and takes that. END: there is no more at all. A last line may lack its newline.
 */
enum input_result input_line(struct input *input, struct buffer *buffer, uint64_t max);

/* false: no memory. */
static inline bool buffer_add(struct buffer *buffer, unsigned char byte)
{
    if (buffer->bytes.size == buffer->capacity && !cli_reserve(&buffer->bytes, &buffer->capacity, buffer->capacity + 1))
        return false;
    buffer->bytes.data[buffer->bytes.size++] = byte;
    return true;
}

#endif
