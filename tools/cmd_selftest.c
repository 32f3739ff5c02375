/* cmd_selftest.c - bitcask selftest: every file of a tree goes through a store and must come back byte for byte. */
#include "tools/cli.h"
#include "tools/filelist.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/include"

struct selftest {
    const char *store;
    struct file_list files;
    struct cli_bytes content; /* of the file in hand */
    size_t capacity;
    uint64_t bytes;
    uint64_t stored;
    /* Seconds in the library's calls alone. */
    double put_s, get_s, close_s, open_s, get_again_s;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static double now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A file that cannot be read is reported, left out and counted. */
static int put_all(struct selftest *test, bitcask *db)
{
    for (size_t i = 0; i < test->files.count; i++) {
        struct file_entry *entry = &test->files.entries[i];
        if (interrupted)
            return cli_say(CLI_ERROR, "interrupted");
        if (file_read(entry->path, &test->content, &test->capacity) != CLI_OK) {
            free(entry->path);
            entry->path = NULL;
            test->files.skipped++;
            continue;
        }
        double start = now_s();
        int result = bitcask_put(db, entry->path, strlen(entry->path), test->content.data, test->content.size, NULL, NULL);
        test->put_s += now_s() - start;
        if (result != BITCASK_OK)
            return cli_say(CLI_ERROR, "%s: %s", entry->path, bitcask_last_error()->message);
        test->bytes += test->content.size;
        test->stored++;
    }
    return test->stored > 0 ? CLI_OK : cli_say(CLI_ERROR, "no file to store");
}

static int differs(const struct file_entry *entry, const char *how, size_t offset)
{
    const char *changed = file_changed(entry) ? " (the file itself changed meanwhile)" : "";
    return cli_say(CLI_ABSENT, "%s: %s, first at byte %zu%s", entry->path, how, offset, changed);
}

static int compare(const struct file_entry *entry, const struct cli_bytes *file, const unsigned char *value, size_t size)
{
    size_t common = size < file->size ? size : file->size;
    if (size == file->size && memcmp(value, file->data, size) == 0)
        return CLI_OK;
    for (size_t i = 0; i < common; i++) {
        if (value[i] != file->data[i])
            return differs(entry, "what came back differs from the file", i);
    }
    return differs(entry, "what came back has not the length of the file", common);
}

static int compare_all(struct selftest *test, bitcask *db, double *seconds)
{
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < test->files.count; i++) {
        const struct file_entry *entry = &test->files.entries[i];
        if (!entry->path)
            continue;
        if (interrupted)
            return cli_say(CLI_ERROR, "interrupted");
        code = file_read(entry->path, &test->content, &test->capacity);
        if (code != CLI_OK)
            return code;
        void *value;
        size_t size;
        double start = now_s();
        int result = bitcask_get(db, entry->path, strlen(entry->path), &value, &size);
        *seconds += now_s() - start;
        if (result == BITCASK_NOT_FOUND)
            return cli_say(CLI_ABSENT, "%s: was stored and is not found", entry->path);
        if (result != BITCASK_OK)
            return cli_say(CLI_ERROR, "%s: %s", entry->path, bitcask_last_error()->message);
        code = compare(entry, &test->content, value, size);
        bitcask_free(value);
    }
    return code;
}

static int round_trip(struct selftest *test)
{
    bitcask *db;
    int code = cli_open(test->store, 0, &db);
    if (code != CLI_OK)
        return code;
    code = put_all(test, db);
    if (code == CLI_OK)
        code = compare_all(test, db, &test->get_s);
    double start = now_s();
    code = cli_close(db, code);
    test->close_s = now_s() - start;
    if (code != CLI_OK)
        return code;

    start = now_s();
    code = cli_open(test->store, BITCASK_OPEN_NO_CREATE, &db);
    if (code != CLI_OK)
        return code;
    test->open_s = now_s() - start;
    return cli_close(db, compare_all(test, db, &test->get_again_s));
}

static void print_rate(const char *what, const struct selftest *test, double seconds)
{
    double s = seconds > 0 ? seconds : 1e-9;
    printf("%-12s %12.0f /s %10.1f MB/s\n", what, (double)test->stored / s, (double)test->bytes / s / 1e6);
}

static void print_figures(const struct selftest *test, const char *path)
{
    printf("%-12s %12llu of %s\n", "files", (unsigned long long)test->stored, path);
    if (test->files.skipped > 0)
        printf("%-12s %12llu\n", "skipped", (unsigned long long)test->files.skipped);
    printf("%-12s %12llu\n", "bytes", (unsigned long long)test->bytes);
    print_rate("put", test, test->put_s);
    print_rate("get", test, test->get_s);
    printf("%-12s %12.1f ms\n", "close", test->close_s * 1e3);
    printf("%-12s %12.1f ms\n", "open", test->open_s * 1e3);
    print_rate("get again", test, test->get_again_s);
    printf("%-12s %12llu bytes on disk\n", "store", (unsigned long long)directory_size(test->store));
    puts("every file came back byte for byte, before and after the store was opened again");
}

static int run_in(const char *store, const char *path)
{
    struct selftest test = {.store = store};
    int code = file_list_collect(&test.files, path);
    if (code == CLI_OK)
        code = round_trip(&test);
    if (code == CLI_OK && !cli_quiet())
        print_figures(&test, path);
    file_list_free(&test.files);
    free(test.content.data);
    return code;
}

/* The store is a directory of its own in the temporary one, made by the library as for any user. */
static int run_in_temporary(const char *path)
{
    const char *base = getenv("TMPDIR");
    char *directory = NULL, *store = NULL;
    int code = CLI_ERROR;
    if (asprintf(&directory, "%s/bitcask-selftest.XXXXXX", base && *base ? base : "/tmp") < 0)
        return cli_say(CLI_ERROR, "out of memory");
    if (!mkdtemp(directory)) {
        cli_say(CLI_ERROR, "%s: %s", directory, strerror(errno));
    } else {
        if (asprintf(&store, "%s/store", directory) < 0)
            store = NULL;
        if (store) {
            code = run_in(store, path);
            directory_remove(store);
        } else {
            cli_say(CLI_ERROR, "out of memory");
        }
        rmdir(directory);
    }
    free(store);
    free(directory);
    return code;
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {{"dir", required_argument, NULL, 'd'}, {0}};
    const char *store = NULL;
    for (int option; (option = cli_option(argc, argv, "d:", long_options, &cli_selftest)) != -1;) {
        if (option == 'h')
            return CLI_OK;
        if (option == '?')
            return CLI_USAGE;
        store = optarg;
    }
    if (argc - optind > 1)
        return cli_usage("too many arguments");
    const char *path = optind < argc ? argv[optind] : DEFAULT_PATH;
    if (*path == '\0')
        return cli_usage("PATH is empty");

    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    return store ? run_in(store, path) : run_in_temporary(path);
}

const struct cli_command cli_selftest = {
    .name = "selftest",
    .summary = "store every file of a tree, read it back, compare",
    .help = "usage: bitcask selftest [OPTIONS] [PATH]\n"
            "\n"
            "Stores every regular file under PATH (default: " DEFAULT_PATH ") with its path as the key, reads each back and\n"
            "compares it byte for byte, closes the store, opens it again and compares once more. Then prints what it did and\n"
            "how long the library took. Symbolic links are not followed. The first difference ends the test.\n"
            "\n"
            "  -d, --dir DIR        the store to use; it is kept. Without it: a temporary one in $TMPDIR or /tmp\n"
            "  -q, --quiet          no figures\n" CLI_STORE_OPTIONS "\n"
            "Exit codes: 0 all equal, 1 a file came back different, 2 usage, 3 error.\n"
            "\n"
            "Examples:\n"
            "  bitcask selftest\n"
            "  bitcask selftest --dir /mnt/test/store /etc\n",
    .run = run,
};
