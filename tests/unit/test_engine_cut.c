/* test_engine_cut.c - that nothing shows how a prompt was cut into pieces; run once per backend.
 *
 * A backend may read few rows in another way than many (cut_tok of kernels.h), with other bits.  Read whole,
 * in small pieces, behind what another prompt has left in the cache, beside others' rows, and again by the
 * next engine, a request must get the same logprobs none the less, bit for bit. */
#include "engine_peer.h"

#include <stdio.h>
#include <stdlib.h>

static char test_model[4096];
static const char *test_backend;

/* N_PROMPT is no multiple of 64, and none of the pieces of 64 that it is cut into may be its end alone. */
enum { CONTEXT = 512, SLOTS = 4, N_PROMPT = 200, N_ANSWER = 22, WHOLE = 512, SMALL = 70 };

static int32_t prompt_ids[N_PROMPT];
static struct peer_stream written; /* what the request says alone, read whole */

static struct peer *start(void)
{
    Qwe__Start start = QWE__START__INIT;

    start.model_path = test_model;
    start.backend = (char *)test_backend;
    start.kv_type = "f16"; /* f32 pages are read in one way only */
    start.has_context = start.has_slots = start.has_threads = start.has_cache_mib = 1;
    start.context = CONTEXT;
    start.slots = SLOTS;
    start.threads = 1;
    start.cache_mib = 16;
    return peer_start_with(&start);
}

static struct peer_request request(uint32_t handle, int n_prompt)
{
    return (struct peer_request){.handle = handle,
                                 .prompt = prompt_ids,
                                 .n_prompt = n_prompt,
                                 .max_tokens = N_ANSWER,
                                 .uid = 1000,
                                 .logprobs = 1,
                                 .no_cache = true,
                                 .ignore_eos = true};
}

/* Turns until the stream is over, with a budget of n_tok for each. */
static struct peer_stream *finish(struct peer *peer, uint32_t handle, int n_tok)
{
    struct peer_stream *s = peer_stream(peer, handle);

    while (!s->finished && !s->refused) {
        peer->e.sched.cost = (struct sched_cost){.step_ns = 1, .tok_ns = 250e6 / n_tok};
        assert_int_equal(peer_turn(peer), 0);
    }
    assert_false(s->refused);
    return s;
}

/* n: how many of its last tokens were made here. */
static void check_same(const struct peer_stream *got, int n)
{
    assert_int_equal(got->n_ids, n);
    assert_int_equal(got->n_logprobs, n);
    for (int i = 0, k = N_ANSWER - n; i < n; i++, k++)
        if (got->ids[i] != written.ids[k] || got->logprobs[i] != written.logprobs[k])
            fail_msg("token %d: %d %.9g, should be %d %.9g", k, got->ids[i], (double)got->logprobs[i],
                     written.ids[k], (double)written.logprobs[k]);
}

static int write_it(void **state)
{
    struct peer *peer = start();
    const struct peer_request q = request(1, N_PROMPT);

    peer_submit(peer, &q);
    written = *finish(peer, 1, WHOLE);
    peer_free(peer);
    return written.n_ids != N_ANSWER;
}

static void test_cut_into_small_pieces_shows_nowhere(void **state)
{
    struct peer *peer = start();
    const struct peer_request q = request(1, N_PROMPT);

    peer_submit(peer, &q);
    check_same(finish(peer, 1, SMALL), N_ANSWER);
    if (peer->e.kern->cut_tok > 1) /* 64, 64, 72, then all tokens but the last one that is drawn */
        assert_int_equal(peer->e.n_steps, 3 + N_ANSWER - 1);
    peer_free(peer);
}

/* Of 136 tokens the state is kept at 135, or where a piece may end and another one is left. */
static void test_cut_behind_a_hit_shows_nowhere(void **state)
{
    struct peer *peer = start();
    struct peer_request first = request(1, 136), q = request(2, N_PROMPT);
    const struct peer_stream *got;

    first.no_cache = q.no_cache = false;
    first.max_tokens = 1;
    peer_submit(peer, &first);
    finish(peer, 1, WHOLE);
    peer_submit(peer, &q);
    got = finish(peer, 2, WHOLE);
    assert_int_equal(got->cached_tokens, peer->e.kern->cut_tok > 1 ? 64 : 135);
    check_same(got, N_ANSWER);
    peer_free(peer);
}

/* A stream and two prompts in one step: one too short for the way of the other. */
static void test_cut_beside_others_shows_nowhere(void **state)
{
    struct peer *peer = start();
    const struct peer_request beside = request(1, 5), q = request(2, N_PROMPT), brief = request(3, 20);

    peer_submit(peer, &beside);
    while (!peer_stream(peer, 1)->n_ids)
        assert_int_equal(peer_turn(peer), 0);
    peer_submit(peer, &q);
    peer_submit(peer, &brief);
    check_same(finish(peer, 2, WHOLE), N_ANSWER);
    peer_free(peer);
}

static void test_cut_of_a_replay_shows_nowhere(void **state)
{
    enum { N_FORCED = 20 }; /* more than are read again at a time */
    struct peer *peer = start();
    struct peer_request q = request(1, N_PROMPT);

    q.forced = written.ids;
    q.n_forced = N_FORCED;
    peer_submit(peer, &q);
    check_same(finish(peer, 1, WHOLE), N_ANSWER - N_FORCED);
    peer_free(peer);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_into_small_pieces_shows_nowhere),
        cmocka_unit_test(test_cut_behind_a_hit_shows_nowhere),
        cmocka_unit_test(test_cut_beside_others_shows_nowhere),
        cmocka_unit_test(test_cut_of_a_replay_shows_nowhere),
    };

    if (argc != 3)
        return 2;
    snprintf(test_model, sizeof(test_model), "%s/models/d1-k256/d1-k256-Q4_K_M.gguf", argv[1]);
    test_backend = argv[2];
    for (int i = 0; i < N_PROMPT; i++)
        prompt_ids[i] = 100 + i * 37 % 700;
    return cmocka_run_group_tests(tests, write_it, NULL);
}
