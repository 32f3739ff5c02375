/* progress.h - a bar on stderr for long work, if stderr is a terminal and -q is not given; and the signals that end the work.
 *
 * Messages that are printed meanwhile call progress_erase() first, between progress_lock() and progress_unlock().
 */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Catches SIGINT, SIGTERM and SIGHUP once: the work is asked to end. A second one ends the program as it always does. */
void progress_catch_signals(void);
bool progress_interrupted(void);

/* Each is a bitcask_progress_fn; ctx is not used. They cancel after a signal. The one counts things, the other bytes. */
int progress_show(const char *phase, uint64_t done, uint64_t total, void *ctx);
int progress_show_bytes(const char *phase, uint64_t done, uint64_t total, void *ctx);

void progress_lock(void);
void progress_erase(void); /* takes the bar away, if there is one */
void progress_unlock(void);

#endif
