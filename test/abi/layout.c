/* layout.c - the binary interface of the public structs on LP64: what was laid out once stays where it is.
 *
 * A new member is appended, with a line of its own here; no line ever changes. Members follow each other without a gap, so that
 * no byte of a struct is undefined. As a program: the _INIT macros and the _init functions make the same bytes.
 */
#include <bitcask/bitcask.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#if defined(__LP64__)

#define ASSERT_MEMBER(type, member, offset, size)                                                                              \
    _Static_assert(offsetof(type, member) == (offset), #type "." #member " moved");                                            \
    _Static_assert(sizeof(((type *)NULL)->member) == (size), #type "." #member " has another size");
#define ADD_SIZE(type, member, offset, size) +(size)

#define CHECK(type, members, size)                                                                                             \
    members(ASSERT_MEMBER, type) _Static_assert(sizeof(type) == (size), #type " has another size");                            \
    _Static_assert((size) == 0 members(ADD_SIZE, type), #type " has a gap, or a member that is not listed here");

/* clang-format off: one line a member */
#define ERROR_MEMBERS(M, T)                                                                                                    \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, result, 8, 4)                                                                                                         \
    M(T, sys_errno, 12, 4)                                                                                                     \
    M(T, offset, 16, 8)                                                                                                        \
    M(T, file, 24, 8)                                                                                                          \
    M(T, message, 32, 8)
CHECK(bitcask_error, ERROR_MEMBERS, 40)

#define SLICE_MEMBERS(M, T)                                                                                                    \
    M(T, data, 0, 8)                                                                                                           \
    M(T, size, 8, 8)
CHECK(bitcask_slice, SLICE_MEMBERS, 16)

#define ALLOCATOR_MEMBERS(M, T)                                                                                                \
    M(T, resize, 0, 8)                                                                                                         \
    M(T, ctx, 8, 8)
CHECK(bitcask_allocator, ALLOCATOR_MEMBERS, 16)

#define OPTIONS_MEMBERS(M, T)                                                                                                  \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, flags, 8, 4)                                                                                                          \
    M(T, sync_mode, 12, 4)                                                                                                     \
    M(T, sync_interval_ms, 16, 8)                                                                                              \
    M(T, sync_bytes, 24, 8)                                                                                                    \
    M(T, max_file_size, 32, 8)                                                                                                 \
    M(T, max_open_files, 40, 4)                                                                                                \
    M(T, keydir_shards, 44, 4)                                                                                                 \
    M(T, file_mode, 48, 4)                                                                                                     \
    M(T, load_threads, 52, 4)                                                                                                  \
    M(T, allocator, 56, 8)                                                                                                     \
    M(T, clock, 64, 8)                                                                                                         \
    M(T, clock_ctx, 72, 8)                                                                                                     \
    M(T, log, 80, 8)                                                                                                           \
    M(T, log_ctx, 88, 8)                                                                                                       \
    M(T, progress, 96, 8)                                                                                                      \
    M(T, progress_ctx, 104, 8)                                                                                                 \
    M(T, max_bytes, 112, 8)                                                                                                    \
    M(T, max_keydir_bytes, 120, 8)                                                                                             \
    M(T, frag_merge_trigger, 128, 8)                                                                                           \
    M(T, frag_threshold, 136, 8)                                                                                               \
    M(T, dead_bytes_merge_trigger, 144, 8)                                                                                     \
    M(T, dead_bytes_threshold, 152, 8)                                                                                         \
    M(T, small_file_threshold, 160, 8)                                                                                         \
    M(T, max_merge_size, 168, 8)                                                                                               \
    M(T, total_frag_merge_trigger, 176, 8)                                                                                     \
    M(T, merge_check_interval_ms, 184, 8)                                                                                      \
    M(T, merge_window_start_hour, 192, 8)                                                                                      \
    M(T, merge_window_end_hour, 200, 8)                                                                                        \
    M(T, merge_rate_limit, 208, 8)
CHECK(bitcask_options, OPTIONS_MEMBERS, 216)

#define KEY_INFO_MEMBERS(M, T)                                                                                                 \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, value_size, 8, 8)                                                                                                     \
    M(T, sequence, 16, 8)                                                                                                      \
    M(T, expire_at_ms, 24, 8)
CHECK(bitcask_key_info, KEY_INFO_MEMBERS, 32)

#define VIEW_MEMBERS(M, T)                                                                                                     \
    M(T, data, 0, 8)                                                                                                           \
    M(T, size, 8, 8)                                                                                                           \
    M(T, sequence, 16, 8)                                                                                                      \
    M(T, expire_at_ms, 24, 8)                                                                                                  \
    M(T, pin, 32, 8)
CHECK(bitcask_view, VIEW_MEMBERS, 40)

#define PUT_OPTIONS_MEMBERS(M, T)                                                                                              \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, flags, 8, 4)                                                                                                          \
    M(T, reserved, 12, 4)                                                                                                      \
    M(T, expire_at_ms, 16, 8)                                                                                                  \
    M(T, sequence, 24, 8)
CHECK(bitcask_put_options, PUT_OPTIONS_MEMBERS, 32)

#define ITER_OPTIONS_MEMBERS(M, T)                                                                                             \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, flags, 8, 4)                                                                                                          \
    M(T, reserved, 12, 4)                                                                                                      \
    M(T, snapshot, 16, 8)                                                                                                      \
    M(T, prefix, 24, 16)                                                                                                       \
    M(T, first, 40, 16)                                                                                                        \
    M(T, last, 56, 16)                                                                                                         \
    M(T, limit, 72, 8)
CHECK(bitcask_iter_options, ITER_OPTIONS_MEMBERS, 80)

#define STATS_MEMBERS(M, T)                                                                                                    \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, keys, 8, 8)                                                                                                           \
    M(T, live_bytes, 16, 8)                                                                                                    \
    M(T, dead_bytes, 24, 8)                                                                                                    \
    M(T, disk_bytes, 32, 8)                                                                                                    \
    M(T, keydir_bytes, 40, 8)                                                                                                  \
    M(T, snapshot_bytes, 48, 8)                                                                                                \
    M(T, data_files, 56, 8)                                                                                                    \
    M(T, pins, 64, 8)                                                                                                          \
    M(T, snapshots, 72, 8)                                                                                                     \
    M(T, last_sequence, 80, 8)                                                                                                 \
    M(T, poisoned, 88, 8)                                                                                                      \
    M(T, log_bytes, 96, 8)                                                                                                     \
    M(T, merges, 104, 8)                                                                                                       \
    M(T, merge_failures, 112, 8)                                                                                               \
    M(T, merge_bytes_in, 120, 8)                                                                                               \
    M(T, merge_bytes_read, 128, 8)                                                                                             \
    M(T, merge_bytes_out, 136, 8)                                                                                              \
    M(T, tombstones_dropped, 144, 8)                                                                                           \
    M(T, expired, 152, 8)                                                                                                      \
    M(T, evictions, 160, 8)                                                                                                    \
    M(T, merge_total, 168, 8)                                                                                                  \
    M(T, merge_done, 176, 8)                                                                                                   \
    M(T, last_merge_ms, 184, 8)                                                                                                \
    M(T, last_merge_result, 192, 8)                                                                                            \
    M(T, last_merge_reasons, 200, 8)
CHECK(bitcask_stats, STATS_MEMBERS, 208)

#define FILE_INFO_MEMBERS(M, T)                                                                                                \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, id, 8, 8)                                                                                                             \
    M(T, size, 16, 8)                                                                                                          \
    M(T, keys, 24, 8)                                                                                                          \
    M(T, live_bytes, 32, 8)                                                                                                    \
    M(T, dead_bytes, 40, 8)                                                                                                    \
    M(T, min_sequence, 48, 8)                                                                                                  \
    M(T, max_sequence, 56, 8)                                                                                                  \
    M(T, state, 64, 4)                                                                                                         \
    M(T, merge_reasons, 68, 4)
CHECK(bitcask_file_info, FILE_INFO_MEMBERS, 72)

#define MERGE_OPTIONS_MEMBERS(M, T)                                                                                            \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, flags, 8, 4)                                                                                                          \
    M(T, reserved, 12, 4)                                                                                                      \
    M(T, files, 16, 8)                                                                                                         \
    M(T, file_count, 24, 8)                                                                                                    \
    M(T, progress, 32, 8)                                                                                                      \
    M(T, progress_ctx, 40, 8)
CHECK(bitcask_merge_options, MERGE_OPTIONS_MEMBERS, 48)

#define MERGE_RESULT_MEMBERS(M, T)                                                                                             \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, files_in, 8, 8)                                                                                                       \
    M(T, files_out, 16, 8)                                                                                                     \
    M(T, bytes_in, 24, 8)                                                                                                      \
    M(T, bytes_out, 32, 8)                                                                                                     \
    M(T, bytes_read, 40, 8)                                                                                                    \
    M(T, records, 48, 8)                                                                                                       \
    M(T, tombstones_dropped, 56, 8)                                                                                            \
    M(T, tombstones_kept, 64, 8)                                                                                               \
    M(T, expired, 72, 8)                                                                                                       \
    M(T, duration_ms, 80, 8)
CHECK(bitcask_merge_result, MERGE_RESULT_MEMBERS, 88)

#define BACKUP_OPTIONS_MEMBERS(M, T)                                                                                           \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, flags, 8, 4)                                                                                                          \
    M(T, reserved, 12, 4)                                                                                                      \
    M(T, progress, 16, 8)                                                                                                      \
    M(T, progress_ctx, 24, 8)                                                                                                  \
    M(T, result, 32, 8)
CHECK(bitcask_backup_options, BACKUP_OPTIONS_MEMBERS, 40)

#define BACKUP_RESULT_MEMBERS(M, T)                                                                                            \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, files, 8, 8)                                                                                                          \
    M(T, linked, 16, 8)                                                                                                        \
    M(T, copied, 24, 8)                                                                                                        \
    M(T, kept, 32, 8)                                                                                                          \
    M(T, removed, 40, 8)                                                                                                       \
    M(T, bytes, 48, 8)                                                                                                         \
    M(T, bytes_copied, 56, 8)                                                                                                  \
    M(T, sequence, 64, 8)                                                                                                      \
    M(T, duration_ms, 72, 8)
CHECK(bitcask_backup_result, BACKUP_RESULT_MEMBERS, 80)

#define HINT_OPTIONS_MEMBERS(M, T)                                                                                             \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, flags, 8, 4)                                                                                                          \
    M(T, reserved, 12, 4)                                                                                                      \
    M(T, progress, 16, 8)                                                                                                      \
    M(T, progress_ctx, 24, 8)                                                                                                  \
    M(T, log, 32, 8)                                                                                                           \
    M(T, log_ctx, 40, 8)
CHECK(bitcask_hint_options, HINT_OPTIONS_MEMBERS, 48)

#define HINT_RESULT_MEMBERS(M, T)                                                                                              \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, files, 8, 8)                                                                                                          \
    M(T, built, 16, 8)                                                                                                         \
    M(T, failed, 24, 8)
CHECK(bitcask_hint_result, HINT_RESULT_MEMBERS, 32)

#define FINDING_MEMBERS(M, T)                                                                                                  \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, severity, 8, 4)                                                                                                       \
    M(T, code, 12, 4)                                                                                                          \
    M(T, file, 16, 8)                                                                                                          \
    M(T, offset, 24, 8)                                                                                                        \
    M(T, size, 32, 8)                                                                                                          \
    M(T, sequence, 40, 8)                                                                                                      \
    M(T, key, 48, 16)                                                                                                          \
    M(T, message, 64, 8)
CHECK(bitcask_finding, FINDING_MEMBERS, 72)

#define VERIFY_OPTIONS_MEMBERS(M, T)                                                                                           \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, flags, 8, 4)                                                                                                          \
    M(T, threads, 12, 4)                                                                                                       \
    M(T, finding, 16, 8)                                                                                                       \
    M(T, finding_ctx, 24, 8)                                                                                                   \
    M(T, progress, 32, 8)                                                                                                      \
    M(T, progress_ctx, 40, 8)
CHECK(bitcask_verify_options, VERIFY_OPTIONS_MEMBERS, 48)
CHECK(bitcask_repair_options, VERIFY_OPTIONS_MEMBERS, 48)

#define VERIFY_RESULT_MEMBERS(M, T)                                                                                            \
    M(T, struct_size, 0, 8)                                                                                                    \
    M(T, errors, 8, 8)                                                                                                         \
    M(T, warnings, 16, 8)                                                                                                      \
    M(T, notes, 24, 8)                                                                                                         \
    M(T, files, 32, 8)                                                                                                         \
    M(T, hints, 40, 8)                                                                                                         \
    M(T, bytes, 48, 8)                                                                                                         \
    M(T, records, 56, 8)                                                                                                       \
    M(T, keys, 64, 8)                                                                                                          \
    M(T, live_bytes, 72, 8)                                                                                                    \
    M(T, dead_bytes, 80, 8)                                                                                                    \
    M(T, unreadable, 88, 8)                                                                                                    \
    M(T, repaired, 96, 8)                                                                                                      \
    M(T, salvaged, 104, 8)                                                                                                     \
    M(T, lost, 112, 8)                                                                                                         \
    M(T, lost_bytes, 120, 8)
CHECK(bitcask_verify_result, VERIFY_RESULT_MEMBERS, 128)
/* clang-format on */

#endif

#define SAME(type, macro, init)                                                                                                \
    do {                                                                                                                       \
        type by_macro = macro, by_function;                                                                                    \
        memset(&by_function, 0xff, sizeof by_function);                                                                        \
        init(&by_function, sizeof by_function);                                                                                \
        if (by_macro.struct_size != sizeof by_macro || memcmp(&by_macro, &by_function, sizeof by_macro) != 0) {                \
            fprintf(stderr, "%s is not what %s() does\n", #macro, #init);                                                      \
            bad = 1;                                                                                                           \
        }                                                                                                                      \
    } while (0)

int main(void)
{
    int bad = 0;
    SAME(bitcask_options, BITCASK_OPTIONS_INIT, bitcask_options_init);
    SAME(bitcask_key_info, BITCASK_KEY_INFO_INIT, bitcask_key_info_init);
    SAME(bitcask_put_options, BITCASK_PUT_OPTIONS_INIT, bitcask_put_options_init);
    SAME(bitcask_iter_options, BITCASK_ITER_OPTIONS_INIT, bitcask_iter_options_init);
    SAME(bitcask_stats, BITCASK_STATS_INIT, bitcask_stats_init);
    SAME(bitcask_merge_options, BITCASK_MERGE_OPTIONS_INIT, bitcask_merge_options_init);
    SAME(bitcask_merge_result, BITCASK_MERGE_RESULT_INIT, bitcask_merge_result_init);
    SAME(bitcask_backup_options, BITCASK_BACKUP_OPTIONS_INIT, bitcask_backup_options_init);
    SAME(bitcask_backup_result, BITCASK_BACKUP_RESULT_INIT, bitcask_backup_result_init);
    SAME(bitcask_hint_options, BITCASK_HINT_OPTIONS_INIT, bitcask_hint_options_init);
    SAME(bitcask_hint_result, BITCASK_HINT_RESULT_INIT, bitcask_hint_result_init);
    SAME(bitcask_verify_options, BITCASK_VERIFY_OPTIONS_INIT, bitcask_verify_options_init);
    SAME(bitcask_repair_options, BITCASK_REPAIR_OPTIONS_INIT, bitcask_repair_options_init);
    SAME(bitcask_verify_result, BITCASK_VERIFY_RESULT_INIT, bitcask_verify_result_init);
    return bad;
}
