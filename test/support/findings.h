/* findings.h - what verify and repair find, kept for the tests: collected, counted, looked up. */
#ifndef TEST_SUPPORT_FINDINGS_H
#define TEST_SUPPORT_FINDINGS_H

#include <stdbool.h>

#include "bitcask/bitcask.h"

struct found {
    uint32_t severity, code;
    char file[64];
    uint64_t offset, size, sequence;
    char key[64]; /* "": none */
    char message[256];
};

struct found_list {
    struct found *items;
    size_t count;
    bitcask_verify_result result;
};

void found_free(struct found_list *);
/* A bitcask_finding_fn; ctx is a struct found_list. */
int found_add(const bitcask_finding *finding, void *ctx);
/* The library's result; asserts that the counters are those of the findings. */
int found_verify(const char *path, uint32_t flags, struct found_list *ret);
int found_repair(const char *path, uint32_t flags, struct found_list *ret);
/* The first one of this code in this file (NULL: any) from index on; NULL: none. */
const struct found *found_find(const struct found_list *, uint32_t code, const char *file, size_t from);
size_t found_count(const struct found_list *, uint32_t code);
void found_print(const struct found_list *); /* to stderr */

#endif
