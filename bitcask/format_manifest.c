#include "bitcask/format_manifest.h"

#include "bitcask/coding.h"
#include "bitcask/crc.h"
#include "bitcask/format_record.h"

#define BODY_HEADER 80U
#define BODY_ENTRY 64U
#define BODY_CRC 4U
#define BLOCK 4096U

static const char body_magic[8] = {'\x89', 'B', 'C', 'M', 'A', 'N', 'I', '\n'};

static size_t body_size(size_t count)
{
    return BODY_HEADER + BODY_ENTRY * count + BODY_CRC;
}

size_t bc_manifest_size(size_t count)
{
    return 2 * (size_t)bc_align_up(body_size(count), BLOCK);
}

static void entry_encode(uint8_t *p, const struct bc_manifest_file *f)
{
    bc_put_u64(p, f->name.id);
    bc_put_u64(p + 8, f->name.nonce);
    bc_put_u32(p + 16, f->state);
    bc_put_u32(p + 20, f->kind);
    bc_put_u32(p + 24, f->flags);
    bc_put_u64(p + 32, f->end);
    bc_put_u64(p + 40, f->min_sequence);
    bc_put_u64(p + 48, f->max_sequence);
}

void bc_manifest_encode(void *dst, const struct bc_manifest *m)
{
    uint8_t *p = dst;
    size_t total = bc_manifest_size(m->count), body = body_size(m->count);
    memset(p, 0, total);
    memcpy(p, body_magic, sizeof body_magic);
    bc_put_u32(p + 8, BC_FORMAT_VERSION);
    bc_put_u32(p + 12, (uint32_t)body);
    bc_put_u32(p + 16, m->compatible);
    bc_put_u32(p + 20, m->incompatible);
    bc_put_u64(p + 24, m->generation);
    memcpy(p + 32, m->store.bytes, sizeof m->store.bytes);
    bc_put_u64(p + 48, m->ceiling);
    bc_put_u64(p + 56, m->next_id);
    bc_put_u64(p + 64, m->cleared_below);
    bc_put_u32(p + 72, (uint32_t)m->count);
    for (size_t i = 0; i < m->count; i++)
        entry_encode(p + BODY_HEADER + BODY_ENTRY * i, &m->files[i]);
    bc_put_u32(p + body - BODY_CRC, bc_crc32(0, p, body - BODY_CRC));
    memcpy(p + total / 2, p, body);
}

/* The size of the intact body that starts at p, of which at most size bytes may be read; 0 if there is none. Intact says
 * nothing about the version: the place of size and CRC is the same in all of them. */
static size_t body_intact(const uint8_t *p, size_t size)
{
    if (size < body_size(0) || memcmp(p, body_magic, sizeof body_magic) != 0)
        return 0;
    size_t body = bc_get_u32(p + 12);
    if (body < body_size(0) || body > size)
        return 0;
    return bc_crc32(0, p, body - BODY_CRC) == bc_get_u32(p + body - BODY_CRC) ? body : 0;
}

static bool entry_decode(struct bc_manifest_file *f, const uint8_t *p, const struct bc_manifest *m, uint64_t previous_id)
{
    f->name.id = bc_get_u64(p);
    f->name.nonce = bc_get_u64(p + 8);
    f->state = bc_get_u32(p + 16);
    f->kind = bc_get_u32(p + 20);
    f->flags = bc_get_u32(p + 24);
    f->end = bc_get_u64(p + 32);
    f->min_sequence = bc_get_u64(p + 40);
    f->max_sequence = bc_get_u64(p + 48);
    if (f->name.id <= previous_id || f->name.id >= m->next_id)
        return false;
    if (f->state != BC_MANIFEST_OPEN && f->state != BC_MANIFEST_SEALED)
        return false;
    if (f->kind != BC_DATA_KIND_LOG && f->kind != BC_DATA_KIND_MERGE)
        return false;
    if ((f->flags & ~BC_MANIFEST_CLEAN) != 0 || f->end < BC_DATA_START || f->end % BC_RECORD_ALIGN != 0)
        return false;
    /* Of an open file nobody knows the range yet. */
    if (f->state == BC_MANIFEST_OPEN)
        return true;
    if (f->min_sequence == 0 || f->max_sequence == 0)
        return f->min_sequence == f->max_sequence;
    return f->min_sequence <= f->max_sequence && f->max_sequence < m->ceiling;
}

/* p: an intact body of this version. */
static int body_decode(struct bc_manifest *ret, const uint8_t *p, size_t body, const bitcask_allocator *allocator)
{
    struct bc_manifest m;
    memset(&m, 0, sizeof m);
    m.compatible = bc_get_u32(p + 16) & BC_MANIFEST_BACKUP;
    m.incompatible = bc_get_u32(p + 20);
    m.generation = bc_get_u64(p + 24);
    memcpy(m.store.bytes, p + 32, sizeof m.store.bytes);
    m.ceiling = bc_get_u64(p + 48);
    m.next_id = bc_get_u64(p + 56);
    m.cleared_below = bc_get_u64(p + 64);
    m.count = bc_get_u32(p + 72);
    /* The count is held against the bytes that are there before it may size anything. */
    if (body != body_size(m.count) || m.cleared_below > m.next_id)
        return BITCASK_CORRUPT;
    if (m.count != 0) {
        m.files = bc_alloc_zero(allocator, m.count, sizeof *m.files);
        if (m.files == NULL)
            return BITCASK_NO_MEMORY;
    }
    uint64_t previous_id = 0;
    for (size_t i = 0; i < m.count; i++) {
        if (!entry_decode(&m.files[i], p + BODY_HEADER + BODY_ENTRY * i, &m, previous_id)) {
            bc_free(allocator, m.files);
            return BITCASK_CORRUPT;
        }
        previous_id = m.files[i].name.id;
    }
    *ret = m;
    return BITCASK_OK;
}

/* known: the incompatible flags that the caller can deal with. */
static int decode(struct bc_manifest *ret, int *ret_damaged_copies, const void *src, size_t size, uint32_t known,
                  const bitcask_allocator *allocator)
{
    const uint8_t *first = src, *second = NULL;
    size_t first_body = body_intact(first, size), second_body = 0;
    /* An intact first copy says where the second one starts; without it only the whole file's size does. */
    size_t start = first_body != 0 ? (size_t)bc_align_up(first_body, BLOCK) : size % (2 * BLOCK) == 0 ? size / 2 : size;
    if (start < size) {
        second = first + start;
        second_body = body_intact(second, size - start);
    }
    if (first_body == 0 && second_body == 0)
        return BITCASK_CORRUPT;
    /* Two whole copies that differ are no torn write: the file is replaced as a whole. */
    if (first_body != 0 && second_body != 0 && (first_body != second_body || memcmp(first, second, first_body) != 0))
        return BITCASK_CORRUPT;
    const uint8_t *body = first_body != 0 ? first : second;
    if (bc_get_u32(body + 8) != BC_FORMAT_VERSION || (bc_get_u32(body + 20) & ~known) != 0)
        return BITCASK_UNSUPPORTED;
    int result = body_decode(ret, body, first_body != 0 ? first_body : second_body, allocator);
    if (result == BITCASK_OK)
        *ret_damaged_copies = (first_body == 0) + (second_body == 0);
    return result;
}

int bc_manifest_decode(struct bc_manifest *ret, int *ret_damaged_copies, const void *src, size_t size,
                       const bitcask_allocator *allocator)
{
    return decode(ret, ret_damaged_copies, src, size, 0, allocator);
}

int bc_manifest_decode_backup(struct bc_manifest *ret, int *ret_damaged_copies, const void *src, size_t size,
                              const bitcask_allocator *allocator)
{
    return decode(ret, ret_damaged_copies, src, size, BC_MANIFEST_UNFINISHED, allocator);
}
