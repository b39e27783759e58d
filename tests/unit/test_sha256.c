/* test_sha256.c - sha256.c against the examples of FIPS 180-4 and the padding's edges. */
#include "proto/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void digest(const char *data, size_t n, size_t piece, char ret_hex[65])
{
    struct sha256 s;
    uint8_t d[32];

    sha256_init(&s);
    for (size_t at = 0; at < n; at += piece)
        sha256_put(&s, data + at, MIN(piece, n - at));
    sha256_end(&s, d);
    for (int i = 0; i < 32; i++)
        snprintf(ret_hex + 2 * i, 3, "%02x", d[i]);
}

static void test_digest_equals_the_standards_examples(void **state _unused_)
{
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char hex[65];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        digest(cases[i].text, strlen(cases[i].text), 64, hex);
        assert_string_equal(hex, cases[i].hex);
    }
}

static void test_digest_does_not_depend_on_pieces(void **state _unused_)
{
    char data[200], whole[65], hex[65];

    memset(data, 'a', sizeof(data));
    for (size_t n = 50; n <= 130; n++) { /* across both edges of the padding, 56 and 64 */
        digest(data, n, n, whole);
        for (size_t piece = 1; piece < 70; piece += 3) {
            digest(data, n, piece, hex);
            assert_string_equal(hex, whole);
        }
    }
}

static void test_digest_of_a_million_letters(void **state _unused_)
{
    enum { N = 1000000 };
    char *data = malloc(N), hex[65];

    assert_non_null(data);
    memset(data, 'a', N);
    digest(data, N, 999, hex);
    free(data);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest_equals_the_standards_examples),
        cmocka_unit_test(test_digest_does_not_depend_on_pieces),
        cmocka_unit_test(test_digest_of_a_million_letters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
