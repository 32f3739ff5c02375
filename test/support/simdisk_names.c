#include "test/support/simdisk_impl.h"

#include <stdlib.h>
#include <string.h>

static char *copy_string(const char *s)
{
    return s == NULL ? NULL : strcpy(sd_alloc(NULL, strlen(s) + 1), s);
}

/* ---- sets of names ---- */

static struct sd_entry *find_entry(const struct sd_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->entry[i].name, name) == 0)
            return &names->entry[i];
    return NULL;
}

struct sd_inode *sd_names_find(const struct sd_names *names, const char *name)
{
    const struct sd_entry *e = find_entry(names, name);
    return e == NULL ? NULL : e->inode;
}

void sd_names_set(struct sd_names *names, const char *name, struct sd_inode *inode)
{
    struct sd_entry *e = find_entry(names, name);
    if (e != NULL && inode != NULL) {
        e->inode = inode;
    } else if (e != NULL) {
        free(e->name);
        *e = names->entry[--names->count];
    } else if (inode != NULL) {
        names->entry = sd_alloc(names->entry, (names->count + 1) * sizeof *names->entry);
        names->entry[names->count++] = (struct sd_entry){copy_string(name), inode};
    }
}

void sd_names_clear(struct sd_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->entry[i].name);
    free(names->entry);
    *names = (struct sd_names){NULL, 0};
}

void sd_names_copy(struct sd_names *to, const struct sd_names *from)
{
    sd_names_clear(to);
    for (size_t i = 0; i < from->count; i++)
        sd_names_set(to, from->entry[i].name, from->entry[i].inode);
}

static bool names_hold(const struct sd_names *names, const struct sd_inode *inode)
{
    for (size_t i = 0; i < names->count; i++)
        if (names->entry[i].inode == inode)
            return true;
    return false;
}

/* ---- directories ---- */

struct sd_dir *sd_dir_find(struct simdisk *disk, const char *path)
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/')
        size--;
    for (size_t i = 0; i < disk->dir_count; i++)
        if (strlen(disk->dirs[i]->path) == size && memcmp(disk->dirs[i]->path, path, size) == 0)
            return disk->dirs[i];
    return NULL;
}

struct sd_dir *sd_dir_new(struct simdisk *disk, const char *path)
{
    struct sd_dir *dir = sd_alloc(NULL, sizeof *dir);
    memset(dir, 0, sizeof *dir);
    dir->path = copy_string(path);
    for (size_t size = strlen(dir->path); size > 1 && dir->path[size - 1] == '/'; size--)
        dir->path[size - 1] = '\0';
    disk->dirs = sd_alloc(disk->dirs, (disk->dir_count + 1) * sizeof(struct sd_dir *));
    disk->dirs[disk->dir_count++] = dir;
    return dir;
}

struct sd_dir *sd_dir_of(struct simdisk *disk, const char *path, const char **ret_name)
{
    const char *end = path + strlen(path);
    while (end > path + 1 && end[-1] == '/')
        end--;
    const char *slash = end;
    while (slash > path && slash[-1] != '/')
        slash--;
    *ret_name = slash;
    if (slash == path)
        return sd_dir_find(disk, ".");
    char *parent = copy_string(path);
    parent[slash - path] = '\0';
    struct sd_dir *dir = sd_dir_find(disk, parent);
    free(parent);
    return dir;
}

/* ---- operations that dir_sync() has not yet made durable ---- */

void sd_pending_add(struct simdisk *disk, struct sd_dir *dir, const char *from, const char *to, struct sd_inode *inode)
{
    disk->pending = sd_alloc(disk->pending, (disk->pending_count + 1) * sizeof *disk->pending);
    disk->pending[disk->pending_count++] = (struct sd_pending){dir, copy_string(from), copy_string(to), inode};
}

void sd_pending_apply(const struct sd_pending *op)
{
    /* An earlier operation that was lost may have left another file under the name, or none. */
    if (op->from != NULL && sd_names_find(&op->dir->durable, op->from) == op->inode)
        sd_names_set(&op->dir->durable, op->from, NULL);
    if (op->to != NULL)
        sd_names_set(&op->dir->durable, op->to, op->inode);
}

void sd_pending_clear(struct simdisk *disk, const struct sd_dir *only_or_null)
{
    size_t kept = 0;
    for (size_t i = 0; i < disk->pending_count; i++) {
        struct sd_pending *op = &disk->pending[i];
        if (only_or_null != NULL && op->dir != only_or_null) {
            disk->pending[kept++] = *op;
            continue;
        }
        free(op->from);
        free(op->to);
    }
    disk->pending_count = kept;
}

/* ---- which inodes live ---- */

unsigned sd_links(const struct simdisk *disk, const struct sd_inode *inode)
{
    unsigned links = 0;
    for (size_t i = 0; i < disk->dir_count; i++)
        for (size_t j = 0; j < disk->dirs[i]->now.count; j++)
            links += disk->dirs[i]->now.entry[j].inode == inode;
    return links;
}

bool sd_reachable(const struct simdisk *disk, const struct sd_inode *inode)
{
    for (size_t i = 0; i < disk->dir_count; i++)
        if (names_hold(&disk->dirs[i]->durable, inode))
            return true;
    for (size_t i = 0; i < disk->pending_count; i++)
        if (disk->pending[i].to != NULL && disk->pending[i].inode == inode)
            return true;
    return false;
}

static bool is_pending(const struct simdisk *disk, const struct sd_inode *inode)
{
    for (size_t i = 0; i < disk->pending_count; i++)
        if (disk->pending[i].inode == inode)
            return true;
    return false;
}

void sd_collect(struct simdisk *disk)
{
    size_t kept = 0;
    for (size_t i = 0; i < disk->inode_count; i++) {
        struct sd_inode *f = disk->inodes[i];
        if (f->descriptors > 0 || f->mappings > 0 || sd_links(disk, f) > 0 || sd_reachable(disk, f) || is_pending(disk, f))
            disk->inodes[kept++] = f;
        else
            sd_inode_free(f);
    }
    disk->inode_count = kept;
}
