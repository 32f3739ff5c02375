/* bitcask.h - libbitcask: an embedded, log-structured hash store. One directory is one store.
 *
 * CAVEATS, first, because they cost the most when they are read last:
 *   - One process writes. A second opener for writing, in any process, this one too, gets BITCASK_LOCKED. Prefork servers
 *     open the store after the fork in one worker, or put one process in front of it.
 *   - Every key lives in memory: about 24 bytes plus the key, each.
 *   - Data files are read and written through memory mappings. A device that fails under a mapped page, or a file that
 *     somebody cuts, raises SIGBUS, as for every mapped file, and ends the process. Two options prevent that:
 *     BITCASK_OPEN_NO_MMAP uses system calls instead, and BITCASK_OPEN_GUARD_SIGBUS takes the signal: the read answers
 *     BITCASK_IO or BITCASK_CORRUPT, a write BITCASK_IO, and the handle then refuses writes (BITCASK_POISONED). The guard is
 * one signal handler for the process while such a handle, or a view of one, is there; faults that are not the store's go to the
 * handler that was there before. The host must not block SIGBUS in threads that use the handle, and a handler that it installs
 * later must pass faults on. Bytes of a view that was taken before such a fault may turn to zeros.
 *   - After fork() only the parent can use the handle; in the child its calls return BITCASK_FORKED, and close frees memory.
 *   - Not for network file systems: their locks and mappings do not keep the promises that the store needs.
 *   - A put returns when the record is in the page cache: it survives a kill of the process, not a power failure. What
 *     must survive that is written with BITCASK_PUT_SYNC, under BITCASK_SYNC_ALWAYS, or followed by bitcask_sync().
 *   - Expiry follows the system's clock. Order never does.
 *   - Space of overwritten, deleted and expired records comes back by merge: a background thread does that from the first
 *     write on, unless BITCASK_OPEN_NO_MERGE says otherwise.
 *
 * WHAT IT IS. Writes append to the active data file. An in-memory hash index, the KeyDir, knows where the newest record of
 * each key lies, so a get is one probe and one data access. Full data files are sealed and get a hint file from which the
 * KeyDir is rebuilt at the next open. Every record carries CRCs that are checked on every read, and its key is compared.
 *
 *     #include <bitcask/bitcask.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         bitcask *db;
 *         if (bitcask_open("sessions", NULL, &db) != BITCASK_OK) {
 *             fprintf(stderr, "%s\n", bitcask_last_error()->message);
 *             return 1;
 *         }
 *         bitcask_put_options put = BITCASK_PUT_OPTIONS_INIT;
 *         put.expire_at_ms = bitcask_now_ms(db) + 30 * 60 * 1000;
 *         if (bitcask_put(db, "user:17", 7, "Ada", 3, &put, NULL) != BITCASK_OK)
 *             fprintf(stderr, "%s\n", bitcask_last_error()->message);
 *
 *         void *value;
 *         size_t size;
 *         int result = bitcask_get(db, "user:17", 7, &value, &size);
 *         if (result == BITCASK_OK) {
 *             printf("%.*s\n", (int)size, (char *)value);
 *             bitcask_free(value);
 *         } else if (result == BITCASK_NOT_FOUND) {
 *             puts("no such session");
 *         } else {
 *             fprintf(stderr, "%s\n", bitcask_last_error()->message);
 *         }
 *         return bitcask_close(db) == BITCASK_OK ? 0 : 1;
 *     }
 *
 * CONVENTIONS
 *   Results    Functions that can fail return an int: BITCASK_OK (0) or a negative code of the list below. Each function
 *              states its closed list. INVALID, NO_MEMORY and FORKED may come from any of them and are not repeated.
 *   Outputs    Out-parameters stand last and are untouched on failure, unless the function says otherwise.
 *   Structs    Every struct that the caller allocates starts with struct_size and is set up by its _INIT macro or its _init
 *              function. Zero means default. A tail that this version does not know must be zero, else UNSUPPORTED.
 *              struct_size 0 is INVALID, of a result struct, too, and before anything is done.
 *   Bytes      Keys are 1 to 65,535 bytes, values 0 to 4 GiB - 128 KiB, of any content. The caller's buffers are borrowed
 *              for the call only.
 *   Threads    A bitcask handle is safe from any thread. A batch belongs to one thread at a time.
 *   Callbacks  None runs under a lock, but the clock, which must not call the library. None may call bitcask_close(). The log
 *              callback comes from any thread, during open and close, too, when there is no handle that it could use.
 *   Visibility A write is visible to every reader once it is appended, in the order of sequence numbers. It is durable when
 *              its call says so. Conditions are decided in that same order.
 *   Host       The library never exits, aborts, prints or touches signal dispositions, but for SIGBUS if
 *              GUARD_SIGBUS asks for it. Its threads block all signals.
 */
#ifndef BITCASK_BITCASK_H
#define BITCASK_BITCASK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BITCASK_API __attribute__((visibility("default")))
#else
#define BITCASK_API
#endif

#define BITCASK_VERSION_MAJOR 0
#define BITCASK_VERSION_MINOR 1
#define BITCASK_VERSION_PATCH 0

/* ---- results ---------------------------------------------------------------------------------------------------------- */

/* X(name, code, text). Codes are never renumbered. */
#define BITCASK_RESULT_MAP(X)                                                                                                  \
    X(OK, 0, "ok")                                                                                                             \
    X(NOT_FOUND, -1, "not found")                                                                                              \
    X(CONDITION, -2, "the condition of the write did not hold")                                                                \
    X(INVALID, -3, "invalid argument")                                                                                         \
    X(TOO_LARGE, -4, "key, value or batch over its limit")                                                                     \
    X(SHORT_BUFFER, -5, "the buffer is too small for the value")                                                               \
    X(NO_MEMORY, -6, "out of memory")                                                                                          \
    X(NO_SPACE, -7, "no space left")                                                                                           \
    X(IO, -8, "input/output error")                                                                                            \
    X(CORRUPT, -9, "damaged data")                                                                                             \
    X(LOCKED, -10, "another handle has the store open for writing")                                                            \
    X(BUSY, -11, "busy")                                                                                                       \
    X(READ_ONLY, -12, "the handle is read-only")                                                                               \
    X(POISONED, -13, "a sync failed earlier: writes are refused until the store is opened again")                              \
    X(FORKED, -14, "the handle belongs to the parent process")                                                                 \
    X(UNSUPPORTED, -15, "a format or option that this version does not know")                                                  \
    X(CANCELLED, -16, "cancelled")

#define BITCASK_RESULT_ENUM_(name, code, text) BITCASK_##name = (code),
enum { BITCASK_RESULT_MAP(BITCASK_RESULT_ENUM_) BITCASK_RESULT_LAST_ = -17 };
#undef BITCASK_RESULT_ENUM_

/* The text of a result. Never NULL; a static string. Any thread. */
BITCASK_API const char *bitcask_strerror(int result);
/* The name of a result, as "BITCASK_CORRUPT". Never NULL; a static string. Any thread. */
BITCASK_API const char *bitcask_errname(int result);
/* "MAJOR.MINOR.PATCH" of the library that runs, which may be newer than the header. */
BITCASK_API const char *bitcask_version(void);

/* What this thread's last failed call has to say. The strings are owned by the library and valid until the thread's next
 * failure. file is "" where no file is to blame; offset is a byte offset in file, 0 where none applies; sys_errno is 0 where
 * no system call failed. message is one line: what, where, and what to do. */
typedef struct bitcask_error {
    size_t struct_size;
    int32_t result;
    int32_t sys_errno;
    uint64_t offset;
    const char *file;
    const char *message;
} bitcask_error;

/* This thread's last failure; result is BITCASK_OK if there was none. Never NULL; owned by the library. */
BITCASK_API const bitcask_error *bitcask_last_error(void);

/* ---- types ------------------------------------------------------------------------------------------------------------ */

typedef struct bitcask bitcask;                   /* safe from any thread */
typedef struct bitcask_snapshot bitcask_snapshot; /* immutable, any thread */
typedef struct bitcask_iter bitcask_iter;         /* one thread at a time */
typedef struct bitcask_batch bitcask_batch;       /* one thread at a time */

/* Borrowed bytes. */
typedef struct bitcask_slice {
    const void *data;
    size_t size;
} bitcask_slice;

/* resize(NULL, n) allocates, resize(p, 0) frees and returns NULL, else as realloc(). Called from any thread, under locks: it
 * must not call the library. Serves the store's own memory, not the values that bitcask_get() hands out. A view holds some of
 * it: resize and ctx must be good until the handle is closed and its last view is released. */
typedef struct bitcask_allocator {
    void *(*resize)(void *ptr, size_t size, void *ctx);
    void *ctx;
} bitcask_allocator;

typedef void (*bitcask_log_fn)(int level, const char *message, void *ctx); /* one line, without newline */
typedef int64_t (*bitcask_clock_fn)(void *ctx);                            /* Unix milliseconds */

/* How far long work has come; total may be 0 if it is not known. Non-zero cancels it: CANCELLED, and the store stays valid. */
typedef int (*bitcask_progress_fn)(const char *phase, uint64_t done, uint64_t total, void *ctx);

#define BITCASK_LOG_ERROR 1 /* something was lost or refused */
#define BITCASK_LOG_WARN 2  /* something is not as it should be, nothing was lost */
#define BITCASK_LOG_INFO 3  /* what the store did: recovery, seals, merges */

/* ---- open and close --------------------------------------------------------------------------------------------------- */

/* bitcask_options.flags */
#define BITCASK_OPEN_READ_ONLY                                                                                                 \
    1U /* writes nothing at all; works beside a live writer; shows the moment of the open, or of the last bitcask_refresh() */
#define BITCASK_OPEN_NO_CREATE 2U /* the store must exist */
#define BITCASK_OPEN_EXCLUSIVE 4U /* the store must not exist yet */
#define BITCASK_OPEN_NO_MMAP 8U   /* pread and pwrite instead of mappings */
#define BITCASK_OPEN_SALVAGE                                                                                                   \
    16U /* implies READ_ONLY: opens a damaged store and shows what can be read, possibly older values */
#define BITCASK_OPEN_GUARD_SIGBUS                                                                                              \
    32U /* takes SIGBUS below the store's mappings: reads answer CORRUPT or IO, writes are refused as POISONED; see CAVEATS */
#define BITCASK_OPEN_NO_MERGE 64U /* no merge in the background, no eviction, no sweep of expired keys */

/* bitcask_options.sync_mode: when a write without BITCASK_PUT_SYNC becomes durable. */
#define BITCASK_SYNC_NONE 0U     /* when the system writes it back, or at the next sync of any kind */
#define BITCASK_SYNC_INTERVAL 1U /* in the background, after sync_interval_ms or sync_bytes, whichever comes first */
#define BITCASK_SYNC_ALWAYS 2U   /* before the call returns; concurrent writers share one fdatasync (group commit) */

/* As the value of a merge option or a limit: it does not apply. */
#define BITCASK_OFF UINT64_MAX

typedef struct bitcask_options {
    size_t struct_size;
    uint32_t flags;                     /* BITCASK_OPEN_* */
    uint32_t sync_mode;                 /* BITCASK_SYNC_* */
    uint64_t sync_interval_ms;          /* for SYNC_INTERVAL; 0 = 1000 */
    uint64_t sync_bytes;                /* for SYNC_INTERVAL; 0 = 16 MiB */
    uint64_t max_file_size;             /* bytes, 64 KiB to 16 GiB; 0 = 256 MiB. A larger record gets a file of its own */
    uint32_t max_open_files;            /* budget of descriptors and mappings of sealed files; 0 = 1024 */
    uint32_t keydir_shards;             /* power of two, 64 to 65,536; 0 = 512 */
    uint32_t file_mode;                 /* permission bits of new files; 0 = 0600: sessions are secrets */
    uint32_t load_threads;              /* threads that load at open, 1 to 64; 0 = one per processor, at most 8 */
    const bitcask_allocator *allocator; /* copied; NULL = realloc and free */
    bitcask_clock_fn clock;             /* NULL = the system's clock */
    void *clock_ctx;
    bitcask_log_fn log; /* NULL = no log */
    void *log_ctx;
    bitcask_progress_fn progress; /* of the load at open, in files; NULL = none */
    void *progress_ctx;
    /* A size that the store is kept below by evicting its oldest data, file by file, turn by turn; what was read in this turn
     * or the one before is spared, while that frees enough. 0 or BITCASK_OFF = no limit. */
    uint64_t max_bytes;        /* of data files; at least 1 MiB */
    uint64_t max_keydir_bytes; /* of memory that the keys take; at least 1 MiB */
    /* Merge in the background. A file past a trigger is merged; and with it, while the store as a whole is past
     * total_frag_merge_trigger or that is off, every file past its threshold. */
    uint64_t frag_merge_trigger;       /* dead bytes of a file, percent; 0 = 60 */
    uint64_t frag_threshold;           /* 0 = 40 */
    uint64_t dead_bytes_merge_trigger; /* dead bytes of a file; 0 = 512 MiB */
    uint64_t dead_bytes_threshold;     /* 0 = 128 MiB */
    uint64_t small_file_threshold;     /* files below this size take part; 0 = 10 MiB */
    uint64_t max_merge_size;           /* bytes of files in one step; 0 = 100 GiB */
    uint64_t total_frag_merge_trigger; /* dead bytes of the whole store, percent: the best files to merge go; 0 = 22 */
    uint64_t merge_check_interval_ms;  /* a look at least this often; 0 = 10,000. The first one after half of it or more */
    uint64_t merge_window_start_hour;  /* 0 to 23, local time; outside only eviction. Start and end the same = always */
    uint64_t merge_window_end_hour;    /* the first hour that is outside again */
    uint64_t merge_rate_limit;         /* bytes a second, read and written, of any merge; 0 = no limit */
} bitcask_options;

#define BITCASK_OPTIONS_INIT                                                                                                   \
    {                                                                                                                          \
        sizeof(bitcask_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0,  \
            0, 0, 0, 0, 0                                                                                                      \
    }
/* The same for callers that cannot use the macro; size is their sizeof. */
BITCASK_API void bitcask_options_init(bitcask_options *options, size_t size);

/* Sets one option by its name and a text value, for command lines and configuration files: the fields above by their names,
 * sizes with a suffix ("64m"), "off" for BITCASK_OFF, sync_mode as none, interval or always, and read_only, no_create,
 * exclusive, no_mmap, guard_sigbus, salvage, no_merge as true or false. Returns OK · INVALID (no such option, or not such a
 * value; nothing is changed). */
BITCASK_API int bitcask_options_set(bitcask_options *options, const char *option, const char *value);

/* The same on an open store, for options that can change there: sync_*, max_*, merge_*, frag_*, dead_bytes_*,
 * small_file_threshold and total_frag_merge_trigger. Returns OK · INVALID. */
BITCASK_API int bitcask_set(bitcask *db, const char *option, const char *value);

/* Opens the store in dir, creates it if it is absent, and recovers it after a crash.
 *
 * options may be NULL. *ret_db is caller-owned: bitcask_close() it. A crash of the process or of the machine never makes an
 * open fail and never needs a tool.
 * Returns OK · NOT_FOUND (no store, with NO_CREATE or READ_ONLY) · CONDITION (a store is there, with EXCLUSIVE) · LOCKED (open
 * for writing elsewhere) · BUSY (READ_ONLY beside a writer that changes faster than it can be read: try again) · CORRUPT (names
 * the file and the offset; nothing was modified) · IO · NO_SPACE · UNSUPPORTED (made by a newer version, or a backup that was
 * not finished; nothing was modified) · CANCELLED (by the progress callback). On a full disk an existing store opens; its
 * writes return NO_SPACE until there is room. */
BITCASK_API int bitcask_open(const char *dir, const bitcask_options *options, bitcask **ret_db);

/* Syncs, seals the state and closes. NULL is OK. No other call may start on the handle from here on; one that runs
 * makes it BUSY.
 *
 * Returns OK · BUSY (something is still open on the handle or a call is running; nothing changed, the handle stays valid) ·
 * IO, NO_SPACE, POISONED (the handle is gone; what was not durable may be lost at a power failure, and only then). */
BITCASK_API int bitcask_close(bitcask *db);

/* Moves a READ_ONLY handle to now: what the writer has appended, sealed, merged or cleared since the open or the last refresh.
 *
 * Readers of the handle, on any thread, go on: a key goes over in one step, batches whole, all in one step; they wait for that
 * step only, which takes a fraction of a microsecond for each key that changed. Snapshots, iterators and views that were taken
 * before show what they showed. Costs some small reads when nothing changed, else the reading of what is new; after a merge
 * that is its outputs (by their hint files) and one pass over the keys. New snapshots wait meanwhile.
 * Returns OK · INVALID (a handle that writes, or SALVAGE) · NOT_FOUND (the store is gone) · BUSY (its writer changes files
 * faster than they can be read: try again) · CORRUPT · IO · UNSUPPORTED. On failure the handle shows what it showed before. */
BITCASK_API int bitcask_refresh(bitcask *db);

/* ---- read ------------------------------------------------------------------------------------------------------------- */

/* Reads the value of a key into new memory.
 *
 * *ret_value is caller-owned malloc memory: bitcask_free() or free(); never NULL, also for an empty value.
 * Returns OK · NOT_FOUND (proved absent or expired) · CORRUPT (the record is damaged: never an older value) · IO. */
BITCASK_API int bitcask_get(bitcask *db, const void *key, size_t key_size, void **ret_value, size_t *ret_size);

/* Reads the value of a key into the caller's buffer; allocates nothing. buf may be NULL if capacity is 0.
 *
 * Returns OK · SHORT_BUFFER (*ret_size is set to the size needed; buf's content is undefined) · NOT_FOUND · CORRUPT · IO. */
BITCASK_API int bitcask_read(bitcask *db, const void *key, size_t key_size, void *buf, size_t capacity, size_t *ret_size);

typedef struct bitcask_key_info {
    size_t struct_size;
    uint64_t value_size;  /* bytes */
    uint64_t sequence;    /* of the write that made this value; for BITCASK_PUT_IF_SEQUENCE */
    int64_t expire_at_ms; /* Unix milliseconds; 0 = never */
} bitcask_key_info;

#define BITCASK_KEY_INFO_INIT                                                                                                  \
    {                                                                                                                          \
        sizeof(bitcask_key_info), 0, 0, 0                                                                                      \
    }
BITCASK_API void bitcask_key_info_init(bitcask_key_info *info, size_t size);

/* What is known of a key, without its value: the record's header is read and checked, the value is not.
 *
 * ret->struct_size must be set; it says how much is filled in.
 * Returns OK · NOT_FOUND · CORRUPT · IO. */
BITCASK_API int bitcask_info(bitcask *db, const void *key, size_t key_size, bitcask_key_info *ret);

/* A value where it lies: borrowed bytes, pinned by the view. pin is the library's. */
typedef struct bitcask_view {
    const void *data;
    size_t size;
    uint64_t sequence;
    int64_t expire_at_ms;
    void *pin;
} bitcask_view;

/* Reads the value of a key without copying it (where files are mapped; with BITCASK_OPEN_NO_MMAP the view owns a copy).
 *
 * The bytes stay valid and unchanged until bitcask_view_release(), through overwrite, delete, merge and bitcask_close(). A view
 * keeps its data file's space and mapping alive: release it soon. The bytes were checked when the view was taken.
 * Returns OK · NOT_FOUND · CORRUPT · IO. */
BITCASK_API int bitcask_view_get(bitcask *db, const void *key, size_t key_size, bitcask_view *ret);

/* Gives a view up and zeroes it. A zeroed view is OK: nothing happens. Any thread. */
BITCASK_API void bitcask_view_release(bitcask_view *view);

/* Reads many keys, with the memory accesses of up to 32 of them under way together: several times as fast as one by one.
 *
 * ret_results[i] is the result for keys[i]: OK · NOT_FOUND · INVALID · TOO_LARGE · CORRUPT · IO · NO_MEMORY. Each OK one has a
 * view in ret_views[i] that the caller releases; the other views are zeroed. The keys are read one after the other: no promise
 * says that they belong to one moment. Returns OK (also if single keys failed). */
BITCASK_API int bitcask_get_many(bitcask *db, const bitcask_slice *keys, size_t count, bitcask_view *ret_views,
                                 int *ret_results);

/* ---- write ------------------------------------------------------------------------------------------------------------ */

/* bitcask_put_options.flags */
#define BITCASK_PUT_SYNC 1U        /* durable before the call returns */
#define BITCASK_PUT_IF_ABSENT 2U   /* only if the key is absent or expired */
#define BITCASK_PUT_IF_PRESENT 4U  /* only if the key is present */
#define BITCASK_PUT_IF_SEQUENCE 8U /* only if the key is present with this sequence */
#define BITCASK_PUT_KEEP_TTL 16U   /* the expiry that the key has now, none if it is absent */

typedef struct bitcask_put_options {
    size_t struct_size;
    uint32_t flags;       /* BITCASK_PUT_* */
    uint32_t reserved;    /* 0 */
    int64_t expire_at_ms; /* Unix milliseconds, 0 = never. Below 100,000,000,000 it would be seconds: INVALID */
    uint64_t sequence;    /* for IF_SEQUENCE */
} bitcask_put_options;

#define BITCASK_PUT_OPTIONS_INIT                                                                                               \
    {                                                                                                                          \
        sizeof(bitcask_put_options), 0, 0, 0, 0                                                                                \
    }
BITCASK_API void bitcask_put_options_init(bitcask_put_options *options, size_t size);

/* Writes a value. options may be NULL. *ret_sequence (may be NULL) gets the sequence of this write, which is greater than that
 * of every earlier one and never used again.
 *
 * An expire_at_ms in the past is valid: the key is absent at once.
 * Returns OK · CONDITION · TOO_LARGE · NO_SPACE · IO · CORRUPT (IF_SEQUENCE on a damaged record) · READ_ONLY · POISONED.
 * On any other result than OK nothing was written, with one exception: IO or POISONED from a write with sync means that the
 * sync failed and the outcome is unknown; the handle refuses writes from then on. The same is true of IO from any write if
 * the handle refuses writes afterwards: the failed write could not be taken back. */
BITCASK_API int bitcask_put(bitcask *db, const void *key, size_t key_size, const void *value, size_t value_size,
                            const bitcask_put_options *options, uint64_t *ret_sequence);

/* Deletes a key. options may be NULL; of its flags SYNC and IF_SEQUENCE apply, others and an expiry are INVALID.
 *
 * Returns OK · NOT_FOUND (absent or expired; nothing was written) · CONDITION · and as bitcask_put(). */
BITCASK_API int bitcask_delete(bitcask *db, const void *key, size_t key_size, const bitcask_put_options *options,
                               uint64_t *ret_sequence);

/* Gives a key a new expiry (0 = never) and keeps its value: an atomic rewrite of the record, with a new sequence.
 * flags: BITCASK_PUT_SYNC or 0.
 *
 * Returns OK · NOT_FOUND · CORRUPT · and as bitcask_put(). */
BITCASK_API int bitcask_touch(bitcask *db, const void *key, size_t key_size, int64_t expire_at_ms, uint32_t flags);

/* Makes all that is visible now durable.
 *
 * Returns OK · IO (outcome unknown; the handle refuses writes from then on) · NO_SPACE · READ_ONLY · POISONED. */
BITCASK_API int bitcask_sync(bitcask *db);

/* Deletes every key, in one step that a crash leaves done or not done; durable when it returns. flags: 0.
 *
 * Returns OK · BUSY (called from within a merge's callback) · NO_SPACE · IO · READ_ONLY · POISONED. */
BITCASK_API int bitcask_clear(bitcask *db, uint32_t flags);

/* Frees what bitcask_get() returned. NULL is OK. */
BITCASK_API void bitcask_free(void *ptr);

/* The store's clock in Unix milliseconds, for now + ttl. It never steps back while the handle is open. */
BITCASK_API int64_t bitcask_now_ms(bitcask *db);

/* ---- batch ------------------------------------------------------------------------------------------------------------ */

/* A list of puts and deletes that bitcask_write() applies all or nothing, under crash, error and concurrent reader. The batch
 * copies what it is given and can be used again after bitcask_batch_clear(). At most 1 GiB in all.
 *
 * Returns of put and delete: OK · TOO_LARGE; the batch is unchanged on failure. */
BITCASK_API int bitcask_batch_new(bitcask_batch **ret_batch); /* caller-owned: bitcask_batch_free() */
BITCASK_API int bitcask_batch_put(bitcask_batch *batch, const void *key, size_t key_size, const void *value, size_t value_size,
                                  int64_t expire_at_ms);
BITCASK_API int bitcask_batch_delete(bitcask_batch *batch, const void *key, size_t key_size);
BITCASK_API void bitcask_batch_clear(bitcask_batch *batch);
BITCASK_API void bitcask_batch_free(bitcask_batch *batch); /* NULL is OK */

/* Applies a batch. Of several operations on one key the last wins. Deleting an absent key is no error here. An empty batch is
 * OK. The batch is not changed and stays the caller's. flags: BITCASK_PUT_SYNC or 0.
 *
 * Returns OK · TOO_LARGE · NO_SPACE · IO · READ_ONLY · POISONED; as bitcask_put() for what an error leaves behind. */
BITCASK_API int bitcask_write(bitcask *db, bitcask_batch *batch, uint32_t flags);

/* ---- snapshots and iteration ------------------------------------------------------------------------------------------- */

/* The store as it is at this moment, for as long as it is held, whatever is written meanwhile. Cheap to take; nobody waits.
 *
 * *ret is caller-owned: bitcask_snapshot_release() it before bitcask_close(). While it is held, a KeyDir shard that changes
 * keeps its old slots (16 bytes a key, once for each snapshot), and files that a clear took away stay on disk. Expiry is judged
 * by the time at which the snapshot was taken. Returns OK. */
BITCASK_API int bitcask_snapshot_new(bitcask *db, bitcask_snapshot **ret);
BITCASK_API void bitcask_snapshot_release(bitcask_snapshot *snapshot); /* NULL is OK; any thread */

/* As bitcask_view_get(), at the snapshot's moment. The view may outlive the snapshot. */
BITCASK_API int bitcask_snapshot_view(bitcask_snapshot *snapshot, const void *key, size_t key_size, bitcask_view *ret);

/* bitcask_iter_options.flags */
#define BITCASK_ITER_SORTED 1U    /* in the order of memcmp; collects the matching keys first: their bytes and 48 a key */
#define BITCASK_ITER_KEYS_ONLY 2U /* no values, nothing is read from disk */

typedef struct bitcask_iter_options {
    size_t struct_size;
    uint32_t flags;             /* BITCASK_ITER_* */
    uint32_t reserved;          /* 0 */
    bitcask_snapshot *snapshot; /* borrowed until the iterator is freed; NULL = one of its own */
    bitcask_slice prefix;       /* only keys that start with it */
    bitcask_slice first;        /* only keys from it on; data NULL = open */
    bitcask_slice last;         /* only keys up to it, itself included; data NULL = open */
    uint64_t limit;             /* at most so many; 0 = no limit */
} bitcask_iter_options;

#define BITCASK_ITER_OPTIONS_INIT                                                                                              \
    {                                                                                                                          \
        sizeof(bitcask_iter_options), 0, 0, NULL, {NULL, 0}, {NULL, 0}, {NULL, 0}, 0                                           \
    }
BITCASK_API void bitcask_iter_options_init(bitcask_iter_options *options, size_t size);

/* Walks the keys of one moment, each exactly once, in no order unless SORTED. options may be NULL; what they borrow is copied,
 * but for the snapshot. *ret is caller-owned and stands before the first key: bitcask_iter_free() it before bitcask_close().
 * Returns OK. */
BITCASK_API int bitcask_iter_new(bitcask *db, const bitcask_iter_options *options, bitcask_iter **ret);

/* Moves to the next key. Returns OK · NOT_FOUND (there is none). */
BITCASK_API int bitcask_iter_next(bitcask_iter *iter);

/* The key, borrowed until the next call of next or free; {NULL, 0} if the iterator stands on none. */
BITCASK_API bitcask_slice bitcask_iter_key(const bitcask_iter *iter);

/* The value, borrowed until the next call of next or free. Returns OK · CORRUPT (this record; next goes on) · IO · INVALID
 * (stands on no key, or KEYS_ONLY). */
BITCASK_API int bitcask_iter_value(bitcask_iter *iter, bitcask_slice *ret);

/* As bitcask_info(), of the key that the iterator stands on. Returns OK · CORRUPT · IO. */
BITCASK_API int bitcask_iter_info(const bitcask_iter *iter, bitcask_key_info *ret);
BITCASK_API void bitcask_iter_free(bitcask_iter *iter); /* NULL is OK */

/* Called for each key; runs under no lock and may call anything but bitcask_close(). key and value are borrowed for the call.
 * Non-zero stops the fold. With KEYS_ONLY value is {NULL, 0} and info all zero but its size. */
typedef int (*bitcask_fold_fn)(bitcask_slice key, bitcask_slice value, const bitcask_key_info *info, void *ctx);

/* Calls fn for every key of one moment. Returns OK · fn's non-zero value · CORRUPT · IO (a record could not be read: the fold
 * ends there; an iterator can go on). */
BITCASK_API int bitcask_fold(bitcask *db, const bitcask_iter_options *options, bitcask_fold_fn fn, void *ctx);

/* ---- statistics ---------------------------------------------------------------------------------------------------------- */

typedef struct bitcask_stats {
    size_t struct_size;
    uint64_t keys;           /* expired ones until they are swept */
    uint64_t live_bytes;     /* of records that the KeyDir points to */
    uint64_t dead_bytes;     /* of all others */
    uint64_t disk_bytes;     /* of data files, without space reserved ahead */
    uint64_t keydir_bytes;   /* memory of the KeyDir, what snapshots keep included */
    uint64_t snapshot_bytes; /* of these, what snapshots keep */
    uint64_t data_files;
    uint64_t pins;          /* views that are held, on files that are open */
    uint64_t snapshots;     /* that are held */
    uint64_t last_sequence; /* of the newest write */
    uint64_t poisoned;      /* 1: a sync failed, writes are refused */
    /* Since the store was opened: */
    uint64_t log_bytes;          /* of records that writes appended */
    uint64_t merges;             /* steps that were committed */
    uint64_t merge_failures;     /* steps that were not */
    uint64_t merge_bytes_in;     /* of the files that merges took */
    uint64_t merge_bytes_read;   /* of these and of hint files; less than merge_bytes_in where a file was spent */
    uint64_t merge_bytes_out;    /* of the files that they made: in - out was reclaimed */
    uint64_t tombstones_dropped; /* by merges */
    uint64_t expired;            /* keys whose expiry was noticed by a sweep or a merge */
    uint64_t evictions;          /* keys that max_bytes or max_keydir_bytes has cost */
    uint64_t merge_total;        /* bytes of the files that are being merged now; 0: no merge is running */
    uint64_t merge_done;         /* of these */
    uint64_t last_merge_ms;      /* how long the last step took */
    int64_t last_merge_result;   /* BITCASK_* of the last step */
    uint64_t last_merge_reasons; /* BITCASK_MERGE_BECAUSE_*: why it was taken */
} bitcask_stats;

#define BITCASK_STATS_INIT                                                                                                     \
    {                                                                                                                          \
        sizeof(bitcask_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                       \
    }
BITCASK_API void bitcask_stats_init(bitcask_stats *stats, size_t size);

/* Counters of this moment; taken one after the other while others write. ret->struct_size must be set. Returns OK. */
BITCASK_API int bitcask_stats_get(bitcask *db, bitcask_stats *ret);

#define BITCASK_FILE_OPEN 1U   /* is written, or waits to be sealed */
#define BITCASK_FILE_SEALED 2U /* never changes */

/* bitcask_file_info.merge_reasons: why policy would merge a file now. */
#define BITCASK_MERGE_BECAUSE_FRAGMENTED 1U /* frag_merge_trigger or frag_threshold */
#define BITCASK_MERGE_BECAUSE_DEAD_BYTES 2U /* dead_bytes_merge_trigger or dead_bytes_threshold */
#define BITCASK_MERGE_BECAUSE_SMALL 4U      /* small_file_threshold, along with others */
#define BITCASK_MERGE_BECAUSE_EXPIRED 8U    /* every live key in it has expired */
#define BITCASK_MERGE_BECAUSE_SPACE 16U     /* total_frag_merge_trigger, and it is among the best to merge */
/* Of a step alone (bitcask_stats.last_merge_reasons), beside those of its files. */
#define BITCASK_MERGE_BECAUSE_ASKED 32U /* bitcask_merge() of everything, or of chosen files */
#define BITCASK_MERGE_BECAUSE_LIMIT 64U /* max_bytes or max_keydir_bytes: an eviction */

typedef struct bitcask_file_info {
    size_t struct_size;
    uint64_t id; /* the file is <id>.data, ten digits */
    uint64_t size;
    uint64_t keys; /* live */
    uint64_t live_bytes;
    uint64_t dead_bytes;
    uint64_t min_sequence; /* 0 and 0 if it holds no record */
    uint64_t max_sequence;
    uint32_t state;         /* BITCASK_FILE_* */
    uint32_t merge_reasons; /* BITCASK_MERGE_BECAUSE_*; 0: none */
} bitcask_file_info;

typedef int (*bitcask_file_fn)(const bitcask_file_info *info, void *ctx); /* non-zero stops and is returned */

/* Calls fn for each data file, in no order; under no lock. Returns OK · fn's non-zero value. */
BITCASK_API int bitcask_each_file(bitcask *db, bitcask_file_fn fn, void *ctx);

/* ---- merge ------------------------------------------------------------------------------------------------------------- */

#define BITCASK_MERGE_POLICY 1U /* bitcask_merge_options.flags: only what the background merge would take now */

typedef struct bitcask_merge_options {
    size_t struct_size;
    uint32_t flags;        /* BITCASK_MERGE_* */
    uint32_t reserved;     /* 0 */
    const uint64_t *files; /* borrowed: ids of sealed data files to merge; NULL = all of the store */
    size_t file_count;
    bitcask_progress_fn progress; /* bytes of the files to merge, on the calling thread */
    void *progress_ctx;
} bitcask_merge_options;

#define BITCASK_MERGE_OPTIONS_INIT                                                                                             \
    {                                                                                                                          \
        sizeof(bitcask_merge_options), 0, 0, NULL, 0, NULL, NULL                                                               \
    }
BITCASK_API void bitcask_merge_options_init(bitcask_merge_options *options, size_t size);

typedef struct bitcask_merge_result {
    size_t struct_size;
    uint64_t files_in;  /* data files that went */
    uint64_t files_out; /* data files that were made of them */
    uint64_t bytes_in;
    uint64_t bytes_out; /* bytes_in - bytes_out was reclaimed */
    uint64_t bytes_read;
    uint64_t records;            /* live ones that were copied */
    uint64_t tombstones_dropped; /* and what counts as one */
    uint64_t tombstones_kept;    /* they hide older records in files that were not merged */
    uint64_t expired;            /* keys that were found expired */
    uint64_t duration_ms;
} bitcask_merge_result;

#define BITCASK_MERGE_RESULT_INIT                                                                                              \
    {                                                                                                                          \
        sizeof(bitcask_merge_result), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                                             \
    }
BITCASK_API void bitcask_merge_result_init(bitcask_merge_result *result, size_t size);

/* Merges now, on the calling thread, while everybody else reads and writes: live records are copied into new files, old files
 * go. By default everything, until no dead byte and no tombstone of before the call is left. options and ret may be NULL.
 *
 * One merge runs at a time: another one, in the background or on a thread, is waited for. While merges are paused it waits,
 * too. A file is given up only when its successor is durable; readers, views, snapshots and iterators go on in it. Returns OK ·
 * BUSY (called from within a merge's progress callback) · INVALID (an id that is no sealed data file) · CORRUPT (a data file is
 * damaged: it was kept as it is and will be left alone by the background merge, the others were merged) · NO_SPACE · IO ·
 * CANCELLED (by the callback, by close or by clear) · READ_ONLY · POISONED. What was committed before a failure stays; ret
 * tells, whatever the result. */
BITCASK_API int bitcask_merge(bitcask *db, const bitcask_merge_options *options, bitcask_merge_result *ret);

/* Calls fn for each file that the background merge would take now, with the reasons; under no lock. A read-only handle judges
 * by its own merge options and by what it has seen. Returns OK · fn's non-zero value. */
BITCASK_API int bitcask_needs_merge(bitcask *db, bitcask_file_fn fn, void *ctx);

/* Merges stand still, at their next record, from pause until resume; eviction and the sweep of expired keys too. Returns OK. */
BITCASK_API int bitcask_merge_pause(bitcask *db);
BITCASK_API int bitcask_merge_resume(bitcask *db);

/* ---- backup ------------------------------------------------------------------------------------------------------------ */

/* bitcask_backup_options.flags */
#define BITCASK_BACKUP_NO_LINK 1U     /* copies every file, so that the backup shares nothing with the store */
#define BITCASK_BACKUP_VERIFY_ALL 2U  /* also reads what an earlier backup left there */
#define BITCASK_BACKUP_SKIP_LINKED 4U /* reads no linked file: they are the store's own bytes. The backup is then quick */
#define BITCASK_BACKUP_RESTORE                                                                                                 \
    8U /* into an absent or empty directory, implies NO_LINK; what is made is a store, and no backup ever goes there */

typedef struct bitcask_backup_result {
    size_t struct_size;
    uint64_t files;        /* data files of the backup */
    uint64_t linked;       /* of these, hard links to the store's */
    uint64_t copied;       /* of these, copied now */
    uint64_t kept;         /* of these, there from an earlier run */
    uint64_t removed;      /* files of an earlier run that were taken away */
    uint64_t bytes;        /* of the data files */
    uint64_t bytes_copied; /* of these, copied now */
    uint64_t sequence;     /* the backup shows the store after the write with this sequence */
    uint64_t duration_ms;
} bitcask_backup_result;

#define BITCASK_BACKUP_RESULT_INIT                                                                                             \
    {                                                                                                                          \
        sizeof(bitcask_backup_result), 0, 0, 0, 0, 0, 0, 0, 0, 0                                                               \
    }
BITCASK_API void bitcask_backup_result_init(bitcask_backup_result *result, size_t size);

typedef struct bitcask_backup_options {
    size_t struct_size;
    uint32_t flags;               /* BITCASK_BACKUP_* */
    uint32_t reserved;            /* 0 */
    bitcask_progress_fn progress; /* bytes, in the phases "backup" and "verify", on the calling thread */
    void *progress_ctx;
    bitcask_backup_result *result; /* borrowed; filled in whatever the call returns; NULL = not wanted */
} bitcask_backup_options;

#define BITCASK_BACKUP_OPTIONS_INIT                                                                                            \
    {                                                                                                                          \
        sizeof(bitcask_backup_options), 0, 0, NULL, NULL, NULL                                                                 \
    }
BITCASK_API void bitcask_backup_options_init(bitcask_backup_options *options, size_t size);

/* Copies the store into a directory, while everybody else reads and writes. options may be NULL.
 *
 * What is in the backup: everything that was written before the call, durable or not, up to one moment; batches whole. Of a
 * READ_ONLY handle: what the handle shows. The backup is a store like any other, and durable when the call returns OK.
 *
 * The directory's parent must exist. The directory is absent, empty, or holds an earlier backup of this store that nobody has
 * written to: then only what is new is brought, and what left the store is taken away at the end. Sealed data files are hard
 * links where that can be (the same file system; their space stays in use until the next backup lets them go), the rest is
 * copied. No file that a writer of the store or of the backup ever changes is shared between them. All that came is read back
 * before the earlier backup is given up: a failure, a cancel or a crash leaves that valid, or leaves a directory that
 * bitcask_open() refuses as an unfinished backup; the next call completes it.
 *
 * Merges, clears and other backups wait until the files have been brought; so does the call for them. Writers wait for
 * nothing. Returns OK · CONDITION (something else is in the directory: a file that is no store's, another store, one that was
 * written to since it was a backup) · LOCKED (the directory is open for writing elsewhere) · INVALID (it is the store itself,
 * or the handle is for SALVAGE) · BUSY (called from within a merge's progress callback) · CORRUPT (the store, or what came, is
 * damaged: names file and offset) · NO_SPACE · IO · UNSUPPORTED · CANCELLED · POISONED. */
BITCASK_API int bitcask_backup(bitcask *db, const char *destination_dir, const bitcask_backup_options *options);

/* ---- offline ------------------------------------------------------------------------------------------------------------- */

#define BITCASK_HINT_ALL 1U /* bitcask_hint_options.flags: also where there is a valid one */

typedef struct bitcask_hint_options {
    size_t struct_size;
    uint32_t flags;    /* BITCASK_HINT_* */
    uint32_t reserved; /* 0 */
    bitcask_progress_fn progress;
    void *progress_ctx;
    bitcask_log_fn log;
    void *log_ctx;
} bitcask_hint_options;

#define BITCASK_HINT_OPTIONS_INIT                                                                                              \
    {                                                                                                                          \
        sizeof(bitcask_hint_options), 0, 0, NULL, NULL, NULL, NULL                                                             \
    }
BITCASK_API void bitcask_hint_options_init(bitcask_hint_options *options, size_t size);

typedef struct bitcask_hint_result {
    size_t struct_size;
    uint64_t files;  /* data files of the store */
    uint64_t built;  /* hint files that were written */
    uint64_t failed; /* data files that gave none; a valid one that was there stays */
} bitcask_hint_result;

#define BITCASK_HINT_RESULT_INIT                                                                                               \
    {                                                                                                                          \
        sizeof(bitcask_hint_result), 0, 0, 0                                                                                   \
    }
BITCASK_API void bitcask_hint_result_init(bitcask_hint_result *result, size_t size);

/* Writes the hint files that a store lacks, or all of them, from full scans of its data files. Takes the writer's lock and
 * recovers the store if need be. options and ret may be NULL.
 * Returns OK · NOT_FOUND (no store) · LOCKED · CORRUPT (the store, or some data file: see ret->failed) · IO · NO_SPACE ·
 * UNSUPPORTED · CANCELLED; of several failures the first. ret is filled in unless the store could not be opened. */
BITCASK_API int bitcask_rebuild_hints(const char *dir, const bitcask_hint_options *options, bitcask_hint_result *ret);

/* ---- verify and repair -------------------------------------------------------------------------------------------------- */

/* bitcask_finding.severity */
#define BITCASK_FINDING_NOTE 1U    /* no damage: what a crash leaves, or what a repair did */
#define BITCASK_FINDING_WARNING 2U /* damage that costs nothing now: a spare copy, or a cache, is bad */
#define BITCASK_FINDING_ERROR 3U   /* damage: something is lost, hidden, or the store does not open */

/* bitcask_finding.code: X(name, code, name as text). Codes are never renumbered; more may follow. */
#define BITCASK_FINDING_MAP(X)                                                                                                 \
    X(MANIFEST, 1, "manifest")      /* missing, damaged in both copies, older than the data files, or not a true list */       \
    X(COPY, 2, "manifest-copy")     /* one of its two copies is damaged */                                                     \
    X(MISSING, 3, "missing")        /* a data file that the MANIFEST lists is not there */                                     \
    X(HEADER, 4, "header")          /* the header of a data file is damaged */                                                 \
    X(FOREIGN, 5, "foreign")        /* a file of another store, or another file, under the name of a data file */              \
    X(TRUNCATED, 6, "truncated")    /* a data file is shorter than it was when it was synced */                                \
    X(MARK, 7, "mark")              /* the durable mark of a data file is damaged */                                           \
    X(LINK, 8, "link")              /* the link to the log file before this one is not true */                                 \
    X(RECORD, 9, "record")          /* no record can be read at this place: header or key are damaged */                       \
    X(VALUE, 10, "value")           /* the value of a record is damaged; its key is known */                                   \
    X(BATCH, 11, "batch")           /* a batch is not what its frame says */                                                   \
    X(SEQUENCE, 12, "sequence")     /* a record has a sequence that it cannot have */                                          \
    X(COUNTER, 13, "counter")       /* a counter of the MANIFEST is not what a recount gives */                                \
    X(HINT, 14, "hint")             /* a hint file is damaged (warning), or intact and untrue (error) */                       \
    X(LEFTOVER, 15, "leftover")     /* a file that is not part of the store: the next open for writing removes it */           \
    X(UNREADABLE, 16, "unreadable") /* the device, or a permission, does not let it be read */                                 \
    X(LOST, 17, "lost")             /* repair: a record that is gone; its key is deleted, so that no older version returns */  \
    X(SALVAGED, 18, "salvaged")     /* repair: what was readable in a damaged file was copied to a new one */                  \
    X(ASIDE, 19, "aside")           /* repair: a file was moved to lost+found */                                               \
    X(REBUILT, 20, "rebuilt")       /* repair: a new MANIFEST was written */

#define BITCASK_FINDING_ENUM_(name, code, text) BITCASK_FINDING_##name = (code),
enum { BITCASK_FINDING_MAP(BITCASK_FINDING_ENUM_) BITCASK_FINDING_LAST_ = 21 };
#undef BITCASK_FINDING_ENUM_

/* What was found at one place. All that it points to is borrowed for the call that gives it. */
typedef struct bitcask_finding {
    size_t struct_size;
    uint32_t severity;   /* BITCASK_FINDING_NOTE, _WARNING, _ERROR */
    uint32_t code;       /* which kind: the list above */
    const char *file;    /* its name in the store's directory */
    uint64_t offset;     /* in that file */
    uint64_t size;       /* bytes concerned, 0 if that says nothing */
    uint64_t sequence;   /* of the record concerned, 0 if it is not known */
    bitcask_slice key;   /* of that record; {NULL, 0} if it is not known */
    const char *message; /* one line, without file and offset */
} bitcask_finding;

/* "value" for BITCASK_FINDING_VALUE. Never NULL; a static string. Any thread. */
BITCASK_API const char *bitcask_finding_name(uint32_t code);

/* Called on the thread of the caller, under no lock; in the order of offsets for one file, the files as they come. Non-zero
 * cancels. */
typedef int (*bitcask_finding_fn)(const bitcask_finding *finding, void *ctx);

/* bitcask_verify_options.flags */
#define BITCASK_VERIFY_RECOUNT 1U /* also counts keys, live and dead bytes: some 32 bytes a key and the key, in memory */

typedef struct bitcask_verify_options {
    size_t struct_size;
    uint32_t flags;             /* BITCASK_VERIFY_* */
    uint32_t threads;           /* that read, 1 to 64; 0 = one per processor, at most 8 */
    bitcask_finding_fn finding; /* NULL: counters only */
    void *finding_ctx;
    bitcask_progress_fn progress; /* in bytes */
    void *progress_ctx;
} bitcask_verify_options;

#define BITCASK_VERIFY_OPTIONS_INIT                                                                                            \
    {                                                                                                                          \
        sizeof(bitcask_verify_options), 0, 0, NULL, NULL, NULL, NULL                                                           \
    }
BITCASK_API void bitcask_verify_options_init(bitcask_verify_options *options, size_t size);

/* bitcask_repair_options.flags */
#define BITCASK_REPAIR_DRY_RUN 1U /* changes nothing and says what would be done; takes the lock all the same */

typedef struct bitcask_repair_options {
    size_t struct_size;
    uint32_t flags;   /* BITCASK_REPAIR_* */
    uint32_t threads; /* as for verify */
    bitcask_finding_fn finding;
    void *finding_ctx;
    bitcask_progress_fn progress;
    void *progress_ctx;
} bitcask_repair_options;

#define BITCASK_REPAIR_OPTIONS_INIT                                                                                            \
    {                                                                                                                          \
        sizeof(bitcask_repair_options), 0, 0, NULL, NULL, NULL, NULL                                                           \
    }
BITCASK_API void bitcask_repair_options_init(bitcask_repair_options *options, size_t size);

typedef struct bitcask_verify_result {
    size_t struct_size;
    uint64_t errors; /* findings, by severity */
    uint64_t warnings;
    uint64_t notes;
    uint64_t files;   /* data files that were checked */
    uint64_t hints;   /* hint files that were compared with their data files */
    uint64_t bytes;   /* of data files */
    uint64_t records; /* puts and deletes, superseded ones included, whose header and key are good */
    uint64_t keys;    /* these three only with RECOUNT: as bitcask_stats has them after an open */
    uint64_t live_bytes;
    uint64_t dead_bytes;
    uint64_t unreadable; /* files that could not be read, or not in full, for other reasons than damage */
    uint64_t repaired;   /* the rest only from repair: steps that were taken, or would be: files replaced or moved, MANIFEST */
    uint64_t salvaged;   /* records that were copied out of damaged files */
    uint64_t lost;       /* records of known keys that were not: these keys are deleted now */
    uint64_t lost_bytes; /* places where nothing could be read: what stood there, and whose it was, is not known */
} bitcask_verify_result;

#define BITCASK_VERIFY_RESULT_INIT                                                                                             \
    {                                                                                                                          \
        sizeof(bitcask_verify_result), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                             \
    }
BITCASK_API void bitcask_verify_result_init(bitcask_verify_result *result, size_t size);

/* Checks a whole store: every CRC of every record of every listed file up to its end, rules, batches, links and the order of
 * sequences, headers and marks, the MANIFEST against all of them, every hint file against its data file in both directions.
 *
 * Reads only, takes no lock, and works beside a live writer: what that one changes meanwhile is no finding. What a crash leaves
 * is none either, at most a note. options may be NULL; ret, too. Memory: the hint file of each data file in hand, and 16 bytes
 * for each of its keys that was overwritten in the same file. Any thread.
 * Returns OK (no damage; there may be notes) · CORRUPT (damage: errors or warnings) · NOT_FOUND (no store) · BUSY (the writer
 * changes files faster than they can be read: try again) · IO (something could not be read) · UNSUPPORTED (made by a newer
 * version) · CANCELLED. ret is filled in unless it is INVALID, NOT_FOUND or UNSUPPORTED. */
BITCASK_API int bitcask_verify(const char *dir, const bitcask_verify_options *options, bitcask_verify_result *ret);

/* Makes a damaged store whole again, with all that can be read. Takes the writer's lock.
 *
 * Every damaged file is replaced by a new one with the records that are readable, and goes, unchanged, to DIR/lost+found: no
 * byte is destroyed, nothing there is ever replaced. A record that is lost and whose key is known leaves a deletion with its
 * sequence, so that no older version of the key returns; each is a finding (LOST). Where the key is not known an older version
 * may return: the finding says where. A MANIFEST that is lost, or older than the store, is rebuilt from the headers of the data
 * files. Bad hint files go, too, and are written again after the next open. A crash at any point leaves a store that can be
 * repaired again. Findings come first as from verify, then those of the repair. options and ret may be NULL. Returns OK (whole
 * now; ret->repaired is 0 if it was before) · CORRUPT (dry run: there is damage) · LOCKED · NOT_FOUND · IO · NO_SPACE ·
 * UNSUPPORTED · CANCELLED; nothing was changed on any of these but, with IO, in lost+found. */
BITCASK_API int bitcask_repair(const char *dir, const bitcask_repair_options *options, bitcask_verify_result *ret);

#ifdef __cplusplus
}
#endif

#endif
