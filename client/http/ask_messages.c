/* ask_messages.c - the turns of a chat in OpenAI's form, and how a request becomes the daemon's.  See ask.h.
 */
#include <stdio.h>
#include <string.h>

#include "ask.h"

/* One part of a content: {"type": "text", "text": ...}. */
static int ask_part(const json_t *part, const char *param, struct buf *text, struct refusal *refusal)
{
    const char *type, *more;
    char place[96];
    size_t n;
    int r = jin_object(part, param, refusal);

    snprintf(place, sizeof(place), "%.80s.type", param);
    if (!r)
        r = jin_text(json_object_get(part, "type"), place, &type, &n, refusal);
    if (r)
        return r;
    if (strcmp(type, "text") && strcmp(type, "input_text") && strcmp(type, "output_text"))
        return refuse(refusal, 400, "unsupported_value", place,
                      "%s must be text: the model reads nothing else", place);
    snprintf(place, sizeof(place), "%.80s.text", param);
    r = jin_text(json_object_get(part, "text"), place, &more, &n, refusal);
    return r ? r : ask_append(text, more, n, param, refusal);
}

int ask_content(const json_t *value, const char *param, struct buf *text, struct refusal *refusal)
{
    const json_t *part;
    const char *more;
    char place[96];
    size_t i, n;
    int r;

    if (!value || json_is_null(value))
        return 0;
    if (json_is_string(value)) {
        r = jin_text(value, param, &more, &n, refusal);
        return r ? r : ask_append(text, more, n, param, refusal);
    }
    if (!json_is_array(value))
        return refuse(refusal, 400, "invalid_type", param, "%s must be a string or an array of parts", param);
    json_array_foreach((json_t *)value, i, part)
    {
        snprintf(place, sizeof(place), "%.60s[%zu]", param, i);
        r = ask_part(part, place, text, refusal);
        if (r)
            return r;
    }
    return 0;
}

static int ask_role(const json_t *message, const char *param, qwend_role *ret_role, struct refusal *refusal)
{
    static const struct {
        const char *name;
        qwend_role role;
    } roles[] = {{"system", QWEND_SYSTEM},
                 {"developer", QWEND_SYSTEM},
                 {"user", QWEND_USER},
                 {"assistant", QWEND_ASSISTANT},
                 {"tool", QWEND_TOOL}};
    const char *name;
    char place[96];
    size_t n;
    int r;

    snprintf(place, sizeof(place), "%.60s.role", param);
    r = jin_text(json_object_get(message, "role"), place, &name, &n, refusal);
    for (size_t i = 0; !r && i < ARRAY_SIZE(roles); i++)
        if (!strcmp(name, roles[i].name)) {
            *ret_role = roles[i].role;
            return 0;
        }
    return r ? r
             : refuse(refusal, 400, "invalid_value", place,
                      "%s must be system, developer, user, assistant or tool", place);
}

/* Both names that are in use, whichever is there. */
static int ask_reasoning(const json_t *message, const char *param, struct turn *turn, struct refusal *refusal)
{
    static const char *const names[] = {"reasoning_content", "reasoning"};
    char place[96];

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const json_t *value = json_object_get(message, names[i]);

        if (!value || json_is_null(value) || turn->role != QWEND_ASSISTANT)
            continue;
        snprintf(place, sizeof(place), "%.60s.%s", param, names[i]);
        turn->has_reasoning = true;
        return ask_content(value, place, &turn->reasoning, refusal);
    }
    return 0;
}

static int ask_message(struct ask *ask, const json_t *message, const char *param, struct refusal *refusal)
{
    const json_t *calls = json_object_get(message, "tool_calls"),
                 *call = json_object_get(message, "function_call");
    qwend_role role = QWEND_USER;
    char place[96];
    struct turn *turn;
    int r = jin_object(message, param, refusal);

    if (!r)
        r = ask_role(message, param, &role, refusal);
    if (r)
        return r;
    snprintf(place, sizeof(place), "%.60s.content", param);
    turn = ask_turn_of(ask, role, place, refusal);
    if (!turn)
        return refusal->status;
    r = ask_content(json_object_get(message, "content"), place, &turn->text, refusal);
    if (!r)
        r = ask_reasoning(message, param, turn, refusal);
    snprintf(place, sizeof(place), "%.60s.tool_calls", param);
    if (!r && role == QWEND_ASSISTANT && json_array_size(calls))
        r = ask_read_calls(turn, calls, place, refusal);
    else if (!r && role == QWEND_ASSISTANT && json_is_object(call)) /* its name before there were several */
        r = ask_read_call(turn, json_object_get(call, "name"), json_object_get(call, "arguments"), place,
                          refusal);
    return r;
}

int ask_each_message(struct ask *ask, const json_t *value, const char *param, ask_message_fn *read_one,
                     struct refusal *refusal)
{
    const json_t *message;
    char place[96];
    size_t i;
    int r = jin_array(value, param, ASK_TURNS, refusal);

    json_array_foreach((json_t *)value, i, message)
    {
        snprintf(place, sizeof(place), "%.40s[%zu]", param, i);
        if (!r)
            r = read_one(ask, message, place, refusal);
    }
    return r;
}

int ask_read_messages(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    return ask_each_message(ask, value, param, ask_message, refusal);
}

/* into the daemon's form */

static int ask_refuse_text(int r, const char *what, size_t i, struct refusal *refusal)
{
    char param[64];

    if (!r)
        return 0;
    if (r == -ENOMEM)
        return refuse(refusal, 503, "out_of_memory", NULL, "out of memory");
    snprintf(param, sizeof(param), "%s[%zu]", what, i);
    return refuse(refusal, 400, "invalid_value", param, "%s holds text that no prompt can have", param);
}

static int ask_push_turns(struct ask *ask, struct refusal *refusal)
{
    for (size_t i = 0; i < ask->n_turns; i++) {
        struct turn *turn = &ask->turns[i];
        const char *text = buf_size(&turn->text) ? (const char *)buf_head(&turn->text) : "";
        const char *reasoning = buf_size(&turn->reasoning) ? (const char *)buf_head(&turn->reasoning) : "";
        int r = qwend_req_message(ask->req, turn->role, text, buf_size(&turn->text));

        if (!r && turn->has_reasoning)
            r = qwend_req_reasoning(ask->req, reasoning, buf_size(&turn->reasoning));
        for (size_t k = 0; !r && k < turn->n_uses; k++)
            r = qwend_req_call(ask->req, turn->uses[k].name, turn->uses[k].arguments, (size_t)-1);
        r = ask_refuse_text(r, "messages", i, refusal);
        if (r)
            return r;
        buf_deinit(&turn->text); /* each text lies in memory twice for a moment only */
        buf_deinit(&turn->reasoning);
    }
    return 0;
}

/* A text with a gap, or one that goes on.  Whoever sends it so writes the template's tokens himself. */
static int ask_push_raw(struct ask *ask, struct refusal *refusal)
{
    const char *raw = buf_size(&ask->raw) ? (const char *)buf_head(&ask->raw) : "";
    const char *suffix = buf_size(&ask->suffix) ? (const char *)buf_head(&ask->suffix) : "";
    int r;

    if (ask->has_ids && ask->has_suffix)
        return refuse(refusal, 400, "invalid_value", "suffix", "suffix needs a prompt that is a text");
    if (ask->has_ids)
        return 0;
    if (ask->has_suffix)
        r = qwend_req_fim(ask->req, raw, buf_size(&ask->raw), suffix, buf_size(&ask->suffix));
    else if (!buf_size(&ask->raw))
        return refuse(refusal, 400, "invalid_value", "prompt", "the prompt is empty");
    else
        r = qwend_req_set_s(ask->req, QWEND_OPT_RAW, raw, buf_size(&ask->raw));
    if (!r && ask->has_suffix && ask->suffix_first)
        r = qwend_req_set_i(ask->req, QWEND_OPT_FIM_ORDER, 2);
    if (!r && !ask->has_suffix)
        r = qwend_req_set_i(ask->req, QWEND_OPT_RAW_SPECIAL, QWEND_SPECIAL_ALL);
    buf_deinit(&ask->raw);
    buf_deinit(&ask->suffix);
    return ask_refuse_set(r, "prompt", refusal);
}

int ask_read_prompt(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    _cleanup_(freep) uint32_t *ids = NULL;
    const char *text;
    size_t n;
    int r;

    if (json_array_size(value) == 1 && !json_is_integer(json_array_get(value, 0)))
        value = json_array_get(value, 0);
    if (json_object_get(value, "prompt_string") &&
        !json_array_size(json_object_get(value, "multimodal_data")))
        value = json_object_get(value, "prompt_string"); /* llama.cpp's, with no image */
    ask->is_raw = true;
    if (!json_is_array(value)) {
        r = jin_text(value, param, &text, &n, refusal);
        return r ? r : ask_append(&ask->raw, text, n, param, refusal);
    }
    if (!json_is_integer(json_array_get(value, 0)))
        return refuse(refusal, 400, "unsupported_value", param,
                      "%s must be one string, or one array of token ids: ask for each prompt by itself",
                      param);
    ask->has_ids = true;
    r = jin_ids(value, param, &ids, &n, refusal);
    return r ? r : ask_refuse_set(qwend_req_ids(ask->req, ids, n), param, refusal);
}

int ask_read_suffix(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const char *text;
    size_t n;
    int r = jin_text(value, param, &text, &n, refusal);

    ask->has_suffix = !r;
    return r ? r : ask_append(&ask->suffix, text, n, param, refusal);
}

int ask_finish(struct ask *ask, struct refusal *refusal)
{
    int r;

    if (!ask->is_raw && !ask->n_turns)
        return refuse(refusal, 400, "invalid_value", "messages", "there is no message");
    r = ask->is_raw ? ask_push_raw(ask, refusal) : ask_push_turns(ask, refusal);
    if (r)
        return r;
    r = ask->max_tokens || ask->only_reads ? qwend_req_set_i(ask->req, QWEND_OPT_MAX_TOKENS, ask->max_tokens)
                                           : 0;
    if (!r && ask->has_thinking)
        r = qwend_req_set_i(ask->req, QWEND_OPT_THINKING, ask->thinks);
    if (!r && ask->logprobs)
        r = qwend_req_set_i(ask->req, QWEND_OPT_LOGPROBS, ask->top_logprobs);
    if (!r && !ask->caches)
        r = qwend_req_set_i(ask->req, QWEND_OPT_NO_CACHE, 1);
    if (!r && ask->wants_ids)
        r = qwend_req_set_i(ask->req, QWEND_OPT_WANT_IDS, 1);
    if (!r && ask->ignores_eos)
        r = qwend_req_set_i(ask->req, QWEND_OPT_IGNORE_EOS, 1);
    return ask_refuse_set(r, "max_tokens", refusal);
}
