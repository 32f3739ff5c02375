/* io_posix.h - what the files of the POSIX backend share: the functions of the table that do not stand in io_posix.c.
 * Private to io_posix*.c, the only files of the library with system calls. Contracts: io.h. No state.
 */
#ifndef BC_IO_POSIX_H
#define BC_IO_POSIX_H

#include "bitcask/io.h"

#include <errno.h>

static inline void bc_posix_restore_errno(const int *saved)
{
    errno = *saved;
}

/* Gives the caller's errno back when the function returns, after the return value was computed. */
#define BC_KEEP_ERRNO __attribute__((cleanup(bc_posix_restore_errno), unused)) const int saved_errno = errno

#define BC_RETRY(result, call)                                                                                                 \
    do                                                                                                                         \
        (result) = (call);                                                                                                     \
    while ((result) < 0 && errno == EINTR)

/* fsync or fdatasync, run once. */
int bc_posix_sync_once(int fd, int (*sync)(int));

/* Directories: io_posix_dir.c. */
int bc_posix_dir_open(void *ctx, const char *path, bool create, int *ret_dir);
void bc_posix_dir_close(void *ctx, int dir);
int bc_posix_dir_sync(void *ctx, int dir);
int bc_posix_dir_sync_parent(void *ctx, int dir);
int bc_posix_dir_list(void *ctx, int dir, bc_io_name_fn fn, void *arg);
int bc_posix_dir_free_space(void *ctx, int dir, uint64_t *ret_bytes);
bool bc_posix_dir_maps_well(void *ctx, int dir);
int bc_posix_dir_open_below(void *ctx, int dir, const char *name, bool create, int *ret_dir);
int bc_posix_rename(void *ctx, int dir, const char *from, const char *to);
int bc_posix_unlink(void *ctx, int dir, const char *name);
int bc_posix_link(void *ctx, int from_dir, const char *from, int to_dir, const char *to);

/* Mappings, memory and the machine: io_posix_memory.c. */
int bc_posix_map(void *ctx, int fd, size_t size, bool writable, void **ret);
void bc_posix_unmap(void *ctx, void *addr, size_t size);
int bc_posix_populate(void *ctx, void *addr, size_t size);
int bc_posix_protect(void *ctx, void *addr, size_t size);
void bc_posix_settle(void *ctx, void *addr, size_t size);
void bc_posix_preload(void *ctx, void *addr, size_t size);
void *bc_posix_memory_map(void *ctx, size_t size);
void bc_posix_memory_unmap(void *ctx, void *addr, size_t size);
int bc_posix_memory_wipe_on_fork(void *ctx, void *addr, size_t size);
void *bc_posix_memory_map_huge(void *ctx, size_t size);
void bc_posix_memory_discard(void *ctx, void *addr, size_t size);
int bc_posix_random(void *ctx, void *buf, size_t size);
int64_t bc_posix_wall_ms(void *ctx);
int64_t bc_posix_monotonic_ms(void *ctx);
void bc_posix_sleep_us(void *ctx, unsigned us);
unsigned bc_posix_processors(void *ctx);
void bc_posix_lower_priority(void *ctx, int nice);

/* Faults below mappings: io_posix_guard.c. */
int bc_posix_guard(void *ctx, void *addr, size_t size, bool writable, _Atomic(uint32_t) *fault, void **ret_guard);
void bc_posix_unguard(void *ctx, void *guard);

#endif
