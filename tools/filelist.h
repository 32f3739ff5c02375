/* filelist.h - the regular files below a path, and reading one of them. One thread. */
#ifndef TOOLS_FILELIST_H
#define TOOLS_FILELIST_H

#include "tools/bytes.h"
#include "tools/cli.h"

struct file_entry {
    char *path;
    uint64_t size;
    int64_t changed_ns; /* last change of content or status */
};

struct file_list {
    struct file_entry *entries;
    size_t count;
    size_t capacity;
    uint64_t skipped; /* directories that could not be read; each was reported */
};

/* Collects every regular file below path, or path itself, into a zeroed list, in no particular order. Symbolic links are not
 * followed, but for path itself. CLI_OK, CLI_ERROR; reported. file_list_free() is due in every case. */
int file_list_collect(struct file_list *list, const char *path);
void file_list_free(struct file_list *list);

/* Reads a file into *buffer, which grows as needed and belongs to the caller. CLI_OK, CLI_ERROR; reported. */
int file_read(const char *path, struct cli_bytes *buffer, size_t *capacity);
/* Whether a file is no longer what it was when it was collected. */
bool file_changed(const struct file_entry *entry);

/* Bytes that the files of a directory take on the disk; subdirectories do not count. */
uint64_t directory_size(const char *path);
/* Removes the files of a directory; subdirectories stay. Not reported, as below. */
void directory_empty(const char *path);
/* Removes a directory and the files in it; subdirectories make it fail. Not reported: there is nothing to do about it. */
void directory_remove(const char *path);

#endif
