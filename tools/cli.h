/* cli.h - what the commands of the tool share: exit codes, messages, options, opening a store.
 *
 * Data goes to stdout, everything else to stderr. One thread; but the library's log may come from others.
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

/* Completions are made from help: each option has a line "  -x, --name ARGUMENT  text", or without "-x,". */
struct cli_command {
    const char *name;
    const char *summary; /* for the list of commands */
    const char *help;    /* usage, options, examples */
    int (*run)(int argc, char **argv);
};

extern const struct cli_command cli_get, cli_put, cli_delete, cli_touch, cli_list, cli_scan, cli_count, cli_stat, cli_hint,
    cli_merge, cli_verify, cli_repair, cli_backup, cli_restore, cli_dump, cli_load, cli_import_basho, cli_clear, cli_selftest;

/* The last options in the help of a command that opens a store. */
#define CLI_STORE_OPTIONS                                                                                                      \
    "  -o, --option N=V     an option of the library, as max_file_size=64m; may be repeated\n"                                 \
    "  -v, --verbose        what the library logs, on stderr\n"                                                                \
    "  -h, --help           this text\n"

/* The command that runs is named in every message; "" is the tool itself. */
void cli_set_command(const char *name);
bool cli_quiet(void); /* no figures, no remarks; errors stay */

/* One line on stderr. Returns code, so that "return cli_say(...)" is one line. */
int cli_say(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, with a hint at the help. Returns CLI_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The exit code of a result; what bitcask_last_error() has to say goes to stderr (a mere "no" not with -q). */
int cli_result(int result);

/* Says what bitcask_last_error() has to say of the store in dir, and where: the library names a file of a store without its
 * directory. Who is locked out hears how to find the other one. Returns code. */
int cli_failed(int code, const char *dir);

/* getopt_long() for a command: options stand before the first argument; -h, -q, -o and -v are dealt with. Returns the option,
 * -1 at the end, '?' after a usage error was reported, 'h' after the help was printed. Both lists are without these four. */
int cli_option(int argc, char **argv, const char *short_options, const struct option *long_options,
               const struct cli_command *command);
/* Whether -o was given. */
bool cli_store_options_given(void);
/* What -o says. */
const bitcask_options *cli_store_options(void);
/* As -o NAME=VALUE for an option of the command's own, which is named in the message. CLI_OK, CLI_USAGE. */
int cli_set_store_option(const char *name, const char *value, const char *option);
/* What -v asks for: NULL without it. */
bitcask_log_fn cli_log(void);

/* Opens with flags (BITCASK_OPEN_*) and what -o and -v say. CLI_OK, CLI_ERROR or CLI_USAGE, reported: a store that is not there
 * is an error, not an absence. */
int cli_open(const char *dir, uint32_t flags, bitcask **ret_db);
/* Closes; a failure is reported. Returns code, or CLI_ERROR if code was CLI_OK and the close failed. */
int cli_close(bitcask *db, int code);

#endif
