/* dumpread_json.c - JSON Lines: the reader. dumpfile_json.c shows them. Lines of "bitcask scan --json" are such, too.
 *
 * A line is decoded while it is read: what is held is one key and one value. A general parser holds the line, its own copy, and
 * the result: gigabytes for a value of some hundred megabytes.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/base64.h"
#include "tools/dumpfile.h"
#include "tools/output.h"

#define NAME_MAX_BYTES 32
#define REASON_MAX_BYTES 200
#define EXPIRY_MIN INT64_C(100000000000) /* below, seconds were given for milliseconds */

enum member { KEY, KEY_B64, VALUE, VALUE_B64, EXPIRE_AT_MS, SEQUENCE, INCOMPLETE, MEMBER_COUNT };
static const char *const names[] = {"key", "key_b64", "value", "value_b64", "expire_at_ms", "sequence", "incomplete"};

struct json_reader {
    struct buffer name, key, value;
    unsigned seen; /* 1 << enum member */
    struct dump_record record;
};

static void *json_open(const struct dump_choice *choice)
{
    (void)choice;
    return calloc(1, sizeof(struct json_reader));
}

static void json_close(void *state)
{
    struct json_reader *reader = state;
    if (!reader)
        return;
    free(reader->name.bytes.data);
    free(reader->key.bytes.data);
    free(reader->value.bytes.data);
    free(reader);
}

/* The next byte that is no white space is not taken; -1 at the end. A newline is the end of the record. */
static int next_token(struct input *input)
{
    int c;
    while ((c = input_peek(input)) == ' ' || c == '\t' || c == '\r')
        input->at++;
    return c;
}

static enum input_result expect(struct input *input, char wanted)
{
    int c = next_token(input);
    if (c == wanted) {
        input->at++;
        return INPUT_OK;
    }
    return c < 0 ? input_cut(input, "a record") : input_bad(input, "not JSON: '%c' is missing", wanted);
}

static enum input_result hex4(struct input *input, unsigned *ret)
{
    unsigned code = 0;
    for (int i = 0; i < 4; i++) {
        int c = input_byte(input);
        if (c < 0)
            return input_cut(input, "a record");
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return input_bad(input, "not JSON: \\u without four hex digits");
        code = code << 4 | (unsigned)digit;
    }
    *ret = code;
    return INPUT_OK;
}

static bool add_utf8(struct buffer *buffer, unsigned code)
{
    if (code < 0x80)
        return buffer_add(buffer, (unsigned char)code);
    if (code < 0x800)
        return buffer_add(buffer, (unsigned char)(0xc0 | code >> 6)) && buffer_add(buffer, (unsigned char)(0x80 | (code & 63)));
    if (code < 0x10000)
        return buffer_add(buffer, (unsigned char)(0xe0 | code >> 12)) &&
               buffer_add(buffer, (unsigned char)(0x80 | (code >> 6 & 63))) &&
               buffer_add(buffer, (unsigned char)(0x80 | (code & 63)));
    return buffer_add(buffer, (unsigned char)(0xf0 | code >> 18)) &&
           buffer_add(buffer, (unsigned char)(0x80 | (code >> 12 & 63))) &&
           buffer_add(buffer, (unsigned char)(0x80 | (code >> 6 & 63))) &&
           buffer_add(buffer, (unsigned char)(0x80 | (code & 63)));
}

/* Behind \u. A character beyond U+FFFF is two of them; a half of such a pair alone is none. */
static enum input_result unicode(struct input *input, unsigned *ret)
{
    unsigned code = 0, low = 0;
    enum input_result result = hex4(input, &code);
    if (result != INPUT_OK)
        return result;
    if (code >= 0xd800 && code < 0xdc00) {
        int backslash = input_byte(input);
        int u = backslash < 0 ? -1 : input_byte(input);
        if (u < 0)
            return input_cut(input, "a record");
        if (backslash == '\\' && u == 'u')
            result = hex4(input, &low);
        if (result != INPUT_OK)
            return result;
        if (low < 0xdc00 || low > 0xdfff)
            return input_bad(input, "not JSON: one half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code < 0xe000) {
        return input_bad(input, "not JSON: one half of a surrogate pair");
    }
    *ret = code;
    return INPUT_OK;
}

static enum input_result escape(struct input *input, struct buffer *buffer)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    int c = input_byte(input);
    unsigned code = 0;
    if (c < 0)
        return input_cut(input, "a record");
    if (c == 'u') {
        enum input_result result = unicode(input, &code);
        if (result != INPUT_OK)
            return result;
    } else {
        const char *letter = c ? strchr(letters, c) : NULL;
        if (!letter)
            return input_bad(input, "not JSON: an unknown escape in a string");
        code = (unsigned char)meant[letter - letters];
    }
    return add_utf8(buffer, code) ? INPUT_OK : input_bad(input, "out of memory");
}

/* What stands for itself in a string, as far as it is in hand. */
static enum input_result plain(struct input *input, struct buffer *buffer)
{
    const unsigned char *start = input->data + input->at, *at = start, *end = input->data + input->end;
    while (at < end && *at != '"' && *at != '\\' && *at >= 0x20)
        at++;
    return input_append(input, buffer, (uint64_t)(at - start), "a record");
}

static enum input_result string(struct input *input, struct buffer *buffer, uint64_t max)
{
    buffer->bytes.size = 0;
    enum input_result result = expect(input, '"');
    while (result == INPUT_OK) {
        int c = input_peek(input);
        if (c < 0)
            return input_cut(input, "a record");
        if (buffer->bytes.size > max)
            return input_bad(input, "a string of more than the %ju bytes that are possible there", (uintmax_t)max);
        if (c == '"') {
            input->at++;
            break;
        }
        if (c < 0x20)
            return input_bad(input, "not JSON: a control character or a line end inside of a string");
        if (c == '\\') {
            input->at++;
            result = escape(input, buffer);
        } else {
            result = plain(input, buffer);
        }
    }
    if (result == INPUT_OK && !cli_is_utf8(buffer->bytes.data, buffer->bytes.size))
        return input_bad(input, "a string that is not UTF-8");
    return result;
}

static enum input_result integer(struct input *input, uint64_t max, uint64_t *ret)
{
    char digits[24];
    size_t length = 0;
    int c = next_token(input);
    for (; c >= '0' && c <= '9' && length < sizeof digits - 1; c = input_peek(input)) {
        digits[length++] = (char)c;
        input->at++;
    }
    if (c < 0)
        return input_cut(input, "a record");
    digits[length] = '\0';
    if (!cli_number(digits, max, ret) || (c != ',' && c != '}' && c != ' ' && c != '\t' && c != '\r'))
        return input_bad(input, "a number that is not whole, or too large");
    return INPUT_OK;
}

static enum input_result bytes(struct input *input, struct buffer *buffer, bool base64, uint64_t max)
{
    enum input_result result = string(input, buffer, base64 ? base64_size((size_t)max) : max);
    if (result != INPUT_OK || !base64)
        return result;
    struct cli_bytes *text = &buffer->bytes;
    if (!base64_decode((char *)text->data, text->size, text->data, &text->size))
        return input_bad(input, "what should be base64 is not");
    return INPUT_OK;
}

static enum input_result member_value(struct json_reader *reader, struct input *input, enum member member)
{
    uint64_t number = 0;
    enum input_result result;
    switch (member) {
    case KEY:
    case KEY_B64:
        return bytes(input, &reader->key, member == KEY_B64, DUMP_KEY_MAX);
    case VALUE:
    case VALUE_B64:
        return bytes(input, &reader->value, member == VALUE_B64, DUMP_VALUE_MAX);
    case EXPIRE_AT_MS:
        result = integer(input, INT64_MAX, &number);
        reader->record.expire_at_ms = (int64_t)number;
        if (result == INPUT_OK && number > 0 && number < EXPIRY_MIN)
            return input_bad(input, "'expire_at_ms' is not Unix milliseconds, nor 0");
        return result;
    case SEQUENCE:
        return integer(input, UINT64_MAX, &number);
    default:
        result = string(input, &reader->value, REASON_MAX_BYTES);
        return result != INPUT_OK ? result
                                  : input_bad(input, "the dump says that it is not complete: %.*s",
                                              (int)reader->value.bytes.size, (const char *)reader->value.bytes.data);
    }
}

/* An unknown member could be an expiry with a slip in its name. */
static enum input_result member(struct json_reader *reader, struct input *input)
{
    enum input_result result = string(input, &reader->name, NAME_MAX_BYTES);
    if (result != INPUT_OK)
        return result;
    int found = -1, length = (int)reader->name.bytes.size;
    const char *name = (const char *)reader->name.bytes.data;
    for (int i = 0; i < MEMBER_COUNT; i++) {
        if ((size_t)length == strlen(names[i]) && memcmp(name, names[i], (size_t)length) == 0)
            found = i;
    }
    if (found < 0)
        return input_bad(input, "no member '%.*s' is known", length, length ? name : "");
    if (reader->seen & 1U << found)
        return input_bad(input, "'%s' stands there twice", names[found]);
    reader->seen |= 1U << found;
    result = expect(input, ':');
    return result == INPUT_OK ? member_value(reader, input, (enum member)found) : result;
}

/* The members between the braces. */
static enum input_result members(struct json_reader *reader, struct input *input)
{
    for (;;) {
        enum input_result result = member(reader, input);
        if (result != INPUT_OK)
            return result;
        int c = next_token(input);
        if (c == '}') {
            input->at++;
            return INPUT_OK;
        }
        result = expect(input, ',');
        if (result != INPUT_OK)
            return result;
        next_token(input);
    }
}

static enum input_result end_of_line(struct input *input)
{
    int c = next_token(input);
    if (c < 0)
        return input->error || input->interrupted ? input_cut(input, "a line") : INPUT_OK;
    input->at++;
    return c == '\n' ? INPUT_OK : input_bad(input, "more than one object in the line");
}

static bool one_of(unsigned seen, enum member first, enum member second)
{
    return !(seen & 1U << first) != !(seen & 1U << second);
}

static enum input_result json_next(void *state, struct input *input, struct dump_step *ret)
{
    struct json_reader *reader = state;
    reader->seen = 0;
    reader->record = (struct dump_record){0};
    input->position++;
    if (input_peek(input) < 0)
        return input->error || input->interrupted ? input_cut(input, "a line") : INPUT_END;
    enum input_result result = expect(input, '{');
    if (result == INPUT_OK)
        result = members(reader, input);
    if (result == INPUT_OK)
        result = end_of_line(input);
    if (result != INPUT_OK)
        return result;
    if (!one_of(reader->seen, KEY, KEY_B64) || !one_of(reader->seen, VALUE, VALUE_B64))
        return input_bad(input, "one of 'key' and 'key_b64' is needed, and one of 'value' and 'value_b64'");
    reader->record.key = (bitcask_slice){reader->key.bytes.data, reader->key.bytes.size};
    reader->record.value = (bitcask_slice){reader->value.bytes.data, reader->value.bytes.size};
    if (reader->record.key.size == 0 || reader->record.key.size > DUMP_KEY_MAX)
        return input_bad(input, "a key of %zu bytes; a store takes 1 to %d", reader->record.key.size, DUMP_KEY_MAX);
    if (reader->record.value.size > DUMP_VALUE_MAX)
        return input_bad(input, "a value of more bytes than the %ju that a store takes", (uintmax_t)DUMP_VALUE_MAX);
    *ret = (struct dump_step){&reader->record, 1};
    return INPUT_OK;
}

const struct dump_reader dump_json_reader = {.by_line = true, .open = json_open, .next = json_next, .close = json_close};
