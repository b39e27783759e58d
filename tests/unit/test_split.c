/* test_split.c - the split against the reference's regular expression: by hand, and over every code point. */
#include "daemon/model/split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/model/unicode.h"
#include "daemon/model/utf8.h"
#include "digest.h"

static void check_split(const char *pieces)
{
    char text[256], got[256];
    size_t n = 0, n_got = 0;

    for (const char *p = pieces; *p; p++)
        if (*p != '|')
            text[n++] = *p;
    for (size_t i = 0, end; i < n; i = end) {
        end = split_next(text, n, i);
        assert_true(end > i && end <= n);
        n_got += (size_t)snprintf(got + n_got, sizeof(got) - n_got, "%s%.*s", i ? "|" : "", (int)(end - i),
                                  text + i);
    }
    assert_string_equal(got, pieces);
}

/* Each line as the reference cuts it. */
static void test_split_cuts_where_the_expression_does(void **state)
{
    static const char *const cases[] = {
        "Hello| world|!",
        "don|'t| I|'LL| we|'Ve| he|'S|'d|'m|m", /* a contraction needs no end of the word */
        "'r|'e|'v|'l",
        "it|'\u017f",                 /* the long s folds to s */
        "'\u212a",                    /* the Kelvin sign folds to k, which is in none of them */
        "1|2|3|\u00bd|\u2167|\u0663", /* every number alone */
        " |1| | |2",                  /* which never takes the space before it */
        "a\u0301bx|!",
        "\u0301|1",
        "$a|$|1|_a|\u2019s",
        "\ta|\t|\t|$",
        " $$\n\n|a",
        "a| ?!\r\n\n| b",
        "a|  \n",
        "a|\n\n|  | b",
        "\n \n| | x",
        "  ",
        "\u3000\u3000|\u3000a",
        "\u00a0|$",
        "\u200ba",
        "\x1c"
        "a",
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check_split(cases[i]);
}

/* The ends of all pieces of the normal form of " x", "ax", "x.", "'x" and "xa" for every x, one byte each.
 * The digest is of the same run with Hugging Face's tokenizers 0.23.3 (NFC, then the models' Split). */
static void test_split_around_every_code_point_equals_the_reference(void **state)
{
    static const char *const before[] = {" ", "a", "", "'", ""}, *const after[] = {"", "", ".", "", "a"};
    static const char want[] = "aa8de706fd458498ba6582d0d0d617aa940b263eadfe29d2980052f157dd95e0";
    struct unicode_text norm = {0};
    struct sha256 sha;

    sha256_init(&sha);
    for (uint32_t i = 0; i < 0x110000 * ARRAY_SIZE(before); i++) {
        const uint32_t cp = i / ARRAY_SIZE(before), k = i % ARRAY_SIZE(before);
        char in[16];
        size_t n = strlen(before[k]);

        if (cp >= 0xd800 && cp < 0xe000)
            continue;
        memcpy(in, before[k], n);
        n += (size_t)utf8_put(cp, in + n);
        memcpy(in + n, after[k], strlen(after[k]));
        norm.n = 0;
        assert_int_equal(unicode_nfc_append(&norm, in, n + strlen(after[k])), 0);
        for (size_t end = 0; end < norm.n;) {
            end = split_next(norm.s, norm.n, end);
            sha256_put(&sha, &(uint8_t){(uint8_t)end}, 1);
        }
    }
    unicode_text_deinit(&norm);
    check_digest(&sha, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_cuts_where_the_expression_does),
        cmocka_unit_test(test_split_around_every_code_point_equals_the_reference),
    };

    return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
