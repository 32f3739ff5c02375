/* cmd_touch.c - bitcask touch: a new expiry for a key. */
#include <stdlib.h>

#include "tools/bytes.h"
#include "tools/cli.h"
#include "tools/expiry.h"

static int touch(const char *dir, const struct cli_bytes *key, const struct expiry *expiry, uint32_t flags)
{
    bitcask *db;
    int code = cli_open(dir, BITCASK_OPEN_NO_CREATE, &db);
    if (code != CLI_OK)
        return code;
    int64_t expire_at_ms;
    code = expiry_resolve(expiry, db, &expire_at_ms);
    if (code == CLI_OK)
        code = cli_result(bitcask_touch(db, key->data, key->size, expire_at_ms, flags));
    return cli_close(db, code);
}

struct touch {
    bool hex, persist;
    uint32_t flags;
    struct expiry expiry;
};

static int parse(int argc, char **argv, struct touch *touch)
{
    static const struct option long_options[] = {
        {"hex", no_argument, NULL, 'x'},     {"ttl", required_argument, NULL, 't'}, {"expire-at", required_argument, NULL, 'e'},
        {"persist", no_argument, NULL, 'p'}, {"sync", no_argument, NULL, 's'},      {0}};
    for (int option; (option = cli_option(argc, argv, "x", long_options, &cli_touch)) != -1;) {
        int code = CLI_OK;
        if (option == 'h')
            return -1;
        if (option == '?')
            return CLI_USAGE;
        if (option == 'x')
            touch->hex = true;
        else if (option == 'p')
            touch->persist = true;
        else if (option == 's')
            touch->flags |= BITCASK_PUT_SYNC;
        else
            code = option == 't' ? expiry_ttl(&touch->expiry, optarg) : expiry_at(&touch->expiry, optarg);
        if (code != CLI_OK)
            return code;
    }
    if (touch->expiry.ttl + touch->expiry.expire_at + touch->persist != 1)
        return cli_usage("one of --ttl, --expire-at and --persist is needed");
    if (argc - optind != 2)
        return cli_usage(argc - optind < 2 ? "DIR and KEY are needed" : "too many arguments");
    return CLI_OK;
}

static int run(int argc, char **argv)
{
    struct touch options = {0};
    int code = parse(argc, argv, &options);
    if (code != CLI_OK)
        return code < 0 ? CLI_OK : code;
    struct cli_bytes key = {0};
    code = cli_key(argv[optind + 1], options.hex, &key);
    if (code != CLI_OK)
        return code;
    code = touch(argv[optind], &key, &options.expiry, options.flags);
    free(key.data);
    return code;
}

const struct cli_command cli_touch = {
    .name = "touch",
    .summary = "give a key a new expiry",
    .help = "usage: bitcask touch [OPTIONS] --ttl SECONDS|--expire-at MS|--persist DIR KEY\n"
            "\n"
            "Gives KEY in the store DIR a new expiry and keeps its value.\n"
            "\n"
            "      --ttl SECONDS    expire so many seconds from now\n"
            "      --expire-at MS   expire at this time, in Unix milliseconds; 0 = never\n"
            "      --persist        never expire\n"
            "  -x, --hex            KEY is hex\n"
            "      --sync           durable before the command ends, also across a power failure\n"
            "  -q, --quiet          no remark when the key is absent\n" CLI_STORE_OPTIONS "\n"
            "Exit codes: 0 done, 1 absent or expired, 2 usage, 3 error (no store, in use by another writer, ...).\n"
            "\n"
            "Examples:\n"
            "  bitcask touch --ttl 1800 sessions user:17\n"
            "  bitcask touch --persist sessions user:17\n",
    .run = run,
};
