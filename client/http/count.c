/* count.c - see count.h. */
#include "count.h"

#include <string.h>

#include "look.h"
#include "route.h"
#include "serve.h"

static bool count_put(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal)
{
    jout_open(j, NULL, '{');
    jout_int(j, "input_tokens", (int64_t)event->n_ids);
    jout_close(j, '}');
    return true;
}

static bool count_put_input(struct conn *conn, const qwend_event *event, struct jout *j,
                            struct refusal *refusal)
{
    jout_open(j, NULL, '{');
    jout_text(j, "object", "response.input_tokens", (size_t)-1);
    jout_int(j, "input_tokens", (int64_t)event->n_ids);
    jout_close(j, '}');
    return true;
}

/* The prompt as the model's template has it; now its tokens. */
static bool count_on_text(struct conn *conn, const qwend_event *event, struct refusal *refusal, look_fn *put)
{
    _cleanup_(freep) char *copy = strndup(event->text, event->n); /* lent until the next call only */

    if (!copy) {
        refuse(refusal, 503, "out_of_memory", NULL, "out of memory");
        return true;
    }
    look_tokenize(conn, copy, event->n, QWEND_SPECIAL_ALL, put);
    return false;
}

static bool count_messages(struct conn *conn, const qwend_event *event, struct jout *j,
                           struct refusal *refusal)
{
    return count_on_text(conn, event, refusal, count_put);
}

static bool count_input(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal)
{
    return count_on_text(conn, event, refusal, count_put_input);
}

static bool template_put(struct conn *conn, const qwend_event *event, struct jout *j, struct refusal *refusal)
{
    jout_open(j, NULL, '{');
    jout_text(j, "prompt", event->text, event->n);
    jout_close(j, '}');
    return true;
}

static void count_render(struct conn *conn, read_fn *read, look_fn *put)
{
    _cleanup_(ask_deinit) struct ask ask = {};

    if (serve_read(conn, read, &ask))
        look_render(conn, ask.req, put);
}

void count_tokens_serve(struct conn *conn)
{
    count_render(conn, count_read, count_messages);
}

void count_input_serve(struct conn *conn)
{
    const bool is_chat = !strcmp(conn->route->path, "/v1/chat/completions/input_tokens");

    count_render(conn, is_chat ? chat_read : responses_read, count_input);
}

void template_serve(struct conn *conn)
{
    count_render(conn, chat_read, template_put);
}
