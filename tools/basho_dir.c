#include "tools/basho_dir.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bytes.h"
#include "tools/cli.h"

#define SUFFIX ".bitcask.data"
/* The mark of a file whose deletion is pending: execution by others, in old releases setuid. */
#define MARKS ((mode_t)(S_IXOTH | S_ISUID))

/* "12.bitcask.data" is file 12. */
static bool parse_name(const char *name, uint64_t *ret_id)
{
    size_t length = strlen(name), suffix = sizeof SUFFIX - 1;
    char digits[24];
    if (length <= suffix || length - suffix >= sizeof digits || strcmp(name + length - suffix, SUFFIX) != 0)
        return false;
    memcpy(digits, name, length - suffix);
    digits[length - suffix] = '\0';
    return cli_number(digits, UINT64_MAX, ret_id);
}

static int add(struct basho_dir *dir, const char *path, const char *name, uint64_t id)
{
    if (dir->count == dir->capacity) {
        size_t capacity = dir->capacity ? dir->capacity * 2 : 64;
        struct basho_entry *entries = reallocarray(dir->entries, capacity, sizeof *entries);
        if (!entries)
            return cli_say(CLI_ERROR, "out of memory");
        dir->entries = entries;
        dir->capacity = capacity;
    }
    struct basho_entry entry = {.id = id};
    if (asprintf(&entry.path, "%s/%s", path, name) < 0)
        return cli_say(CLI_ERROR, "out of memory");
    struct stat st;
    bool known = stat(entry.path, &st) == 0;
    if (!known || !S_ISREG(st.st_mode)) {
        cli_say(CLI_ERROR, "%s: %s", entry.path, known ? "not a regular file" : strerror(errno));
        free(entry.path);
        return CLI_ERROR;
    }
    entry.size = (uint64_t)st.st_size;
    entry.changed_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
    entry.mode = st.st_mode;
    entry.marked = (st.st_mode & MARKS) != 0;
    dir->entries[dir->count++] = entry;
    return CLI_OK;
}

static int by_id(const void *a, const void *b)
{
    const struct basho_entry *left = a, *right = b;
    return left->id < right->id ? -1 : left->id > right->id;
}

int basho_dir_list(struct basho_dir *dir, const char *path)
{
    DIR *stream = opendir(path);
    if (!stream)
        return cli_say(CLI_ERROR, "%s: %s", path, strerror(errno));
    int code = CLI_OK;
    uint64_t id;
    errno = 0;
    for (struct dirent *entry; code == CLI_OK && (entry = readdir(stream)) != NULL; errno = 0) {
        if (parse_name(entry->d_name, &id))
            code = add(dir, path, entry->d_name, id);
        else if (strcmp(entry->d_name, "bitcask.write.lock") == 0 || strcmp(entry->d_name, "bitcask.merge.lock") == 0)
            dir->locked = true;
    }
    if (code == CLI_OK && errno != 0)
        code = cli_say(CLI_ERROR, "%s: %s", path, strerror(errno));
    closedir(stream);
    if (dir->count > 0)
        qsort(dir->entries, dir->count, sizeof *dir->entries, by_id);
    for (size_t i = 1; code == CLI_OK && i < dir->count; i++) {
        if (dir->entries[i - 1].id == dir->entries[i].id)
            code = cli_say(CLI_ERROR, "%s and %s have the same number", dir->entries[i - 1].path, dir->entries[i].path);
    }
    return code;
}

void basho_dir_free(struct basho_dir *dir)
{
    for (size_t i = 0; i < dir->count; i++)
        free(dir->entries[i].path);
    free(dir->entries);
    *dir = (struct basho_dir){0};
}

bool basho_dir_same(const struct basho_dir *a, const struct basho_dir *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct basho_entry *x = &a->entries[i], *y = &b->entries[i];
        if (x->id != y->id || x->size != y->size || x->changed_ns != y->changed_ns || x->mode != y->mode)
            return false;
    }
    return true;
}
