/* leftovers.h - what stands in a store's directory besides what its MANIFEST lists. */
#ifndef BC_LEFTOVERS_H
#define BC_LEFTOVERS_H

#include "bitcask/directory.h"
#include "bitcask/format_manifest.h"

/* What a directory without a MANIFEST may be: a new store. With a data file in it, its MANIFEST was lost: CORRUPT. OK, IO. */
int bc_leftovers_check_new(const struct bc_directory *) bc_must_check;

/* Checks that no unlisted data file can hold what a newer MANIFEST than m listed: below next_id it was listed once and left, or
 * it was made and never listed, which a file with a record of the log in it was not. *ret_highest: the highest id in the
 * directory. OK, CORRUPT (an older MANIFEST was put in place), IO. */
int bc_leftovers_check(const struct bc_directory *, const bitcask_allocator *, const struct bc_manifest *m,
                       uint64_t *ret_highest) bc_must_check;

/* Removes unlisted data files, hints of unlisted files and temporary files. Only when m is durable and all of it was loaded.
 * Foreign names are left alone. What cannot be removed stays for the next time. Returns how many went. */
size_t bc_leftovers_remove(const struct bc_directory *, const bitcask_allocator *, const struct bc_manifest *m);

#endif
