/* gateway.h - qwend-http as a whole: one loop, its listeners, its connections, and its way to the daemon. */
#pragma once

#include "daemon/util/bound.h"
#include "daemon/util/list.h"
#include "daemon/util/loop.h"
#include "keys.h"
#include "ledger.h"
#include "normalise_memory.h"
#include "options.h"
#include "owner.h"

enum { GATEWAY_LISTENERS = 8, GATEWAY_SIGNALS = 3 };

struct listener {
    struct gateway *gateway; /* borrowed */
    struct bound bound;      /* of TCP only its fd counts */
    bool is_tcp;
    struct event *readable;
    char name[176]; /* "unix:PATH", "127.0.0.1:8080" with the port that it really is */
};

struct gateway {
    const struct options *options; /* borrowed */
    struct event_base *base;
    struct keys *keys; /* NULL: none were configured */
    struct owners owners;
    struct listener listeners[GATEWAY_LISTENERS];
    int n_listeners;
    struct list conns;
    struct list links;
    struct list ended;                /* jobs */
    struct upstream *upstream;        /* NULL: none */
    struct ledger ledger;             /* what has gone there */
    uint64_t n_answered[6], n_broken; /* by status / 100; streams that ended with an error */
    struct event *signals[GATEWAY_SIGNALS], *reap, *rest;
    int64_t started_s; /* wall clock, for `created` of the model */
    bool stopping;
    unsigned normalised; /* rules that were told of */
    struct normalise_memory heads;
    uint64_t retry_ns; /* no way to the daemon is tried before */
};

int gateway_init(struct gateway *g, const struct options *options, struct fault *fault);
int gateway_run(struct gateway *g);
void gateway_deinit(struct gateway *g);
void gateway_reap(struct gateway *g); /* frees what is dead, once nothing of it is on the stack */

/* listen.c */
enum { LISTEN_OK, LISTEN_E_INVALID };
int listen_open_all(struct gateway *g, struct fault *fault);
void listen_close_all(struct gateway *g);
