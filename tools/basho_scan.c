#include "tools/basho_scan.h"

#include <errno.h>
#include <stddef.h>

/* How many damaged records in a row are passed by their own sizes. */
#define HOPS 20
/* How many offsets are tried between two calls of events->at. */
#define STRIDE 65536
/* What a device reads or cannot read, at most. */
#define SECTOR ((uint64_t)4096)

enum verdict { GOOD, BAD, OVERRUN, UNREADABLE };

struct scan {
    struct basho_file *file;
    const struct basho_events *events;
    int error; /* ends the scan */
    int sys_errno;
};

static enum verdict unreadable(struct scan *scan, int error)
{
    if (error == ENOMEM)
        scan->error = -ENOMEM;
    scan->sys_errno = error;
    return UNREADABLE;
}

/* What stands at offset. *ret is its header, unless the file ends before that does. */
static enum verdict judge(struct scan *scan, uint64_t offset, struct basho_header *ret)
{
    uint64_t rest = scan->file->size - offset;
    if (rest < BASHO_HEADER_SIZE)
        return OVERRUN;
    const unsigned char *bytes = basho_file_at(scan->file, offset, BASHO_HEADER_SIZE);
    if (!bytes)
        return unreadable(scan, errno);
    *ret = basho_header_parse(bytes);
    uint64_t size = basho_record_size(ret);
    if (size > rest)
        return OVERRUN;
    uint32_t crc;
    int error = basho_file_crc(scan->file, offset + BASHO_CRC_SIZE, size - BASHO_CRC_SIZE, &crc);
    if (error)
        return unreadable(scan, error);
    return crc == ret->crc ? GOOD : BAD;
}

/* Follows the sizes of damaged records from offset on: whether they lead to a good one or to the end of the file. */
static bool leads_on(struct scan *scan, uint64_t offset)
{
    struct basho_header header;
    for (int hop = 0; hop < HOPS && scan->error == 0; hop++) {
        if (offset == scan->file->size)
            return true;
        enum verdict verdict = judge(scan, offset, &header);
        if (verdict != BAD || header.key_size == 0) /* zeros have sizes, too */
            return verdict == GOOD;
        offset += basho_record_size(&header);
    }
    return false;
}

/* The first good record from offset on, or the end of the file. */
static uint64_t search(struct scan *scan, uint64_t offset)
{
    struct basho_header header;
    for (uint64_t tried = 1; offset < scan->file->size; offset++, tried++) {
        enum verdict verdict = judge(scan, offset, &header);
        if (verdict == GOOD || scan->error != 0)
            break;
        if (verdict == UNREADABLE && !basho_file_at(scan->file, offset, 1))
            offset |= SECTOR - 1; /* each try may take a failing device seconds */
        if (tried % STRIDE == 0 && (scan->error = scan->events->at(offset, scan->events->ctx)) != 0)
            break;
    }
    return offset;
}

static bool zeros_from(struct scan *scan, uint64_t offset)
{
    for (uint64_t step; offset < scan->file->size; offset += step) {
        step = scan->file->size - offset < STRIDE ? scan->file->size - offset : STRIDE;
        const unsigned char *bytes = basho_file_at(scan->file, offset, step);
        for (uint64_t i = 0; bytes && i < step; i++) {
            if (bytes[i] != 0)
                return false;
        }
        if (!bytes)
            return false;
    }
    return true;
}

static void report(struct scan *scan, struct basho_damage *damage)
{
    if (scan->error == 0)
        scan->error = scan->events->damage(damage, scan->events->ctx);
}

static void torn(struct basho_damage *damage, const struct basho_header *header)
{
    damage->kind = BASHO_TORN;
    damage->time_s = damage->size >= BASHO_HEADER_SIZE ? header->time_s : 0;
}

/* Passes what is no good record at offset; where to go on. */
static uint64_t pass(struct scan *scan, uint64_t offset, enum verdict verdict, const struct basho_header *header)
{
    struct basho_damage damage = {.offset = offset, .kind = BASHO_DAMAGED, .sys_errno = scan->sys_errno};
    if (basho_file_build_sums(scan->file) != 0)
        scan->error = -ENOMEM;
    uint64_t next = offset;
    if (verdict == BAD && leads_on(scan, offset)) {
        next += basho_record_size(header);
        damage.key_size = header->key_size;
    } else {
        next = search(scan, offset + 1);
    }
    damage.size = next - offset;
    if (verdict == UNREADABLE)
        damage.kind = BASHO_UNREADABLE;
    else if (next == scan->file->size && (verdict == OVERRUN || zeros_from(scan, offset)))
        torn(&damage, header);
    if (damage.key_size > 0)
        damage.key = basho_file_at(scan->file, offset + BASHO_HEADER_SIZE, damage.key_size);
    report(scan, &damage);
    return next;
}

static uint64_t deliver(struct scan *scan, uint64_t offset, const struct basho_header *header)
{
    uint64_t size = basho_record_size(header);
    const unsigned char *bytes = basho_file_at(scan->file, offset, size);
    if (!bytes) {
        struct basho_damage damage = {.offset = offset, .size = size, .kind = BASHO_UNREADABLE, .sys_errno = errno};
        if (errno == ENOMEM)
            scan->error = -ENOMEM;
        report(scan, &damage);
        return offset + size;
    }
    struct basho_item item = {.header = *header, .offset = offset, .key = bytes + BASHO_HEADER_SIZE};
    item.value = item.key + header->key_size;
    scan->error = scan->events->item(&item, scan->events->ctx);
    return offset + size;
}

int basho_scan(struct basho_file *file, const struct basho_events *events)
{
    struct scan scan = {.file = file, .events = events};
    uint64_t offset = 0;
    while (offset < file->size && scan.error == 0) {
        struct basho_header header = {0};
        enum verdict verdict = judge(&scan, offset, &header);
        offset = verdict == GOOD ? deliver(&scan, offset, &header) : pass(&scan, offset, verdict, &header);
        if (scan.error == 0)
            scan.error = events->at(offset < file->size ? offset : file->size, events->ctx);
    }
    return scan.error;
}
