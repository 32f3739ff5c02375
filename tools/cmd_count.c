/* cmd_count.c - bitcask count: how many keys there are. */
#include <inttypes.h>

#include "tools/output.h"
#include "tools/walk.h"

static uint64_t counted;

static int count_key(struct walk *walk, bitcask_iter *iter)
{
    (void)walk;
    (void)iter;
    counted++;
    return BITCASK_OK;
}

static int run(int argc, char **argv)
{
    struct walk walk;
    int code = walk_parse(&walk, argc, argv, walk_count_options, &cli_count);
    walk.options.flags |= BITCASK_ITER_KEYS_ONLY;
    if (code == CLI_OK) {
        code = walk_run(&walk, count_key);
        if (code == CLI_OK)
            cli_print("%" PRIu64 "\n", counted);
    }
    walk_free(&walk);
    return code < 0 ? CLI_OK : code;
}

const struct cli_command cli_count = {
    .name = "count",
    .summary = "count the keys",
    .help =
        "usage: bitcask count [OPTIONS] DIR\n"
        "\n"
        "Prints how many keys the store DIR has; those that expired do not count. Works beside a program that has the store\n"
        "open for writing.\n"
        "\n"
        "      --prefix P       only keys that start with P\n"
        "  -x, --hex            P is hex\n"
        "      --salvage        what can be read of a damaged store\n"
        "  -q, --quiet          errors only\n" CLI_STORE_OPTIONS "\n"
        "Exit codes: 0 counted (also if there were none), 2 usage, 3 error (no store, damage, output failed).\n"
        "\n"
        "Example:\n"
        "  bitcask count --prefix user: sessions\n",
    .run = run,
};
