/* format_data.h - the two pages before the records of a data file: static header and durable mark. Pure; any thread. */
#ifndef BC_FORMAT_DATA_H
#define BC_FORMAT_DATA_H

#include "bitcask/attr.h"

#include <stdbool.h>

#define BC_DATA_HEADER_SIZE 4096U /* page 0, written once */
#define BC_DATA_MARK_OFFSET 4096U /* page 1: two slots, a sector each */
#define BC_DATA_MARK_SECTOR 512U
#define BC_DATA_MARK_SIZE 32U /* bytes used in a slot */
#define BC_DATA_START 8192U   /* first record */
#define BC_DATA_INPUTS_MAX 250U

#define BC_FORMAT_VERSION 1U

#define BC_DATA_KIND_LOG 0U
#define BC_DATA_KIND_MERGE 1U

struct bc_uuid {
    uint8_t bytes[16];
};

struct bc_file_name { /* what names a data file for good: ids are never reused, the nonce tells copies of a store apart */
    uint64_t id, nonce;
};

struct bc_data_header {
    struct bc_uuid store;
    struct bc_file_name name;
    int64_t created_ms;     /* for humans */
    uint64_t cleared_below; /* for repair: every file with a smaller id was cleared */
    uint32_t kind;          /* BC_DATA_KIND_* */
    uint32_t input_count;   /* for repair: what this merge output replaced */
    struct bc_file_name inputs[BC_DATA_INPUTS_MAX];
};

enum bc_format_check {
    BC_FORMAT_OK,
    BC_FORMAT_BAD,        /* not such a file, or damaged */
    BC_FORMAT_UNSUPPORTED /* intact, but of a version or with incompatible flags that this code does not know */
};

/* dst: BC_DATA_HEADER_SIZE bytes. */
void bc_data_header_encode(void *dst, const struct bc_data_header *h);
enum bc_format_check bc_data_header_decode(struct bc_data_header *ret, const void *src);

/* One slot of the durable mark: offset is the end of what an fsync has made durable. counter grows by one with each store; the
 * slot to store next is counter % 2. dst: BC_DATA_MARK_SIZE bytes at BC_DATA_MARK_OFFSET + slot * BC_DATA_MARK_SECTOR. */
void bc_mark_encode(void *dst, uint64_t nonce, uint64_t counter, uint64_t offset);
bool bc_mark_decode(const void *src, uint64_t nonce, uint64_t *ret_counter, uint64_t *ret_offset);

#endif
