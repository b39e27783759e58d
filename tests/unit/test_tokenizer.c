/* test_tokenizer.c - encoding against golden ids; special tokens, ranges without them, bounds; long and
 * hostile texts. What a vocabulary may look like is test_vocab.c's. */
#include "daemon/model/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "digest.h"
#include "golden_text.h"

static const char *golden;     /* tests/golden */
static struct tokenizer *tiny; /* its small vocabulary */

#define IM_START "<|im_start|>" /* a control token */
#define THINK    "<think>"      /* a user-defined one */

static int setup(void **state)
{
    tiny = golden_tokenizer(golden, "tiny");
    return 0;
}

static int teardown(void **state)
{
    tiny = tokenizer_free(tiny);
    return 0;
}

static void encode(const struct tokenizer *t, const char *text, size_t n, enum tokenizer_special special,
                   const struct tokenizer_plain *plain, size_t n_plain, struct token_ids *ids)
{
    struct fault fault = {0};

    if (tokenizer_encode(t, text, n, special, plain, n_plain, &fault, ids))
        fail_msg("%s", fault.text);
}

static void check_case(const struct tokenizer *t, const struct golden_case *c)
{
    for (int special = TOKENIZER_ALL; special <= TOKENIZER_NONE; special++) {
        _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;

        encode(t, c->text, c->n_text, (enum tokenizer_special)special, NULL, 0, &ids);
        golden_check_ids(c->name, &ids, c->ids[special]);
    }
}

static void test_encode_equals_golden(void **state)
{
    assert_int_equal(golden_each_case(golden, "tiny", check_case), 500);
    assert_int_equal(golden_each_case(golden, "big", check_case), 500);
}

static char *read_long(size_t *ret_n)
{
    char path[4096], *text = malloc(2 << 20);
    FILE *f;

    snprintf(path, sizeof(path), "%s/tokenizer/long.txt", golden);
    f = fopen(path, "rb");
    assert_true(f && text);
    *ret_n = fread(text, 1, 2 << 20, f);
    fclose(f);
    return text;
}

static void check_long(const char *vocab, const char *text, size_t n)
{
    _cleanup_(tokenizer_freep) struct tokenizer *t = golden_tokenizer(golden, vocab);
    _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;
    struct sha256 sha;
    char path[4096];
    json_t *want;

    snprintf(path, sizeof(path), "%s/tokenizer/long-%s.json", golden, vocab);
    want = json_load_file(path, 0, NULL);
    assert_non_null(want);
    encode(t, text, n, TOKENIZER_ALL, NULL, 0, &ids);
    assert_int_equal(ids.n, json_integer_value(json_object_get(want, "n_ids")));
    sha256_init(&sha);
    sha256_put(&sha, ids.id, ids.n * sizeof(*ids.id)); /* u32le, as every machine we build for */
    check_digest(&sha, json_string_value(json_object_get(want, "sha256_ids_u32le")));
    json_decref(want);
}

static void test_encode_of_a_megabyte_equals_golden(void **state)
{
    _cleanup_(freep) char *text = NULL;
    size_t n;

    text = read_long(&n);
    assert_int_equal(n, 1000366);
    check_long("tiny", text, n);
    check_long("big", text, n);
}

/* A megabyte without a place to cut, of letters and of marks: whatever takes n^2 steps is still running when
 * the test's time is up.  256 equal letters make the same ids again and again. */
static void test_encode_of_one_long_piece_ends(void **state)
{
    enum { N = 1 << 20 };
    _cleanup_(token_ids_deinit) struct token_ids letters = TOKEN_IDS_INIT, marks = TOKEN_IDS_INIT;
    _cleanup_(freep) char *text = malloc(N);
    size_t n_bytes = 0;

    assert_non_null(text);
    memset(text, 'e', N);
    encode(tiny, text, N, TOKENIZER_ALL, NULL, 0, &letters);
    for (size_t i = 0; i < letters.n; i++)
        n_bytes += tokenizer_bytes(tiny, letters.id[i]).n;
    assert_int_equal(n_bytes, N);
    for (size_t i = 0; i < N; i += 4)
        memcpy(text + i, i % 8 ? "\u0323\u0307" : "\u0307\u0323", 4); /* out of order */
    encode(tiny, text, N, TOKENIZER_ALL, NULL, 0, &marks);
    n_bytes = 0;
    for (size_t i = 0; i < marks.n; i++)
        n_bytes += tokenizer_bytes(tiny, marks.id[i]).n;
    assert_int_equal(n_bytes, N);
}

static int count_added(const struct token_ids *ids, const char *token)
{
    int32_t id = tokenizer_find(tiny, token);
    int n = 0;

    assert_true(id >= 0);
    for (size_t i = 0; i < ids->n; i++)
        n += ids->id[i] == id;
    return n;
}

static void test_encode_recognises_no_token_that_touches_a_plain_range(void **state)
{
    static const char text[] = IM_START "a" IM_START THINK "b" IM_START;
    enum { TOKEN = sizeof(IM_START) - 1, SECOND = TOKEN + 1, N = sizeof(text) - 1 };
    static const struct {
        struct tokenizer_plain plain[2];
        size_t n;
        int starts, thinks;
    } cases[] = {
        {{{0}}, 0, 3, 1},
        {{{0, N}}, 1, 0, 0},
        {{{TOKEN, SECOND}}, 1, 3, 1},                          /* between two tokens */
        {{{SECOND, SECOND + TOKEN}}, 1, 2, 1},                 /* exactly one */
        {{{SECOND + TOKEN - 1, SECOND + TOKEN}}, 1, 2, 1},     /* its last byte */
        {{{SECOND + TOKEN - 1, SECOND + TOKEN + 1}}, 1, 2, 0}, /* and the next one's first */
        {{{0, 1}, {N - 1, N}}, 2, 1, 1},
        {{{4, 4}, {SECOND, SECOND}}, 2, 3, 1}, /* nothing in them */
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;

        encode(tiny, text, N, TOKENIZER_ALL, cases[i].plain, cases[i].n, &ids);
        assert_int_equal(count_added(&ids, IM_START), cases[i].starts);
        assert_int_equal(count_added(&ids, THINK), cases[i].thinks);
    }
}

/* The border of a plain range is no border of the text: pieces and merges run across it. */
static void test_encode_runs_across_the_borders_of_plain_ranges(void **state)
{
    static const char text[] = "some ordinary words, e\u0301 and 123 numbers";
    enum { N = sizeof(text) - 1 };
    _cleanup_(token_ids_deinit) struct token_ids want = TOKEN_IDS_INIT;

    encode(tiny, text, N, TOKENIZER_ALL, NULL, 0, &want);
    for (size_t i = 0; i < N; i++) {
        _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;
        const struct tokenizer_plain plain = {i, MIN(i + 5, (size_t)N)};

        encode(tiny, text, N, TOKENIZER_ALL, &plain, 1, &ids);
        assert_int_equal(ids.n, want.n);
        assert_memory_equal(ids.id, want.id, want.n * sizeof(*want.id));
    }
}

static void test_encode_names_the_byte_that_is_not_utf8(void **state)
{
    _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;
    struct fault fault = {0};

    encode(tiny, "hi", 2, TOKENIZER_ALL, NULL, 0, &ids);
    const size_t n = ids.n;

    assert_int_equal(tokenizer_encode(tiny, "abc\xe2\x82", 5, TOKENIZER_ALL, NULL, 0, &fault, &ids),
                     TOKENIZER_E_UTF8);
    assert_string_equal(fault.text, "the text is not valid UTF-8 at byte 3 of 5");
    assert_int_equal(fault.code, TOKENIZER_E_UTF8);
    assert_int_equal(ids.n, n);
}

static void test_encode_stops_at_the_bound_and_leaves_the_ids_alone(void **state)
{
    static const char text[] = "1234567890";
    _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;
    struct fault fault = {0};

    encode(tiny, "ab", 2, TOKENIZER_ALL, NULL, 0, &ids);
    const size_t n = ids.n;

    ids.max = n + 9;
    assert_int_equal(tokenizer_encode(tiny, text, 10, TOKENIZER_ALL, NULL, 0, &fault, &ids),
                     TOKENIZER_E_FULL);
    assert_string_equal(fault.text, "the text has more than 9 tokens");
    assert_int_equal(ids.n, n);
    ids.max = n + 10;
    encode(tiny, text, 10, TOKENIZER_ALL, NULL, 0, &ids);
    assert_int_equal(ids.n, n + 10);
    assert_int_equal(token_ids_push(&ids, 0), TOKENIZER_E_FULL);
}

static void test_encode_of_nothing_gives_nothing(void **state)
{
    _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;

    encode(tiny, "", 0, TOKENIZER_ALL, NULL, 0, &ids);
    assert_int_equal(ids.n, 0);
}

static void test_questions_about_tokens_are_answered(void **state)
{
    int32_t end = tokenizer_find(tiny, "<|im_end|>"), text_end = tokenizer_find(tiny, "<|endoftext|>");
    int32_t think = tokenizer_find(tiny, THINK);
    struct gguf_str bytes = tokenizer_bytes(tiny, think);

    assert_int_equal(tokenizer_n_vocab(tiny), 1024);
    assert_true(end >= 0 && text_end >= 0 && think >= 0);
    assert_true(tokenizer_is_stop(tiny, end) && tokenizer_is_stop(tiny, text_end));
    assert_false(tokenizer_is_stop(tiny, think));
    assert_true(tokenizer_is_control(tiny, end));
    assert_false(tokenizer_is_control(tiny, think));
    assert_false(tokenizer_is_unused(tiny, think));
    assert_int_equal(bytes.n, strlen(THINK));
    assert_memory_equal(bytes.s, THINK, bytes.n);
    assert_int_equal(tokenizer_find(tiny, "<thin"), -1);
    assert_int_equal(tokenizer_find(tiny, "e"), -1); /* not an added one */
    assert_int_equal(tokenizer_find(tiny, ""), -1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode_equals_golden),
        cmocka_unit_test(test_encode_of_a_megabyte_equals_golden),
        cmocka_unit_test(test_encode_of_one_long_piece_ends),
        cmocka_unit_test(test_encode_recognises_no_token_that_touches_a_plain_range),
        cmocka_unit_test(test_encode_runs_across_the_borders_of_plain_ranges),
        cmocka_unit_test(test_encode_names_the_byte_that_is_not_utf8),
        cmocka_unit_test(test_encode_stops_at_the_bound_and_leaves_the_ids_alone),
        cmocka_unit_test(test_encode_of_nothing_gives_nothing),
        cmocka_unit_test(test_questions_about_tokens_are_answered),
    };

    if (argc != 2) {
        fprintf(stderr, "usage: test_tokenizer GOLDEN\n");
        return 2;
    }
    golden = argv[1];
    return cmocka_run_group_tests_name("tokenizer", tests, setup, teardown);
}
