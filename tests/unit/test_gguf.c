/* test_gguf.c - gguf.c and gguf_parse.c: what a good file says, and that each broken one is refused with the
 * reason.
 *
 * Broken files are one good file with a few bytes patched, so that each case breaks one rule and no other. */
#include "tests/fixture/gguf_put.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { GOOD_ALIGNMENT = 64, A_BYTES = 2 * 2 * 18, B_BYTES = 5 * 4 };

/* Keys of every kind; two tensors, a.weight [64, 2] Q4_0 at 0 and b.weight [5] F32 at 128 of the data. */
static void make_good(struct gguf_bytes *b)
{
    const int32_t types[] = {1, -2, 3};
    const uint64_t big = (uint64_t)1 << 40;
    const uint8_t flag = 1;

    gguf_put_header(b, 2, 10);
    gguf_put_key_str(b, "general.architecture", "qwen35");
    gguf_put_key_u32(b, "general.alignment", GOOD_ALIGNMENT);
    gguf_put_key_u32(b, "test.count", 7);
    gguf_put_str(b, "test.neg");
    gguf_put_u32(b, GGUF_I32);
    gguf_put(b, &types[1], sizeof(types[1]));
    gguf_put_str(b, "test.big");
    gguf_put_u32(b, GGUF_U64);
    gguf_put_u64(b, big);
    gguf_put_key_f32(b, "test.rate", 0.5f);
    gguf_put_str(b, "test.flag");
    gguf_put_u32(b, GGUF_BOOL);
    gguf_put(b, &flag, 1);
    gguf_put_key_array(b, "test.words", GGUF_STR, 3);
    gguf_put_str(b, "one");
    gguf_put_str(b, "");
    gguf_put_str(b, "three");
    gguf_put_key_array(b, "test.types", GGUF_I32, 3);
    gguf_put(b, types, sizeof(types));
    gguf_put_key_str(b, "test.last", "end");
    gguf_put_tensor(b, "a.weight", 64, 2, QUANT_Q4_0, 0);
    gguf_put_tensor(b, "b.weight", 5, 0, QUANT_F32, 128);
    gguf_put_align(b, GOOD_ALIGNMENT);
    gguf_put_zeros(b, 128 + B_BYTES);
    assert_false(b->failed);
}

/* good */
static void test_open_memory_reads_scalars(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    struct fault fault = {0};
    struct gguf_str s;
    uint32_t v = 0;
    float f = 0;

    make_good(&b);
    assert_int_equal(gguf_open_memory(b.p, b.n, &fault, &g), GGUF_OK);
    assert_int_equal(gguf_version(g), 3);
    assert_int_equal(gguf_file_bytes(g), b.n);
    assert_int_equal(gguf_get_u32(g, "test.count", 0, 10, &fault, &v), 0);
    assert_int_equal(v, 7);
    assert_int_equal(gguf_get_f32(g, "test.rate", &fault, &f), 0);
    assert_float_equal(f, 0.5f, 0.0f);
    assert_int_equal(gguf_get_str(g, "test.last", &fault, &s), 0);
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.s, "end", 3);
    assert_true(gguf_has(g, "test.flag"));
    assert_false(gguf_has(g, "test.fla"));
}

static void test_get_refuses_with_the_reason(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    struct fault fault = {0};
    struct gguf_array array;
    struct gguf_str s;
    uint32_t v = 99;
    float f;

    make_good(&b);
    assert_int_equal(gguf_open_memory(b.p, b.n, &fault, &g), GGUF_OK);
    assert_int_equal(gguf_get_u32(g, "test.none", 0, 1, &fault, &v), GGUF_E_MISSING);
    assert_string_equal(fault.text, "test.none is missing from the metadata");
    assert_int_equal(gguf_get_u32(g, "test.count", 8, 10, &fault, &v), GGUF_E_RANGE);
    assert_string_equal(fault.text, "test.count is 7, should be in [8, 10]");
    assert_int_equal(gguf_get_u32(g, "test.neg", 0, 10, &fault, &v), GGUF_E_RANGE);
    assert_string_equal(fault.text, "test.neg is -2, should be in [0, 10]");
    assert_int_equal(gguf_get_u32(g, "test.big", 0, UINT32_MAX, &fault, &v), GGUF_E_RANGE);
    assert_string_equal(fault.text, "test.big is 1099511627776, should be in [0, 4294967295]");
    assert_int_equal(gguf_get_u32(g, "test.last", 0, 1, &fault, &v), GGUF_E_TYPE);
    assert_string_equal(fault.text, "test.last is of type string, should be an integer");
    assert_int_equal(gguf_get_f32(g, "test.count", &fault, &f), GGUF_E_TYPE);
    assert_string_equal(fault.text, "test.count is of type u32, should be f32");
    assert_int_equal(gguf_get_str(g, "test.types", &fault, &s), GGUF_E_TYPE);
    assert_string_equal(fault.text, "test.types is an array of i32, should be a string");
    assert_int_equal(gguf_get_array(g, "test.types", GGUF_STR, &fault, &array), GGUF_E_TYPE);
    assert_string_equal(fault.text, "test.types is an array of i32, should be an array of string");
    assert_int_equal(v, 99); /* ret_ parameters are written on success only */
}

static void test_arrays_are_walked(void **state _unused_)
{
    static const char *const words[] = {"one", "", "three"};
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    struct gguf_array array;
    const uint8_t *cursor;

    make_good(&b);
    assert_int_equal(gguf_open_memory(b.p, b.n, NULL, &g), GGUF_OK);
    assert_int_equal(gguf_get_array(g, "test.words", GGUF_STR, NULL, &array), 0);
    assert_int_equal(array.n, 3);
    cursor = array.data;
    for (size_t i = 0; i < 3; i++) {
        struct gguf_str s = gguf_array_next_str(&cursor);

        assert_int_equal(s.n, strlen(words[i]));
        assert_memory_equal(s.s, words[i], s.n);
    }
    assert_int_equal(gguf_get_array(g, "test.types", GGUF_I32, NULL, &array), 0);
    assert_memory_equal(array.data, ((const int32_t[]){1, -2, 3}), 12);
}

static void test_tensors_are_found(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    const struct gguf_tensor *t;
    size_t n_header;

    make_good(&b);
    assert_int_equal(gguf_open_memory(b.p, b.n, NULL, &g), GGUF_OK);
    assert_int_equal(gguf_n_tensors(g), 2);
    assert_null(gguf_find_tensor(g, "c.weight"));
    t = gguf_find_tensor(g, "a.weight");
    assert_non_null(t);
    assert_int_equal(t->ne[0], 64);
    assert_int_equal(t->ne[1], 2);
    assert_int_equal(t->ne[3], 1);
    assert_int_equal(t->bytes, A_BYTES);
    assert_ptr_equal(t, gguf_tensor(g, 0));
    t = gguf_find_tensor(g, "b.weight");
    assert_ptr_equal(t->data, b.p + b.n - B_BYTES);
    assert_ptr_equal(gguf_header(g, &n_header), b.p);
    assert_true(n_header < b.n - 128 - B_BYTES + GOOD_ALIGNMENT);
}

static void test_format_value_shortens(void **state _unused_)
{
    static const char *const shown[] = {
        "\"qwen35\"",       "64",     "7",    "-2",
        "1099511627776",    "0.5",    "true", "[3 string] \"one\", \"\", \"three\"",
        "[3 i32] 1, -2, 3", "\"end\""};
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    char text[200], small[8];

    make_good(&b);
    assert_int_equal(gguf_open_memory(b.p, b.n, NULL, &g), GGUF_OK);
    assert_int_equal(gguf_n_keys(g), ARRAY_SIZE(shown));
    for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
        gguf_format_value(g, i, text, sizeof(text));
        assert_string_equal(text, shown[i]);
        gguf_format_value(g, i, small, sizeof(small)); /* never beyond the buffer: ASan looks on */
        assert_int_equal(strncmp(small, shown[i], 7), 0);
    }
}

static void test_version_2_is_read(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;

    make_good(&b);
    b.p[4] = 2;
    assert_int_equal(gguf_open_memory(b.p, b.n, NULL, &g), GGUF_OK);
    assert_int_equal(gguf_version(g), 2);
}

/* broken */
struct patch {
    const char *after; /* bytes are patched delta after this name; NULL: after the start of the file */
    int delta, width;  /* width: bytes of value */
    uint64_t value;
    int code;
    const char *text;
};

static const struct patch patches[] = {
    /* header */
    {NULL, 0, 1, 'g', GGUF_E_NOT_GGUF, "not a GGUF file: it does not begin with \"GGUF\""},
    {NULL, 4, 4, 1, GGUF_E_VERSION, "GGUF version 1, should be 2 or 3"},
    {NULL, 4, 4, 4, GGUF_E_VERSION, "GGUF version 4, should be 2 or 3"},
    {NULL, 4, 4, 0x03000000, GGUF_E_VERSION,
     "a big-endian GGUF file (version 3): only little-endian ones can be read"},
    {NULL, 8, 8, 65537, GGUF_E_MALFORMED, "header says 65537 tensors, should be at most 65536"},
    {NULL, 16, 8, UINT64_MAX, GGUF_E_MALFORMED,
     "header says 18446744073709551615 metadata keys, should be at most 65536"},
    /* metadata */
    {"test.count", -18, 8, (uint64_t)1 << 63, GGUF_E_TRUNCATED,
     "metadata: a key takes 9223372036854775808 bytes at offset 111, but the file has 549 left"},
    {"test.count", -18, 8, 0, GGUF_E_MALFORMED, "metadata key 2 has a name of 0 bytes, should be 1 to 65535"},
    {"test.count", -1, 1, '\n', GGUF_OK, NULL}, /* an odd name is not an error */
    {"test.count", 0, 4, 13, GGUF_E_MALFORMED, "test.count has type 13, should be in [0, 12]"},
    {"test.neg", -8, 8, 0x6769622e74736574, GGUF_E_MALFORMED, "test.big is in the metadata twice"},
    {"test.last", 4, 8, 1 << 20, GGUF_E_TRUNCATED,
     "test.last: the string takes 1048576 bytes at offset 369, but the file has 291 left"},
    {"test.flag", 4, 1, 2, GGUF_E_MALFORMED, "test.flag is a bool of value 2, should be 0 or 1"},
    {"test.types", 4, 4, 13, GGUF_E_MALFORMED, "test.types has array element type 13, should be in [0, 12]"},
    {"test.types", 4, 4, GGUF_ARRAY, GGUF_E_MALFORMED,
     "test.types is an array of arrays, which no key of this model is"},
    {"test.types", 8, 8, (uint64_t)1 << 62, GGUF_E_TRUNCATED,
     "test.types: an array of 4611686018427387904 i32 at offset 328, but the file has 332 bytes left"},
    {"test.words", 8, 8, UINT64_MAX, GGUF_E_TRUNCATED,
     "test.words: an array of 18446744073709551615 string at offset 262, but the file has 398 bytes left"},
    {"test.words", 16, 8, 1 << 20, GGUF_E_TRUNCATED,
     "test.words: a string of the array takes 1048576 bytes at offset 270, but the file has 390 left"},
    {"general.alignment", 4, 4, 0, GGUF_E_RANGE, "general.alignment is 0, should be in [1, 2097152]"},
    {"general.alignment", 4, 4, 48, GGUF_E_RANGE, "general.alignment is 48, should be a power of two"},
    {"general.alignment", 0, 4, GGUF_F32, GGUF_E_TYPE,
     "general.alignment is of type f32, should be an integer"},
    /* tensors */
    {"a.weight", -16, 8, 0, GGUF_E_MALFORMED, "tensor 0 has a name of 0 bytes, should be 1 to 64"},
    {"a.weight", -16, 8, 65, GGUF_E_MALFORMED, "tensor 0 has a name of 65 bytes, should be 1 to 64"},
    {"b.weight", -8, 1, 'a', GGUF_E_MALFORMED, "a.weight is in the tensor directory twice"},
    {"a.weight", 0, 4, 0, GGUF_E_MALFORMED, "a.weight has 0 dimensions, should be 1 to 4"},
    {"a.weight", 0, 4, 5, GGUF_E_MALFORMED, "a.weight has 5 dimensions, should be 1 to 4"},
    {"a.weight", 12, 8, 0, GGUF_E_MALFORMED, "a.weight has ne[1] = 0, should be at least 1"},
    {"a.weight", 12, 8, (uint64_t)1 << 60, GGUF_E_MALFORMED,
     "a.weight has more than 2^63 values (ne[1] = 1152921504606846976)"},
    {"a.weight", 4, 8, 63, GGUF_E_MALFORMED, "a.weight has ne[0] = 63, should be a multiple of 32 for Q4_0"},
    {"a.weight", 20, 4, 99, GGUF_E_MALFORMED, "a.weight has type 99, which no GGUF version defines"},
    {"b.weight", 4, 8, (uint64_t)1 << 62, GGUF_E_MALFORMED,
     "b.weight has 4611686018427387904 blocks of F32: too many to address"},
    {"b.weight", 16, 8, 130, GGUF_E_MALFORMED, "b.weight is at offset 130, should be a multiple of 64"},
    {"b.weight", 16, 8, (uint64_t)1 << 63, GGUF_E_TRUNCATED,
     "b.weight takes 20 bytes at offset 9223372036854775808 of the data, but the file has only 148 there"},
    {"b.weight", 4, 8, 6, GGUF_E_TRUNCATED,
     "b.weight takes 24 bytes at offset 128 of the data, but the file has only 148 there"},
    {"b.weight", 16, 8, 64, GGUF_E_MALFORMED, "a.weight and b.weight overlap in the file"},
};

static void test_each_broken_file_is_refused_with_the_reason(void **state _unused_)
{
    for (size_t i = 0; i < ARRAY_SIZE(patches); i++) {
        const struct patch *p = &patches[i];
        _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
        _cleanup_(gguf_freep) struct gguf *g = NULL;
        struct fault fault = {0};
        uint8_t *at;

        make_good(&b);
        at = p->after ? (uint8_t *)memmem(b.p, b.n, p->after, strlen(p->after)) + strlen(p->after) : b.p;
        memcpy(at + p->delta, &p->value, (size_t)p->width);
        int r = gguf_open_memory(b.p, b.n, &fault, &g);
        if (p->text)
            assert_string_equal(fault.text, p->text);
        assert_int_equal(r, p->code);
        assert_int_equal(g == NULL, r != GGUF_OK);
    }
}

static void test_every_truncation_is_refused(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};

    make_good(&b);
    for (size_t n = 0; n < b.n; n++) {
        _cleanup_(freep) uint8_t *cut =
            malloc(n ? n : 1); /* its own allocation: ASan sees a byte read too far */
        _cleanup_(gguf_freep) struct gguf *g = NULL;
        struct fault fault = {0};

        memcpy(cut, b.p, n);
        int r = gguf_open_memory(cut, n, &fault, &g);
        assert_true(r == GGUF_E_TRUNCATED || (n < 4 && r == GGUF_E_NOT_GGUF));
        assert_true(fault.text[0] && fault.code == r);
    }
}

static void test_names_from_the_file_are_made_printable(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    struct fault fault = {0};
    uint8_t *name;

    make_good(&b);
    name = memmem(b.p, b.n, "test.flag", 9);
    name[4] = '\n';
    name[5] = 0x1b;
    name[9 + 4] = 3;
    assert_int_equal(gguf_open_memory(b.p, b.n, &fault, &g), GGUF_E_MALFORMED);
    assert_string_equal(fault.text, "test??lag is a bool of value 3, should be 0 or 1");
}

/* files */
static void test_open_refuses_what_is_no_file(void **state _unused_)
{
    struct gguf *g = NULL;
    struct fault fault = {0};
    char fifo[] = "/tmp/test-gguf-XXXXXX";

    assert_int_equal(gguf_open("/nonexistent/model.gguf", &fault, &g), -ENOENT);
    assert_string_equal(fault.text, "cannot be opened: No such file or directory");
    assert_int_equal(gguf_open("/", &fault, &g), GGUF_E_NOT_GGUF);
    assert_string_equal(fault.text, "not a GGUF file: it is no regular file");
    assert_int_equal(gguf_open("/dev/null", &fault, &g), GGUF_E_NOT_GGUF);
    assert_non_null(mkdtemp(fifo));
    assert_int_equal(rmdir(fifo), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(gguf_open(fifo, &fault, &g), GGUF_E_NOT_GGUF); /* and does not wait for a writer */
    assert_int_equal(unlink(fifo), 0);
    assert_null(g);
}

static void test_open_maps_a_file_and_can_drop_its_pages(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    _cleanup_(closep) int fd = -1;
    char path[] = "/tmp/test-gguf-XXXXXX";
    struct fault fault = {0};

    make_good(&b);
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b.p, b.n), b.n);
    assert_int_equal(gguf_open(path, &fault, &g), GGUF_OK);
    assert_int_equal(unlink(path), 0);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor(g, i);

        gguf_prefetch(g, t, 4096);
        assert_int_equal(gguf_tensor_offset(g, t), b.n - 128 - B_BYTES + (i ? 128 : 0));
        assert_memory_equal(t->data, b.p + b.n - 128 - B_BYTES + (i ? 128 : 0),
                            t->bytes); /* readable again */
    }
}

/* A vocabulary of 250,000 tokens and as many merges is walked once, and found again without a walk. */
static void test_many_keys_stay_fast_to_find(void **state _unused_)
{
    enum { N = 20000 };
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    char key[32];
    uint32_t v = 0;

    gguf_put_header(&b, 0, N);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(key, sizeof(key), "key.%u", i);
        gguf_put_key_u32(&b, key, i);
    }
    assert_int_equal(gguf_open_memory(b.p, b.n, NULL, &g), GGUF_OK);
    for (uint32_t i = 0; i < N; i++) { /* 20,000 scans would be 4e8 comparisons */
        snprintf(key, sizeof(key), "key.%u", i);
        assert_int_equal(gguf_get_u32(g, key, 0, N, NULL, &v), 0);
        assert_int_equal(v, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_memory_reads_scalars),
        cmocka_unit_test(test_get_refuses_with_the_reason),
        cmocka_unit_test(test_arrays_are_walked),
        cmocka_unit_test(test_tensors_are_found),
        cmocka_unit_test(test_format_value_shortens),
        cmocka_unit_test(test_version_2_is_read),
        cmocka_unit_test(test_each_broken_file_is_refused_with_the_reason),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_names_from_the_file_are_made_printable),
        cmocka_unit_test(test_open_refuses_what_is_no_file),
        cmocka_unit_test(test_open_maps_a_file_and_can_drop_its_pages),
        cmocka_unit_test(test_many_keys_stay_fast_to_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
