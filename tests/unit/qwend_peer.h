/* qwend_peer.h - what the tests of libqwend share: a connection to a scripted server, and its end. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/lib/qwend.h"
#include "fake_server.h"

struct peer {
    struct fake_server *server;
    qwend *q;
};

/* Starts the server on the script and connects. */
static inline struct peer peer_open(const char *script, unsigned flags)
{
    struct peer peer = {.server = fake_server_start(script)};

    assert_non_null(peer.server);
    assert_int_equal(qwend_open_as(&peer.q, fake_server_path(peer.server), flags, "test"), 0);
    return peer;
}

/* Closes, and fails the test if the script was not followed to its end.  The log is the caller's to free. */
static inline char *peer_close(struct peer *peer)
{
    char *log = NULL;

    qwend_close(peer->q);
    assert_int_equal(fake_server_stop(peer->server, &log), 0);
    return log;
}

static inline void peer_check_log(struct peer *peer, const char *const *wanted)
{
    char *log = peer_close(peer);

    for (; *wanted; wanted++)
        if (!strstr(log, *wanted))
            fail_msg("\"%s\" was not received; received:\n%s", *wanted, log);
    free(log);
}
#define peer_close_received(peer, ...) peer_check_log((peer), (const char *const[]){__VA_ARGS__, NULL})

/* A request with one user message. */
static inline qwend_req *peer_req(const char *text)
{
    qwend_req *req = qwend_req_new();

    assert_non_null(req);
    assert_int_equal(qwend_req_message(req, QWEND_USER, text, (size_t)-1), 0);
    return req;
}

static inline qwend_stream *peer_generate(struct peer *peer, const char *text)
{
    qwend_req *req = peer_req(text);
    qwend_stream *stream;

    assert_int_equal(qwend_generate(peer->q, req, NULL, NULL, &stream), 0);
    qwend_req_free(req);
    return stream;
}

static inline qwend_event peer_next(qwend_stream *stream, qwend_event_type type)
{
    qwend_event event = {};

    assert_int_equal(qwend_next(stream, &event), 1);
    assert_int_equal(event.type, type);
    return event;
}
