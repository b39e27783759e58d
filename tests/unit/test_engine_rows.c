/* test_engine_rows.c - an engine that is given the best of each row says what one that is given the rows
 * says; run once per backend that has kernels.h's top(). */
#include "engine_peer.h"
#include "engine_watch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static char test_model[4096];
static const char *test_backend;

enum { CONTEXT = 128, N_WISHES = 3, SCORE, SLOTS = SCORE, N_PROMPT = 12, N = 6 };

/* The same backend without top(), if so asked; put in the way by the linker. */
static bool whole_rows;
static struct kern_ops whole_ops;

int __real_kern_open(const struct kern_options *options, struct fault *fault, struct kern **ret_kern);
int __wrap_kern_open(const struct kern_options *options, struct fault *fault, struct kern **ret_kern);

int __wrap_kern_open(const struct kern_options *options, struct fault *fault, struct kern **ret_kern)
{
    int r = __real_kern_open(options, fault, ret_kern);

    if (r || !whole_rows)
        return r;
    whole_ops = *(*ret_kern)->ops;
    whole_ops.top = NULL;
    (*ret_kern)->ops = &whole_ops;
    return 0;
}

static struct peer *start(bool whole)
{
    struct peer *peer;

    whole_rows = whole;
    peer = peer_start(test_model, test_backend, CONTEXT, SLOTS);
    assert_true(whole == !peer->e.tops);
    return peer;
}

/* requests */

static int32_t prompt_ids[N_PROMPT];

/* i: which parameters. */
static struct peer_request wish_of(int i, Qwp__Sampling *sampling, Qwp__LogitBias *bias,
                                   Qwp__LogitBias **biases)
{
    qwp__sampling__init(sampling);
    qwp__logit_bias__init(bias);
    sampling->has_seed = true;
    sampling->seed = 7;
    if (i == 1) { /* the best */
        sampling->has_temperature = true;
        sampling->temperature = 0;
    }
    if (i == 2) { /* an id that is likely none of the best: the row is needed */
        bias->has_id = bias->has_bias = true;
        bias->id = 900;
        bias->bias = 2;
        biases[0] = bias;
        sampling->logit_bias = biases;
        sampling->n_logit_bias = 1;
    }
    return (struct peer_request){.handle = (uint32_t)i + 1,
                                 .prompt = prompt_ids,
                                 .n_prompt = N_PROMPT,
                                 .max_tokens = N,
                                 .ignore_eos = true,
                                 .logprobs = 3,
                                 .sampling = sampling};
}

static void check_near(const struct peer_stream *got, const struct peer_stream *want)
{
    assert_false(got->refused || want->refused);
    assert_int_equal(got->n_ids, want->n_ids);
    assert_int_equal(got->n_logprobs, got->n_ids);
    for (int i = 0; i < want->n_ids; i++)
        if (got->ids[i] != want->ids[i] ||
            fabsf(got->logprobs[i] - want->logprobs[i]) > 2 * (float)KERN_TOP_LSE_ERROR)
            fail_msg("token %d: %d %.9g, of the row %d %.9g", i, got->ids[i], (double)got->logprobs[i],
                     want->ids[i], (double)want->logprobs[i]);
    assert_string_equal(got->answer, want->answer);
    assert_string_equal(got->reasoning, want->reasoning);
}

static void submit_all(struct peer *peer)
{
    static const int32_t given[] = {5, 900, 17, 3, 1023, 40};
    Qwe__Terms terms = QWE__TERMS__INIT;
    const struct peer_request score = {.handle = SCORE,
                                       .prompt = prompt_ids,
                                       .n_prompt = N_PROMPT,
                                       .continuation = given,
                                       .n_continuation = ARRAY_SIZE(given),
                                       .terms = &terms};

    terms.has_score = terms.score = true;
    for (int i = 0; i < N_WISHES; i++) {
        Qwp__Sampling sampling;
        Qwp__LogitBias bias, *biases[1];
        const struct peer_request q = wish_of(i, &sampling, &bias, biases);

        peer_submit(peer, &q);
    }
    peer_submit(peer, &score);
}

static void test_engine_says_the_same_of_the_best_as_of_rows(void **state)
{
    struct peer *tops = start(false), *rows = start(true);

    submit_all(tops);
    submit_all(rows);
    for (uint32_t handle = 1; handle <= SCORE; handle++)
        check_near(peer_finish(tops, handle), peer_finish(rows, handle));
    assert_in_range(tops->e.n_fetched, 1, N); /* of the third, where it needed them */
    assert_int_equal(rows->e.n_fetched, 0);
    peer_free(tops);
    peer_free(rows);
}

static void test_engine_step_that_fetches_a_row_allocates_nothing(void **state)
{
    struct peer *peer = start(false);

    submit_all(peer);
    while (!peer_stream(peer, 3)->n_ids)
        assert_int_equal(peer_turn(peer), 0);
    peer->e.n_fetched = 0;
    watch.n_mallocs = 0;
    watch.count_mallocs = true;
    for (int i = 0; i < 3; i++)
        assert_int_equal(engine_step(&peer->e), 0);
    watch.count_mallocs = false;
    assert_int_equal(watch.n_mallocs, 0);
    assert_in_range(peer->e.n_fetched, 1, 3);
    peer_free(peer);
}

/* A backend whose best is not its rows' best is found before anybody is served. */
static void test_engine_start_compares_the_best_with_a_row(void **state)
{
    struct peer *peer = peer_new();
    Qwe__Start load = QWE__START__INIT;

    whole_rows = false;
    load.model_path = test_model;
    load.backend = (char *)test_backend;
    load.has_context = load.has_slots = load.has_threads = true;
    load.context = CONTEXT;
    load.slots = SLOTS;
    load.threads = 1;
    watch.poison_row = 0;
    peer_put(peer, 0, MSG_E_START, &load.base, -1);
    for (int i = 0; !peer->failed && i < 10; i++)
        (void)peer_turn(peer);
    watch.poison_row = -1;
    assert_non_null(peer->failed);
    assert_int_equal(peer->failed->code, STATUS_NUMERICS);
    assert_non_null(strstr(peer->failed->text, "another best token than its row"));
    peer_free(peer);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_says_the_same_of_the_best_as_of_rows),
        cmocka_unit_test(test_engine_step_that_fetches_a_row_allocates_nothing),
        cmocka_unit_test(test_engine_start_compares_the_best_with_a_row),
    };

    if (argc < 3 || argc > 4)
        return 2;
    cmocka_set_test_filter(argv[3]); /* NULL: all */
    snprintf(test_model, sizeof(test_model), "%s/models/d1-k256/d1-k256-Q4_K_M.gguf", argv[1]);
    test_backend = argv[2];
    for (int i = 0; i < N_PROMPT; i++)
        prompt_ids[i] = 3 + i * 7 % 900;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
