/* walk.h - what list, scan, count and dump share: which keys, of which store, in which form; and the walk over them. */
#ifndef TOOLS_WALK_H
#define TOOLS_WALK_H

#include <bitcask/bitcask.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/bytes.h"
#include "tools/cli.h"

struct walk {
    const char *dir;
    bool hex, json;
    uint32_t open_flags;
    bitcask_iter_options options;
    struct cli_bytes prefix, first, last;
    /* Of dump. */
    const char *format;
    bool printable;
    void (*begin)(struct walk *walk, bitcask *db); /* called once the walk is sure to start; NULL: none */
    void *ctx;
    /* Counted by the walk. */
    uint64_t left_out; /* keys that a line cannot carry */
    uint64_t damaged;
};

/* The options of list and scan; count and dump have those of them that choose keys. */
extern const struct option walk_options[], walk_count_options[], walk_dump_options[];

/* Parses options and DIR. CLI_OK, CLI_USAGE, CLI_ERROR, reported; -1: the help was printed. walk_free() in each case. */
int walk_parse(struct walk *walk, int argc, char **argv, const struct option *options, const struct cli_command *command);
void walk_free(struct walk *walk);

/* Opens the store beside a writer and calls item for each key until the output fails, or a signal is caught. BITCASK_CORRUPT
 * and BITCASK_IO from item are this key's: they are reported, the walk goes on, and the code is CLI_ERROR at the end. Other
 * failures end it. */
int walk_run(struct walk *walk, int (*item)(struct walk *walk, bitcask_iter *iter));

/* Prints the key as text or hex; false: it was left out, for one of the bytes in separators is in it. */
bool walk_print_key(struct walk *walk, bitcask_slice key, const char *separators);

#endif
