/* merge_internal.h - what the files of a merge step share: its inputs, what it moves, what it must ask about. */
#ifndef BC_MERGE_INTERNAL_H
#define BC_MERGE_INTERNAL_H

#include "bitcask/hintwrite.h"
#include "bitcask/keydir_memory.h"
#include "bitcask/merge.h"
#include "bitcask/merge_cold.h"
#include "bitcask/merge_output.h"

struct bc_merge_input {
    struct bc_file *file;
    int fd;
    size_t first_move; /* its moves stand from here on, up to the next input's */
};

/* An entry of the KeyDir that changes once the step is committed. Places in units of 8 bytes. */
struct bc_merge_move {
    uint64_t hash;
    uint32_t from; /* in its input */
    uint32_t to;   /* in the output; 0: the entry goes */
};

/* A tombstone, or a put that counts as one: may it go? */
struct bc_merge_doubt {
    uint64_t hash, sequence;
    uint32_t offset; /* in units of 8 bytes */
    uint16_t input;
    uint16_t keep; /* some other file may hold an older record of its key */
};

struct bc_merge_step {
    struct bc_merger *m;
    const struct bc_merge_wish *wish;
    struct bc_merge_input inputs[BC_MERGE_INPUTS_MAX];
    size_t input_count;
    int64_t now_ms; /* expiry is judged by it */
    int64_t started_ms;
    bool making; /* the output was begun */
    struct bc_merge_output out;
    struct bc_file *out_file;
    struct bc_keydir_memory memory; /* of moves and doubts */
    struct bc_merge_move *moves;
    size_t move_count, move_capacity;
    struct bc_merge_doubt *doubts;
    size_t doubt_count, doubt_capacity;
    uint64_t live_bytes, live_keys, expiring_keys; /* copied */
    uint64_t unspent;                              /* bytes that the pace has not been told of */
    uint64_t total, read;                          /* for progress */
    struct bc_hint_writer hint;                    /* of the output */
    bool hint_spoiled;                             /* some key may stand in it twice */
    struct bc_merge_done done;
};

static inline uint64_t bc_merge_list_bytes(size_t capacity, size_t each)
{
    return bc_memory_round((uint64_t)capacity * each);
}

/* ---- merge_read.c ---- */

/* Reads an input: copies what lives, notes what moves and what is in doubt. OK, CORRUPT, IO, NO_SPACE, NO_MEMORY, CANCELLED. */
int bc_merge_read(struct bc_merge_step *, size_t input) bc_must_check;
/* Tells pace and progress of bytes that were read or written. OK, CANCELLED. */
int bc_merge_spend(struct bc_merge_step *, uint64_t bytes) bc_must_check;
/* Tells them what they were not told of yet: every step asks once at least, however small it is. OK, CANCELLED. */
int bc_merge_spend_rest(struct bc_merge_step *) bc_must_check;
/* The output, made when the first record needs it. */
int bc_merge_need_output(struct bc_merge_step *) bc_must_check;
/* The output's hint learns of a record that was written. OK, NO_SPACE, IO, NO_MEMORY. */
int bc_merge_hint(struct bc_merge_step *, const struct bc_record *, const void *key, uint64_t offset) bc_must_check;
/* Head and key of the record at an offset of an input, checked. key: BC_KEY_MAX bytes. OK, CORRUPT, IO. */
int bc_merge_fetch_head(const struct bc_merge_step *, const struct bc_merge_input *, uint64_t offset, struct bc_record *ret,
                        void *ret_key) bc_must_check;

/* ---- merge_doubt.c ---- */

int bc_merge_add_doubt(struct bc_merge_step *, uint64_t hash, uint64_t sequence, size_t input, uint64_t offset) bc_must_check;
/* Settles all doubts: what must stay is written to the output as a tombstone. OK, CORRUPT, IO, NO_SPACE, NO_MEMORY, CANCELLED.
 */
int bc_merge_settle(struct bc_merge_step *) bc_must_check;

/* ---- merge_move.c ---- */

int bc_merge_add_move(struct bc_merge_step *, uint64_t hash, uint64_t from, uint64_t to) bc_must_check;
/* Whether the KeyDir's live count in every input is that of the live records that were met in it. OK, CORRUPT: an input, barred
 * from now on, has another. */
int bc_merge_account(const struct bc_merge_step *) bc_must_check;
/* After the commit: the KeyDir learns where its records are now. Runs to its end. */
void bc_merge_move_all(struct bc_merge_step *);

#endif
