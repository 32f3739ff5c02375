/* The store that is measured: its directory, opening, emptying, loading, and which keys must be in it. */
#include "tools/bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int no_memory(void)
{
    return bench_say(BENCH_ERROR, "out of memory");
}

static int failed(const char *what)
{
    return bench_say(BENCH_ERROR, "%s: %s", what, bitcask_last_error()->message);
}

/* A store has no directories in it. */
static void remove_store(const char *dir)
{
    DIR *stream = opendir(dir);
    if (!stream)
        return;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(stream), entry->d_name, 0);
    closedir(stream);
    rmdir(dir);
}

/* Absent or empty. */
static bool is_free(const char *dir)
{
    DIR *stream = opendir(dir);
    if (!stream)
        return errno == ENOENT;
    size_t entries = 0;
    while (readdir(stream))
        entries++;
    closedir(stream);
    return entries <= 2;
}

static int choose_directory(struct bench_store *store)
{
    const char *base = getenv("TMPDIR");
    if (store->config->dir) {
        store->own = is_free(store->config->dir);
        store->dir = strdup(store->config->dir);
        return store->dir ? BENCH_OK : no_memory();
    }
    if (asprintf(&store->dir, "%s/bitcask-bench.XXXXXX", base && *base ? base : "/tmp") < 0) {
        store->dir = NULL;
        return no_memory();
    }
    if (!mkdtemp(store->dir))
        return bench_say(BENCH_ERROR, "%s: %s", store->dir, strerror(errno));
    store->own = store->temporary = true;
    return BENCH_OK;
}

/* What a store that was there holds: keys of this program only, or it is not touched. */
static int note_keys(struct bench_store *store)
{
    bitcask_iter_options options = BITCASK_ITER_OPTIONS_INIT;
    options.flags = BITCASK_ITER_KEYS_ONLY;
    bitcask_iter *iter;
    if (bitcask_iter_new(store->db, &options, &iter) != BITCASK_OK)
        return failed(store->dir);
    int code = BENCH_OK;
    while (code == BENCH_OK && bitcask_iter_next(iter) == BITCASK_OK) {
        bitcask_slice key = bitcask_iter_key(iter);
        uint64_t number;
        if (bench_key_number(&store->data, key.data, key.size, &number) && number < store->capacity)
            atomic_store_explicit(&store->present[number], 1, memory_order_relaxed);
        else
            code =
                bench_say(BENCH_ERROR, "%s: was not made by bitcask-bench with this --num, --reads and --key_size", store->dir);
    }
    bitcask_iter_free(iter);
    return code;
}

static int check_selection(const struct bench_store *store)
{
    const struct bench_config *config = store->config;
    for (size_t i = 0; !store->own && i < config->selected_count; i++)
        if (config->selected[i]->flags & BENCH_FRESH)
            return bench_say(BENCH_ERROR, "%s: is not empty, and %s starts with an empty store", store->dir,
                             config->selected[i]->name);
    return BENCH_OK;
}

int bench_store_init(struct bench_store *store, const struct bench_config *config)
{
    store->config = config;
    store->capacity = config->num + config->reads;
    store->present = malloc(store->capacity);
    if (!store->present || !bench_data_init(&store->data, config))
        return no_memory();
    /* Not calloc(): the pages must be there before the memory of the store is measured. */
    memset(store->present, 0, store->capacity);
    bench_zipf_init(&store->zipf, config->num);
    int code = choose_directory(store);
    if (code == BENCH_OK)
        code = check_selection(store);
    if (code == BENCH_OK)
        code = bench_store_open(store);
    return code == BENCH_OK ? note_keys(store) : code;
}

void bench_store_free(struct bench_store *store)
{
    bench_store_close(store);
    if (store->temporary)
        remove_store(store->dir);
    bench_data_free(&store->data);
    free(store->present);
    free(store->dir);
}

int bench_store_open(struct bench_store *store)
{
    if (store->db)
        return BENCH_OK;
    return bitcask_open(store->dir, &store->config->options, &store->db) == BITCASK_OK ? BENCH_OK : failed("open");
}

int bench_store_close(struct bench_store *store)
{
    bitcask *db = store->db;
    store->db = NULL;
    return bitcask_close(db) == BITCASK_OK ? BENCH_OK : failed("close");
}

int bench_store_empty(struct bench_store *store)
{
    int code = bench_store_close(store);
    if (code != BENCH_OK)
        return code;
    remove_store(store->dir);
    memset(store->present, 0, store->capacity);
    return bench_store_open(store);
}

uint64_t bench_store_disk_usage(const struct bench_store *store)
{
    DIR *stream = opendir(store->dir);
    uint64_t bytes = 0;
    struct stat st;
    if (!stream)
        return 0;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        if (fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            bytes += (uint64_t)st.st_blocks * 512;
    closedir(stream);
    return bytes;
}

static int load_key(struct bench_store *store, uint64_t number, char *key, unsigned char *value)
{
    bool wanted = number < store->config->num;
    if (wanted == (atomic_load_explicit(&store->present[number], memory_order_relaxed) != 0))
        return BENCH_OK;
    bench_key(&store->data, number, key);
    bench_value(&store->data, number, value);
    int result = wanted ? bitcask_put(store->db, key, store->data.key_size, value, store->data.value_size, NULL, NULL)
                        : bitcask_delete(store->db, key, store->data.key_size, NULL, NULL);
    if (result != BITCASK_OK)
        return failed("load");
    atomic_store_explicit(&store->present[number], wanted, memory_order_relaxed);
    return BENCH_OK;
}

int bench_store_load(struct bench_store *store)
{
    char *key = malloc(store->data.key_size);
    unsigned char *value = malloc(store->data.value_size + 1);
    int code = key && value ? BENCH_OK : no_memory();
    for (uint64_t i = 0; code == BENCH_OK && i < store->capacity; i++)
        code = load_key(store, i, key, value);
    free(key);
    free(value);
    atomic_store(&store->inserted, store->config->num);
    return code;
}
