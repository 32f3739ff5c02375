#include "tools/base64.h"

#include <stdint.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_size(size_t size)
{
    return (size + 2) / 3 * 4;
}

void base64_encode(const void *data, size_t size, char *ret)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i += 3) {
        unsigned second = i + 1 < size ? bytes[i + 1] : 0;
        unsigned third = i + 2 < size ? bytes[i + 2] : 0;
        unsigned group = (unsigned)bytes[i] << 16 | second << 8 | third;
        *ret++ = digits[group >> 18];
        *ret++ = digits[group >> 12 & 63];
        *ret++ = i + 1 < size ? digits[group >> 6 & 63] : '=';
        *ret++ = i + 2 < size ? digits[group & 63] : '=';
    }
}

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(const char *text, size_t length, unsigned char *ret, size_t *ret_size)
{
    size_t padding = 0, size = 0;
    if (length % 4 != 0)
        return false;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
        padding++;
    uint32_t bits = 0;
    for (size_t i = 0; i < length - padding; i++) {
        int value = digit(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        /* The second digit of four ends the first byte, and so on: 4, 2 and 0 bits are left over. */
        unsigned left = 6 - 2 * (unsigned)(i % 4);
        if (i % 4 > 0)
            ret[size++] = (unsigned char)(bits >> left);
    }
    uint32_t unused = padding == 2 ? 15 : padding == 1 ? 3 : 0;
    if ((bits & unused) != 0)
        return false;
    *ret_size = size;
    return true;
}
