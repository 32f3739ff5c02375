#include "tools/findings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/output.h"
#include "tools/progress.h"
#include "tools/terminal.h"

static const char *severity_name(uint32_t severity)
{
    return severity == BITCASK_FINDING_ERROR ? "error" : severity == BITCASK_FINDING_WARNING ? "warning" : "note";
}

/* Bytes that would end the line, or command a terminal, as \xx. */
static void print_key(const bitcask_slice *key)
{
    const unsigned char *bytes = key->data;
    bool utf8 = cli_is_utf8(key->data, key->size);
    cli_print(", key \"");
    for (size_t i = 0; i < key->size; i++) {
        bool plain = bytes[i] >= 0x20 && bytes[i] != 0x7f && bytes[i] != '"' && bytes[i] != '\\' && (bytes[i] < 0x80 || utf8);
        /* U+0080 to U+009F are control characters, too. */
        if (plain && bytes[i] == 0xc2 && i + 1 < key->size && bytes[i + 1] < 0xa0)
            plain = false;
        if (plain)
            cli_write(&bytes[i], 1);
        else
            cli_print("\\x%02x", bytes[i]);
    }
    cli_print("\"");
}

static void print_line(const bitcask_finding *finding, bool color)
{
    static const char *const colors[] = {"", "", "\033[33m", "\033[31m"};
    const char *on = color && finding->severity < 4 ? colors[finding->severity] : "";
    cli_print("%s:%" PRIu64 ": %s%s%s: %s", finding->file, finding->offset, on, severity_name(finding->severity),
              *on ? "\033[0m" : "", finding->message);
    if (finding->key.data)
        print_key(&finding->key);
    if (finding->sequence)
        cli_print(", sequence %" PRIu64, finding->sequence);
    if (finding->size)
        cli_print(", %" PRIu64 " bytes", finding->size);
    cli_print("\n");
}

static void print_json(const bitcask_finding *finding)
{
    cli_print("{\"severity\":\"%s\",\"code\":\"%s\",", severity_name(finding->severity), bitcask_finding_name(finding->code));
    cli_write_json_member("file", finding->file, strlen(finding->file));
    cli_print(",\"offset\":%" PRIu64 ",\"size\":%" PRIu64 ",\"sequence\":%" PRIu64 ",", finding->offset, finding->size,
              finding->sequence);
    if (finding->key.data) {
        cli_write_json_member("key", finding->key.data, finding->key.size);
        cli_print(",");
    }
    cli_write_json_member("message", finding->message, strlen(finding->message));
    cli_print("}\n");
}

int findings_print(const bitcask_finding *finding, void *ctx)
{
    const struct findings *f = ctx;
    if (cli_quiet() && finding->severity == BITCASK_FINDING_NOTE)
        return 0;
    progress_lock();
    progress_erase();
    progress_unlock();
    if (f->json)
        print_json(finding);
    else
        print_line(finding, f->color);
    return cli_output_failed();
}

static void print_summary(const bitcask_verify_result *r, bool repair, bool dry_run)
{
    cli_print("%" PRIu64 " errors, %" PRIu64 " warnings, %" PRIu64 " notes in %" PRIu64 " data files, %" PRIu64
              " hint files, %" PRIu64 " records, %" PRIu64 " bytes\n",
              r->errors, r->warnings, r->notes, r->files, r->hints, r->records, r->bytes);
    if (r->keys + r->live_bytes + r->dead_bytes != 0)
        cli_print("%" PRIu64 " keys, %" PRIu64 " live bytes, %" PRIu64 " dead bytes\n", r->keys, r->live_bytes, r->dead_bytes);
    if (repair && r->repaired != 0)
        cli_print("%s: %" PRIu64 " steps, %" PRIu64 " records copied, %" PRIu64 " lost and deleted, %" PRIu64
                  " bytes that nobody knows\n",
                  dry_run ? "would repair" : "repaired", r->repaired, r->salvaged, r->lost, r->lost_bytes);
}

static void print_json_summary(const bitcask_verify_result *r, bool repair)
{
    cli_print("{\"summary\":{\"errors\":%" PRIu64 ",\"warnings\":%" PRIu64 ",\"notes\":%" PRIu64 ",\"data_files\":%" PRIu64
              ",\"hint_files\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"records\":%" PRIu64 ",\"unreadable\":%" PRIu64,
              r->errors, r->warnings, r->notes, r->files, r->hints, r->bytes, r->records, r->unreadable);
    cli_print(",\"keys\":%" PRIu64 ",\"live_bytes\":%" PRIu64 ",\"dead_bytes\":%" PRIu64, r->keys, r->live_bytes,
              r->dead_bytes);
    if (repair)
        cli_print(",\"repaired\":%" PRIu64 ",\"salvaged\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"lost_bytes\":%" PRIu64,
                  r->repaired, r->salvaged, r->lost, r->lost_bytes);
    cli_print("}}\n");
}

static int code_of(int result, const bitcask_verify_result *r, bool repair)
{
    int damaged = r->errors + r->warnings != 0 ? FSCK_DAMAGED : 0;
    switch (result) {
    case BITCASK_OK:
        return repair && r->repaired != 0 ? FSCK_REPAIRED : FSCK_CLEAN;
    case BITCASK_CORRUPT:
        return FSCK_DAMAGED;
    default:
        return FSCK_FAILED | damaged;
    }
}

int findings_end(const struct findings *f, int result, const bitcask_verify_result *r, bool repair, bool dry_run)
{
    progress_lock();
    progress_erase();
    progress_unlock();
    int code = code_of(result, r, repair);
    bool shown = result == BITCASK_OK || result == BITCASK_CORRUPT || result == BITCASK_CANCELLED || result == BITCASK_IO;
    if (f->json && shown)
        print_json_summary(r, repair);
    else if (!cli_quiet() && shown && (r->files != 0 || result == BITCASK_OK))
        print_summary(r, repair, dry_run);
    if (cli_output_failed())
        return cli_flush() == CLI_OK ? code : FSCK_FAILED;
    if (result == BITCASK_CANCELLED)
        cli_say(code, "interrupted; %s", repair ? "nothing was changed" : "the rest was not looked at");
    else if (code & FSCK_FAILED)
        cli_failed(code, f->dir);
    return cli_flush() == CLI_OK ? code : FSCK_FAILED;
}
