/* findings.h - what verify and repair share: printing findings, figures, exit codes as those of fsck(8). One thread. */
#ifndef TOOLS_FINDINGS_H
#define TOOLS_FINDINGS_H

#include "tools/cli.h"

/* Bits, which may come together. */
enum {
    FSCK_CLEAN = 0,
    FSCK_REPAIRED = 1,
    FSCK_DAMAGED = 4,
    FSCK_FAILED = 8,
    FSCK_USAGE = 16,
};

struct findings {
    const char *dir; /* for messages */
    bool json;
    bool color;
};

/* A bitcask_finding_fn; ctx is a struct findings. "FILE:OFFSET: what" on stdout, or a JSON object. With -q notes are left out.
 */
int findings_print(const bitcask_finding *finding, void *ctx);
/* Figures, one of FSCK_*: of the result of the library. What it failed with is reported. repair: which of the two it was. */
int findings_end(const struct findings *f, int result, const bitcask_verify_result *r, bool repair, bool dry_run);

#endif
