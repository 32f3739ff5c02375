/* repair_aside.h - lost+found: where damaged files go, unchanged.
 *
 * A file gets a second name there first; its own name goes only after a MANIFEST that does not list it is durable. So at every
 * moment each file has a name under which nobody deletes it, and a repair that was cut off can start again: a second name of
 * the same file is not made twice. Nothing in lost+found is ever replaced. One thread.
 */
#ifndef BC_REPAIR_ASIDE_H
#define BC_REPAIR_ASIDE_H

#include "bitcask/findings.h"

#define BC_LOST_FOUND "lost+found"

struct bc_aside_file {
    char name[BC_NAME_SIZE];
    bool only_copy; /* its name stays: the rename of a new file over it takes it away */
    bool linked;
    const char *why; /* static */
};

struct bc_aside {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_aside_file *files;
    size_t count, capacity;
};

/* Notes a file that is to go; one that was noted before is not noted twice. OK, NO_MEMORY. */
int bc_aside_add(struct bc_aside *, const char *name, bool only_copy, const char *why) bc_must_check;
/* Gives all of them their second names, durably. What is a directory, or gone, is passed over. OK, IO, NO_SPACE. */
int bc_aside_link(struct bc_aside *, struct bc_findings *) bc_must_check;
/* After the MANIFEST is durable: the first names go. OK, IO. */
int bc_aside_unlink(struct bc_aside *) bc_must_check;
void bc_aside_free(struct bc_aside *);

#endif
