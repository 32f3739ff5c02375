/* cmd_get.c - bitcask get: one value to stdout. */
#include <stdlib.h>

#include "tools/bytes.h"
#include "tools/cli.h"
#include "tools/output.h"

static int get(const char *dir, const struct cli_bytes *key, bool hex, uint32_t flags)
{
    bitcask *db;
    int code = cli_open(dir, BITCASK_OPEN_READ_ONLY | BITCASK_OPEN_NO_CREATE | flags, &db);
    if (code != CLI_OK)
        return code;
    void *value;
    size_t size;
    code = cli_result(bitcask_get(db, key->data, key->size, &value, &size));
    if (code == CLI_OK) {
        if (hex) {
            cli_write_hex(value, size);
            cli_print("\n");
        } else {
            cli_write(value, size);
        }
        bitcask_free(value);
    }
    return cli_close(db, code);
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {{"hex", no_argument, NULL, 'x'}, {"salvage", no_argument, NULL, 'S'}, {0}};
    bool hex = false;
    uint32_t flags = 0;
    for (int option; (option = cli_option(argc, argv, "x", long_options, &cli_get)) != -1;) {
        if (option == 'h')
            return CLI_OK;
        if (option == '?')
            return CLI_USAGE;
        if (option == 'x')
            hex = true;
        else
            flags |= BITCASK_OPEN_SALVAGE;
    }
    if (argc - optind != 2)
        return cli_usage(argc - optind < 2 ? "DIR and KEY are needed" : "too many arguments");

    struct cli_bytes key = {0};
    int code = cli_key(argv[optind + 1], hex, &key);
    if (code != CLI_OK)
        return code;
    code = get(argv[optind], &key, hex, flags);
    free(key.data);
    return code;
}

const struct cli_command cli_get = {
    .name = "get",
    .summary = "print the value of a key",
    .help = "usage: bitcask get [OPTIONS] DIR KEY\n"
            "\n"
            "Prints the value of KEY in the store DIR: its bytes and nothing else. Works beside a program that has the\n"
            "store open for writing, and shows the moment of the call.\n"
            "\n"
            "  -x, --hex            KEY is hex, the value is printed as a line of hex\n"
            "      --salvage        what can be read of a damaged store, possibly an older value\n"
            "  -q, --quiet          no remark when the key is absent\n" CLI_STORE_OPTIONS "\n"
            "Exit codes: 0 printed, 1 absent or expired, 2 usage, 3 error (no store, damage, output failed).\n"
            "\n"
            "Examples:\n"
            "  bitcask get sessions user:17\n"
            "  bitcask get --hex sessions 00ff | xxd -r -p > value\n",
    .run = run,
};
