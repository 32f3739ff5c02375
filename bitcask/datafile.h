/* datafile.h - one data file on disk: making it, opening it, its static header and its durable mark.
 *
 * Stateless: the caller holds the descriptor. One thread at a time per file for create and mark_store.
 */
#ifndef BC_DATAFILE_H
#define BC_DATAFILE_H

#include "bitcask/directory.h"
#include "bitcask/format_data.h"

/* Makes <id>.data with header and a mark that says "nothing yet", size bytes long if the file system can allocate (*ret_size
 * tells how long it is), and syncs it. Its name becomes durable with the caller's directory sync. On failure nothing is left.
 * *ret_fd is the writing descriptor: it must stay open until the file is sealed, so that a failed write-back is reported to it.
 * OK, NO_SPACE, IO. */
int bc_datafile_create(const struct bc_directory *, const struct bc_data_header *, uint64_t size, int *ret_fd,
                       uint64_t *ret_size) bc_must_check;

/* Opens <id>.data and checks that it is that file: header intact, id, nonce and store as expected. flags: 0 or BC_IO_WRITE.
 * OK, CORRUPT (missing, damaged, foreign, renamed, too short for its header), UNSUPPORTED, IO. */
int bc_datafile_open(const struct bc_directory *, const struct bc_uuid *store, const struct bc_file_name *, unsigned flags,
                     int *ret_fd, struct bc_io_stat *ret_stat) bc_must_check;

/* The same whatever the header says: for salvage. OK, CORRUPT (missing, or no regular file), IO. */
int bc_datafile_open_damaged(const struct bc_directory *, const struct bc_file_name *, int *ret_fd,
                             struct bc_io_stat *ret_stat) bc_must_check;

/* The durable mark: the highest offset that a valid slot holds. OK, CORRUPT (both slots are invalid: the mark page is damaged,
 * as it was written whole before the file got its name), IO. *ret_counter is that of the newest slot. */
int bc_datafile_mark_read(const struct bc_directory *, int fd, const struct bc_file_name *, uint64_t *ret_counter,
                          uint64_t *ret_offset) bc_must_check;

/* Stores the mark in the slot that counter selects: through map where the file is mapped for writing (map not NULL), else with
 * a write. It is a lower bound of the truth and is not synced; a failure leaves the other slot and is no error of the store. */
void bc_datafile_mark_store(const struct bc_directory *, int fd, char *map, uint64_t nonce, uint64_t counter, uint64_t offset);

#endif
