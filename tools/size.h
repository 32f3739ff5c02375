/* size.h - sizes for people: "1.5 MiB". */
#ifndef TOOLS_SIZE_H
#define TOOLS_SIZE_H

#include <stdint.h>

/* Ten columns at most. Static memory: the text lives until the fourth call after this one. One thread. */
const char *size_text(uint64_t size);

#endif
