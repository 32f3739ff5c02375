#include "tools/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/progress.h"

#define BUSY_TRIES 50
#define LONG_OPTIONS_MAX 24

static const char *command_name = "";
static bool quiet;
static bool verbose;
static bitcask_options store_options = {.struct_size = sizeof(bitcask_options), .flags = BITCASK_OPEN_GUARD_SIGBUS};
static bool store_options_given;

void cli_set_command(const char *name)
{
    command_name = name;
}

bool cli_quiet(void)
{
    return quiet;
}

bool cli_store_options_given(void)
{
    return store_options_given;
}

const bitcask_options *cli_store_options(void)
{
    return &store_options;
}

static void prefix(void)
{
    progress_erase();
    fprintf(stderr, "bitcask%s%s: ", *command_name ? " " : "", command_name);
}

int cli_say(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    progress_lock();
    prefix();
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    progress_unlock();
    va_end(args);
    return code;
}

int cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    progress_lock();
    prefix();
    vfprintf(stderr, format, args);
    fprintf(stderr, "; see: bitcask help%s%s\n", *command_name ? " " : "", command_name);
    progress_unlock();
    va_end(args);
    return CLI_USAGE;
}

int cli_failed(int code, const char *dir)
{
    const bitcask_error *e = bitcask_last_error();
    size_t named = strlen(e->file);
    bool bare = named != 0 && strchr(e->file, '/') == NULL && strcmp(e->file, dir) != 0 &&
                strncmp(e->message, e->file, named) == 0 && e->message[named] == ':';
    if (e->result == BITCASK_LOCKED)
        return cli_say(code, "%s; to find it: fuser -v %s/LOCK", e->message, dir);
    return bare ? cli_say(code, "%s/%s", dir, e->message) : cli_say(code, "%s", e->message);
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

static void log_line(int level, const char *message, void *ctx)
{
    (void)ctx;
    const char *what = level == BITCASK_LOG_ERROR ? "error" : level == BITCASK_LOG_WARN ? "warning" : "info";
    cli_say(CLI_OK, "%s: %s", what, message);
}

bitcask_log_fn cli_log(void)
{
    return verbose ? log_line : NULL;
}

/* name=value. */
static bool set_store_option(const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals) {
        cli_usage("-o takes NAME=VALUE, not '%s'", text);
        return false;
    }
    char *name = strndup(text, (size_t)(equals - text));
    if (!name) {
        cli_say(CLI_ERROR, "out of memory");
        return false;
    }
    int result = bitcask_options_set(&store_options, name, equals + 1);
    free(name);
    store_options_given = true;
    if (result != BITCASK_OK)
        cli_usage("-o %s", bitcask_last_error()->message);
    return result == BITCASK_OK;
}

int cli_set_store_option(const char *name, const char *value, const char *option)
{
    if (bitcask_options_set(&store_options, name, value) == BITCASK_OK)
        return CLI_OK;
    const char *message = bitcask_last_error()->message, *reason = strchr(message, ':');
    return cli_usage("%s %s%s", option, value, reason ? reason : "");
}

static int unknown_option(const char *argument)
{
    if (optopt > 0 && optopt < 128 && strncmp(argument, "--", 2) != 0)
        cli_usage("no option '-%c'", optopt);
    else
        cli_usage("no option '%s'", argument);
    return '?';
}

int cli_option(int argc, char **argv, const char *short_options, const struct option *long_options,
               const struct cli_command *command)
{
    struct option all[LONG_OPTIONS_MAX] = {{"help", no_argument, NULL, 'h'},
                                           {"quiet", no_argument, NULL, 'q'},
                                           {"option", required_argument, NULL, 'o'},
                                           {"verbose", no_argument, NULL, 'v'}};
    for (size_t i = 0; long_options[i].name && i + 5 < LONG_OPTIONS_MAX; i++)
        all[i + 4] = long_options[i];
    char shorts[LONG_OPTIONS_MAX + 16];
    snprintf(shorts, sizeof shorts, "+:hqo:v%s", short_options);

    opterr = 0;
    for (;;) {
        int option = getopt_long(argc, argv, shorts, all, NULL);
        switch (option) {
        case 'q':
            quiet = true;
            break;
        case 'v':
            verbose = true;
            break;
        case 'o':
            if (!set_store_option(optarg))
                return '?';
            break;
        case 'h':
            fputs(command->help, stdout);
            return 'h';
        case ':':
            cli_usage("option '%s' needs a value", argv[optind - 1]);
            return '?';
        case '?':
            return unknown_option(argv[optind - 1]);
        default:
            return option;
        }
    }
}

int cli_open(const char *dir, uint32_t flags, bitcask **ret_db)
{
    bitcask_options options = store_options;
    options.flags |= flags;
    options.log = cli_log();
    int result = bitcask_open(dir, &options, ret_db);
    for (int tries = 1; result == BITCASK_BUSY && tries < BUSY_TRIES; tries++) {
        nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
        result = bitcask_open(dir, &options, ret_db);
    }
    if (result == BITCASK_OK)
        return CLI_OK;
    return result == BITCASK_INVALID ? cli_result(result) : cli_failed(CLI_ERROR, dir);
}

int cli_close(bitcask *db, int code)
{
    if (bitcask_close(db) == BITCASK_OK)
        return code;
    cli_say(CLI_ERROR, "%s", bitcask_last_error()->message);
    return code == CLI_OK ? CLI_ERROR : code;
}
