/* upstream.h - another server of OpenAI's dialect that takes what the daemon cannot, or, if so configured,
 * comes first.
 *
 * Off unless upstream_url is set: nothing leaves the machine by itself.  What goes out are messages as text,
 * never token ids, only chats, and it is counted for each user.  Its stream becomes the events of libqwend,
 * so that every dialect's answers look the same wherever they were made. */
#pragma once

#include "ask.h"
#include "gateway.h"

enum {
    UPSTREAM_FAILURES = 5, /* in a row: it is left alone for a while */
    UPSTREAM_REST_MS = 15000,
    UPSTREAM_CONNECT_S = 5,
    UPSTREAM_SILENT_S = 60,
    UPSTREAM_LEDGER = 1024, /* users that are counted by themselves */
};
enum upstream_policy { UPSTREAM_LOCAL_ONLY, UPSTREAM_LOCAL_FIRST, UPSTREAM_FIRST };

struct up_call;
/* REASONING, ANSWER, and END with usage or ERROR, which is the last one.  An ERROR's code is 0, its text says
 * why. */
typedef void up_event_fn(struct up_call *call, const qwend_event *event);
struct up_call {               /* embedded in whatever waits for it */
    struct transfer *transfer; /* borrowed; NULL: not running */
    up_event_fn *on_event;
};

enum { UPSTREAM_OK, UPSTREAM_E_INVALID };
int upstream_open(struct gateway *g, struct fault *fault); /* nothing if none is configured */
void upstream_close(struct gateway *g);

enum upstream_policy upstream_policy(const struct gateway *g);
bool upstream_is_well(struct gateway *g); /* it may be asked: it did not just fail several times */

/* body: JSON, the call's from here on.  user: whom it is counted for.  < 0: it could not be asked. */
int upstream_ask(struct gateway *g, struct up_call *call, const char *user, char *body, size_t n);
void up_end(struct up_call *call); /* breaks off what runs; safe to call twice */
void up_pause(struct up_call *call, bool paused);

/* What of a user's has left the machine. */
void upstream_count(const struct gateway *g, const char *user, uint64_t *ret_requests, uint64_t *ret_bytes);

/* upstream_body.c: the request in OpenAI's dialect, to be freed; NULL: it cannot leave, or no memory. */
char *upstream_body(const struct gateway *g, const struct ask *ask, size_t *ret_n);
