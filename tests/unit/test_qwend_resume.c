/* test_qwend_resume.c - QWEND_RESUME: streams that outlive their connection in an event loop. */
#include "qwend_peer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#define ACCEPT "accept capabilities=\"attach\"\n"

struct seen {
    qwend *q;
    char text[64];
    int n_ends, code, n_fds, last_fd, r;
};

static int seen_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct seen *seen = user;

    if (event->type == QWEND_EV_ANSWER)
        strncat(seen->text, event->text, sizeof(seen->text) - strlen(seen->text) - 1);
    if (event->type == QWEND_EV_ERROR)
        seen->code = event->code ? event->code : -1;
    seen->n_ends += event->type == QWEND_EV_END || event->type == QWEND_EV_ERROR;
    return 0;
}

/* One turn of a loop as qwend.h describes it. */
static void seen_turn(struct seen *seen)
{
    struct pollfd pollfd = {.fd = qwend_fd(seen->q), .events = qwend_events(seen->q)};

    if (pollfd.fd >= 0 && pollfd.fd != seen->last_fd) {
        seen->n_fds++;
        seen->last_fd = pollfd.fd;
    }
    assert_int_equal(pollfd.fd < 0, pollfd.events == 0);
    assert_true(pollfd.fd >= 0 || qwend_timeout_ms(seen->q) >= 0);
    poll(&pollfd, 1, qwend_timeout_ms(seen->q));
    seen->r = qwend_dispatch(seen->q, pollfd.revents);
}

static void seen_loop(struct seen *seen, int n_ends)
{
    while (seen->n_ends < n_ends && !seen->r)
        seen_turn(seen);
}

/* Until the connection is gone and no other is there yet. */
static void seen_lose(struct seen *seen)
{
    while (qwend_fd(seen->q) >= 0 && !seen->r)
        seen_turn(seen);
    assert_int_equal(seen->r, 0);
}

static qwend_stream *seen_ask(struct seen *seen, bool detachable)
{
    qwend_req *req = peer_req("hi");
    qwend_stream *stream;

    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_DETACHABLE, detachable), 0);
    assert_int_equal(qwend_generate(seen->q, req, seen_on_event, seen, &stream), 0);
    qwend_req_free(req);
    return stream;
}

static void test_resume_goes_on_with_another_fd(void **state)
{
    struct peer peer =
        peer_open(ACCEPT "await Generate\nsend Accepted position=0\nsay \"a\"\nclose\n" ACCEPT
                         "await Attach\nsend Delta seq=1 channel=CHANNEL_ANSWER text=\"b\"\nclose\n" ACCEPT
                         "await Attach\nsend Delta seq=2 channel=CHANNEL_ANSWER text=\"c\"\n"
                         "send Usage+end finish=FINISH_STOP\neof\n",
                  QWEND_NONBLOCK | QWEND_RESUME);
    struct seen seen = {.q = peer.q};

    seen_ask(&seen, true);
    seen_loop(&seen, 1);
    assert_int_equal(seen.r, 0);
    assert_string_equal(seen.text, "abc");
    assert_int_equal(seen.n_fds, 3);
    peer_close_received(&peer, "next_seq=1", "next_seq=2", "credit_bytes=65536");
}

static void test_resume_serves_qwend_next_as_well(void **state)
{
    struct peer peer = peer_open(ACCEPT "await Generate\nsay \"a\"\nclose\n" ACCEPT
                                        "await Attach\nsend Delta seq=1 channel=CHANNEL_ANSWER text=\"b\"\n"
                                        "send Usage+end finish=FINISH_STOP\neof\n",
                                 QWEND_NONBLOCK | QWEND_RESUME);
    qwend_req *req = peer_req("hi");
    qwend_stream *stream;
    qwend_event event;
    char text[8] = "";
    int r;

    assert_int_equal(qwend_req_set_i(req, QWEND_OPT_DETACHABLE, 1), 0);
    assert_int_equal(qwend_generate(peer.q, req, NULL, NULL, &stream), 0);
    qwend_req_free(req);
    while ((r = qwend_next(stream, &event)) != 0) {
        struct pollfd pollfd = {.fd = qwend_fd(peer.q), .events = qwend_events(peer.q)};

        assert_true(r == 1 || r == -EAGAIN);
        if (r == 1 && event.type == QWEND_EV_ANSWER)
            strcat(text, event.text);
        if (r == -EAGAIN)
            poll(&pollfd, 1, qwend_timeout_ms(peer.q));
    }
    assert_string_equal(text, "ab");
    free(peer_close(&peer));
}

static void test_resume_ends_what_cannot_go_on(void **state)
{
    struct peer peer = peer_open(ACCEPT "await Generate\nawait Generate\nclose\n" ACCEPT "await Attach\n"
                                        "send Usage+end finish=FINISH_STOP\neof\n",
                                 QWEND_NONBLOCK | QWEND_RESUME);
    struct seen stays = {.q = peer.q}, goes = {.q = peer.q};

    seen_ask(&stays, true);
    seen_ask(&goes, false);
    seen_loop(&stays, 1);
    assert_int_equal(stays.code, 0);
    assert_int_equal(goes.n_ends, 1);
    assert_int_equal(goes.code, -1);
    free(peer_close(&peer));
}

static void test_resume_takes_no_request_in_between(void **state)
{
    struct peer peer = peer_open(ACCEPT "await Generate\nclose\n" ACCEPT
                                        "await Attach\nsend Usage+end finish=FINISH_STOP\neof\n",
                                 QWEND_NONBLOCK | QWEND_RESUME);
    struct seen seen = {.q = peer.q};
    qwend_req *req = peer_req("hi");
    qwend_stream *stream;

    seen_ask(&seen, true);
    seen_lose(&seen);
    assert_int_equal(qwend_generate(peer.q, req, seen_on_event, &seen, &stream), -EAGAIN);
    assert_non_null(strstr(qwend_error(peer.q), "being made again"));
    qwend_req_free(req);
    seen_loop(&seen, 1);
    free(peer_close(&peer));
}

static void test_resume_cancels_once_there_is_a_connection(void **state)
{
    struct peer peer =
        peer_open(ACCEPT "await Generate\nawait Generate\nclose\n" ACCEPT
                         "await Cancel\nawait Cancel\non 1\nsend Usage+end finish=FINISH_CANCEL\n"
                         "on 2\nsend Usage+end finish=FINISH_CANCEL\neof\n",
                  QWEND_NONBLOCK | QWEND_RESUME);
    struct seen cancelled = {.q = peer.q}, freed = {.q = peer.q};
    qwend_stream *first = seen_ask(&cancelled, true), *second = seen_ask(&freed, true);

    seen_lose(&cancelled);
    assert_int_equal(qwend_cancel(first), 0);
    qwend_stream_free(second);
    seen_loop(&cancelled, 1);
    assert_int_equal(cancelled.code, 0);
    assert_int_equal(freed.n_ends, 0);
    peer_close_received(&peer, "Cancel stream=1", "Cancel stream=3");
}

static void test_resume_does_not_wait_for_nothing(void **state)
{
    struct peer peer = peer_open(ACCEPT "await Generate\nclose\n", QWEND_NONBLOCK | QWEND_RESUME);
    struct seen seen = {.q = peer.q};

    seen_ask(&seen, false);
    seen_loop(&seen, 1);
    assert_int_equal(seen.r, -EPIPE);
    assert_int_equal(qwend_dispatch(peer.q, 0), -EPIPE);
    assert_int_equal(qwend_timeout_ms(peer.q), -1);
    free(peer_close(&peer));
}

static void test_resume_gives_up_where_nobody_listens(void **state)
{
    struct peer peer = peer_open("accept capabilities=\"attach\",\"restart\"\nawait Generate\nclose\n",
                                 QWEND_NONBLOCK | QWEND_RESUME);
    struct seen seen = {.q = peer.q};
    char *log = NULL;

    seen_ask(&seen, false);
    seen_lose(&seen);
    assert_int_equal(fake_server_stop(peer.server, &log), 0); /* and with it its socket */
    free(log);
    seen_loop(&seen, 1);
    assert_int_equal(seen.r, -EPIPE);
    assert_non_null(strstr(qwend_error(peer.q), "closed the connection"));
    qwend_close(peer.q);
}

static void test_resume_may_be_closed_in_between(void **state)
{
    struct peer peer = peer_open(ACCEPT "await Generate\nclose\n", QWEND_NONBLOCK | QWEND_RESUME);
    struct seen seen = {.q = peer.q};

    seen_ask(&seen, true);
    seen_lose(&seen);
    free(peer_close(&peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume_goes_on_with_another_fd),
        cmocka_unit_test(test_resume_serves_qwend_next_as_well),
        cmocka_unit_test(test_resume_ends_what_cannot_go_on),
        cmocka_unit_test(test_resume_takes_no_request_in_between),
        cmocka_unit_test(test_resume_cancels_once_there_is_a_connection),
        cmocka_unit_test(test_resume_does_not_wait_for_nothing),
        cmocka_unit_test(test_resume_gives_up_where_nobody_listens),
        cmocka_unit_test(test_resume_may_be_closed_in_between),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
