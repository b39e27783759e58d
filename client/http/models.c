/* models.c - GET /v1/models, /v1/models/NAME and /health: what is served, asked of the daemon each time. */
#include "models.h"

#include <stdio.h>
#include <string.h>

#include "look.h"
#include "openai.h"

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

static bool models_put(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal)
{
    const qwend_status_info *status = event->status;

    jout_open(j, NULL, '{');
    jout_text(j, "object", "list", 4);
    jout_open(j, "data", '[');
    if (*status->model) /* none yet: an empty list, not an error */
        models_put_one(conn, status, j);
    jout_close(j, ']');
    jout_close(j, '}');
    return true;
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

static bool model_put(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal)
{
    const qwend_status_info *status = event->status;

    char name[256];

    if (!*status->model || !model_decode(conn->head.path + strlen("/v1/models/"), name, sizeof(name)) ||
        strcmp(name, status->model))
        refuse(refusal, 404, "model_not_found", "model",
               "the model that is served has another name: GET /v1/models");
    else
        models_put_one(conn, status, j);
    return true;
}

static bool health_put(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal)
{
    const qwend_status_info *status = event->status;

    if (!look_is_serving(status, refusal))
        return true;
    jout_open(j, NULL, '{');
    jout_text(j, "status", "ok", 2);
    jout_close(j, '}');
    return true;
}

void models_serve(struct conn *conn)
{
    look_status(conn, models_put);
}

void model_serve(struct conn *conn)
{
    look_status(conn, model_put);
}

void health_serve(struct conn *conn)
{
    look_status(conn, health_put);
}
