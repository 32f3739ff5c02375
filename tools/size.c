#include "tools/size.h"

#include <inttypes.h>
#include <stdio.h>

#define TEXTS 4U

const char *size_text(uint64_t size)
{
    static char texts[TEXTS][24];
    static unsigned turn;
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    char *text = texts[turn++ % TEXTS];
    if (size < 1024) {
        snprintf(text, sizeof texts[0], "%" PRIu64 " B", size);
        return text;
    }
    double value = (double)size / 1024;
    size_t unit = 0;
    for (; value >= 1023.95; unit++)
        value /= 1024;
    snprintf(text, sizeof texts[0], "%.1f %s", value, units[unit]);
    return text;
}
