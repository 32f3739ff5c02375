#include "tools/filelist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t changed_ns(const struct stat *st)
{
    return (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

static int report(const char *path)
{
    return cli_say(CLI_ERROR, "%s: %s", path, strerror(errno));
}

static char *join(const char *directory, const char *name)
{
    char *path;
    const char *slash = directory[strlen(directory) - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%s", directory, slash, name) < 0 ? NULL : path;
}

/* Takes over path. */
static int add(struct file_list *list, char *path, const struct stat *st)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 1024;
        struct file_entry *entries = reallocarray(list->entries, capacity, sizeof *entries);
        if (!entries) {
            free(path);
            return cli_say(CLI_ERROR, "out of memory");
        }
        list->entries = entries;
        list->capacity = capacity;
    }
    list->entries[list->count++] = (struct file_entry){path, (uint64_t)st->st_size, changed_ns(st)};
    return CLI_OK;
}

static int walk(struct file_list *list, const char *directory)
{
    DIR *stream = opendir(directory);
    if (!stream) {
        report(directory);
        list->skipped++;
        return CLI_OK;
    }
    int code = CLI_OK;
    for (struct dirent *entry; code == CLI_OK && (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *path = join(directory, entry->d_name);
        if (!path) {
            code = cli_say(CLI_ERROR, "out of memory");
            break;
        }
        struct stat st;
        if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            code = add(list, path, &st);
            continue;
        }
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            code = walk(list, path);
        free(path);
    }
    closedir(stream);
    return code;
}

int file_list_collect(struct file_list *list, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return report(path);
    if (S_ISDIR(st.st_mode))
        return walk(list, path);
    if (!S_ISREG(st.st_mode))
        return cli_say(CLI_ERROR, "%s: neither a directory nor a regular file", path);
    char *copy = strdup(path);
    return copy ? add(list, copy, &st) : cli_say(CLI_ERROR, "out of memory");
}

void file_list_free(struct file_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->entries[i].path);
    free(list->entries);
}

int file_read(const char *path, struct cli_bytes *buffer, size_t *capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return report(path);
    struct stat st;
    int code = fstat(fd, &st) == 0 ? CLI_OK : report(path);
    if (code == CLI_OK && !cli_reserve(buffer, capacity, (size_t)st.st_size + 1))
        code = cli_say(CLI_ERROR, "%s: out of memory", path);
    buffer->size = 0;
    while (code == CLI_OK) {
        if (!cli_reserve(buffer, capacity, buffer->size + 1)) {
            code = cli_say(CLI_ERROR, "%s: out of memory", path);
            break;
        }
        ssize_t got = read(fd, buffer->data + buffer->size, *capacity - buffer->size);
        if (got == 0)
            break;
        if (got > 0)
            buffer->size += (size_t)got;
        else if (errno != EINTR)
            code = report(path);
    }
    close(fd);
    return code;
}

bool file_changed(const struct file_entry *entry)
{
    struct stat st;
    return stat(entry->path, &st) != 0 || (uint64_t)st.st_size != entry->size || changed_ns(&st) != entry->changed_ns;
}

static void each_file(const char *path, void (*fn)(const char *path, void *arg), void *arg)
{
    DIR *stream = opendir(path);
    if (!stream)
        return;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *file = join(path, entry->d_name);
        if (file)
            fn(file, arg);
        free(file);
    }
    closedir(stream);
}

static void add_size(const char *path, void *arg)
{
    struct stat st;
    uint64_t *sum = arg;
    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
        *sum += (uint64_t)st.st_blocks * 512;
}

uint64_t directory_size(const char *path)
{
    uint64_t sum = 0;
    each_file(path, add_size, &sum);
    return sum;
}

static void remove_file(const char *path, void *arg)
{
    (void)arg;
    unlink(path);
}

void directory_empty(const char *path)
{
    each_file(path, remove_file, NULL);
}

void directory_remove(const char *path)
{
    directory_empty(path);
    rmdir(path);
}
