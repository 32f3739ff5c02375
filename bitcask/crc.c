#include "bitcask/crc.h"

#ifdef BC_HAVE_LIBDEFLATE
#include <libdeflate.h>
#else
#include <zlib.h>
#endif

uint32_t bc_crc32(uint32_t crc, const void *data, size_t size)
{
    /* Both libraries take a null pointer as "give me the initial value" and would drop the seed. */
    if (size == 0)
        return crc;
#ifdef BC_HAVE_LIBDEFLATE
    return libdeflate_crc32(crc, data, size);
#else
    /* crc32_z takes a size_t; crc32 would cut sizes from 4 GiB on. */
    return (uint32_t)crc32_z(crc, data, size);
#endif
}
