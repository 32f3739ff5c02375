/* dumpfile_resp.c - commands for Redis, as "redis-cli --pipe" takes them: the writer. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/dumpfile.h"
#include "tools/output.h"

static void argument(const void *data, size_t size)
{
    cli_print("$%zu\r\n", size);
    cli_write(data, size);
    cli_write("\r\n", 2);
}

static void begin(const struct dump_about *about)
{
    (void)about;
}

static void record(bitcask_slice key, bitcask_slice value, int64_t expire_at_ms)
{
    cli_print(expire_at_ms ? "*5\r\n" : "*3\r\n");
    argument("SET", 3);
    argument(key.data, key.size);
    argument(value.data, value.size);
    if (expire_at_ms) {
        char time[24];
        int length = snprintf(time, sizeof time, "%" PRId64, expire_at_ms);
        argument("PXAT", 4);
        argument(time, (size_t)length);
    }
}

/* Redis answers an unknown command with an error, which redis-cli shows and counts. */
static void end(const char *incomplete)
{
    if (incomplete)
        cli_print("*2\r\n$18\r\nBITCASK.INCOMPLETE\r\n$%zu\r\n%s\r\n", strlen(incomplete), incomplete);
}

const struct dump_writer dump_resp_writer = {begin, record, end};
