/* pins.h - who may still look at what was taken away. Readers announce themselves before they probe the KeyDir; whoever unmaps
 * a file or frees a table that readers could hold waits until every reader that was inside has left. Any thread.
 *
 * A reader writes only to a stripe of its own thread's: no cache line is written by all readers.
 */
#ifndef BC_PINS_H
#define BC_PINS_H

#include "bitcask/alloc.h"
#include "bitcask/io.h"

#include <stdbool.h>

struct bc_pins;

struct bc_pins *bc_pins_new(const bitcask_allocator *, const struct bc_io *); /* NULL: no memory */
void bc_pins_free(struct bc_pins *);                                          /* NULL ok; no reader inside */

/* Never blocks. The token goes to leave(), on the same or another thread. */
unsigned bc_pins_enter(struct bc_pins *);
void bc_pins_leave(struct bc_pins *, unsigned token);

/* The same for a background thread of the store, which is no caller. */
unsigned bc_pins_enter_background(struct bc_pins *);

/* A call that is no reader under a pin: it may wait, and nothing that is taken away waits for it. */
unsigned bc_pins_call(struct bc_pins *);
void bc_pins_return(struct bc_pins *, unsigned token);
/* Whether a caller is inside a pin or a call at this moment. */
bool bc_pins_busy(struct bc_pins *);

/* Returns when every reader that was inside at the call has left. May sleep; not under wal, shard or cache locks. Callers
 * exclude each other inside. */
void bc_pins_synchronize(struct bc_pins *);

#endif
