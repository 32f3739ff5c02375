/* simdisk_impl.h - what the files of the simulated disk share. Private to simdisk*.c. Everything here is called under the
 * disk's mutex. A failure of the host (no memory, no memfd) aborts: a test cannot go on without its disk.
 */
#ifndef TEST_SUPPORT_SIMDISK_IMPL_H
#define TEST_SUPPORT_SIMDISK_IMPL_H

#include "test/support/simdisk.h"

#include <pthread.h>

/* ---- pages by index: simdisk_pages.c ---- */

struct sd_pages {
    unsigned char **page; /* NULL: absent, all zeros */
    size_t count;
};

extern const unsigned char sd_zeros[SIMDISK_PAGE];

void *sd_alloc(void *old, size_t size); /* realloc that does not fail */
static inline uint64_t sd_pages_of(uint64_t size)
{
    return (size + SIMDISK_PAGE - 1) / SIMDISK_PAGE;
}
const unsigned char *sd_page_get(const struct sd_pages *, uint64_t i); /* never NULL */
bool sd_page_present(const struct sd_pages *, uint64_t i);
void sd_page_drop(struct sd_pages *, uint64_t i);
void sd_page_keep(struct sd_pages *, uint64_t i, const unsigned char *data);
void sd_page_put(struct sd_pages *, uint64_t i, const unsigned char *data); /* a page of zeros is dropped */
void sd_pages_clone(struct sd_pages *to, const struct sd_pages *from);
void sd_pages_free(struct sd_pages *);

/* ---- images: simdisk_image.c ---- */

struct sd_inode {
    uint64_t id;
    char name[64]; /* the last one it had, for the trace */
    int memfd;     /* the volatile image; -1: it equals the durable one */
    uint64_t size; /* volatile */
    struct sd_pages durable;
    uint64_t durable_size;    /* what durable has beyond it was written ahead of the size: it counts when the size does */
    struct sd_pages dropped;  /* pages that a failed sync marked clean, as they were: not to be written until they change */
    unsigned char *allocated; /* by page: space that a store may rely on */
    size_t allocated_count;
    uint64_t pages_used; /* bits of allocated */
    unsigned descriptors, mappings, writable_mappings;
    int lock_owner; /* descriptor or -1 */
};

/* A sector that a power failure may or may not write. */
struct sd_dirty {
    struct sd_inode *inode;
    uint64_t *sectors; /* ascending, below the volatile size */
    size_t count;
    bool size_changed;
};

enum sd_fate { SD_LOST, SD_KEPT, SD_HEAD_KEPT, SD_TAIL_KEPT }; /* the last two: the sector is torn in its middle */

struct sd_inode *sd_inode_new(uint64_t id, const char *name);
void sd_inode_free(struct sd_inode *);
struct sd_inode *sd_inode_clone(struct sd_inode *);
void sd_inode_open(struct sd_inode *);   /* gives it a memfd */
void sd_inode_detach(struct sd_inode *); /* mappings of before see no later change and cause none */
void sd_inode_resize(struct sd_inode *, uint64_t size);
void sd_inode_read(struct sd_inode *, uint64_t offset, void *buf, size_t size); /* below the volatile size */
void sd_inode_write(struct sd_inode *, uint64_t offset, const void *data, size_t size);
bool sd_inode_is_allocated(const struct sd_inode *, uint64_t page);
void sd_inode_allocate(struct sd_inode *, uint64_t page);
bool sd_inode_clear_past_end(struct sd_inode *); /* true: a mapping had stored there */
/* Writes the volatile image to the durable one; drop_every: 0, or each such dirty page is marked clean instead.
 * Returns whether a page was found that a mapping had stored to without space of its own. */
bool sd_inode_sync(struct sd_inode *, unsigned drop_every);
void sd_inode_forget_dropped(struct sd_inode *, uint64_t offset, uint64_t size); /* reads show the disk again */
struct sd_dirty sd_inode_dirty(struct sd_inode *);                               /* free(sectors) */
/* The state after a power failure; fates has dirty->count elements. The volatile image is then the durable one. */
void sd_inode_crash(const struct sd_dirty *, const unsigned char *fates, uint64_t size);

void sd_durable_read(const struct sd_inode *, uint64_t offset, void *buf, size_t size); /* simdisk_pages.c */
void sd_durable_write(struct sd_inode *, uint64_t offset, const void *data, size_t size);
void sd_durable_resize(struct sd_inode *, uint64_t size);

/* ---- names: simdisk_names.c ---- */

struct sd_entry {
    char *name;
    struct sd_inode *inode;
};

struct sd_names {
    struct sd_entry *entry;
    size_t count;
};

struct sd_dir {
    char *path;
    struct sd_names now, durable;
};

/* create: from NULL; unlink: to NULL; rename: both. */
struct sd_pending {
    struct sd_dir *dir;
    char *from, *to;
    struct sd_inode *inode;
};

struct sd_inode *sd_names_find(const struct sd_names *, const char *name);
void sd_names_set(struct sd_names *, const char *name, struct sd_inode *); /* NULL removes */
void sd_names_copy(struct sd_names *to, const struct sd_names *from);
void sd_names_clear(struct sd_names *);
struct sd_dir *sd_dir_find(struct simdisk *, const char *path);
struct sd_dir *sd_dir_new(struct simdisk *, const char *path);
/* Splits "/store/MANIFEST"; NULL when the directory does not exist. *ret_name points into path. */
struct sd_dir *sd_dir_of(struct simdisk *, const char *path, const char **ret_name);
void sd_pending_add(struct simdisk *, struct sd_dir *, const char *from, const char *to, struct sd_inode *);
void sd_pending_apply(const struct sd_pending *); /* to the durable names */
void sd_pending_clear(struct simdisk *, const struct sd_dir *only_or_null);
unsigned sd_links(const struct simdisk *, const struct sd_inode *); /* names, volatile */
/* Whether some outcome of a power failure leaves it a name. */
bool sd_reachable(const struct simdisk *, const struct sd_inode *);
void sd_collect(struct simdisk *); /* frees inodes that nothing can reach any more */

/* ---- the disk: simdisk.c ---- */

struct sd_descriptor {
    bool open, writable;
    bool stale;             /* its process was killed: no misuse when that one still closes it */
    struct sd_inode *inode; /* or */
    struct sd_dir *dir;
};

struct sd_mapping {
    void *addr;
    size_t size;
    struct sd_inode *inode; /* NULL: memory, or of before a kill */
    bool writable;
};

struct sd_fault {
    struct simdisk_fault fault;
    char name[64];
    uint64_t seen;
};

struct sd_trace {
    uint64_t number, offset, size;
    unsigned kind;
    int result;
    char name[96];
};

#define SD_TRACE 256
#define SD_FAULTS 8
#define SD_FIRST_DESCRIPTOR 1000 /* so that none is mistaken for one of the system's */

struct simdisk {
    struct bc_io io;
    pthread_mutex_t mutex;

    struct sd_inode **inodes;
    size_t inode_count;
    uint64_t next_id;
    struct sd_dir **dirs;
    size_t dir_count;
    struct sd_pending *pending;
    size_t pending_count;

    struct sd_descriptor *descriptors; /* never reused: a stale one is always found out */
    size_t descriptor_count;
    struct sd_mapping *mappings;
    size_t mapping_count;

    uint64_t counts[SIMDISK_KINDS];
    struct sd_trace trace[SD_TRACE];
    uint64_t trace_next;
    struct sd_fault faults[SD_FAULTS];
    size_t fault_count;
    uint64_t fault_hits;
    unsigned stop_kinds;
    uint64_t stop_in; /* 0: not armed */
    bool stopped;
    struct simdisk *at_stop;

    enum simdisk_names names_model;
    enum simdisk_sync_failure sync_failure;
    uint64_t capacity;
    bool maps_well;
    int map_error;
    int64_t wall_ms, monotonic_ms;
    uint64_t random;
    unsigned misuses;
    char first_misuse[192];
};

extern const struct bc_io sd_io; /* simdisk_io.c: the table, without ctx */

struct simdisk *sd_clone(struct simdisk *);
void sd_drop_process(struct simdisk *); /* descriptors, locks, mappings */
uint64_t sd_used(const struct simdisk *);
uint64_t sd_next_random(uint64_t *state);
bc_printf(2, 3) void sd_misuse(struct simdisk *, const char *format, ...);

/* ---- operations: simdisk_op.c ---- */

/* One operation, from its count to its line in the trace. sd_begin() takes the mutex, sd_end() gives it back. */
struct sd_op {
    struct simdisk *disk;
    unsigned kind;
    char name[96];
    uint64_t offset, size;
    int error; /* of a fault that is due: nothing is done, unless `done` */
    bool done;
    uint64_t short_bytes;
};

struct sd_op sd_new_op(struct simdisk *, unsigned kind, const char *name, uint64_t offset, uint64_t size);
/* Counts it and decides its fate; true: carry it out. False: straight to sd_end(). The mutex is held from sd_lock() on. */
void sd_lock(struct simdisk *);
void sd_unlock(struct simdisk *);
bool sd_begin(struct sd_op *);
int sd_end(struct sd_op *, int result); /* the result to return */

struct sd_descriptor *sd_find_descriptor(struct simdisk *, int fd, bool is_dir, const char *what);
int sd_new_descriptor(struct simdisk *, struct sd_inode *, struct sd_dir *, bool writable);
/* Take the mutex and start the operation. False: the caller goes to sd_end(); *ret is NULL if there is no such descriptor. */
bool sd_enter_file(struct sd_op *, void *ctx, unsigned kind, int fd, uint64_t offset, uint64_t size,
                   struct sd_descriptor **ret);
bool sd_enter_dir(struct sd_op *, void *ctx, unsigned kind, int fd, const char *name, struct sd_descriptor **ret);
/* Called where the kernel would have written the page, or found its tail: at every change of the size, sync and unmap. */
void sd_check_past_end(struct simdisk *, struct sd_inode *);
/* Space for these pages, all or nothing: simdisk_io.c. */
bool sd_reserve(struct simdisk *, struct sd_inode *, uint64_t first_page, uint64_t end_page);

/* ---- functions of the table: simdisk_dirs.c ---- */

int sd_sim_dir_open(void *ctx, const char *path, bool create, int *ret_dir);
void sd_sim_dir_close(void *ctx, int fd);
int sd_sim_dir_sync(void *ctx, int fd);
int sd_sim_dir_sync_parent(void *ctx, int fd);
int sd_sim_dir_list(void *ctx, int fd, bc_io_name_fn fn, void *arg);
int sd_sim_dir_free_space(void *ctx, int fd, uint64_t *ret_bytes);
bool sd_sim_dir_maps_well(void *ctx, int fd);
int sd_sim_dir_open_below(void *ctx, int fd, const char *name, bool create, int *ret_dir);
int sd_sim_rename(void *ctx, int fd, const char *from, const char *to);
int sd_sim_unlink(void *ctx, int fd, const char *name);
int sd_sim_link(void *ctx, int from_fd, const char *from, int to_fd, const char *to);

/* ---- mappings, memory, the machine: simdisk_memory.c ---- */

int sd_sim_map(void *ctx, int fd, size_t size, bool writable, void **ret);
void sd_sim_unmap(void *ctx, void *addr, size_t size);
int sd_sim_populate(void *ctx, void *addr, size_t size);
int sd_sim_protect(void *ctx, void *addr, size_t size);
void sd_sim_settle(void *ctx, void *addr, size_t size);
void sd_sim_preload(void *ctx, void *addr, size_t size);
void *sd_sim_memory_map(void *ctx, size_t size);
void *sd_sim_memory_map_huge(void *ctx, size_t size);
void sd_sim_memory_discard(void *ctx, void *addr, size_t size);
int sd_sim_random(void *ctx, void *buf, size_t size);
int64_t sd_sim_wall_ms(void *ctx);
int64_t sd_sim_monotonic_ms(void *ctx);
void sd_sim_sleep_us(void *ctx, unsigned us);
unsigned sd_sim_processors(void *ctx);
void sd_sim_lower_priority(void *ctx, int nice);

#endif
