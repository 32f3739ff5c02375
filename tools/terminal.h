/* terminal.h - what stdout can show: colours and characters beyond ASCII. */
#ifndef TOOLS_TERMINAL_H
#define TOOLS_TERMINAL_H

#include <stdbool.h>

/* Takes the value of --color: auto, always or never. CLI_OK, CLI_USAGE, reported. */
int terminal_set_color(const char *when);
/* --color, else NO_COLOR, else CLICOLOR_FORCE, else whether stdout is a terminal. */
bool terminal_color(void);
/* Whether the locale's characters are UTF-8. */
bool terminal_utf8(void);

#endif
