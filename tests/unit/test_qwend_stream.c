/* test_qwend_stream.c - streams: every event, every end, credit, several at once, callbacks, event loops. */
#include "qwend_peer.h"

#include <errno.h>
#include <math.h>
#include <poll.h>

static void test_stream_delivers_every_event(void **state)
{
    struct peer peer = peer_open(
        "accept\nawait Generate\n"
        "send Accepted position=2\n"
        "send Accepted position=1 loading=true load_permille=300\n"
        "send Accepted position=0\n"
        "send Accepted position=0 prompt_tokens=12 cached_tokens=8\n"
        "send Accepted position=0 prompt_tokens=12 cached_tokens=8\n"
        "send Event kind=READ read_tokens=10 prompt_tokens=12\n"
        "think \"Hm\\n\"\nsay \"H\xc3\xa9\"\ntool \"{}\"\n"
        "send Event kind=ENGINE_RESTART\nsend Event kind=RESUMED from_token=5\n"
        "send Event kind=DRAINING\nsend Event kind=PREEMPTED\n"
        "send Usage+end prompt_tokens=12 cached_tokens=8 reasoning_tokens=1 answer_tokens=2 "
        "queue_ms=1.5 prefill_ms=2 decode_ms=3 finish=FINISH_STOP stop=\"X\" replays=1 preemptions=2 seed=9 "
        "backend=\"cpu\" warnings=\"slow\",\"hot\"\neof\n",
        0);
    qwend_stream *stream = peer_generate(&peer, "hi");
    qwend_event event;

    event = peer_next(stream, QWEND_EV_QUEUED);
    assert_int_equal(event.position, 2);
    assert_int_equal(strlen(event.request_id), 32);
    assert_string_equal(event.request_id, qwend_stream_id(stream));
    event = peer_next(stream, QWEND_EV_QUEUED);
    assert_int_equal(event.loading, 1);
    assert_int_equal(event.load_permille, 300);
    event = peer_next(stream, QWEND_EV_STARTED);
    assert_int_equal(event.prompt_tokens, 12);
    assert_int_equal(event.cached_tokens, 8);
    event = peer_next(stream, QWEND_EV_READ);
    assert_int_equal(event.from_token, 10);
    assert_int_equal(event.prompt_tokens, 12);
    event = peer_next(stream, QWEND_EV_REASONING);
    assert_string_equal(event.text, "Hm\n");
    assert_int_equal(event.n, 3);
    event = peer_next(stream, QWEND_EV_ANSWER);
    assert_string_equal(event.text, "H\xc3\xa9");
    event = peer_next(stream, QWEND_EV_TOOL_CALL);
    assert_string_equal(event.text, "{}");
    peer_next(stream, QWEND_EV_RESTART);
    event = peer_next(stream, QWEND_EV_RESUMED);
    assert_int_equal(event.from_token, 5);
    peer_next(stream, QWEND_EV_PREEMPTED);
    event = peer_next(stream, QWEND_EV_END);
    assert_int_equal(event.usage->prompt_tokens, 12);
    assert_int_equal(event.usage->cached_tokens, 8);
    assert_int_equal(event.usage->reasoning_tokens, 1);
    assert_int_equal(event.usage->answer_tokens, 2);
    assert_true(event.usage->queue_ms == 1.5 && event.usage->prefill_ms == 2 && event.usage->decode_ms == 3);
    assert_int_equal(event.usage->finish, QWEND_FINISH_STOP);
    assert_string_equal(event.usage->stop, "X");
    assert_string_equal(event.usage->backend, "cpu");
    assert_int_equal(event.usage->replays, 1);
    assert_int_equal(event.usage->preemptions, 2);
    assert_int_equal(event.usage->seed, 9);
    assert_int_equal(event.usage->n_warnings, 2);
    assert_string_equal(event.usage->warnings[1], "hot");
    assert_int_equal(qwend_next(stream, &event), 0);
    assert_int_equal(qwend_next(stream, &event), 0);
    peer_close_received(&peer, "Generate stream=1", "role=\"user\" content=\"hi\"", "credit_bytes=65536");
}

static void test_stream_carries_ids_and_logprobs(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\n"
                                 "send Delta channel=CHANNEL_ANSWER text=\"ab\" ids=7,8 "
                                 "logprobs={id=7 logprob=-0.5 text=\"a\" top={id=7 logprob=-0.5 text=\"a\"},"
                                 "{id=3 logprob=-2 text=\"\\xff\"}},{id=8 logprob=-1 text=\"b\"}\n"
                                 "send Delta channel=CHANNEL_ANSWER\n" /* says nothing: no event */
                                 "send Delta channel=CHANNEL_ANSWER ids=9\n"
                                 "send Delta channel=CHANNEL_REASONING text=\"r\"\n"
                                 "send Delta ids=10 logprobs={id=10 logprob=-3}\n"
                                 "send Usage+end finish=FINISH_LENGTH\neof\n",
                                 0);
    qwend_stream *stream = peer_generate(&peer, "hi");
    qwend_event event = peer_next(stream, QWEND_EV_ANSWER);

    assert_int_equal(event.n_ids, 2);
    assert_int_equal(event.ids[1], 8);
    assert_int_equal(event.n_logprobs, 2);
    assert_int_equal(event.logprobs[0].token.id, 7);
    assert_true(fabs(event.logprobs[0].token.logprob + 0.5) < 1e-6);
    assert_int_equal(event.logprobs[0].n_top, 2);
    assert_int_equal(event.logprobs[0].top[1].id, 3);
    assert_memory_equal(event.logprobs[0].top[1].text, "\xff", 1);
    assert_int_equal(event.logprobs[1].n_top, 0);
    assert_memory_equal(event.logprobs[1].token.text, "b", 1);
    event = peer_next(stream, QWEND_EV_ANSWER);
    assert_int_equal(event.n, 0);
    assert_int_equal(event.ids[0], 9);
    peer_next(stream, QWEND_EV_REASONING);
    event = peer_next(stream, QWEND_EV_REASONING); /* names no channel: that of the last */
    assert_int_equal(event.ids[0], 10);
    assert_int_equal(event.logprobs[0].token.n, 0);
    event = peer_next(stream, QWEND_EV_END);
    assert_int_equal(event.usage->finish, QWEND_FINISH_LENGTH);
    free(peer_close(&peer));
}

static void test_stream_refusal_is_an_event_with_details(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Generate\n"
                  "send Error+end code=202 text=\"prompt too long\" retry_after_ms=0 "
                  "details={key=\"prompt_tokens\" value=\"9120\"},{key=\"context\" value=\"8192\"}\neof\n",
                  0);
    qwend_stream *stream = peer_generate(&peer, "hi");
    qwend_event event = peer_next(stream, QWEND_EV_ERROR);

    assert_int_equal(event.code, 202);
    assert_string_equal(event.text, "prompt too long");
    assert_int_equal(event.n_details, 2);
    assert_string_equal(event.details[0], "prompt_tokens");
    assert_string_equal(event.details[3], "8192");
    assert_int_equal(qwend_error_code(peer.q), 202);
    assert_int_equal(qwend_next(stream, &event), 0);
    free(peer_close(&peer));
}

static void test_stream_end_of_connection_is_broken_pipe(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nsay \"half\"\nclose\n", 0);
    qwend_stream *stream = peer_generate(&peer, "hi");
    qwend_event event;

    assert_string_equal(peer_next(stream, QWEND_EV_ANSWER).text, "half");
    assert_int_equal(qwend_next(stream, &event), -EPIPE);
    assert_non_null(strstr(qwend_error(peer.q), "closed the connection"));
    assert_int_equal(qwend_dispatch(peer.q, POLLIN), -EPIPE);
    assert_int_equal(qwend_next(stream, &event), -EPIPE);
    free(peer_close(&peer));
}

static void test_stream_fatal_error_reaches_every_stream(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nawait Generate\nsay \"x\"\n"
                                 "fatal code=103 text=\"bad message\"\nclose\n",
                                 0);
    qwend_stream *first = peer_generate(&peer, "1"), *second = peer_generate(&peer, "2");
    qwend_event event;

    assert_int_equal(peer_next(first, QWEND_EV_ERROR).code, 103);
    peer_next(second, QWEND_EV_ANSWER);
    assert_int_equal(peer_next(second, QWEND_EV_ERROR).code, 103);
    assert_int_equal(qwend_next(second, &event), 0);
    assert_int_equal(qwend_dispatch(peer.q, 0), -EPIPE);
    assert_int_equal(qwend_error_code(peer.q), 103);
    free(peer_close(&peer));
}

/* Each of these breaks the protocol; the connection is given up with a reason. */
static void test_stream_protocol_errors_end_the_connection(void **state)
{
    static const char *const scripts[][2] = {
        {"send Delta seq=1 channel=1 text=\"a\"", "piece 1 of stream 1 came where 0 was due"},
        {"send Delta text=\"a\"", "without a channel"},
        {"send Delta channel=9 text=\"a\"", "Delta"},
        {"send Usage finish=FINISH_STOP", "without END_STREAM"},
        {"send Delta+end channel=1 text=\"a\"", "Delta"},
        {"send Tokens ids=1", "where it does not belong"},
        {"raw 000000000300000067000000", "stream 3, which is not open"},
        {"raw 000000000200000067000000", "stream 2, which is not open"},
        {"raw 000000000000000067000000", "Delta"},
        {"raw 020000000100000067000000ffff", "Delta"},
        {"raw 000000000100000067000800", "unknown flags"},
    };

    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        char script[300];
        struct peer peer;
        qwend_event event;
        int r;

        snprintf(script, sizeof(script), "accept\nawait Generate\n%s\neof\n", scripts[i][0]);
        peer = peer_open(script, 0);
        r = qwend_next(peer_generate(&peer, "hi"), &event);
        if (r != -EPROTO || !strstr(qwend_error(peer.q), scripts[i][1]))
            fail_msg("%s: %d, \"%s\"", scripts[i][0], r, qwend_error(peer.q));
        free(peer_close(&peer));
    }
}

static void test_stream_later_message_types_are_skipped(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nraw 010000000100000001800000aa\n"
                                 "raw 000000000000000002800000\n"
                                 "send Usage+end finish=FINISH_STOP\neof\n",
                                 0);

    peer_next(peer_generate(&peer, "hi"), QWEND_EV_END);
    free(peer_close(&peer));
}

static void test_stream_credit_comes_back_as_text_is_taken(void **state)
{
    /* 1000 pieces of 10 bytes through a window of 64: only what was taken is granted again */
    struct peer peer = peer_open("accept\nawait Generate\nflood 1000 \"0123456789\"\n"
                                 "send Usage+end finish=FINISH_STOP\neof\n",
                                 0);
    qwend_req *req = peer_req("hi");
    qwend_stream *stream;
    qwend_event event;
    size_t n = 0;

    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_CREDIT_BYTES, 64), 0);
    assert_int_equal(qwend_generate(peer.q, req, NULL, NULL, &stream), 0);
    while (qwend_next(stream, &event) == 1 && event.type == QWEND_EV_ANSWER)
        n += event.n;
    assert_int_equal(n, 10000);
    qwend_req_free(req);
    peer_close_received(&peer, "credit_bytes=64", "Credit stream=1 bytes=40");
}

static void test_stream_more_than_granted_is_refused(void **state)
{
    /* a window of one byte: the queue takes 1 MiB and a little, and the first stream's is never emptied */
    struct peer peer = peer_open("accept\nawait Generate\nawait Generate\non 1\noverrun 300 4000\neof\n", 0);
    qwend_req *req = peer_req("hi");
    qwend_stream *first, *second;
    qwend_event event;

    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_CREDIT_BYTES, 1), 0);
    assert_int_equal(qwend_generate(peer.q, req, NULL, NULL, &first), 0);
    assert_int_equal(qwend_generate(peer.q, req, NULL, NULL, &second), 0);
    assert_int_equal(qwend_next(second, &event), -EPROTO);
    assert_non_null(strstr(qwend_error(peer.q), "more on stream 1 than it was granted"));
    qwend_req_free(req);
    free(peer_close(&peer));
}

static void test_stream_two_at_once_keep_apart(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nawait Generate\n"
                                 "on 1\nsay \"a1\"\non 2\nsay \"b1\"\non 1\nsay \"a2\"\n"
                                 "on 2\nsend Usage+end finish=FINISH_STOP\n"
                                 "on 1\nsend Usage+end finish=FINISH_LENGTH\neof\n",
                                 0);
    qwend_stream *a = peer_generate(&peer, "a"), *b = peer_generate(&peer, "b");

    assert_string_not_equal(qwend_stream_id(a), qwend_stream_id(b));
    assert_string_equal(peer_next(b, QWEND_EV_ANSWER).text, "b1");
    assert_string_equal(peer_next(a, QWEND_EV_ANSWER).text, "a1");
    assert_string_equal(peer_next(a, QWEND_EV_ANSWER).text, "a2");
    assert_int_equal(peer_next(a, QWEND_EV_END).usage->finish, QWEND_FINISH_LENGTH);
    assert_int_equal(peer_next(b, QWEND_EV_END).usage->finish, QWEND_FINISH_STOP);
    peer_close_received(&peer, "Generate stream=1", "Generate stream=3");
}

static void test_stream_count_is_limited(void **state)
{
    struct peer peer =
        peer_open("accept limits={streams=2}\nawait Generate\nawait Generate\nawait Cancel\neof\n", 0);
    qwend_stream *a = peer_generate(&peer, "a"), *stream;
    qwend_req *req = peer_req("c");

    peer_generate(&peer, "b");
    assert_int_equal(qwend_generate(peer.q, req, NULL, NULL, &stream), -EBUSY);
    assert_non_null(strstr(qwend_error(peer.q), "allows 2"));
    qwend_stream_free(a);
    qwend_req_free(req);
    free(peer_close(&peer));
}

static int count(const char *text, const char *word)
{
    int n = 0;

    for (; (text = strstr(text, word)); text++)
        n++;
    return n;
}

static void test_stream_cancel_is_sent_once_and_answered(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nsay \"x\"\nawait Cancel\n"
                                 "send Usage+end finish=FINISH_CANCEL answer_tokens=1\neof\n",
                                 0);
    qwend_stream *stream = peer_generate(&peer, "hi");
    char *log;

    peer_next(stream, QWEND_EV_ANSWER);
    assert_int_equal(qwend_cancel(stream), 0);
    assert_int_equal(qwend_cancel(stream), 0);
    assert_int_equal(peer_next(stream, QWEND_EV_END).usage->finish, QWEND_FINISH_CANCEL);
    assert_int_equal(qwend_cancel(stream), 0);
    log = peer_close(&peer);
    assert_int_equal(count(log, "Cancel stream=1"), 1);
    free(log);
}

static void test_stream_free_cancels_and_drops_what_follows(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nawait Cancel\nsay \"late\"\n"
                                 "send Usage+end finish=FINISH_CANCEL\n"
                                 "await Generate\nsend Usage+end finish=FINISH_STOP\neof\n",
                                 0);

    qwend_stream_free(peer_generate(&peer, "a"));
    peer_next(peer_generate(&peer, "b"), QWEND_EV_END);
    free(peer_close(&peer));
}

/* The daemon keeps what ended for a while, at this user's cost: but not what was read to its end. */
static void test_stream_free_lets_go_of_what_it_has_read(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nsend Usage+end finish=FINISH_STOP\nawait Cancel\n"
                                 "send Cancelled+end n_cancelled=1\n"
                                 "await Generate\nsend Usage+end finish=FINISH_STOP\neof\n",
                                 0);
    qwend_req *req = peer_req("a");
    qwend_stream *stream;

    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_DETACHABLE, 1), 0);
    assert_int_equal(qwend_generate(peer.q, req, NULL, NULL, &stream), 0);
    qwend_req_free(req);
    peer_next(stream, QWEND_EV_END);
    qwend_stream_free(stream);
    peer_next(peer_generate(&peer, "b"), QWEND_EV_END);
    peer_close_received(&peer, "Cancel stream=3 request_id=", "Generate stream=5");
}

static void test_stream_nonblocking_next_says_again(void **state)
{
    struct peer peer = peer_open(
        "accept\nawait Generate\nsay \"x\"\nsend Usage+end finish=FINISH_STOP\neof\n", QWEND_NONBLOCK);
    qwend_stream *stream = peer_generate(&peer, "hi");
    qwend_event event;
    int r, n_events = 0;

    while ((r = qwend_next(stream, &event)) != 0) {
        struct pollfd pollfd = {.fd = qwend_fd(peer.q), .events = qwend_events(peer.q)};

        n_events += r == 1;
        assert_true(r == 1 || r == -EAGAIN);
        if (r == -EAGAIN)
            poll(&pollfd, 1, -1);
    }
    assert_int_equal(n_events, 2);
    free(peer_close(&peer));
}

static void test_stream_blocking_wait_is_bounded_by_the_timeout(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nawait Cancel\neof\n", 0);
    qwend_stream *stream = peer_generate(&peer, "hi");
    qwend_event event;

    assert_int_equal(qwend_set_timeout(peer.q, -2), -EINVAL);
    assert_int_equal(qwend_set_timeout(peer.q, 20), 0);
    assert_int_equal(qwend_next(stream, &event), -ETIMEDOUT);
    assert_non_null(strstr(qwend_error(peer.q), "20 ms"));
    qwend_stream_free(stream);
    free(peer_close(&peer));
}

/* callbacks */

struct seen {
    qwend *q;
    qwend_stream *second;
    int n_events, n_second, cancel_at;
    bool free_it, over;
};

static int seen_on_second(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct seen *seen = user;

    seen->n_second++;
    seen->over = event->type == QWEND_EV_END;
    return 0;
}

static int seen_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct seen *seen = user;

    seen->n_events++;
    seen->over = event->type == QWEND_EV_END || event->type == QWEND_EV_ERROR;
    if (seen->free_it) {
        qwend_req *req = peer_req("second");

        qwend_stream_free(stream);
        assert_int_equal(qwend_generate(seen->q, req, seen_on_second, seen, &seen->second), 0);
        qwend_req_free(req);
        seen->over = false;
        return 0;
    }
    return seen->n_events == seen->cancel_at;
}

static void seen_loop(struct seen *seen)
{
    while (!seen->over) {
        struct pollfd pollfd = {.fd = qwend_fd(seen->q), .events = qwend_events(seen->q)};

        poll(&pollfd, 1, qwend_timeout_ms(seen->q));
        assert_int_equal(qwend_dispatch(seen->q, pollfd.revents), 0);
    }
}

static void test_callback_gets_events_from_dispatch(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nflood 100 \"0123456789\"\n"
                                 "send Usage+end finish=FINISH_STOP\neof\n",
                                 QWEND_NONBLOCK);
    struct seen seen = {.q = peer.q};
    qwend_req *req = peer_req("hi");
    qwend_stream *stream;
    qwend_event event;

    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_CREDIT_BYTES, 20), 0);
    assert_int_equal(qwend_generate(peer.q, req, seen_on_event, &seen, &stream), 0);
    assert_int_equal(qwend_next(stream, &event), -EINVAL);
    seen_loop(&seen);
    assert_int_equal(seen.n_events, 101);
    qwend_req_free(req);
    peer_close_received(&peer, "Credit stream=1 bytes=10");
}

static void test_callback_nonzero_cancels(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nuntil Cancel \"x\"\n"
                                 "send Usage+end finish=FINISH_CANCEL\neof\n",
                                 0);
    struct seen seen = {.q = peer.q, .cancel_at = 3};
    qwend_req *req = peer_req("hi");
    qwend_stream *stream;

    assert_int_equal(qwend_generate(peer.q, req, seen_on_event, &seen, &stream), 0);
    seen_loop(&seen);
    assert_true(seen.n_events >= 4);
    qwend_req_free(req);
    peer_close_received(&peer, "Cancel stream=1");
}

static void test_callback_may_free_its_stream_and_open_another(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nsay \"a\"\nsay \"b\"\nawait Generate\nsay \"c\"\n"
                                 "send Usage+end finish=FINISH_STOP\neof\n",
                                 0);
    struct seen seen = {.q = peer.q, .free_it = true};
    qwend_req *req = peer_req("hi");
    qwend_stream *stream;

    assert_int_equal(qwend_generate(peer.q, req, seen_on_event, &seen, &stream), 0);
    seen_loop(&seen);
    assert_int_equal(seen.n_events, 1);
    assert_int_equal(seen.n_second, 2);
    qwend_req_free(req);
    peer_close_received(&peer, "Cancel stream=1", "Generate stream=3");
}

static void test_callback_learns_of_fatal_error(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Generate\nfatal code=403 text=\"bye\" retry_after_ms=9\nclose\n", 0);
    struct seen seen = {.q = peer.q};
    qwend_req *req = peer_req("hi");
    qwend_stream *stream;

    assert_int_equal(qwend_generate(peer.q, req, seen_on_event, &seen, &stream), 0);
    while (!seen.over) {
        struct pollfd pollfd = {.fd = qwend_fd(peer.q), .events = POLLIN};

        poll(&pollfd, 1, -1);
        qwend_dispatch(peer.q, pollfd.revents);
    }
    assert_int_equal(seen.n_events, 1);
    assert_int_equal(qwend_retry_after_ms(peer.q), 9);
    qwend_req_free(req);
    free(peer_close(&peer));
}

/* whole requests */

static void test_ask_gives_the_answer_without_reasoning(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Generate\nthink \"no\"\nsay \"Hel\"\nsay \"lo\"\n"
                  "send Usage+end finish=FINISH_STOP\n"
                  "await Generate\nsend Error+end code=401 text=\"full\" retry_after_ms=700\neof\n",
                  0);
    char *text;
    size_t n;

    assert_int_equal(qwend_ask(peer.q, "hi", &text, &n), 0);
    assert_string_equal(text, "Hello");
    assert_int_equal(n, 5);
    free(text);
    assert_int_equal(qwend_ask(peer.q, "hi", &text, NULL), QWEND_REFUSED);
    assert_int_equal(qwend_error_code(peer.q), 401);
    assert_int_equal(qwend_retry_after_ms(peer.q), 700);
    assert_int_equal(qwend_ask(peer.q, "a\xff", &text, NULL), -EILSEQ);
    assert_non_null(strstr(qwend_error(peer.q), "byte 1"));
    free(peer_close(&peer));
}

static void test_run_cancels_when_the_callback_says_so(void **state)
{
    struct peer peer = peer_open("accept\nawait Generate\nuntil Cancel \"x\"\n"
                                 "send Usage+end finish=FINISH_CANCEL\neof\n",
                                 0);
    struct seen seen = {.q = peer.q, .cancel_at = 2};
    qwend_req *req = peer_req("hi");

    assert_int_equal(qwend_run(peer.q, req, seen_on_event, &seen), 0);
    assert_true(seen.over);
    qwend_req_free(req);
    free(peer_close(&peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_delivers_every_event),
        cmocka_unit_test(test_stream_carries_ids_and_logprobs),
        cmocka_unit_test(test_stream_refusal_is_an_event_with_details),
        cmocka_unit_test(test_stream_end_of_connection_is_broken_pipe),
        cmocka_unit_test(test_stream_fatal_error_reaches_every_stream),
        cmocka_unit_test(test_stream_protocol_errors_end_the_connection),
        cmocka_unit_test(test_stream_later_message_types_are_skipped),
        cmocka_unit_test(test_stream_credit_comes_back_as_text_is_taken),
        cmocka_unit_test(test_stream_more_than_granted_is_refused),
        cmocka_unit_test(test_stream_two_at_once_keep_apart),
        cmocka_unit_test(test_stream_count_is_limited),
        cmocka_unit_test(test_stream_cancel_is_sent_once_and_answered),
        cmocka_unit_test(test_stream_free_cancels_and_drops_what_follows),
        cmocka_unit_test(test_stream_free_lets_go_of_what_it_has_read),
        cmocka_unit_test(test_stream_nonblocking_next_says_again),
        cmocka_unit_test(test_stream_blocking_wait_is_bounded_by_the_timeout),
        cmocka_unit_test(test_callback_gets_events_from_dispatch),
        cmocka_unit_test(test_callback_nonzero_cancels),
        cmocka_unit_test(test_callback_may_free_its_stream_and_open_another),
        cmocka_unit_test(test_callback_learns_of_fatal_error),
        cmocka_unit_test(test_ask_gives_the_answer_without_reasoning),
        cmocka_unit_test(test_run_cancels_when_the_callback_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
