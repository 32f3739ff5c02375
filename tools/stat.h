/* stat.h - what bitcask stat knows of a store, and the forms in which it says so. */
#ifndef TOOLS_STAT_H
#define TOOLS_STAT_H

#include "tools/datafiles.h"

struct stat_report {
    const char *dir;
    const bitcask_options *options; /* those of the command line: the limits of other programs are not known */
    bitcask_stats stats;
    struct data_files files;
    bool *hints;                 /* by file: a hint file is there */
    uint64_t missing_hints;      /* of sealed files */
    struct data_estimate all;    /* a merge of everything */
    struct data_estimate policy; /* of what policy would take now */
};

uint64_t stat_max_file_size(const bitcask_options *options);
/* Disk bytes for each live byte; 0: nothing is alive. */
double stat_space_amplification(const struct stat_report *report);

void stat_print_text(const struct stat_report *report);
void stat_print_json(const struct stat_report *report);
/* The text exposition format of Prometheus. */
void stat_print_prometheus(const struct stat_report *report);

/* Calls say for each remark, one line without a newline. */
void stat_advise(const struct stat_report *report, void (*say)(const char *advice, void *arg), void *arg);

#endif
