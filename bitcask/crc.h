/* crc.h - CRC-32 as zlib's crc32() defines it. Pure; any thread.
 *
 * libdeflate computes the same values and is used where the build found it (BC_HAVE_LIBDEFLATE): 16 times as fast on small
 * records. A test proves that both agree.
 */
#ifndef BC_CRC_H
#define BC_CRC_H

#include "bitcask/attr.h"

/* Continues crc (0, or a seed, to start) over size bytes. */
uint32_t bc_crc32(uint32_t crc, const void *data, size_t size);

#endif
