/* test_sample_top.c - a pick from a row's best is the pick from the row, whatever is asked, or none. */
#include "daemon/engine/sample.h"
#include "kernels/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { VOCAB_MAX = 20000, HISTORY_MAX = 300, BIAS_MAX = 3 };

static struct kern *test_ref;
static uint64_t test_seed = 1;

static int setup(void **state)
{
    return kern_open(&(struct kern_options){.backend = "ref"}, NULL, &test_ref);
}

static int teardown(void **state)
{
    test_ref = kern_free(test_ref);
    return 0;
}

static uint32_t random_below(uint32_t n)
{
    test_seed = test_seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(test_seed >> 32) % n;
}

static float random_float(float lo, float hi)
{
    return lo + (hi - lo) * (float)random_below(1 << 20) / (float)(1 << 20);
}

#define RANDOM_OF(list) ((list)[random_below(ARRAY_SIZE(list))])

/* rows */

struct row {
    int n_vocab;
    float logits[VOCAB_MAX];
    struct kern_top_row top;
};

static void row_top(struct row *row, int32_t asked)
{
    const struct kern_top op = {
        .n_rows = 1, .n_vocab = row->n_vocab, .logits = row->logits, .asked = &asked, .ret_rows = &row->top};

    assert_int_equal(test_ref->ops->top(test_ref, &op), 0);
}

/* As a model's: a bell, and above it a few with less and less of a chance. */
static void row_peak(struct row *row)
{
    const float step = random_float(0.05f, 2.0f);

    for (int i = 0; i < row->n_vocab; i++)
        row->logits[i] = random_float(-3, 3) + random_float(-3, 3) + random_float(-3, 3);
    for (int i = 0; i < 60; i++)
        row->logits[random_below((uint32_t)row->n_vocab)] = 20.0f - step * logf((float)(i + 1)) * 3.0f;
}

static void row_make(struct row *row)
{
    static const int n_vocabs[] = {1, 40, 256, 257, 700, 3000};
    const uint32_t kind = random_below(8);

    row->n_vocab = RANDOM_OF(n_vocabs);
    row_peak(row);
    for (int i = 0; i < row->n_vocab; i++) {
        if (kind == 1) /* flat */
            row->logits[i] = random_float(0, 0.1f);
        else if (kind == 2) /* tied */
            row->logits[i] = floorf(row->logits[i]);
        else if (kind == 3 && random_below(10)) /* few */
            row->logits[i] = -INFINITY;
        else if (kind == 4)
            row->logits[i] -= 15.0f; /* of both signs at the top, which penalties tell apart */
    }
    if (kind == 5 && !random_below(4))
        row->logits[random_below((uint32_t)row->n_vocab)] = random_below(2) ? NAN : INFINITY;
    row_top(row, (int32_t)random_below((uint32_t)row->n_vocab));
}

/* what is asked of a row */

struct wish {
    struct sample_params params;
    struct sample_bias bias[BIAS_MAX];
    bool banned[VOCAB_MAX];
    bool bans;
    int32_t history[HISTORY_MAX];
    size_t n_history;
    int n_logprobs;
};

/* Now and then one of the best, which have more to do with what comes out. */
static int32_t random_id(const struct row *row)
{
    if (random_below(3) && row->top.n && !row->top.is_bad)
        return row->top.ids[random_below((uint32_t)MIN(row->top.n, 30))];
    return (int32_t)random_below((uint32_t)row->n_vocab);
}

static void wish_make(struct wish *w, const struct row *row)
{
    static const float temperatures[] = {0, 0.3f, 0.7f, 1, 1, 1.5f}, top_ps[] = {1, 1, 0.95f, 0.8f, 0.3f, 0},
                       min_ps[] = {0, 0, 0, 0.05f, 0.5f, 1}, repeats[] = {1, 1, 1, 1.1f, 0.9f},
                       presences[] = {0, 0, 1.5f, 1.5f, -0.5f}, frequencies[] = {0, 0, 0.2f, -0.1f};
    static const int top_ks[] = {0, 0, 1, 20, 20, 40, 255, 256, 257, 1000}, lasts[] = {-1, 0, 64, 64};
    static const uint32_t bans[] = {0, 0, 5, 50, 99};
    const uint32_t percent = RANDOM_OF(bans);

    w->params = (struct sample_params){
        .temperature = RANDOM_OF(temperatures),
        .top_k = RANDOM_OF(top_ks),
        .top_p = RANDOM_OF(top_ps),
        .min_p = RANDOM_OF(min_ps),
        .repeat_penalty = RANDOM_OF(repeats),
        .presence_penalty = RANDOM_OF(presences),
        .frequency_penalty = RANDOM_OF(frequencies),
        .penalty_last_n = RANDOM_OF(lasts),
        .seed = random_below(1000),
        .bias = w->bias,
        .n_bias = random_below(3) ? 0 : 1 + (int)random_below(BIAS_MAX),
    };
    for (int i = 0; i < w->params.n_bias; i++)
        w->bias[i] = (struct sample_bias){random_id(row), random_float(-8, 4)};
    w->bans = percent > 0;
    for (int i = 0; i < row->n_vocab; i++)
        w->banned[i] = random_below(100) < percent;
    w->n_history = random_below(HISTORY_MAX);
    for (size_t i = 0; i < w->n_history; i++)
        w->history[i] = random_id(row);
    w->n_logprobs = (int)random_below(SAMPLE_TOP_MAX + 2) - 1;
    assert_int_equal(sample_params_check(&w->params, row->n_vocab, NULL), 0);
}

static int pick_row(struct sampler *s, const struct row *row, const struct wish *w, uint64_t position,
                    struct sample_choice *c)
{
    return sampler_pick(s, &w->params, row->logits, w->bans ? w->banned : NULL, w->history, w->n_history,
                        position, w->n_logprobs, c);
}

static int pick_top(struct sampler *s, const struct row *row, const struct wish *w, uint64_t position,
                    struct sample_choice *c)
{
    return sampler_pick_top(s, &w->params, &row->top, w->bans ? w->banned : NULL, w->history, w->n_history,
                            position, w->n_logprobs, c);
}

static void check_logprobs(const struct sample_choice *got, const struct sample_choice *want)
{
    assert_int_equal(got->n_top, want->n_top);
    assert_true(fabsf(got->logprob - want->logprob) <= 2 * (float)KERN_TOP_LSE_ERROR);
    for (int i = 0; i < want->n_top; i++) {
        assert_int_equal(got->top_id[i], want->top_id[i]);
        assert_true(fabsf(got->top_logprob[i] - want->top_logprob[i]) <= 2 * (float)KERN_TOP_LSE_ERROR);
    }
}

static struct row row;
static struct wish wish;

static void test_pick_top_is_the_rows_pick_or_none(void **state)
{
    int n_told = 0, n_more = 0, n_bad = 0;

    for (int i = 0; i < 20000; i++) {
        struct sample_choice want, got;
        struct sampler *s = NULL;
        int r, r_row;

        row_make(&row);
        wish_make(&wish, &row);
        row.top.lse += (double)random_float(-1, 1) * KERN_TOP_LSE_ERROR; /* as far off as it may be */
        assert_int_equal(sampler_new(row.n_vocab, &s), 0);
        for (uint64_t position = 0; position < 4; position++) {
            r = pick_top(s, &row, &wish, position, &got);
            r_row = pick_row(s, &row, &wish, position, &want);
            if (r == SAMPLE_E_MORE) {
                n_more++;
                continue;
            }
            assert_int_equal(r, r_row);
            n_bad += r == SAMPLE_E_NAN;
            n_told += r == SAMPLE_OK;
            if (r)
                continue;
            if (got.id != want.id)
                fail_msg("row %d: token %d, from the row %d", i, got.id, want.id);
            check_logprobs(&got, &want);
        }
        sampler_free(s);
    }
    print_message("%d told, %d not, %d bad\n", n_told, n_more, n_bad);
    assert_true(n_told > 30000 && n_more > 5000 && n_bad > 1000); /* all ways were gone */
}

/* The few are found in one walk over the row, all are sorted. */
static void test_the_best_few_are_the_first_of_all(void **state)
{
    static int32_t all_ids[VOCAB_MAX];
    static double all_probs[VOCAB_MAX];
    static const int few[] = {1, 2, 20, 63, 64, 255, 256};
    int n_compared = 0, n_bad = 0;

    for (int i = 0; i < 5000; i++) {
        const bool *banned;
        const int32_t *ids;
        const double *probs;
        struct sampler *s = NULL;
        int n, n_all, r;

        row_make(&row);
        wish_make(&wish, &row);
        banned = wish.bans ? wish.banned : NULL;
        wish.params.temperature = 1;
        wish.params.top_p = 1;
        wish.params.min_p = 0;
        wish.params.top_k = 0;
        assert_int_equal(sampler_new(row.n_vocab, &s), 0);
        r = sampler_distribution(s, &wish.params, row.logits, banned, wish.history, wish.n_history, &ids,
                                 &probs, &n_all);
        if (!r) {
            memcpy(all_ids, ids, (size_t)n_all * sizeof(*ids));
            memcpy(all_probs, probs, (size_t)n_all * sizeof(*probs));
        }
        for (size_t k = 0; k < ARRAY_SIZE(few); k++) {
            wish.params.top_k = few[k];
            assert_int_equal(sampler_distribution(s, &wish.params, row.logits, banned, wish.history,
                                                  wish.n_history, &ids, &probs, &n),
                             r);
            n_bad += r != 0;
            if (r)
                continue;
            assert_int_equal(n, MIN(wish.params.top_k, n_all));
            assert_memory_equal(ids, all_ids, (size_t)n * sizeof(*ids));
            for (int at = 1; at < n; at++)
                assert_true(fabs(probs[at] / probs[0] - all_probs[at] / all_probs[0]) <= 1e-12);
            n_compared += n;
        }
        sampler_free(s);
    }
    print_message("%d compared, %d bad\n", n_compared, n_bad);
    assert_true(n_compared > 500000 && n_bad > 1000);
}

/* The model card's, and what other programs send by default. */
static void test_pick_top_nearly_always_has_the_answer(void **state)
{
    enum { N = 400 };
    struct sampler *s = NULL;
    int n_told[4] = {0};

    row.n_vocab = VOCAB_MAX;
    assert_int_equal(sampler_new(VOCAB_MAX, &s), 0);
    for (int i = 0; i < N; i++) {
        row_peak(&row);
        row_top(&row, -1);
        wish_make(&wish, &row);
        for (int k = 0; k < 4; k++) {
            struct sample_choice c;

            sample_params_default(&wish.params, k & 1);
            wish.params.top_k = k < 2 ? 20 : 0;
            wish.bans = true; /* a few ids that no vocabulary uses */
            memset(wish.banned, 0, sizeof(wish.banned));
            memset(wish.banned + 1000, true, 200);
            n_told[k] += pick_top(s, &row, &wish, (uint64_t)i, &c) == SAMPLE_OK;
        }
    }
    print_message("of %d: top_k 20: %d and %d, without: %d and %d\n", N, n_told[0], n_told[1], n_told[2],
                  n_told[3]);
    assert_true(n_told[0] > N * 99 / 100 && n_told[1] > N * 99 / 100);
    assert_true(n_told[2] > N / 2 && n_told[3] > N / 2);
    sampler_free(s);
}

/* Logprobs do not depend on whether a token was told from the best or needed the row. */
static void test_logprobs_are_the_same_on_either_way(void **state)
{
    for (int i = 0; i < 300; i++) {
        struct sample_choice top, full;
        struct sampler *s = NULL;
        float score;

        row_make(&row);
        wish_make(&wish, &row);
        assert_int_equal(sampler_new(row.n_vocab, &s), 0);
        if (pick_top(s, &row, &wish, 0, &top) == SAMPLE_OK &&
            pick_row(s, &row, &wish, 0, &full) == SAMPLE_OK) {
            sample_tell(&row.top, row.logits[full.id], wish.n_logprobs, &full);
            assert_int_equal(top.n_top, full.n_top);
            assert_memory_equal(&top.logprob, &full.logprob, sizeof(float));
            assert_memory_equal(top.top_logprob, full.top_logprob, (size_t)top.n_top * sizeof(float));
            row_top(&row, top.id);
            assert_int_equal(sample_score_top(&row.top, &score), 0);
            if (wish.n_logprobs >= 0)
                assert_memory_equal(&score, &top.logprob, sizeof(float));
        }
        sampler_free(s);
    }
    row.logits[0] = NAN;
    row_top(&row, -1);
    assert_int_equal(sample_score_top(&row.top, &(float){0}), SAMPLE_E_NAN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pick_top_is_the_rows_pick_or_none),
        cmocka_unit_test(test_the_best_few_are_the_first_of_all),
        cmocka_unit_test(test_pick_top_nearly_always_has_the_answer),
        cmocka_unit_test(test_logprobs_are_the_same_on_either_way),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
