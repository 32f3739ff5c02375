/* dumpfile_json.c - JSON Lines, an object a record: the writer.
 *
 *     {"key":"user:17","value_b64":"AP8=","expire_at_ms":1798761600000}
 *
 * key and value stand as strings, or as key_b64 and value_b64 if they are no UTF-8; without expire_at_ms the key never expires.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/dumpfile.h"
#include "tools/output.h"

static void begin(const struct dump_about *about)
{
    (void)about;
}

static void record(bitcask_slice key, bitcask_slice value, int64_t expire_at_ms)
{
    cli_print("{");
    cli_write_json_member("key", key.data, key.size);
    cli_print(",");
    cli_write_json_member("value", value.data, value.size);
    if (expire_at_ms)
        cli_print(",\"expire_at_ms\":%" PRId64, expire_at_ms);
    cli_print("}\n");
}

/* A line that is no record: no program takes it for one. */
static void end(const char *incomplete)
{
    if (!incomplete)
        return;
    cli_print("{\"incomplete\":");
    cli_write_json(incomplete, strlen(incomplete));
    cli_print("}\n");
}

const struct dump_writer dump_json_writer = {begin, record, end};
