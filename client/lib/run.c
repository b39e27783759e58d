/* run.c - whole requests in one blocking call. */
#include <string.h>

#include "conn.h"

enum { RUN_TEXT_BYTES = 64 << 20 }; /* of one answer: 1 M tokens of 8 bytes, eight times over */

int qwend_run(qwend *q, const qwend_req *req, qwend_cb cb, void *user)
{
    qwend_stream *stream;
    qwend_event event;
    int r, done = 0;

    if (q->flags & QWEND_NONBLOCK)
        return conn_error(q, -EINVAL, "qwend_run() waits: not on a connection opened with QWEND_NONBLOCK");
    r = qwend_generate(q, req, NULL, NULL, &stream);
    if (r)
        return r;
    while ((r = qwend_next(stream, &event)) == 1) {
        done = event.type;
        if (cb && cb(stream, &event, user))
            qwend_cancel(stream);
    }
    qwend_stream_free(stream);
    return r ? r : done == QWEND_EV_ERROR ? QWEND_REFUSED : 0;
}

struct run_ask {
    struct buf text;
    int r;
};

static int run_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct run_ask *ask = user;

    if (event->type == QWEND_EV_ANSWER)
        ask->r = buf_append(&ask->text, event->text, event->n);
    return ask->r;
}

int qwend_ask(qwend *q, const char *prompt, char **ret_text, size_t *ret_n)
{
    struct run_ask ask = {.text = BUF_INIT(RUN_TEXT_BYTES)};
    qwend_req *req = qwend_req_new();
    int r;

    if (!req)
        return err_origin(-ENOMEM);
    r = qwend_req_message(req, QWEND_USER, prompt, (size_t)-1);
    if (r == -EILSEQ)
        conn_error(q, r, "the prompt is not UTF-8 from byte %zu on",
                   qwend_utf8_valid(prompt, strlen(prompt)));
    if (!r)
        r = qwend_run(q, req, run_on_event, &ask);
    qwend_req_free(req);
    if (!r && !ask.r)
        ask.r = buf_append(&ask.text, "", 1);
    if (!r && ask.r)
        r = ask.r < 0 ? ask.r : conn_error(q, -ENOBUFS, "the answer is longer than %d bytes", RUN_TEXT_BYTES);
    if (r) {
        buf_deinit(&ask.text);
        return r;
    }
    *ret_text = (char *)buf_head(&ask.text); /* nothing was consumed: this is the start of the allocation */
    if (ret_n)
        *ret_n = buf_size(&ask.text) - 1;
    return 0;
}
