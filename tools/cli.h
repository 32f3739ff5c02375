/* cli.h - what the commands of the tool share: exit codes, messages, options, input and output.
 *
 * Data goes to stdout, everything else to stderr. One thread.
 */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

#include <bitcask/bitcask.h>
#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CLI_OK = 0,
    CLI_ABSENT = 1, /* the answer is no: absent, condition not held, a difference */
    CLI_USAGE = 2,
    CLI_ERROR = 3,
};

struct cli_command {
    const char *name;
    const char *summary; /* for the list of commands */
    const char *help;    /* usage, options, examples */
    int (*run)(int argc, char **argv);
};

extern const struct cli_command cli_get, cli_put, cli_delete, cli_selftest;

/* The command that runs is named in every message; "" is the tool itself. */
void cli_set_command(const char *name);
void cli_set_quiet(void); /* no figures, no remarks; errors stay */
bool cli_quiet(void);

/* One line on stderr. Returns code, so that "return cli_say(...)" is one line. */
int cli_say(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, with a hint at the help. Returns CLI_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The exit code of a result; what bitcask_last_error() has to say goes to stderr (a mere "no" not with -q). */
int cli_result(int result);

/* getopt_long() for a command: options stand before the first argument; -h and -q are dealt with. Returns the option, -1 at the
 * end, '?' after a usage error was reported, 'h' after the help was printed. Both lists are without -h and -q. */
int cli_option(int argc, char **argv, const char *short_options, const struct option *long_options,
               const struct cli_command *command);

/* Opens with flags (BITCASK_OPEN_*). CLI_OK or CLI_ERROR, reported: a store that is not there is an error, not an absence. */
int cli_open(const char *dir, uint32_t flags, bitcask **ret_db);
/* Closes; a failure is reported. Returns code, or CLI_ERROR if code was CLI_OK and the close failed. */
int cli_close(bitcask *db, int code);

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
/* Bytes to stdout: as they are, or as a line of hex digits. What goes wrong shows in cli_flush(). */
void cli_write(const void *data, size_t size, bool hex);
/* Ends the output: CLI_OK, or CLI_ERROR, reported, if not every byte of it was taken. */
int cli_flush(void);

/* Room for size bytes; false: no memory, bytes unchanged. *capacity is what there is room for now. */
bool cli_reserve(struct cli_bytes *bytes, size_t *capacity, size_t size);
/* A decimal number of at most max; nothing else may stand around it. */
bool cli_number(const char *text, uint64_t max, uint64_t *ret);

#endif
