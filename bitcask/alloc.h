/* alloc.h - the store's own memory, through the allocator that the caller of bitcask_open() chose.
 *
 * Values handed to the user (bitcask_get) do not come from here: they are malloc memory. Thread rule: as the allocator's.
 */
#ifndef BC_ALLOC_H
#define BC_ALLOC_H

#include "bitcask/attr.h"
#include "bitcask/bitcask.h"

/* NULL if there is no memory, or if count * size overflows. zero: the bytes are zeros. */
void *bc_alloc(const bitcask_allocator *, size_t size) bc_must_check;
void *bc_alloc_zero(const bitcask_allocator *, size_t count, size_t size) bc_must_check;
void *bc_resize(const bitcask_allocator *, void *ptr, size_t size) bc_must_check; /* on failure ptr stays valid */
void *bc_memdup(const bitcask_allocator *, const void *data, size_t size) bc_must_check;
void bc_free(const bitcask_allocator *, void *ptr); /* NULL ok */

/* malloc, realloc and free. */
extern const bitcask_allocator bc_allocator_default;

#endif
