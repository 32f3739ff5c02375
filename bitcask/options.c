#include "bitcask/options.h"

#include <string.h>

#include "bitcask/alloc.h"
#include "bitcask/error.h"
#include "bitcask/format_record.h"

#define LIMIT_MIN (1ULL << 20)
#define CHECK_INTERVAL_MAX (24ULL * 3600 * 1000)
#define EXPIRY_MIN 100000000000LL /* March 1973 in milliseconds, the year 5138 in seconds */

void bitcask_options_init(bitcask_options *options, size_t size)
{
    memset(options, 0, size);
    options->struct_size = size;
}

void bitcask_put_options_init(bitcask_put_options *options, size_t size)
{
    memset(options, 0, size);
    options->struct_size = size;
}

void bitcask_key_info_init(bitcask_key_info *info, size_t size)
{
    memset(info, 0, size);
    info->struct_size = size;
}

static int invalid(const char *message)
{
    return bc_fail(BITCASK_INVALID, 0, NULL, 0, "%s", message);
}

int bc_options_take(const void *given, size_t given_size, void *ret, size_t size, const char *name)
{
    if (given_size < sizeof(size_t))
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "%s.struct_size is not set: use its _INIT macro", name);
    memset(ret, 0, size);
    memcpy(ret, given, BC_MIN(given_size, size));
    const unsigned char *bytes = given;
    for (size_t i = size; i < given_size; i++)
        if (bytes[i] != 0)
            return bc_fail(BITCASK_UNSUPPORTED, 0, NULL, 0, "%s has a field that this version (%s) does not know", name,
                           bitcask_version());
    return BITCASK_OK;
}

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
    return value == 0 ? fallback : value;
}

static bool is_percentage(uint64_t value)
{
    return value <= 100 || value == BITCASK_OFF;
}

static int check_merge(const bitcask_options *o)
{
    if (!is_percentage(o->frag_merge_trigger) || !is_percentage(o->frag_threshold) ||
        !is_percentage(o->total_frag_merge_trigger))
        return invalid("options: frag_merge_trigger, frag_threshold and total_frag_merge_trigger are percentages, up to 100");
    if ((o->merge_window_start_hour > 23 && o->merge_window_start_hour != BITCASK_OFF) ||
        (o->merge_window_end_hour > 23 && o->merge_window_end_hour != BITCASK_OFF))
        return invalid("options: merge_window_start_hour and merge_window_end_hour must be 0 to 23");
    if (o->max_bytes < LIMIT_MIN || o->max_keydir_bytes < LIMIT_MIN)
        return invalid("options: max_bytes and max_keydir_bytes must be at least 1 MiB");
    if (o->merge_check_interval_ms > CHECK_INTERVAL_MAX)
        return invalid("options.merge_check_interval_ms must be at most a day");
    return BITCASK_OK;
}

static void resolve_merge(bitcask_options *o)
{
    o->max_bytes = or_default(o->max_bytes, BITCASK_OFF);
    o->max_keydir_bytes = or_default(o->max_keydir_bytes, BITCASK_OFF);
    o->frag_merge_trigger = or_default(o->frag_merge_trigger, 60);
    o->frag_threshold = or_default(o->frag_threshold, 40);
    o->dead_bytes_merge_trigger = or_default(o->dead_bytes_merge_trigger, 512ULL << 20);
    o->dead_bytes_threshold = or_default(o->dead_bytes_threshold, 128ULL << 20);
    o->small_file_threshold = or_default(o->small_file_threshold, 10ULL << 20);
    o->max_merge_size = or_default(o->max_merge_size, 100ULL << 30);
    o->total_frag_merge_trigger = or_default(o->total_frag_merge_trigger, 22);
    o->merge_check_interval_ms = or_default(o->merge_check_interval_ms, 10000);
    if (o->merge_check_interval_ms == BITCASK_OFF)
        o->merge_check_interval_ms = CHECK_INTERVAL_MAX;
    o->merge_rate_limit = or_default(o->merge_rate_limit, BITCASK_OFF);
}

static int check(const bitcask_options *o)
{
    const uint32_t known = BITCASK_OPEN_READ_ONLY | BITCASK_OPEN_NO_CREATE | BITCASK_OPEN_EXCLUSIVE | BITCASK_OPEN_NO_MMAP |
                           BITCASK_OPEN_SALVAGE | BITCASK_OPEN_NO_MERGE | BITCASK_OPEN_GUARD_SIGBUS;
    if ((o->flags & ~known) != 0)
        return bc_fail(BITCASK_UNSUPPORTED, 0, NULL, 0, "options.flags has a flag that this version does not know");
    if ((o->flags & BITCASK_OPEN_EXCLUSIVE) != 0 && (o->flags & (BITCASK_OPEN_READ_ONLY | BITCASK_OPEN_NO_CREATE)) != 0)
        return invalid("options.flags: EXCLUSIVE contradicts READ_ONLY and NO_CREATE");
    if (o->sync_mode > BITCASK_SYNC_ALWAYS)
        return invalid("options.sync_mode is none of BITCASK_SYNC_*");
    if (o->max_file_size < (64U << 10) || o->max_file_size > (16ULL << 30))
        return invalid("options.max_file_size must be 64 KiB to 16 GiB");
    if (o->keydir_shards < 64 || o->keydir_shards > 65536 || (o->keydir_shards & (o->keydir_shards - 1)) != 0)
        return invalid("options.keydir_shards must be a power of two, 64 to 65,536");
    if ((o->file_mode & ~0777U) != 0 || (o->file_mode & 0600U) != 0600U)
        return invalid("options.file_mode must be permission bits and let the owner read and write");
    if (o->load_threads > 64)
        return invalid("options.load_threads must be at most 64");
    if (o->allocator != NULL && o->allocator->resize == NULL)
        return invalid("options.allocator has no resize function");
    return check_merge(o);
}

int bc_options_resolve(const bitcask_options *given, bitcask_options *ret)
{
    bitcask_options o = BITCASK_OPTIONS_INIT;
    if (given != NULL) {
        int result = bc_options_take(given, given->struct_size, &o, sizeof o, "bitcask_options");
        if (result != BITCASK_OK)
            return result;
    }
    o.struct_size = sizeof o;
    o.sync_interval_ms = or_default(o.sync_interval_ms, 1000);
    o.sync_bytes = or_default(o.sync_bytes, 16U << 20);
    o.max_file_size = or_default(o.max_file_size, 256U << 20);
    o.max_open_files = (uint32_t)or_default(o.max_open_files, 1024);
    o.keydir_shards = (uint32_t)or_default(o.keydir_shards, 512);
    o.file_mode = (uint32_t)or_default(o.file_mode, 0600);
    resolve_merge(&o);
    if (o.allocator == NULL)
        o.allocator = &bc_allocator_default;
    if ((o.flags & BITCASK_OPEN_SALVAGE) != 0)
        o.flags |= BITCASK_OPEN_READ_ONLY;
    int result = check(&o);
    if (result != BITCASK_OK)
        return result;
    o.max_file_size = bc_align_up(o.max_file_size, 4096);
    *ret = o;
    return BITCASK_OK;
}

int bc_expiry_check(int64_t expire_at_ms)
{
    if (expire_at_ms == 0 || expire_at_ms >= EXPIRY_MIN)
        return BITCASK_OK;
    return invalid(expire_at_ms < 0 ? "expire_at_ms is negative"
                                    : "expire_at_ms is too small for Unix milliseconds: it looks like seconds");
}

int bc_put_options_resolve(const bitcask_put_options *given, uint32_t allowed, bitcask_put_options *ret)
{
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    if (given == NULL) {
        *ret = o;
        return BITCASK_OK;
    }
    int result = bc_options_take(given, given->struct_size, &o, sizeof o, "bitcask_put_options");
    if (result != BITCASK_OK)
        return result;
    const uint32_t conditions = o.flags & (BITCASK_PUT_IF_ABSENT | BITCASK_PUT_IF_PRESENT | BITCASK_PUT_IF_SEQUENCE);
    if (o.reserved != 0)
        return bc_fail(BITCASK_UNSUPPORTED, 0, NULL, 0, "bitcask_put_options.reserved must be zero");
    if ((o.flags & ~(BITCASK_PUT_SYNC | BITCASK_PUT_IF_ABSENT | BITCASK_PUT_IF_PRESENT | BITCASK_PUT_IF_SEQUENCE |
                     BITCASK_PUT_KEEP_TTL)) != 0)
        return bc_fail(BITCASK_UNSUPPORTED, 0, NULL, 0, "bitcask_put_options.flags has a flag that this version does not know");
    if ((o.flags & ~allowed) != 0)
        return invalid("bitcask_put_options.flags has a flag that does not apply to this call");
    if ((conditions & (conditions - 1)) != 0)
        return invalid("bitcask_put_options.flags: at most one of IF_ABSENT, IF_PRESENT, IF_SEQUENCE");
    if ((o.flags & BITCASK_PUT_KEEP_TTL) != 0 && (o.expire_at_ms != 0 || (o.flags & BITCASK_PUT_IF_ABSENT) != 0))
        return invalid("bitcask_put_options: KEEP_TTL contradicts expire_at_ms and IF_ABSENT");
    if ((allowed & BITCASK_PUT_KEEP_TTL) == 0 && o.expire_at_ms != 0)
        return invalid("bitcask_put_options.expire_at_ms does not apply to this call");
    result = bc_expiry_check(o.expire_at_ms);
    if (result == BITCASK_OK)
        *ret = o;
    return result;
}

int bc_key_check(const void *key, size_t key_size)
{
    if (bc_likely(bc_key_good(key, key_size)))
        return BITCASK_OK;
    if (key_size == 0 || key == NULL)
        return invalid("a key has at least one byte");
    return bc_fail(BITCASK_TOO_LARGE, 0, NULL, 0, "a key of %zu bytes; the limit is %u", key_size, BC_KEY_MAX);
}

int bc_value_check(const void *value, size_t value_size)
{
    if (bc_unlikely(value == NULL && value_size != 0))
        return invalid("value is NULL but has a size");
    if (bc_unlikely(value_size > BC_VALUE_MAX))
        return bc_fail(BITCASK_TOO_LARGE, 0, NULL, 0, "a value of %zu bytes; the limit is %u", value_size, BC_VALUE_MAX);
    return BITCASK_OK;
}

int bc_result_check(const void *ret)
{
    size_t size = sizeof size;
    if (ret != NULL)
        memcpy(&size, ret, sizeof size);
    return size < sizeof size ? invalid("struct_size of the result is not set: use its _INIT macro") : BITCASK_OK;
}

int bc_result_copy(void *ret, const void *result, size_t result_size)
{
    size_t size;
    int checked = bc_result_check(ret);
    if (checked != BITCASK_OK)
        return checked;
    memcpy(&size, ret, sizeof size);
    size_t bytes = BC_MIN(size, result_size);
    if (bytes > sizeof size)
        memcpy((char *)ret + sizeof size, (const char *)result + sizeof size, bytes - sizeof size);
    return BITCASK_OK;
}
