/* watch.h - Subscribe: how the service does, told again and again while somebody looks.
 *
 * A sample is made when it is due and dropped if the connection still has output that its client did not
 * read: nothing piles up.  How many there are is capped per uid, since each costs the broker work for nobody
 * else. */
#pragma once

#include "daemon/util/list.h"
#include "qwend.pb-c.h"

struct client;
struct client_stream;
struct event;

enum {
    WATCH_PER_UID_MAX = 8,
    WATCH_MS_MIN = 100,
    WATCH_MS_MAX = 60000,
    WATCH_MS_DEFAULT = 500,
    WATCH_LIST_MAX = 128, /* requests in a sample */
};

struct watch {
    struct list node;      /* of the broker's watches */
    struct client *client; /* borrowed; outlives it */
    uint32_t stream, interval_ms;
    uint64_t seq;
    struct event *due;
};

/* On a stream just opened: refused on that stream, or made, and the first sample is due. */
void watch_open(struct client *client, struct client_stream *stream, const Qwp__Subscribe *subscribe);
void watch_cancel(struct watch *watch);          /* says Cancelled */
void watch_cancel_client(struct client *client); /* without a word */
