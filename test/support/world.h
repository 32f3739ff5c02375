/* world.h - a store on a simulated disk beside a reference of what it must hold: the oracle of the crash and model tests.
 *
 * Operations are numbered in commit order; after each the reference keeps the whole state. What a crash leaves must be one of
 * these states: not older than the last one that was acknowledged durable (after a kill of the process: acknowledged at all),
 * not newer than the last one that was begun. So holes, halves of batches, lost acknowledged writes and resurrected keys all
 * show as "no such state".
 *
 * Values tell what they are: a version number and bytes that follow from (key, version).
 */
#ifndef TEST_SUPPORT_WORLD_H
#define TEST_SUPPORT_WORLD_H

#include "bitcask/db.h"
#include "test/support/simdisk.h"

#define WORLD_KEYS 8U
#define WORLD_STEPS 4096U

enum world_kind {
    WORLD_PUT,
    WORLD_PUT_SYNC,
    WORLD_DELETE,
    WORLD_BATCH, /* puts key and key + 1, deletes key + 2 */
    WORLD_BATCH_SYNC,
    WORLD_BIG, /* a put of 40,000 bytes: the second one rotates a file of 64 KiB */
    WORLD_TOUCH,
    WORLD_EXPIRE, /* a touch with an expiry that has passed: the key is absent */
    WORLD_SYNC,
    WORLD_CLEAR,
    WORLD_MERGE, /* everything, to no dead byte */
    WORLD_REOPEN,
    WORLD_KINDS
};

struct world_operation {
    enum world_kind kind;
    unsigned key;
};

struct world_state {
    uint32_t version[WORLD_KEYS]; /* 0: absent */
};

struct world {
    struct simdisk *disk;
    bitcask *db;
    uint32_t flags;                     /* of bitcask_open */
    const struct bc_io *io;             /* in place of the disk's own; NULL: that one */
    const bitcask_allocator *allocator; /* of bitcask_open; NULL: the default */
    struct world_state *states;
    unsigned count;   /* states[count] is the newest */
    unsigned acked;   /* the newest state whose operation returned OK */
    unsigned durable; /* the newest state that was acknowledged durable */
    uint32_t next_version;
};

struct world *world_new(struct simdisk *disk, uint32_t flags); /* takes the disk over */
void world_free(struct world *);                               /* abandons an open handle: no close */

int world_open(struct world *) bc_must_check;  /* the store's result */
int world_close(struct world *) bc_must_check; /* the store's result */
/* Carries an operation out on both. Returns the store's result; on a failure the operation is in doubt. */
int world_apply(struct world *, const struct world_operation *) bc_must_check;
/* The operation that just failed did nothing: count was what it is now before it. */
void world_forget(struct world *, unsigned count);
/* A twin for looking at one possible future: other disk, not open, states of its own. world_free() it. */
struct world *world_fork(const struct world *, struct simdisk *disk);

/* What the open store holds. False, with why in message, if a read fails or gives bytes that nobody ever put. */
bool world_read(struct world *, struct world_state *ret, char *message, size_t size);
/* Whether a state that was read is one that may be there: one from the oldest allowed on. */
bool world_allows(const struct world *, unsigned oldest, const struct world_state *, char *message, size_t size);

const char *world_kind_name(enum world_kind);

#endif
