#include "tools/expiry.h"

#include "tools/bytes.h"
#include "tools/cli.h"

int expiry_ttl(struct expiry *expiry, const char *text)
{
    if (!cli_number(text, INT64_MAX / 1000, &expiry->ttl_s) || expiry->ttl_s == 0)
        return cli_usage("--ttl takes whole seconds from 1 up, not '%s'", text);
    expiry->ttl = true;
    return CLI_OK;
}

int expiry_at(struct expiry *expiry, const char *text)
{
    uint64_t number;
    if (!cli_number(text, INT64_MAX, &number))
        return cli_usage("--expire-at takes Unix milliseconds, not '%s'", text);
    expiry->expire_at_ms = (int64_t)number;
    expiry->expire_at = true;
    return CLI_OK;
}

int expiry_resolve(const struct expiry *expiry, bitcask *db, int64_t *ret_ms)
{
    if (!expiry->ttl) {
        *ret_ms = expiry->expire_at_ms;
        return CLI_OK;
    }
    int64_t now = bitcask_now_ms(db);
    if (expiry->ttl_s > (uint64_t)(INT64_MAX - now) / 1000)
        return cli_usage("--ttl is too large");
    *ret_ms = now + (int64_t)expiry->ttl_s * 1000;
    return CLI_OK;
}
