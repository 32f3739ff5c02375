/* The worked example of docs/format.md is what the code writes, byte by byte. BITCASK_REGENERATE=1 writes it anew. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bitcask/coding.h"
#include "bitcask/format_data.h"
#include "bitcask/format_manifest.h"
#include "bitcask/format_record.h"

#define BEGIN_MARKER "<!-- worked example: begin -->\n"
#define END_MARKER "<!-- worked example: end -->\n"

#define ID 1U
#define NONCE 0x0123456789ABCDEFU
#define KEY "session:42"
#define VALUE "{\"user\":7}"
#define EXPIRY 1900000000000

#define LINK_AT BC_DATA_START
#define PUT_AT (LINK_AT + 56U)
#define TOMBSTONE_AT (PUT_AT + 56U)
#define END_AT (TOMBSTONE_AT + 40U)

struct field {
    unsigned size;
    const char *meaning;
};

static const struct field link_fields[] = {
    {4, "head CRC"},   {4, "value CRC"},    {8, "sequence 1"}, {4, "value size 32"},
    {2, "key size 0"}, {1, "type 4: link"}, {1, "flags"},      {8, "id of the previous file: none"},
    {8, "its nonce"},  {8, "its end"},      {8, "zero"},
};

static const struct field put_fields[] = {
    {4, "head CRC: from the value CRC to the end of the key"},
    {4, "value CRC"},
    {8, "sequence 2"},
    {4, "value size 10"},
    {2, "key size 10"},
    {1, "type 1: put"},
    {1, "flags: 1, an expiry follows"},
    {8, "expiry 1900000000000: 2030-03-17 17:46:40 UTC"},
    {10, "key"},
    {10, "value"},
    {4, "zeros up to the footprint, 56"},
};

static const struct field tombstone_fields[] = {
    {4, "head CRC"},
    {4, "value CRC: of no bytes, so its seed, ~seed"},
    {8, "sequence 3"},
    {4, "value size 0"},
    {2, "key size 10"},
    {1, "type 2: tombstone"},
    {1, "flags"},
    {10, "key"},
    {6, "zeros up to the footprint, 40"},
};

static const struct field mark_fields[] = {
    {4, "CRC"}, {4, "magic"}, {8, "counter 2: slot 0"}, {8, "offset 8344: the file is durable up to there"}, {8, "zero"},
};

static const struct field manifest_fields[] = {
    {8, "magic"},
    {4, "version 1"},
    {4, "body size 148"},
    {4, "compatible flags"},
    {4, "incompatible flags"},
    {8, "generation 2"},
    {16, "store uuid"},
    {8, "ceiling 4294967297: 2^32 above the next sequence, 1"},
    {8, "next id 3: 2 is free to be made"},
    {8, "cleared below: never"},
    {4, "count 1"},
    {4, "zero"},
    {8, "id 1"},
    {8, "nonce"},
    {4, "state 1: open"},
    {4, "kind 0: log"},
    {4, "flags"},
    {4, "zero"},
    {8, "end 8192: known durable so far"},
    {8, "lowest sequence: not known of an open file"},
    {8, "highest sequence"},
    {8, "zero"},
    {4, "CRC"},
};

/* The examples themselves: the records of one file, a slot of its mark, the MANIFEST from before the first put. */
static void build_records(uint8_t *file)
{
    struct bc_record r = {.sequence = 1, .value_size = BC_LINK_VALUE, .type = BC_RECORD_LINK};
    uint8_t *p = file + LINK_AT;
    bc_link_encode(p + BC_RECORD_HEADER, &(struct bc_link){0, 0, 0});
    bc_record_encode(p, &r, bc_record_seed(NONCE, LINK_AT), NULL, p + BC_RECORD_HEADER);
    ck_assert_uint_eq(LINK_AT + bc_record_footprint(&r), PUT_AT);

    p = file + PUT_AT;
    r = (struct bc_record){.sequence = 2, .expire_at_ms = EXPIRY, .value_size = 10, .key_size = 10, .type = 1, .flags = 1};
    memcpy(p + 32, KEY VALUE, 20);
    bc_record_encode(p, &r, bc_record_seed(NONCE, PUT_AT), p + 32, p + 42);
    ck_assert_uint_eq(PUT_AT + bc_record_footprint(&r), TOMBSTONE_AT);

    p = file + TOMBSTONE_AT;
    r = (struct bc_record){.sequence = 3, .key_size = 10, .type = BC_RECORD_TOMBSTONE};
    memcpy(p + 24, KEY, 10);
    bc_record_encode(p, &r, bc_record_seed(NONCE, TOMBSTONE_AT), p + 24, NULL);
    ck_assert_uint_eq(TOMBSTONE_AT + bc_record_footprint(&r), END_AT);
}

static void build_manifest(uint8_t *dst)
{
    struct bc_manifest_file file = {{ID, NONCE}, BC_MANIFEST_OPEN, BC_DATA_KIND_LOG, 0, BC_DATA_START, 0, 0};
    struct bc_manifest m = {.generation = 2, .ceiling = 4294967297, .next_id = ID + 2, .count = 1, .files = &file};
    for (size_t i = 0; i < sizeof m.store.bytes; i++)
        m.store.bytes[i] = (uint8_t)(i * 0x11);
    ck_assert_uint_eq(bc_manifest_size(1), 8192);
    bc_manifest_encode(dst, &m);
}

/* One line a field, 16 bytes a line: offset, bytes, meaning. */
static void render(FILE *out, const char *title, const uint8_t *bytes, uint64_t offset, const struct field *fields,
                   size_t count)
{
    fprintf(out, "%s\n\n", title);
    for (size_t i = 0; i < count; i++) {
        for (unsigned at = 0; at < fields[i].size; at += 16) {
            char hex[3 * 16 + 1] = "";
            for (unsigned k = at; k < fields[i].size && k < at + 16; k++)
                snprintf(hex + 3 * (k - at), sizeof hex - 3 * (k - at), "%02x ", bytes[k]);
            fprintf(out, "%08" PRIx64 "  %-48s  %s\n", offset + at, hex, at == 0 ? fields[i].meaning : "");
        }
        bytes += fields[i].size;
        offset += fields[i].size;
    }
    fputs("\n", out);
}

static char *render_all(void)
{
    uint8_t *file = calloc(1, END_AT), *manifest = malloc(8192);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    ck_assert(file != NULL && manifest != NULL && out != NULL);
    build_records(file);
    bc_mark_encode(file + BC_DATA_MARK_OFFSET, NONCE, 2, END_AT);
    build_manifest(manifest);
    fputs("```text\n", out);
    render(out, "0000000001.data, first slot of the durable mark", file + BC_DATA_MARK_OFFSET, BC_DATA_MARK_OFFSET, mark_fields,
           BC_ARRAY_SIZE(mark_fields));
    render(out, "0000000001.data, link (the first file of a store)", file + LINK_AT, LINK_AT, link_fields,
           BC_ARRAY_SIZE(link_fields));
    render(out, "0000000001.data, put of \"session:42\" with an expiry", file + PUT_AT, PUT_AT, put_fields,
           BC_ARRAY_SIZE(put_fields));
    render(out, "0000000001.data, tombstone of \"session:42\"", file + TOMBSTONE_AT, TOMBSTONE_AT, tombstone_fields,
           BC_ARRAY_SIZE(tombstone_fields));
    render(out, "MANIFEST, first body (the second one, the same, starts at 00001000)", manifest, 0, manifest_fields,
           BC_ARRAY_SIZE(manifest_fields));
    ck_assert_int_eq(fseek(out, -1, SEEK_CUR), 0); /* no empty line before the fence */
    fputs("```\n", out);
    ck_assert_int_eq(fclose(out), 0);
    free(file);
    free(manifest);
    return text;
}

static char *read_all(const char *path)
{
    FILE *in = fopen(path, "rb");
    ck_assert_msg(in != NULL, "cannot open %s", path);
    char *text = calloc(1, 1 << 20);
    ck_assert_ptr_nonnull(text);
    size_t got = fread(text, 1, (1 << 20) - 1, in);
    ck_assert(got > 0 && feof(in));
    fclose(in);
    return text;
}

static void write_all(const char *path, const char *before, size_t before_size, const char *block, const char *after)
{
    FILE *out = fopen(path, "wb");
    ck_assert_msg(out != NULL, "cannot write %s", path);
    ck_assert_uint_eq(fwrite(before, 1, before_size, out), before_size);
    ck_assert_int_ge(fputs(block, out), 0);
    ck_assert_int_ge(fputs(after, out), 0);
    ck_assert_int_eq(fclose(out), 0);
}

START_TEST(worked_example_is_what_the_code_writes)
{
    const char *root = getenv("BITCASK_SOURCE_ROOT"), *regenerate = getenv("BITCASK_REGENERATE");
    ck_assert_msg(root != NULL, "BITCASK_SOURCE_ROOT must name the source tree");
    char path[4096];
    snprintf(path, sizeof path, "%s/docs/format.md", root);
    char *doc = read_all(path), *block = render_all();
    char *begin = strstr(doc, BEGIN_MARKER), *end = strstr(doc, END_MARKER);
    ck_assert_msg(begin != NULL && end != NULL && begin < end, "%s has no markers for the worked example", path);
    begin += strlen(BEGIN_MARKER);
    bool same = (size_t)(end - begin) == strlen(block) && memcmp(begin, block, strlen(block)) == 0;
    if (!same && regenerate != NULL && strcmp(regenerate, "1") == 0)
        write_all(path, doc, (size_t)(begin - doc), block, end);
    else
        ck_assert_msg(same, "the worked example of %s is not what the code writes; BITCASK_REGENERATE=1 writes it anew", path);
    free(doc);
    free(block);
}
END_TEST

/* The meanings beside the bytes are prose: hold them against what the decoders say. */
START_TEST(worked_example_means_what_it_says)
{
    uint8_t *file = calloc(1, END_AT), *manifest = malloc(8192);
    ck_assert(file != NULL && manifest != NULL);
    build_records(file);
    build_manifest(manifest);
    struct bc_record r;
    ck_assert_int_eq(bc_record_decode(&r, file + LINK_AT, 56, bc_record_seed(NONCE, LINK_AT)), BC_RECORD_OK);
    ck_assert(r.type == BC_RECORD_LINK && r.sequence == 1 && r.key_size == 0 && r.value_size == 32);
    uint32_t seed = bc_record_seed(NONCE, PUT_AT);
    ck_assert_int_eq(bc_record_decode(&r, file + PUT_AT, 56, seed), BC_RECORD_OK);
    ck_assert(r.type == BC_RECORD_PUT && r.sequence == 2 && r.flags == 1 && r.expire_at_ms == 1900000000000);
    ck_assert(r.key_size == 10 && r.value_size == 10 && bc_record_value_ok(&r, file + PUT_AT + 42, seed));
    seed = bc_record_seed(NONCE, TOMBSTONE_AT);
    ck_assert_int_eq(bc_record_decode(&r, file + TOMBSTONE_AT, 40, seed), BC_RECORD_OK);
    ck_assert(r.type == BC_RECORD_TOMBSTONE && r.sequence == 3 && r.flags == 0 && r.value_size == 0 && r.value_crc == ~seed);
    ck_assert_uint_eq(END_AT, 8344);
    struct bc_manifest m;
    int damaged;
    ck_assert_int_eq(bc_manifest_decode(&m, &damaged, manifest, 8192, &bc_allocator_default), BITCASK_OK);
    ck_assert(m.generation == 2 && m.ceiling == 4294967297 && m.next_id == 3 && m.cleared_below == 0 && m.count == 1);
    ck_assert(m.files[0].name.id == 1 && m.files[0].state == 1 && m.files[0].kind == 0 && m.files[0].end == 8192);
    ck_assert_uint_eq(bc_get_u32(manifest + 12), 148);
    bc_free(&bc_allocator_default, m.files);
    free(file);
    free(manifest);
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("format_doc");
    TCase *tc = tcase_create("format_doc");
    tcase_add_test(tc, worked_example_is_what_the_code_writes);
    tcase_add_test(tc, worked_example_means_what_it_says);
    suite_add_tcase(suite, tc);
    return suite;
}
