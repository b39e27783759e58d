/* test_engine_intake.c - what the engine refuses and with which words, how prompts travel, and text work. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "engine_peer.h"

static char test_model[4096], test_golden[4096];

enum { CONTEXT = 512, SLOTS = 2 };
static const int32_t some_ids[] = {14, 230, 863, 896, 687};

static struct peer *start(void)
{
    return peer_start(test_model, "cpu", CONTEXT, SLOTS);
}

static struct peer_request some_request(uint32_t handle)
{
    return (struct peer_request){.handle = handle,
                                 .prompt = some_ids,
                                 .n_prompt = ARRAY_SIZE(some_ids),
                                 .max_tokens = 6,
                                 .ignore_eos = true};
}

static void test_engine_clean_text_is_always_utf8(void **state)
{
    char clean[ENGINE_TEXT_BYTES], longest[ENGINE_TEXT_BYTES + 9];

    assert_string_equal(engine_clean_text("key \xff=\xc3 \xc3\xa9 \xe2\x82", clean), "key ?=? \xc3\xa9 ?"
                                                                                     "?");
    memset(longest, 'a', sizeof(longest));
    memcpy(longest + ENGINE_TEXT_BYTES - 2, "\xc3\xa9", 3); /* the cut falls inside the character */
    engine_clean_text(longest, clean);
    assert_int_equal(strlen(clean), ENGINE_TEXT_BYTES - 1);
    assert_int_equal(clean[ENGINE_TEXT_BYTES - 2], '?');
}

/* prompts */

static void check_refused(struct peer *peer, uint32_t handle, enum status_code code, const char *text)
{
    const struct peer_stream *s = peer_finish(peer, handle);

    assert_true(s->refused);
    if (s->code != (uint32_t)code || !strstr(s->text, text))
        fail_msg("%u \"%s\", should be %d \"%s\"", s->code, s->text, code, text);
    assert_int_equal(s->n_ids, 0);
    assert_false(engine_has_work(&peer->e)); /* no slot was kept */
}

static void test_engine_submit_keeps_to_what_the_class_may_use(void **state)
{
    struct peer *peer = start();
    int32_t ids[CONTEXT] = {0};
    Qwe__Terms terms = QWE__TERMS__INIT;
    struct peer_request q = {.handle = 1, .prompt = ids, .n_prompt = 100, .terms = &terms};

    terms.has_context = true;
    terms.context = 100;
    peer_submit(peer, &q);
    check_refused(peer, 1, STATUS_CTX_LIMIT, "the prompt has 100 tokens, the class's context 100");
    assert_string_equal(peer_stream(peer, 1)->details, "prompt_tokens=100 context=100");
    q.handle = 2;
    q.n_prompt = 90;
    q.max_tokens = 11;
    peer_submit(peer, &q);
    check_refused(peer, 2, STATUS_CTX_LIMIT, "max_tokens is 11, the class's context has room for 100");
    q = (struct peer_request){
        .handle = 3, .prompt = ids, .n_prompt = 90, .ignore_eos = true, .terms = &terms};
    peer_submit(peer, &q);
    assert_int_equal(peer_finish(peer, 3)->n_ids, 10);
    terms.has_output = true;
    terms.output = 4;
    q.handle = 4;
    peer_submit(peer, &q);
    assert_int_equal(peer_finish(peer, 4)->n_ids, 4);
    terms.output = 50; /* no more than there is */
    q.handle = 5;
    peer_submit(peer, &q);
    assert_int_equal(peer_finish(peer, 5)->n_ids, 10);
    q.handle = 6;
    q.max_tokens = 6; /* who says how much has been asked already whether he may */
    terms.output = 4;
    peer_submit(peer, &q);
    assert_int_equal(peer_finish(peer, 6)->n_ids, 6);
    terms.context = 100000; /* the engine's own is less */
    q = (struct peer_request){.handle = 7, .prompt = ids, .n_prompt = CONTEXT, .terms = &terms};
    peer_submit(peer, &q);
    check_refused(peer, 7, STATUS_TOO_LONG, "the prompt has 512 tokens, the context 512");
    peer_free(peer);
}

static void test_engine_submit_refuses_too_long_with_the_numbers(void **state)
{
    struct peer *peer = start();
    int32_t ids[CONTEXT] = {0};
    struct peer_request q = {.handle = 1, .prompt = ids, .n_prompt = CONTEXT};

    peer_submit(peer, &q);
    check_refused(peer, 1, STATUS_TOO_LONG, "the prompt has 512 tokens, the context 512");
    assert_string_equal(peer_stream(peer, 1)->details, "prompt_tokens=512 context=512");

    q = (struct peer_request){.handle = 2, .prompt = ids, .n_prompt = CONTEXT - 10, .max_tokens = 11};
    peer_submit(peer, &q);
    check_refused(peer, 2, STATUS_TOO_LONG, "the prompt has 502 tokens and max_tokens is 11");
    assert_string_equal(peer_stream(peer, 2)->details, "prompt_tokens=502 context=512 max_tokens=11");

    q = (struct peer_request){.handle = 3, .prompt = ids, .n_prompt = CONTEXT - 10, .ignore_eos = true};
    peer_submit(peer, &q); /* absent: what is left */
    assert_int_equal(peer_finish(peer, 3)->n_ids, 10);
    q.handle = 4;
    q.n_prompt = CONTEXT - 1;
    q.max_tokens = 1;
    peer_submit(peer, &q); /* exactly full */
    assert_int_equal(peer_finish(peer, 4)->n_ids, 1);
    peer_free(peer);
}

static void submit_prompt(struct peer *peer, uint32_t handle, const Qwp__Prompt *prompt)
{
    uint8_t body[4096];
    Qwe__Submit submit = QWE__SUBMIT__INIT;

    assert_true(qwp__prompt__get_packed_size(prompt) <= sizeof(body));
    submit.has_body = 1;
    submit.body = (ProtobufCBinaryData){.data = body, .len = qwp__prompt__pack(prompt, body)};
    peer_put(peer, handle, MSG_E_SUBMIT, &submit.base, -1);
}

static void test_engine_submit_refuses_prompts_that_are_not_one(void **state)
{
    struct peer *peer = start();
    uint32_t far = 1024, handle = 0;
    Qwp__TokenIds ids = QWP__TOKEN_IDS__INIT;
    Qwp__Message m = QWP__MESSAGE__INIT, *messages[] = {&m};
    char *tools[] = {"{}"};
    Qwp__Prompt p = QWP__PROMPT__INIT;
    const Qwp__Prompt none = p;

    submit_prompt(peer, ++handle, &p);
    check_refused(peer, handle, STATUS_INVALID, "has 0 of messages, raw, ids and fim");
    p.raw = "";
    submit_prompt(peer, ++handle, &p);
    check_refused(peer, handle, STATUS_INVALID, "the prompt is empty");
    p.raw = "x";
    p.ids = &ids;
    submit_prompt(peer, ++handle, &p);
    check_refused(peer, handle, STATUS_INVALID, "has 2 of messages, raw, ids and fim");
    p = none;
    p.ids = &ids;
    ids.id = &far;
    ids.n_id = 1;
    submit_prompt(peer, ++handle, &p);
    check_refused(peer, handle, STATUS_INVALID, "ids[0] is 1024, the vocabulary has 1024 tokens");
    p = none;
    p.raw = "x";
    p.tools = tools;
    p.n_tools = 1;
    submit_prompt(peer, ++handle, &p);
    check_refused(peer, handle, STATUS_INVALID, "tools need messages");
    p = none;
    p.messages = messages;
    p.n_messages = 1;
    submit_prompt(peer, ++handle, &p);
    check_refused(peer, handle, STATUS_INVALID, "messages[0] has no role");
    m.role = "wizard";
    submit_prompt(peer, ++handle, &p);
    check_refused(peer, handle, STATUS_INVALID, "should be system, user, assistant or tool");
    m.role = "system";
    m.content = "alone";
    submit_prompt(peer, ++handle, &p);
    check_refused(peer, handle, STATUS_TEMPLATE, "No user query found in messages.");
    peer_free(peer);
}

static void test_engine_submit_refuses_bytes_that_are_no_prompt(void **state)
{
    struct peer *peer = start();
    Qwe__Submit submit = QWE__SUBMIT__INIT;

    submit.has_body = 1;
    submit.body =
        (ProtobufCBinaryData){.data = (uint8_t *)"\x1a\x7f", .len = 2}; /* raw of 127 bytes, none there */
    peer_put(peer, 1, MSG_E_SUBMIT, &submit.base, -1);
    check_refused(peer, 1, STATUS_INVALID, "rompt");
    submit.body = (ProtobufCBinaryData){.data = (uint8_t *)"\x1a\x01\xff", .len = 3}; /* raw is not UTF-8 */
    peer_put(peer, 2, MSG_E_SUBMIT, &submit.base, -1);
    check_refused(peer, 2, STATUS_INVALID, "raw");
    peer_free(peer);
}

static void test_engine_submit_refuses_settings_out_of_range(void **state)
{
    struct peer *peer = start();
    Qwp__Sampling hot = QWP__SAMPLING__INIT;
    struct peer_request q = some_request(1);
    char *stops[] = {""};

    hot.has_temperature = 1;
    hot.temperature = -1;
    q.sampling = &hot;
    peer_submit(peer, &q);
    check_refused(peer, 1, STATUS_INVALID, "temperature is -1, should be from 0 to 100");
    hot.temperature = 1;
    hot.has_top_k = 1;
    hot.top_k = 3000000000u;
    q.handle = 2;
    peer_submit(peer, &q);
    check_refused(peer, 2, STATUS_INVALID, "top_k is 3000000000");
    q = some_request(3);
    q.logprobs = 21 + 1;
    peer_submit(peer, &q);
    check_refused(peer, 3, STATUS_INVALID, "logprobs is 21, at most 20");
    q = some_request(4);
    q.stops = stops;
    q.n_stops = 1;
    peer_submit(peer, &q);
    check_refused(peer, 4, STATUS_INVALID, "stop[0] is empty");
    q = some_request(5);
    q.forced = (int32_t[]){1, 2, 3, 4, 5, 6, 7};
    q.n_forced = 7;
    peer_submit(peer, &q);
    check_refused(peer, 5, STATUS_INTERNAL, "7 forced tokens, max_tokens is 6");
    peer_free(peer);
}

static void test_engine_submit_refuses_when_all_slots_are_in_use(void **state)
{
    struct peer *peer = start();
    struct peer_request q;

    for (uint32_t i = 1; i <= SLOTS + 1; i++) {
        q = some_request(i);
        peer_submit(peer, &q);
    }
    while (!peer_stream(peer, SLOTS + 1)->refused)
        assert_int_equal(peer_turn(peer), 0);
    assert_non_null(strstr(peer_stream(peer, SLOTS + 1)->text, "all 2 slots"));
    for (uint32_t i = 1; i <= SLOTS; i++)
        assert_int_equal(peer_finish(peer, i)->n_ids, 6);
    peer_free(peer);
}

/* memfds */

static void test_engine_reads_a_prompt_from_a_sealed_memfd(void **state)
{
    struct peer *peer = start();
    struct peer_request q = some_request(1);

    peer_submit(peer, &q);
    q.handle = 2;
    q.by_memfd = true;
    peer_submit(peer, &q);
    assert_memory_equal(peer_finish(peer, 2)->ids, peer_finish(peer, 1)->ids, 6 * sizeof(int32_t));
    peer_free(peer);
}

/* Frames longer than one read, each with an fd, sent back to back: each fd must find its own frame. */
static void test_engine_keeps_fds_with_their_frames(void **state)
{
    enum { N = 4, N_FORCED = 100000 };
    struct peer *peer = start();
    int32_t *forced = calloc(N_FORCED, sizeof(*forced));

    assert_non_null(forced);
    for (int i = 0; i < N_FORCED; i++)
        forced[i] = 300; /* two bytes each on the wire */
    for (uint32_t i = 1; i <= N; i++) {
        struct peer_request q = some_request(i);

        q.n_prompt = (int)i;
        q.by_memfd = true;
        q.forced = i % 2 ? forced : NULL;
        q.n_forced = i % 2 ? N_FORCED : 0;
        peer_submit(peer, &q);
    }
    for (uint32_t i = 1; i <= N; i++) {
        const struct peer_stream *s = peer_finish(peer, i);

        if (i % 2)
            assert_non_null(strstr(s->text, "100000 forced tokens"));
        else
            assert_int_equal(s->prompt_tokens, i);
    }
    free(forced);
    peer_free(peer);
}

static void test_engine_refuses_an_unsealed_or_huge_memfd(void **state)
{
    struct peer *peer = start();
    Qwe__Submit submit = QWE__SUBMIT__INIT;
    int fd = peer_memfd("\x1a\x01x", 3, F_SEAL_SHRINK | F_SEAL_GROW);

    peer_put(peer, 1, MSG_E_SUBMIT, &submit.base, fd);
    check_refused(peer, 1, STATUS_INVALID, "not sealed");
    fd = peer_memfd("", 0, 0);
    assert_int_equal(ftruncate(fd, (8 << 20) + 1), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    peer_put(peer, 2, MSG_E_SUBMIT, &submit.base, fd);
    check_refused(peer, 2, STATUS_INVALID, "8388609 bytes, at most 8388608");
    peer_free(peer);
}

/* text work */

static void put_text(struct peer *peer, uint32_t handle, Qwp__Tokenize *t, Qwp__Detokenize *d, Qwp__Render *r)
{
    Qwe__TextOp op = QWE__TEXT_OP__INIT;

    op.tokenize = t;
    op.detokenize = d;
    op.render = r;
    peer_put(peer, handle, MSG_E_TEXT, &op.base, -1);
    assert_int_equal(peer_turn(peer), 0);
}

static void test_engine_tokenizes_and_back(void **state)
{
    struct peer *peer = start();
    Qwp__Tokenize t = QWP__TOKENIZE__INIT;
    Qwp__Detokenize d = QWP__DETOKENIZE__INIT;
    const Qwe__TextReply *reply;

    t.text = "caf\xc3\xa9<|im_end|>";
    t.has_special = 1;
    t.special = QWP__SPECIAL__SPECIAL_ALL;
    put_text(peer, 1, &t, NULL, NULL);
    reply = peer_stream(peer, 1)->reply;
    assert_non_null(reply);
    assert_int_equal(reply->tokens->ids[reply->tokens->n_ids - 1],
                     tokenizer_find(peer->e.tokenizer, "<|im_end|>"));
    d.ids = reply->tokens->ids;
    d.n_ids = reply->tokens->n_ids;
    put_text(peer, 2, NULL, &d, NULL);
    reply = peer_stream(peer, 2)->reply;
    assert_int_equal(reply->text->text.len, strlen(t.text));
    assert_memory_equal(reply->text->text.data, t.text, strlen(t.text));
    t.has_special = 0; /* none: the same letters are only letters */
    put_text(peer, 3, &t, NULL, NULL);
    assert_true(peer_stream(peer, 3)->reply->tokens->n_ids > d.n_ids);
    peer_free(peer);
}

/* A turn while stream 1 runs is a step of it, whatever else there is to do. */
static void turn_and_step(struct peer *peer)
{
    const struct peer_stream *stream = peer_stream(peer, 1);
    const int before = stream->n_ids;

    assert_int_equal(peer_turn(peer), 0);
    if (!stream->finished)
        assert_int_equal(stream->n_ids, before + 1);
}

static struct peer *start_with_stream(void)
{
    struct peer_request q = some_request(1);
    struct peer *peer = start();

    q.max_tokens = CONTEXT - 16;
    peer_submit(peer, &q);
    assert_int_equal(peer_turn(peer), 0);
    return peer;
}

static void test_engine_text_work_costs_a_stream_no_step(void **state)
{
    enum { N = 8, TEXT_BYTES = 200000 };
    Qwp__Tokenize t = QWP__TOKENIZE__INIT;
    Qwe__TextOp op = QWE__TEXT_OP__INIT;
    struct peer *peer = start_with_stream();

    t.text = calloc(1, TEXT_BYTES + 1);
    assert_non_null(t.text);
    memset(t.text, 'a', TEXT_BYTES); /* many steps of this model, each */
    op.tokenize = &t;
    for (uint32_t i = 0; i < N; i++)
        peer_put(peer, 2 + i, MSG_E_TEXT, &op.base, -1);
    for (uint32_t i = 0; i < N; i++)
        while (!peer_stream(peer, 2 + i)->reply)
            turn_and_step(peer);
    free(t.text);
    peer_free(peer);
}

/* In a memfd, so that it is read beside the steps. */
static struct peer_request long_request(uint32_t handle)
{
    struct peer_request q = some_request(handle);

    q.by_memfd = true;
    return q;
}

static void test_engine_reads_a_long_prompt_beside_the_steps(void **state)
{
    struct peer *peer = start();
    struct peer_request q = long_request(7);
    int32_t alone[6];

    peer_submit(peer, &q);
    memcpy(alone, peer_finish(peer, 7)->ids, sizeof(alone));
    peer_free(peer);
    peer = start_with_stream();
    peer_submit(peer, &q);
    while (!peer_stream(peer, 7)->started)
        turn_and_step(peer);
    assert_memory_equal(peer_finish(peer, 7)->ids, alone, sizeof(alone));
    peer_free(peer);
}

static void test_engine_refuses_a_long_prompt_beside_the_steps(void **state)
{
    struct peer *peer = start_with_stream();
    struct peer_request q = long_request(7);
    char *text = calloc(1, 100001);

    assert_non_null(text);
    memset(text, 'a', 100000);
    q.prompt = NULL;
    q.raw = text;
    peer_submit(peer, &q);
    while (!peer_stream(peer, 7)->refused)
        turn_and_step(peer);
    assert_int_equal(peer_stream(peer, 7)->code, STATUS_TOO_LONG);
    assert_non_null(strstr(peer_stream(peer, 7)->text, "the context 512"));
    free(text);
    peer_free(peer);
}

/* The broker waits for an answer to each Submit, so there is one; its slot is free again. */
static void test_engine_ends_what_is_cancelled_while_it_is_read(void **state)
{
    const Qwe__CancelSeq nothing = QWE__CANCEL_SEQ__INIT;
    static const uint16_t types[] = {MSG_E_CANCEL, MSG_E_PREEMPT};
    struct peer *peer = start_with_stream();

    for (uint32_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct peer_request q = long_request(10 + i);

        peer_submit(peer, &q);
        peer_put(peer, q.handle, types[i], &nothing.base, -1);
        while (!peer_stream(peer, q.handle)->started)
            turn_and_step(peer);
        turn_and_step(peer);
        assert_int_equal(peer_stream(peer, q.handle)->n_ids, 0);
        assert_null(peer->e.seqs[1]);
    }
    peer_free(peer);
}

static void test_engine_pauses_what_is_paused_while_it_is_read(void **state)
{
    const Qwe__Pause nothing = QWE__PAUSE__INIT;
    struct peer *peer = start_with_stream();
    struct peer_request q = long_request(10);

    peer_submit(peer, &q);
    peer_put(peer, q.handle, MSG_E_PAUSE, &nothing.base, -1);
    while (!peer_stream(peer, q.handle)->started)
        turn_and_step(peer);
    for (int i = 0; i < 5; i++)
        turn_and_step(peer);
    assert_int_equal(peer_stream(peer, q.handle)->n_ids, 0);
    peer_put(peer, q.handle, MSG_E_RESUME, &nothing.base, -1);
    assert_int_equal(peer_finish(peer, q.handle)->n_ids, 6);
    peer_free(peer);
}

static void test_engine_ends_while_it_reads(void **state)
{
    struct peer *peer = start_with_stream();
    struct peer_request q = long_request(10);

    peer_submit(peer, &q);
    assert_int_equal(peer_turn(peer), 0);
    peer_free(peer); /* leak and thread checks of the sanitizers see to the rest */
}

static void test_engine_renders_messages(void **state)
{
    static const char want[] =
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
    struct peer *peer = start();
    Qwp__Message m = QWP__MESSAGE__INIT, *messages[] = {&m};
    Qwp__Prompt p = QWP__PROMPT__INIT;
    Qwp__Render r = QWP__RENDER__INIT;
    uint8_t body[256];
    const Qwe__TextReply *reply;

    m.role = "user";
    m.content = "Hi";
    p.messages = messages;
    p.n_messages = 1;
    r.has_body = r.has_thinking = 1;
    r.body = (ProtobufCBinaryData){.data = body, .len = qwp__prompt__pack(&p, body)};
    r.thinking = QWP__THINKING__THINKING_OFF;
    put_text(peer, 1, NULL, NULL, &r);
    reply = peer_stream(peer, 1)->reply;
    assert_int_equal(reply->text->text.len, strlen(want));
    assert_memory_equal(reply->text->text.data, want, strlen(want));
    peer_free(peer);
}

static void test_engine_refuses_text_work_that_is_too_much(void **state)
{
    enum { N = 200000 };
    struct peer *peer = start();
    Qwp__Detokenize d = QWP__DETOKENIZE__INIT;
    uint32_t *ids = calloc(N, sizeof(*ids)), longest = 0;

    assert_non_null(ids);
    for (int32_t id = 0; id < 1024; id++)
        if (tokenizer_bytes(peer->e.tokenizer, id).n > tokenizer_bytes(peer->e.tokenizer, (int32_t)longest).n)
            longest = (uint32_t)id;
    for (int i = 0; i < N; i++)
        ids[i] = longest;
    d.ids = ids;
    d.n_ids = N;
    put_text(peer, 1, NULL, &d, NULL);
    check_refused(peer, 1, STATUS_TOO_LONG, "that a reply holds");
    ids[0] = 1024;
    d.n_ids = 1;
    put_text(peer, 2, NULL, &d, NULL);
    check_refused(peer, 2, STATUS_INVALID, "ids[0] is 1024");
    put_text(peer, 3, NULL, NULL, NULL);
    check_refused(peer, 3, STATUS_INVALID, "nothing was asked");
    free(ids);
    peer_free(peer);
}

/* protocol */

static void test_engine_gives_up_on_frames_that_break_the_protocol(void **state)
{
    static const struct {
        uint16_t type;
        const char *body;
    } frames[] = {{4711, ""}, {MSG_E_EMIT, ""}, {MSG_E_START, ""}, {MSG_E_SUBMIT, "\xff"}};
    struct peer_request q = some_request(1);
    struct peer *peer;

    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        peer = start();
        peer_put_bytes(peer, 0, frames[i].type, 0, frames[i].body, strlen(frames[i].body));
        assert_true(peer_turn(peer) < 0);
        peer_free(peer);
    }
    peer = start();
    peer_submit(peer, &q);
    peer_turn(peer);
    peer_submit(peer, &q); /* the handle is in use */
    assert_true(peer_turn(peer) < 0);
    peer_free(peer);
    peer = peer_new();
    peer_submit(peer, &q); /* before Start */
    assert_true(peer_turn(peer) < 0);
    peer_free(peer);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_clean_text_is_always_utf8),
        cmocka_unit_test(test_engine_submit_keeps_to_what_the_class_may_use),
        cmocka_unit_test(test_engine_submit_refuses_too_long_with_the_numbers),
        cmocka_unit_test(test_engine_submit_refuses_prompts_that_are_not_one),
        cmocka_unit_test(test_engine_submit_refuses_bytes_that_are_no_prompt),
        cmocka_unit_test(test_engine_submit_refuses_settings_out_of_range),
        cmocka_unit_test(test_engine_submit_refuses_when_all_slots_are_in_use),
        cmocka_unit_test(test_engine_reads_a_prompt_from_a_sealed_memfd),
        cmocka_unit_test(test_engine_keeps_fds_with_their_frames),
        cmocka_unit_test(test_engine_refuses_an_unsealed_or_huge_memfd),
        cmocka_unit_test(test_engine_tokenizes_and_back),
        cmocka_unit_test(test_engine_text_work_costs_a_stream_no_step),
        cmocka_unit_test(test_engine_reads_a_long_prompt_beside_the_steps),
        cmocka_unit_test(test_engine_refuses_a_long_prompt_beside_the_steps),
        cmocka_unit_test(test_engine_ends_what_is_cancelled_while_it_is_read),
        cmocka_unit_test(test_engine_pauses_what_is_paused_while_it_is_read),
        cmocka_unit_test(test_engine_ends_while_it_reads),
        cmocka_unit_test(test_engine_renders_messages),
        cmocka_unit_test(test_engine_refuses_text_work_that_is_too_much),
        cmocka_unit_test(test_engine_gives_up_on_frames_that_break_the_protocol),
    };

    if (argc != 2)
        return 2;
    snprintf(test_golden, sizeof(test_golden), "%s", argv[1]);
    snprintf(test_model, sizeof(test_model), "%s/models/d1-k256/d1-k256-Q4_K_M.gguf", argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
