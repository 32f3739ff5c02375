/* log_internal.h - what the files of the log share with each other and with nobody else. */
#ifndef BC_LOG_INTERNAL_H
#define BC_LOG_INTERNAL_H

#include "bitcask/log.h"

#define BC_LOG_FIRST_STEP (1ULL << 20) /* a small store stays small on disk */

/* The sync token: its holder alone syncs log files, seals, and stores marks. Taken before any lock; held across I/O. durable:
 * the highest sequence that the holder has made durable, 0 if it made none. */
void bc_log_token_take(struct bc_log *);
void bc_log_token_give(struct bc_log *, uint64_t durable);

#endif
