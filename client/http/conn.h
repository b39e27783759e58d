/* conn.h - one HTTP connection: bytes in, one request at a time, bytes out, each with a cap and a deadline.
 *
 * A request is served by its route's handler, which answers at once (conn_reply) or leaves a task that
 * answers later. The next request of a pipeline is looked at when the answer before it is complete and read.
 */
#pragma once

#include <netinet/in.h>

#include "gateway.h"
#include "http1.h"
#include "jout.h"
#include "refusal.h"

enum {
    CONN_READ_BYTES = 16 << 10,
    CONN_UNSENT_HIGH = 64 << 10, /* more unsent than this: the model waits */
    CONN_UNSENT_LOW = 16 << 10,
    CONN_OUT_BYTES = 24 << 20, /* an answer of 4 MiB, escaped, and what goes with it */
    CONN_EXTRA_BYTES = 640,    /* of header fields that a handler adds */
    CONN_LINGER_MS = 2000,     /* for a refused body, so that the client gets to read why */
};

struct conn;
/* What answers later.  The connection calls on_gone once when nobody will read the answer any more. */
struct task {
    void (*on_gone)(struct task *task);
    void (*on_room)(struct task *task); /* unsent bytes are few again, where it waits for that */
};

enum conn_state { CONN_HEAD, CONN_BODY, CONN_BUSY, CONN_FLUSH, CONN_LINGER };

struct conn {
    struct gateway *g; /* borrowed */
    struct list node;
    int fd;
    bool is_tcp, dead, closing, eof;
    bool wants_room; /* set by its task, which waits for on_room */
    enum conn_state state;
    struct owner *owner;
    struct event *readable, *writable, *timer, *next;
    struct buf in, out, body;
    uint64_t charged; /* bytes, with the owner */
    char *head_text;  /* owned; head points into it */
    struct http1_head head;
    struct http1_chunks chunks;
    const struct route *route;
    struct task *task;            /* borrowed: it lives until it ended, or on_gone */
    char extra[CONN_EXTRA_BYTES]; /* header fields of the answer */
    uint32_t n_requests;
    int status; /* of the answer that is under way or was last */
};

enum { CONN_OK, CONN_E_FULL };
int conn_new(struct gateway *g, int fd,
             bool is_tcp);         /* takes fd; CONN_E_FULL: its owner has too many, was told */
void conn_kill(struct conn *conn); /* at once; its task is told */
void conn_free(struct conn *conn); /* only of the dead */

void conn_add_field(struct conn *conn, const char *name,
                    const char *value); /* value: printable ASCII; else '?' */
/* The whole answer.  Whoever calls these two has no task on the connection any more. */
void conn_reply(struct conn *conn, int status, const char *type, const void *body, size_t n);
void conn_refuse(struct conn *conn, const struct refusal *refusal); /* in the shape of its route's dialect */

/* An answer in pieces.  Where there is no room for one the connection is closed, and its task told. */
void conn_stream_begin(struct conn *conn, const char *type);
void conn_stream_put(struct conn *conn, const void *piece, size_t n);
void conn_stream_end(struct conn *conn);
static inline size_t conn_unsent(const struct conn *conn)
{
    return buf_size(&conn->out);
}
/* What the task holds beside the connection's own buffers has changed.  false: more than its owner's share.
 */
bool conn_charge(struct conn *conn, uint64_t task_bytes);
void conn_take_owner(struct conn *conn, struct owner *owner); /* takes the reference; moves all charges */
