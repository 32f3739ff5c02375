/* cmd_list.c - bitcask list: the keys of a store. */
#include "tools/output.h"
#include "tools/walk.h"

static int print_key(struct walk *walk, bitcask_iter *iter)
{
    bitcask_slice key = bitcask_iter_key(iter);
    if (!walk->json) {
        if (walk_print_key(walk, key, "\n"))
            cli_print("\n");
        return BITCASK_OK;
    }
    if (cli_is_utf8(key.data, key.size)) {
        cli_write_json(key.data, key.size);
        cli_print("\n");
    } else {
        cli_print("{");
        cli_write_json_member("key", key.data, key.size);
        cli_print("}\n");
    }
    return BITCASK_OK;
}

static int run(int argc, char **argv)
{
    struct walk walk;
    int code = walk_parse(&walk, argc, argv, walk_options, &cli_list);
    walk.options.flags |= BITCASK_ITER_KEYS_ONLY;
    if (code == CLI_OK)
        code = walk_run(&walk, print_key);
    walk_free(&walk);
    return code < 0 ? CLI_OK : code;
}

const struct cli_command cli_list = {
    .name = "list",
    .summary = "print the keys",
    .help = "usage: bitcask list [OPTIONS] DIR\n"
            "\n"
            "Prints the keys of the store DIR, one a line, in no order unless --sorted. Works beside a program that has the\n"
            "store open for writing, and shows one moment. Keys with a newline are left out and reported, unless --hex or\n"
            "--json is given.\n"
            "\n"
            "      --prefix P       only keys that start with P\n"
            "      --first K        only keys from K on, in the order of bytes\n"
            "      --last K         only keys up to K, itself included\n"
            "      --limit N        at most N keys\n"
            "      --sorted         in the order of bytes; keeps all these keys in memory\n"
            "  -x, --hex            P and K are hex, and so are the keys that are printed\n"
            "      --json           a JSON string a line, or {\"key_b64\":...} for a key that is not UTF-8\n"
            "      --salvage        what can be read of a damaged store, possibly older values\n"
            "  -q, --quiet          errors only\n" CLI_STORE_OPTIONS "\n"
            "Exit codes: 0 all printed (also if there were none), 2 usage, 3 error (no store, keys left out, output failed).\n"
            "\n"
            "Examples:\n"
            "  bitcask list --prefix user: --sorted sessions\n"
            "  bitcask list --json sessions\n",
    .run = run,
};
