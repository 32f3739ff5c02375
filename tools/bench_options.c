/* The command line of bitcask-bench. */
#include "tools/bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_BENCHMARKS                                                                                                     \
    "fillsync,fillbatch,fillrandom,fillseq,overwrite,readseq,readrandom,readmissing,readhot,readmany,open,"                    \
    "ycsba,ycsbb,ycsbc,ycsbd,ycsbf,deleterandom,crc32"

static const char help[] =
    "usage: bitcask-bench [OPTIONS]\n"
    "\n"
    "Measures libbitcask with the benchmarks and lines of db_bench. Every value follows from its key and is checked at every\n"
    "read. Operations are shared out among the threads; micros/op is what one thread sees.\n"
    "\n"
    "  --benchmarks=LIST   separated by commas; default, in this order:\n"
    "      fillsync        num/1000 random keys, each durable; starts with an empty store, as all fill*\n"
    "      fillbatch       in batches of 1000\n"
    "      fillrandom      random keys\n"
    "      fillseq         keys one after the other\n"
    "      overwrite       random keys, in the store as it is\n"
    "      readseq         an iterator over the store, in its own order\n"
    "      readrandom      random keys\n"
    "      readmissing     keys that were never stored\n"
    "      readhot         random keys out of one hundredth\n"
    "      readmany        random keys, 32 a call\n"
    "      open            opens the store\n"
    "      ycsba|b|c|d|f   mixes of YCSB, zipfian 0.99: 50/50 and 95/5 reads and updates, reads only, 95/5 reads of the\n"
    "                      latest and inserts, 50/50 reads and read-modify-writes. E needs range scans: there is none\n"
    "      deleterandom    random keys, from a store that has all\n"
    "      crc32           the checksum alone, of 4 KiB\n"
    "      and, not by default:\n"
    "      churn           every key, then of 28 operations on random keys 20 overwrites and 8 deletes, 5.6 * num in all;\n"
    "                      starts with an empty store\n"
    "      compact         merges everything, and says what the store took before and after\n"
    "  --num=N             keys (1000000)\n"
    "  --reads=N           operations of read* and ycsb* (as --num)\n"
    "  --key_size=N        bytes (16)\n"
    "  --value_size=N      bytes (100)\n"
    "  --batch_size=N      operations a call for fillbatch (1000) and readmany (32, at most 256)\n"
    "  --threads=N         (1)\n"
    "  --repeat=N          measures each N times and prints the median (1)\n"
    "  --seed=N            of the random numbers and the values (301)\n"
    "  --db=DIR            the store, which is kept; without it: a temporary one in $TMPDIR or /tmp. What DIR already holds "
    "is\n"
    "                      never emptied: no fill* then\n"
    "  --sync              every write is durable before its call returns\n"
    "  --no_mmap           system calls instead of mappings\n"
    "  -o NAME=VALUE       an option of the library, e.g. -o max_file_size=64m\n"
    "  --histogram         percentiles of the latency, too; costs a look at the clock for each operation\n"
    "  --watch             also space and write amplification, and what merges do meanwhile; with --histogram percentiles\n"
    "                      of gets and puts, beside a merge and without\n"
    "  --rate=N            no more than N operations a second, of all threads together; with --histogram each is timed from\n"
    "                      its own beginning\n"
    "  --merge_at=N        merges everything in the background when N percent of the operations are done; implies --watch\n"
    "  --json              one JSON object instead of lines\n"
    "  -h, --help          this text\n"
    "  -V, --version       the version of the library\n"
    "\n"
    "Exit codes: 0 done, 1 a read gave a wrong answer, 2 usage, 3 error.\n"
    "\n"
    "Examples:\n"
    "  bitcask-bench\n"
    "  bitcask-bench --benchmarks=fillseq,readrandom --num=10000000 --histogram\n"
    "  bitcask-bench --benchmarks=fillrandom,ycsba --key_size=36 --value_size=1024 --threads=4 --repeat=5\n"
    "  bitcask-bench --benchmarks=ycsba --reads=20000000 --watch --histogram\n"
    "  bitcask-bench --benchmarks=ycsba --reads=20000000 --rate=400000 --watch --histogram\n"
    "  bitcask-bench --benchmarks=churn,compact --num=50000 --value_size=1024 -o no_merge=true\n"
    "  bitcask-bench --benchmarks=fillseq --db=/mnt/nvme/store && bitcask-bench --benchmarks=open --db=/mnt/nvme/store\n";

enum { LETTERS = 256, BENCHMARKS = LETTERS, NUMBER, DB, SYNC, NO_MMAP, HISTOGRAM, JSON, WATCH };

static int usage(const char *what, const char *text)
{
    return bench_say(BENCH_USAGE, "%s'%s'; see: bitcask-bench --help", what, text);
}

static int select_benchmarks(const char *list, struct bench_config *config)
{
    config->selected_count = 0;
    for (const char *name = list; *name;) {
        size_t size = strcspn(name, ",");
        const struct bench_workload *workload = bench_workload_find(name, size);
        if (!workload)
            return bench_say(BENCH_USAGE, "no benchmark '%.*s'; see: bitcask-bench --help", (int)size, name);
        if (config->selected_count == BENCH_SELECTED_MAX)
            return usage("too many benchmarks: ", list);
        config->selected[config->selected_count++] = workload;
        name += size + (name[size] == ',');
    }
    return config->selected_count > 0 ? BENCH_OK : usage("no benchmark in ", list);
}

static int set_library_option(struct bench_config *config, char *text)
{
    char *equals = strchr(text, '=');
    if (!equals)
        return usage("NAME=VALUE is needed, not ", text);
    *equals = '\0';
    if (bitcask_options_set(&config->options, text, equals + 1) == BITCASK_OK)
        return BENCH_OK;
    return bench_say(BENCH_USAGE, "%s", bitcask_last_error()->message);
}

struct number_option {
    const char *name;
    size_t offset; /* in struct bench_config */
    uint64_t min, max;
};

#define NUMBER_OPTION(field, min, max)                                                                                         \
    {                                                                                                                          \
#field, offsetof(struct bench_config, field), min, max                                                                 \
    }

static const struct number_option numbers[] = {
    NUMBER_OPTION(num, 1, UINT64_C(1) << 36), NUMBER_OPTION(reads, 1, UINT64_C(1) << 36),
    NUMBER_OPTION(key_size, 1, 65535),        NUMBER_OPTION(value_size, 0, (UINT64_C(4) << 30) - (128U << 10)),
    NUMBER_OPTION(threads, 1, 1024),          NUMBER_OPTION(batch_size, 1, 1000000),
    NUMBER_OPTION(repeat, 1, 1000),           NUMBER_OPTION(seed, 0, UINT64_MAX / 2),
    NUMBER_OPTION(merge_at, 1, 99),           NUMBER_OPTION(rate, 1, UINT64_C(1) << 36),
};

#define NUMBER_COUNT (sizeof numbers / sizeof numbers[0])

static int set_number(struct bench_config *config, const char *name, const char *text)
{
    const struct number_option *option = numbers;
    while (strcmp(option->name, name) != 0)
        option++;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || number < option->min || number > option->max)
        return bench_say(BENCH_USAGE, "--%s is a whole number from %llu to %llu, not '%s'", name,
                         (unsigned long long)option->min, (unsigned long long)option->max, text);
    memcpy((char *)config + option->offset, &(uint64_t){number}, sizeof(uint64_t));
    return BENCH_OK;
}

static int apply(int option, const char *name, struct bench_config *config)
{
    switch (option) {
    case BENCHMARKS:
        return select_benchmarks(optarg, config);
    case NUMBER:
        return set_number(config, name, optarg);
    case DB:
        config->dir = optarg;
        return *optarg ? BENCH_OK : usage("--db is ", optarg);
    case SYNC:
        config->options.sync_mode = BITCASK_SYNC_ALWAYS;
        return BENCH_OK;
    case NO_MMAP:
        config->options.flags |= BITCASK_OPEN_NO_MMAP;
        return BENCH_OK;
    case HISTOGRAM:
        config->histogram = true;
        return BENCH_OK;
    case WATCH:
        config->watch = true;
        return BENCH_OK;
    case JSON:
        config->json = true;
        return BENCH_OK;
    case 'o':
        return set_library_option(config, optarg);
    case 'h':
        fputs(help, stdout);
        return -1;
    case 'V':
        printf("bitcask-bench %s\n", bitcask_version());
        return -1;
    default:
        return BENCH_USAGE;
    }
}

/* Keys are decimal numbers; those that are never stored lie above all others. */
static int check(struct bench_config *config)
{
    if (config->reads == 0)
        config->reads = config->num;
    config->watch |= config->merge_at > 0;
    uint64_t limit = 1;
    for (uint64_t i = 0; i < config->key_size && limit <= UINT64_MAX / 10; i++)
        limit *= 10;
    if (limit < 2 * config->num + config->reads)
        return bench_say(BENCH_USAGE, "--key_size=%llu is too small for so many keys", (unsigned long long)config->key_size);
    if (config->options.flags & (BITCASK_OPEN_READ_ONLY | BITCASK_OPEN_EXCLUSIVE | BITCASK_OPEN_NO_CREATE))
        return bench_say(BENCH_USAGE, "a store that is opened again and again, for writing, cannot have these flags");
    return BENCH_OK;
}

int bench_options_parse(int argc, char **argv, struct bench_config *ret)
{
    struct option long_options[NUMBER_COUNT + 10] = {
        {"benchmarks", required_argument, NULL, BENCHMARKS},
        {"db", required_argument, NULL, DB},
        {"sync", no_argument, NULL, SYNC},
        {"no_mmap", no_argument, NULL, NO_MMAP},
        {"histogram", no_argument, NULL, HISTOGRAM},
        {"json", no_argument, NULL, JSON},
        {"watch", no_argument, NULL, WATCH},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
    };
    for (size_t i = 0; i < NUMBER_COUNT; i++)
        long_options[9 + i] = (struct option){numbers[i].name, required_argument, NULL, NUMBER};
    *ret = (struct bench_config){.num = 1000000,
                                 .key_size = 16,
                                 .value_size = 100,
                                 .threads = 1,
                                 .repeat = 1,
                                 .seed = 301,
                                 .options = BITCASK_OPTIONS_INIT};
    opterr = 0;
    int code = select_benchmarks(DEFAULT_BENCHMARKS, ret), index = 0;
    for (int option; code == BENCH_OK && (option = getopt_long(argc, argv, "+:ho:V", long_options, &index)) != -1;)
        code = option == '?' || option == ':' ? usage("no such option, or it needs a value: ", argv[optind - 1])
                                              : apply(option, long_options[index].name, ret);
    if (code != BENCH_OK)
        return code;
    return optind < argc ? usage("no argument is expected: ", argv[optind]) : check(ret);
}
