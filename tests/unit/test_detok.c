/* test_detok.c - ids back to text: golden round trips, whole characters only, wrong bytes as the reference
 * shows them. */
#include "daemon/model/detok.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/model/unicode.h"
#include "daemon/model/utf8.h"
#include "golden_text.h"

static const char *golden;     /* tests/golden */
static struct tokenizer *tiny; /* its small vocabulary */
static int32_t byte_id[256];   /* its tokens of one byte */

static int setup(void **state)
{
    tiny = golden_tokenizer(golden, "tiny");
    for (int32_t id = 0; id < tokenizer_n_vocab(tiny); id++)
        if (tokenizer_bytes(tiny, id).n == 1)
            byte_id[(uint8_t)tokenizer_bytes(tiny, id).s[0]] = id;
    return 0;
}

static int teardown(void **state)
{
    tiny = tokenizer_free(tiny);
    return 0;
}

/* Pushes one id onto text; what comes out is whole characters and no more than was announced. */
static void push(struct detok *d, int32_t id, struct unicode_text *text)
{
    size_t max = detok_max_bytes(d, id), n;
    _cleanup_(freep) char *out = malloc(max + 1);

    assert_non_null(out);
    n = detok_push(d, id, out);
    assert_in_range(n, 0, max);
    assert_int_equal(utf8_valid_prefix(out, n), n);
    assert_int_equal(unicode_text_append(text, out, n), 0);
}

static void flush(struct detok *d, struct unicode_text *text)
{
    char out[4];

    assert_int_equal(unicode_text_append(text, out, detok_flush(d, out)), 0);
    assert_int_equal(detok_flush(d, out), 0);
}

static void check_round_trip(const struct tokenizer *t, const struct golden_case *c)
{
    struct unicode_text text = {0}, want = {0};
    struct detok d;

    detok_init(&d, t);
    for (size_t i = 0; i < json_array_size(c->ids[TOKENIZER_NONE]); i++)
        push(&d, (int32_t)json_integer_value(json_array_get(c->ids[TOKENIZER_NONE], i)), &text);
    flush(&d, &text);
    assert_int_equal(unicode_nfc_append(&want, c->text, c->n_text), 0);
    if (text.n != want.n || (want.n && memcmp(text.s, want.s, want.n)))
        fail_msg("%s: %zu bytes came back, should be %zu", c->name, text.n, want.n);
    assert_int_equal(c->nfc_changes, want.n != c->n_text || (want.n && memcmp(want.s, c->text, want.n)));
    unicode_text_deinit(&text);
    unicode_text_deinit(&want);
}

static void test_detok_gives_back_the_normal_form_of_golden_texts(void **state)
{
    assert_int_equal(golden_each_case(golden, "tiny", check_round_trip), 500);
    assert_int_equal(golden_each_case(golden, "big", check_round_trip), 500);
}

#define FFFD "\xef\xbf\xbd"

/* One U+FFFD per maximal wrong part (Unicode 16, table 3-8 and following); as Hugging Face's tokenizers
 * decode. */
static void test_detok_shows_wrong_bytes_as_the_reference_does(void **state)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"a\xc3\xa9z", "a\xc3\xa9z"},
        {"\x80", FFFD},
        {"\xc0\x80", FFFD FFFD},
        {"\xff"
         "a",
         FFFD "a"},
        {"\xe2\x82"
         "a",
         FFFD "a"},
        {"\xe2\x82", FFFD},
        {"\xf0\x9f\x91", FFFD},
        {"\xf0\x9f\x91\xf0\x9f\x91\x8d", FFFD "\xf0\x9f\x91\x8d"},
        {"\xe0\x80\x80", FFFD FFFD FFFD},
        {"\xed\xa0\x80", FFFD FFFD FFFD},
        {"\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD},
        {"\xf0\x80\x80\x41", FFFD FFFD FFFD "A"},
        {"\xc3\xc3\xa9", FFFD "\xc3\xa9"},
        {"\xf5\x80", FFFD FFFD},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct unicode_text text = {0};
        struct detok d;

        detok_init(&d, tiny);
        for (const char *p = cases[i].bytes; *p; p++)
            push(&d, byte_id[(uint8_t)*p], &text);
        flush(&d, &text);
        assert_int_equal(unicode_text_append(&text, "", 1), 0);
        assert_string_equal(text.s, cases[i].text);
        unicode_text_deinit(&text);
    }
}

static void test_detok_holds_a_character_back_until_it_is_whole(void **state)
{
    static const uint8_t thumb[] = {0xf0, 0x9f, 0x91, 0x8d};
    struct detok d;
    char out[64];

    detok_init(&d, tiny);
    for (int i = 0; i < 3; i++)
        assert_int_equal(detok_push(&d, byte_id[thumb[i]], out), 0);
    assert_int_equal(detok_push(&d, byte_id[thumb[3]], out), 4);
    assert_memory_equal(out, thumb, 4);
    assert_int_equal(detok_flush(&d, out), 0);
}

/* A control token gives no text, and does not part the halves of a character that stand around it. */
static void test_detok_leaves_control_tokens_out_unless_asked(void **state)
{
    const int32_t ids[] = {tokenizer_find(tiny, "<|im_start|>"), byte_id[0xc3],
                           tokenizer_find(tiny, "<|im_end|>"), byte_id[0xa9],
                           tokenizer_find(tiny, "<think>")};
    struct unicode_text hidden = {0}, shown = {0};
    struct detok hide, show;

    detok_init(&hide, tiny);
    detok_init(&show, tiny);
    show.keep_control = true;
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        push(&hide, ids[i], &hidden);
        push(&show, ids[i], &shown);
    }
    assert_int_equal(unicode_text_append(&hidden, "", 1), 0);
    assert_int_equal(unicode_text_append(&shown, "", 1), 0);
    assert_string_equal(hidden.s, "\xc3\xa9<think>");
    assert_string_equal(shown.s, "<|im_start|>" FFFD "<|im_end|>" FFFD "<think>");
    unicode_text_deinit(&hidden);
    unicode_text_deinit(&shown);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_detok_gives_back_the_normal_form_of_golden_texts),
        cmocka_unit_test(test_detok_shows_wrong_bytes_as_the_reference_does),
        cmocka_unit_test(test_detok_holds_a_character_back_until_it_is_whole),
        cmocka_unit_test(test_detok_leaves_control_tokens_out_unless_asked),
    };

    if (argc != 2) {
        fprintf(stderr, "usage: test_detok GOLDEN\n");
        return 2;
    }
    golden = argv[1];
    return cmocka_run_group_tests_name("detok", tests, setup, teardown);
}
