#include "tools/dumpfile.h"

#include <string.h>

static const struct dump_format formats[] = {
    {"json", '{', true, false, &dump_json_writer, &dump_json_reader},
    {"db", 'V', false, false, &dump_db_writer, &dump_db_reader},
    {"lmdb", 'V', false, false, &dump_lmdb_writer, &dump_db_reader},
    {"resp", '*', true, true, &dump_resp_writer, &dump_resp_reader},
};

#define FORMAT_COUNT (sizeof formats / sizeof formats[0])

const struct dump_format *dump_format_find(const char *name)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    }
    return NULL;
}

const struct dump_format *dump_format_guess(int first)
{
    if (first == ' ' || first == '\t')
        first = '{'; /* JSON may have white space anywhere, the others not there */
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        if (formats[i].first == first)
            return &formats[i];
    }
    return NULL;
}
