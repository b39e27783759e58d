/* serve.c - see serve.h. */
#include "serve.h"

#include <string.h>

#include "fnv.h"
#include "normalise.h"
#include "upstream.h"

int serve_parse(struct ask *ask, const char *text, size_t n, read_fn *read, struct refusal *refusal)
{
    _cleanup_(jin_decrefp) json_t *root = NULL;
    int r = ask_init(ask, refusal);

    if (!r)
        r = jin_load(text, n, &root, refusal);
    return r ? r : read(ask, root, refusal);
}

static enum ask_tool_mode serve_tool_mode(const struct options *options)
{
    return *options->tools == 'c'   ? ASK_CALL_TOOLS
           : *options->tools == 'i' ? ASK_IGNORE_TOOLS
                                    : ASK_REFUSE_TOOLS;
}

/* Before anything is moved to the last turn: what a conversation begins with stays as it is in all of its
 * turns. */
static uint64_t serve_conversation(const struct ask *ask, const char *owner)
{
    uint64_t hash = fnv_hash(FNV_INIT, owner, strlen(owner));

    for (size_t i = 0; i < ask->n_turns; i++)
        if (ask->turns[i].role == QWEND_USER)
            return fnv_hash(hash, jout_buf_text(&ask->turns[i].text), buf_size(&ask->turns[i].text));
    return hash;
}

bool serve_read(struct conn *conn, read_fn *read, struct ask *ask)
{
    struct refusal refusal = {};
    int r = serve_parse(ask, jout_buf_text(&conn->body), buf_size(&conn->body), read, &refusal);

    ask->n_body = buf_size(&conn->body);
    buf_deinit(&conn->body); /* the request has copies */
    if (!r)
        r = ask_judge_tools(ask, serve_tool_mode(conn->g->options), &refusal);
    if (!r) {
        ask->conversation = serve_conversation(ask, conn->owner->name);
        normalise(conn->g, ask, conn->owner->name);
        if (upstream_wants(conn->g, ask->model))
            ask->up_body = upstream_body(ask, &ask->n_up_body);
        ask->suffix_first = *conn->g->options->gap_order == 's';
        r = ask_finish(ask, &refusal);
    }
    if (!r)
        return true;
    if (*ask->ignored)
        conn_add_field(conn, "X-Qwend-Ignored", ask->ignored);
    conn_refuse(conn, &refusal);
    return false;
}

void serve_job(struct conn *conn, read_fn *read, const struct dialect *dialect)
{
    _cleanup_(ask_deinit) struct ask ask = {};

    if (serve_read(conn, read, &ask))
        job_start(conn, dialect, &ask);
}
