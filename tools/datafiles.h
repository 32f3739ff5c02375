/* datafiles.h - the data files of an open store, and what a merge of them would win. */
#ifndef TOOLS_DATAFILES_H
#define TOOLS_DATAFILES_H

#include <bitcask/bitcask.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct data_files {
    bitcask_file_info *items; /* by id */
    size_t count, capacity;
};

/* CLI_OK, or what was reported. data_files_free() in each case. */
int data_files_list(bitcask *db, struct data_files *ret);
void data_files_free(struct data_files *files);

const char *data_file_state(const bitcask_file_info *file);
/* From 0 to 1; -1: there is nothing that could be alive. */
double data_live_part(uint64_t live, uint64_t dead);
/* A percentage; 100 is said only of what has no dead byte, "-" of no part. */
void data_format_percent(char *text, size_t size, double part);

/* BITCASK_MERGE_BECAUSE_* in words, from bit 0 on; NULL: there is no more. */
struct data_reason {
    uint32_t bit;
    char letter;
    const char *name; /* as in JSON */
    const char *text;
};
extern const struct data_reason data_reasons[];
void data_print_json_reasons(uint32_t reasons); /* an array */

/* What a merge would do. Some tombstones may have to stay, and what expired is found only by the merge: so it is an estimate.
 */
struct data_estimate {
    uint64_t files, bytes_in, bytes_out;
    uint64_t won; /* bytes_in - bytes_out; 0 if that is negative */
};

/* Whether a merge of everything takes this file. */
bool data_is_mergeable(const bitcask_file_info *file);
/* Of the files for which wanted says so, with outputs of at most max_file_size. False: out of memory, reported. */
bool data_estimate_merge(const struct data_files *files, uint64_t max_file_size,
                         bool (*wanted)(const bitcask_file_info *file, void *arg), void *arg, struct data_estimate *ret);

#endif
