/* resume.c - what attach.c does while its caller waits, for one with an event loop: between two tries there
 * is no fd, only a time at which qwend_dispatch() is to be called.
 *
 * A stream that waits for a connection has number 0, so that no frame of the next one can be taken for its.
 * Once Welcome is there, conn.c has attach_streams() give each its new number. */
#include <string.h>

#include "conn.h"

/* Its caller is done with it; the daemon must still hear that. */
bool resume_drop(qwend_stream *stream)
{
    if (!stream->q->resuming || stream->number || !attach_is_wanted(stream))
        return false;
    stream->dropped = stream->cancel_due = true;
    stream->cb = NULL;
    buf_deinit(&stream->queue);
    stream->queue = BUF_INIT(0);
    return true;
}

static bool resume_is_worth_it(const qwend *q)
{
    for (const qwend_stream *stream = q->streams; stream; stream = stream->next)
        if (attach_is_wanted(stream))
            return true;
    return false;
}

static void resume_let_go(qwend *q)
{
    if (q->fd >= 0) {
        closep(&q->lost_fd);
        q->lost_fd = steal_fd(&q->fd);
    }
    for (size_t i = 0; i < q->n_pass; i++)
        closep(&q->pass[i].fd);
    q->n_pass = 0;
    buf_consume(&q->in, buf_size(&q->in));
    buf_consume(&q->out, buf_size(&q->out));
    for (qwend_stream *stream = q->streams; stream; stream = stream->next)
        stream->number = 0;
    conn_forget_welcome(q);
}

static int resume_give_up(qwend *q, int r)
{
    q->resuming = false;
    q->dead = r;
    return r;
}

/* Waits for the next try; the first is at once. */
static int resume_later(qwend *q, bool may_wait)
{
    const uint64_t now = conn_now_ns();

    if (!q->resuming) {
        q->resume_pause_ms = 0;
        q->resume_until_ns = now + CONN_PATIENCE_MS * 1000000ull;
    } else if (!may_wait || now >= q->resume_until_ns) {
        return resume_give_up(q, -EPIPE);
    }
    q->resuming = true;
    q->dead = 0;
    q->resume_at_ns = now + (uint64_t)q->resume_pause_ms * 1000000u;
    q->resume_pause_ms = MIN(MAX(2 * q->resume_pause_ms, (int)CONN_RETRY_MS), (int)CONN_RETRY_MS_MAX);
    resume_let_go(q);
    return 0;
}

/* 0: Hello is under way, or another try will be made. */
static int resume_try(qwend *q)
{
    const struct conn_error first = q->error;
    int r = open_again(q);

    if (r == -ECONNREFUSED || r == -ENOENT || r == -EAGAIN) {
        q->error = first;
        return resume_later(q, r == -EAGAIN || attach_has_detachable(q));
    }
    if (r) {
        conn_error(q, r, "%s: %s", q->path, strerror(-r));
        return resume_give_up(q, r);
    }
    closep(&q->lost_fd);
    return 0;
}

int resume_step(qwend *q)
{
    int r;

    if (q->resuming && q->fd < 0) {
        if (conn_now_ns() < q->resume_at_ns)
            return -EAGAIN;
        r = resume_try(q);
        if (r || q->fd < 0)
            return r ? r : -EAGAIN;
    }
    r = conn_step(q);
    if (!(q->flags & QWEND_RESUME) || (r != -EPIPE && !(r == -ETIMEDOUT && q->resuming)))
        return r;
    if (!resume_is_worth_it(q))
        return q->resuming ? resume_give_up(q, -EPIPE) : r;
    r = resume_later(q, true);
    return r ? r : -EAGAIN;
}
