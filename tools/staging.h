/* staging.h - a directory that gets its name only when it is whole.
 *
 * It is made as NAME.partial beside NAME, which must be absent or an empty directory, and renamed when it is done. What a kill
 * leaves has that other name and is cleared away by the next run; the kernel's lock on it tells it from one that is still at
 * work. One thread.
 */
#ifndef TOOLS_STAGING_H
#define TOOLS_STAGING_H

struct staging {
    char *target; /* without trailing slashes; an existing one by its real path */
    char *path;   /* where to work */
    int fd;       /* of path; it holds the lock */
};

/* Makes the directory to work in. CLI_OK, CLI_ERROR; reported, and nothing is left. */
int staging_begin(struct staging *staging, const char *target);
/* Gives it its name, durably. CLI_OK, CLI_ERROR; reported. The staging is over in either case. */
int staging_commit(struct staging *staging);
/* Removes it with the files in it. */
void staging_abort(struct staging *staging);

#endif
