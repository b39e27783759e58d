/* test_engine_score.c - scores of given continuations, on the golden model; run once per backend.
 *
 * What must hold whatever the model says: scores of what the model wrote are the logprobs it wrote it with,
 * bit for bit, however the sequence was cut, beside whatever neighbours, and after a death of the engine. */
#include "engine_peer.h"
#include "engine_watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static char test_model[4096];
static const char *test_backend;

enum { CONTEXT = 512, SLOTS = 4, N_PROMPT = 40, N_GIVEN = 60 };

/* hooks, put in the way by the linker */

/* requests */

static Qwe__Terms score_terms = {PROTOBUF_C_MESSAGE_INIT(&qwe__terms__descriptor), .has_score = true,
                                 .score = true};
static int32_t prompt_ids[N_PROMPT];

static struct peer *start(uint32_t slots)
{
    for (int i = 0; i < N_PROMPT; i++)
        prompt_ids[i] = 3 + i * 7 % 900;
    return peer_start(test_model, test_backend, CONTEXT, slots);
}

static struct peer_request score_of(uint32_t handle, const int32_t *ids, int n)
{
    return (struct peer_request){.handle = handle,
                                 .prompt = prompt_ids,
                                 .n_prompt = N_PROMPT,
                                 .continuation = ids,
                                 .n_continuation = n,
                                 .terms = &score_terms};
}

/* What the model writes by itself, with its logprobs. */
static const struct peer_stream *write_some(struct peer *peer, uint32_t handle)
{
    const struct peer_request q = {.handle = handle,
                                   .prompt = prompt_ids,
                                   .n_prompt = N_PROMPT,
                                   .max_tokens = N_GIVEN,
                                   .ignore_eos = true,
                                   .logprobs = 1};

    peer_submit(peer, &q);
    return peer_finish(peer, handle);
}

static void check_same(const struct peer_stream *score, const struct peer_stream *written)
{
    assert_false(score->refused);
    assert_int_equal(score->prompt_tokens, N_PROMPT);
    assert_int_equal(score->finish, QWP__FINISH__FINISH_LENGTH);
    assert_int_equal(score->n_ids, written->n_ids);
    assert_int_equal(score->n_logprobs, written->n_logprobs);
    assert_int_equal(score->answer_tokens, written->n_ids);
    for (int i = 0; i < written->n_ids; i++)
        if (score->ids[i] != written->ids[i] || score->logprobs[i] != written->logprobs[i])
            fail_msg("token %d: %d %.9g, written %d %.9g", i, score->ids[i], (double)score->logprobs[i],
                     written->ids[i], (double)written->logprobs[i]);
    assert_string_equal(score->answer, "");
    assert_string_equal(score->reasoning, "");
}

static void test_engine_score_is_the_logprob_it_was_written_with(void **state)
{
    for (uint32_t slots = 1; slots <= SLOTS; slots += 3) {
        struct peer *peer = start(slots);
        const struct peer_stream *written = write_some(peer, 1);
        const struct peer_request q = score_of(2, written->ids, written->n_ids);

        watch.rows_max = 0;
        peer_submit(peer, &q);
        check_same(peer_finish(peer, 2), written);
        assert_int_equal(watch.rows_max, slots); /* it takes what there is */
        peer_free(peer);
    }
}

static void test_engine_score_of_one_token(void **state)
{
    struct peer *peer = start(SLOTS);
    const struct peer_stream *written = write_some(peer, 1), *score;
    const struct peer_request q = score_of(2, written->ids, 1);

    peer_submit(peer, &q);
    score = peer_finish(peer, 2);
    assert_int_equal(score->n_logprobs, 1);
    assert_true(score->logprobs[0] == written->logprobs[0]);
    peer_free(peer);
}

static void test_engine_score_ignores_its_neighbours(void **state)
{
    struct peer *peer = start(SLOTS);
    const struct peer_stream *written = write_some(peer, 1), *beside;
    const struct peer_request a = score_of(2, written->ids, N_GIVEN), b = score_of(3, written->ids, N_GIVEN);
    const struct peer_request long_one = {
        .handle = 4, .prompt = prompt_ids, .n_prompt = N_PROMPT, .max_tokens = 100, .ignore_eos = true};

    watch.rows_max = 0;
    peer_submit(peer, &long_one);
    peer_submit(peer, &a);
    peer_submit(peer, &b);
    check_same(peer_finish(peer, 2), written);
    check_same(peer_finish(peer, 3), written);
    beside = peer_finish(peer, 4);
    assert_int_equal(beside->n_ids, 100);
    assert_memory_equal(beside->ids, written->ids, N_GIVEN * sizeof(*written->ids));
    assert_in_range(watch.rows_max, 3, SLOTS);
    peer_free(peer);
}

static void test_engine_score_goes_on_after_a_death(void **state)
{
    struct peer *peer = start(SLOTS);
    const struct peer_stream *written = write_some(peer, 1), *rest;

    for (int n = 1; n < N_GIVEN; n += 19) {
        struct peer_request q = score_of((uint32_t)n + 1, written->ids, N_GIVEN);

        q.forced = written->ids;
        q.n_forced = n;
        peer_submit(peer, &q);
        rest = peer_finish(peer, q.handle);
        assert_int_equal(rest->n_logprobs, N_GIVEN - n);
        assert_int_equal(rest->ids[0], written->ids[n]);
        assert_memory_equal(rest->logprobs, written->logprobs + n, (size_t)(N_GIVEN - n) * sizeof(float));
        assert_int_equal(rest->answer_tokens, N_GIVEN);
    }
    peer_free(peer);
}

/* Whatever of prompt and continuation the cache holds: every token of the continuation gets its row. */
static void test_engine_score_is_the_same_from_the_cache(void **state)
{
    struct peer *peer = start(SLOTS);
    const struct peer_stream *written = write_some(peer, 1), *score;
    int32_t longer[N_PROMPT + N_GIVEN];
    struct peer_request q = score_of(2, written->ids, N_GIVEN);

    for (uint32_t handle = 2; handle < 5; handle++) {
        q.handle = handle;
        peer_submit(peer, &q);
        score = peer_finish(peer, handle);
        check_same(score, written);
        assert_true(score->cached_tokens < N_PROMPT);
    }
    assert_true(score->cached_tokens > 0);
    memcpy(longer, prompt_ids, sizeof(prompt_ids));
    memcpy(longer + N_PROMPT, written->ids, N_GIVEN * sizeof(*longer));
    q = (struct peer_request){
        .handle = 5, .prompt = longer, .n_prompt = N_PROMPT + N_GIVEN - 5, .max_tokens = 1};
    peer_submit(peer, &q); /* leaves a checkpoint inside of what is scored next */
    (void)peer_finish(peer, 5);
    q = score_of(6, written->ids, N_GIVEN);
    peer_submit(peer, &q);
    check_same(peer_finish(peer, 6), written);
    peer_free(peer);
}

static void test_engine_score_step_allocates_nothing(void **state)
{
    struct peer *peer = start(SLOTS);
    const struct peer_stream *written = write_some(peer, 1);
    const struct peer_request q = score_of(2, written->ids, N_GIVEN);

    peer_submit(peer, &q);
    assert_int_equal(peer_turn(peer), 0); /* takes the frame, which allocates */
    assert_true(engine_has_work(&peer->e));
    watch.n_mallocs = 0;
    watch.count_mallocs = true;
    while (engine_has_work(&peer->e))
        assert_int_equal(engine_step(&peer->e), 0);
    watch.count_mallocs = false;
    assert_int_equal(watch.n_mallocs, 0);
    peer_free(peer);
}

static void check_refused(struct peer *peer, const struct peer_request *q, int code, const char *words)
{
    const struct peer_stream *s;

    peer_submit(peer, q);
    s = peer_finish(peer, q->handle);
    if (!s->refused || s->code != (uint32_t)code || !strstr(s->text, words))
        fail_msg("%u '%s', expected %d '%s'", s->code, s->text, code, words);
    assert_false(engine_has_work(&peer->e));
}

static void test_engine_score_refuses_what_cannot_be_scored(void **state)
{
    struct peer *peer = start(SLOTS);
    int32_t ids[CONTEXT] = {5}, *many = calloc(65537, sizeof(*many));
    struct peer_request q = score_of(1, NULL, 0);

    check_refused(peer, &q, STATUS_INVALID, "a Score needs a continuation");
    q = score_of(2, ids, 3);
    q.terms = NULL;
    check_refused(peer, &q, STATUS_INVALID, "only the prompt of a Score has a continuation");
    q = score_of(3, ids, 3);
    q.continuation_text = "x";
    check_refused(peer, &q, STATUS_INVALID, "continuation and continuation_ids");
    q = score_of(4, NULL, 0);
    q.continuation_text = "";
    check_refused(peer, &q, STATUS_INVALID, "the continuation is empty");
    q = score_of(5, ids, CONTEXT - N_PROMPT + 1);
    check_refused(peer, &q, STATUS_TOO_LONG, "the prompt has 40 tokens");
    assert_string_equal(peer_stream(peer, 5)->details, "prompt_tokens=40 context=512 max_tokens=473");
    q = score_of(6, many, 65537);
    check_refused(peer, &q, STATUS_TOO_LONG, "the continuation has 65537 tokens, at most 65536");
    ids[1] = 1024;
    q = score_of(7, ids, 3);
    check_refused(peer, &q, STATUS_INVALID, "continuation_ids[1] is 1024, the vocabulary has 1024 tokens");
    ids[1] = 0;
    q = score_of(8, ids, 3);
    q.forced = ids;
    q.n_forced = 3;
    check_refused(peer, &q, STATUS_INTERNAL, "3 forced tokens");
    watch.poison_row = 0;
    q = score_of(9, ids, 3);
    check_refused(peer, &q, STATUS_NUMERICS, "the model gave no usable number for token 40");
    watch.poison_row = -1;
    q = score_of(10, ids, CONTEXT - N_PROMPT); /* exactly full */
    peer_submit(peer, &q);
    assert_int_equal(peer_finish(peer, 10)->n_logprobs, CONTEXT - N_PROMPT);
    free(many);
    peer_free(peer);
}

static void test_engine_score_takes_text_and_messages(void **state)
{
    struct peer *peer = start(SLOTS);
    struct peer_request q = {.handle = 1,
                             .user = "Which letter?",
                             .no_thinking = true,
                             .continuation_text = "B <|im_end|>",
                             .terms = &score_terms};
    const struct peer_stream *s;
    double sum = 0;

    peer_submit(peer, &q);
    s = peer_finish(peer, 1);
    assert_false(s->refused);
    assert_true(s->n_ids > 3); /* what looks like a control token is text */
    for (int i = 0; i < s->n_logprobs; i++)
        sum += (double)s->logprobs[i];
    assert_true(sum < 0 && sum > -1000);
    peer_free(peer);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_score_is_the_logprob_it_was_written_with),
        cmocka_unit_test(test_engine_score_of_one_token),
        cmocka_unit_test(test_engine_score_ignores_its_neighbours),
        cmocka_unit_test(test_engine_score_goes_on_after_a_death),
        cmocka_unit_test(test_engine_score_is_the_same_from_the_cache),
        cmocka_unit_test(test_engine_score_step_allocates_nothing),
        cmocka_unit_test(test_engine_score_refuses_what_cannot_be_scored),
        cmocka_unit_test(test_engine_score_takes_text_and_messages),
    };

    if (argc != 3)
        return 2;
    snprintf(test_model, sizeof(test_model), "%s/models/d1-k256/d1-k256-Q4_K_M.gguf", argv[1]);
    test_backend = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
