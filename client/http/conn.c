/* conn.c - see conn.h.  Reading and what it leads to; writing is in conn_out.c. */
#include "conn.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "conn_out.h"
#include "daemon/util/log.h"
#include "daemon/util/peer.h"
#include "gate.h"
#include "route.h"

/* life */

static void conn_on_readable(int fd, short what, void *arg);
static void conn_on_writable(int fd, short what, void *arg);
static void conn_on_timer(int fd, short what, void *arg);
static void conn_on_next(int fd, short what, void *arg);

/* A peer over TCP is nobody until it shows a key. */
static struct owner *conn_find_owner(struct gateway *g, int fd, bool is_tcp)
{
    char name[OWNER_NAME_BYTES] = "tcp";
    struct peer peer;

    if (!is_tcp) {
        if (peer_read(fd, &peer))
            return NULL;
        snprintf(name, sizeof(name), "uid:%u", peer.uid);
    }
    return owner_get(&g->owners, name);
}

static int conn_make_events(struct conn *conn)
{
    struct event_base *base = conn->g->base;
    int r = loop_event_new(base, conn->fd, EV_READ | EV_PERSIST, conn_on_readable, conn, &conn->readable);

    if (!r)
        r = loop_event_new(base, conn->fd, EV_WRITE | EV_PERSIST, conn_on_writable, conn, &conn->writable);
    if (!r)
        r = loop_event_new(base, -1, 0, conn_on_timer, conn, &conn->timer);
    if (!r)
        r = loop_event_new(base, -1, 0, conn_on_next, conn, &conn->next);
    if (!r)
        r = loop_watch(conn->readable);
    return r ? r : loop_arm_ms(conn->timer, 1000ull * conn->g->options->head_s);
}

int conn_new(struct gateway *g, int fd, bool is_tcp)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    struct owner *owner = conn ? conn_find_owner(g, fd, is_tcp) : NULL;
    int r;

    if (!owner || !owner_charge(owner, OWNER_CONNECTIONS, 1)) {
        static const char full[] =
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
            "Connection: close\r\n\r\n";

        r = owner ? CONN_E_FULL : err_origin(-ENOMEM);
        (void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        owner_put(owner);
        free(conn);
        close(fd);
        return r;
    }
    *conn = (struct conn){.g = g,
                          .fd = fd,
                          .is_tcp = is_tcp,
                          .owner = owner,
                          .in = BUF_INIT(HTTP1_HEAD_BYTES + CONN_READ_BYTES),
                          .out = BUF_INIT(CONN_OUT_BYTES),
                          .body = BUF_INIT((size_t)g->options->body_kib << 10)};
    list_push(&g->conns, &conn->node);
    r = conn_make_events(conn);
    if (r)
        conn_kill(conn);
    return r;
}

void conn_kill(struct conn *conn)
{
    struct task *task = conn->task;

    if (conn->dead)
        return;
    conn->dead = true;
    conn->task = NULL;
    loop_event_free(&conn->readable);
    loop_event_free(&conn->writable);
    loop_event_free(&conn->timer);
    loop_event_free(&conn->next);
    closep(&conn->fd);
    if (task)
        task->on_gone(task);
    gateway_reap(conn->g);
}

static void conn_drop_request(struct conn *conn)
{
    freep(&conn->head_text);
    conn->head = (struct http1_head){};
    conn->chunks = (struct http1_chunks){};
    conn->route = NULL;
    *conn->extra = '\0';
    buf_deinit(&conn->body);
    conn_charge(conn, 0);
}

void conn_free(struct conn *conn)
{
    conn_drop_request(conn);
    list_remove(&conn->node);
    buf_deinit(&conn->in);
    buf_deinit(&conn->out);
    conn_charge(conn, 0);
    owner_release(conn->owner, OWNER_CONNECTIONS, 1);
    owner_put(conn->owner);
    free(conn);
}

void conn_take_owner(struct conn *conn, struct owner *owner)
{
    struct owner *old = conn->owner;

    owner_release(old, OWNER_CONNECTIONS, 1);
    owner_release(old, OWNER_BYTES, conn->charged);
    conn->owner = owner;
    /* What it holds by now is little, and was let in already. */
    owner->used[OWNER_CONNECTIONS]++;
    owner->owners->used[OWNER_CONNECTIONS]++;
    owner->used[OWNER_BYTES] += conn->charged;
    owner->owners->used[OWNER_BYTES] += conn->charged;
    owner_put(old);
}

bool conn_charge(struct conn *conn, uint64_t task_bytes)
{
    const uint64_t now = conn->in.cap + conn->out.cap + conn->body.cap + task_bytes;

    if (now > conn->charged && !owner_charge(conn->owner, OWNER_BYTES, now - conn->charged))
        return false;
    if (now < conn->charged)
        owner_release(conn->owner, OWNER_BYTES, conn->charged - now);
    conn->charged = now;
    return true;
}

/* the request */

static void conn_say(struct conn *conn, const char *text)
{
    if (buf_append(&conn->out, text, strlen(text)))
        conn_kill(conn);
    else
        conn_out_flush(conn);
}

/* The client may still be sending: what it sends is thrown away for a while, so that it gets to read the
 * answer. */
static void conn_refuse_and_close(struct conn *conn, const struct refusal *refusal)
{
    conn->closing = true;
    conn->state = CONN_BUSY;
    conn_refuse(conn, refusal);
}

static void conn_serve(struct conn *conn)
{
    conn->state = CONN_BUSY;
    loop_unwatch(conn->timer);
    conn->route->serve(conn);
}

/* A head is there.  Decides everything that can be decided without the body. */
static void conn_on_head(struct conn *conn, size_t n)
{
    struct refusal refusal = {};
    struct fault fault = {};
    int r;

    conn->n_requests++;
    conn->head_text = malloc(n + 1);
    if (!conn->head_text) {
        conn_kill(conn);
        return;
    }
    memcpy(conn->head_text, buf_head(&conn->in), n);
    conn->head_text[n] = '\0';
    buf_consume(&conn->in, n);
    r = http1_parse(conn->head_text, n, &conn->head, &fault);
    if (r > 0)
        refuse(&refusal, r, "bad_request", NULL, "%s", fault.text);
    else
        gate_admit(conn, &refusal);
    if (!conn->head.keep_alive || conn->n_requests >= conn->g->options->connection_requests ||
        conn->g->stopping)
        conn->closing = true;
    if (refusal.status && !r && !conn->head.chunked && !conn->head.n_body) {
        conn->state = CONN_BUSY;
        conn_refuse(conn, &refusal); /* where the next request begins is certain */
    } else if (refusal.status) {
        conn_refuse_and_close(conn, &refusal);
    } else if (conn->head.chunked || conn->head.n_body) {
        conn->state = CONN_BODY;
        loop_arm_ms(conn->timer, 1000ull * conn->g->options->body_s);
        if (conn->head.expects_continue)
            conn_say(conn, "HTTP/1.1 100 Continue\r\n\r\n");
    } else {
        conn_serve(conn);
    }
}

static bool conn_keep_body(struct conn *conn, const char *text, size_t n)
{
    struct refusal refusal = {};
    int r = buf_append(&conn->body, text, n);

    if (!r && conn_charge(conn, 0))
        return true;
    if (r == BUF_E_FULL)
        refuse(&refusal, 413, "request_too_large", NULL, "the request's body has more than %u KiB",
               conn->g->options->body_kib);
    else
        gate_refuse_memory(conn, &refusal);
    conn_refuse_and_close(conn, &refusal);
    return false;
}

/* True when it moved on. */
static bool conn_on_chunked(struct conn *conn)
{
    struct refusal refusal = {};
    const char *text;
    size_t n_used, n_text;
    int r = http1_chunk(&conn->chunks, (const char *)buf_head(&conn->in), buf_size(&conn->in), &n_used, &text,
                        &n_text);

    if (r > HTTP1_E_MORE) {
        refuse(&refusal, r, "bad_request", NULL, "the body's chunks are not well formed");
        conn_refuse_and_close(conn, &refusal);
        return true;
    }
    if (n_text && !conn_keep_body(conn, text, n_text))
        return true;
    buf_consume(&conn->in, n_used);
    if (conn->chunks.state == CHUNKS_DONE)
        conn_serve(conn);
    return n_used > 0;
}

static bool conn_on_body(struct conn *conn)
{
    const size_t left = (size_t)conn->head.n_body - buf_size(&conn->body), n = MIN(left, buf_size(&conn->in));

    if (conn->head.chunked)
        return buf_size(&conn->in) && conn_on_chunked(conn);
    if (n && !conn_keep_body(conn, (const char *)buf_head(&conn->in), n))
        return true;
    buf_consume(&conn->in, n);
    if (n == left)
        conn_serve(conn);
    return n > 0;
}

/* True when a head was taken, or refused. */
static bool conn_on_start(struct conn *conn)
{
    struct refusal refusal = {};
    size_t n;

    /* Blank lines before a request are left from clients that end a body with one (RFC 9112 §2.2). */
    while (buf_size(&conn->in) >= 2 && !memcmp(buf_head(&conn->in), "\r\n", 2))
        buf_consume(&conn->in, 2);
    n = http1_head_size((const char *)buf_head(&conn->in), buf_size(&conn->in));
    if (!n && buf_size(&conn->in) < HTTP1_HEAD_BYTES)
        return false;
    if (n && n <= HTTP1_HEAD_BYTES) {
        conn_on_head(conn, n);
        return true;
    }
    refuse(&refusal, 431, "request_too_large", NULL, "the request's head has more than %d bytes",
           HTTP1_HEAD_BYTES);
    conn_refuse_and_close(conn, &refusal);
    return true;
}

/* As far as what has been read goes, and what was answered has been read by the client. */
static void conn_advance(struct conn *conn)
{
    bool moved = true;

    while (moved && !conn->dead) {
        moved = false;
        if (conn->state == CONN_HEAD && conn_unsent(conn) < CONN_UNSENT_HIGH)
            moved = conn_on_start(conn);
        else if (conn->state == CONN_BODY)
            moved = conn_on_body(conn);
    }
    if (!conn->dead && conn->eof && !conn->task && !conn_unsent(conn))
        conn_kill(conn);
}

/* The answer is complete. */
void conn_on_answered(struct conn *conn)
{
    conn->task = NULL;
    conn->wants_room = false;
    log_debug("%s %s %s: %d", conn->owner->name, conn->head.method ? conn->head.method : "?",
              conn->route ? conn->route->path : "?", conn->status);
    conn_drop_request(conn);
    conn->state = conn->closing ? CONN_FLUSH : CONN_HEAD;
    if (conn->state == CONN_HEAD)
        loop_arm_ms(conn->timer, 1000ull * conn->g->options->idle_s);
    conn_out_flush(conn);
    if (!conn->dead)
        loop_defer(conn->next);
}

static void conn_on_next(int fd, short what, void *arg)
{
    struct conn *conn = arg;

    loop_watch(conn->readable);
    conn_advance(conn);
}

/* events */

/* Nobody will read the answer to the request that is under way. */
static void conn_on_eof(struct conn *conn)
{
    conn->eof = true;
    loop_unwatch(conn->readable);
    if (conn->task || conn->state == CONN_BODY || conn->state == CONN_LINGER || !conn_unsent(conn))
        conn_kill(conn);
}

static void conn_on_readable(int fd, short what, void *arg)
{
    struct conn *conn = arg;
    uint8_t *tail;
    ssize_t n;

    if (conn->state == CONN_LINGER)
        buf_consume(&conn->in, buf_size(&conn->in));
    if (buf_reserve(&conn->in, CONN_READ_BYTES, &tail)) { /* a pipeline as long as this waits in the kernel */
        loop_unwatch(conn->readable);
        return;
    }
    n = recv(conn->fd, tail, CONN_READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_on_eof(conn);
        return;
    }
    buf_commit(&conn->in, (size_t)n);
    if (!conn_charge(conn, 0) && conn->state == CONN_HEAD) {
        conn_kill(conn); /* not even room for a head */
        return;
    }
    if (conn->state == CONN_BODY)
        loop_arm_ms(conn->timer, 1000ull * conn->g->options->body_s);
    else if (conn->state == CONN_HEAD && buf_size(&conn->in) == (size_t)n)
        loop_arm_ms(conn->timer, 1000ull * conn->g->options->head_s);
    conn_advance(conn);
}

static void conn_on_writable(int fd, short what, void *arg)
{
    struct conn *conn = arg;

    conn_out_flush(conn);
    if (conn->dead)
        return;
    if (conn->wants_room && conn_unsent(conn) <= CONN_UNSENT_LOW) {
        conn->wants_room = false;
        if (!conn_unsent(conn))
            loop_unwatch(conn->writable);
        if (conn->task && conn->task->on_room)
            conn->task->on_room(conn->task);
    }
    if (!conn->dead && conn->state == CONN_HEAD)
        conn_advance(conn);
}

/* What it waited for did not come: the rest of a request, the next one, or that the client reads. */
static void conn_on_timer(int fd, short what, void *arg)
{
    struct conn *conn = arg;
    struct refusal refusal = {};

    if (conn->state == CONN_BODY || (conn->state == CONN_HEAD && buf_size(&conn->in) && !conn_unsent(conn))) {
        refuse(&refusal, 408, "timeout", NULL, "the rest of the request did not come in time");
        conn_refuse_and_close(conn, &refusal);
        return;
    }
    conn_kill(conn);
}
