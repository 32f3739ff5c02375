/* dumpfile_db.c - the text that db_dump and mdb_dump write and db_load and mdb_load read: the writers.
 *
 *     VERSION=3
 *     format=bytevalue      two hex digits a byte; print: printable characters stand for themselves, others as \xx
 *     type=btree            mdb_load knows no other
 *     HEADER=END
 *      6b6579               a blank and a key, then in the same way its value
 *      76616c7565
 *     DATA=END
 */
#include "tools/dumpfile.h"
#include "tools/output.h"

#define ENCODED_MAX 3 /* characters a byte */

static bool printable_format;

/* mdb_load gives up when its map is full, whose size only this header sets; db_load stops at it. The map is address space:
 * too much costs nothing. */
static uint64_t map_size(uint64_t live_bytes)
{
    uint64_t page = 1 << 20;
    return (live_bytes * 4 / page + 256) * page;
}

static void begin(const struct dump_about *about, bool lmdb)
{
    printable_format = about->printable;
    cli_print("VERSION=3\nformat=%s\ntype=btree\n", printable_format ? "print" : "bytevalue");
    if (lmdb)
        cli_print("mapsize=%ju\n", (uintmax_t)map_size(about->live_bytes));
    cli_print("HEADER=END\n");
}

static void begin_db(const struct dump_about *about)
{
    begin(about, false);
}

static void begin_lmdb(const struct dump_about *about)
{
    begin(about, true);
}

/* A backslash is written as \5c: what mdb_load before 0.9.25 makes of \\ depends on what stands before it. */
static void write_line(bitcask_slice slice)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = slice.data;
    char text[4096];
    size_t length = 0;
    text[length++] = ' ';
    for (size_t i = 0; i < slice.size; i++) {
        if (length > sizeof text - ENCODED_MAX) {
            cli_write(text, length);
            length = 0;
        }
        if (printable_format && bytes[i] >= ' ' && bytes[i] <= '~' && bytes[i] != '\\') {
            text[length++] = (char)bytes[i];
            continue;
        }
        if (printable_format)
            text[length++] = '\\';
        text[length++] = digits[bytes[i] >> 4];
        text[length++] = digits[bytes[i] & 15];
    }
    cli_write(text, length);
    cli_write("\n", 1);
}

static void record(bitcask_slice key, bitcask_slice value, int64_t expire_at_ms)
{
    (void)expire_at_ms;
    write_line(key);
    write_line(value);
}

/* Both programs take an end without DATA=END for the end of the data, and exit with 0. A key without a value is an error to
 * both; that a line that is no value follows, too. */
static void end(const char *incomplete)
{
    cli_print(incomplete ? " 00\nDATA=INCOMPLETE\n" : "DATA=END\n");
}

const struct dump_writer dump_db_writer = {begin_db, record, end};
const struct dump_writer dump_lmdb_writer = {begin_lmdb, record, end};
