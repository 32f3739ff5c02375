/* session_store.c - sessions of a web service: a token, some bytes, half an hour after the last use they are gone.
 *
 * cc -std=c11 session_store.c $(pkg-config --cflags --libs bitcask) -o session_store && ./session_store sessions
 */
#include <bitcask/bitcask.h>
#include <stdio.h>
#include <string.h>

#define SESSION_TTL_MS (30 * 60 * 1000)
#define SESSION_MAX 4096
#define UPDATE_TRIES 10

/* The message says what, where, and what to do about it. */
static int report(const char *what)
{
    const bitcask_error *error = bitcask_last_error();
    fprintf(stderr, "%s: %s: %s\n", what, bitcask_errname(error->result), error->message);
    return error->result;
}

/* A new session. CONDITION: the token exists; draw another one. Durable before it is answered: a user who saw "you are logged
 * in" is logged in, also after a power failure. */
static int session_create(bitcask *db, const char *token, const char *data)
{
    bitcask_put_options put = BITCASK_PUT_OPTIONS_INIT;
    put.flags = BITCASK_PUT_IF_ABSENT | BITCASK_PUT_SYNC;
    put.expire_at_ms = bitcask_now_ms(db) + SESSION_TTL_MS;
    return bitcask_put(db, token, strlen(token), data, strlen(data), &put, NULL);
}

/* Reads a session into data, which becomes a string. NOT_FOUND: log in again. Each use prolongs the session; a prolongation
 * that is lost at a power failure costs minutes of a session, so it is not synced. */
static int session_get(bitcask *db, const char *token, char data[SESSION_MAX])
{
    size_t size;
    int result = bitcask_read(db, token, strlen(token), data, SESSION_MAX - 1, &size);
    if (result != BITCASK_OK)
        return result;
    data[size] = '\0';
    return bitcask_touch(db, token, strlen(token), bitcask_now_ms(db) + SESSION_TTL_MS, 0);
}

/* Appends to a session. Two requests of one user may do this at once; neither loses what the other wrote: the write happens
 * only if the value is still the one that was read. The view holds value and sequence of one moment. */
static int session_append(bitcask *db, const char *token, const char *more)
{
    int result = BITCASK_CONDITION;
    for (int tries = 0; result == BITCASK_CONDITION && tries < UPDATE_TRIES; tries++) {
        char data[SESSION_MAX];
        bitcask_view old;
        result = bitcask_view_get(db, token, strlen(token), &old);
        if (result != BITCASK_OK)
            return result;
        int size = snprintf(data, sizeof data, "%.*s%s", (int)old.size, (const char *)old.data, more);
        bitcask_put_options put = BITCASK_PUT_OPTIONS_INIT;
        put.flags = BITCASK_PUT_IF_SEQUENCE | BITCASK_PUT_KEEP_TTL;
        put.sequence = old.sequence;
        bitcask_view_release(&old);
        if (size < 0 || (size_t)size >= sizeof data)
            return BITCASK_TOO_LARGE;
        result = bitcask_put(db, token, strlen(token), data, (size_t)size, &put, NULL);
    }
    return result;
}

/* Logging out must last: a session that comes back after a power failure is a hole. NOT_FOUND is fine, too. */
static int session_delete(bitcask *db, const char *token)
{
    bitcask_put_options sync = BITCASK_PUT_OPTIONS_INIT;
    sync.flags = BITCASK_PUT_SYNC;
    int result = bitcask_delete(db, token, strlen(token), &sync, NULL);
    return result == BITCASK_NOT_FOUND ? BITCASK_OK : result;
}

static int serve(bitcask *db)
{
    char data[SESSION_MAX];
    if (session_create(db, "c0ffee", "user=17") != BITCASK_OK)
        return report("create");
    if (session_create(db, "c0ffee", "user=18") != BITCASK_CONDITION)
        return report("a token was given to two users");
    if (session_append(db, "c0ffee", ";cart=3") != BITCASK_OK)
        return report("append");
    if (session_get(db, "c0ffee", data) != BITCASK_OK)
        return report("get");
    printf("c0ffee is %s\n", data);
    if (session_delete(db, "c0ffee") != BITCASK_OK)
        return report("delete");
    int result = session_get(db, "c0ffee", data);
    printf("after logout: %s\n", bitcask_strerror(result));
    return result == BITCASK_NOT_FOUND ? BITCASK_OK : BITCASK_CORRUPT;
}

int main(int argc, char **argv)
{
    bitcask *db;
    if (bitcask_open(argc > 1 ? argv[1] : "sessions", NULL, &db) != BITCASK_OK) {
        report("open"); /* LOCKED: another process serves these sessions */
        return 1;
    }
    int result = serve(db);
    if (bitcask_close(db) != BITCASK_OK)
        result = report("close");
    return result == BITCASK_OK ? 0 : 1;
}
