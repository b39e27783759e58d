/* test_qwend_begin.c - questions that do not wait, and streams that do. */
#include "qwend_peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "proto/base.h"

struct heard {
    int n;
    qwend_event_type type;
    char text[64];
    uint32_t ids[4];
    size_t n_ids;
    int code, state;
    bool pauses;
};

static int hear(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct heard *heard = user;

    heard->n++;
    heard->type = event->type;
    heard->code = event->code;
    snprintf(heard->text, sizeof(heard->text), "%s", event->text ? event->text : "");
    heard->n_ids = MIN(event->n_ids, ARRAY_SIZE(heard->ids));
    if (heard->n_ids)
        memcpy(heard->ids, event->ids, heard->n_ids * sizeof(*heard->ids));
    heard->state = event->status ? event->status->state : 0;
    if (heard->pauses)
        qwend_stream_pause(stream, 1);
    return 0;
}

/* The loop of a caller, until so many events came. */
static void drive(qwend *q, const struct heard *heard, int n)
{
    while (heard->n < n) {
        struct pollfd pollfd = {.fd = qwend_fd(q), .events = qwend_events(q)};

        poll(&pollfd, 1, qwend_timeout_ms(q));
        if (qwend_dispatch(q, pollfd.revents))
            fail_msg("%s", qwend_error(q));
    }
}

static void test_each_question_is_answered_by_one_event(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Tokenize\nsend Tokens+end ids=7 ids=8\nawait Detokenize\nsend Text+end "
                  "text=\"ab\"\nawait Render\nsend Text+end text=\"cd\"\nawait Status\nsend "
                  "StatusReply+end state=SERVING\nawait Tokenize\nsend Error+end code=403 text=\"no\"\neof\n",
                  QWEND_NONBLOCK);
    const uint32_t ids[] = {7, 8};
    struct heard heard = {};
    qwend_req *req = peer_req("hi");
    qwend_stream *stream;

    assert_int_equal(qwend_begin_tokenize(peer.q, "ab", 2, 0, hear, &heard, &stream), 0);
    drive(peer.q, &heard, 1);
    assert_int_equal(heard.type, QWEND_EV_REPLY);
    assert_int_equal(heard.n_ids, 2);
    assert_int_equal(heard.ids[1], 8);
    qwend_stream_free(stream);
    assert_int_equal(qwend_begin_detokenize(peer.q, ids, 2, hear, &heard, &stream), 0);
    drive(peer.q, &heard, 2);
    assert_string_equal(heard.text, "ab");
    qwend_stream_free(stream);
    assert_int_equal(qwend_begin_render(peer.q, req, hear, &heard, &stream), 0);
    drive(peer.q, &heard, 3);
    assert_string_equal(heard.text, "cd");
    qwend_stream_free(stream);
    assert_int_equal(qwend_begin_status(peer.q, hear, &heard, &stream), 0);
    drive(peer.q, &heard, 4);
    assert_int_equal(heard.state, 3);
    qwend_stream_free(stream);
    assert_int_equal(qwend_begin_tokenize(peer.q, "ab", 2, 0, hear, &heard, &stream), 0);
    drive(peer.q, &heard, 5);
    assert_int_equal(heard.type, QWEND_EV_ERROR);
    assert_int_equal(heard.code, 403);
    qwend_stream_free(stream);
    qwend_req_free(req);
    peer_close_received(&peer, "Tokenize stream=1 END text=\"ab\"", "Detokenize stream=3 END ids=7,8",
                        "Status stream=7 END");
}

static void test_what_cannot_be_asked_is_not_sent(void **state)
{
    struct peer peer = peer_open("accept\neof\n", QWEND_NONBLOCK);
    struct heard heard = {};
    qwend_stream *stream;

    assert_int_equal(qwend_begin_tokenize(peer.q, "\xff", 1, 0, hear, &heard, &stream), -EILSEQ);
    assert_int_equal(qwend_begin_tokenize(peer.q, "a", 1, 9, hear, &heard, &stream), -EINVAL);
    assert_int_equal(heard.n, 0);
    free(peer_close(&peer));
}

/* Half of the 64 KiB of credit is granted again when it was taken: not while the stream is paused. */
static void test_a_paused_stream_hears_and_grants_nothing(void **state)
{
    char script[2048];
    struct heard heard = {.pauses = true}, other = {};
    struct peer peer;
    qwend_req *req = peer_req("hi");
    qwend_stream *stream, *question;

    snprintf(
        script, sizeof(script),
        "accept\nawait Generate\nawait Tokenize\non 1\nflood 40 \"%01000d\"\non 2\nsend Tokens+end ids=7\n"
        "on 1\nawait Credit\nsend Usage+end finish=FINISH_STOP\neof\n",
        0);
    peer = peer_open(script, QWEND_NONBLOCK);
    assert_int_equal(qwend_generate(peer.q, req, hear, &heard, &stream), 0);
    assert_int_equal(qwend_begin_tokenize(peer.q, "x", 1, 0, hear, &other, &question), 0);
    drive(peer.q, &other, 1); /* sent after the flood */
    assert_int_equal(heard.n, 1);
    heard.pauses = false;
    qwend_stream_pause(stream, 0);
    assert_int_equal(heard.n, 40);
    drive(peer.q, &heard, 41); /* the end comes after a Credit only */
    assert_int_equal(heard.type, QWEND_EV_END);
    qwend_req_free(req);
    peer_close_received(&peer, "Credit stream=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_question_is_answered_by_one_event),
        cmocka_unit_test(test_what_cannot_be_asked_is_not_sent),
        cmocka_unit_test(test_a_paused_stream_hears_and_grants_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
