/* look.c - see look.h. */
#include "look.h"

#include "link.h"

struct look {
    struct task task;
    struct call call;
    struct conn *conn; /* borrowed: it tells when it goes */
    look_fn *put;
};

static void look_on_gone(struct task *task)
{
    struct look *look = (struct look *)task;

    call_end(&look->call);
    free(look);
}

static void look_on_event(struct call *call, const qwend_event *event)
{
    struct look *look = (struct look *)((char *)call - offsetof(struct look, call));
    _cleanup_(buf_deinit) struct buf body = BUF_INIT(CONN_OUT_BYTES);
    struct conn *conn = look->conn;
    struct jout j = {.buf = &body};
    struct refusal refusal = {};
    look_fn *put = look->put;

    conn->task = NULL;
    free(look);
    if (event->type != QWEND_EV_REPLY)
        refuse_code(&refusal, event->code, event->retry_after_ms, event->text);
    else if (!put(conn, event, &j, &refusal))
        return;
    if (!refusal.status && j.r)
        refuse(&refusal, 503, "out_of_memory", NULL, "out of memory");
    if (refusal.status)
        conn_refuse(conn, &refusal);
    else
        conn_reply(conn, 200, "application/json", buf_head(&body), buf_size(&body));
}

static struct look *look_new(struct conn *conn, look_fn *put)
{
    struct look *look = calloc(1, sizeof(*look));
    struct refusal refusal;

    if (look) {
        *look = (struct look){
            .task = {.on_gone = look_on_gone}, .call = {.on_event = look_on_event}, .conn = conn, .put = put};
        return look;
    }
    refuse(&refusal, 503, "out_of_memory", NULL, "out of memory");
    conn_refuse(conn, &refusal);
    return NULL;
}

static void look_began(struct conn *conn, struct look *look, int r, const char *why)
{
    struct refusal refusal;

    if (!r) {
        conn->task = &look->task;
        return;
    }
    free(look);
    if (r == -EMSGSIZE)
        refuse(&refusal, 413, "request_too_large", NULL, "%s", why);
    else if (r == -EINVAL || r == -EILSEQ)
        refuse(&refusal, 400, "invalid_value", NULL, "%s", why);
    else
        refuse_code(&refusal, 0, 1000, why);
    conn_refuse(conn, &refusal);
}

void look_status(struct conn *conn, look_fn *put)
{
    struct look *look = look_new(conn, put);
    const char *why = "";

    if (look)
        look_began(conn, look, link_status(conn->g, &look->call, &why), why);
}

void look_tokenize(struct conn *conn, const char *text, size_t n, int special, look_fn *put)
{
    struct look *look = look_new(conn, put);
    const char *why = "";

    if (look)
        look_began(conn, look, link_tokenize(conn->g, &look->call, text, n, special, &why), why);
}

void look_detokenize(struct conn *conn, const uint32_t *ids, size_t n, look_fn *put)
{
    struct look *look = look_new(conn, put);
    const char *why = "";

    if (look)
        look_began(conn, look, link_detokenize(conn->g, &look->call, ids, n, &why), why);
}

void look_render(struct conn *conn, const qwend_req *req, look_fn *put)
{
    struct look *look = look_new(conn, put);
    const char *why = "";

    if (look)
        look_began(conn, look, link_render(conn->g, &look->call, req, &why), why);
}

bool look_is_serving(const qwend_status_info *status, struct refusal *refusal)
{
    if (status->state == 3 || status->state == 4 || status->state == 5) /* serving, degraded, draining */
        return true;
    refuse(refusal, 503, status->state == 6 ? "failed" : "loading", NULL, "%s",
           status->state == 6 ? "the daemon has no model that it could serve"
                              : "the model is still being loaded");
    refusal->retry_after_s = 1;
    return false;
}
