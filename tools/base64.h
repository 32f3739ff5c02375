/* base64.h - RFC 4648 base64 with padding, without line breaks. */
#ifndef TOOLS_BASE64_H
#define TOOLS_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* How many characters size bytes take. */
size_t base64_size(size_t size);
/* Writes base64_size(size) characters, no NUL. Pieces of a multiple of three bytes can be put one behind the other. */
void base64_encode(const void *data, size_t size, char *ret);

/* At most length / 4 * 3 bytes to ret, which may be text itself. false: some other character, missing padding, or bits that no
 * encoder sets: each content has one form only. */
bool base64_decode(const char *text, size_t length, unsigned char *ret, size_t *ret_size);

#endif
