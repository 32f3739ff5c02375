/* completion.h - completions for bash, zsh and fish, made from the commands' own help. */
#ifndef TOOLS_COMPLETION_H
#define TOOLS_COMPLETION_H

#include <stddef.h>

#include "tools/cli.h"

/* To stdout. CLI_OK, or CLI_USAGE, reported, if there is no such shell. */
int completion_print(const char *shell, const struct cli_command *const *commands, size_t count);

#endif
