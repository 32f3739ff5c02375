/* Options by name: for -o name=value, configuration files, and changes while the store is open. One table serves all three. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bitcask/db.h"
#include "bitcask/error.h"

enum kind { KIND_U32, KIND_U64, KIND_SIZE, KIND_MODE, KIND_SYNC, KIND_FLAG };

struct setting {
    const char *name;
    enum kind kind;
    size_t offset; /* in bitcask_options */
    uint32_t flag; /* KIND_FLAG */
};

#define FIELD(name) offsetof(bitcask_options, name)

static const struct setting settings[] = {
    {"read_only", KIND_FLAG, FIELD(flags), BITCASK_OPEN_READ_ONLY},
    {"no_create", KIND_FLAG, FIELD(flags), BITCASK_OPEN_NO_CREATE},
    {"exclusive", KIND_FLAG, FIELD(flags), BITCASK_OPEN_EXCLUSIVE},
    {"no_mmap", KIND_FLAG, FIELD(flags), BITCASK_OPEN_NO_MMAP},
    {"guard_sigbus", KIND_FLAG, FIELD(flags), BITCASK_OPEN_GUARD_SIGBUS},
    {"salvage", KIND_FLAG, FIELD(flags), BITCASK_OPEN_SALVAGE},
    {"no_merge", KIND_FLAG, FIELD(flags), BITCASK_OPEN_NO_MERGE},
    {"sync_mode", KIND_SYNC, FIELD(sync_mode), 0},
    {"sync_interval_ms", KIND_U64, FIELD(sync_interval_ms), 0},
    {"sync_bytes", KIND_SIZE, FIELD(sync_bytes), 0},
    {"max_file_size", KIND_SIZE, FIELD(max_file_size), 0},
    {"max_open_files", KIND_U32, FIELD(max_open_files), 0},
    {"keydir_shards", KIND_U32, FIELD(keydir_shards), 0},
    {"file_mode", KIND_MODE, FIELD(file_mode), 0},
    {"load_threads", KIND_U32, FIELD(load_threads), 0},
    {"max_bytes", KIND_SIZE, FIELD(max_bytes), 0},
    {"max_keydir_bytes", KIND_SIZE, FIELD(max_keydir_bytes), 0},
    {"frag_merge_trigger", KIND_U64, FIELD(frag_merge_trigger), 0},
    {"frag_threshold", KIND_U64, FIELD(frag_threshold), 0},
    {"dead_bytes_merge_trigger", KIND_SIZE, FIELD(dead_bytes_merge_trigger), 0},
    {"dead_bytes_threshold", KIND_SIZE, FIELD(dead_bytes_threshold), 0},
    {"small_file_threshold", KIND_SIZE, FIELD(small_file_threshold), 0},
    {"max_merge_size", KIND_SIZE, FIELD(max_merge_size), 0},
    {"total_frag_merge_trigger", KIND_U64, FIELD(total_frag_merge_trigger), 0},
    {"merge_check_interval_ms", KIND_U64, FIELD(merge_check_interval_ms), 0},
    {"merge_window_start_hour", KIND_U64, FIELD(merge_window_start_hour), 0},
    {"merge_window_end_hour", KIND_U64, FIELD(merge_window_end_hour), 0},
    {"merge_rate_limit", KIND_SIZE, FIELD(merge_rate_limit), 0},
};

static const struct setting *find(const char *name)
{
    for (size_t i = 0; i < BC_ARRAY_SIZE(settings); i++)
        if (strcmp(settings[i].name, name) == 0)
            return &settings[i];
    return NULL;
}

static int bad_value(const char *name, const char *value, const char *wanted)
{
    return bc_fail(BITCASK_INVALID, 0, NULL, 0, "%s=%s: should be %s", name, value, wanted);
}

/* Decimal, or octal with base 8; for sizes with a suffix k, m, g or t, as binary multiples. */
static bool parse_number(const char *text, int base, bool suffix, uint64_t *ret)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long long number = strtoull(text, &end, base);
    if (errno != 0)
        return false;
    static const char units[] = "kmgt";
    unsigned shift = 0;
    if (suffix && *end != '\0') {
        const char *unit = strchr(units, *end | 0x20);
        if (unit == NULL)
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
        end++;
        if (strcasecmp(end, "ib") == 0 || strcasecmp(end, "b") == 0)
            end += strlen(end);
    }
    if (*end != '\0' || number > UINT64_MAX >> shift)
        return false;
    *ret = (uint64_t)number << shift;
    return true;
}

static bool parse_flag(const char *text, bool *ret)
{
    static const char *const yes[] = {"1", "true", "yes", "on"}, *const no[] = {"0", "false", "no", "off"};
    for (size_t i = 0; i < BC_ARRAY_SIZE(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *ret = strcasecmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static int parse_sync(const char *name, const char *value, uint32_t *ret)
{
    static const char *const modes[] = {"none", "interval", "always"};
    for (uint32_t i = 0; i < BC_ARRAY_SIZE(modes); i++) {
        if (strcasecmp(value, modes[i]) == 0) {
            *ret = i;
            return BITCASK_OK;
        }
    }
    return bad_value(name, value, "none, interval or always");
}

/* The limits and all that rules merges. */
static bool may_be_off(const struct setting *s)
{
    return s->offset >= FIELD(max_bytes);
}

static int set_field(const struct setting *s, const char *value, bitcask_options *o)
{
    void *field = (char *)o + s->offset;
    uint64_t number = 0;
    bool on = false;
    switch (s->kind) {
    case KIND_FLAG:
        if (!parse_flag(value, &on))
            return bad_value(s->name, value, "true or false");
        o->flags = on ? o->flags | s->flag : o->flags & ~s->flag;
        return BITCASK_OK;
    case KIND_SYNC:
        return parse_sync(s->name, value, field);
    case KIND_U32:
    case KIND_MODE:
        if (!parse_number(value, s->kind == KIND_MODE ? 8 : 10, false, &number) || number > UINT32_MAX)
            return bad_value(s->name, value, s->kind == KIND_MODE ? "an octal mode" : "a whole number");
        memcpy(field, &(uint32_t){(uint32_t)number}, sizeof(uint32_t));
        return BITCASK_OK;
    case KIND_U64:
    case KIND_SIZE:
    default:
        if (may_be_off(s) && strcasecmp(value, "off") == 0)
            number = BITCASK_OFF;
        else if (!parse_number(value, 10, s->kind == KIND_SIZE, &number))
            return bad_value(s->name, value, s->kind == KIND_SIZE ? "a size, as 64m or 1g" : "a whole number");
        memcpy(field, &number, sizeof number);
        return BITCASK_OK;
    }
}

static size_t field_size(const struct setting *s)
{
    return s->kind == KIND_U64 || s->kind == KIND_SIZE ? sizeof(uint64_t) : sizeof(uint32_t);
}

int bitcask_options_set(bitcask_options *options, const char *option, const char *value)
{
    const struct setting *s = option == NULL ? NULL : find(option);
    if (s == NULL || value == NULL)
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "%s: there is no such option", option == NULL ? "(null)" : option);
    if (options->struct_size < s->offset + field_size(s))
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "%s: the caller's bitcask_options has no room for it", option);
    return set_field(s, value, options);
}

/* What can change while the store is open: nothing that decides how its files are read. */
static bool is_live(const struct setting *s)
{
    return strncmp(s->name, "sync_", 5) == 0 || strncmp(s->name, "max_", 4) == 0 || may_be_off(s);
}

int bitcask_set(bitcask *db, const char *option, const char *value)
{
    const struct setting *s = option == NULL ? NULL : find(option);
    if (s == NULL || !is_live(s))
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "%s: no option that can be set while the store is open",
                       option == NULL ? "(null)" : option);
    bitcask_options o, resolved;
    if (bc_forked(&db->fork))
        return bc_db_refuse_forked();
    unsigned call = bc_pins_call(db->pins);
    pthread_mutex_lock(&db->starting);
    o = db->options;
    int result = bitcask_options_set(&o, option, value);
    if (result == BITCASK_OK)
        result = bc_options_resolve(&o, &resolved);
    if (result == BITCASK_OK) {
        /* This field alone: the others are read by other threads, which take no lock. */
        memcpy((char *)&db->options + s->offset, (const char *)&resolved + s->offset, field_size(s));
        atomic_store(&db->sync_mode, resolved.sync_mode);
        bc_log_configure(&db->log, &resolved);
        bc_merge_configure(&db->merger, &resolved);
        bc_filetable_set_budget(&db->files, db->read_only ? UINT32_MAX : resolved.max_open_files);
    }
    pthread_mutex_unlock(&db->starting);
    if (result == BITCASK_OK)
        bc_upkeep_wake(&db->upkeep);
    bc_pins_return(db->pins, call);
    return result;
}
