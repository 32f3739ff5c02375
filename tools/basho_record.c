#include "tools/basho_record.h"

#include <string.h>

static uint32_t big_endian(const unsigned char *bytes, int size)
{
    uint32_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

struct basho_header basho_header_parse(const unsigned char bytes[BASHO_HEADER_SIZE])
{
    return (struct basho_header){
        .crc = big_endian(bytes, 4),
        .time_s = big_endian(bytes + 4, 4),
        .key_size = big_endian(bytes + 8, 2),
        .value_size = big_endian(bytes + 10, 4),
    };
}

uint64_t basho_record_size(const struct basho_header *header)
{
    return (uint64_t)BASHO_HEADER_SIZE + header->key_size + header->value_size;
}

bool basho_is_tombstone(const void *value, size_t size)
{
    static const char mark[] = "bitcask_tombstone";
    return size >= sizeof mark - 1 && memcmp(value, mark, sizeof mark - 1) == 0;
}
