/* cmd_load.c - bitcask load: puts what a dump holds into a store. */
#include "tools/cli.h"
#include "tools/dumpfile.h"
#include "tools/input.h"
#include "tools/output.h"
#include "tools/progress.h"

struct load {
    const char *dir;
    const struct dump_format *format;
    bool if_absent;
    struct dump_choice choice;

    bitcask *db;
    bitcask_batch *batch; /* for steps of several records */
    struct input input;
    uint64_t loaded, deletes, present, expired;
};

/* Puts, not batches: a put is faster, as it copies once, and what was read is in the store at once, whatever comes next. */
static int put(struct load *load, const struct dump_record *record, int64_t expire_at_ms)
{
    bitcask_put_options options = BITCASK_PUT_OPTIONS_INIT;
    options.flags = load->if_absent ? BITCASK_PUT_IF_ABSENT : 0;
    options.expire_at_ms = expire_at_ms;
    int result =
        bitcask_put(load->db, record->key.data, record->key.size, record->value.data, record->value.size, &options, NULL);
    if (result == BITCASK_CONDITION) {
        load->present++;
        return BITCASK_OK;
    }
    load->loaded += result == BITCASK_OK;
    return result;
}

static int erase(struct load *load, const struct dump_record *record)
{
    int result = bitcask_delete(load->db, record->key.data, record->key.size, NULL, NULL);
    return result == BITCASK_NOT_FOUND ? BITCASK_OK : result;
}

/* What has expired on the way still takes the place of what the store has: nothing is left of it. */
static int apply_expired(struct load *load, const struct dump_record *record)
{
    load->expired++;
    return load->if_absent ? BITCASK_OK : erase(load, record);
}

static int apply_one(struct load *load, const struct dump_record *record)
{
    int64_t expire_at_ms = record->expire_at_ms;
    if (record->operation == DUMP_DELETE) {
        load->deletes++;
        return erase(load, record);
    }
    if (record->ttl_ms || expire_at_ms) {
        int64_t now = bitcask_now_ms(load->db);
        if (record->ttl_ms)
            expire_at_ms = record->ttl_ms > (uint64_t)(INT64_MAX - now) ? INT64_MAX : now + (int64_t)record->ttl_ms;
        if (expire_at_ms <= now)
            return apply_expired(load, record);
    }
    if (record->operation == DUMP_PUT)
        return put(load, record, expire_at_ms);
    int result = bitcask_touch(load->db, record->key.data, record->key.size, expire_at_ms, 0);
    return result == BITCASK_NOT_FOUND ? BITCASK_OK : result;
}

/* Several records are all puts or all deletes, and none expires. */
static int apply_batch(struct load *load, const struct dump_step *step)
{
    int result = load->batch ? BITCASK_OK : bitcask_batch_new(&load->batch);
    for (size_t i = 0; i < step->count && result == BITCASK_OK; i++) {
        const struct dump_record *record = &step->records[i];
        if (record->operation == DUMP_PUT)
            result =
                bitcask_batch_put(load->batch, record->key.data, record->key.size, record->value.data, record->value.size, 0);
        else
            result = bitcask_batch_delete(load->batch, record->key.data, record->key.size);
    }
    if (result == BITCASK_OK)
        result = bitcask_write(load->db, load->batch, 0);
    if (load->batch)
        bitcask_batch_clear(load->batch);
    if (result == BITCASK_OK)
        *(step->records[0].operation == DUMP_PUT ? &load->loaded : &load->deletes) += step->count;
    return result;
}

static enum input_result apply(struct load *load, const struct dump_step *step)
{
    int result = BITCASK_OK;
    if (load->if_absent && step->count > 0 && step->records[0].operation != DUMP_PUT)
        return input_bad(&load->input, "with --if-absent nothing is deleted or changed, which this command asks for");
    if (step->count > 1 && !load->if_absent)
        result = apply_batch(load, step);
    for (size_t i = 0; (step->count == 1 || load->if_absent) && i < step->count && result == BITCASK_OK; i++)
        result = apply_one(load, &step->records[i]);
    return result == BITCASK_OK ? INPUT_OK : input_bad(&load->input, "%s", bitcask_last_error()->message);
}

static enum input_result apply_all(struct load *load, void *state)
{
    const struct dump_reader *reader = load->format->reader;
    struct dump_step step;
    enum input_result result;
    while ((result = reader->next(state, &load->input, &step)) == INPUT_OK && (result = apply(load, &step)) == INPUT_OK) {
        if (progress_interrupted() && !load->input.ended) {
            load->input.interrupted = load->input.ended = true;
            return input_cut(&load->input, "");
        }
    }
    return result;
}

static void figures(const struct load *load)
{
    static const char *const names[] = {"deletes", "present", "expired"};
    const uint64_t counts[] = {load->deletes, load->present, load->expired};
    if (cli_quiet())
        return;
    cli_print("loaded   %ju\n", (uintmax_t)load->loaded);
    for (size_t i = 0; i < 3; i++) {
        if (counts[i] > 0)
            cli_print("%s  %ju\n", names[i], (uintmax_t)counts[i]);
    }
}

/* Whatever ended it: what was loaded is made durable, and said. */
static int finish(struct load *load, enum input_result result)
{
    int synced = bitcask_sync(load->db);
    progress_lock();
    progress_erase();
    progress_unlock();
    if (result == INPUT_BAD)
        cli_say(CLI_ERROR, "%s", load->input.problem);
    if (synced != BITCASK_OK)
        return cli_say(CLI_ERROR, "%ju records were loaded, but may not survive a power failure: %s", (uintmax_t)load->loaded,
                       bitcask_last_error()->message);
    if (result == INPUT_BAD)
        return cli_say(CLI_ERROR, "the %ju records before that were loaded and are durable, nothing after them",
                       (uintmax_t)load->loaded);
    figures(load);
    return CLI_OK;
}

/* By the first byte, if it was not said; nothing is taken. */
static int find_format(struct load *load)
{
    if (!load->format) {
        int first = input_peek(&load->input);
        if (load->input.interrupted || load->input.error) {
            input_cut(&load->input, "");
            return cli_say(CLI_ERROR, "%s", load->input.problem);
        }
        if (first < 0)
            return cli_say(CLI_ERROR, "stdin is empty: is that meant? then say --format json or resp");
        load->format = dump_format_guess(first);
        if (!load->format)
            return cli_say(CLI_ERROR, "stdin is no dump: it begins with none of VERSION=3, '{' and '*'");
    }
    return CLI_OK;
}

static int read_all(struct load *load)
{
    int code = find_format(load);
    if (code != CLI_OK)
        return code;
    load->input.by_line = load->format->reader->by_line;
    void *state = load->format->reader->open(&load->choice);
    if (!state)
        return cli_say(CLI_ERROR, "out of memory");
    code = finish(load, apply_all(load, state));
    load->format->reader->close(state);
    return code;
}

/* The store is opened before stdin is read: what cannot be stored is not waited for. */
static int load_dump(struct load *load)
{
    int code = cli_open(load->dir, 0, &load->db);
    if (code != CLI_OK)
        return code;
    progress_catch_signals();
    code = input_open(&load->input);
    if (code == CLI_OK)
        code = read_all(load);
    input_free(&load->input);
    bitcask_batch_free(load->batch);
    return cli_close(load->db, code);
}

static int parse(int argc, char **argv, struct load *load)
{
    static const struct option long_options[] = {{"format", required_argument, NULL, 'F'},
                                                 {"if-absent", no_argument, NULL, 'a'},
                                                 {"database", required_argument, NULL, 'd'},
                                                 {"last-wins", no_argument, NULL, 'l'},
                                                 {0}};
    for (int option; (option = cli_option(argc, argv, "", long_options, &cli_load)) != -1;) {
        switch (option) {
        case 'F':
            load->format = dump_format_find(optarg);
            if (!load->format)
                return cli_usage("--format takes json, db, lmdb or resp, not '%s'", optarg);
            break;
        case 'a':
            load->if_absent = true;
            break;
        case 'd':
            load->choice.database = optarg;
            break;
        case 'l':
            load->choice.last_wins = true;
            break;
        default:
            return option == 'h' ? -1 : CLI_USAGE;
        }
    }
    if (load->choice.last_wins && load->if_absent)
        return cli_usage("--last-wins and --if-absent exclude each other");
    if (argc - optind != 1)
        return cli_usage(argc == optind ? "DIR is needed" : "too many arguments");
    load->dir = argv[optind];
    return CLI_OK;
}

static int run(int argc, char **argv)
{
    struct load load = {0};
    int code = parse(argc, argv, &load);
    if (code == CLI_OK)
        code = load_dump(&load);
    return code < 0 ? CLI_OK : code;
}

const struct cli_command cli_load = {
    .name = "load",
    .summary = "put what a dump holds into a store",
    .help =
        "usage: bitcask load [OPTIONS] DIR <DUMP\n"
        "\n"
        "Puts the records of a dump on stdin into the store DIR, which is created if it is absent: what bitcask dump,\n"
        "bitcask scan --json, db_dump, mdb_dump, or an append-only file of Redis hold. A value takes the place of one that "
        "the\n"
        "store has. Keys that are not in the dump stay. What is wrong in the dump is reported with its line or byte: all\n"
        "records before it are loaded and durable then, none after it. So it is after an interrupt (SIGINT, SIGTERM, SIGHUP).\n"
        "Memory is bounded by the largest record.\n"
        "\n"
        "      --format NAME    json, db, lmdb (as db) or resp; default: by the first byte\n"
        "      --if-absent      keys that the store has stay as they are\n"
        "      --database NAME  db: this one of a dump of several databases, or of one with a name\n"
        "      --last-wins      db: of several values of a key (duplicates) the last one is kept\n"
        "  -q, --quiet          no figures, no bar\n" CLI_STORE_OPTIONS "\n"
        "Exit codes: 0 all loaded and durable, 2 usage, 3 error (not all of it; in use by another writer, no space, ...).\n"
        "\n"
        "Examples:\n"
        "  bitcask load sessions < sessions.jsonl\n"
        "  mdb_dump lmdb-directory | bitcask load sessions\n"
        "  mdb_dump -a lmdb-directory | bitcask load --database users users\n"
        "  db_dump sessions.db | bitcask load --if-absent sessions\n",
    .run = run,
};
