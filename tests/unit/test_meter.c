/* test_meter.c - rates over a window; see daemon/broker/meter.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include "daemon/broker/meter.h"

#define MS    1000000ull
#define START (1000000 * MS)

static void check_rate(const struct meter *meter, uint64_t now_ns, double low, double high)
{
    const double rate = meter_rate(meter, now_ns);

    if (!(rate >= low && rate <= high))
        fail_msg("rate %g, expected %g to %g", rate, low, high);
}

static void test_rate_of_even_steps_is_their_rate_from_the_first_second_on(void **state)
{
    struct meter meter = {};

    check_rate(&meter, START, 0, 0);
    for (int i = 0; i <= 1000; i++) {
        meter_add(&meter, START + i * 50 * MS, 1);
        if (i >= 20)
            check_rate(&meter, START + i * 50 * MS, 18, 22);
    }
    check_rate(&meter, START + 1000 * 50 * MS + 2000 * MS, 8, 12); /* the half of it, two seconds later */
    check_rate(&meter, START + 1000 * 50 * MS + 4000 * MS, 0, 0);
    check_rate(&meter, START + 1000 * 50 * MS + 400000 * MS, 0, 0);
}

static void test_a_burst_after_a_long_rest_counts_alone(void **state)
{
    struct meter meter = {};

    for (int i = 0; i < 100; i++)
        meter_add(&meter, START + i * MS, 7);
    meter_add(&meter, START + 3600000 * MS, 8);
    check_rate(&meter, START + 3600000 * MS, 2, 2.2);
}

static void test_first_tokens_make_no_rate_of_their_own(void **state)
{
    struct meter meter = {};

    meter_add(&meter, START, 1000);
    check_rate(&meter, START, 0, 0);
    meter_add(&meter, START + MS, 1);
    check_rate(&meter, START + MS, 3.9, 4.1); /* over a whole slot, not over a millisecond */
}

static void test_a_time_before_the_newest_finds_its_slot_or_none(void **state)
{
    struct meter meter = {};

    meter_add(&meter, START, 0);
    meter_add(&meter, START + 10000 * MS, 4);
    meter_add(&meter, START + 9000 * MS, 4);
    check_rate(&meter, START + 10000 * MS, 2, 2.2);
    meter_add(&meter, START + 5000 * MS, 4000);
    check_rate(&meter, START + 10000 * MS, 2, 2.2);
}

static void test_a_span_is_spread_evenly(void **state)
{
    struct meter meter = {};

    meter_add(&meter, START, 0);
    meter_add_span(&meter, START, START + 60000 * MS, 6000);
    check_rate(&meter, START + 60000 * MS, 98, 108);
    meter_add_span(&meter, START + 90000 * MS, START + 90000 * MS, 40);
    check_rate(&meter, START + 90000 * MS, 10, 11);
    meter_add_span(&meter, START + 200000 * MS, START, 4); /* a clock that ran backwards */
    check_rate(&meter, START + 200000 * MS, 1, 1.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_of_even_steps_is_their_rate_from_the_first_second_on),
        cmocka_unit_test(test_a_burst_after_a_long_rest_counts_alone),
        cmocka_unit_test(test_first_tokens_make_no_rate_of_their_own),
        cmocka_unit_test(test_a_time_before_the_newest_finds_its_slot_or_none),
        cmocka_unit_test(test_a_span_is_spread_evenly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
