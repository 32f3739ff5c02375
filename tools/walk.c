#include "tools/walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/output.h"
#include "tools/progress.h"

const struct option walk_options[] = {
    {"prefix", required_argument, NULL, 'p'}, {"first", required_argument, NULL, 'f'}, {"last", required_argument, NULL, 'l'},
    {"limit", required_argument, NULL, 'n'},  {"sorted", no_argument, NULL, 's'},      {"hex", no_argument, NULL, 'x'},
    {"json", no_argument, NULL, 'j'},         {"salvage", no_argument, NULL, 'S'},     {0},
};

const struct option walk_dump_options[] = {
    {"format", required_argument, NULL, 'F'}, {"print", no_argument, NULL, 'P'},
    {"prefix", required_argument, NULL, 'p'}, {"first", required_argument, NULL, 'f'},
    {"last", required_argument, NULL, 'l'},   {"limit", required_argument, NULL, 'n'},
    {"sorted", no_argument, NULL, 's'},       {"hex", no_argument, NULL, 'x'},
    {"salvage", no_argument, NULL, 'S'},      {0},
};

const struct option walk_count_options[] = {
    {"prefix", required_argument, NULL, 'p'},
    {"hex", no_argument, NULL, 'x'},
    {"salvage", no_argument, NULL, 'S'},
    {0},
};

struct texts {
    const char *prefix, *first, *last;
};

static int take(struct walk *walk, int option, struct texts *texts)
{
    switch (option) {
    case 'p':
        texts->prefix = optarg;
        return CLI_OK;
    case 'f':
        texts->first = optarg;
        return CLI_OK;
    case 'l':
        texts->last = optarg;
        return CLI_OK;
    case 'n':
        if (!cli_number(optarg, UINT64_MAX, &walk->options.limit) || walk->options.limit == 0)
            return cli_usage("--limit takes a number from 1 up, not '%s'", optarg);
        return CLI_OK;
    case 's':
        walk->options.flags |= BITCASK_ITER_SORTED;
        return CLI_OK;
    case 'x':
        walk->hex = true;
        return CLI_OK;
    case 'j':
        walk->json = true;
        return CLI_OK;
    case 'F':
        walk->format = optarg;
        return CLI_OK;
    case 'P':
        walk->printable = true;
        return CLI_OK;
    case 'S':
        walk->open_flags |= BITCASK_OPEN_SALVAGE;
        return CLI_OK;
    default:
        return option == 'h' ? -1 : CLI_USAGE;
    }
}

/* --hex may stand after what it applies to. */
static int bound(const char *what, const char *text, bool hex, struct cli_bytes *bytes, bitcask_slice *ret)
{
    if (!text)
        return CLI_OK;
    int code = cli_argument(what, text, hex, bytes);
    if (code == CLI_OK)
        *ret = (bitcask_slice){bytes->data, bytes->size};
    return code;
}

int walk_parse(struct walk *walk, int argc, char **argv, const struct option *options, const struct cli_command *command)
{
    struct texts texts = {0};
    *walk = (struct walk){.options = BITCASK_ITER_OPTIONS_INIT, .open_flags = BITCASK_OPEN_READ_ONLY | BITCASK_OPEN_NO_CREATE};
    for (int option; (option = cli_option(argc, argv, "x", options, command)) != -1;) {
        int code = take(walk, option, &texts);
        if (code != CLI_OK)
            return code;
    }
    if (argc - optind != 1)
        return cli_usage(argc == optind ? "DIR is needed" : "too many arguments");
    walk->dir = argv[optind];
    int code = bound("--prefix", texts.prefix, walk->hex, &walk->prefix, &walk->options.prefix);
    if (code == CLI_OK)
        code = bound("--first", texts.first, walk->hex, &walk->first, &walk->options.first);
    if (code == CLI_OK)
        code = bound("--last", texts.last, walk->hex, &walk->last, &walk->options.last);
    return code;
}

void walk_free(struct walk *walk)
{
    free(walk->prefix.data);
    free(walk->first.data);
    free(walk->last.data);
}

static int each(struct walk *walk, bitcask_iter *iter, int (*item)(struct walk *walk, bitcask_iter *iter))
{
    while (!cli_output_failed() && !progress_interrupted()) {
        int result = bitcask_iter_next(iter);
        if (result != BITCASK_OK)
            return result == BITCASK_NOT_FOUND ? BITCASK_OK : result;
        result = item(walk, iter);
        if (result == BITCASK_CORRUPT || result == BITCASK_IO) {
            cli_say(CLI_ERROR, "%s", bitcask_last_error()->message);
            walk->damaged++;
        } else if (result != BITCASK_OK) {
            return result;
        }
    }
    return BITCASK_OK;
}

static int summary(const struct walk *walk)
{
    int code = CLI_OK;
    if (progress_interrupted())
        code = cli_say(CLI_ERROR, "interrupted");
    if (walk->damaged > 0)
        code = cli_say(CLI_ERROR, "%ju records could not be read", (uintmax_t)walk->damaged);
    if (walk->left_out > 0)
        code = cli_say(CLI_ERROR, "%ju keys were left out, as no line can carry them: use --hex or --json",
                       (uintmax_t)walk->left_out);
    return code;
}

int walk_run(struct walk *walk, int (*item)(struct walk *walk, bitcask_iter *iter))
{
    bitcask *db;
    int code = cli_open(walk->dir, walk->open_flags, &db);
    if (code != CLI_OK)
        return code;
    bitcask_iter *iter;
    int result = bitcask_iter_new(db, &walk->options, &iter);
    if (result == BITCASK_OK) {
        if (walk->begin)
            walk->begin(walk, db);
        result = each(walk, iter, item);
        bitcask_iter_free(iter);
    }
    code = cli_result(result);
    int more = summary(walk);
    return cli_close(db, code == CLI_OK ? more : code);
}

bool walk_print_key(struct walk *walk, bitcask_slice key, const char *separators)
{
    if (walk->hex) {
        cli_write_hex(key.data, key.size);
        return true;
    }
    for (; *separators; separators++) {
        if (memchr(key.data, *separators, key.size)) {
            walk->left_out++;
            return false;
        }
    }
    cli_write_shown(key.data, key.size);
    return true;
}
