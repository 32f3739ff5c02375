/* hintfile.h - reading and writing the hint file of one sealed data file. A hint is a cache: every trouble with one means "no
 * hint", never an error of the store. One thread at a time per file.
 */
#ifndef BC_HINTFILE_H
#define BC_HINTFILE_H

#include "bitcask/directory.h"
#include "bitcask/format_hint.h"

/* Some entries at a time, so that the receiver can overlap what he does for them. Returns BITCASK_OK or what ends the reading.
 */
#define BC_HINT_BATCH 32U
typedef int (*bc_hint_fn)(const struct bc_hint_entry *entries, size_t count, void *arg);

/* Reads the hint of (file, end) and gives its entries to fn, those of a block only after the block's CRC held. *ret_valid: the
 * whole file was there, intact and of this data file; if not, entries of intact blocks may have been given, which are true all
 * the same. OK, NO_MEMORY, or fn's result. */
int bc_hint_read(const struct bc_directory *, const bitcask_allocator *, const struct bc_file_name *file, uint64_t end,
                 bc_hint_fn fn, void *arg, struct bc_hint_header *ret_header, bool *ret_valid) bc_must_check;

/* Writes the hint of a sealed, durable data file from a scan of it; two passes, so that only the last operation of each key
 * gets an entry. Memory: 11 bytes a key of the file at most, and a bit per 8 bytes of it. Nothing is written if the scan meets
 * damage (CORRUPT). Crash order: <id>.hint.tmp, sync, rename. OK, CORRUPT, NO_SPACE, IO, NO_MEMORY, CANCELLED (*stop is true).
 */
int bc_hint_build(const struct bc_directory *, const bitcask_allocator *, const struct bc_uuid *store,
                  const struct bc_file_name *file, uint64_t end, const _Atomic(bool) *stop) bc_must_check;

#endif
