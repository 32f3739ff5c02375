/* cmd_scan.c - bitcask scan: the keys of a store with their values. */
#include <inttypes.h>

#include "tools/output.h"
#include "tools/walk.h"

static int print_json(bitcask_iter *iter, bitcask_slice key, bitcask_slice value)
{
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    int result = bitcask_iter_info(iter, &info);
    if (result != BITCASK_OK)
        return result;
    cli_print("{");
    cli_write_json_member("key", key.data, key.size);
    cli_print(",");
    cli_write_json_member("value", value.data, value.size);
    cli_print(",\"expire_at_ms\":%" PRId64 ",\"sequence\":%" PRIu64 "}\n", info.expire_at_ms, info.sequence);
    return BITCASK_OK;
}

/* Nothing of a record is printed before all of it is known to be good. */
static int print_record(struct walk *walk, bitcask_iter *iter)
{
    bitcask_slice key = bitcask_iter_key(iter), value;
    int result = bitcask_iter_value(iter, &value);
    if (result != BITCASK_OK)
        return result;
    if (walk->json)
        return print_json(iter, key, value);
    if (!walk_print_key(walk, key, "\t\n"))
        return BITCASK_OK;
    cli_print("\t");
    if (walk->hex)
        cli_write_hex(value.data, value.size);
    else
        cli_write_shown(value.data, value.size);
    cli_print("\n");
    return BITCASK_OK;
}

static int run(int argc, char **argv)
{
    struct walk walk;
    int code = walk_parse(&walk, argc, argv, walk_options, &cli_scan);
    if (code == CLI_OK)
        code = walk_run(&walk, print_record);
    walk_free(&walk);
    return code < 0 ? CLI_OK : code;
}

const struct cli_command cli_scan = {
    .name = "scan",
    .summary = "print the keys with their values",
    .help =
        "usage: bitcask scan [OPTIONS] DIR\n"
        "\n"
        "Prints the keys of the store DIR with their values: key, TAB, value, newline, in no order unless --sorted. Values\n"
        "are printed as they are, newlines included: --hex and --json are the forms that can be read back. Keys with a TAB\n"
        "or a newline are left out and reported, unless one of these is given. A damaged record is reported, the walk goes\n"
        "on. Works beside a program that has the store open for writing, and shows one moment.\n"
        "\n"
        "      --prefix P       only keys that start with P\n"
        "      --first K        only keys from K on, in the order of bytes\n"
        "      --last K         only keys up to K, itself included\n"
        "      --limit N        at most N keys\n"
        "      --sorted         in the order of bytes; keeps all these keys in memory\n"
        "  -x, --hex            P and K are hex, and so are keys and values that are printed\n"
        "      --json           an object a line; key_b64 and value_b64 stand for what is not UTF-8\n"
        "      --salvage        what can be read of a damaged store, possibly older values\n"
        "  -q, --quiet          errors only\n" CLI_STORE_OPTIONS "\n"
        "Exit codes: 0 all printed (also if there were none), 2 usage, 3 error (no store, damage, keys left out, output\n"
        "failed).\n"
        "\n"
        "Examples:\n"
        "  bitcask scan --prefix user: --limit 10 sessions\n"
        "  bitcask scan --json sessions > sessions.jsonl\n",
    .run = run,
};
