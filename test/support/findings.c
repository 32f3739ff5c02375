#include "test/support/findings.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void found_free(struct found_list *l)
{
    free(l->items);
    l->items = NULL;
    l->count = 0;
}

int found_add(const bitcask_finding *finding, void *ctx)
{
    struct found_list *l = ctx;
    l->items = realloc(l->items, (l->count + 1) * sizeof *l->items);
    struct found *f = &l->items[l->count++];
    *f = (struct found){.severity = finding->severity,
                        .code = finding->code,
                        .offset = finding->offset,
                        .size = finding->size,
                        .sequence = finding->sequence};
    ck_assert_uint_eq(finding->struct_size, sizeof *finding);
    ck_assert_ptr_null(strchr(finding->message, '\n'));
    ck_assert_str_ne(finding->file, "");
    snprintf(f->file, sizeof f->file, "%s", finding->file);
    snprintf(f->message, sizeof f->message, "%s", finding->message);
    if (finding->key.data != NULL)
        snprintf(f->key, sizeof f->key, "%.*s", (int)finding->key.size, (const char *)finding->key.data);
    return 0;
}

static int check(int result, const struct found_list *l)
{
    uint64_t severities[4] = {0};
    for (size_t i = 0; i < l->count; i++)
        severities[l->items[i].severity]++;
    ck_assert_uint_eq(l->result.errors, severities[BITCASK_FINDING_ERROR]);
    ck_assert_uint_eq(l->result.warnings, severities[BITCASK_FINDING_WARNING]);
    ck_assert_uint_eq(l->result.notes, severities[BITCASK_FINDING_NOTE]);
    return result;
}

int found_verify(const char *path, uint32_t flags, struct found_list *ret)
{
    bitcask_verify_options o = BITCASK_VERIFY_OPTIONS_INIT;
    *ret = (struct found_list){.result = BITCASK_VERIFY_RESULT_INIT};
    o.flags = flags;
    o.finding = found_add;
    o.finding_ctx = ret;
    int result = check(bitcask_verify(path, &o, &ret->result), ret);
    if (result == BITCASK_OK || result == BITCASK_CORRUPT)
        ck_assert_int_eq(result == BITCASK_CORRUPT, ret->result.errors + ret->result.warnings != 0);
    return result;
}

int found_repair(const char *path, uint32_t flags, struct found_list *ret)
{
    bitcask_repair_options o = BITCASK_REPAIR_OPTIONS_INIT;
    *ret = (struct found_list){.result = BITCASK_VERIFY_RESULT_INIT};
    o.flags = flags;
    o.finding = found_add;
    o.finding_ctx = ret;
    return check(bitcask_repair(path, &o, &ret->result), ret);
}

const struct found *found_find(const struct found_list *l, uint32_t code, const char *file, size_t from)
{
    for (size_t i = from; i < l->count; i++)
        if (l->items[i].code == code && (file == NULL || strcmp(l->items[i].file, file) == 0))
            return &l->items[i];
    return NULL;
}

size_t found_count(const struct found_list *l, uint32_t code)
{
    size_t count = 0;
    for (size_t i = 0; i < l->count; i++)
        count += l->items[i].code == code;
    return count;
}

void found_print(const struct found_list *l)
{
    static const char *const names[] = {"?", "note", "warning", "error"};
    for (size_t i = 0; i < l->count; i++) {
        const struct found *f = &l->items[i];
        fprintf(stderr, "# %s:%llu: %s %s: %s key '%s' sequence %llu size %llu\n", f->file, (unsigned long long)f->offset,
                names[f->severity], bitcask_finding_name(f->code), f->message, f->key, (unsigned long long)f->sequence,
                (unsigned long long)f->size);
    }
}
