/* upstream.h - other servers of OpenAI's dialect that take what the daemon cannot, or, if so configured, come
 * first.
 *
 * Off unless the configuration has one: nothing leaves the machine by itself.  What goes out are messages as
 * text, never token ids, only chats, and it is counted for each user (ledger.h).  Their streams become the
 * events of libqwend, so that every dialect's answers look the same wherever they were made. */
#pragma once

#include "ask.h"
#include "gateway.h"

enum {
    UPSTREAM_FAILURES = 5, /* in a row: it is left alone for a while */
    UPSTREAM_REST_MS = 15000,
    UPSTREAM_CONNECT_S = 5,
    UPSTREAM_SILENT_S = 60,
    UPSTREAM_LEAVE_MS = 1000, /* after [DONE], until the body's end: its connection is of use then */
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

/* Where a request could go: by the model that it names, and a key that is the same for one conversation. */
struct up_place {
    const char *model;
    uint64_t key;
    uint32_t tried; /* bit i: the i-th server of options->servers */
};
bool upstream_wants(const struct gateway *g,
                    const char *model); /* some server could be asked, sooner or later */
/* A server of that policy that is well, takes the model and was not tried; -1: none. */
int upstream_pick(const struct gateway *g, enum upstream_policy policy, const struct up_place *place);
/* body: as upstream_body() made it.  user: whom it is counted for.  < 0: it could not be asked. */
int upstream_ask(struct gateway *g, struct up_call *call, int server, const char *user, const char *model,
                 const char *body, size_t n);
void up_end(struct up_call *call); /* breaks off what runs; safe to call twice */
void up_pause(struct up_call *call, bool paused);

struct up_state { /* of a server; all zero in a build that can ask none */
    bool well;    /* it did not just fail several times */
    uint64_t requests, failures, running;
};
void upstream_state(const struct gateway *g, int server, struct up_state *ret_state);
enum upstream_policy upstream_policy_of(const struct server_conf *server);

/* upstream_body.c: the request in OpenAI's dialect but for its first member, the model: from behind that
 * one's comma to the end.  To be freed; NULL: it cannot leave, or no memory. */
char *upstream_body(const struct ask *ask, size_t *ret_n);
/* The first member and the rest; to be freed, NULL: no memory. */
char *upstream_body_for(const char *model, const char *rest, size_t n, size_t *ret_n);
