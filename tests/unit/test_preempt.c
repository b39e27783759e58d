/* test_preempt.c - when a batch request may be stopped again; see daemon/broker/preempt.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include "daemon/broker/preempt.h"

static const uint64_t second = 1000000000;

/* Started at 5 s, its first token again_s later (0: none yet), and now it has had the slot for ran_s. */
static bool is_due(uint32_t n, uint64_t again_s, uint64_t ran_s)
{
    const struct preempt preempt = {
        .n = n, .started_ns = 5 * second, .got_on_ns = again_s ? (5 + again_s) * second : 0};

    return preempt_is_due(&preempt, (5 + ran_s) * second);
}

static void test_preempt_is_due_at_once_the_first_time(void **state)
{
    assert_true(is_due(0, 0, 0));
}

static void test_preempt_is_due_again_after_ten_seconds(void **state)
{
    assert_false(is_due(1, 1, 9));
    assert_true(is_due(1, 1, 10));
    assert_true(is_due(UINT32_MAX, 5, 10));
}

static void test_preempt_is_due_again_when_it_got_on_as_long_as_it_read(void **state)
{
    assert_false(is_due(1, 60, 100));
    assert_false(is_due(1, 60, 119));
    assert_true(is_due(1, 60, 120));
}

static void test_preempt_is_due_again_sooner_when_nothing_was_read_again(void **state)
{
    const struct preempt kept = {.n = 3, .started_ns = 5 * second, .kept = true};

    assert_false(preempt_is_due(&kept, 14 * second));
    assert_true(preempt_is_due(&kept, 15 * second));
}

static void test_preempt_is_due_again_only_after_a_token(void **state)
{
    assert_false(is_due(1, 0, 100000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preempt_is_due_at_once_the_first_time),
        cmocka_unit_test(test_preempt_is_due_again_after_ten_seconds),
        cmocka_unit_test(test_preempt_is_due_again_when_it_got_on_as_long_as_it_read),
        cmocka_unit_test(test_preempt_is_due_again_sooner_when_nothing_was_read_again),
        cmocka_unit_test(test_preempt_is_due_again_only_after_a_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
