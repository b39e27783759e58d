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

    return preempt_due_ns(&preempt) <= (5 + ran_s) * second;
}

static void test_preempt_is_due_at_once_the_first_time(void **state)
{
    assert_true(is_due(0, 0, 0));
}

static void test_preempt_is_due_again_when_it_got_on_as_long_as_it_read(void **state)
{
    assert_false(is_due(1, 60, 100));
    assert_false(is_due(1, 60, 119));
    assert_true(is_due(1, 60, 120));
    assert_true(is_due(UINT32_MAX, 60, 120));
    assert_false(is_due(1, 1, 1));
    assert_true(is_due(1, 1, 2));
}

static void test_preempt_is_due_again_only_after_a_token(void **state)
{
    assert_false(is_due(1, 0, 100000));
}

/* Stopped again and again, and each time all that it had read is still there. */
static void test_preempt_is_due_at_once_when_all_was_kept(void **state)
{
    struct preempt preempt = {};

    preempt_start(&preempt, 5 * second);
    preempt_begin(&preempt, 100, 5 * second);
    assert_int_equal(preempt.got_on_ns, 0); /* it was never stopped: somebody else had read that */
    preempt.n = 1;
    preempt_start(&preempt, 9 * second);
    assert_true(preempt_due_ns(&preempt) == UINT64_MAX);
    preempt_begin(&preempt, 100, 10 * second); /* nothing of its own */
    assert_true(preempt_due_ns(&preempt) == UINT64_MAX);
    preempt_begin(&preempt, 101, 10 * second);
    assert_true(preempt_due_ns(&preempt) == 11 * second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preempt_is_due_at_once_the_first_time),
        cmocka_unit_test(test_preempt_is_due_again_when_it_got_on_as_long_as_it_read),
        cmocka_unit_test(test_preempt_is_due_again_only_after_a_token),
        cmocka_unit_test(test_preempt_is_due_at_once_when_all_was_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
