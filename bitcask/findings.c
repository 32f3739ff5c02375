#include "bitcask/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *bitcask_finding_name(uint32_t code)
{
    switch (code) {
#define NAME_OF(name, number, text)                                                                                            \
    case number:                                                                                                               \
        return text;
        BITCASK_FINDING_MAP(NAME_OF)
#undef NAME_OF
    default:
        return "unknown";
    }
}

void bc_findings_init(struct bc_findings *l, const bitcask_allocator *a)
{
    *l = (struct bc_findings){.allocator = a};
}

void bc_findings_free(struct bc_findings *l)
{
    while (l->first != NULL) {
        struct bc_finding *f = l->first;
        l->first = f->next;
        bc_free(l->allocator, f);
    }
    bc_findings_init(l, l->allocator);
}

void bc_findings_add(struct bc_findings *l, const struct bc_finding *f, const char *format, ...)
{
    size_t key_size = f->key == NULL ? 0 : f->key_size;
    struct bc_finding *copy = bc_alloc(l->allocator, sizeof *copy + key_size);
    if (copy == NULL) {
        l->no_memory = true;
        return;
    }
    *copy = *f;
    copy->next = NULL;
    copy->key_size = key_size;
    if (f->key != NULL)
        copy->key = memcpy(copy + 1, f->key, key_size);
    va_list args;
    va_start(args, format);
    vsnprintf(copy->message, sizeof copy->message, format, args);
    va_end(args);
    *(l->last == NULL ? &l->first : &l->last->next) = copy;
    l->last = copy;
}

void bc_finding_show(const struct bc_finding *f, bitcask_finding *ret)
{
    *ret = (bitcask_finding){.struct_size = sizeof *ret,
                             .severity = f->severity,
                             .code = f->code,
                             .file = f->file,
                             .offset = f->offset,
                             .size = f->size,
                             .sequence = f->sequence,
                             .key = {f->key, f->key_size},
                             .message = f->message};
}
