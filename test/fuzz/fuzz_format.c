/* fuzz_format.c - every decoder of the format on arbitrary bytes.
 *
 * The first byte of an input chooses the decoder; its highest bit asks for the CRCs to be made right first, so that the rules
 * behind them are reached too. Each input lies in an allocation of its exact size. What a decoder accepts must encode to
 * something that decodes to the same: a difference traps.
 *
 * With libFuzzer: -fsanitize=fuzzer,address,undefined -DBC_LIBFUZZER. Without it a main() replays the files and directories
 * that it is given, or with none a fixed number of mutations of valid examples.
 */
#include <stdlib.h>

#include "bitcask/coding.h"
#include "bitcask/crc.h"
#include "bitcask/format_data.h"
#include "bitcask/format_hint.h"
#include "bitcask/format_manifest.h"
#include "bitcask/format_record.h"

#define NONCE 0x0123456789ABCDEFU
#define OFFSET 8192U
#define FIX_CRC 0x80U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void fuzz_record(uint8_t *p, size_t size, bool fix)
{
    uint32_t seed = bc_record_seed(NONCE, OFFSET);
    struct bc_record peeked, r;
    bool plausible = bc_record_peek(&peeked, p, size);
    if (plausible && fix) {
        size_t key_end = bc_record_head_size(&peeked) + peeked.key_size;
        if (key_end <= size && peeked.value_size <= size - key_end)
            bc_put_u32(p + 4, bc_crc32(~seed, p + key_end, peeked.value_size));
        if (key_end <= size)
            bc_put_u32(p, bc_crc32(seed, p + 4, key_end - 4));
    }
    if (bc_record_decode(&r, p, size, seed) != BC_RECORD_OK)
        return;
    require(plausible && peeked.key_size == r.key_size && peeked.value_size == r.value_size);
    size_t head = bc_record_head_size(&r), key_end = head + r.key_size;
    require(key_end <= size);
    uint64_t footprint = bc_record_footprint(&r);
    require(footprint >= key_end + (uint64_t)r.value_size);
    require(bc_footprint_decode(bc_footprint_encode(footprint)) == footprint);
    if (r.value_size > size - key_end || !bc_record_value_ok(&r, p + key_end, seed))
        return;
    uint8_t again[BC_RECORD_HEADER + BC_RECORD_EXPIRY];
    bc_record_encode(again, &r, seed, p + head, p + key_end);
    require(memcmp(again, p, head) == 0);
}

static void fuzz_service_values(const uint8_t *p, size_t size)
{
    uint8_t in[BC_LINK_VALUE] = {0}, again[BC_LINK_VALUE];
    uint32_t count;
    uint64_t bytes;
    struct bc_link link;
    memcpy(in, p, BC_MIN(size, sizeof in));
    if (bc_batch_decode(in, &count, &bytes)) {
        bc_batch_encode(again, count, bytes);
        require(memcmp(again, in, BC_BATCH_VALUE) == 0);
    }
    if (bc_link_decode(in, &link)) {
        bc_link_encode(again, &link);
        require(memcmp(again, in, BC_LINK_VALUE) == 0);
    }
}

static void fuzz_data_header(const uint8_t *p, size_t size, bool fix)
{
    uint8_t page[BC_DATA_HEADER_SIZE] = {0};
    struct bc_data_header h, again;
    memcpy(page, p, BC_MIN(size, sizeof page));
    if (fix)
        bc_put_u32(page + sizeof page - 4, bc_crc32(0, page, sizeof page - 4));
    if (bc_data_header_decode(&h, page) != BC_FORMAT_OK)
        return;
    bc_data_header_encode(page, &h);
    require(bc_data_header_decode(&again, page) == BC_FORMAT_OK && memcmp(&again, &h, sizeof h) == 0);
}

static void fuzz_mark(const uint8_t *p, size_t size, bool fix)
{
    uint8_t slot[BC_DATA_MARK_SIZE] = {0}, again[BC_DATA_MARK_SIZE];
    uint64_t counter, offset;
    memcpy(slot, p, BC_MIN(size, sizeof slot));
    if (fix)
        bc_put_u32(slot, bc_crc32((uint32_t)(NONCE ^ NONCE >> 32), slot + 4, sizeof slot - 4));
    if (!bc_mark_decode(slot, NONCE, &counter, &offset))
        return;
    bc_mark_encode(again, NONCE, counter, offset);
    require(memcmp(again, slot, sizeof slot) == 0);
}

static void fix_body(uint8_t *p, size_t size)
{
    if (size < 16)
        return;
    size_t body = bc_get_u32(p + 12);
    if (body >= 16 && body <= size)
        bc_put_u32(p + body - 4, bc_crc32(0, p, body - 4));
}

static void fuzz_manifest(uint8_t *p, size_t size, bool fix)
{
    struct bc_manifest m, again;
    int damaged;
    if (fix) {
        fix_body(p, size);
        if (size > 4096)
            fix_body(p + 4096, size - 4096);
    }
    if (bc_manifest_decode(&m, &damaged, p, size, &bc_allocator_default) != BITCASK_OK)
        return;
    require(m.count <= size / 64 && damaged >= 0 && damaged <= 1);
    size_t total = bc_manifest_size(m.count);
    uint8_t *out = malloc(total);
    if (out != NULL) {
        bc_manifest_encode(out, &m);
        require(bc_manifest_decode(&again, &damaged, out, total, &bc_allocator_default) == BITCASK_OK && damaged == 0);
        require(again.count == m.count && again.generation == m.generation && again.next_id == m.next_id);
        for (size_t i = 0; i < m.count; i++)
            require(again.files[i].name.id == m.files[i].name.id && again.files[i].end == m.files[i].end);
        bc_free(&bc_allocator_default, again.files);
        free(out);
    }
    bc_free(&bc_allocator_default, m.files);
}

static void fuzz_hint_header(const uint8_t *p, size_t size, bool fix)
{
    uint8_t in[BC_HINT_HEADER] = {0};
    struct bc_hint_header h, again;
    memcpy(in, p, BC_MIN(size, sizeof in));
    if (fix)
        bc_put_u32(in + sizeof in - 4, bc_crc32(0, in, sizeof in - 4));
    if (bc_hint_header_decode(&h, in) != BC_FORMAT_OK)
        return;
    require(h.entries <= h.size / BC_HINT_ENTRY && h.blocks <= h.entries);
    bc_hint_header_encode(in, &h);
    require(bc_hint_header_decode(&again, in) == BC_FORMAT_OK && again.size == h.size && again.entries == h.entries);
}

static void fuzz_hint_block(uint8_t *p, size_t size, bool fix)
{
    uint32_t payload, count;
    if (size < BC_HINT_BLOCK_HEADER)
        return;
    bc_hint_block_peek(p, &payload, &count);
    if (payload > size - BC_HINT_BLOCK_HEADER)
        return;
    if (fix)
        bc_hint_block_encode(p, NONCE, 5, p + BC_HINT_BLOCK_HEADER, payload, count);
    if (!bc_hint_block_ok(p, NONCE, 5, p + BC_HINT_BLOCK_HEADER))
        return;
    const uint8_t *at = p + BC_HINT_BLOCK_HEADER, *end = at + payload;
    struct bc_hint_entry e;
    for (size_t taken; (taken = bc_hint_entry_decode(&e, at, (size_t)(end - at), (uint64_t)1 << 34)) != 0; at += taken) {
        require(taken == bc_hint_entry_size(&e) && taken <= (size_t)(end - at));
        require((const uint8_t *)e.key + e.key_size == at + taken);
        uint8_t *again = malloc(taken);
        if (again == NULL)
            return;
        bc_hint_entry_encode(again, &e);
        require(memcmp(again, at, taken) == 0);
        free(again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    bool fix = (data[0] & FIX_CRC) != 0;
    uint8_t *p = malloc(size - 1 + (size == 1));
    if (p == NULL)
        return 0;
    memcpy(p, data + 1, size - 1);
    switch (data[0] & 7) {
    case 0:
        fuzz_record(p, size - 1, fix);
        break;
    case 1:
        fuzz_service_values(p, size - 1);
        break;
    case 2:
        fuzz_data_header(p, size - 1, fix);
        break;
    case 3:
        fuzz_mark(p, size - 1, fix);
        break;
    case 4:
        fuzz_manifest(p, size - 1, fix);
        break;
    case 5:
        fuzz_hint_header(p, size - 1, fix);
        break;
    case 6:
        fuzz_hint_block(p, size - 1, fix);
        break;
    default:
        break;
    }
    free(p);
    return 0;
}

#ifndef BC_LIBFUZZER

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#define MUTATIONS 300000U
#define EXAMPLE_ROOM 8193U

/* A valid input for each decoder. Returns its size. */
static size_t example(uint8_t *dst, unsigned kind)
{
    dst[0] = (uint8_t)kind;
    uint8_t *p = dst + 1;
    switch (kind) {
    case 0: {
        struct bc_record r = {
            .sequence = 7, .expire_at_ms = 1900000000000, .value_size = 9, .key_size = 3, .type = 1, .flags = 1};
        memcpy(p + 32, "keysome value", 12);
        bc_record_encode(p, &r, bc_record_seed(NONCE, OFFSET), p + 32, p + 35);
        return 1 + 44;
    }
    case 1:
        bc_link_encode(p, &(struct bc_link){3, NONCE, 65536});
        return 1 + BC_LINK_VALUE;
    case 2:
        bc_data_header_encode(p, &(struct bc_data_header){.name = {9, NONCE}, .kind = 1, .input_count = 1, .inputs = {{3, 4}}});
        return 1 + BC_DATA_HEADER_SIZE;
    case 3:
        bc_mark_encode(p, NONCE, 3, 65536);
        return 1 + BC_DATA_MARK_SIZE;
    case 4: {
        struct bc_manifest_file files[] = {{{1, 2}, BC_MANIFEST_SEALED, 1, 0, 65536, 1, 9},
                                           {{3, 4}, BC_MANIFEST_OPEN, 0, 1, 8192, 0, 0}};
        bc_manifest_encode(p, &(struct bc_manifest){.generation = 2, .ceiling = 100, .next_id = 4, .count = 2, .files = files});
        return 1 + bc_manifest_size(2);
    }
    case 5:
        bc_hint_header_encode(p, &(struct bc_hint_header){{9, NONCE}, 65536, 2, 1, 1, 5, 6, 190, 7});
        return 1 + BC_HINT_HEADER;
    default: {
        struct bc_hint_entry e = {.sequence = 5, .offset = 8192, .value_size = 1, .key_size = 3, .type = 1, .key = "abc"};
        bc_hint_entry_encode(p + 16, &e);
        bc_hint_entry_encode(p + 39, &e);
        bc_hint_block_encode(p, NONCE, 5, p + 16, 46, 2);
        return 1 + 16 + 46;
    }
    }
}

static int mutate(void)
{
    uint8_t input[EXAMPLE_ROOM];
    uint64_t x = 88172645463325252U;
    for (unsigned i = 0; i < MUTATIONS; i++) {
        size_t size = example(input, i % 7);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        uint64_t choice = x;
        for (unsigned changes = choice & 3; changes != 0; changes--) {
            choice = choice * 6364136223846793005U + 1442695040888963407U;
            /* Mostly near the start, where the fields are. */
            size_t span = (choice & 0x100) != 0 ? size - 1 : BC_MIN(size - 1, 200);
            input[1 + (choice >> 40) % span] = (choice & 0x200) != 0   ? (uint8_t)(choice >> 24)
                                               : (choice & 0x400) != 0 ? 0xff
                                                                       : 0;
        }
        if ((choice >> 20 & 7) == 0)
            size = 1 + (choice >> 32) % size;
        input[0] |= (choice >> 16 & 1) != 0 ? FIX_CRC : 0;
        LLVMFuzzerTestOneInput(input, size);
    }
    return EXIT_SUCCESS;
}

static int replay(const char *path);

static int replay_directory(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        perror(path);
        return EXIT_FAILURE;
    }
    int result = EXIT_SUCCESS;
    for (struct dirent *entry; result == EXIT_SUCCESS && (entry = readdir(dir)) != NULL;) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        result = replay(name);
    }
    closedir(dir);
    return result;
}

static int replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return replay_directory(path);
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc((size_t)1 << 20);
    if (file == NULL || data == NULL) {
        perror(path);
        if (file != NULL)
            fclose(file);
        free(data);
        return EXIT_FAILURE;
    }
    LLVMFuzzerTestOneInput(data, fread(data, 1, (size_t)1 << 20, file));
    fclose(file);
    free(data);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return mutate();
    for (int i = 1; i < argc; i++)
        if (replay(argv[i]) != EXIT_SUCCESS)
            return EXIT_FAILURE;
    return EXIT_SUCCESS;
}

#endif
