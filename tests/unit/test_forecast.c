/* test_forecast.c - what is expected of the next tokens; see daemon/broker/forecast.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include <math.h>

#include "daemon/broker/forecast.h"

#define CHECK(got, want)                                                                                     \
    do {                                                                                                     \
        const double got_ = (got), want_ = (want);                                                           \
                                                                                                             \
        if (fabs(got_ - want_) > 1e-9 * fabs(want_))                                                         \
            fail_msg("%s is %.17g, not %.17g", #got, got_, want_);                                           \
    } while (0)

static const struct forecast known = {.read_ns = 1e6, .step_ns = 20e6, .prompt_byte = 4, .answer_tok = 100};

static void test_forecast_write_price_follows_the_steps(void **state)
{
    const struct forecast none = {0}, dear = {.read_ns = 1, .step_ns = 1e9},
                          cheap = {.read_ns = 1e9, .step_ns = 1};

    CHECK(forecast_write_price(&none, 1), 2);
    CHECK(forecast_write_price(&known, 1), 20);
    CHECK(forecast_write_price(&known, 4), 5);
    CHECK(forecast_write_price(&known, 0), 20); /* the last one has just ended */
    CHECK(forecast_write_price(&dear, 1), 1024);
    CHECK(forecast_write_price(&cheap, 1), 0.5);
}

static void test_forecast_learns_the_bytes_of_a_token(void **state)
{
    struct forecast f = {0};

    CHECK(forecast_prompt_tok(&f, 400), 100);
    forecast_note_prompt(&f, 300, 0);
    forecast_note_prompt(&f, 0, 300);
    CHECK(forecast_prompt_tok(&f, 400), 100); /* neither says anything */
    forecast_note_prompt(&f, 300, 100);
    CHECK(forecast_prompt_tok(&f, 300), 100);
    for (int i = 0; i < 100; i++)
        forecast_note_prompt(&f, 1000, 100);
    assert_true(fabs(forecast_prompt_tok(&f, 1000) - 100) < 0.1);
}

static void test_forecast_learns_the_length_of_answers(void **state)
{
    struct forecast f = {0};

    CHECK(forecast_left_tok(&f, 0), 256); /* a paragraph or two, until there was one */
    CHECK(forecast_left_tok(&f, 10), 10);
    forecast_note_answer(&f, 0);
    forecast_note_answer(&f, 50);
    CHECK(forecast_left_tok(&f, 0), 50);
    CHECK(forecast_left_tok(&f, 1000), 50);
    CHECK(forecast_left_tok(&f, 10), 10);
}

static void test_forecast_ttft_is_unknown_until_steps_were_measured(void **state)
{
    const struct forecast none = {.read_ns = 1e6};
    const struct forecast_work work = {.own_tok = 1000, .n_slots = 4};

    CHECK(forecast_ttft_ns(&none, &work), 0);
}

static void test_forecast_ttft_of_a_free_machine_is_reading_and_a_step(void **state)
{
    const struct forecast_work work = {.own_tok = 1000, .n_slots = 4};

    CHECK(forecast_ttft_ns(&known, &work), 1000e6 + 20e6);
}

static void test_forecast_ttft_counts_who_reads_and_who_writes(void **state)
{
    const struct forecast_work work = {.own_tok = 1000, .ahead_tok = 500, .n_slots = 4, .n_running = 3};

    CHECK(forecast_ttft_ns(&known, &work), 2 * 1500e6 + 20e6);
}

static void test_forecast_ttft_waits_for_slots(void **state)
{
    struct forecast_work work = {.own_tok = 10, .left_tok = 100, .n_slots = 4, .n_running = 4};
    const double reading = 2 * 10e6 + 20e6;

    /* four answers with 100 tokens to go on average: one ends every 25 steps */
    CHECK(forecast_ttft_ns(&known, &work), 25 * 20e6 + reading);
    work.n_ahead = 3;
    CHECK(forecast_ttft_ns(&known, &work), 4 * 25 * 20e6 + reading);
    work.takes_slot = true;
    CHECK(forecast_ttft_ns(&known, &work), reading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forecast_write_price_follows_the_steps),
        cmocka_unit_test(test_forecast_learns_the_bytes_of_a_token),
        cmocka_unit_test(test_forecast_learns_the_length_of_answers),
        cmocka_unit_test(test_forecast_ttft_is_unknown_until_steps_were_measured),
        cmocka_unit_test(test_forecast_ttft_of_a_free_machine_is_reading_and_a_step),
        cmocka_unit_test(test_forecast_ttft_counts_who_reads_and_who_writes),
        cmocka_unit_test(test_forecast_ttft_waits_for_slots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
