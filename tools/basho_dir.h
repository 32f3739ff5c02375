/* basho_dir.h - the data files of a directory of Riak's Bitcask, in the order in which they count. One thread. */
#ifndef TOOLS_BASHO_DIR_H
#define TOOLS_BASHO_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct basho_entry {
    char *path;
    uint64_t id;
    uint64_t size;
    int64_t changed_ns;
    mode_t mode;
    bool marked; /* merged away, its deletion is pending: it does not count any more */
};

struct basho_dir {
    struct basho_entry *entries; /* by id */
    size_t count;
    size_t capacity;
    bool locked; /* a lock file is there: in use, or not closed */
};

/* Lists N.bitcask.data of a directory into a zeroed list. CLI_OK, CLI_ERROR; reported. basho_dir_free() is due in every case.
 */
int basho_dir_list(struct basho_dir *dir, const char *path);
void basho_dir_free(struct basho_dir *dir);
/* Whether two lists of one directory tell the same of every file. */
bool basho_dir_same(const struct basho_dir *a, const struct basho_dir *b);

#endif
