/* test_engine.c - requests through the engine, turn by turn, on the golden model; run once per backend.
 *
 * What must hold whatever the model says: greedy ids equal the reference up to the first near tie;
 * neighbours, the cut of the prompt, a pause and a death of the engine change nothing; a step allocates
 * nothing. */
#include "engine_peer.h"
#include "engine_watch.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/model/detok.h"
#include "daemon/util/clock.h"

static char test_model[4096], golden_model[4096];
static const char *test_backend;

enum { N_PROMPTS = 7, N_GREEDY = 48, CONTEXT = 1024, SLOTS = 4 };
static struct {
    int32_t ids[1024], greedy[N_GREEDY];
    double margin[N_GREEDY];
    int n;
} golden[N_PROMPTS];
static const double near_tie = 4e-3; /* margins below it may go either way: two logits, each within 2e-3 */

/* hooks, put in the way by the linker */

/* golden data */

static void load_prompt(const json_t *o, int i)
{
    const json_t *ids = json_object_get(o, "ids"), *greedy = json_object_get(o, "greedy");
    const json_t *margin = json_object_get(o, "greedy_margin");

    golden[i].n = (int)json_array_size(ids);
    for (int k = 0; k < golden[i].n; k++)
        golden[i].ids[k] = (int32_t)json_integer_value(json_array_get(ids, (size_t)k));
    for (int k = 0; k < N_GREEDY; k++) {
        golden[i].greedy[k] = (int32_t)json_integer_value(json_array_get(greedy, (size_t)k));
        golden[i].margin[k] = json_number_value(json_array_get(margin, (size_t)k));
    }
}

/* Float arithmetic is within 2e-3 of the reference, so ref is held to it on the quantised model, whose
 * weights it takes as they are.  The cpu backend rounds activations to 8 bits there, and a random model's
 * margins are all within that: it is held to the float model's. */
static void load_golden(const char *dir)
{
    const char *name = strcmp(test_backend, "ref") ? "d2-f32/d2-f32-F32" : "d1-k256/d1-k256-Q4_K_M";
    char path[4096];
    json_t *o;

    snprintf(test_model, sizeof(test_model), "%s/models/d1-k256/d1-k256-Q4_K_M.gguf", dir);
    snprintf(golden_model, sizeof(golden_model), "%s/models/%s.gguf", dir, name);
    snprintf(path, sizeof(path), "%s/models/%s.json", dir, name);
    o = json_load_file(path, 0, NULL);
    if (!o)
        exit(2);
    for (int i = 0; i < N_PROMPTS; i++)
        load_prompt(json_array_get(json_object_get(o, "prompts"), (size_t)i), i);
    json_decref(o);
}

static struct peer_request golden_request(uint32_t handle, int prompt, int max_tokens)
{
    return (struct peer_request){.handle = handle,
                                 .prompt = golden[prompt].ids,
                                 .n_prompt = golden[prompt].n,
                                 .max_tokens = max_tokens,
                                 .ignore_eos = true};
}

static struct peer *start(void)
{
    return peer_start(test_model, test_backend, CONTEXT, SLOTS);
}

/* What the request says on an engine of its own. */
static struct peer_stream *run_alone(const struct peer_request *q)
{
    struct peer *peer = start();
    struct peer_stream *copy = malloc(sizeof(*copy));

    assert_non_null(copy);
    peer_submit(peer, q);
    *copy = *peer_finish(peer, q->handle);
    copy->logprob_message = NULL;
    copy->logprob = NULL;
    copy->reply = NULL;
    peer_free(peer);
    return copy;
}

static void check_same(const struct peer_stream *got, const struct peer_stream *want)
{
    assert_int_equal(got->refused, want->refused);
    assert_int_equal(got->n_ids, want->n_ids);
    for (int i = 0; i < got->n_ids; i++)
        if (got->ids[i] != want->ids[i])
            fail_msg("request %u: id %d is %d, alone %d", got->handle, i, got->ids[i], want->ids[i]);
    assert_string_equal(got->reasoning, want->reasoning);
    assert_string_equal(got->answer, want->answer);
    assert_int_equal(got->finish, want->finish);
    assert_int_equal(got->answer_tokens, want->answer_tokens);
    assert_int_equal(got->reasoning_tokens, want->reasoning_tokens);
}

/* A piece is one token as long as this holds; the engine measures, so before each turn. */
static void make_pieces_small(struct peer *peer)
{
    peer->e.sched.cost = (struct sched_cost){.step_ns = 1, .tok_ns = 1e15};
}

/* tests */

static void test_engine_ready_says_what_was_loaded(void **state)
{
    struct peer *peer = start();
    const Qwe__Ready *ready = peer->ready;

    assert_string_equal(ready->backend, test_backend);
    assert_string_equal(ready->kv_type, "f32");
    assert_int_equal(ready->context, CONTEXT);
    assert_int_equal(ready->slots, SLOTS);
    assert_int_equal(ready->threads, 1);
    assert_true(ready->weights_bytes > 1000000 && ready->state_bytes > 100000);
    assert_int_equal(ready->n_warnings, ready->weights_locked ? 0 : 1);
    assert_string_equal(ready->model->architecture, "qwen35");
    assert_string_equal(ready->model->file, "d1-k256-Q4_K_M.gguf");
    assert_int_equal(ready->model->n_vocab, 1024);
    assert_int_equal(ready->model->digest.len, 32);
    assert_true(strlen(ready->model->numerics_id) > 0);
    assert_true(peer->n_loading > 0);
    assert_true(peer->e.sched.cost.step_ns > 0 && peer->e.sched.cost.tok_ns > 0); /* the self-test measured */
    peer_free(peer);
}

/* A prompt of more than one step. */
static void test_engine_beat_says_how_far_a_prompt_is_read(void **state)
{
    struct peer *peer = peer_start(test_model, test_backend, CONTEXT, SLOTS);
    int32_t ids[700];
    const struct peer_request q = {
        .handle = 9, .prompt = ids, .n_prompt = (int)ARRAY_SIZE(ids), .max_tokens = 1};

    for (int i = 0; i < (int)ARRAY_SIZE(ids); i++)
        ids[i] = 300 + i % 7;
    peer->e.sched.cost = (struct sched_cost){}; /* as much as is read before anything was measured */
    peer_submit(peer, &q);
    while (!peer->n_beats)
        peer_turn(peer);
    assert_int_equal(peer->n_reading, 2);
    assert_int_equal(peer->reading[0], 9);
    assert_in_range(peer->reading[1], 1, ARRAY_SIZE(ids) - 1);
    peer->n_beats = 0;
    peer->e.beat_ns = 0;
    peer_finish(peer, 9);
    assert_true(peer->n_beats > 0);
    peer->e.beat_ns = 0; /* nothing is left to read at the last one */
    peer_submit(peer, &(struct peer_request){.handle = 10, .prompt = ids, .n_prompt = 5, .max_tokens = 1});
    peer_finish(peer, 10);
    assert_int_equal(peer->n_reading, 0);
    peer_free(peer);
}

static void test_engine_greedy_equals_golden(void **state)
{
    struct peer *peer = peer_start(golden_model, test_backend, CONTEXT, SLOTS);
    const uint64_t t0 = clock_now_ns();
    int n_checked = 0;

    for (int i = 0; i < N_PROMPTS; i++) {
        const struct peer_request q = golden_request((uint32_t)i + 1, i, N_GREEDY);
        const struct peer_stream *s;

        peer_submit(peer, &q);
        s = peer_finish(peer, q.handle);
        assert_true(s->started && s->finished);
        assert_int_equal(s->prompt_tokens, golden[i].n);
        assert_int_equal(s->n_ids, N_GREEDY);
        assert_int_equal(s->finish, QWP__FINISH__FINISH_LENGTH);
        assert_int_equal(s->answer_tokens, N_GREEDY);
        /* the reference chooses unused tokens as well, which the engine never does: it ends there */
        for (int k = 0; k < N_GREEDY && golden[i].margin[k] >= near_tie; k++, n_checked++) {
            if (peer->e.banned[golden[i].greedy[k]])
                break;
            if (s->ids[k] != golden[i].greedy[k])
                fail_msg("prompt %d: id %d is %d, should be %d (margin %g)", i, k, s->ids[k],
                         golden[i].greedy[k], golden[i].margin[k]);
        }
    }
    /* one at the first step, then at most one a second, and one for what each leaves in the cache */
    assert_in_range(peer->n_beats, 1, 1 + N_PROMPTS + (clock_now_ns() - t0) / 1000000000);
    print_message("%d of %d greedy ids before a near tie or an unused token, all equal\n", n_checked,
                  N_PROMPTS * N_GREEDY);
    assert_true(n_checked >= 140);
    peer_free(peer);
}

static void test_engine_answer_is_the_text_of_its_ids(void **state)
{
    const struct peer_request q = golden_request(1, 3, 40);
    struct peer *peer = start();
    char want[PEER_TEXT_MAX];
    const struct peer_stream *s;
    struct detok d;
    size_t n = 0;

    peer_submit(peer, &q);
    s = peer_finish(peer, 1);
    detok_init(&d, peer->e.tokenizer);
    for (int i = 0; i < s->n_ids; i++)
        n += detok_push(&d, s->ids[i], want + n);
    want[n += detok_flush(&d, want + n)] = 0;
    assert_string_equal(s->answer, want);
    assert_string_equal(s->reasoning, "");
    peer_free(peer);
}

static Qwp__Sampling seeded(uint64_t seed)
{
    Qwp__Sampling p = QWP__SAMPLING__INIT;

    p.has_temperature = p.has_seed = p.has_top_k = 1;
    p.temperature = 1.5f;
    p.top_k = 200;
    p.seed = seed;
    return p;
}

/* What a request leaves out is the file's recommendation, where there is one; what it names wins. */
static void test_engine_takes_the_sampling_that_the_file_recommends(void **state)
{
    Qwp__Sampling none = QWP__SAMPLING__INIT, greedy = QWP__SAMPLING__INIT, hot = seeded(3);
    struct peer_request q = golden_request(9, 1, 24);
    struct peer_stream *said[4];
    struct peer *peer = start();

    greedy.has_temperature = greedy.has_presence_penalty = 1;
    none.has_seed = 1;
    none.seed = 3;
    hot.has_presence_penalty = 1;
    for (int i = 0; i < 4;
         i++) { /* greedy by request; by the file; the request's heat over it; without a file's */
        q.sampling = i == 0 ? &greedy : i == 1 ? &none : &hot;
        peer->e.model->config.sampling = i == 1 || i == 2 ? (struct config_sampling){0, -1, -1, -1, -1}
                                                          : (struct config_sampling){-1, -1, -1, -1, -1};
        q.handle = (uint32_t)i + 1;
        peer_submit(peer, &q);
        said[i] = peer_finish(peer, q.handle);
    }
    check_same(said[1], said[0]);
    check_same(said[2], said[3]);
    assert_int_not_equal(memcmp(said[2]->ids, said[0]->ids, sizeof(int32_t) * 24), 0);
    peer_free(peer);
}

static void join(char *to, const char *a, const char *b)
{
    assert_true(strlen(a) + strlen(b) < PEER_TEXT_MAX);
    strcpy(stpcpy(to, a), b);
}

/* An engine dies after k tokens, or is asked for the slot; the next one, or the same one under another
 * handle, is given them as forced.  What both said, put together, is what is said when nothing happens. */
static void check_replay(const struct peer_request *whole, const struct peer_stream *want, int k,
                         bool preempted)
{
    const Qwe__Preempt preempt = QWE__PREEMPT__INIT;
    struct peer *first = start(), *second = preempted ? first : start();
    struct peer_request q = *whole;
    struct peer_stream *a, *b, *sum = calloc(1, sizeof(*sum));

    assert_non_null(sum);
    peer_submit(first, whole);
    a = peer_stream(first, whole->handle);
    while (a->n_ids < k)
        assert_int_equal(peer_turn(first), 0);
    if (preempted) {
        peer_put(first, whole->handle, MSG_E_PREEMPT, &preempt.base, -1);
        assert_int_equal(peer_turn(first), 0);
        assert_false(engine_has_work(&first->e));
        assert_int_equal(a->n_ids, k);
        q.handle++;
    }
    q.forced = a->ids;
    q.n_forced = k;
    peer_submit(second, &q);
    b = peer_finish(second, q.handle);
    *sum = *b;
    memcpy(sum->ids, a->ids, sizeof(*a->ids) * (size_t)k);
    memcpy(sum->ids + k, b->ids, sizeof(*b->ids) * (size_t)b->n_ids);
    sum->n_ids = k + b->n_ids;
    join(sum->answer, a->answer, b->answer);
    join(sum->reasoning, a->reasoning, b->reasoning);
    check_same(sum, want);
    free(sum);
    peer_free(first);
    if (!preempted)
        peer_free(second);
}

static void test_engine_replay_continues_where_the_last_engine_died(void **state)
{
    static const int deaths[] = {1, 2, 13, 30, 39};
    const Qwp__Sampling sampling = seeded(42);
    struct peer_request q = golden_request(9, 2, 40);

    for (int seed = 0; seed < 2; seed++) {
        struct peer_stream *want;

        q.sampling = seed ? &sampling : NULL;
        want = run_alone(&q);
        for (size_t i = 0; i < ARRAY_SIZE(deaths); i++)
            check_replay(&q, want, deaths[i], false);
        check_replay(&q, want, deaths[2], true);
        free(want);
    }
}

/* The replay of a chat: the forced ids leave the text pipeline in the middle of the reasoning, in the gap,
 * behind it. */
static void test_engine_replay_keeps_the_channel(void **state)
{
    Qwp__LogitBias close = QWP__LOGIT_BIAS__INIT, *biases[] = {&close};
    Qwp__Sampling sampling = seeded(3);
    struct peer_request q = {
        .handle = 5, .user = "Hello", .max_tokens = 30, .sampling = &sampling, .ignore_eos = true};
    struct peer *peer = start();
    struct peer_stream *want;

    close.has_id = close.has_bias = 1;
    close.id = (uint32_t)tokenizer_find(peer->e.tokenizer, "</think>");
    close.bias = 7;
    sampling.logit_bias = biases;
    sampling.n_logit_bias = 1;
    peer_free(peer);
    want = run_alone(&q);
    assert_in_range(want->reasoning_tokens, 2, 28); /* the seed closes somewhere in the middle */
    assert_true(strlen(want->reasoning) > 0 && strlen(want->answer) > 0);
    for (int k = (int)want->reasoning_tokens - 1; k <= (int)want->reasoning_tokens + 2; k++)
        check_replay(&q, want, k, false);
    free(want);
}

static void test_engine_replay_of_a_whole_answer_only_finishes(void **state)
{
    struct peer_request q = golden_request(1, 1, 5);
    struct peer *peer = start();
    const struct peer_stream *s;

    q.forced = golden[1].greedy;
    q.n_forced = 5;
    peer_submit(peer, &q);
    s = peer_finish(peer, 1);
    assert_int_equal(s->n_ids, 0);
    assert_int_equal(s->finish, QWP__FINISH__FINISH_LENGTH);
    assert_int_equal(s->answer_tokens, 5);
    assert_string_equal(s->answer, "");
    assert_int_equal(peer->e.n_steps, 0);
    peer_free(peer);
}

/* Costs as given for the next turn: ten prompt tokens take as long as a step. */
static void test_engine_stream_goes_on_beside_a_long_prompt(void **state)
{
    const struct peer_request q = golden_request(1, 1, 300), next = golden_request(2, 6, 5);
    struct peer *peer = start();
    const struct seq *prompt;

    peer_submit(peer, &q);
    while (!peer_stream(peer, 1)->n_ids)
        assert_int_equal(peer_turn(peer), 0);
    peer_submit(peer, &next);
    for (int n_read = 0; !peer_stream(peer, 2)->n_ids && !peer_stream(peer, 1)->finished;) {
        const int n_ids = peer_stream(peer, 1)->n_ids;

        peer->e.sched.cost = (struct sched_cost){.step_ns = 10e6, .tok_ns = 1e6};
        assert_int_equal(peer_turn(peer), 0);
        prompt = peer->e.seqs[1];
        assert_int_equal(peer_stream(peer, 1)->n_ids, n_ids + 1);
        assert_in_range(prompt->n_read - n_read, 1, 10);
        n_read = prompt->n_read;
    }
    assert_int_equal(peer_stream(peer, 2)->n_ids, 1);
    peer_free(peer);
}

/* Four at once, greedy and sampled, started at different moments, prompts cut into other pieces than alone.
 */
static void test_engine_neighbours_change_nothing(void **state)
{
    static const int prompts[] = {2, 0, 4, 3};
    Qwp__Sampling sampling[4];
    struct peer_stream *want[4];
    struct peer *peer = start();

    for (int i = 0; i < 4; i++) {
        struct peer_request q = golden_request((uint32_t)i + 1, prompts[i], 30 + i);

        sampling[i] = seeded((uint64_t)i);
        q.sampling = i % 2 ? &sampling[i] : NULL;
        want[i] = run_alone(&q);
        peer_submit(peer, &q);
        for (int k = 0; k < 3 + i; k++) {
            if (i == 2)
                make_pieces_small(peer);
            assert_int_equal(peer_turn(peer), 0);
        }
    }
    for (int i = 0; i < 4; i++) {
        check_same(peer_finish(peer, (uint32_t)i + 1), want[i]);
        free(want[i]);
    }
    peer_free(peer);
}

static void test_engine_stream_goes_on_while_a_prompt_is_read(void **state)
{
    const struct peer_request running = golden_request(1, 0, 100), prompt = golden_request(2, 5, 4);
    struct peer *peer = start();

    peer_submit(peer, &running);
    peer_turn(peer);
    peer_submit(peer, &prompt);
    for (int i = 0; i < 50; i++) {
        const int before = peer_stream(peer, 1)->n_ids;

        make_pieces_small(peer);
        assert_int_equal(peer_turn(peer), 0);
        assert_int_equal(peer_stream(peer, 1)->n_ids, before + 1);
        assert_int_equal(peer_stream(peer, 2)->n_ids, 0);
    }
    assert_true(peer_stream(peer, 2)->started);
    assert_true(peer_finish(peer, 2)->finished);
    peer_free(peer);
}

static void test_engine_cancel_takes_effect_while_the_prompt_is_read(void **state)
{
    const struct peer_request q = golden_request(1, 6, 40), next = golden_request(2, 1, 10);
    const Qwe__CancelSeq cancel = QWE__CANCEL_SEQ__INIT;
    struct peer_stream *want = run_alone(&next);
    struct peer *peer = start();

    peer_submit(peer, &q);
    for (int i = 0; i < 5; i++) {
        make_pieces_small(peer);
        assert_int_equal(peer_turn(peer), 0);
    }
    assert_in_range(peer->e.seqs[0]->n_read, 1, 10);
    peer_put(peer, 1, MSG_E_CANCEL, &cancel.base, -1);
    assert_int_equal(peer_turn(peer), 0);
    assert_null(peer->e.seqs[0]);
    assert_false(engine_has_work(&peer->e));
    peer_submit(peer, &next); /* the slot is clean again */
    check_same(peer_finish(peer, 2), want);
    assert_false(peer_stream(peer, 1)->finished);
    assert_int_equal(peer_stream(peer, 1)->n_emits, 0);
    peer_put(peer, 1, MSG_E_CANCEL, &cancel.base, -1); /* of one that is gone: nothing */
    assert_int_equal(peer_turn(peer), 0);
    free(want);
    peer_free(peer);
}

static void test_engine_pause_stops_a_stream_and_resume_goes_on(void **state)
{
    const struct peer_request q = golden_request(1, 2, 30);
    const Qwe__Pause pause = QWE__PAUSE__INIT;
    const Qwe__Resume resume = QWE__RESUME__INIT;
    struct peer_stream *want = run_alone(&q);
    struct peer *peer = start();
    uint64_t steps;

    peer_submit(peer, &q);
    while (peer_stream(peer, 1)->n_ids < 7)
        assert_int_equal(peer_turn(peer), 0);
    peer_put(peer, 1, MSG_E_PAUSE, &pause.base, -1);
    assert_int_equal(peer_turn(peer), 0);
    assert_false(engine_has_work(&peer->e));
    steps = peer->e.n_steps;
    for (int i = 0; i < 5; i++)
        assert_int_equal(peer_turn(peer), 0);
    assert_int_equal(peer->e.n_steps, steps);
    peer_put(peer, 1, MSG_E_RESUME, &resume.base, -1);
    check_same(peer_finish(peer, 1), want);
    free(want);
    peer_free(peer);
}

static void test_engine_submit_paused_reads_nothing_until_resume(void **state)
{
    struct peer_request q = golden_request(1, 1, 3);
    const Qwe__Resume resume = QWE__RESUME__INIT;
    struct peer *peer = start();

    q.paused = true;
    peer_submit(peer, &q);
    for (int i = 0; i < 5; i++)
        assert_int_equal(peer_turn(peer), 0);
    assert_true(peer_stream(peer, 1)->started);
    assert_int_equal(peer->e.n_steps, 0);
    peer_put(peer, 1, MSG_E_RESUME, &resume.base, -1);
    assert_int_equal(peer_finish(peer, 1)->n_ids, 3);
    peer_free(peer);
}

static void test_engine_logprobs_are_a_distribution(void **state)
{
    struct peer_request q = golden_request(1, 1, 1);
    struct peer *peer = start();
    const Qwp__TokenLogprob *lp;
    double sum = 0;

    q.logprobs = 20 + 1;
    peer_submit(peer, &q);
    assert_int_equal(peer_finish(peer, 1)->n_ids, 1);
    lp = peer_stream(peer, 1)->logprob;
    assert_non_null(lp);
    assert_int_equal(lp->n_top, 20);
    assert_int_equal(lp->id, peer_stream(peer, 1)->ids[0]);
    assert_int_equal(lp->top[0]->id, lp->id); /* greedy */
    assert_true(lp->top[0]->logprob == lp->logprob);
    for (int i = 0; i < 20; i++) {
        const struct gguf_str text = tokenizer_bytes(peer->e.tokenizer, (int32_t)lp->top[i]->id);

        sum += exp((double)lp->top[i]->logprob);
        assert_true(!i || lp->top[i]->logprob <= lp->top[i - 1]->logprob);
        assert_int_equal(lp->top[i]->text.len, text.n);
        assert_memory_equal(lp->top[i]->text.data, text.s, text.n);
    }
    assert_true(sum > 0.02 && sum <= 1.0 + 1e-6);
    q.handle = 2;
    q.logprobs = 0;
    peer_submit(peer, &q);
    peer_finish(peer, 2);
    assert_null(peer_stream(peer, 2)->logprob);
    peer_free(peer);
}

static void test_engine_stop_string_ends_before_it(void **state)
{
    struct peer_request q = golden_request(1, 3, 40);
    struct peer_stream *whole = run_alone(&q);
    char stop[8] = {0}, *stops[] = {"never seen", stop};
    struct peer *peer = start();
    const struct peer_stream *s;
    const char *at;

    /* four bytes from the middle: of whatever the model says, cut at characters */
    at = whole->answer + strlen(whole->answer) / 2;
    while ((*at & 0xc0) == 0x80)
        at++;
    for (size_t n = 0; n < 4 || (at[n] & 0xc0) == 0x80; n++)
        stop[n] = at[n];
    q.stops = stops;
    q.n_stops = 2;
    peer_submit(peer, &q);
    s = peer_finish(peer, 1);
    assert_int_equal(s->finish, QWP__FINISH__FINISH_STOP);
    assert_string_equal(s->stop, stop);
    assert_in_range(s->n_ids, 1, 40);
    assert_int_equal(strlen(s->answer), strstr(whole->answer, stop) - whole->answer);
    assert_memory_equal(s->answer, whole->answer, strlen(s->answer));
    free(whole);
    peer_free(peer);
}

static Qwp__Sampling favour(uint32_t id, Qwp__LogitBias *bias, Qwp__LogitBias **biases)
{
    Qwp__Sampling p = QWP__SAMPLING__INIT;

    qwp__logit_bias__init(bias);
    bias->has_id = bias->has_bias = 1;
    bias->id = id;
    bias->bias = 100;
    biases[0] = bias;
    p.has_temperature = p.has_presence_penalty = 1;
    p.logit_bias = biases;
    p.n_logit_bias = 1;
    return p;
}

static void test_engine_stop_token_ends_unless_ignored(void **state)
{
    struct peer_request q = golden_request(1, 1, 6);
    Qwp__LogitBias bias, *biases[1];
    struct peer *peer = start();
    const uint32_t eos = (uint32_t)tokenizer_find(peer->e.tokenizer, "<|im_end|>");
    const Qwp__Sampling sampling = favour(eos, &bias, biases);
    const struct peer_stream *s;

    q.sampling = &sampling;
    peer_submit(peer, &q);
    s = peer_finish(peer, 1);
    assert_int_equal(s->finish, QWP__FINISH__FINISH_LENGTH);
    assert_int_equal(s->n_ids, 6);
    assert_string_equal(s->answer, ""); /* control tokens are never text */
    q.handle = 2;
    q.ignore_eos = false;
    peer_submit(peer, &q);
    s = peer_finish(peer, 2);
    assert_int_equal(s->finish, QWP__FINISH__FINISH_STOP);
    assert_string_equal(s->stop, "");
    assert_int_equal(s->n_ids, 1);
    assert_int_equal(s->ids[0], eos);
    peer_free(peer);
}

static void test_engine_thinking_decides_the_channel(void **state)
{
    Qwp__LogitBias bias, *biases[1];
    struct peer *peer = start();
    const Qwp__Sampling close =
        favour((uint32_t)tokenizer_find(peer->e.tokenizer, "</think>"), &bias, biases);
    struct peer_request q = {.handle = 1, .user = "Hello", .max_tokens = 12, .ignore_eos = true};
    const struct peer_stream *s;

    peer_submit(peer, &q); /* never closes */
    s = peer_finish(peer, 1);
    assert_int_equal(s->reasoning_tokens, 12);
    assert_int_equal(s->answer_tokens, 0);
    assert_string_equal(s->answer, "");
    assert_true(strlen(s->reasoning) > 0);

    q.handle = 2;
    q.no_thinking = true;
    peer_submit(peer, &q);
    s = peer_finish(peer, 2);
    assert_int_equal(s->reasoning_tokens, 0);
    assert_string_equal(s->reasoning, "");
    assert_true(strlen(s->answer) > 0);

    q = (struct peer_request){.handle = 3, .user = "Hello", .max_tokens = 3, .sampling = &close};
    peer_submit(peer, &q); /* closes at once; a second </think> is text */
    s = peer_finish(peer, 3);
    assert_int_equal(s->reasoning_tokens, 1);
    assert_int_equal(s->answer_tokens, 2);
    assert_string_equal(s->reasoning, "");
    assert_string_equal(s->answer, "</think></think>");
    peer_free(peer);
}

static void test_engine_refuses_a_request_whose_numbers_broke(void **state)
{
    const struct peer_request a = golden_request(1, 1, 20), b = golden_request(2, 0, 20);
    struct peer_stream *want = run_alone(&b);
    struct peer *peer = start();

    peer_submit(peer, &a);
    peer_submit(peer, &b);
    while (!peer_stream(peer, 2)->n_ids || !peer_stream(peer, 1)->n_ids)
        assert_int_equal(peer_turn(peer), 0);
    watch.poison_row = 0;
    assert_int_equal(peer_turn(peer), 0);
    watch.poison_row = -1;
    assert_true(peer_stream(peer, 1)->refused);
    assert_int_equal(peer_stream(peer, 1)->code, STATUS_NUMERICS);
    check_same(peer_finish(peer, 2), want);
    free(want);
    peer_free(peer);
}

static void test_engine_step_allocates_nothing(void **state)
{
    struct peer *peer = start();
    char *stops[] = {"no such text", "nor this"};

    for (uint32_t i = 0; i < SLOTS; i++) {
        static Qwp__Sampling sampling;
        struct peer_request q = golden_request(i + 1, (int)i + 1, 60);

        sampling = seeded(5);
        sampling.top_k = 0;
        q.sampling = i % 2 ? &sampling : NULL;
        q.logprobs = 21;
        q.stops = stops;
        q.n_stops = 2;
        peer_submit(peer, &q);
    }
    while (!peer_stream(peer, SLOTS)->started)
        assert_int_equal(peer_turn(peer), 0);
    watch.n_mallocs = 0;
    watch.count_mallocs = true;
    for (int i = 0; i < 40; i++)
        assert_int_equal(engine_turn(&peer->e, false), 0);
    watch.count_mallocs = false;
    assert_int_equal(watch.n_mallocs, 0);
    peer_turn(peer);
    assert_true(peer_stream(peer, 1)->n_ids >= 39);
    peer_free(peer);
}

static void test_engine_ends_when_the_broker_is_gone(void **state)
{
    const struct peer_request q = golden_request(1, 1, 20);
    struct peer *peer = start();

    peer_submit(peer, &q);
    peer_turn(peer);
    closep(&peer->sock.fd);
    assert_int_equal(engine_run(&peer->e), 0);
    peer_free(peer);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_ready_says_what_was_loaded),
        cmocka_unit_test(test_engine_beat_says_how_far_a_prompt_is_read),
        cmocka_unit_test(test_engine_greedy_equals_golden),
        cmocka_unit_test(test_engine_answer_is_the_text_of_its_ids),
        cmocka_unit_test(test_engine_replay_continues_where_the_last_engine_died),
        cmocka_unit_test(test_engine_replay_keeps_the_channel),
        cmocka_unit_test(test_engine_replay_of_a_whole_answer_only_finishes),
        cmocka_unit_test(test_engine_stream_goes_on_beside_a_long_prompt),
        cmocka_unit_test(test_engine_neighbours_change_nothing),
        cmocka_unit_test(test_engine_stream_goes_on_while_a_prompt_is_read),
        cmocka_unit_test(test_engine_cancel_takes_effect_while_the_prompt_is_read),
        cmocka_unit_test(test_engine_pause_stops_a_stream_and_resume_goes_on),
        cmocka_unit_test(test_engine_submit_paused_reads_nothing_until_resume),
        cmocka_unit_test(test_engine_logprobs_are_a_distribution),
        cmocka_unit_test(test_engine_takes_the_sampling_that_the_file_recommends),
        cmocka_unit_test(test_engine_stop_string_ends_before_it),
        cmocka_unit_test(test_engine_stop_token_ends_unless_ignored),
        cmocka_unit_test(test_engine_thinking_decides_the_channel),
        cmocka_unit_test(test_engine_refuses_a_request_whose_numbers_broke),
        cmocka_unit_test(test_engine_step_allocates_nothing),
        cmocka_unit_test(test_engine_ends_when_the_broker_is_gone),
    };

    if (argc != 3)
        return 2;
    test_backend = argv[2];
    load_golden(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
