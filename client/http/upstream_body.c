/* upstream_body.c - a chat becomes a request of OpenAI's dialect again, for another server.  See upstream.h.
 */
#include <string.h>

#include "jout.h"
#include "upstream.h"

enum { BODY_BYTES = 24 << 20 };

static void body_put_messages(const struct ask *ask, struct jout *j)
{
    static const char *const roles[] = {[QWEND_SYSTEM] = "system",
                                        [QWEND_USER] = "user",
                                        [QWEND_ASSISTANT] = "assistant",
                                        [QWEND_TOOL] = "tool"};

    jout_open(j, "messages", '[');
    for (size_t i = 0; i < ask->n_turns; i++) {
        const struct turn *turn = &ask->turns[i];

        jout_open(j, NULL, '{');
        jout_text(j, "role", roles[turn->role], (size_t)-1);
        jout_text(j, "content", jout_buf_text(&turn->text), buf_size(&turn->text));
        if (turn->has_reasoning)
            jout_text(j, "reasoning_content", jout_buf_text(&turn->reasoning), buf_size(&turn->reasoning));
        jout_close(j, '}');
    }
    jout_close(j, ']');
}

/* Calls and what came of them are not carried over. */
static bool body_has_tools(const struct ask *ask)
{
    for (size_t i = 0; i < ask->n_turns; i++)
        if (ask->turns[i].n_uses || ask->turns[i].role == QWEND_TOOL)
            return true;
    return false;
}

char *upstream_body(const struct ask *ask, size_t *ret_n)
{
    struct buf buf = BUF_INIT(BODY_BYTES);
    struct jout j = {.buf = &buf};

    if (ask->is_raw || ask->tools || body_has_tools(ask) || ask->logprobs || ask->biases || ask->local_only)
        return NULL;
    body_put_messages(ask, &j);
    if (buf_size(&ask->params))
        jout_raw(&j, NULL, jout_buf_text(&ask->params), buf_size(&ask->params));
    if (ask->max_tokens)
        jout_int(&j, "max_tokens", ask->max_tokens);
    if (ask->has_seed && ask->n == 1)
        jout_int(&j, "seed", ask->seed);
    if (buf_size(&ask->stops)) {
        jout_open(&j, "stop", '[');
        jout_bytes(&j, jout_buf_text(&ask->stops), buf_size(&ask->stops));
        jout_close(&j, ']');
    }
    if (ask->has_thinking) {
        jout_open(&j, "chat_template_kwargs", '{');
        jout_bool(&j, "enable_thinking", ask->thinks);
        jout_close(&j, '}');
    }
    jout_bool(&j, "stream", true);
    jout_open(&j, "stream_options", '{');
    jout_bool(&j, "include_usage", true);
    jout_close(&j, '}');
    jout_close(&j, '}');
    if (j.r) {
        buf_deinit(&buf);
        return NULL;
    }
    *ret_n = buf_size(&buf);
    return (char *)buf_head(&buf); /* nothing was consumed: this is the start of the allocation */
}

char *upstream_body_for(const char *model, const char *rest, size_t n, size_t *ret_n)
{
    struct buf buf = BUF_INIT(BODY_BYTES + 1024);
    struct jout j = {.buf = &buf};

    jout_open(&j, NULL, '{');
    jout_text(&j, "model", model, (size_t)-1);
    jout_bytes(&j, ",", 1);
    jout_bytes(&j, rest, n);
    if (j.r) {
        buf_deinit(&buf);
        return NULL;
    }
    *ret_n = buf_size(&buf);
    return (char *)buf_head(&buf);
}
