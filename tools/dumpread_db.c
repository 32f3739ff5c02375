/* dumpread_db.c - the text that db_dump and mdb_dump write: the reader. dumpfile_db.c shows it.
 *
 * A dump of a file with several databases is one such text after the other, each with "database=NAME" in its header. A line is
 * decoded while it is read: what is held is one key and one value.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/dumpfile.h"

#define HEADER_LINE_MAX 65536

struct db_reader {
    const char *wanted; /* the database; NULL: the only one */
    bool last_wins;
    bool found; /* it has begun */
    bool other; /* another one was left out */
    char names[200];

    /* Of the database in hand. */
    bool in_data;
    bool chosen;
    bool printable, duplicates;
    bool from_lmdb;
    bool warned;
    char name[256];
    struct buffer line, key, value;
    struct dump_record record;
};

static void *db_open(const struct dump_choice *choice)
{
    struct db_reader *reader = calloc(1, sizeof *reader);
    if (reader) {
        reader->wanted = choice->database;
        reader->last_wins = choice->last_wins;
    }
    return reader;
}

static void db_close(void *state)
{
    struct db_reader *reader = state;
    if (!reader)
        return;
    free(reader->line.bytes.data);
    free(reader->key.bytes.data);
    free(reader->value.bytes.data);
    free(reader);
}

/* A line of the header, without newline, ended by NUL. */
static enum input_result header_line(struct db_reader *reader, struct input *input)
{
    reader->line.bytes.size = 0;
    input->position++;
    enum input_result result = input_line(input, &reader->line, HEADER_LINE_MAX);
    if (result == INPUT_OK && !buffer_add(&reader->line, '\0'))
        return input_bad(input, "out of memory");
    return result;
}

static enum input_result header_field(struct db_reader *reader, struct input *input)
{
    char *line = (char *)reader->line.bytes.data;
    char *value = strchr(line, '=');
    if (!value)
        return input_bad(input, "this is no line of a dump's header, which has NAME=VALUE up to HEADER=END");
    *value++ = '\0';
    if (strcmp(line, "format") == 0) {
        reader->printable = strcmp(value, "print") == 0;
        if (!reader->printable && strcmp(value, "bytevalue") != 0)
            return input_bad(input, "format is neither bytevalue nor print");
    } else if (strcmp(line, "type") == 0) {
        if (strcmp(value, "btree") != 0 && strcmp(value, "hash") != 0)
            return input_bad(input, "only databases of type btree and hash have keys that can be loaded");
    } else if (strcmp(line, "database") == 0) {
        snprintf(reader->name, sizeof reader->name, "%s", value);
    } else if (strcmp(line, "duplicates") == 0 || strcmp(line, "dupsort") == 0) {
        reader->duplicates = strcmp(value, "0") != 0;
    } else if (strcmp(line, "mapsize") == 0) {
        reader->from_lmdb = true;
    }
    return INPUT_OK;
}

static void note_name(struct db_reader *reader)
{
    size_t length = strlen(reader->names);
    snprintf(reader->names + length, sizeof reader->names - length, "%s%s", length ? ", " : "",
             *reader->name ? reader->name : "one without a name");
}

/* Which database is loaded is known before the first record of it is. */
static enum input_result choose(struct db_reader *reader, struct input *input)
{
    if (reader->wanted) {
        reader->chosen = strcmp(reader->wanted, reader->name) == 0;
        note_name(reader);
    } else if (*reader->name) {
        return input_bad(input, "this is the database '%.100s'; there may be others: choose with --database", reader->name);
    } else if (reader->found) {
        return input_bad(input, "a second database begins");
    } else {
        reader->chosen = true;
    }
    if (!reader->chosen)
        return INPUT_OK;
    reader->found = true;
    if (reader->duplicates && !reader->last_wins)
        return input_bad(input, "a key of this database may have several values, a store has one: see --last-wins");
    return INPUT_OK;
}

static enum input_result header(struct db_reader *reader, struct input *input)
{
    enum input_result result = header_line(reader, input);
    if (result == INPUT_END && reader->wanted && !reader->found)
        return input_bad(input, "no database '%.100s' in this dump; it has: %s", reader->wanted,
                         *reader->names ? reader->names : "none");
    if (result == INPUT_END && !reader->found)
        return input_bad(input, "the input is empty, no dump");
    if (result != INPUT_OK)
        return result;
    if (strcmp((char *)reader->line.bytes.data, "VERSION=3") != 0)
        return input_bad(input, "this is not VERSION=3, with which a dump begins");
    reader->printable = reader->duplicates = reader->from_lmdb = reader->chosen = false;
    reader->name[0] = '\0';
    for (;;) {
        result = header_line(reader, input);
        if (result == INPUT_END)
            return input_cut(input, "the header");
        if (result != INPUT_OK)
            return result;
        if (strcmp((char *)reader->line.bytes.data, "HEADER=END") == 0)
            break;
        result = header_field(reader, input);
        if (result != INPUT_OK)
            return result;
    }
    reader->in_data = true;
    return choose(reader, input);
}

static int hex_digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum input_result bad_escape(struct db_reader *reader, struct input *input)
{
    return input_bad(input, "a backslash stands before what is neither a backslash nor the hex of a character that needs it%s",
                     reader->from_lmdb ? "; mdb_dump -p before 0.9.25 writes such: dump without -p" : "");
}

/* That version leaves backslashes as they are: they cannot all be told from escapes. */
static void warn_of_escapes(struct db_reader *reader)
{
    if (reader->from_lmdb && !reader->warned && !cli_quiet())
        cli_say(CLI_OK,
                "mdb_dump -p before 0.9.25 does not escape backslashes, and values with them may be loaded wrongly: better "
                "dump without -p");
    reader->warned = true;
}

/* Behind a backslash. Printable characters are never written as hex: where they are, the backslash was not an escape. One
 * of itself is what bitcask writes. */
static enum input_result escape(struct db_reader *reader, struct input *input, int *ret)
{
    int high = input_byte(input);
    if (high == '\\') {
        *ret = '\\';
        return INPUT_OK;
    }
    int low = high < 0 ? -1 : input_byte(input);
    if (low < 0)
        return input_cut(input, "a line");
    if (hex_digit(high) < 0 || hex_digit(low) < 0)
        return bad_escape(reader, input);
    int c = hex_digit(high) << 4 | hex_digit(low);
    if (reader->from_lmdb && c >= ' ' && c <= '~' && c != '\\')
        return bad_escape(reader, input);
    warn_of_escapes(reader);
    *ret = c;
    return INPUT_OK;
}

/* Up to the newline; ret is -1 there. */
static enum input_result decode_byte(struct db_reader *reader, struct input *input, int *ret)
{
    int c = input_byte(input);
    if (c < 0)
        return input_cut(input, "a line");
    if (c == '\n') {
        *ret = -1;
        return INPUT_OK;
    }
    if (reader->printable && c == '\\')
        return escape(reader, input, ret);
    if (reader->printable) {
        *ret = c;
        return INPUT_OK;
    }
    int low = hex_digit(c) < 0 ? -1 : input_byte(input);
    if (hex_digit(c) >= 0 && low < 0)
        return input_cut(input, "a line");
    if (hex_digit(low) < 0)
        return input_bad(input, "this line is not of two hex digits a byte");
    *ret = hex_digit(c) << 4 | hex_digit(low);
    return INPUT_OK;
}

static enum input_result decode_line(struct db_reader *reader, struct input *input, struct buffer *buffer, uint64_t max)
{
    buffer->bytes.size = 0;
    input_byte(input); /* the blank */
    for (int c = 0;;) {
        enum input_result result = decode_byte(reader, input, &c);
        if (result != INPUT_OK || c < 0)
            return result;
        if (buffer->bytes.size == max)
            return input_bad(input, "more bytes than the %ju that a store takes", (uintmax_t)max);
        if (!buffer_add(buffer, (unsigned char)c))
            return input_bad(input, "out of memory");
    }
}

static enum input_result skip_line(struct input *input)
{
    for (int c; (c = input_byte(input)) != '\n';) {
        if (c < 0)
            return input_cut(input, "a line");
    }
    return INPUT_OK;
}

/* A line that does not begin with a blank. */
static enum input_result end_of_data(struct db_reader *reader, struct input *input, bool value)
{
    enum input_result result;
    reader->line.bytes.size = 0;
    if (input_peek(input) < 0) {
        return input->error || input->interrupted ? input_cut(input, "the data")
                                                  : input_bad(input, "the input ends without DATA=END: something is missing");
    }
    result = input_line(input, &reader->line, HEADER_LINE_MAX);
    if (result != INPUT_OK)
        return result;
    if (!buffer_add(&reader->line, '\0'))
        return input_bad(input, "out of memory");
    const char *line = (char *)reader->line.bytes.data;
    if (strcmp(line, "DATA=INCOMPLETE") == 0)
        return input_bad(input, "the dump says that it is not complete");
    if (strcmp(line, "DATA=END") != 0)
        return input_bad(input, "this is neither a blank with a key or value nor DATA=END");
    if (value)
        return input_bad(input, "the last key has no value");
    reader->in_data = false;
    return INPUT_OK;
}

static enum input_result data_line(struct db_reader *reader, struct input *input, bool value)
{
    input->position++;
    if (input_peek(input) != ' ')
        return end_of_data(reader, input, value);
    if (!reader->chosen)
        return skip_line(input);
    if (value)
        return decode_line(reader, input, &reader->value, DUMP_VALUE_MAX);
    enum input_result result = decode_line(reader, input, &reader->key, DUMP_KEY_MAX);
    if (result == INPUT_OK && reader->key.bytes.size == 0)
        return input_bad(input, "an empty key, which a store does not take");
    return result;
}

static enum input_result db_next(void *state, struct input *input, struct dump_step *ret)
{
    struct db_reader *reader = state;
    for (;;) {
        enum input_result result = reader->in_data ? data_line(reader, input, false) : header(reader, input);
        if (result != INPUT_OK)
            return result;
        /* What was read was a header, the end of the data, or a key. */
        if (!reader->in_data || reader->key.bytes.size == 0)
            continue;
        result = data_line(reader, input, true);
        if (result != INPUT_OK)
            return result;
        reader->record = (struct dump_record){
            .key = {reader->key.bytes.data, reader->key.bytes.size},
            .value = {reader->value.bytes.data, reader->value.bytes.size},
        };
        reader->key.bytes.size = 0;
        *ret = (struct dump_step){&reader->record, 1};
        return INPUT_OK;
    }
}

const struct dump_reader dump_db_reader = {.by_line = true, .open = db_open, .next = db_next, .close = db_close};
