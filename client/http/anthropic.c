/* anthropic.c - Anthropic's dialect: how its messages are read.  What is answered is in anthropic_out.c. */
#include "anthropic.h"

#include <stdio.h>
#include <string.h>

#include "anthropic_out.h"
#include "serve.h"

/* Where a message's blocks go: into one turn, but for what came of a tool, which is a turn of its own. */
struct blocks {
    struct ask *ask; /* NULL: a system message, which is in `turn` */
    qwend_role role;
    struct turn *turn; /* NULL: the next block needs one */
};

static struct turn *blocks_turn(struct blocks *blocks, const char *param, struct refusal *refusal)
{
    if (!blocks->turn)
        blocks->turn = ask_turn_of(blocks->ask, blocks->role, param, refusal);
    else if (buf_size(&blocks->turn->text) && ask_append(&blocks->turn->text, "\n", 1, param, refusal))
        return NULL;
    return blocks->turn;
}

static int messages_result(struct blocks *blocks, const json_t *block, const char *param,
                           struct refusal *refusal)
{
    struct turn *turn = ask_turn(blocks->ask, QWEND_TOOL, param, refusal);
    char place[96];

    blocks->turn = NULL;
    snprintf(place, sizeof(place), "%.80s.content", param);
    return turn ? ask_content(json_object_get(block, "content"), place, &turn->text, refusal)
                : refusal->status;
}

static int messages_use(struct blocks *blocks, const json_t *block, const char *param,
                        struct refusal *refusal)
{
    if (!blocks->turn)
        blocks->turn = ask_turn(blocks->ask, QWEND_ASSISTANT, param, refusal);
    return blocks->turn ? ask_read_call(blocks->turn, json_object_get(block, "name"),
                                        json_object_get(block, "input"), param, refusal)
                        : refusal->status;
}

/* Of thinking the signature says nothing to us. */
static int messages_thinking(struct blocks *blocks, const json_t *block, const char *param,
                             struct refusal *refusal)
{
    const char *text;
    char place[96];
    size_t n;
    int r;

    if (!blocks->turn)
        blocks->turn = ask_turn(blocks->ask, QWEND_ASSISTANT, param, refusal);
    if (!blocks->turn)
        return refusal->status;
    snprintf(place, sizeof(place), "%.80s.thinking", param);
    r = jin_text(json_object_get(block, "thinking"), place, &text, &n, refusal);
    blocks->turn->has_reasoning |= !r;
    return r ? r : ask_append(&blocks->turn->reasoning, text, n, place, refusal);
}

static int messages_text(struct blocks *blocks, const json_t *block, const char *param,
                         struct refusal *refusal)
{
    struct turn *turn = blocks_turn(blocks, param, refusal);
    const char *text;
    char place[96];
    size_t n;
    int r;

    if (!turn)
        return refusal->status;
    snprintf(place, sizeof(place), "%.80s.text", param);
    r = jin_text(json_object_get(block, "text"), place, &text, &n, refusal);
    return r ? r : ask_append(&turn->text, text, n, place, refusal);
}

static int messages_block(struct blocks *blocks, const json_t *block, const char *param,
                          struct refusal *refusal)
{
    const bool is_user = blocks->ask && blocks->role == QWEND_USER,
               is_assistant = blocks->ask && blocks->role == QWEND_ASSISTANT;
    const char *type;
    char place[96];
    size_t n;
    int r = jin_object(block, param, refusal);

    snprintf(place, sizeof(place), "%.80s.type", param);
    if (!r)
        r = jin_text(json_object_get(block, "type"), place, &type, &n, refusal);
    if (r || !strcmp(type, "redacted_thinking"))
        return r;
    if (!strcmp(type, "text"))
        return messages_text(blocks, block, param, refusal);
    if (is_assistant && !strcmp(type, "thinking"))
        return messages_thinking(blocks, block, param, refusal);
    if (is_assistant && !strcmp(type, "tool_use"))
        return messages_use(blocks, block, param, refusal);
    if (is_user && !strcmp(type, "tool_result"))
        return messages_result(blocks, block, param, refusal);
    return refuse(refusal, 400, "unsupported_value", place, "%s must be text%s: the model reads nothing else",
                  place,
                  is_user        ? " or tool_result"
                  : is_assistant ? ", thinking or tool_use"
                                 : "");
}

static int messages_content(struct blocks *blocks, const json_t *value, const char *param,
                            struct refusal *refusal)
{
    const json_t *block;
    struct turn *turn;
    const char *text;
    char place[96];
    size_t i, n;
    int r;

    if (json_is_string(value)) {
        r = jin_text(value, param, &text, &n, refusal);
        turn = r ? NULL : blocks_turn(blocks, param, refusal);
        return turn ? ask_append(&turn->text, text, n, param, refusal) : refusal->status;
    }
    r = jin_array(value, param, ASK_TURNS, refusal);
    json_array_foreach((json_t *)value, i, block)
    {
        snprintf(place, sizeof(place), "%.60s[%zu]", param, i);
        if (!r)
            r = messages_block(blocks, block, place, refusal);
    }
    if (!r && !json_array_size(value) &&
        !blocks_turn(blocks, param, refusal)) /* nothing is said, by somebody */
        r = refusal->status;
    return r;
}

static int messages_one(struct ask *ask, const json_t *message, const char *param, struct refusal *refusal)
{
    struct blocks blocks = {.ask = ask};
    const char *role;
    char place[96];
    size_t n;
    int r = jin_object(message, param, refusal);

    snprintf(place, sizeof(place), "%.60s.role", param);
    if (!r)
        r = jin_text(json_object_get(message, "role"), place, &role, &n, refusal);
    if (!r && strcmp(role, "user") && strcmp(role, "assistant") && strcmp(role, "system"))
        r = refuse(refusal, 400, "invalid_value", place, "%s must be user, assistant or system", place);
    if (r)
        return r;
    blocks.role = *role == 'u' ? QWEND_USER : *role == 's' ? QWEND_SYSTEM : QWEND_ASSISTANT;
    snprintf(place, sizeof(place), "%.60s.content", param);
    return messages_content(&blocks, json_object_get(message, "content"), place, refusal);
}

static int messages_read_turns(struct ask *ask, const json_t *value, const char *param,
                               struct refusal *refusal)
{
    return ask_each_message(ask, value, param, messages_one, refusal);
}

/* Comes before the messages to the model, wherever it stands in the object: see ask_put_head(). */
static int messages_read_system(struct ask *ask, const json_t *value, const char *param,
                                struct refusal *refusal)
{
    struct turn system = {.text = BUF_INIT(ASK_TEXT_BYTES)};
    struct blocks blocks = {.role = QWEND_SYSTEM, .turn = &system};
    int r = messages_content(&blocks, value, param, refusal);

    ask->head = system.text;
    return r;
}

/* {"type": "enabled", "budget_tokens": n}; absent is off.  The engine has no budget yet: it is named as
 * ignored. */
static int messages_read_thinking(struct ask *ask, const json_t *value, const char *param,
                                  struct refusal *refusal)
{
    static const struct ask_field fields[] = {{.name = "type", .kind = ASK_READ, .read = ask_read_word},
                                              ASK_END};
    static const struct ask_field *const tables[] = {fields};
    const char *type = json_string_value(json_object_get(value, "type"));
    int r = jin_object(value, param, refusal);

    if (!r)
        r = ask_read(ask, value, "thinking.", tables, 1, refusal);
    if (!r && (!type || (strcmp(type, "enabled") && strcmp(type, "disabled") && strcmp(type, "adaptive") &&
                         strcmp(type, "between_tools"))))
        r = refuse(refusal, 400, "invalid_value", "thinking.type",
                   "thinking.type must be enabled, disabled, adaptive or between_tools");
    ask->thinks = !r && *type != 'd';
    return r;
}

/* Its effort is named as ignored, as a budget is. */
static int messages_read_output(struct ask *ask, const json_t *value, const char *param,
                                struct refusal *refusal)
{
    static const struct ask_field fields[] = {
        {.name = "format", .kind = ASK_REFUSED, .why = "the engine cannot hold an answer to a schema yet"},
        ASK_END};
    static const struct ask_field *const tables[] = {fields};
    int r = jin_object(value, param, refusal);

    return r ? r : ask_read(ask, value, "output_config.", tables, 1, refusal);
}

static const struct ask_field messages_fields[] = {
    {.name = "model", .kind = ASK_READ, .read = ask_read_model},
    {.name = "messages", .kind = ASK_READ, .read = messages_read_turns},
    {.name = "local_only", .kind = ASK_BOOL, .offset = offsetof(struct ask, local_only)},
    {.name = "system", .kind = ASK_READ, .read = messages_read_system},
    {.name = "max_tokens",
     .kind = ASK_INT,
     .offset = offsetof(struct ask, max_tokens),
     .lo = 1,
     .hi = INT32_MAX},
    {.name = "temperature", .kind = ASK_SET_REAL, .opt = QWEND_OPT_TEMPERATURE, .lo = 0, .hi = 2},
    {.name = "top_p", .kind = ASK_SET_REAL, .opt = QWEND_OPT_TOP_P, .lo = 0, .hi = 1},
    {.name = "top_k", .kind = ASK_SET_INT, .opt = QWEND_OPT_TOP_K, .lo = 0, .hi = INT32_MAX},
    {.name = "stop_sequences", .kind = ASK_READ, .read = ask_read_stop},
    {.name = "stream", .kind = ASK_BOOL, .offset = offsetof(struct ask, stream)},
    {.name = "thinking", .kind = ASK_READ, .read = messages_read_thinking},
    {.name = "output_config", .kind = ASK_READ, .read = messages_read_output},
    {.name = "tools", .kind = ASK_READ, .read = ask_read_tools},
    {.name = "tool_choice", .kind = ASK_READ, .read = ask_read_tool_choice},
    {.name = "mcp_servers", .kind = ASK_REFUSED, .why = "the engine cannot call tools yet"},
    {.name = "output_format", .kind = ASK_REFUSED, .why = "the engine cannot hold an answer to a schema yet"},
    ASK_END,
};

/* Thinking is off unless it is asked for, as in Anthropic's own service. */
int count_read(struct ask *ask, const json_t *root, struct refusal *refusal)
{
    static const struct ask_field *const tables[] = {messages_fields};

    int r = ask_read(ask, root, "", tables, 1, refusal);

    ask->has_thinking = true;
    return r ? r : ask_put_head(ask, "system", refusal);
}

int messages_read(struct ask *ask, const json_t *root, struct refusal *refusal)
{
    int r = count_read(ask, root, refusal);

    ask->fits = true;
    if (!r && !ask->max_tokens)
        r = refuse(refusal, 400, "invalid_value", "max_tokens", "max_tokens is missing");
    return r;
}

void messages_serve(struct conn *conn)
{
    serve_job(conn, messages_read, &anthropic_dialect);
}
