/* consumer.c - a program outside the tree: what it stores it must find again after a reopen. Argument: where the store goes. */
#include <bitcask/bitcask.h>
#include <stdio.h>
#include <string.h>

static int expect(int result, int want, const char *what)
{
    if (result == want)
        return 0;
    fprintf(stderr, "%s: %s, not %s; %s\n", what, bitcask_errname(result), bitcask_errname(want),
            bitcask_last_error()->message);
    return 1;
}

static int expect_value(bitcask *db, const char *key, const char *want)
{
    void *value;
    size_t size;
    if (expect(bitcask_get(db, key, strlen(key), &value, &size), BITCASK_OK, key))
        return 1;
    int differs = size != strlen(want) || memcmp(value, want, size) != 0;
    bitcask_free(value);
    if (differs)
        fprintf(stderr, "%s: a wrong value\n", key);
    return differs;
}

static int write_all(bitcask *db)
{
    bitcask_put_options put = BITCASK_PUT_OPTIONS_INIT;
    put.flags = BITCASK_PUT_SYNC;
    put.expire_at_ms = bitcask_now_ms(db) + 60 * 60 * 1000;
    int bad = expect(bitcask_put(db, "one", 3, "1", 1, &put, NULL), BITCASK_OK, "put");
    bad |= expect(bitcask_put(db, "gone", 4, "x", 1, NULL, NULL), BITCASK_OK, "put");

    bitcask_batch *batch;
    if (expect(bitcask_batch_new(&batch), BITCASK_OK, "batch_new"))
        return 1;
    bad |= expect(bitcask_batch_put(batch, "two", 3, "22", 2, 0), BITCASK_OK, "batch_put");
    bad |= expect(bitcask_batch_put(batch, "three", 5, "333", 3, 0), BITCASK_OK, "batch_put");
    bad |= expect(bitcask_batch_delete(batch, "gone", 4), BITCASK_OK, "batch_delete");
    bad |= expect(bitcask_write(db, batch, 0), BITCASK_OK, "write");
    bitcask_batch_free(batch);
    return bad;
}

static int read_all(bitcask *db)
{
    void *value;
    size_t size;
    int bad = expect_value(db, "one", "1");
    bad |= expect_value(db, "two", "22");
    bad |= expect_value(db, "three", "333");
    bad |= expect(bitcask_get(db, "gone", 4, &value, &size), BITCASK_NOT_FOUND, "gone");
    return bad;
}

int main(int argc, char **argv)
{
    bitcask *db;
    if (argc != 2)
        return 2;
    if (expect(bitcask_open(argv[1], NULL, &db), BITCASK_OK, "open"))
        return 1;
    int bad = write_all(db);
    bad |= read_all(db);
    bad |= expect(bitcask_close(db), BITCASK_OK, "close");

    bitcask_options options = BITCASK_OPTIONS_INIT;
    options.flags = BITCASK_OPEN_READ_ONLY;
    if (expect(bitcask_open(argv[1], &options, &db), BITCASK_OK, "open again"))
        return 1;
    bad |= read_all(db);
    bad |= expect(bitcask_close(db), BITCASK_OK, "close again");
    if (!bad)
        printf("libbitcask %s\n", bitcask_version());
    return bad;
}
