/* test_sched.c - what a step reads, from lists of sequences and costs. */
#include "daemon/engine/sched.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct sched_cost fast = {.step_ns = 75e6, .tok_ns = 1e6},
                               slow = {.step_ns = 400e6, .tok_ns = 20e6};

/* A scheduler with these costs and accounts 0, 1 and 2 of the usual weight. */
static struct sched *start(const struct sched_cost *cost)
{
    static struct sched sched;

    sched = (struct sched){.cost = *cost};
    for (int i = 0; i < 3; i++)
        assert_int_equal(sched_join(&sched, 1000u + (uint32_t)i, SCHED_WEIGHT), i);
    return &sched;
}

static void check_picks_of(struct sched *sched, const struct sched_item *items, int n_items, int max_tok,
                           const struct sched_pick *want, int n_want)
{
    struct sched_pick got[16];
    int n = sched_step(sched, items, n_items, max_tok, got);

    assert_int_equal(n, n_want);
    for (int i = 0; i < n; i++) {
        assert_int_equal(got[i].item, want[i].item);
        assert_int_equal(got[i].n_tok, want[i].n_tok);
    }
    sched_charge(sched, items, n_items, got, n);
}

static void check_picks(const struct sched_item *items, int n_items, const struct sched_cost *cost,
                        int max_tok, const struct sched_pick *want, int n_want)
{
    check_picks_of(start(cost), items, n_items, max_tok, want, n_want);
}

#define ITEMS(...) ((struct sched_item[]){__VA_ARGS__}), ARRAY_SIZE(((struct sched_item[]){__VA_ARGS__}))
#define PICKS(...) ((struct sched_pick[]){__VA_ARGS__}), ARRAY_SIZE(((struct sched_pick[]){__VA_ARGS__}))

static void test_sched_step_reads_every_decode_and_a_piece_of_the_oldest_prompt(void **state)
{
    check_picks(ITEMS({1, 4}, {900, 3}, {700, 2}, {1, 1}), &fast, 512, PICKS({0, 1}, {2, 75}, {3, 1}));
}

static void test_sched_step_fills_the_budget_with_several_prompts(void **state)
{
    check_picks(ITEMS({1, 4}, {30, 3}, {20, 2}, {90, 5}), &fast, 512,
                PICKS({0, 1}, {1, 30}, {2, 20}, {3, 25}));
    check_picks(ITEMS({30, 1}, {400, 2}), &fast, 512, PICKS({0, 30}, {1, 145}));
}

static void test_sched_step_gives_a_lone_prompt_the_longer_budget(void **state)
{
    check_picks(ITEMS({900, 1}), &fast, 512, PICKS({0, 175}));
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

static void test_sched_step_with_a_stream_takes_twice_as_long_at_most(void **state)
{
    check_picks(ITEMS({1, 1}, {900, 2}), &slow, 512, PICKS({0, 1}, {1, 20}));
    check_picks(ITEMS({900, 2}), &slow, 512, PICKS({0, 20}));
    for (double step_ns = 1e5; step_ns < 1e10; step_ns *= 1.7) {
        const struct sched_cost cost = {.step_ns = step_ns, .tok_ns = 7e5};
        const int n = sched_budget(&cost, false, 1, 0);

        assert_true(n == 1 || n * cost.tok_ns <= step_ns);
        assert_true(n == SCHED_PIECE_MAX || (n + 1) * cost.tok_ns > step_ns);
    }
}

/* 9B's shape on two cores: a row takes 87 ms, a tile of eight 130, each further one 145. */
static void test_sched_step_fills_tiles(void **state)
{
    const struct sched_cost
        cost = {.step_ns = 87e6, .tok_ns = 5e6, .tile = 8, .one_ns = 130e6, .more_ns = 145e6},
        wide = {.step_ns = 87e6, .tok_ns = 5e6, .tile = 8, .one_ns = 100e6, .more_ns = 20e6};

    check_picks(ITEMS({1, 1}, {900, 2}), &cost, 512, PICKS({0, 1}, {1, 7}));
    check_picks(ITEMS({900, 2}), &cost, 512, PICKS({0, 8}));
    check_picks(ITEMS({1, 1}, {1, 3}, {4, 4}, {900, 5}), &cost, 512, PICKS({0, 1}, {1, 1}, {2, 4}, {3, 2}));
    check_picks(ITEMS({1, 1}, {900, 2}), &wide, 512, PICKS({0, 1}, {1, 31}));
    check_picks(ITEMS({900, 2}), &wide, 512, PICKS({0, 64}));
    for (int n = 1; n < 40; n++) /* decode rows that leave less than half a tile: another one */
        assert_int_equal(sched_budget(&cost, false, n, 0), ROUND_UP(n + 4, 8) - n);
    check_picks(ITEMS({9000, 2}), &(struct sched_cost){1e9, 1, 8, 1, 1}, 4096, PICKS({0, SCHED_PIECE_MAX}));
}

/* What a step costs on such a machine is learnt, and a part of a tile is not mistaken for cheap tokens. */
static void test_sched_cost_learns_tiles(void **state)
{
    struct sched *sched = start(&(struct sched_cost){.tile = 8});
    const struct sched_item items[] = {{1, 1}, {100000, 2, 1}};
    struct sched_pick picks[2];

    sched_cost_add_decode(&sched->cost, 87e6);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(sched_step(sched, items, 2, 4096, picks), 2);
        const int n_tiles = CEIL_DIV(1 + picks[1].n_tok, 8);
        const double ns = 130e6 + 145e6 * (n_tiles - 1);

        assert_true(i < 20 || n_tiles == 1);
        sched_cost_add_piece(&sched->cost, picks[1].n_tok, ns);
        sched_cost_add_rows(&sched->cost, 1 + picks[1].n_tok, 0, ns);
    }
    assert_int_equal(picks[1].n_tok, 7);
}

/* A machine of tiles whose rows look back at all before them: beside a stream a step takes what it may
 * whatever the depth, and alone no longer than anybody should wait for a cancel. */
static void test_sched_cost_learns_depth(void **state)
{
    const double step_ns = 87e6, attn_ns = 1e3;

    for (int alone = 0; alone < 2; alone++) {
        struct sched *sched = start(&(struct sched_cost){.tile = 8});
        double longest_ns = 0, at_end_ns = 0;

        sched_cost_add_decode(&sched->cost, step_ns);
        for (int pos = 0; pos < 60000;) {
            const struct sched_item items[] = {{1, 1}, {100000 - pos, 2, 1, .pos = pos}};
            struct sched_pick picks[2];
            const int n = sched_step(sched, items + alone, 2 - alone, 4096, picks),
                      n_tok = picks[n - 1].n_tok;
            const int n_rows = n_tok + n - 1, n_tiles = CEIL_DIV(n_rows, 8);
            const double n_before = n_tok * (pos + (n_tok - 1) / 2.0);
            const double ns = 130e6 + 45e6 * (n_tiles - 1) + attn_ns * n_before;

            assert_int_equal(n, 2 - alone);
            sched_cost_add_piece(&sched->cost, n_tok, ns);
            sched_cost_add_rows(&sched->cost, n_rows, n_before, ns);
            pos += n_tok;
            longest_ns =
                pos > 2000 ? MAX(longest_ns, ns) : 0; /* it takes some steps to see what attention takes */
            at_end_ns = ns;
        }
        assert_true(longest_ns < (alone ? 290e6 : 2.2 * step_ns));
        assert_true(at_end_ns > (alone ? 170e6 : 1.5 * step_ns)); /* and the time is used */
    }
}

/* Two deep prompts share a step's time, they do not take twice as much. */
static void test_sched_step_counts_attention_once(void **state)
{
    const struct sched_cost cost = {
        .step_ns = 87e6, .tok_ns = 5e6, .tile = 8, .one_ns = 130e6, .more_ns = 145e6, .deep_ns = 1e3};

    check_picks(ITEMS({1, 1}, {900, 2, .pos = 30000}), &cost, 512, PICKS({0, 1}, {1, 1}));
    check_picks(ITEMS({1, 1}, {900, 2, .pos = 10000}), &cost, 512, PICKS({0, 1}, {1, 4}));
    check_picks(ITEMS({1, 1}, {900, 2, .pos = 100}), &cost, 512, PICKS({0, 1}, {1, 7}));
    check_picks(ITEMS({1, 1}, {900, 2, .pos = 10000}, {900, 3, .pos = 10000}), &cost, 512,
                PICKS({0, 1}, {1, 4}));
    check_picks(ITEMS({900, 2, .pos = 30000}), &cost, 512, PICKS({0, 4}));
    check_picks(ITEMS({900, 2, .pos = 1000000}), &cost, 512, PICKS({0, 1}));
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
    assert_int_equal(sched_step(start(&fast), ITEMS({0, 1}, {0, 3}), 512, got), 0);
    assert_int_equal(sched_step(start(&fast), NULL, 0, 512, got), 0);
}

static void test_sched_step_starts_small_before_anything_was_measured(void **state)
{
    const struct sched_cost none = {0}, no_step = {.tok_ns = 1e6};

    check_picks(ITEMS({900, 2}), &none, 512, PICKS({0, 32}));
    check_picks(ITEMS({900, 2}, {1, 1}), &no_step, 512, PICKS({0, 75}, {1, 1}));
}

/* Where bits depend on it: at multiples of 64, 64 tokens at least on either side, and one piece however small
 * the budget. */
static void test_sched_step_cuts_where_the_backend_wants(void **state)
{
    static const struct {
        struct sched_item item;
        double budget;
        int want;
    } cuts[] = {
        {{200, 1}, 512, 200},
        {{200, 1}, 70, 64},
        {{200, 1}, 1, 64},
        {{136, 1, .pos = 64}, 70, 64},
        {{72, 1, .pos = 128}, 70, 72}, /* the end is no piece of its own */
        {{127, 1}, 1, 127},
        {{128, 1}, 1, 64},
        {{900, 1, .pos = 100}, 175, 156}, /* to 256 */
        {{900, 1, .pos = 100}, 70, 92},   /* 28 up to 128 would be no piece */
        {{220, 1, .n_again = 20}, 512, 200},
        {{20, 1, .pos = 200, .n_again = 20}, 512, 16},
        {{4, 1, .pos = 216, .n_again = 4}, 512, 4},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
        const struct sched_cost cost = {.step_ns = 1, .tok_ns = 250e6 / cuts[i].budget};
        struct sched *sched = start(&cost);

        sched->cut_tok = 64;
        sched->again_tok = 16;
        check_picks_of(sched, &cuts[i].item, 1, 512 + 64, PICKS({0, cuts[i].want}));
    }
}

/* Room for less than a piece is left over, and nobody behind takes it. */
static void test_sched_step_leaves_what_is_no_piece(void **state)
{
    struct sched *sched = start(&fast);

    sched->cut_tok = 64;
    sched->again_tok = 16;
    check_picks_of(sched, ITEMS({140, 1}, {300, 2}, {20, 3}), 512, PICKS({0, 140}));
    check_picks_of(sched, ITEMS({100, 1}, {300, 2}, {20, 3}), 512, PICKS({0, 100}, {1, 64}));
}

/* order */

static void test_sched_step_reads_interactive_before_normal_before_batch(void **state)
{
    check_picks(ITEMS({300, 1, .band = SCHED_BAND_BATCH}, {300, 2, .band = SCHED_BAND_NORMAL},
                      {300, 3, .band = SCHED_BAND_INTERACTIVE}),
                &fast, 512, PICKS({2, 175}));
    check_picks(ITEMS({300, 1, .band = SCHED_BAND_BATCH}, {100, 2, .band = SCHED_BAND_NORMAL},
                      {50, 3, .band = SCHED_BAND_INTERACTIVE}),
                &fast, 512, PICKS({0, 25}, {1, 100}, {2, 50}));
}

static void test_sched_step_serves_the_account_that_was_served_least(void **state)
{
    struct sched *sched = start(&fast);

    /* the piece of account 0 was charged, so 1 is next although it came later; then 0 again */
    check_picks_of(sched, ITEMS({900, 1, 0}, {900, 2, 1}), 512, PICKS({0, 175}));
    check_picks_of(sched, ITEMS({725, 1, 0}, {900, 2, 1}), 512, PICKS({1, 175}));
    check_picks_of(sched, ITEMS({725, 1, 0}, {725, 2, 1}), 512, PICKS({0, 175}));
}

static void test_sched_step_divides_by_weight(void **state)
{
    struct sched *sched = start(&fast);
    int read[2] = {0};

    sched_leave(sched, 1);
    assert_int_equal(sched_join(sched, 1001, 3 * SCHED_WEIGHT), 1);
    for (int i = 0; i < 400; i++) {
        const struct sched_item items[] = {{900, 1, 0}, {900, 2, 1}};
        struct sched_pick pick;

        assert_int_equal(sched_step(sched, items, 2, 512, &pick), 1);
        sched_charge(sched, items, 2, &pick, 1);
        read[pick.item] += pick.n_tok;
    }
    assert_in_range(read[1], 3 * read[0] - 3 * 175, 3 * read[0] + 3 * 175);
}

/* Account 0 has three streams: they cost what three rows of a step cost, as much as a piece beside them. */
static void test_sched_charge_counts_decoded_tokens(void **state)
{
    struct sched *sched = start(&fast);

    check_picks_of(sched, ITEMS({1, 1, 0}, {1, 2, 0}, {1, 3, 0}, {900, 4, 1}), 512,
                   PICKS({0, 1}, {1, 1}, {2, 1}, {3, 75}));
    assert_true(fabs(sched->accounts[0].counter - 75) < 1e-9);
    assert_true(fabs(sched->accounts[1].counter - 75) < 1e-9);
    assert_true(sched_row_price(&(struct sched_cost){0}, 3) == 2);
    assert_true(sched_row_price(&(struct sched_cost){1, 1e9}, 3) == 0.5);
}

static void test_sched_step_after_idling_saves_nothing_up(void **state)
{
    struct sched *sched = start(&fast);
    struct sched_pick picks[2];

    for (int i = 0; i < 100; i++) {
        const struct sched_item alone = {900, 1, 0};

        sched_step(sched, &alone, 1, 512, picks);
        sched_charge(sched, &alone, 1, picks, 1);
    }
    /* account 1 gets half from now on, not everything until it has caught up */
    check_picks_of(sched, ITEMS({900, 1, 0}, {900, 2, 1}), 512, PICKS({0, 175}));
    check_picks_of(sched, ITEMS({900, 1, 0}, {900, 2, 1}), 512, PICKS({1, 175}));
    check_picks_of(sched, ITEMS({900, 1, 0}, {900, 2, 1}), 512, PICKS({0, 175}));
}

static void test_sched_step_within_an_account_reads_the_earliest_deadline_first(void **state)
{
    check_picks(ITEMS({300, 1}, {300, 3, .deadline = 900}, {300, 2, .deadline = 800}), &fast, 512,
                PICKS({2, 175}));
    check_picks(ITEMS({300, 2}, {300, 3, .deadline = UINT64_MAX}), &fast, 512, PICKS({1, 175}));
    /* nobody gets ahead of another account that way */
    check_picks(ITEMS({300, 2, 0}, {300, 1, 1, .deadline = 1}), &fast, 512, PICKS({0, 175}));
}

/* Interactive prompts without end, and what the others read beside them. */
static void test_sched_step_gives_lower_bands_their_share(void **state)
{
    struct sched *sched = start(&fast);
    double read[SCHED_BAND_N] = {0}, all;
    int longest_wait = 0, waits = 0;

    for (int i = 0; i < 2000; i++) {
        const struct sched_item items[] = {{900, 1, 0, SCHED_BAND_INTERACTIVE},
                                           {900, 2, 1, SCHED_BAND_NORMAL},
                                           {900, 3, 2, SCHED_BAND_BATCH}};
        struct sched_pick picks[3];
        const int n = sched_step(sched, items, 3, 512, picks);

        sched_charge(sched, items, 3, picks, n);
        for (int k = 0; k < n; k++)
            read[items[picks[k].item].band] += picks[k].n_tok;
        waits = n == 1 && picks[0].item == 2 ? 0 : waits + 1;
        longest_wait = MAX(longest_wait, waits);
    }
    all = read[0] + read[1] + read[2];
    assert_true(read[SCHED_BAND_BATCH] >= 0.098 * all && read[SCHED_BAND_BATCH] <= 0.11 * all);
    assert_true(read[SCHED_BAND_NORMAL] >= 0.29 * all && read[SCHED_BAND_NORMAL] <= 0.31 * all);
    assert_in_range(longest_wait, 5, 15);
}

static void test_sched_join_forgets_who_left_longest_ago(void **state)
{
    static struct sched sched;
    int last = 0;

    for (uint32_t key = 1; key <= SCHED_ACCOUNTS; key++) {
        const int account = sched_join(&sched, key, 1);

        assert_int_equal(account, key - 1);
        if (key > SCHED_ITEMS_MAX)
            sched_leave(&sched, account);
    }
    assert_int_equal(sched_join(&sched, 7, 1), 6); /* known */
    sched_leave(&sched, 6);
    for (uint32_t key = 1000; key < 1000 + 3 * SCHED_ACCOUNTS; key++) {
        last = sched_join(&sched, key, SCHED_WEIGHT_MAX);
        assert_in_range(last, SCHED_ITEMS_MAX, SCHED_ACCOUNTS - 1); /* never one that has a sequence */
        sched_leave(&sched, last);
    }
    assert_int_equal(sched_join(&sched, 1000 + 3 * SCHED_ACCOUNTS - 1, 1), last);
    assert_int_equal(sched.n_accounts, SCHED_ACCOUNTS);
}

/* A machine whose step takes a + b n is driven to pieces that take about the budget, from either side. */
static void test_sched_cost_settles_on_the_budget(void **state)
{
    const double a = 20e6, b = 1.5e6;

    for (int begin = 0; begin < 2; begin++) {
        const struct sched_cost first = {.tok_ns = begin ? 1e3 : 1e9};
        struct sched *sched = start(&first);
        struct sched_pick pick;
        double ns = 0;

        sched_cost_add_decode(&sched->cost, a + b);
        for (int i = 0; i < 60; i++) {
            const struct sched_item prompt = {100000, 1};

            assert_int_equal(sched_step(sched, &prompt, 1, 4096, &pick), 1);
            ns = a + b * pick.n_tok;
            sched_cost_add_piece(&sched->cost, pick.n_tok, ns);
        }
        assert_true(ns > 230e6 && ns < 260e6);
    }
}

/* Steps during which somebody else had the core. */
static void test_sched_cost_believes_no_outlier(void **state)
{
    struct sched_cost cost = {};

    sched_cost_add_decode(&cost, 100);
    sched_cost_add_decode(&cost, 5000);
    assert_true(cost.step_ns <= 120);
    for (int i = 0; i < 20; i++)
        sched_cost_add_decode(&cost, 1000); /* that is no outlier any more */
    assert_true(cost.step_ns > 900 && cost.step_ns <= 1000);
    sched_cost_add_piece(&cost, 10, cost.step_ns + 1000);
    sched_cost_add_piece(&cost, 10, cost.step_ns + 100000);
    assert_true(cost.tok_ns <= 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sched_step_reads_every_decode_and_a_piece_of_the_oldest_prompt),
        cmocka_unit_test(test_sched_step_fills_the_budget_with_several_prompts),
        cmocka_unit_test(test_sched_step_gives_a_lone_prompt_the_longer_budget),
        cmocka_unit_test(test_sched_step_never_exceeds_the_step_or_the_largest_piece),
        cmocka_unit_test(test_sched_step_with_a_stream_takes_twice_as_long_at_most),
        cmocka_unit_test(test_sched_step_fills_tiles),
        cmocka_unit_test(test_sched_cost_learns_tiles),
        cmocka_unit_test(test_sched_cost_learns_depth),
        cmocka_unit_test(test_sched_step_counts_attention_once),
        cmocka_unit_test(test_sched_step_moves_on_even_when_a_token_is_over_budget),
        cmocka_unit_test(test_sched_step_leaves_idle_ones_out),
        cmocka_unit_test(test_sched_step_starts_small_before_anything_was_measured),
        cmocka_unit_test(test_sched_step_cuts_where_the_backend_wants),
        cmocka_unit_test(test_sched_step_leaves_what_is_no_piece),
        cmocka_unit_test(test_sched_step_reads_interactive_before_normal_before_batch),
        cmocka_unit_test(test_sched_step_serves_the_account_that_was_served_least),
        cmocka_unit_test(test_sched_step_divides_by_weight),
        cmocka_unit_test(test_sched_charge_counts_decoded_tokens),
        cmocka_unit_test(test_sched_step_after_idling_saves_nothing_up),
        cmocka_unit_test(test_sched_step_within_an_account_reads_the_earliest_deadline_first),
        cmocka_unit_test(test_sched_step_gives_lower_bands_their_share),
        cmocka_unit_test(test_sched_join_forgets_who_left_longest_ago),
        cmocka_unit_test(test_sched_cost_settles_on_the_budget),
        cmocka_unit_test(test_sched_cost_believes_no_outlier),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
