#include "tools/datafiles.h"

#include <stdio.h>
#include <stdlib.h>

#include "tools/cli.h"
#include "tools/output.h"

#define STEP_FILES 4 /* of the largest size: what one step takes, in bytes */
#define LINK_SIZE 56 /* the first record of a file that was written, which no merge is made for */

const struct data_reason data_reasons[] = {
    {BITCASK_MERGE_BECAUSE_FRAGMENTED, 'f', "fragmented", "fragmented"},
    {BITCASK_MERGE_BECAUSE_DEAD_BYTES, 'd', "dead_bytes", "dead bytes"},
    {BITCASK_MERGE_BECAUSE_SMALL, 's', "small", "small"},
    {BITCASK_MERGE_BECAUSE_EXPIRED, 'x', "expired", "all expired"},
    {BITCASK_MERGE_BECAUSE_SPACE, 't', "space", "total space"},
    {0, 0, NULL, NULL},
};

static int collect(const bitcask_file_info *info, void *ctx)
{
    struct data_files *files = ctx;
    if (files->count == files->capacity) {
        size_t capacity = files->capacity ? files->capacity * 2 : 64;
        bitcask_file_info *items = reallocarray(files->items, capacity, sizeof *items);
        if (!items)
            return cli_say(CLI_ERROR, "out of memory");
        files->items = items;
        files->capacity = capacity;
    }
    files->items[files->count++] = *info;
    return CLI_OK;
}

static int by_id(const void *a, const void *b)
{
    const bitcask_file_info *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

int data_files_list(bitcask *db, struct data_files *ret)
{
    *ret = (struct data_files){0};
    int result = bitcask_each_file(db, collect, ret);
    if (ret->count > 0)
        qsort(ret->items, ret->count, sizeof *ret->items, by_id);
    return result < 0 ? cli_result(result) : result;
}

void data_files_free(struct data_files *files)
{
    free(files->items);
    *files = (struct data_files){0};
}

const char *data_file_state(const bitcask_file_info *file)
{
    return file->state == BITCASK_FILE_SEALED ? "sealed" : "open";
}

double data_live_part(uint64_t live, uint64_t dead)
{
    return live + dead == 0 ? -1 : (double)live / (double)(live + dead);
}

void data_format_percent(char *text, size_t size, double part)
{
    if (part < 0)
        snprintf(text, size, "-");
    else
        snprintf(text, size, "%.1f", part < 1 && part > 0.999 ? 99.9 : part * 100);
}

void data_print_json_reasons(uint32_t reasons)
{
    const char *separator = "";
    cli_print("[");
    for (const struct data_reason *r = data_reasons; r->name; r++) {
        if (!(reasons & r->bit))
            continue;
        cli_print("%s\"%s\"", separator, r->name);
        separator = ",";
    }
    cli_print("]");
}

/* ---- an estimate ---- */

bool data_is_mergeable(const bitcask_file_info *file)
{
    return file->dead_bytes > LINK_SIZE || (file->merge_reasons & BITCASK_MERGE_BECAUSE_EXPIRED);
}

/* Of similar age go together. */
static int by_age(const void *a, const void *b)
{
    const bitcask_file_info *x = a, *y = b;
    uint64_t p = x->min_sequence + (x->max_sequence - x->min_sequence) / 2;
    uint64_t q = y->min_sequence + (y->max_sequence - y->min_sequence) / 2;
    return p != q ? (p > q) - (p < q) : by_id(a, b);
}

bool data_estimate_merge(const struct data_files *files, uint64_t max_file_size,
                         bool (*wanted)(const bitcask_file_info *file, void *arg), void *arg, struct data_estimate *ret)
{
    *ret = (struct data_estimate){0};
    bitcask_file_info *chosen = calloc(files->count + 1, sizeof *chosen);
    if (!chosen) {
        cli_say(CLI_ERROR, "out of memory");
        return false;
    }
    for (size_t i = 0; i < files->count; i++)
        if (wanted(&files->items[i], arg))
            chosen[ret->files++] = files->items[i];
    qsort(chosen, ret->files, sizeof *chosen, by_age);
    uint64_t output = 0, step = 0; /* live bytes of the file that would be made, and the bytes that it would be made of */
    for (size_t i = 0; i < ret->files; i++) {
        const bitcask_file_info *file = &chosen[i];
        uint64_t live = file->merge_reasons & BITCASK_MERGE_BECAUSE_EXPIRED ? 0 : file->live_bytes;
        uint64_t head = file->size - file->live_bytes - file->dead_bytes; /* what stands before the records */
        if (step > 0 && (output + live > max_file_size || step + file->size - head > STEP_FILES * max_file_size))
            output = step = 0;
        if (live > 0 && output == 0)
            ret->bytes_out += head;
        output += live;
        step += file->size - head;
        ret->bytes_in += file->size;
        ret->bytes_out += live;
    }
    ret->won = ret->bytes_in > ret->bytes_out ? ret->bytes_in - ret->bytes_out : 0;
    free(chosen);
    return true;
}
