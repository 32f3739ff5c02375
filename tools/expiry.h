/* expiry.h - the options --ttl and --expire-at. */
#ifndef TOOLS_EXPIRY_H
#define TOOLS_EXPIRY_H

#include <bitcask/bitcask.h>
#include <stdbool.h>
#include <stdint.h>

/* Zero: never. */
struct expiry {
    bool ttl, expire_at; /* which of them were given */
    uint64_t ttl_s;
    int64_t expire_at_ms;
};

/* Take an option's value; CLI_OK, CLI_USAGE, reported. */
int expiry_ttl(struct expiry *expiry, const char *text);
int expiry_at(struct expiry *expiry, const char *text);
/* The time, by the store's clock. CLI_OK, CLI_USAGE, reported. */
int expiry_resolve(const struct expiry *expiry, bitcask *db, int64_t *ret_ms);

#endif
