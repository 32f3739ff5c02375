/* format_hint.h - the bytes of a hint file: for each key of a sealed data file its last operation there. Pure; any thread.
 *
 * A hint is bound to (id, nonce, end) of its data file and is a cache: whatever is wrong with it, it is as if it were absent.
 */
#ifndef BC_FORMAT_HINT_H
#define BC_FORMAT_HINT_H

#include "bitcask/format_data.h"

#define BC_HINT_HEADER 128U
#define BC_HINT_BLOCK_HEADER 16U
#define BC_HINT_BLOCK_PAYLOAD 65536U /* a block is closed before it would exceed this, but holds at least one entry */
#define BC_HINT_ENTRY 20U            /* fixed part; then 8 bytes expiry if flagged, then the key */

struct bc_hint_header {
    struct bc_file_name data;
    uint64_t data_end;
    uint64_t entries, tombstones, blocks;
    uint64_t min_sequence, max_sequence; /* of all records of the data file, superseded ones too; 0 and 0 if none */
    uint64_t size;                       /* of the hint file, header included */
    uint32_t body_crc;                   /* over everything behind the header */
};

struct bc_hint_entry {
    uint64_t sequence;
    uint64_t offset; /* of the record in the data file */
    int64_t expire_at_ms;
    uint32_t value_size;
    uint16_t key_size;
    uint8_t type;    /* BC_RECORD_PUT or BC_RECORD_TOMBSTONE */
    uint8_t flags;   /* BC_RECORD_EXPIRES */
    const void *key; /* borrowed */
};

void bc_hint_header_encode(void *dst, const struct bc_hint_header *h); /* BC_HINT_HEADER bytes */
enum bc_format_check bc_hint_header_decode(struct bc_hint_header *ret, const void *src);

/* Header of a block: its payload's size and entry count, CRC over both and the payload, seeded with the data file's nonce and
 * the block's number. */
void bc_hint_block_encode(void *dst, uint64_t nonce, uint64_t block, const void *payload, uint32_t size, uint32_t count);
/* Reads the sizes of a block header, unchecked; then checks header and payload together. */
void bc_hint_block_peek(const void *src, uint32_t *ret_size, uint32_t *ret_count);
bool bc_hint_block_ok(const void *src, uint64_t nonce, uint64_t block, const void *payload);

size_t bc_hint_entry_size(const struct bc_hint_entry *e);
void bc_hint_entry_encode(void *dst, const struct bc_hint_entry *e);
/* Decodes one entry of at most size bytes and checks that its record fits into [BC_DATA_START, data_end). Returns the bytes it
 * took, 0 if it is not valid. e->key points into src. */
size_t bc_hint_entry_decode(struct bc_hint_entry *e, const void *src, size_t size, uint64_t data_end);

#endif
