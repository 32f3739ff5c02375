/* basho_file.h - reads a file through a window, and checks CRCs of any part of it in bounded time and memory.
 *
 * By system calls, not by mapping: a device that fails is an error here, not a signal. One thread.
 */
#ifndef TOOLS_BASHO_FILE_H
#define TOOLS_BASHO_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/bytes.h"

/* CRCs of all prefixes of the file that end at a block's border. */
struct basho_sums {
    uint32_t *crcs;       /* blocks + 1; a block that cannot be read counts as none */
    uint32_t *unreadable; /* blocks + 1: how many of the blocks before */
    unsigned char *edge;  /* the block that was read last */
    uint64_t edge_block;
};

struct basho_file {
    int fd; /* -1: not open */
    uint64_t size;
    struct cli_bytes window; /* the file's bytes from window_start on */
    uint64_t window_start;
    size_t capacity;
    struct basho_sums sums; /* crcs NULL: not built */
};

/* Opens a regular file; fd -1 and zeros otherwise stand for a file that was never opened, and it may be opened again after
 * close. 0 or errno. */
int basho_file_open(struct basho_file *file, const char *path);
/* Keeps the window's memory for the next file. */
void basho_file_close(struct basho_file *file);
/* Frees everything. */
void basho_file_free(struct basho_file *file);

/* The file's bytes [offset, offset + size), which must lie in it; good until the next call. NULL: errno says why. */
const unsigned char *basho_file_at(struct basho_file *file, uint64_t offset, uint64_t size);

/* The CRC-32 of [offset, offset + size), which must lie in the file. 0 or errno. Without sums it reads all of it. */
int basho_file_crc(struct basho_file *file, uint64_t offset, uint64_t size, uint32_t *ret);
/* Reads the whole file once, after which every basho_file_crc() reads two blocks at most: needed before many ranges that may
 * overlap are tried, which would take the square of the file's size. 0 or ENOMEM. */
int basho_file_build_sums(struct basho_file *file);

#endif
