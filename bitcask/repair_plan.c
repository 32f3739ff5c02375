/* What a repair will do, before it does anything: for each listed file whether it stays, is listed anew, goes or is replaced,
 * and which files go to lost+found. */
#include "bitcask/error.h"
#include "bitcask/repair_internal.h"

static int put_aside(struct bc_repair *p, const struct bc_file_report *r, bool data, bool hint, const char *why)
{
    char name[BC_NAME_SIZE];
    int result = BITCASK_OK;
    p->needed = true;
    if (data)
        result = bc_aside_add(&p->aside, r->name, false, why);
    bc_hint_name(name, r->listed.name.id);
    if (result == BITCASK_OK && hint && bc_directory_has(&p->dir, name))
        result = bc_aside_add(&p->aside, name, false, data ? "its data file was damaged" : "it was damaged, or not true");
    return result;
}

static int plan_file(struct bc_repair *p, const struct bc_file_report *r, struct bc_repair_plan *plan)
{
    plan->end = r->listed.state == BC_MANIFEST_OPEN ? r->walk.end : r->listed.end;
    if (r->incomplete && !r->there)
        return bc_fail(BITCASK_IO, 0, r->name, 0, "%s: cannot be read: nothing was changed", r->name);
    if (r->damaged || r->misnamed) {
        plan->fate = FATE_REPLACED;
        int result = put_aside(p, r, true, true, r->there ? "it was damaged" : "it is not the file that belongs there");
        /* Its own name may be taken by a copy of yet another one. */
        char name[BC_NAME_SIZE];
        bc_data_name(name, r->listed.name.id);
        if (result == BITCASK_OK && r->misnamed && bc_directory_has(&p->dir, name))
            result = bc_aside_add(&p->aside, name, false, "it is not the file that belongs there");
        return result;
    }
    if (r->relist) {
        plan->fate = FATE_RELISTED;
        p->needed = true;
    }
    return r->bad_hint ? put_aside(p, r, false, true, NULL) : BITCASK_OK;
}

/* Two open files: what recovery would decide. */
static int plan_tails(struct bc_repair *p)
{
    size_t open[2] = {0, 0}, count = 0;
    for (size_t i = 0; i < p->check.count; i++)
        if (p->check.reports[i].listed.state == BC_MANIFEST_OPEN && count < 2)
            open[count++] = i;
    if (count < 2)
        return BITCASK_OK;
    struct bc_file_report *first = &p->check.reports[open[0]], *second = &p->check.reports[open[1]];
    if (!first->there || !second->there)
        return BITCASK_OK;
    bool is_void;
    struct bc_findings news;
    bc_findings_init(&news, p->allocator);
    bc_store_check_tails(first, second, &news, &is_void, &p->plans[open[0]].end);
    int result = bc_repair_deliver(p, &news);
    for (size_t i = 0; i < 2 && result == BITCASK_OK; i++) {
        struct bc_repair_plan *plan = &p->plans[open[i]];
        uint64_t end = plan->end;
        if (p->check.reports[open[i]].damaged)
            result = plan_file(p, &p->check.reports[open[i]], plan);
        plan->end = end;
    }
    /* What the first one may have behind the end that its successor knows never counted. */
    if (p->plans[open[0]].end < first->walk.end && p->needed && result == BITCASK_OK) {
        p->plans[open[0]].fate = FATE_REPLACED;
        result = put_aside(p, first, true, true, "it goes on behind the end that the next file knows");
    }
    if (is_void && p->needed && result == BITCASK_OK) {
        p->plans[open[1]].fate = FATE_DROPPED;
        result = put_aside(p, second, true, false, "the log file before it was cut, so it never counted");
    }
    return result;
}

uint64_t bc_repair_first_output(const struct bc_repair *p)
{
    return BC_MAX(p->manifest.next_id, p->names.highest + 1);
}

static int take_hint_of_output(enum bc_name_kind kind, uint64_t id, const char *name, void *arg)
{
    struct bc_repair *p = arg;
    if (kind != BC_NAME_HINT || id < bc_repair_first_output(p) || id - bc_repair_first_output(p) >= p->replaced)
        return BITCASK_OK;
    return bc_aside_add(&p->aside, name, false, "it has the number of a file that the repair writes");
}

/* Hint files that nothing has looked at, and that would count after the repair: of a file that was open, and is sealed by it;
 * of a file that it writes. */
static int plan_unread_hints(struct bc_repair *p)
{
    if (!p->needed)
        return BITCASK_OK;
    int result = bc_directory_each(&p->dir, take_hint_of_output, p);
    for (size_t i = 0; i < p->check.count && result == BITCASK_OK; i++) {
        char name[BC_NAME_SIZE];
        bc_hint_name(name, p->check.reports[i].listed.name.id);
        if (p->check.reports[i].listed.state == BC_MANIFEST_OPEN && bc_directory_has(&p->dir, name))
            result = bc_aside_add(&p->aside, name, false, "its data file was not closed");
    }
    return result;
}

int bc_repair_make_plan(struct bc_repair *p)
{
    p->plans = bc_alloc_zero(p->allocator, p->check.count + 1, sizeof *p->plans);
    if (p->plans == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to repair the store");
    int result = BITCASK_OK;
    for (size_t i = 0; i < p->check.count && result == BITCASK_OK; i++)
        result = plan_file(p, &p->check.reports[i], &p->plans[i]);
    if (result == BITCASK_OK)
        result = plan_tails(p);
    for (size_t i = 0; i < p->check.count; i++)
        p->replaced += p->plans[i].fate == FATE_REPLACED;
    if (result == BITCASK_OK)
        result = plan_unread_hints(p);
    return result;
}
