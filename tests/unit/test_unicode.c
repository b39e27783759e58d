/* test_unicode.c - character classes, normal form C and UTF-8, over every code point.
 *
 * The digests were computed from other people's data: the classes from Python's unicodedata2 16.0.0, the
 * normal forms by Hugging Face's tokenizers 0.23.3 (normalizers.NFC). */
#include "daemon/model/unicode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/model/utf8.h"
#include "digest.h"

enum { N_CODE_POINTS = 0x110000, SURROGATE_FIRST = 0xd800, SURROGATE_LAST = 0xdfff };

static void test_class_of_every_code_point_equals_unicode_16(void **state)
{
    struct sha256 sha;

    sha256_init(&sha);
    for (uint32_t cp = 0; cp < N_CODE_POINTS; cp++)
        sha256_put(&sha, &(uint8_t){unicode_class(cp)}, 1);
    check_digest(&sha, "052c7d7f6b47c4c6770699b1081ee49248162ee9e045b4ed875fb7e574092adf");
}

/* a, the character, a mark of class 1, one of class 230, the character again, a Hangul vowel. */
static void test_nfc_around_every_code_point_equals_the_reference(void **state)
{
    struct unicode_text out = {0};
    struct sha256 sha;

    sha256_init(&sha);
    for (uint32_t cp = 0; cp < N_CODE_POINTS; cp++) {
        const uint32_t text[] = {'a', cp, 0x334, 0x301, cp, 0x1161};
        char in[4 * ARRAY_SIZE(text)];
        size_t n = 0;

        if (cp >= SURROGATE_FIRST && cp <= SURROGATE_LAST)
            continue;
        for (size_t i = 0; i < ARRAY_SIZE(text); i++)
            n += (size_t)utf8_put(text[i], in + n);
        out.n = 0;
        assert_int_equal(unicode_nfc_append(&out, in, n), 0);
        sha256_put(&sha, out.s, out.n);
    }
    unicode_text_deinit(&out);
    check_digest(&sha, "c6c861de4b62700dc1cf9f62654c06ea880c99d2e6dcebf87f6e16369d58f3dc");
}

static void test_nfc_composes_orders_and_leaves_alone(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"plain ASCII, longer than a word", "plain ASCII, longer than a word"},
        {"e\u0301", "\u00e9"},
        {"x\u0301", "x\u0301"},
        {"\u0301", "\u0301"},
        {"q\u0307\u0323", "q\u0323\u0307"}, /* by combining class */
        {"a\u0301\u0300", "\u00e1\u0300"},  /* equal classes stay in order */
        {"a\u0300\u0315\u0301", "\u00e0\u0301\u0315"},
        {"\u212b\u2126", "\u00c5\u03a9"}, /* singletons */
        {"\u0958", "\u0915\u093c"},       /* excluded from composition */
        {"\u1100\u1161\u11a8", "\uac01"}, /* Hangul */
        {"\uac00\u11a7", "\uac00\u11a7"}, /* one before the first final */
        {"\uac01\u11a8", "\uac01\u11a8"}, /* has a final */
        {"\u0344", "\u0308\u0301"},
        {"\u1e9b\u0323", "\u1e9b\u0323"},   /* UAX 15, figure 6 */
        {"a\u1df7\u0316", "a\u1df7\u0316"}, /* a mark younger than the reference's tables */
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct unicode_text out = {0};

        assert_int_equal(unicode_text_append(&out, "<", 1), 0);
        assert_int_equal(unicode_nfc_append(&out, cases[i].in, strlen(cases[i].in)), 0);
        assert_int_equal(unicode_text_append(&out, "", 1), 0);
        assert_string_equal(out.s + 1, cases[i].out);
        unicode_text_deinit(&out);
    }
}

/* Two hundred thousand marks of falling class behind one letter: an insertion sort would not come back in
 * time. */
static void test_nfc_of_many_marks_ends(void **state)
{
    enum { N = 200000 };
    struct unicode_text in = {0}, out = {0};

    for (int i = 0; i < N; i++)
        assert_int_equal(unicode_text_append(&in, i < N / 2 ? "\u0307" : "\u0323", 2), 0);
    assert_int_equal(unicode_nfc_append(&out, in.s, in.n), 0);
    assert_int_equal(out.n, in.n);
    assert_memory_equal(out.s, "\u0323\u0323", 4);
    assert_memory_equal(out.s + out.n - 4, "\u0307\u0307", 4);
    unicode_text_deinit(&in);
    unicode_text_deinit(&out);
}

static void test_python_space_equals_python(void **state)
{
    static const uint32_t spaces[] = {
        0x09,   0x0a,   0x0b,   0x0c,   0x0d,   0x1c,   0x1d,   0x1e,   0x1f,   0x20,
        0x85,   0xa0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006,
        0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
    };
    size_t n = 0;

    for (uint32_t cp = 0; cp < N_CODE_POINTS; cp++)
        if (unicode_is_python_space(cp)) {
            assert_in_range(n, 0, ARRAY_SIZE(spaces) - 1);
            assert_int_equal(cp, spaces[n++]);
        }
    assert_int_equal(n, ARRAY_SIZE(spaces));
}

static void test_utf8_gives_back_every_code_point(void **state)
{
    for (uint32_t cp = 0; cp < N_CODE_POINTS; cp++) {
        bool surrogate = cp >= SURROGATE_FIRST && cp <= SURROGATE_LAST;
        char s[4];
        int n = utf8_put(cp, s), len;

        assert_int_equal(utf8_get(s, &len), cp);
        assert_int_equal(len, n);
        assert_int_equal(utf8_valid_prefix(s, (size_t)n), surrogate ? 0 : n);
        assert_int_equal(utf8_valid_prefix(s, (size_t)n - 1), 0); /* cut short */
    }
}

static void test_utf8_finds_the_first_wrong_byte(void **state)
{
    static const struct {
        const char *s;
        size_t n, valid;
    } cases[] = {
        {NULL, 0, 0},
        {"", 0, 0},
        {"a\0b", 3, 3},
        {"12345678\xff", 9, 8},
        {"1234567\xc3\xa9\x80", 10, 9},
        {"\xc0\x80", 2, 0}, /* overlong */
        {"\xc1\xbf", 2, 0},
        {"\xe0\x9f\xbf", 3, 0},
        {"\xf0\x8f\xbf\xbf", 4, 0},
        {"\xed\xa0\x80", 3, 0},     /* surrogate */
        {"\xf4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 4, 0},
        {"ab\xe2\x82", 4, 2},
        {"\xf0\x9f\x91 ", 4, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(utf8_valid_prefix(cases[i].s, cases[i].n), cases[i].valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_class_of_every_code_point_equals_unicode_16),
        cmocka_unit_test(test_nfc_around_every_code_point_equals_the_reference),
        cmocka_unit_test(test_nfc_composes_orders_and_leaves_alone),
        cmocka_unit_test(test_nfc_of_many_marks_ends),
        cmocka_unit_test(test_python_space_equals_python),
        cmocka_unit_test(test_utf8_gives_back_every_code_point),
        cmocka_unit_test(test_utf8_finds_the_first_wrong_byte),
    };

    return cmocka_run_group_tests_name("unicode", tests, NULL, NULL);
}
