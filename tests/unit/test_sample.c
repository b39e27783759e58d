/* test_sample.c - the sampler against golden distributions, known answers of Philox, and its own promises. */
#include "daemon/engine/sample.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *sample_golden; /* tests/golden */

enum { N_VOCAB = 1024, N_ROWS = 6 };
static float golden_logits[N_ROWS][N_VOCAB];
static struct sampler *golden_sampler;

static int setup(void **state)
{
    char path[4096];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "%s/sampler/logits.f32", sample_golden);
    f = fopen(path, "rb");
    assert_non_null(f);
    n = fread(golden_logits, sizeof(float), N_ROWS * N_VOCAB, f);
    fclose(f);
    assert_int_equal(n, N_ROWS * N_VOCAB);
    return sampler_new(N_VOCAB, &golden_sampler);
}

static int teardown(void **state)
{
    golden_sampler = sampler_free(golden_sampler);
    return 0;
}

static double test_number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    assert_true(json_is_number(v));
    return json_number_value(v);
}

static size_t test_ids(const json_t *array, int32_t *ids, size_t max)
{
    size_t n = json_array_size(array);

    assert_in_range(n, 0, max);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return n;
}

static struct sample_params test_params(const json_t *o)
{
    return (struct sample_params){
        .temperature = (float)test_number(o, "temperature"),
        .top_k = (int)test_number(o, "top_k"),
        .top_p = (float)test_number(o, "top_p"),
        .min_p = (float)test_number(o, "min_p"),
        .repeat_penalty = (float)test_number(o, "repeat_penalty"),
        .presence_penalty = (float)test_number(o, "presence_penalty"),
        .frequency_penalty = (float)test_number(o, "frequency_penalty"),
        .penalty_last_n = (int)test_number(o, "penalty_last_n"),
    };
}

static void check_case(const json_t *o)
{
    const struct sample_params p = test_params(json_object_get(o, "params"));
    const json_t *want_ids = json_object_get(o, "ids"), *want_probs = json_object_get(o, "probs");
    const char *name = json_string_value(json_object_get(o, "id"));
    const float *logits = golden_logits[(int)test_number(o, "logits_row")];
    int32_t recent[1024];
    size_t n_recent = test_ids(json_object_get(o, "recent"), recent, ARRAY_SIZE(recent));
    const int32_t *ids;
    const double *probs;
    int n;

    assert_int_equal(sample_params_check(&p, N_VOCAB, NULL), 0);
    assert_int_equal(
        sampler_distribution(golden_sampler, &p, logits, NULL, recent, n_recent, &ids, &probs, &n), 0);
    if (n != (int)test_number(o, "n_kept"))
        fail_msg("%s: kept %d, should be %g", name, n, test_number(o, "n_kept"));
    for (size_t i = 0; i < json_array_size(want_ids); i++) {
        int want = (int)json_integer_value(json_array_get(want_ids, i));
        double want_p = json_number_value(json_array_get(want_probs, i));

        if (ids[i] != want || fabs(probs[i] - want_p) > 1e-5)
            fail_msg("%s: place %zu is %d (%.9g), should be %d (%.9g)", name, i, ids[i], probs[i], want,
                     want_p);
    }
}

static void test_sampler_distribution_equals_golden(void **state)
{
    char path[4096], line[1 << 16];
    int n = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/sampler/cases.jsonl", sample_golden);
    f = fopen(path, "r");
    assert_non_null(f);
    for (; fgets(line, sizeof(line), f); n++) {
        json_t *o = json_loads(line, 0, NULL);

        assert_non_null(o);
        check_case(o);
        json_decref(o);
    }
    fclose(f);
    assert_true(n >= 20);
}

/* Random123's kat_vectors, philox 4x32 10 rounds. */
static void test_philox_equals_known_answers(void **state)
{
    const struct {
        uint32_t counter[4], key[2], out[4];
    } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(kat); i++) {
        uint32_t out[4];

        philox4x32(kat[i].counter, kat[i].key, out);
        assert_memory_equal(out, kat[i].out, sizeof(out));
    }
}

static struct sample_params plain_params(float temperature)
{
    return (struct sample_params){
        .temperature = temperature, .top_p = 1.0f, .repeat_penalty = 1.0f, .seed = 0x123456789abcdefULL};
}

static int32_t pick(const struct sample_params *p, const float *logits, const bool *banned, uint64_t position)
{
    struct sample_choice c;

    assert_int_equal(sampler_pick(golden_sampler, p, logits, banned, NULL, 0, position, -1, &c), 0);
    return c.id;
}

/* 20,000 draws: each of the ten likeliest tokens within 5 standard deviations of its probability. */
static void test_sampler_pick_follows_the_distribution(void **state)
{
    enum { DRAWS = 20000 };
    const struct sample_params settings[] = {
        {.temperature = 1.0f, .top_p = 1.0f, .repeat_penalty = 1.0f, .seed = 7},
        {.temperature = 0.8f, .top_k = 20, .top_p = 0.95f, .repeat_penalty = 1.0f, .seed = 8},
        {.temperature = 1.5f, .top_p = 0.9f, .min_p = 0.01f, .repeat_penalty = 1.0f, .seed = 9},
    };

    for (size_t k = 0; k < ARRAY_SIZE(settings); k++) {
        const int32_t *ids;
        const double *probs;
        int32_t top[10];
        double want[10];
        int n, seen[N_VOCAB] = {0};

        assert_int_equal(sampler_distribution(golden_sampler, &settings[k], golden_logits[1], NULL, NULL, 0,
                                              &ids, &probs, &n),
                         0);
        n = MIN(n, 10);
        memcpy(top, ids, sizeof(*ids) * (size_t)n);
        memcpy(want, probs, sizeof(*probs) * (size_t)n);
        for (uint64_t i = 0; i < DRAWS; i++)
            seen[pick(&settings[k], golden_logits[1], NULL, i)]++;
        for (int i = 0; i < n; i++)
            if (fabs(seen[top[i]] - DRAWS * want[i]) > 5 * sqrt(DRAWS * want[i] * (1 - want[i])))
                fail_msg("setting %zu: token %d drawn %d times, should be %.0f", k, top[i], seen[top[i]],
                         DRAWS * want[i]);
    }
}

static void test_sampler_pick_depends_on_seed_and_position_only(void **state)
{
    struct sample_params p = plain_params(1.0f);
    int32_t first[64];
    int same_seed = 0;

    for (uint64_t i = 0; i < 64; i++)
        first[i] = pick(&p, golden_logits[1], NULL, i);
    for (uint64_t i = 64; i-- > 0;) /* in another order, with other rows in between */
        assert_int_equal((pick(&p, golden_logits[2], NULL, i), pick(&p, golden_logits[1], NULL, i)),
                         first[i]);
    p.seed++;
    for (uint64_t i = 0; i < 64; i++)
        same_seed += pick(&p, golden_logits[1], NULL, i) == first[i];
    assert_in_range(same_seed, 0, 32);
}

static void test_sampler_pick_takes_the_best_at_temperature_zero(void **state)
{
    const struct sample_params p = plain_params(0.0f);

    for (int row = 0; row < N_ROWS; row++) {
        int best = 0;

        for (int i = 1; i < N_VOCAB; i++)
            if (golden_logits[row][i] > golden_logits[row][best])
                best = i;
        assert_int_equal(pick(&p, golden_logits[row], NULL, 5), best);
    }
}

static void test_sampler_pick_prefers_the_lower_id_in_a_tie(void **state)
{
    const struct sample_params p = plain_params(0.0f);
    struct sample_params top = plain_params(1.0f);
    float logits[N_VOCAB] = {0};
    const int32_t *ids;
    const double *probs;
    int n;

    top.top_k = 3;
    assert_int_equal(pick(&p, logits, NULL, 0), 0);
    assert_int_equal(sampler_distribution(golden_sampler, &top, logits, NULL, NULL, 0, &ids, &probs, &n), 0);
    assert_int_equal(n, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ids[i], i);
}

static void test_sampler_pick_obeys_bans_and_bias(void **state)
{
    struct sample_params p = plain_params(0.0f);
    const struct sample_bias bias[] = {{700, 100.0f}, {701, 99.0f}};
    bool banned[N_VOCAB] = {false};

    p.bias = bias;
    p.n_bias = 2;
    assert_int_equal(pick(&p, golden_logits[0], banned, 0), 700);
    banned[700] = true;
    assert_int_equal(pick(&p, golden_logits[0], banned, 0), 701);
}

static void test_sampler_pick_refuses_bad_rows(void **state)
{
    const struct sample_params p = plain_params(1.0f);
    struct sample_choice c = {.id = -7};
    float logits[N_VOCAB];
    bool banned[N_VOCAB];

    memcpy(logits, golden_logits[0], sizeof(logits));
    logits[1023] = NAN;
    assert_int_equal(sampler_pick(golden_sampler, &p, logits, NULL, NULL, 0, 0, -1, &c), SAMPLE_E_NAN);
    logits[1023] = INFINITY;
    assert_int_equal(sampler_pick(golden_sampler, &p, logits, NULL, NULL, 0, 0, -1, &c), SAMPLE_E_NAN);
    logits[1023] = -INFINITY;
    assert_int_not_equal(pick(&p, logits, NULL, 0), 1023);
    memset(banned, 1, sizeof(banned));
    assert_int_equal(sampler_pick(golden_sampler, &p, logits, banned, NULL, 0, 0, -1, &c), SAMPLE_E_NAN);
    assert_int_equal(c.id, -7);
}

static void test_sampler_logprobs_are_the_models_own(void **state)
{
    struct sample_params p = plain_params(0.7f);
    struct sample_choice c;
    double sum = 0;

    p.top_k = 5;
    p.presence_penalty = 1.5f;
    p.penalty_last_n = -1;
    assert_int_equal(
        sampler_pick(golden_sampler, &p, golden_logits[3], NULL, (int32_t[]){7, 7}, 2, 3, 20, &c), 0);
    for (int i = 0; i < N_VOCAB; i++)
        sum += exp((double)golden_logits[3][i]);
    assert_int_equal(c.n_top, 20);
    assert_true(fabs((double)golden_logits[3][c.id] - log(sum) - (double)c.logprob) < 1e-5);
    for (int i = 0; i < 20; i++) {
        assert_true(fabs((double)golden_logits[3][c.top_id[i]] - log(sum) - (double)c.top_logprob[i]) < 1e-5);
        assert_true(!i || c.top_logprob[i] <= c.top_logprob[i - 1]);
    }
    assert_int_equal(c.top_id[0], 7); /* before penalties */
}

static void check_refused(struct sample_params p, const char *text)
{
    struct fault fault;

    assert_int_equal(sample_params_check(&p, N_VOCAB, &fault), SAMPLE_E_RANGE);
    assert_string_equal(fault.text, text);
}

static void test_sample_params_check_names_what_is_wrong(void **state)
{
    const struct sample_params good = plain_params(1.0f);
    const struct sample_bias far = {1024, 0}, heavy = {3, 101};
    struct sample_params p;

    assert_int_equal(sample_params_check(&good, N_VOCAB, NULL), 0);
    p = good, p.temperature = -0.5f, check_refused(p, "temperature is -0.5, should be from 0 to 100");
    p = good, p.temperature = NAN, check_refused(p, "temperature is nan, should be from 0 to 100");
    p = good, p.top_p = 1.5f, check_refused(p, "top_p is 1.5, should be from 0 to 1");
    p = good, p.min_p = INFINITY, check_refused(p, "min_p is inf, should be from 0 to 1");
    p = good, p.repeat_penalty = 0, check_refused(p, "repeat_penalty is 0, should be from 0.01 to 100");
    p = good, p.top_k = -1, check_refused(p, "top_k is -1, should be 0 (off) or more");
    p = good, p.penalty_last_n = -2, check_refused(p, "penalty_last_n is -2, should be -1 (all) or more");
    p = good, p.bias = &far, p.n_bias = 1;
    check_refused(p, "logit_bias[0] names token 1024, the vocabulary has 1024");
    p = good, p.bias = &heavy, p.n_bias = 1;
    check_refused(p, "logit_bias[0] is 101, should be from -100 to 100");
}

static void test_sample_params_default_are_the_model_cards(void **state)
{
    struct sample_params on, off;

    sample_params_default(&on, true);
    sample_params_default(&off, false);
    assert_int_equal(sample_params_check(&on, N_VOCAB, NULL) + sample_params_check(&off, N_VOCAB, NULL), 0);
    assert_true(on.temperature == 1.0f && on.top_p == 0.95f && on.top_k == 20 && on.presence_penalty == 1.5f);
    assert_true(off.temperature == 0.7f && off.top_p == 0.8f && off.top_k == 20 &&
                off.presence_penalty == 1.5f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampler_distribution_equals_golden),
        cmocka_unit_test(test_philox_equals_known_answers),
        cmocka_unit_test(test_sampler_pick_follows_the_distribution),
        cmocka_unit_test(test_sampler_pick_depends_on_seed_and_position_only),
        cmocka_unit_test(test_sampler_pick_takes_the_best_at_temperature_zero),
        cmocka_unit_test(test_sampler_pick_prefers_the_lower_id_in_a_tie),
        cmocka_unit_test(test_sampler_pick_obeys_bans_and_bias),
        cmocka_unit_test(test_sampler_pick_refuses_bad_rows),
        cmocka_unit_test(test_sampler_logprobs_are_the_models_own),
        cmocka_unit_test(test_sample_params_check_names_what_is_wrong),
        cmocka_unit_test(test_sample_params_default_are_the_model_cards),
    };

    if (argc != 2)
        return 2;
    sample_golden = argv[1];
    return cmocka_run_group_tests(tests, setup, teardown);
}
