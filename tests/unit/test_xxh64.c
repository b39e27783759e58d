/* test_xxh64.c - xxh64.c against the reference implementation's sums. */
#include "daemon/engine/xxh64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint64_t sum(const void *data, size_t n, size_t piece)
{
    struct xxh64 x;

    xxh64_init(&x);
    for (size_t at = 0; at < n; at += piece)
        xxh64_put(&x, (const uint8_t *)data + at, MIN(piece, n - at));
    return xxh64_sum(&x);
}

static void test_sum_equals_the_references(void **state _unused_)
{
    static const struct {
        const char *text;
        uint64_t sum;
    } cases[] = {
        {"", 0xef46db3751d8e999},
        {"a", 0xd24ec4f1a98c6e5b},
        {"abc", 0x44bc2cf5ad770999},
        {"Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_true(sum(cases[i].text, strlen(cases[i].text), 64) == cases[i].sum);
}

static void test_sum_does_not_depend_on_pieces(void **state _unused_)
{
    uint8_t data[200];

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 37);
    for (size_t n = 0; n <= sizeof(data); n++)
        for (size_t piece = 1; piece < 70; piece += 3)
            assert_true(sum(data, n, piece) == sum(data, n, sizeof(data)));
}

static void test_sum_changes_with_each_bit(void **state _unused_)
{
    uint8_t data[75] = {0};
    const uint64_t before = sum(data, sizeof(data), sizeof(data));

    for (size_t i = 0; i < sizeof(data) * 8; i++) {
        data[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_true(sum(data, sizeof(data), sizeof(data)) != before);
        data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum_equals_the_references),
        cmocka_unit_test(test_sum_does_not_depend_on_pieces),
        cmocka_unit_test(test_sum_changes_with_each_bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
