/* cache.c - a cache of rendered pages: nothing is synced, entries expire, hits are sent without being copied.
 *
 * cc -std=c11 cache.c $(pkg-config --cflags --libs bitcask) -o cache && ./cache pages
 */
#include <bitcask/bitcask.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE_TTL_MS (10 * 60 * 1000)

/* What it costs to make the page is what the cache saves. */
static size_t render(const char *path, char *page, size_t capacity)
{
    int size = snprintf(page, capacity, "<h1>%s</h1>\n", path);
    return size < 0 ? 0 : (size_t)size < capacity ? (size_t)size : capacity - 1;
}

static int send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = write(fd, data, size);
        if (sent <= 0)
            return -1;
        data += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* A hit: the bytes go from the store's mapping to the socket. Whoever overwrites the page meanwhile, they stay as they are
 * until the view is released, which must be soon: it keeps the file's space. *ret_sent is set on a hit only. */
static int send_cached(bitcask *db, const char *path, int fd, int *ret_sent)
{
    bitcask_view page;
    int result = bitcask_view_get(db, path, strlen(path), &page);
    if (result != BITCASK_OK)
        return result;
    *ret_sent = send_all(fd, page.data, page.size);
    bitcask_view_release(&page);
    return BITCASK_OK;
}

/* A cache must not make the service fail: what could not be read is rendered again, what could not be stored is not stored.
 * Returns what sending returned. */
static int send_page(bitcask *db, const char *path, int fd, int *ret_hit)
{
    int sent;
    int result = send_cached(db, path, fd, &sent);
    *ret_hit = result == BITCASK_OK;
    if (result == BITCASK_OK)
        return sent;
    if (result != BITCASK_NOT_FOUND)
        fprintf(stderr, "cache: %s\n", bitcask_last_error()->message);

    char page[4096];
    size_t size = render(path, page, sizeof page);
    bitcask_put_options put = BITCASK_PUT_OPTIONS_INIT;
    put.expire_at_ms = bitcask_now_ms(db) + PAGE_TTL_MS;
    if (bitcask_put(db, path, strlen(path), page, size, &put, NULL) != BITCASK_OK)
        fprintf(stderr, "cache: %s\n", bitcask_last_error()->message);
    return send_all(fd, page, size);
}

/* NULL: there is no cache, which was reported. A service goes on without it, slower; this program has nothing else to do. */
static bitcask *open_cache(const char *dir)
{
    bitcask_options options = BITCASK_OPTIONS_INIT;
    options.sync_mode = BITCASK_SYNC_NONE;
    options.max_file_size = 64 << 20;
    /* What is over goes, the oldest pages first; those that were read since they were stored stay for another turn. Below the
     * limits, too, pages that expired or were rendered again are merged away in the background. */
    options.max_bytes = (uint64_t)1 << 30;
    options.max_keydir_bytes = 64 << 20;
    options.merge_rate_limit = 50 << 20; /* bytes a second: the disk is for the pages */
    bitcask *db;
    if (bitcask_open(dir, &options, &db) == BITCASK_OK)
        return db;
    fprintf(stderr, "no cache: %s\n", bitcask_last_error()->message);
    return NULL;
}

int main(int argc, char **argv)
{
    static const char *const requests[] = {"/", "/about", "/", "/"};
    bitcask *db = open_cache(argc > 1 ? argv[1] : "pages");
    if (!db)
        return 1;
    int hits = 0, bad = 0;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        int hit;
        bad |= send_page(db, requests[i], STDOUT_FILENO, &hit) != 0;
        hits += hit;
    }

    /* A new release of the site: every page is stale at once. */
    bad |= bitcask_clear(db, 0) != BITCASK_OK;
    int hit;
    bad |= send_page(db, "/", STDOUT_FILENO, &hit) != 0 || hit;
    printf("%d of 4 from the cache\n", hits);
    return bitcask_close(db) == BITCASK_OK && !bad ? 0 : 1;
}
