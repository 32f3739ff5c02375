/* basho_record.h - one record of a data file of Riak's Bitcask: bytes in, struct out.
 *
 * Integers are big-endian. A record: CRC-32 over all that follows (4 bytes), write time in Unix seconds (4), key size (2),
 * value size (4), key, value. Records stand one after the other, without a header before or a footer behind them. A deletion is
 * a record whose value starts with "bitcask_tombstone", whatever follows.
 */
#ifndef TOOLS_BASHO_RECORD_H
#define TOOLS_BASHO_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BASHO_HEADER_SIZE 14
#define BASHO_CRC_SIZE 4 /* the bytes of a record that its CRC does not cover */

struct basho_header {
    uint32_t crc;
    uint32_t time_s;
    uint32_t key_size;
    uint32_t value_size;
};

struct basho_header basho_header_parse(const unsigned char bytes[BASHO_HEADER_SIZE]);
/* Of the whole record. */
uint64_t basho_record_size(const struct basho_header *header);
bool basho_is_tombstone(const void *value, size_t size);

#endif
