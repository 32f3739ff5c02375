/* output.h - stdout: bytes as they are, as hex, as JSON. What goes wrong is kept and shows in cli_flush(). */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes and nothing else. */
void cli_write(const void *data, size_t size);
/* Two digits a byte. */
void cli_write_hex(const void *data, size_t size);
/* As cli_write(); but on a terminal control characters become '?', so that stored bytes cannot command it. */
void cli_write_shown(const void *data, size_t size);
void cli_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A JSON string, if the bytes are UTF-8; control characters are escaped. */
bool cli_is_utf8(const void *data, size_t size);
void cli_write_json(const void *data, size_t size);
/* "name":"text", or "name_b64":"base64" if the bytes are no UTF-8: JSON has no other way to carry them. So is a text of more
 * than 1 GiB. */
void cli_write_json_member(const char *name, const void *data, size_t size);

/* A reader of stdout that went away is no news: cli_flush() fails, but says nothing of it. */
void cli_output_quiet_pipe(void);
/* Whether some output was not taken: more of it is in vain. */
bool cli_output_failed(void);
/* Ends the output: CLI_OK, or CLI_ERROR, reported, if not every byte of it was taken. */
int cli_flush(void);

#endif
