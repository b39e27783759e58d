/* test_engine_cache.c - the prefix cache in the engine; run once per backend.
 *
 * What a request says, token for token, byte for byte and bit for bit in its logprobs, is the same with an
 * empty cache, a full one and none; what is read again is what nobody read before. */
#include "engine_peer.h"
#include "engine_watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/wire.h"

static char test_model[4096];
static const char *test_backend;

enum { CONTEXT = 1024, SLOTS = 4, CACHE_MIB = 64, TINY_MIB = 1, N_VOCAB = 1024 };

/* hooks, put in the way by the linker */

static uint64_t fake_slot_bytes; /* 0: the model's own */

uint64_t __real_state_slot_bytes(const struct model *model);
uint64_t __wrap_state_slot_bytes(const struct model *model);

uint64_t __wrap_state_slot_bytes(const struct model *model)
{
    return fake_slot_bytes ? fake_slot_bytes : __real_state_slot_bytes(model);
}

/* requests */

static Qwe__Start start_message(uint32_t cache_mib)
{
    Qwe__Start start = QWE__START__INIT;

    start.model_path = test_model;
    start.backend = (char *)test_backend;
    start.kv_type = "f32";
    start.has_context = start.has_slots = start.has_threads = start.has_cache_mib = 1;
    start.context = CONTEXT;
    start.slots = SLOTS;
    start.threads = 1;
    start.cache_mib = cache_mib;
    return start;
}

static struct peer *start(uint32_t cache_mib)
{
    const Qwe__Start message = start_message(cache_mib);

    return peer_start_with(&message);
}

/* Not banned, and none that ends a text. */
static int32_t some_id(uint32_t i)
{
    return (int32_t)(100 + (i * 2654435761u >> 8) % 700);
}

static void fill_ids(int32_t *ids, int n, uint32_t seed)
{
    for (int i = 0; i < n; i++)
        ids[i] = some_id(seed * 7919 + (uint32_t)i);
}

static struct peer_request ids_request(uint32_t handle, const int32_t *ids, int n)
{
    return (struct peer_request){.handle = handle,
                                 .prompt = ids,
                                 .n_prompt = n,
                                 .max_tokens = 12,
                                 .uid = 1000,
                                 .logprobs = 1 + 3,
                                 .ignore_eos = true};
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

static const struct peer_stream *run(struct peer *peer, struct peer_request q, uint32_t handle)
{
    q.handle = handle;
    peer_submit(peer, &q);
    return peer_finish(peer, handle);
}

/* What the request says where there is no cache. */
static struct peer_stream *run_without(struct peer_request q)
{
    struct peer_stream *copy = malloc(sizeof(*copy));
    struct peer *peer = start(0);

    assert_non_null(copy);
    *copy = *run(peer, q, 1);
    assert_int_equal(copy->cached_tokens, 0);
    peer_free(peer);
    return copy;
}

static void check_same(const struct peer_stream *got, const struct peer_stream *want)
{
    assert_false(got->refused || want->refused);
    assert_int_equal(got->n_ids, want->n_ids);
    for (int i = 0; i < got->n_ids; i++)
        if (got->ids[i] != want->ids[i])
            fail_msg("request %u (cached %u): id %d is %d, should be %d", got->handle, got->cached_tokens, i,
                     got->ids[i], want->ids[i]);
    assert_int_equal(got->n_logprobs, want->n_logprobs);
    assert_memory_equal(got->logprobs, want->logprobs, sizeof(float) * (size_t)want->n_logprobs);
    assert_string_equal(got->answer, want->answer);
    assert_string_equal(got->reasoning, want->reasoning);
    assert_int_equal(got->finish, want->finish);
    assert_int_equal(got->prompt_tokens, want->prompt_tokens);
}

/* A piece is n tokens as long as this holds; the engine measures, so before each turn. */
static void make_pieces(struct peer *peer, int n)
{
    peer->e.sched.cost = (struct sched_cost){.step_ns = 1, .tok_ns = 250e6 / n};
}

/* Every page is held by the cache or free once nothing runs. */
static void check_idle(const struct peer *peer)
{
    const struct engine *e = &peer->e;
    const int held = e->prefix ? e->prefix->size.n_pages - e->prefix->n_free_pages : 0;

    assert_false(engine_has_work(e));
    assert_int_equal(e->pages.n_free, e->pages.n - held);
    assert_int_equal(peer->cache_used_bytes, e->prefix ? prefix_used_bytes(e->prefix) : 0);
}

/* tests */

static void test_cache_changes_no_bit(void **state)
{
    static const int lengths[] = {33, 34, 63, 64, 65, 66, 128, 129, 130, 200, 449};
    struct peer *peer = start(CACHE_MIB);
    int32_t ids[CONTEXT];
    uint32_t handle = 1;

    for (size_t i = 0; i < ARRAY_SIZE(lengths) * 2; i++) {
        const int n = lengths[i / 2];
        const Qwp__Sampling sampling = seeded(i);
        struct peer_request q;
        struct peer_stream *want;

        memset(peer->streams, 0, sizeof(peer->streams));
        peer->n_streams = 0;
        fill_ids(ids, n, (uint32_t)i);
        q = ids_request(0, ids, n);
        q.sampling = i % 2 ? &sampling : NULL;
        want = run_without(q);
        for (int again = 0; again < 3; again++) { /* cold, warm, and off beside it */
            const struct peer_stream *got;

            q.no_cache = again == 2;
            got = run(peer, q, handle++);
            check_same(got, want);
            assert_int_equal(got->cached_tokens, again == 1 ? n - 1 : 0);
            wire_free(got->logprob_message);
        }
        free(want);
    }
    memset(peer->streams, 0, sizeof(peer->streams));
    check_idle(peer);
    peer_free(peer);
}

/* What follows a hit is read in other pieces, from a border in the middle of a page. */
static void test_cache_serves_a_longer_prompt(void **state)
{
    struct peer *peer = start(CACHE_MIB);
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(1, ids, 150);
    const struct peer_stream *got;
    struct peer_stream *want;

    fill_ids(ids, CONTEXT, 3);
    run(peer, q, 1);
    q.n_prompt = 400;
    want = run_without(q);
    q.handle = 2;
    peer_submit(peer, &q);
    while (!(got = peer_stream(peer, 2))->finished) {
        make_pieces(peer, 7);
        assert_int_equal(peer_turn(peer), 0);
    }
    assert_int_equal(got->cached_tokens, 149);
    check_same(got, want);
    check_same(run(peer, q, 3), want);
    assert_int_equal(peer_stream(peer, 3)->cached_tokens, 399);
    free(want);
    check_idle(peer);
    peer_free(peer);
}

static void test_cache_goes_on_where_an_answer_ended(void **state)
{
    struct peer *peer = start(CACHE_MIB);
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(1, ids, 100);
    const struct peer_stream *got;
    struct peer_stream *want;

    fill_ids(ids, CONTEXT, 4);
    q.max_tokens = 60;
    got = run(peer, q, 1);
    memcpy(ids + 100, got->ids, sizeof(*ids) * 60);
    q.n_prompt = 200;
    want = run_without(q);
    got = run(peer, q, 2);
    check_same(got, want);
    assert_int_equal(got->cached_tokens, 159); /* the last token of an answer is not read any more */
    free(want);
    peer_free(peer);
}

/* Many questions to one long beginning: from the third on it is known. */
static void test_cache_keeps_a_branch_point_seen_twice(void **state)
{
    struct peer *peer = start(CACHE_MIB);
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(1, ids, 400);

    for (uint32_t i = 1; i <= 4; i++) {
        struct peer_stream *want;
        const struct peer_stream *got;

        fill_ids(ids, 300, 5);
        fill_ids(ids + 300, 100, 50 + i);
        want = run_without(q);
        got = run(peer, q, i);
        check_same(got, want);
        assert_int_equal(got->cached_tokens, i < 3 ? 0 : 300);
        free(want);
    }
    peer_free(peer);
}

static void test_cache_is_not_shared_by_uids(void **state)
{
    struct peer *peer = start(CACHE_MIB);
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(1, ids, 200);

    fill_ids(ids, CONTEXT, 6);
    run(peer, q, 1);
    q.uid = 1001;
    assert_int_equal(run(peer, q, 2)->cached_tokens, 0);
    assert_int_equal(run(peer, q, 3)->cached_tokens, 199);
    q.uid = 0;
    assert_int_equal(run(peer, q, 4)->cached_tokens, 0);
    peer_free(peer);
}

static void test_cache_no_cache_leaves_nothing(void **state)
{
    struct peer *peer = start(CACHE_MIB);
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(1, ids, 200);

    fill_ids(ids, CONTEXT, 7);
    q.no_cache = true;
    run(peer, q, 1);
    assert_int_equal(prefix_used_bytes(peer->e.prefix), 0);
    q.no_cache = false;
    assert_int_equal(run(peer, q, 2)->cached_tokens, 0);
    check_idle(peer);
    peer_free(peer);
}

static void test_cache_keeps_no_short_prompt(void **state)
{
    struct peer *peer = start(CACHE_MIB);
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(1, ids, PREFIX_MIN_TOK - 1);

    fill_ids(ids, CONTEXT, 8);
    q.max_tokens = 1;
    run(peer, q, 1);
    assert_int_equal(prefix_used_bytes(peer->e.prefix), 0);
    q.n_prompt = PREFIX_MIN_TOK + 1;
    run(peer, q, 2);
    assert_int_equal(run(peer, q, 3)->cached_tokens, PREFIX_MIN_TOK);
    peer_free(peer);
}

/* Three at a time with one beginning; one ends, one is cancelled, while the third still reads their pages. */
static void test_cache_pages_outlive_who_shared_them(void **state)
{
    const Qwe__CancelSeq cancel = QWE__CANCEL_SEQ__INIT;
    struct peer *peer = start(CACHE_MIB);
    int32_t ids[CONTEXT], other[CONTEXT];
    struct peer_request first = ids_request(1, ids, 200), longer = ids_request(2, other, 230);
    struct peer_stream *want_first, *want_longer;

    fill_ids(ids, CONTEXT, 9);
    fill_ids(other, CONTEXT, 9);
    fill_ids(other + 199, 100, 10);
    longer.max_tokens = 200;
    want_first = run_without(first);
    want_longer = run_without(longer);
    run(peer, first, 1);
    longer.handle = 2;
    peer_submit(peer, &longer);
    first.handle = 3;
    peer_submit(peer, &first);
    first.handle = 4;
    first.max_tokens = 300;
    peer_submit(peer, &first);
    check_same(peer_finish(peer, 3), want_first);
    peer_put(peer, 4, MSG_E_CANCEL, &cancel.base, -1);
    prefix_forget(peer->e.prefix, 1000, ids, 200);
    check_same(peer_finish(peer, 2), want_longer);
    for (uint32_t i = 2; i <= 4; i++)
        assert_int_equal(peer_stream(peer, i)->cached_tokens, 199);
    free(want_first);
    free(want_longer);
    check_idle(peer);
    peer_free(peer);
}

/* A cache of two checkpoints and nine pages, under requests of two users that come and go while others run.
 */
static void test_cache_too_small_for_all_changes_no_bit(void **state)
{
    enum { N = 20 };
    static int32_t ids[N][CONTEXT];
    struct peer *peer = start(TINY_MIB);
    struct peer_stream *want[N];
    Qwp__Sampling sampling[N];
    struct peer_request q[N];

    assert_in_range(peer->e.prefix->size.n_ckpts, 1, 4);
    for (int i = 0; i < N; i++) {
        const int n = 60 + 37 * i % 300;

        fill_ids(ids[i], n, (uint32_t)i % 3);
        fill_ids(ids[i] + n * 2 / 3, n, (uint32_t)i % 5);
        sampling[i] = seeded((uint64_t)i);
        q[i] = ids_request((uint32_t)i + 1, ids[i], n);
        q[i].uid = i % 4 ? 1000 : 1001;
        q[i].max_tokens = 5 + i % 40;
        q[i].sampling = i % 2 ? &sampling[i] : NULL;
        want[i] = run_without(q[i]);
    }
    for (int begun = 0, done = 0; done < N;) {
        for (; begun < N && begun - done < SLOTS - 1; begun++)
            peer_submit(peer, &q[begun]);
        make_pieces(peer, 50);
        assert_int_equal(peer_turn(peer), 0);
        while (done < begun && peer_stream(peer, q[done].handle)->finished)
            done++;
    }
    for (int i = 0; i < N; i++) {
        check_same(peer_stream(peer, q[i].handle), want[i]);
        free(want[i]);
    }
    assert_true(peer->e.prefix->n_evicted > 5);
    check_idle(peer);
    peer_free(peer);
}

/* chats */

static Qwp__Message message(const char *role, const char *content)
{
    Qwp__Message m = QWP__MESSAGE__INIT;

    m.role = (char *)role;
    m.content = (char *)content;
    return m;
}

static const char long_rules[] =
    "You are a careful assistant of an operating system. Answer in one short paragraph, name the file and "
    "the "
    "line, never guess, and say so if you do not know. Do not repeat the question. Units are in SI.";

/* The second turn drops the first one's reasoning: what is known ends with the first question. */
static void test_cache_second_turn_reads_only_what_is_new(void **state)
{
    Qwp__Message turns[] = {
        message("system", long_rules),
        message("user", "Which process of this machine uses most of its memory, and how much is that?"),
        message("assistant", "That is process 4711, with 812 MiB."),
        message("user", "And which one comes next, and by how much?")};
    Qwp__Message *list[] = {&turns[0], &turns[1], &turns[2], &turns[3]};
    Qwp__Prompt prompt = QWP__PROMPT__INIT;
    struct peer *peer = start(CACHE_MIB);
    struct peer_request q = {
        .whole = &prompt, .max_tokens = 70, .uid = 1000, .logprobs = 1, .ignore_eos = true};
    const struct peer_stream *first, *second;
    struct peer_stream *want;

    prompt.messages = list;
    prompt.n_messages = 2;
    first = run(peer, q, 1);
    assert_int_equal(first->cached_tokens, 0);
    prompt.n_messages = 4;
    want = run_without(q);
    second = run(peer, q, 2);
    check_same(second, want);
    assert_in_range(first->prompt_tokens - second->cached_tokens, 3, 8); /* its "assistant, think" */
    assert_int_equal(run(peer, q, 3)->prompt_tokens - peer_stream(peer, 3)->cached_tokens,
                     first->prompt_tokens - second->cached_tokens);
    free(want);
    /* another chat with the same rules */
    turns[1] = message("user", "How many files are open?");
    prompt.n_messages = 2;
    want = run_without(q);
    check_same(run(peer, q, 4), want);
    assert_in_range(peer_stream(peer, 4)->prompt_tokens - peer_stream(peer, 4)->cached_tokens, 8, 60);
    free(want);
    /* and one whose rules differ in their last letter */
    turns[0] =
        message("system", "You are a careful assistant of an operating system. Answer in one short line.");
    assert_int_equal(run(peer, q, 5)->cached_tokens, 0);
    check_idle(peer);
    peer_free(peer);
}

/* To its first token, the second turn of a chat of 4,000 tokens takes at most 15 % of the steps' work. */
static void test_cache_second_turn_of_a_long_chat_is_soon_answered(void **state)
{
    static char question[4600];
    Qwp__Message turns[] = {message("user", question),
                            message("assistant", "It is the third one of the list."),
                            message("user", "And which one comes next, and by how much is it smaller?")};
    Qwp__Message *list[] = {&turns[0], &turns[1], &turns[2]};
    Qwp__Prompt prompt = QWP__PROMPT__INIT;
    struct peer_request q = {.whole = &prompt, .max_tokens = 1, .uid = 1000, .ignore_eos = true};
    Qwe__Start message_start = start_message(CACHE_MIB);
    long cold, n = 0;
    struct peer *peer;

    if (!strcmp(test_backend, "ref"))
        skip(); /* the count is the same, and plain C would take minutes for it */
    message_start.context = 8192;
    peer = peer_start_with(&message_start);
    while (n < (long)sizeof(question) - 32)
        n += snprintf(question + n, 32, "%ld, ", n * n % 1009);
    prompt.messages = list;
    prompt.n_messages = 1;
    watch.n_forward_tok = 0;
    run(peer, q, 1);
    cold = watch.n_forward_tok;
    prompt.n_messages = 3;
    watch.n_forward_tok = 0;
    run(peer, q, 2);
    print_message("second turn of a chat of %ld tokens: %ld read\n", cold, watch.n_forward_tok);
    assert_in_range(cold, 4000, 8000);
    assert_in_range(watch.n_forward_tok, 1, cold * 15 / 100);
    peer_free(peer);
}

/* Twenty calls of a tool, each turn's prompt the last one's and what came since: at most 5 % is read twice.
 */
static void test_cache_reads_an_agent_trace_once(void **state)
{
    enum { TURNS = 20 };
    static char results[TURNS][200];
    Qwp__Message turns[2 + 2 * TURNS] = {message("system", long_rules), message("user", "Free some space.")};
    Qwp__Message *list[ARRAY_SIZE(turns)];
    Qwp__ToolCall call = QWP__TOOL_CALL__INIT, *calls[] = {&call};
    char *tools[] = {"{\"type\":\"function\",\"function\":{\"name\":\"ls\",\"parameters\":{}}}"};
    Qwp__Prompt prompt = QWP__PROMPT__INIT;
    Qwe__Start message_start = start_message(CACHE_MIB);
    struct peer *peer;
    struct peer_request q = {.whole = &prompt, .max_tokens = 4, .uid = 1000, .ignore_eos = true};
    uint32_t n_read = 0, n_new = 0, n_last = 0;

    message_start.context = 8192;
    peer = peer_start_with(&message_start);
    call.name = "ls";
    call.arguments = "{\"path\":\"/var/log\"}";
    prompt.messages = list;
    prompt.tools = tools;
    prompt.n_tools = 1;
    for (size_t i = 0; i < ARRAY_SIZE(turns); i++)
        list[i] = &turns[i];
    for (int i = 0; i < TURNS; i++) {
        const struct peer_stream *s;

        prompt.n_messages = 2 + 2 * (size_t)i;
        s = run(peer, q, (uint32_t)i + 1);
        assert_false(s->refused);
        n_read += s->prompt_tokens - s->cached_tokens;
        n_new += s->prompt_tokens - n_last;
        n_last = s->prompt_tokens;
        turns[2 + 2 * i] = message("assistant", "I look into the next folder.");
        turns[2 + 2 * i].reasoning =
            "The last one had little in it; the logs may be larger, so I list them now.";
        turns[2 + 2 * i].tool_calls = calls;
        turns[2 + 2 * i].n_tool_calls = 1;
        snprintf(results[i], sizeof(results[i]), "%d syslog.%d %d daemon.log.%d %d kern.log and nothing else",
                 i, i * 7, i * i, i + 3, 1000 - i);
        turns[3 + 2 * i] = message("tool", results[i]);
    }
    print_message("agent trace: %u new tokens, %u read\n", n_new, n_read);
    assert_true(n_new > 1000 && n_read <= n_new + n_new / 20);
    peer_free(peer);
}

/* the rest */

static void test_cache_forgets_what_gave_no_numbers(void **state)
{
    struct peer *peer = start(CACHE_MIB);
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(1, ids, 200);
    struct peer_stream *want;

    fill_ids(ids, CONTEXT, 11);
    want = run_without(q);
    watch.poison_row = 0;
    assert_true(run(peer, q, 1)->refused);
    watch.poison_row = -1;
    check_same(run(peer, q, 2), want);
    assert_int_equal(peer_stream(peer, 2)->cached_tokens, 0);
    free(want);
    peer_free(peer);
}

static void test_cache_serves_a_replay(void **state)
{
    struct peer *peer = start(CACHE_MIB);
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(1, ids, 200);
    struct peer_stream *want;
    const struct peer_stream *got;

    fill_ids(ids, CONTEXT, 12);
    want = run_without(q);
    q.forced = want->ids;
    q.n_forced = 5;
    for (uint32_t i = 1; i <= 2; i++) {
        got = run(peer, q, i);
        assert_int_equal(got->cached_tokens, i == 1 ? 0 : 199);
        assert_int_equal(got->n_ids, want->n_ids - 5);
        assert_memory_equal(got->ids, want->ids + 5, sizeof(*got->ids) * (size_t)got->n_ids);
    }
    free(want);
    peer_free(peer);
}

/* Preempted while its prompt is read, and while it answers: it goes on where it was. */
static void test_cache_keeps_what_a_preempted_request_has_read(void **state)
{
    const Qwe__Preempt preempt = QWE__PREEMPT__INIT;
    struct peer *peer = start(CACHE_MIB);
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(1, ids, 300);
    const struct peer_stream *got;
    struct peer_stream *want;
    int n_read;

    fill_ids(ids, CONTEXT, 20);
    q.max_tokens = 60;
    want = run_without(q);
    peer_submit(peer, &q);
    for (int i = 0; i < 10; i++) {
        make_pieces(peer, 7);
        assert_int_equal(peer_turn(peer), 0);
    }
    n_read = peer->e.seqs[0]->n_read;
    assert_in_range(n_read, 32, 299);
    peer_put(peer, 1, MSG_E_PREEMPT, &preempt.base, -1);
    q.handle = 2;
    peer_submit(peer, &q);
    while (peer_stream(peer, 2)->n_ids < 40)
        assert_int_equal(peer_turn(peer), 0);
    assert_int_equal(peer_stream(peer, 2)->cached_tokens, n_read);
    n_read = peer->e.seqs[0]->n_read;
    peer_put(peer, 2, MSG_E_PREEMPT, &preempt.base, -1);
    assert_int_equal(peer_turn(peer), 0);
    assert_int_equal(peer_stream(peer, 1)->n_ids, 0);
    q.forced = want->ids;
    q.n_forced = peer_stream(peer, 2)->n_ids;
    got = run(peer, q, 3);
    assert_int_equal(got->cached_tokens, n_read);
    assert_int_equal(got->n_ids, want->n_ids - q.n_forced);
    assert_memory_equal(got->ids, want->ids + q.n_forced, sizeof(*want->ids) * (size_t)got->n_ids);
    free(want);
    check_idle(peer);
    peer_free(peer);
}

static void test_cache_step_allocates_nothing(void **state)
{
    struct peer *peer = start(TINY_MIB);
    int32_t ids[CONTEXT];

    for (uint32_t i = 1; i <= 6; i++) {
        struct peer_request q = ids_request(i, ids, 300);

        fill_ids(ids, CONTEXT, 20 + i / 2);
        q.logprobs = 0;
        q.max_tokens = 40;
        peer_submit(peer, &q);
        assert_int_equal(peer_turn(peer), 0);
        watch.n_mallocs = 0;
        watch.count_mallocs = true;
        while (engine_has_work(&peer->e))
            assert_int_equal(engine_turn(&peer->e, false), 0);
        watch.count_mallocs = false;
        assert_int_equal(watch.n_mallocs, 0);
        assert_true(peer_finish(peer, i)->finished);
    }
    assert_true(peer->e.prefix->n_evicted > 0);
    peer_free(peer);
}

static void test_cache_size_is_said_at_start(void **state)
{
    Qwe__Start message_start = start_message(CACHE_MIB);
    struct peer *peer = start(CACHE_MIB);

    assert_in_range(peer->ready->cache_bytes, (CACHE_MIB - 1) << 20, CACHE_MIB << 20);
    assert_int_equal(peer->ready->cache_checkpoints, peer->e.prefix->size.n_ckpts);
    assert_int_equal(peer->ready->cache_pages, peer->e.prefix->size.n_pages);
    assert_int_equal(peer->e.pages.n, SLOTS * CONTEXT / KERN_PAGE_TOK + peer->e.prefix->size.n_pages);
    peer_free(peer);
    peer = start(0);
    assert_true(peer->ready->has_cache_bytes);
    assert_int_equal(peer->ready->cache_bytes, 0);
    assert_null(peer->e.prefix);
    peer_free(peer);

    fake_slot_bytes = 50 << 20;
    peer = peer_new();
    peer_put(peer, 0, MSG_E_START, &message_start.base, -1);
    assert_int_equal(peer_turn(peer), ENGINE_E_ENDS);
    fake_slot_bytes = 0;
    assert_non_null(strstr(peer->failed->text, "a cache of 64 MiB was asked for"));
    assert_non_null(strstr(peer->failed->text, "51200 KiB"));
    assert_non_null(strstr(peer->failed->text, "at least 100 MiB are needed"));
    peer_free(peer);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_changes_no_bit),
        cmocka_unit_test(test_cache_serves_a_longer_prompt),
        cmocka_unit_test(test_cache_goes_on_where_an_answer_ended),
        cmocka_unit_test(test_cache_keeps_a_branch_point_seen_twice),
        cmocka_unit_test(test_cache_is_not_shared_by_uids),
        cmocka_unit_test(test_cache_no_cache_leaves_nothing),
        cmocka_unit_test(test_cache_keeps_no_short_prompt),
        cmocka_unit_test(test_cache_pages_outlive_who_shared_them),
        cmocka_unit_test(test_cache_too_small_for_all_changes_no_bit),
        cmocka_unit_test(test_cache_second_turn_reads_only_what_is_new),
        cmocka_unit_test(test_cache_second_turn_of_a_long_chat_is_soon_answered),
        cmocka_unit_test(test_cache_reads_an_agent_trace_once),
        cmocka_unit_test(test_cache_forgets_what_gave_no_numbers),
        cmocka_unit_test(test_cache_serves_a_replay),
        cmocka_unit_test(test_cache_keeps_what_a_preempted_request_has_read),
        cmocka_unit_test(test_cache_step_allocates_nothing),
        cmocka_unit_test(test_cache_size_is_said_at_start),
    };

    if (argc != 3)
        return 2;
    snprintf(test_model, sizeof(test_model), "%s/models/d1-k256/d1-k256-Q4_K_M.gguf", argv[1]);
    test_backend = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
