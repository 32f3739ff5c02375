/* directory.h - the directory of a store: its names, its lock, the lists of what stands in it.
 *
 * Immutable after open; any thread.
 */
#ifndef BC_DIRECTORY_H
#define BC_DIRECTORY_H

#include "bitcask/alloc.h"
#include "bitcask/io.h"

#define BC_NAME_SIZE 40U /* room for every name of ours */
#define BC_MANIFEST_NAME "MANIFEST"
#define BC_MANIFEST_TMP "MANIFEST.tmp"
#define BC_LOCK_NAME "LOCK"

struct bc_directory {
    const struct bc_io *io;
    const char *path; /* borrowed; for messages */
    int fd;
    int lock_fd;    /* -1 when read-only */
    unsigned mode;  /* of new files */
    bool maps_well; /* io.h: dir_maps_well */
};

enum bc_name_kind { BC_NAME_FOREIGN, BC_NAME_DATA, BC_NAME_HINT, BC_NAME_TMP, BC_NAME_MANIFEST, BC_NAME_LOCK };

void bc_data_name(char dst[BC_NAME_SIZE], uint64_t id);
void bc_hint_name(char dst[BC_NAME_SIZE], uint64_t id);
void bc_hint_tmp_name(char dst[BC_NAME_SIZE], uint64_t id);
void bc_data_tmp_name(char dst[BC_NAME_SIZE], uint64_t id); /* of a backup in the making */
/* Only canonical names are ours: 7.data is foreign. *ret_id is set for data, hint and <id>.*.tmp names, else 0. */
enum bc_name_kind bc_name_parse(const char *name, uint64_t *ret_id);

/* create: makes the directory if it is absent. OK, NOT_FOUND (absent, without create), IO. */
int bc_directory_open(struct bc_directory *ret, const struct bc_io *, const char *path, bool create,
                      unsigned mode) bc_must_check;
/* Takes the writer's lock: LOCK is created once and never deleted; the kernel frees the lock on death. OK, LOCKED, IO. */
int bc_directory_lock(struct bc_directory *) bc_must_check;
void bc_directory_close(struct bc_directory *);

typedef int (*bc_directory_fn)(enum bc_name_kind kind, uint64_t id, const char *name, void *arg);
/* Calls fn for each name; its non-zero value stops the listing and is returned. OK, IO. */
int bc_directory_each(const struct bc_directory *, bc_directory_fn fn, void *arg) bc_must_check;

/* As the I/O table's, with the failure recorded. A missing file is NOT_FOUND; a link, FIFO, device or directory in place of a
 * file is CORRUPT. */
int bc_directory_open_file(const struct bc_directory *, const char *name, unsigned flags, int *ret_fd) bc_must_check;
bool bc_directory_has(const struct bc_directory *, const char *name);   /* also if it cannot be opened */
int bc_directory_unlink(const struct bc_directory *, const char *name); /* absent is OK */

#endif
