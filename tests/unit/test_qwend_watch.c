/* test_qwend_watch.c - qwend_subscribe(): samples, the newest only, and the end. */
#include "qwend_peer.h"

#include <errno.h>

static void test_a_sample_gives_every_field(void **state)
{
    struct peer peer = peer_open(
        "accept\nawait Subscribe\n"
        "send Sample seq=5 state=SERVING uptime_s=1.5 slots=2 running=3 queued=4 connections=5 requests=6 "
        "prompt_tokens=7 cached_tokens=8 output_tokens=9 replays=10 stalls=11 engine_restarts=12 read_s=13.5 "
        "written_s=14.5 held_bytes=15 held_limit_bytes=16 weights_bytes=17 state_bytes=18 "
        "list={request_id=\"0123456789abcdef\" uid=1000 state=DECODE cached_tokens=3 tokens_s=2.5} "
        "unlisted=19 cache_bytes=20 cache_used_bytes=21\n"
        "await Cancel\nsend Cancelled+end n_cancelled=1\neof\n",
        0);
    qwend_stream *stream;
    qwend_event event;

    assert_int_equal(qwend_subscribe(peer.q, 200, NULL, NULL, &stream), 0);
    assert_int_equal(qwend_next(stream, &event), 1);
    assert_int_equal(event.type, QWEND_EV_SAMPLE);
    assert_int_equal(event.sample->seq, 5);
    assert_string_equal(event.sample->state_name, "serving");
    assert_true(event.sample->uptime_s == 1.5 && event.sample->read_s == 13.5 &&
                event.sample->written_s == 14.5);
    assert_int_equal(event.sample->slots, 2);
    assert_int_equal(event.sample->running, 3);
    assert_int_equal(event.sample->queued, 4);
    assert_int_equal(event.sample->connections, 5);
    assert_int_equal(event.sample->n_requests, 6);
    assert_int_equal(event.sample->prompt_tokens, 7);
    assert_int_equal(event.sample->cached_tokens, 8);
    assert_int_equal(event.sample->output_tokens, 9);
    assert_int_equal(event.sample->replays, 10);
    assert_int_equal(event.sample->stalls, 11);
    assert_int_equal(event.sample->engine_restarts, 12);
    assert_int_equal(event.sample->held_bytes, 15);
    assert_int_equal(event.sample->held_limit_bytes, 16);
    assert_int_equal(event.sample->weights_bytes, 17);
    assert_int_equal(event.sample->state_bytes, 18);
    assert_int_equal(event.sample->unlisted, 19);
    assert_int_equal(event.sample->cache_bytes, 20);
    assert_int_equal(event.sample->cache_used_bytes, 21);
    assert_int_equal(event.sample->n_list, 1);
    assert_string_equal(event.sample->list[0].request_id, "30313233343536373839616263646566");
    assert_int_equal(event.sample->list[0].cached_tokens, 3);
    assert_true(event.sample->list[0].tokens_s == 2.5);
    assert_int_equal(qwend_cancel(stream), 0);
    assert_int_equal(qwend_next(stream, &event), 1);
    assert_int_equal(event.type, QWEND_EV_END);
    assert_null(event.usage);
    assert_int_equal(qwend_next(stream, &event), 0);
    qwend_stream_free(stream);
    peer_close_received(&peer, "Subscribe stream=1 interval_ms=200", "Cancel stream=1");
}

static void test_a_late_caller_gets_the_newest(void **state)
{
    struct peer peer = peer_open("accept\nawait Subscribe\nsend Sample seq=0\nsend Sample seq=1\n"
                                 "send Sample seq=2\nawait Status\nsend StatusReply+end state=LOADING\neof\n",
                                 0);
    qwend_status_info info;
    qwend_stream *stream;
    qwend_event event;

    assert_int_equal(qwend_subscribe(peer.q, 0, NULL, NULL, &stream), 0);
    assert_int_equal(qwend_status(peer.q, &info), 0); /* all samples came before its answer */
    assert_int_equal(qwend_next(stream, &event), 1);
    assert_int_equal(event.sample->seq, 2);
    qwend_stream_free(stream);
    peer_close_received(&peer, "Subscribe stream=1", "Cancel stream=1");
}

static int count(qwend_stream *stream, const qwend_event *event, void *user)
{
    return ++*(int *)user == 2; /* cancels at the second */
}

static void test_a_callback_gets_samples_and_may_cancel(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Subscribe\nsend Sample seq=0\nawait Status\n"
                  "send StatusReply+end\nawait Status\non 1\nsend Sample seq=1\nawait Cancel\non 1\n"
                  "send Cancelled+end\non 3\nsend StatusReply+end\neof\n",
                  0);
    qwend_status_info info;
    qwend_stream *stream;
    int n = 0;

    assert_int_equal(qwend_subscribe(peer.q, 0, count, &n, &stream), 0);
    assert_int_equal(qwend_status(peer.q, &info), 0);
    assert_int_equal(n, 1);
    assert_int_equal(qwend_status(peer.q, &info), 0);
    assert_int_equal(n, 3); /* the end too */
    qwend_stream_free(stream);
    free(peer_close(&peer));
}

static void test_a_refusal_is_an_error_event(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Subscribe\nsend Error+end code=302 text=\"8 subscriptions\"\neof\n", 0);
    qwend_stream *stream;
    qwend_event event;

    assert_int_equal(qwend_subscribe(peer.q, 0, NULL, NULL, &stream), 0);
    assert_int_equal(qwend_next(stream, &event), 1);
    assert_int_equal(event.type, QWEND_EV_ERROR);
    assert_int_equal(event.code, 302);
    assert_int_equal(qwend_next(stream, &event), 0);
    qwend_stream_free(stream);
    free(peer_close(&peer));
}

static void test_what_does_not_belong_breaks_the_connection(void **state)
{
    struct peer peer = peer_open("accept\nawait Subscribe\nsend Accepted position=1\neof\n"
                                 "accept\nawait Generate\nsend Sample seq=0\neof\n",
                                 0);
    qwend_req *req = peer_req("hi");
    qwend_stream *stream;
    qwend_event event;
    qwend *q;

    assert_int_equal(qwend_subscribe(peer.q, 0, NULL, NULL, &stream), 0);
    assert_int_equal(qwend_next(stream, &event), -EPROTO);
    qwend_close(peer.q);
    assert_int_equal(qwend_open(&q, fake_server_path(peer.server), 0), 0);
    peer.q = q;
    assert_int_equal(qwend_generate(peer.q, req, NULL, NULL, &stream), 0);
    assert_int_equal(qwend_next(stream, &event), -EPROTO);
    qwend_req_free(req);
    free(peer_close(&peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sample_gives_every_field),
        cmocka_unit_test(test_a_late_caller_gets_the_newest),
        cmocka_unit_test(test_a_callback_gets_samples_and_may_cancel),
        cmocka_unit_test(test_a_refusal_is_an_error_event),
        cmocka_unit_test(test_what_does_not_belong_breaks_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
