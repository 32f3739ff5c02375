/* cmd_put.c - bitcask put: stores one value. */
#include <stdlib.h>
#include <string.h>

#include "tools/bytes.h"
#include "tools/cli.h"
#include "tools/expiry.h"

struct put {
    const char *dir;
    struct cli_bytes key;
    struct cli_bytes value;
    bool from_stdin;
    bool hex;
    struct expiry expiry;
    bitcask_put_options options;
};

/* The store is opened before stdin is read: what cannot be stored is not waited for. */
static int store(struct put *put)
{
    bitcask *db;
    int code = cli_open(put->dir, 0, &db);
    if (code != CLI_OK)
        return code;
    if (put->from_stdin)
        code = cli_stdin(put->hex, &put->value);
    if (code == CLI_OK)
        code = expiry_resolve(&put->expiry, db, &put->options.expire_at_ms);
    if (code == CLI_OK)
        code = cli_result(bitcask_put(db, put->key.data, put->key.size, put->value.data, put->value.size, &put->options, NULL));
    return cli_close(db, code);
}

static int parse(int argc, char **argv, struct put *put)
{
    static const struct option long_options[] = {
        {"hex", no_argument, NULL, 'x'},
        {"ttl", required_argument, NULL, 't'},
        {"expire-at", required_argument, NULL, 'e'},
        {"if-absent", no_argument, NULL, 'a'},
        {"if-present", no_argument, NULL, 'p'},
        {"sync", no_argument, NULL, 's'},
        {0},
    };
    for (int option; (option = cli_option(argc, argv, "x", long_options, &cli_put)) != -1;) {
        int code = CLI_OK;
        switch (option) {
        case 'x':
            put->hex = true;
            break;
        case 't':
            code = expiry_ttl(&put->expiry, optarg);
            break;
        case 'e':
            code = expiry_at(&put->expiry, optarg);
            break;
        case 'a':
            put->options.flags |= BITCASK_PUT_IF_ABSENT;
            break;
        case 'p':
            put->options.flags |= BITCASK_PUT_IF_PRESENT;
            break;
        case 's':
            put->options.flags |= BITCASK_PUT_SYNC;
            break;
        case 'h':
            return -1;
        default:
            return CLI_USAGE;
        }
        if (code != CLI_OK)
            return code;
    }
    if (put->expiry.ttl && put->expiry.expire_at)
        return cli_usage("--ttl and --expire-at exclude each other");
    uint32_t both = BITCASK_PUT_IF_ABSENT | BITCASK_PUT_IF_PRESENT;
    if ((put->options.flags & both) == both)
        return cli_usage("--if-absent and --if-present exclude each other");
    if (argc - optind < 2)
        return cli_usage("DIR and KEY are needed");
    if (argc - optind > 3)
        return cli_usage("too many arguments");
    return CLI_OK;
}

static int run(int argc, char **argv)
{
    struct put put = {.options = BITCASK_PUT_OPTIONS_INIT};
    int code = parse(argc, argv, &put);
    if (code != CLI_OK)
        return code < 0 ? CLI_OK : code;
    put.dir = argv[optind];
    const char *value = argv[optind + 2];
    put.from_stdin = !value || strcmp(value, "-") == 0;

    code = cli_key(argv[optind + 1], put.hex, &put.key);
    if (code == CLI_OK && !put.from_stdin)
        code = cli_argument("VALUE", value, put.hex, &put.value);
    if (code == CLI_OK)
        code = store(&put);
    free(put.key.data);
    free(put.value.data);
    return code;
}

const struct cli_command cli_put = {
    .name = "put",
    .summary = "store a value under a key",
    .help = "usage: bitcask put [OPTIONS] DIR KEY [VALUE]\n"
            "\n"
            "Stores VALUE under KEY in the store DIR, which is created if it is absent. Without VALUE, or with '-', the value\n"
            "is all of stdin, whatever its bytes. The store is held for writing until stdin ends.\n"
            "\n"
            "  -x, --hex            KEY and the value are hex; white space in them is ignored\n"
            "      --ttl SECONDS    expire so many seconds from now\n"
            "      --expire-at MS   expire at this time, in Unix milliseconds; 0 = never\n"
            "      --if-absent      only if the key is absent or expired\n"
            "      --if-present     only if the key is present\n"
            "      --sync           durable before the command ends, also across a power failure\n"
            "  -q, --quiet          no remark when the condition does not hold\n" CLI_STORE_OPTIONS "\n"
            "Exit codes: 0 stored, 1 the condition did not hold, 2 usage, 3 error (in use by another writer, no space, ...).\n"
            "\n"
            "Examples:\n"
            "  bitcask put sessions user:17 Ada\n"
            "  bitcask put --ttl 1800 --if-absent sessions lock:17 held\n"
            "  tar cz etc | bitcask put --sync backups etc.tar.gz\n",
    .run = run,
};
