/* test_preempt.c - when a batch request may be stopped again; see daemon/broker/preempt.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include "daemon/broker/preempt.h"

static const uint64_t second = 1000000000;

static bool is_due(uint32_t n, size_t made, uint64_t ran_s)
{
    const struct preempt preempt = {.n = n, .n_ids = 10, .started_ns = 5 * second};

    return preempt_is_due(&preempt, 10 + made, (5 + ran_s) * second);
}

static void test_preempt_is_due_at_once_the_first_time(void **state)
{
    assert_true(is_due(0, 0, 0));
}

static void test_preempt_is_due_after_a_minute_and_longer_each_time(void **state)
{
    assert_false(is_due(1, 5, 59));
    assert_true(is_due(1, 5, 60));
    assert_false(is_due(2, 5, 119));
    assert_true(is_due(2, 5, 120));
    assert_true(is_due(5, 5, 960));
    assert_false(is_due(100, 5, 3599));
    assert_true(is_due(100, 5, 3600));
    assert_true(is_due(UINT32_MAX, 5, 3600));
}

static void test_preempt_is_due_only_after_a_new_token(void **state)
{
    assert_false(is_due(1, 0, 100000));
    assert_true(is_due(1, 1, 100000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preempt_is_due_at_once_the_first_time),
        cmocka_unit_test(test_preempt_is_due_after_a_minute_and_longer_each_time),
        cmocka_unit_test(test_preempt_is_due_only_after_a_new_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
