/* link.h - the gateway's connections to the daemon, and the calls on them.
 *
 * A connection takes 64 streams; another is opened when all have as many as LINK_CALLS.  One that breaks is
 * made again by libqwend, and its calls go on, if the daemon is started again or becomes another; else they
 * end with an ERROR event of code 0, and the next call opens a new one. */
#pragma once

#include "client/lib/qwend.h"
#include "gateway.h"

enum { LINK_CALLS = 60, LINK_MAX = 64, LINK_RETRY_MS = 100 };

struct call;
typedef void link_event_fn(struct call *call, const qwend_event *event);

/* One stream of the daemon's; embedded in whatever waits for it. */
struct call {
    struct list node;
    struct link *link;    /* borrowed; NULL: not running */
    qwend_stream *stream; /* owned */
    link_event_fn
        *on_event; /* END, REPLY or ERROR is the last one: the call is over then, and may be freed in it */
};

/* 0; or < 0 with *ret_why, which the daemon or its absence gave: a line for people, borrowed for the moment.
 */
int link_generate(struct gateway *g, struct call *call, const qwend_req *req, const char **ret_why);
int link_status(struct gateway *g, struct call *call, const char **ret_why);
int link_render(struct gateway *g, struct call *call, const qwend_req *req, const char **ret_why);
int link_tokenize(struct gateway *g, struct call *call, const char *text, size_t n, int special,
                  const char **ret_why);
int link_detokenize(struct gateway *g, struct call *call, const uint32_t *ids, size_t n,
                    const char **ret_why);

void call_end(struct call *call);    /* cancels what still runs; safe to call twice */
void call_cancel(struct call *call); /* its END follows */
void call_pause(struct call *call, bool paused);

const char *link_model(const struct gateway *g); /* NULL: not known */
void link_close_all(struct gateway *g);
