/* responses.c - OpenAI's Responses: how a request is read.  What is answered is in responses_out.c. */
#include "responses.h"

#include <stdio.h>
#include <string.h>

#include "responses_out.h"
#include "serve.h"

enum { RESPONSES_INCLUDES = 64 };

/* {"type": "reasoning", "content": [{"type": "reasoning_text", "text": ...}]}: of the assistant's next
 * message.  A summary alone says nothing to the model. */
static int responses_reasoning(struct ask *ask, const json_t *item, const char *param,
                               struct refusal *refusal)
{
    const json_t *part;
    struct turn *turn;
    size_t i;

    if (!json_array_size(json_object_get(item, "content")))
        return 0;
    turn = ask_turn(ask, QWEND_ASSISTANT, param, refusal);
    if (!turn)
        return refusal->status;
    turn->has_reasoning = true;
    json_array_foreach(json_object_get(item, "content"), i, part)
    {
        const char *text;
        size_t n;
        int r = jin_text(json_object_get(part, "text"), param, &text, &n, refusal);

        if (!r)
            r = ask_append(&turn->reasoning, text, n, param, refusal);
        if (r)
            return r;
    }
    return 0;
}

static int responses_role(const json_t *item, const char *param, qwend_role *ret_role,
                          struct refusal *refusal)
{
    const char *role;
    char place[96];
    size_t n;
    int r;

    snprintf(place, sizeof(place), "%.80s.role", param);
    r = jin_text(json_object_get(item, "role"), place, &role, &n, refusal);
    if (r)
        return r;
    if (!strcmp(role, "system") || !strcmp(role, "developer"))
        *ret_role = QWEND_SYSTEM;
    else if (!strcmp(role, "user"))
        *ret_role = QWEND_USER;
    else if (!strcmp(role, "assistant"))
        *ret_role = QWEND_ASSISTANT;
    else
        return refuse(refusal, 400, "invalid_value", place, "%s must be system, developer, user or assistant",
                      place);
    return 0;
}

static int responses_message(struct ask *ask, const json_t *item, const char *param, struct refusal *refusal)
{
    struct turn *turn = ask->n_turns ? &ask->turns[ask->n_turns - 1] : NULL;
    qwend_role role = QWEND_USER;
    char place[96];
    int r = responses_role(item, param, &role, refusal);

    if (r)
        return r;
    snprintf(place, sizeof(place), "%.60s.content", param);
    /* An assistant's turn that has reasoning only so far waits for its text. */
    if (turn && role == QWEND_ASSISTANT && turn->role == QWEND_ASSISTANT && turn->has_reasoning &&
        !buf_size(&turn->text) && !turn->n_uses)
        return ask_content(json_object_get(item, "content"), place, &turn->text, refusal);
    turn = ask_turn_of(ask, role, place, refusal);
    return turn ? ask_content(json_object_get(item, "content"), place, &turn->text, refusal)
                : refusal->status;
}

/* Of the assistant's turn before it, or one of its own. */
static int responses_call(struct ask *ask, const json_t *item, const char *param, struct refusal *refusal)
{
    struct turn *turn = ask->n_turns ? &ask->turns[ask->n_turns - 1] : NULL;

    if (!turn || turn->role != QWEND_ASSISTANT)
        turn = ask_turn(ask, QWEND_ASSISTANT, param, refusal);
    return turn ? ask_read_call(turn, json_object_get(item, "name"), json_object_get(item, "arguments"),
                                param, refusal)
                : refusal->status;
}

static int responses_call_output(struct ask *ask, const json_t *item, const char *param,
                                 struct refusal *refusal)
{
    struct turn *turn = ask_turn(ask, QWEND_TOOL, param, refusal);
    char place[96];

    snprintf(place, sizeof(place), "%.80s.output", param);
    return turn ? ask_content(json_object_get(item, "output"), place, &turn->text, refusal) : refusal->status;
}

static int responses_item(struct ask *ask, const json_t *item, const char *param, struct refusal *refusal)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    char place[96];
    int r = jin_object(item, param, refusal);

    if (r)
        return r;
    if (!type || !strcmp(type, "message"))
        return responses_message(ask, item, param, refusal);
    if (!strcmp(type, "reasoning"))
        return responses_reasoning(ask, item, param, refusal);
    if (!strcmp(type, "function_call"))
        return responses_call(ask, item, param, refusal);
    if (!strcmp(type, "function_call_output"))
        return responses_call_output(ask, item, param, refusal);
    snprintf(place, sizeof(place), "%.80s.type", param);
    return refuse(refusal, 400, "unsupported_value", place,
                  "%s must be message, reasoning, function_call or function_call_output", place);
}

static int responses_read_input(struct ask *ask, const json_t *value, const char *param,
                                struct refusal *refusal)
{
    const json_t *item;
    struct turn *turn;
    char place[96];
    size_t i;
    int r;

    if (json_is_string(value)) {
        turn = ask_turn(ask, QWEND_USER, param, refusal);
        return turn ? ask_content(value, param, &turn->text, refusal) : refusal->status;
    }
    r = jin_array(value, param, ASK_TURNS, refusal);
    json_array_foreach((json_t *)value, i, item)
    {
        snprintf(place, sizeof(place), "%.40s[%zu]", param, i);
        if (!r)
            r = responses_item(ask, item, place, refusal);
    }
    return r;
}

static int responses_read_reasoning(struct ask *ask, const json_t *value, const char *param,
                                    struct refusal *refusal)
{
    static const struct ask_field fields[] = {{.name = "effort", .kind = ASK_READ, .read = ask_read_effort},
                                              ASK_END};
    static const struct ask_field *const tables[] = {fields};
    int r = jin_object(value, param, refusal);

    return r ? r : ask_read(ask, value, "reasoning.", tables, 1, refusal);
}

static int responses_read_format(struct ask *ask, const json_t *value, const char *param,
                                 struct refusal *refusal)
{
    const char *type = json_string_value(json_object_get(value, "type"));

    return type && !strcmp(type, "text")
               ? 0
               : refuse(refusal, 400, "unsupported_parameter", param,
                        "text.format.type must be text: the engine cannot hold an answer to a schema yet");
}

static int responses_read_text(struct ask *ask, const json_t *value, const char *param,
                               struct refusal *refusal)
{
    static const struct ask_field fields[] = {
        {.name = "format", .kind = ASK_READ, .read = responses_read_format}, ASK_END};
    static const struct ask_field *const tables[] = {fields};
    int r = jin_object(value, param, refusal);

    return r ? r : ask_read(ask, value, "text.", tables, 1, refusal);
}

/* What is to be told beside the answer.  Reasoning is told in the open, so that there is nothing to encrypt;
 * what else there is belongs to tools. */
static int responses_read_include(struct ask *ask, const json_t *value, const char *param,
                                  struct refusal *refusal)
{
    const json_t *element;
    const char *what;
    char place[96];
    size_t i, n;
    int r = jin_array(value, param, RESPONSES_INCLUDES, refusal);

    json_array_foreach((json_t *)value, i, element)
    {
        snprintf(place, sizeof(place), "%.40s[%zu]", param, i);
        if (!r)
            r = jin_text(element, place, &what, &n, refusal);
        if (r)
            return r;
        if (!strcmp(what, "message.output_text.logprobs"))
            ask->logprobs = true;
        else if (strcmp(what, "reasoning.encrypted_content"))
            ask_note_ignored(ask, "include.", what);
    }
    return r;
}

/* Its instructions stand before the input, wherever they stand in the object. */
static int responses_read_instructions(struct ask *ask, const json_t *value, const char *param,
                                       struct refusal *refusal)
{
    const char *text;
    size_t n;
    int r = jin_text(value, param, &text, &n, refusal);

    return r ? r : ask_append(&ask->head, text, n, param, refusal);
}

static const struct ask_field responses_fields[] = {
    {.name = "input", .kind = ASK_READ, .read = responses_read_input},
    {.name = "instructions", .kind = ASK_READ, .read = responses_read_instructions},
    {.name = "reasoning", .kind = ASK_READ, .read = responses_read_reasoning},
    {.name = "text", .kind = ASK_READ, .read = responses_read_text},
    {.name = "include", .kind = ASK_READ, .read = responses_read_include},
    {.name = "top_logprobs",
     .kind = ASK_INT,
     .offset = offsetof(struct ask, top_logprobs),
     .lo = 0,
     .hi = ASK_TOP_LOGPROBS},
    {.name = "max_output_tokens",
     .kind = ASK_INT,
     .offset = offsetof(struct ask, max_tokens),
     .lo = 1,
     .hi = INT32_MAX},
    {.name = "previous_response_id",
     .kind = ASK_REFUSED,
     .why = "responses are not kept: send the whole input"},
    {.name = "conversation", .kind = ASK_REFUSED, .why = "conversations are not kept: send the whole input"},
    {.name = "background", .kind = ASK_REFUSED, .why = "responses are not kept"},
    {.name = "prompt", .kind = ASK_REFUSED, .why = "there are no stored prompts"},
    {.name = "n", .kind = ASK_REFUSED, .why = "a response is one answer"},
    ASK_END,
};

int responses_read(struct ask *ask, const json_t *root, struct refusal *refusal)
{
    static const struct ask_field *const tables[] = {responses_fields, ask_sampling};
    int r = ask_read(ask, root, "", tables, ARRAY_SIZE(tables), refusal);

    return r ? r : ask_put_head(ask, "instructions", refusal);
}

void responses_serve(struct conn *conn)
{
    serve_job(conn, responses_read, &responses_dialect);
}
