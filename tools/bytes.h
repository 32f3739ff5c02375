/* bytes.h - what comes in: arguments and stdin as bytes, numbers. */
#ifndef TOOLS_BYTES_H
#define TOOLS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes owned by the caller: free(data). */
struct cli_bytes {
    unsigned char *data;
    size_t size;
};

/* An argument as bytes: its text, or what its hex digits say. CLI_OK, CLI_USAGE, CLI_ERROR; reported. */
int cli_argument(const char *what, const char *text, bool hex, struct cli_bytes *ret);
/* The argument KEY: not empty. */
int cli_key(const char *text, bool hex, struct cli_bytes *ret);
/* All of stdin, in the same way. Reads little more than the largest value. */
int cli_stdin(bool hex, struct cli_bytes *ret);

/* Room for size bytes; false: no memory, bytes unchanged. *capacity is what there is room for now. */
bool cli_reserve(struct cli_bytes *bytes, size_t *capacity, size_t size);
/* A decimal number of at most max; nothing else may stand around it. */
bool cli_number(const char *text, uint64_t max, uint64_t *ret);

#endif
