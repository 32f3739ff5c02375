#include "tools/staging.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/filelist.h"

#define SUFFIX ".partial"

static int report(const char *path)
{
    return cli_say(CLI_ERROR, "%s: %s", path, strerror(errno));
}

static void release(struct staging *staging)
{
    if (staging->fd >= 0)
        close(staging->fd);
    free(staging->target);
    free(staging->path);
    *staging = (struct staging){.fd = -1};
}

/* Whether name is one that a store's directory has. */
static bool is_store_name(const char *name)
{
    static const char *const fixed[] = {"LOCK", "MANIFEST", "MANIFEST.tmp"};
    static const char *const suffixes[] = {".data", ".hint", ".tmp"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (strcmp(name, fixed[i]) == 0)
            return true;
    }
    size_t digits = strspn(name, "0123456789"), length = strlen(name);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        size_t suffix = strlen(suffixes[i]);
        if (digits >= 10 && length >= digits + suffix && strcmp(name + length - suffix, suffixes[i]) == 0)
            return true;
    }
    return false;
}

/* The first name in a directory other than those of a store (or of all, if none is allowed), "" if there is none; NULL: errno.
 */
static const char *foreign_name(const char *path, bool store_names, char *name, size_t size)
{
    DIR *stream = opendir(path);
    if (!stream)
        return NULL;
    *name = '\0';
    for (struct dirent *entry; *name == '\0' && (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !(store_names && is_store_name(entry->d_name)))
            snprintf(name, size, "%s", entry->d_name);
    }
    closedir(stream);
    return name;
}

/* Absent or an empty directory on the file system of its parent, to which the rename leads. */
static int check_target(const struct staging *staging, struct stat *st)
{
    char name[256], *parent = NULL;
    struct stat parent_st;
    if (stat(staging->target, st) != 0)
        return errno == ENOENT ? CLI_OK : report(staging->target);
    if (!S_ISDIR(st->st_mode))
        return cli_say(CLI_ERROR, "%s: not a directory", staging->target);
    if (!foreign_name(staging->target, false, name, sizeof name))
        return report(staging->target);
    if (*name != '\0')
        return cli_say(CLI_ERROR, "%s is not empty: %s is in it; give a directory that is empty or does not exist",
                       staging->target, name);
    if (asprintf(&parent, "%s/..", staging->target) < 0)
        return cli_say(CLI_ERROR, "out of memory");
    bool mounted = stat(parent, &parent_st) == 0 && parent_st.st_dev != st->st_dev;
    free(parent);
    if (mounted)
        return cli_say(CLI_ERROR, "%s is a mount point: give a new directory in it", staging->target);
    return CLI_OK;
}

static int set_paths(struct staging *staging, const char *target)
{
    staging->target = realpath(target, NULL);
    if (!staging->target && errno != ENOENT)
        return report(target);
    if (!staging->target && !(staging->target = strdup(target)))
        return cli_say(CLI_ERROR, "out of memory");
    for (size_t length = strlen(staging->target); length > 1 && staging->target[length - 1] == '/';)
        staging->target[--length] = '\0';
    if (asprintf(&staging->path, "%s%s", staging->target, SUFFIX) < 0) {
        staging->path = NULL;
        return cli_say(CLI_ERROR, "out of memory");
    }
    return CLI_OK;
}

/* The directory to work in, locked: a new one, or what a run left that was cut off. */
static int take_path(struct staging *staging)
{
    struct stat held, named;
    char name[256];
    if (mkdir(staging->path, 0700) != 0 && errno != EEXIST)
        return report(staging->path);
    staging->fd = open(staging->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (staging->fd < 0)
        return report(staging->path);
    if (flock(staging->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? cli_say(CLI_ERROR, "%s: another run is at work there", staging->path)
                                    : report(staging->path);
    /* The run that held it before may have given it its name meanwhile. */
    if (fstat(staging->fd, &held) != 0 || lstat(staging->path, &named) != 0 || held.st_ino != named.st_ino)
        return cli_say(CLI_ERROR, "%s: another run is at work there", staging->path);
    if (!foreign_name(staging->path, true, name, sizeof name))
        return report(staging->path);
    if (*name != '\0')
        return cli_say(CLI_ERROR, "%s is in the way, and %s in it was not left by a run that was cut off", staging->path, name);
    return CLI_OK;
}

int staging_begin(struct staging *staging, const char *target)
{
    struct stat st = {0};
    *staging = (struct staging){.fd = -1};
    int code = set_paths(staging, target);
    if (code == CLI_OK)
        code = check_target(staging, &st);
    if (code == CLI_OK)
        code = take_path(staging);
    if (code != CLI_OK) {
        release(staging);
        return code;
    }
    directory_empty(staging->path);
    /* A directory that was prepared for the store keeps its owner and mode. Not being allowed to give it away is no error. */
    if (S_ISDIR(st.st_mode) && (fchown(staging->fd, st.st_uid, st.st_gid) != 0 || fchmod(staging->fd, st.st_mode & 07777) != 0))
        errno = 0;
    return CLI_OK;
}

/* The name lies in the parent directory. */
static int sync_parent(const char *path)
{
    char *parent = NULL;
    if (asprintf(&parent, "%s/..", path) < 0)
        return cli_say(CLI_ERROR, "out of memory");
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = fd >= 0 && fsync(fd) == 0 ? CLI_OK : report(parent);
    if (fd >= 0)
        close(fd);
    free(parent);
    return code;
}

int staging_commit(struct staging *staging)
{
    int code = CLI_OK;
    if (rename(staging->path, staging->target) == 0) {
        code = sync_parent(staging->target);
        release(staging);
    } else {
        code = report(staging->target);
        staging_abort(staging);
    }
    return code;
}

void staging_abort(struct staging *staging)
{
    directory_remove(staging->path);
    release(staging);
}
