/* llama.c - POST /tokenize and /detokenize, GET /props.  See llama.h. */
#include "llama.h"

#include <string.h>

#include "look.h"
#include "openai.h"

static bool tokenize_put(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal)
{
    jout_open(j, NULL, '{');
    jout_open(j, "tokens", '[');
    for (size_t i = 0; i < event->n_ids; i++)
        jout_int(j, NULL, event->ids[i]);
    jout_close(j, ']');
    jout_close(j, '}');
    return true;
}

void tokenize_serve(struct conn *conn)
{
    _cleanup_(jin_decrefp) json_t *root = NULL;
    struct refusal refusal = {};
    const json_t *special;
    const char *text;
    bool parses = true;
    size_t n = 0;
    int r = jin_load((const char *)buf_head(&conn->body), buf_size(&conn->body), &root, &refusal);

    if (!r)
        r = jin_text(json_object_get(root, "content"), "content", &text, &n, &refusal);
    special = json_object_get(root, "parse_special");
    if (!r && special)
        r = jin_bool(special, "parse_special", &parses, &refusal);
    if (!r && json_is_true(json_object_get(root, "with_pieces")))
        r = refuse(&refusal, 400, "unsupported_parameter", "with_pieces",
                   "with_pieces: ask /detokenize for each token");
    if (r)
        conn_refuse(conn, &refusal);
    else
        look_tokenize(conn, text, n, parses ? QWEND_SPECIAL_ALL : QWEND_SPECIAL_NONE, tokenize_put);
}

static bool detokenize_put(struct conn *conn, const qwend_event *event, struct jout *j,
                           struct refusal *refusal)
{
    jout_open(j, NULL, '{');
    jout_text(j, "content", event->text, event->n);
    jout_close(j, '}');
    return true;
}

void detokenize_serve(struct conn *conn)
{
    _cleanup_(jin_decrefp) json_t *root = NULL;
    _cleanup_(freep) uint32_t *ids = NULL;
    struct refusal refusal = {};
    size_t n = 0;
    int r = jin_load((const char *)buf_head(&conn->body), buf_size(&conn->body), &root, &refusal);

    if (!r)
        r = jin_ids(json_object_get(root, "tokens"), "tokens", &ids, &n, &refusal);
    if (r)
        conn_refuse(conn, &refusal);
    else
        look_detokenize(conn, ids, n, detokenize_put);
}

static bool props_put(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal)
{
    const qwend_status_info *status = event->status;

    if (!look_is_serving(status, refusal))
        return true;
    jout_open(j, NULL, '{');
    jout_open(j, "default_generation_settings", '{');
    jout_int(j, "n_ctx", status->context);
    jout_close(j, '}');
    jout_int(j, "total_slots", status->slots);
    jout_text(j, "model_alias", status->model, (size_t)-1);
    jout_text(j, "model_path", status->file, (size_t)-1);
    jout_open(j, "modalities", '{');
    jout_bool(j, "vision", false);
    jout_bool(j, "audio", false);
    jout_close(j, '}');
    jout_text(j, "build_info", status->server, (size_t)-1);
    jout_close(j, '}');
    return true;
}

void props_serve(struct conn *conn)
{
    look_status(conn, props_put);
}
