#include "tools/terminal.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"

static enum { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER } color;

int terminal_set_color(const char *when)
{
    if (strcmp(when, "auto") == 0)
        color = COLOR_AUTO;
    else if (strcmp(when, "always") == 0)
        color = COLOR_ALWAYS;
    else if (strcmp(when, "never") == 0)
        color = COLOR_NEVER;
    else
        return cli_usage("--color takes auto, always or never, not '%s'", when);
    return CLI_OK;
}

bool terminal_color(void)
{
    const char *no = getenv("NO_COLOR"), *force = getenv("CLICOLOR_FORCE"), *term = getenv("TERM");
    if (color != COLOR_AUTO)
        return color == COLOR_ALWAYS;
    if (no && *no)
        return false;
    if (force && *force && strcmp(force, "0") != 0)
        return true;
    return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
}

bool terminal_utf8(void)
{
    return setlocale(LC_CTYPE, "") != NULL && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}
