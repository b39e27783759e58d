/* test_buf.c - the buffer: what went in comes out, and it never holds more than its cap. */
#include "proto/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fuzz/gen.h"

static void test_append_comes_out_in_order(void **state)
{
    struct buf buf = BUF_INIT(64);

    assert_int_equal(buf_append(&buf, "abc", 3), 0);
    assert_int_equal(buf_append(&buf, "", 0), 0);
    assert_int_equal(buf_append(&buf, "def", 3), 0);
    assert_int_equal(buf_size(&buf), 6);
    assert_memory_equal(buf_head(&buf), "abcdef", 6);
    buf_consume(&buf, 2);
    assert_int_equal(buf_size(&buf), 4);
    assert_memory_equal(buf_head(&buf), "cdef", 4);
    buf_deinit(&buf);
}

static void test_cap_is_reached_and_not_passed(void **state)
{
    struct buf buf = BUF_INIT(1000); /* no power of two: the last growth is cut to max */
    uint8_t *tail;

    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_append(&buf, "x", 1), 0);
    assert_int_equal(buf_append(&buf, "x", 1), BUF_E_FULL);
    assert_int_equal(buf_size(&buf), 1000);
    assert_in_range(buf.cap, 1000, 1000);
    assert_int_equal(buf_reserve(&buf, 1, &tail), BUF_E_FULL);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX, &tail), BUF_E_FULL);
    buf_consume(&buf, 1);
    assert_int_equal(buf_append(&buf, "y", 1), 0);
    assert_int_equal(buf_append(&buf, "z", 1), BUF_E_FULL);
    assert_int_equal(buf_head(&buf)[999], 'y');
    buf_deinit(&buf);
}

static void test_full_append_changes_nothing(void **state)
{
    struct buf buf = BUF_INIT(8);

    assert_int_equal(buf_append(&buf, "12345", 5), 0);
    assert_int_equal(buf_append(&buf, "6789", 4), BUF_E_FULL);
    assert_int_equal(buf_size(&buf), 5);
    assert_memory_equal(buf_head(&buf), "12345", 5);
    buf_deinit(&buf);
}

static void test_reserve_shows_room_and_commit_takes_it(void **state)
{
    struct buf buf = BUF_INIT(64);
    uint8_t *tail;

    assert_int_equal(buf_reserve(&buf, 16, &tail), 0);
    memset(tail, 'q', 16);
    assert_int_equal(buf_size(&buf), 0);
    buf_commit(&buf, 10);
    assert_int_equal(buf_size(&buf), 10);
    assert_int_equal(buf_head(&buf)[9], 'q');
    buf_deinit(&buf);
}

static void test_deinit_leaves_an_empty_usable_buffer(void **state)
{
    struct buf buf = BUF_INIT(64);

    assert_int_equal(buf_append(&buf, "abc", 3), 0);
    buf_deinit(&buf);
    assert_int_equal(buf_size(&buf), 0);
    assert_int_equal(buf.max, 64);
    assert_int_equal(buf_append(&buf, "d", 1), 0);
    assert_int_equal(buf_head(&buf)[0], 'd');
    buf_deinit(&buf);
}

/* Random appends and takes against a counter: the n-th byte in is the n-th byte out. */
static void test_random_use_keeps_order(void **state)
{
    struct buf buf = BUF_INIT(3000);
    struct gen gen = {1};
    uint32_t n_in = 0, n_out = 0;

    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[700];
        uint32_t n = gen_below(&gen, sizeof(bytes));

        for (uint32_t k = 0; k < n; k++)
            bytes[k] = (uint8_t)((n_in + k) * 167);
        if (buf_append(&buf, bytes, n) == BUF_OK)
            n_in += n;
        else
            assert_true(buf_size(&buf) + n > 3000);
        n = gen_below(&gen, (uint32_t)buf_size(&buf) + 1);
        for (uint32_t k = 0; k < n; k++)
            assert_int_equal(buf_head(&buf)[k], (uint8_t)((n_out + k) * 167));
        buf_consume(&buf, n);
        n_out += n;
        assert_int_equal(buf_size(&buf), n_in - n_out);
    }
    assert_in_range(n_out, 100000, UINT32_MAX);
    buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_comes_out_in_order),
        cmocka_unit_test(test_cap_is_reached_and_not_passed),
        cmocka_unit_test(test_full_append_changes_nothing),
        cmocka_unit_test(test_reserve_shows_room_and_commit_takes_it),
        cmocka_unit_test(test_deinit_leaves_an_empty_usable_buffer),
        cmocka_unit_test(test_random_use_keeps_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
