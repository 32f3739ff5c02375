#include "tools/basho_import.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/basho_scan.h"
#include "tools/cli.h"
#include "tools/progress.h"

#define KEY_MAX 65535
/* How much of a key a message shows. */
#define KEY_SHOWN 64

/* How long after all others a last write may come. */
#define PAUSE_S ((uint64_t)365 * 24 * 3600)

/* A callback's result that ends the scan; it was reported. */
#define STOP 1

static int refused(void)
{
    cli_say(CLI_ERROR, "%s", bitcask_last_error()->message);
    return STOP;
}

static int delete_key(struct basho_import *import, const void *key, uint32_t key_size)
{
    int result = bitcask_delete(import->db, key, key_size, NULL, NULL);
    return result == BITCASK_OK || result == BITCASK_NOT_FOUND ? 0 : refused();
}

/* Before each value of a key that lies in another file its old one is deleted. Such a deletion is dropped here when the value
 * follows at once. */
static int settle_doomed(struct basho_import *import, const struct basho_item *next)
{
    uint32_t size = import->doomed_size;
    import->doomed_size = 0;
    if (size == 0 || (next && next->header.key_size == size && memcmp(next->key, import->doomed, size) == 0))
        return 0;
    return delete_key(import, import->doomed, size);
}

static int leave_out(struct basho_import *import, const struct basho_item *item, const char *why)
{
    import->left_out++;
    cli_say(CLI_OK, "%s:%" PRIu64 ": left out: %s", import->entry->path, item->offset, why);
    /* An older value would be taken for the newest. */
    return item->header.key_size > 0 ? delete_key(import, item->key, item->header.key_size) : 0;
}

static int put(struct basho_import *import, const struct basho_item *item)
{
    bitcask_put_options options = BITCASK_PUT_OPTIONS_INIT;
    if (import->expiry_s > 0) {
        options.expire_at_ms = (int64_t)(item->header.time_s + import->expiry_s) * 1000;
        if (options.expire_at_ms <= import->now_ms) {
            import->expired++;
            return delete_key(import, item->key, item->header.key_size);
        }
    }
    int result =
        bitcask_put(import->db, item->key, item->header.key_size, item->value, item->header.value_size, &options, NULL);
    if (result == BITCASK_TOO_LARGE)
        return leave_out(import, item, "the value is longer than a store takes");
    import->values++;
    return result == BITCASK_OK ? 0 : refused();
}

static int on_item(const struct basho_item *item, void *ctx)
{
    struct basho_import *import = ctx;
    uint32_t time_s = item->header.time_s;
    if (import->records == 0 || time_s < import->first_s)
        import->first_s = time_s;
    if (time_s > import->last_s)
        import->last_s = time_s;
    import->records++;
    if (settle_doomed(import, item) != 0)
        return STOP;
    if (basho_is_tombstone(item->value, item->header.value_size)) {
        import->deletions++;
        memcpy(import->doomed, item->key, item->header.key_size);
        import->doomed_size = item->header.key_size;
        return 0;
    }
    return item->header.key_size > 0 ? put(import, item) : leave_out(import, item, "the key is empty");
}

/* A key in a message: what is no printable ASCII would need more care than a guess is worth. */
static void show_key(char text[KEY_SHOWN + 32], const struct basho_damage *damage)
{
    *text = '\0';
    if (!damage->key || damage->key_size > KEY_SHOWN)
        return;
    for (uint64_t i = 0; i < damage->key_size; i++) {
        if (damage->key[i] < 0x20 || damage->key[i] > 0x7e)
            return;
    }
    snprintf(text, KEY_SHOWN + 32, "; its key seems to be \"%.*s\"", (int)damage->key_size, (const char *)damage->key);
}

/* A write that was cut off has a time like all others. Noise hardly has. */
static bool is_cut_off(const struct basho_import *import, const struct basho_damage *damage)
{
    if (damage->kind != BASHO_TORN || !import->newest)
        return false;
    return damage->time_s == 0 ||
           (import->records > 0 && damage->time_s >= import->first_s && damage->time_s <= (uint64_t)import->last_s + PAUSE_S);
}

static int on_damage(const struct basho_damage *damage, void *ctx)
{
    struct basho_import *import = ctx;
    const char *path = import->entry->path;
    char key[KEY_SHOWN + 32];
    show_key(key, damage);
    if (is_cut_off(import, damage)) {
        import->torn_bytes += damage->size;
        cli_say(CLI_OK, "%s:%" PRIu64 ": the last %" PRIu64 " bytes are a write that was cut off", path, damage->offset,
                damage->size);
        return 0;
    }
    import->damaged++;
    import->damaged_bytes += damage->size;
    if (damage->kind == BASHO_UNREADABLE)
        cli_say(CLI_OK, "%s:%" PRIu64 ": %" PRIu64 " bytes lost: %s", path, damage->offset, damage->size,
                strerror(damage->sys_errno));
    else
        cli_say(CLI_OK, "%s:%" PRIu64 ": %" PRIu64 " damaged bytes%s%s", path, damage->offset, damage->size,
                damage->kind == BASHO_TORN ? " up to the end" : "", key);
    return 0;
}

static int on_progress(uint64_t offset, void *ctx)
{
    struct basho_import *import = ctx;
    if (progress_show_bytes("import", import->done + offset, import->total, NULL) == 0)
        return 0;
    cli_say(CLI_ERROR, "interrupted");
    return STOP;
}

static int import_file(struct basho_import *import)
{
    int error = basho_file_open(&import->file, import->entry->path);
    if (error)
        return cli_say(CLI_ERROR, "%s: %s", import->entry->path, strerror(error));
    struct basho_events events = {.item = on_item, .damage = on_damage, .at = on_progress, .ctx = import};
    int result = basho_scan(&import->file, &events);
    import->files++;
    import->done += import->file.size;
    basho_file_close(&import->file);
    if (result == -ENOMEM)
        cli_say(CLI_ERROR, "%s: out of memory", import->entry->path);
    return result == 0 ? CLI_OK : CLI_ERROR;
}

int basho_import_run(struct basho_import *import, const struct basho_dir *dir)
{
    size_t last = 0;
    import->now_ms = bitcask_now_ms(import->db);
    import->doomed = malloc(KEY_MAX);
    if (!import->doomed)
        return cli_say(CLI_ERROR, "out of memory");
    for (size_t i = 0; i < dir->count; i++) {
        import->marked += dir->entries[i].marked;
        if (!dir->entries[i].marked)
            last = i;
    }
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < dir->count; i++) {
        import->entry = &dir->entries[i];
        import->newest = i == last;
        if (!import->entry->marked)
            code = import_file(import);
    }
    return code == CLI_OK && settle_doomed(import, NULL) != 0 ? CLI_ERROR : code;
}

void basho_import_free(struct basho_import *import)
{
    basho_file_free(&import->file);
    free(import->doomed);
}
