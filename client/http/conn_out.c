/* conn_out.c - answers become bytes: heads, bodies, chunks.  See conn.h. */
#include "conn_out.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "gate.h"
#include "route.h"

/* All was sent of an answer after which nothing follows. */
static void conn_out_end(struct conn *conn)
{
    if (conn->state != CONN_FLUSH)
        return;
    if (conn->eof || shutdown(conn->fd, SHUT_WR) < 0) {
        conn_kill(conn);
        return;
    }
    conn->state = CONN_LINGER;
    loop_watch(conn->readable);
    loop_arm_ms(conn->timer, CONN_LINGER_MS);
}

void conn_out_flush(struct conn *conn)
{
    const size_t before = conn_unsent(conn);

    if (conn->dead || conn->state == CONN_LINGER)
        return;
    while (conn_unsent(conn)) {
        ssize_t n = send(conn->fd, buf_head(&conn->out), conn_unsent(conn), MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
            break;
        if (n < 0) {
            conn_kill(conn);
            return;
        }
        buf_consume(&conn->out, (size_t)n);
    }
    if (conn_unsent(conn)) {
        if (!loop_is_armed(conn->writable) || conn_unsent(conn) < before)
            loop_arm_ms(conn->timer, 1000ull * conn->g->options->stall_s);
        loop_watch(conn->writable);
        return;
    }
    if (loop_is_armed(conn->writable)) {
        if (!conn->wants_room) /* else conn_on_writable() tells, for this may be within what its task says */
            loop_unwatch(conn->writable);
        loop_unwatch(conn->timer);
        if (conn->state == CONN_HEAD)
            loop_arm_ms(conn->timer, 1000ull * conn->g->options->idle_s);
    }
    if (conn->out.cap > CONN_UNSENT_LOW)
        buf_deinit(&conn->out);
    if (!conn->task)
        conn_charge(conn, 0);
    conn_out_end(conn);
}

void conn_add_field(struct conn *conn, const char *name, const char *value)
{
    const size_t used = strlen(conn->extra);
    const int n = snprintf(conn->extra + used, sizeof(conn->extra) - used, "%s: %s\r\n", name, value);

    if (n < 0 || (size_t)n >= sizeof(conn->extra) - used) { /* all of it or nothing */
        conn->extra[used] = '\0';
        return;
    }
    for (char *p = conn->extra + used; p < conn->extra + used + n - 2; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

/* The head of an answer, its length, or chunks, in `framing`. */
static int conn_out_head(struct conn *conn, int status, const char *type, const char *framing)
{
    char head[CONN_EXTRA_BYTES + 512], date[40];
    const time_t now = time(NULL);
    struct tm tm;
    int n;

    conn->status = status;
    conn->g->n_answered[status / 100]++;
    gmtime_r(&now, &tm);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    n = snprintf(head, sizeof(head),
                 "HTTP/1.1 %d %s\r\nDate: %s\r\nServer: qwend-http/" QWEND_VERSION "\r\nContent-Type: %s\r\n"
                 "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n%s%s%s\r\n",
                 status, http1_reason(status), date, type, conn->extra, framing,
                 conn->closing ? "Connection: close\r\n" : "");
    *conn->extra = '\0';
    return buf_append(&conn->out, head, (size_t)n);
}

void conn_reply(struct conn *conn, int status, const char *type, const void *body, size_t n)
{
    const bool is_head = conn->head.method && !strcmp(conn->head.method, "HEAD");
    struct refusal refusal;
    char length[48];
    int r;

    if (conn->dead)
        return;
    if (n > CONN_UNSENT_HIGH && !conn_charge(conn, n)) { /* it may wait long for whoever reads it */
        gate_refuse_memory(conn, &refusal);
        conn_refuse(conn, &refusal);
        return;
    }
    snprintf(length, sizeof(length), "Content-Length: %zu\r\n", n);
    r = conn_out_head(conn, status, type, length);
    if (!r && !is_head)
        r = buf_append(&conn->out, body, n);
    if (r)
        conn_kill(conn);
    else
        conn_on_answered(conn);
}

void conn_refuse(struct conn *conn, const struct refusal *refusal)
{
    _cleanup_(buf_deinit) struct buf body = BUF_INIT(64 << 10);
    struct jout j = {.buf = &body};
    char seconds[16];

    if (conn->dead)
        return;
    route_put_error(conn, refusal, &j);
    if (refusal->retry_after_s) {
        snprintf(seconds, sizeof(seconds), "%u", refusal->retry_after_s);
        conn_add_field(conn, "Retry-After", seconds);
    }
    conn_reply(conn, refusal->status, "application/json", buf_head(&body), buf_size(&body));
}

void conn_stream_begin(struct conn *conn, const char *type)
{
    if (conn->dead)
        return;
    if (conn->head.minor == 0)
        conn->closing =
            true; /* HTTP/1.0 knows no chunks: the end of the connection is the end of the answer */
    if (conn_out_head(conn, 200, type, conn->head.minor == 0 ? "" : "Transfer-Encoding: chunked\r\n"))
        conn_kill(conn);
    else
        conn_out_flush(conn);
}

void conn_stream_put(struct conn *conn, const void *piece, size_t n)
{
    char size[24];
    int r = 0;

    if (conn->dead || !n)
        return;
    if (conn->head.minor)
        r = buf_append(&conn->out, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", n));
    if (!r)
        r = buf_append(&conn->out, piece, n);
    if (!r && conn->head.minor)
        r = buf_append(&conn->out, "\r\n", 2);
    if (r)
        conn_kill(conn);
    else
        conn_out_flush(conn);
}

void conn_stream_end(struct conn *conn)
{
    if (conn->dead)
        return;
    if (conn->head.minor && buf_append(&conn->out, "0\r\n\r\n", 5))
        conn_kill(conn);
    else
        conn_on_answered(conn);
}
