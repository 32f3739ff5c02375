/* dumpfile.h - the formats of dumps: how each is written to stdout, and read from stdin. */
#ifndef TOOLS_DUMPFILE_H
#define TOOLS_DUMPFILE_H

#include <bitcask/bitcask.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/input.h"

/* What the library takes. No reader holds more of a record than that. */
#define DUMP_KEY_MAX 65535
#define DUMP_VALUE_MAX ((UINT64_C(4) << 30) - (128 << 10))

/* ---- writing ---- */

struct dump_about {
    uint64_t live_bytes;
    bool printable; /* db, lmdb: format=print */
};

/* What goes wrong with stdout is kept by output.h. */
struct dump_writer {
    void (*begin)(const struct dump_about *about);
    void (*record)(bitcask_slice key, bitcask_slice value, int64_t expire_at_ms);
    /* incomplete: NULL, or why not all is there. Then the end is such that programs that load it see an error. */
    void (*end)(const char *incomplete);
};

/* ---- reading ---- */

enum dump_operation { DUMP_PUT, DUMP_DELETE, DUMP_TOUCH };

struct dump_record {
    enum dump_operation operation;
    bitcask_slice key, value; /* borrowed until the next call */
    int64_t expire_at_ms;     /* 0: never */
    uint64_t ttl_ms;          /* from now on; 0: what expire_at_ms says */
};

/* Records that are applied all or nothing; there may be none. */
struct dump_step {
    struct dump_record *records;
    size_t count;
};

struct dump_choice {
    const char *database; /* NULL: there is only one, without a name */
    bool last_wins;       /* of several values of a key */
};

struct dump_reader {
    bool by_line;                                    /* how positions are given */
    void *(*open)(const struct dump_choice *choice); /* NULL: no memory */
    enum input_result (*next)(void *state, struct input *input, struct dump_step *ret);
    void (*close)(void *state); /* NULL is OK */
};

/* ---- the list ---- */

struct dump_format {
    const char *name;
    char first;   /* of every dump of that format */
    bool expires; /* carries when a key expires */
    bool binary;  /* control characters stand in it as they are */
    const struct dump_writer *writer;
    const struct dump_reader *reader;
};

extern const struct dump_writer dump_db_writer, dump_lmdb_writer, dump_json_writer, dump_resp_writer;
extern const struct dump_reader dump_db_reader, dump_json_reader, dump_resp_reader;

const struct dump_format *dump_format_find(const char *name);
/* By the first byte. */
const struct dump_format *dump_format_guess(int first);

#endif
