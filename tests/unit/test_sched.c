/* test_sched.c - what a step reads, from lists of sequences and costs. */
#include "daemon/engine/sched.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct sched_cost fast = {.step_ns = 10e6, .tok_ns = 1e6},
                               slow = {.step_ns = 400e6, .tok_ns = 20e6};

static void check_picks(const struct sched_item *items, int n_items, const struct sched_cost *cost,
                        int max_tok, const struct sched_pick *want, int n_want)
{
    struct sched_pick got[16];
    int n = sched_step(items, n_items, cost, max_tok, got);

    assert_int_equal(n, n_want);
    for (int i = 0; i < n; i++) {
        assert_int_equal(got[i].item, want[i].item);
        assert_int_equal(got[i].n_tok, want[i].n_tok);
    }
}

#define ITEMS(...) ((struct sched_item[]){__VA_ARGS__}), ARRAY_SIZE(((struct sched_item[]){__VA_ARGS__}))
#define PICKS(...) ((struct sched_pick[]){__VA_ARGS__}), ARRAY_SIZE(((struct sched_pick[]){__VA_ARGS__}))

static void test_sched_step_reads_every_decode_and_one_piece_of_the_oldest_prompt(void **state)
{
    check_picks(ITEMS({1, 4}, {900, 3}, {700, 2}, {1, 1}), &fast, 512, PICKS({0, 1}, {2, 75}, {3, 1}));
}

static void test_sched_step_gives_a_lone_prompt_the_longer_budget(void **state)
{
    check_picks(ITEMS({900, 1}), &fast, 512, PICKS({0, 240}));
    check_picks(ITEMS({90, 1}), &fast, 512, PICKS({0, 90}));
}

static void test_sched_step_never_exceeds_the_step_or_the_largest_piece(void **state)
{
    const struct sched_cost instant = {.step_ns = 1e3, .tok_ns = 1};

    check_picks(ITEMS({1, 1}, {9000, 2}), &instant, 512, PICKS({0, 1}, {1, 511}));
    check_picks(ITEMS({9000, 2}), &instant, 4096, PICKS({0, SCHED_PIECE_MAX}));
    check_picks(ITEMS({1, 1}, {1, 3}, {9, 2}), &instant, 3, PICKS({0, 1}, {1, 1}, {2, 1}));
    check_picks(ITEMS({1, 1}, {9, 2}), &instant, 1, PICKS({0, 1}));
}

static void test_sched_step_on_a_slow_machine_may_double_the_step(void **state)
{
    check_picks(ITEMS({1, 1}, {900, 2}), &slow, 512, PICKS({0, 1}, {1, 20}));
    check_picks(ITEMS({900, 2}), &slow, 512, PICKS({0, 20}));
}

static void test_sched_step_moves_on_even_when_a_token_is_over_budget(void **state)
{
    const struct sched_cost crawl = {.step_ns = 1e6, .tok_ns = 9e9};

    check_picks(ITEMS({900, 2}, {1, 1}), &crawl, 512, PICKS({0, 1}, {1, 1}));
}

static void test_sched_step_leaves_idle_ones_out(void **state)
{
    struct sched_pick got[4];

    check_picks(ITEMS({0, 3}, {30, 9}), &fast, 512, PICKS({1, 30}));
    assert_int_equal(sched_step(ITEMS({0, 1}, {0, 3}), &fast, 512, got), 0);
    assert_int_equal(sched_step(NULL, 0, &fast, 512, got), 0);
}

static void test_sched_step_starts_small_before_anything_was_measured(void **state)
{
    const struct sched_cost none = {0};

    check_picks(ITEMS({900, 2}), &none, 512, PICKS({0, 32}));
}

/* A machine whose step takes a + b n is driven to pieces that take about the budget, from either side. */
static void test_sched_cost_settles_on_the_budget(void **state)
{
    const double a = 20e6, b = 1.5e6;

    for (int start = 0; start < 2; start++) {
        struct sched_cost cost = {.step_ns = 0, .tok_ns = start ? 1e3 : 1e9};
        struct sched_pick pick;
        double ns = 0;

        sched_cost_add_decode(&cost, a + b);
        for (int i = 0; i < 60; i++) {
            const struct sched_item prompt = {100000, 1};

            assert_int_equal(sched_step(&prompt, 1, &cost, 4096, &pick), 1);
            ns = a + b * pick.n_tok;
            sched_cost_add_piece(&cost, pick.n_tok, ns);
        }
        assert_true(ns > 230e6 && ns < 260e6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sched_step_reads_every_decode_and_one_piece_of_the_oldest_prompt),
        cmocka_unit_test(test_sched_step_gives_a_lone_prompt_the_longer_budget),
        cmocka_unit_test(test_sched_step_never_exceeds_the_step_or_the_largest_piece),
        cmocka_unit_test(test_sched_step_on_a_slow_machine_may_double_the_step),
        cmocka_unit_test(test_sched_step_moves_on_even_when_a_token_is_over_budget),
        cmocka_unit_test(test_sched_step_leaves_idle_ones_out),
        cmocka_unit_test(test_sched_step_starts_small_before_anything_was_measured),
        cmocka_unit_test(test_sched_cost_settles_on_the_budget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
