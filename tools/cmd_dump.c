/* cmd_dump.c - bitcask dump: all of a store, or a part, in a form that other programs load. */
#include <stdio.h>
#include <unistd.h>

#include "tools/dumpfile.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/walk.h"

#define LMDB_KEY_MAX 511

struct dump {
    const struct dump_format *format;
    bool begun;
    bool bar;
    uint64_t total; /* keys, if all are dumped */
    uint64_t records;
    uint64_t expiring; /* keys whose expiry the format does not carry */
    uint64_t long_keys;
};

static void begin(struct walk *walk, bitcask *db)
{
    struct dump *dump = walk->ctx;
    bitcask_stats stats = BITCASK_STATS_INIT;
    bitcask_stats_get(db, &stats);
    dump->total = walk->options.prefix.size || walk->options.first.data || walk->options.last.data || walk->options.limit
                      ? 0
                      : stats.keys;
    dump->format->writer->begin(&(struct dump_about){.live_bytes = stats.live_bytes, .printable = walk->printable});
    dump->begun = true;
}

/* Nothing of a record is printed before all of it is known to be good. */
static int print_record(struct walk *walk, bitcask_iter *iter)
{
    struct dump *dump = walk->ctx;
    bitcask_slice key = bitcask_iter_key(iter), value;
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    int result = bitcask_iter_value(iter, &value);
    if (result == BITCASK_OK)
        result = bitcask_iter_info(iter, &info);
    if (result != BITCASK_OK)
        return result;
    dump->format->writer->record(key, value, info.expire_at_ms);
    dump->records++;
    dump->expiring += info.expire_at_ms != 0 && !dump->format->expires;
    dump->long_keys += key.size > LMDB_KEY_MAX;
    if (dump->bar && dump->records % 256 == 0)
        progress_show("dump", dump->records, dump->total, NULL);
    return BITCASK_OK;
}

static void remarks(const struct dump *dump)
{
    if (cli_quiet())
        return;
    if (dump->expiring > 0)
        cli_say(CLI_OK, "%ju keys expire, which this format does not carry: json and resp do", (uintmax_t)dump->expiring);
    if (dump->long_keys > 0 && dump->format->writer == &dump_lmdb_writer)
        cli_say(CLI_OK, "%ju keys are longer than the %d bytes that LMDB takes: mdb_load will stop there",
                (uintmax_t)dump->long_keys, LMDB_KEY_MAX);
}

/* The end says whether all is there, as far as the format can. */
static int end(const struct walk *walk, const struct dump *dump, int code)
{
    char why[64] = "it ended early";
    progress_lock();
    progress_erase();
    progress_unlock();
    if (!dump->begun)
        return code;
    if (walk->damaged > 0)
        snprintf(why, sizeof why, "%ju records could not be read", (uintmax_t)walk->damaged);
    dump->format->writer->end(code == CLI_OK ? NULL : why);
    remarks(dump);
    return code;
}

static int run(int argc, char **argv)
{
    struct walk walk;
    struct dump dump = {.format = dump_format_find("json"), .bar = !isatty(STDOUT_FILENO)};
    int code = walk_parse(&walk, argc, argv, walk_dump_options, &cli_dump);
    walk.begin = begin;
    walk.ctx = &dump;
    if (code == CLI_OK && walk.format && !(dump.format = dump_format_find(walk.format)))
        code = cli_usage("--format takes json, db, lmdb or resp, not '%s'", walk.format);
    if (code == CLI_OK && walk.printable && dump.format->first != 'V')
        code = cli_usage("--print is for the formats db and lmdb");
    if (code == CLI_OK && dump.format->binary && isatty(STDOUT_FILENO))
        code = cli_usage("--format %s is not for a terminal: redirect it", dump.format->name);
    if (code == CLI_OK) {
        cli_output_quiet_pipe();
        progress_catch_signals();
        code = end(&walk, &dump, walk_run(&walk, print_record));
    }
    walk_free(&walk);
    return code < 0 ? CLI_OK : code;
}

const struct cli_command cli_dump = {
    .name = "dump",
    .summary = "write all keys and values, for load and other programs",
    .help =
        "usage: bitcask dump [OPTIONS] DIR\n"
        "\n"
        "Writes the keys of the store DIR with their values to stdout, byte for byte, in a form that bitcask load and other\n"
        "programs read. Works beside a program that has the store open for writing, and shows one moment; keys that\n"
        "expired are left out. A damaged record is reported and left out, the dump goes on, and its end is such that\n"
        "whatever loads it sees that something is missing.\n"
        "\n"
        "      --format NAME    json (default): JSON Lines, an object a record, with the expiry\n"
        "                       db: what db_load of Berkeley DB reads; without expiry\n"
        "                       lmdb: what mdb_load of LMDB reads; without expiry\n"
        "                       resp: what redis-cli --pipe reads, with the expiry\n"
        "      --print          db, lmdb: printable characters as they are, not as hex\n"
        "      --prefix P       only keys that start with P\n"
        "      --first K        only keys from K on, in the order of bytes\n"
        "      --last K         only keys up to K, itself included\n"
        "      --limit N        at most N keys\n"
        "      --sorted         in the order of bytes; keeps all these keys in memory\n"
        "  -x, --hex            P and K are hex\n"
        "      --salvage        what can be read of a damaged store, possibly older values\n"
        "  -q, --quiet          no remarks, no bar\n" CLI_STORE_OPTIONS "\n"
        "Exit codes: 0 all written, 2 usage, 3 error (no store, damage, interrupted, output failed).\n"
        "\n"
        "Examples:\n"
        "  bitcask dump sessions > sessions.jsonl\n"
        "  bitcask dump --prefix user: sessions | bitcask load users\n"
        "  bitcask dump --format lmdb sessions | mdb_load lmdb-directory\n"
        "  bitcask dump --format db sessions | db_load sessions.db\n"
        "  bitcask dump --format resp sessions | redis-cli --pipe\n",
    .run = run,
};
