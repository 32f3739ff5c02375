/* cmd_delete.c - bitcask delete: removes one key. */
#include <stdlib.h>

#include "tools/bytes.h"
#include "tools/cli.h"

static int delete_key(const char *dir, const struct cli_bytes *key, const bitcask_put_options *options)
{
    bitcask *db;
    int code = cli_open(dir, BITCASK_OPEN_NO_CREATE, &db);
    if (code != CLI_OK)
        return code;
    return cli_close(db, cli_result(bitcask_delete(db, key->data, key->size, options, NULL)));
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {{"hex", no_argument, NULL, 'x'}, {"sync", no_argument, NULL, 's'}, {0}};
    bitcask_put_options options = BITCASK_PUT_OPTIONS_INIT;
    bool hex = false;
    for (int option; (option = cli_option(argc, argv, "x", long_options, &cli_delete)) != -1;) {
        if (option == 'h')
            return CLI_OK;
        if (option == '?')
            return CLI_USAGE;
        if (option == 'x')
            hex = true;
        else
            options.flags |= BITCASK_PUT_SYNC;
    }
    if (argc - optind != 2)
        return cli_usage(argc - optind < 2 ? "DIR and KEY are needed" : "too many arguments");

    struct cli_bytes key = {0};
    int code = cli_key(argv[optind + 1], hex, &key);
    if (code != CLI_OK)
        return code;
    code = delete_key(argv[optind], &key, &options);
    free(key.data);
    return code;
}

const struct cli_command cli_delete = {
    .name = "delete",
    .summary = "delete a key",
    .help = "usage: bitcask delete [OPTIONS] DIR KEY\n"
            "\n"
            "Deletes KEY from the store DIR.\n"
            "\n"
            "  -x, --hex            KEY is hex\n"
            "      --sync           durable before the command ends, also across a power failure\n"
            "  -q, --quiet          no remark when the key is absent\n" CLI_STORE_OPTIONS "\n"
            "Exit codes: 0 deleted, 1 absent or expired, 2 usage, 3 error (no store, in use by another writer, ...).\n"
            "\n"
            "Example:\n"
            "  bitcask delete --sync sessions user:17\n",
    .run = run,
};
