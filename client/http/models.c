/* models.c - GET /v1/models, /v1/models/NAME and /health: what is served, asked of the daemon each time. */
#include "models.h"

#include <stdio.h>
#include <string.h>

#include "link.h"
#include "openai.h"

/* One question on its way to the daemon, for an answer of HTTP. */
struct look {
    struct task task;
    struct call call;
    struct conn *conn; /* borrowed; NULL: gone */
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
    _cleanup_(buf_deinit) struct buf body = BUF_INIT(64 << 10);
    struct conn *conn = look->conn;
    struct jout j = {.buf = &body};
    struct refusal refusal = {};

    if (event->type == QWEND_EV_REPLY)
        look->put(conn, event->status, &j, &refusal);
    else
        refuse_code(&refusal, event->code, event->retry_after_ms, event->text);
    conn->task = NULL;
    free(look);
    if (refusal.status)
        conn_refuse(conn, &refusal);
    else
        conn_reply(conn, 200, "application/json", buf_head(&body), buf_size(&body));
}

void look_serve(struct conn *conn, look_fn *put)
{
    struct look *look = calloc(1, sizeof(*look));
    const char *why = "out of memory";
    struct refusal refusal;

    if (look)
        *look = (struct look){
            .task = {.on_gone = look_on_gone}, .call = {.on_event = look_on_event}, .conn = conn, .put = put};
    if (look && !link_status(conn->g, &look->call, &why)) {
        conn->task = &look->task;
        return;
    }
    free(look);
    refuse_code(&refusal, 0, 1000, why);
    conn_refuse(conn, &refusal);
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

static void models_put_one(const struct conn *conn, const qwend_status_info *status, struct jout *j)
{
    jout_open(j, NULL, '{');
    jout_text(j, "id", status->model, (size_t)-1);
    jout_text(j, "object", "model", 5);
    jout_int(j, "created", conn->g->started_s);
    jout_text(j, "owned_by", "qwend", 5);
    jout_open(j, "meta", '{');
    jout_int(j, "n_ctx", status->context);
    jout_int(j, "n_ctx_train", status->context_trained);
    jout_int(j, "n_params", (int64_t)status->n_params);
    jout_int(j, "size", (int64_t)status->file_bytes);
    jout_text(j, "quantisation", status->quantisation, (size_t)-1);
    jout_close(j, '}');
    jout_close(j, '}');
}

static void models_put(struct conn *conn, const qwend_status_info *status, struct jout *j,
                       struct refusal *refusal)
{
    jout_open(j, NULL, '{');
    jout_text(j, "object", "list", 4);
    jout_open(j, "data", '[');
    if (*status->model) /* none yet: an empty list, not an error */
        models_put_one(conn, status, j);
    jout_close(j, ']');
    jout_close(j, '}');
}

/* Percent-encoding undone; what does not fit, or is none, is no name of ours. */
static bool model_decode(const char *text, char *ret_name, size_t n)
{
    size_t used = 0;

    for (; *text; text++) {
        unsigned c = (unsigned char)*text;

        if (c == '%' && (sscanf(text + 1, "%2x", &c) != 1 || !c || !text[2]))
            return false;
        text += *text == '%' ? 2 : 0;
        if (used + 1 >= n)
            return false;
        ret_name[used++] = (char)c;
    }
    ret_name[used] = '\0';
    return true;
}

static void model_put(struct conn *conn, const qwend_status_info *status, struct jout *j,
                      struct refusal *refusal)
{
    char name[256];

    if (!*status->model || !model_decode(conn->head.path + strlen("/v1/models/"), name, sizeof(name)) ||
        strcmp(name, status->model))
        refuse(refusal, 404, "model_not_found", "model",
               "the model that is served has another name: GET /v1/models");
    else
        models_put_one(conn, status, j);
}

static void health_put(struct conn *conn, const qwend_status_info *status, struct jout *j,
                       struct refusal *refusal)
{
    if (!look_is_serving(status, refusal))
        return;
    jout_open(j, NULL, '{');
    jout_text(j, "status", "ok", 2);
    jout_close(j, '}');
}

void models_serve(struct conn *conn)
{
    look_serve(conn, models_put);
}

void model_serve(struct conn *conn)
{
    look_serve(conn, model_put);
}

void health_serve(struct conn *conn)
{
    look_serve(conn, health_put);
}
