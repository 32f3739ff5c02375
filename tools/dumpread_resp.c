/* dumpread_resp.c - commands for Redis: the reader. Also of an append-only file, whose commands are these.
 *
 * A command is read whole before anything of it is applied.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/dumpfile.h"

/* As Redis has it. */
#define ARGUMENTS_MAX (1 << 20)
/* The largest value with its key, the command and its options. */
#define COMMAND_MAX (DUMP_VALUE_MAX + DUMP_KEY_MAX + 4096)

struct resp_reader {
    struct buffer bytes; /* of all arguments */
    size_t *starts;      /* count + 1 of them, in bytes */
    size_t capacity;
    size_t count;
    struct dump_record *records;
    size_t records_capacity;
};

static void *resp_open(const struct dump_choice *choice)
{
    (void)choice;
    return calloc(1, sizeof(struct resp_reader));
}

static void resp_close(void *state)
{
    struct resp_reader *reader = state;
    if (!reader)
        return;
    free(reader->bytes.bytes.data);
    free(reader->starts);
    free(reader->records);
    free(reader);
}

/* A type byte, digits, CR, LF. */
static enum input_result length(struct input *input, char type, uint64_t max, uint64_t *ret)
{
    uint64_t number = 0;
    int c = input_byte(input), digits = 0;
    if (c < 0)
        return input_cut(input, "a command");
    if (c != type)
        return input_bad(input, "'%c' is missing: only commands as arrays of strings are read", type);
    for (; (c = input_byte(input)) >= '0' && c <= '9'; digits++) {
        number = number * 10 + (uint64_t)(c - '0');
        if (number > max)
            return input_bad(input, "a length after '%c' is more than the %ju that are possible", type, (uintmax_t)max);
    }
    if (c == '\r')
        c = input_byte(input);
    if (c < 0)
        return input_cut(input, "a command");
    if (c != '\n' || digits == 0)
        return input_bad(input, "no number and line end stand after '%c'", type);
    *ret = number;
    return INPUT_OK;
}

static enum input_result argument(struct resp_reader *reader, struct input *input)
{
    uint64_t size;
    enum input_result result = length(input, '$', COMMAND_MAX, &size);
    if (result != INPUT_OK)
        return result;
    if (reader->bytes.bytes.size + size > COMMAND_MAX)
        return input_bad(input, "a command longer than the largest value that a store takes");
    result = input_append(input, &reader->bytes, size, "a command");
    if (result != INPUT_OK)
        return result;
    int c = input_byte(input);
    if (c == '\r')
        c = input_byte(input);
    if (c < 0)
        return input_cut(input, "a command");
    return c == '\n' ? INPUT_OK : input_bad(input, "an argument is longer than its length says");
}

/* Grows with what is read, not with what the command claims. */
static bool note_start(struct resp_reader *reader)
{
    if (reader->count == reader->capacity) {
        size_t capacity = reader->capacity ? 2 * reader->capacity : 16;
        size_t *starts = realloc(reader->starts, capacity * sizeof *starts);
        if (!starts)
            return false;
        reader->starts = starts;
        reader->capacity = capacity;
    }
    reader->starts[reader->count] = reader->bytes.bytes.size;
    return true;
}

static enum input_result command(struct resp_reader *reader, struct input *input)
{
    uint64_t count;
    reader->bytes.bytes.size = 0;
    reader->count = 0;
    enum input_result result = length(input, '*', ARGUMENTS_MAX, &count);
    if (result != INPUT_OK)
        return result;
    if (count == 0)
        return input_bad(input, "an empty command");
    for (; note_start(reader); reader->count++) {
        if (reader->count == count)
            return INPUT_OK;
        result = argument(reader, input);
        if (result != INPUT_OK)
            return result;
    }
    return input_bad(input, "out of memory");
}

static bitcask_slice slice(const struct resp_reader *reader, size_t i)
{
    return (bitcask_slice){reader->bytes.bytes.data + reader->starts[i], reader->starts[i + 1] - reader->starts[i]};
}

static bool is(const struct resp_reader *reader, size_t i, const char *word)
{
    bitcask_slice argument = slice(reader, i);
    return argument.size == strlen(word) && strncasecmp(argument.data, word, argument.size) == 0;
}

static bool number(const struct resp_reader *reader, size_t i, int64_t *ret)
{
    char text[24];
    uint64_t value;
    bitcask_slice argument = slice(reader, i);
    if (argument.size >= sizeof text || memchr(argument.data, '\0', argument.size))
        return false;
    memcpy(text, argument.data, argument.size);
    text[argument.size] = '\0';
    if (!cli_number(text, INT64_MAX, &value))
        return false;
    *ret = (int64_t)value;
    return true;
}

/* In the order of Redis: EX and PX count from now on, EXAT and PXAT are times. */
static enum input_result expiry(struct resp_reader *reader, struct input *input, struct dump_record *record)
{
    static const char *const words[] = {"EX", "PX", "EXAT", "PXAT"};
    for (size_t i = 0; i < 4; i++) {
        int64_t time, factor = i % 2 == 0 ? 1000 : 1;
        if (!is(reader, 3, words[i]))
            continue;
        if (!number(reader, 4, &time) || time == 0 || time > INT64_MAX / factor)
            return input_bad(input, "SET with a time that is none after %s", words[i]);
        if (i < 2)
            record->ttl_ms = (uint64_t)(time * factor);
        else
            record->expire_at_ms = time * factor;
        return INPUT_OK;
    }
    return input_bad(input, "SET with an option that is not one of EX, PX, EXAT and PXAT");
}

static enum input_result check(const struct dump_record *record, struct input *input)
{
    if (record->key.size == 0 || record->key.size > DUMP_KEY_MAX)
        return input_bad(input, "a key of %zu bytes; a store takes 1 to %d", record->key.size, DUMP_KEY_MAX);
    if (record->value.size > DUMP_VALUE_MAX)
        return input_bad(input, "a value of more bytes than the %ju that a store takes", (uintmax_t)DUMP_VALUE_MAX);
    return INPUT_OK;
}

/* Arguments from 1 on, step of them a record. */
static enum input_result each(struct resp_reader *reader, struct input *input, enum dump_operation operation, size_t step,
                              size_t *ret_count)
{
    size_t count = (reader->count - 1) / step;
    if (reader->count < 2 || (reader->count - 1) % step != 0)
        return input_bad(input, "a command with the wrong number of arguments");
    if (count > reader->records_capacity) {
        struct dump_record *records = realloc(reader->records, count * sizeof *records);
        if (!records)
            return input_bad(input, "out of memory");
        reader->records = records;
        reader->records_capacity = count;
    }
    for (size_t i = 0; i < count; i++) {
        reader->records[i] = (struct dump_record){.operation = operation, .key = slice(reader, 1 + i * step)};
        if (operation == DUMP_PUT)
            reader->records[i].value = slice(reader, 2 + i * step);
        enum input_result result = check(&reader->records[i], input);
        if (result != INPUT_OK)
            return result;
    }
    *ret_count = count;
    return INPUT_OK;
}

static enum input_result set(struct resp_reader *reader, struct input *input, size_t *ret_count)
{
    size_t count = reader->count;
    if (count != 3 && count != 5)
        return input_bad(input, "SET with other arguments than a key, a value and one of EX, PX, EXAT and PXAT");
    reader->count = 3;
    enum input_result result = each(reader, input, DUMP_PUT, 2, ret_count);
    reader->count = count;
    if (result == INPUT_OK && count == 5)
        result = expiry(reader, input, &reader->records[0]);
    return result;
}

static enum input_result pexpireat(struct resp_reader *reader, struct input *input, size_t *ret_count)
{
    int64_t time;
    if (reader->count != 3 || !number(reader, 2, &time))
        return input_bad(input, "PEXPIREAT with other arguments than a key and a time");
    reader->count = 2;
    enum input_result result = each(reader, input, DUMP_TOUCH, 1, ret_count);
    if (result == INPUT_OK)
        reader->records[0].expire_at_ms = time > 0 ? time : 1;
    return result;
}

static enum input_result other(struct resp_reader *reader, struct input *input, size_t *ret_count)
{
    *ret_count = 0;
    if (is(reader, 0, "SELECT") && reader->count == 2 && is(reader, 1, "0"))
        return INPUT_OK;
    if (is(reader, 0, "BITCASK.INCOMPLETE"))
        return input_bad(input, "the dump says that it is not complete");
    char name[32];
    bitcask_slice first = slice(reader, 0);
    size_t size = first.size < sizeof name - 1 ? first.size : sizeof name - 1;
    for (size_t i = 0; i < size; i++) {
        char c = ((const char *)first.data)[i];
        name[i] = (char)(c > ' ' && c <= '~' ? c : '?');
    }
    name[size] = '\0';
    return input_bad(input, "the command %s; only SET, MSET, DEL, UNLINK, PEXPIREAT and SELECT 0 are read", name);
}

static enum input_result resp_next(void *state, struct input *input, struct dump_step *ret)
{
    struct resp_reader *reader = state;
    size_t count = 0;
    input->position = input_offset(input);
    if (input_peek(input) < 0)
        return input->error || input->interrupted ? input_cut(input, "a command") : INPUT_END;
    enum input_result result = command(reader, input);
    if (result != INPUT_OK)
        return result;
    if (is(reader, 0, "SET"))
        result = set(reader, input, &count);
    else if (is(reader, 0, "MSET"))
        result = each(reader, input, DUMP_PUT, 2, &count);
    else if (is(reader, 0, "DEL") || is(reader, 0, "UNLINK"))
        result = each(reader, input, DUMP_DELETE, 1, &count);
    else if (is(reader, 0, "PEXPIREAT"))
        result = pexpireat(reader, input, &count);
    else
        result = other(reader, input, &count);
    if (result == INPUT_OK)
        *ret = (struct dump_step){reader->records, count};
    return result;
}

const struct dump_reader dump_resp_reader = {.open = resp_open, .next = resp_next, .close = resp_close};
