/* ask.c - see ask.h. */
#include "ask.h"
#include "jout.h"

#include <stdio.h>
#include <string.h>

int ask_init(struct ask *ask, struct refusal *refusal)
{
    *ask = (struct ask){.n = 1,
                        .caches = true,

                        .params = BUF_INIT(ASK_PARAM_BYTES),
                        .stops = BUF_INIT(ASK_PARAM_BYTES),
                        .raw = BUF_INIT(ASK_TEXT_BYTES),
                        .suffix = BUF_INIT(ASK_TEXT_BYTES),
                        .head = BUF_INIT(ASK_TEXT_BYTES)};
    ask->req = qwend_req_new();
    return ask->req ? 0 : refuse(refusal, 503, "out_of_memory", NULL, "out of memory");
}

void ask_deinit(struct ask *ask)
{
    qwend_req_free(ask->req);
    json_decref(ask->fields);
    json_decref(ask->offered);
    json_decref(ask->tools);
    for (size_t i = 0; i < ask->n_turns; i++) {
        buf_deinit(&ask->turns[i].text);
        buf_deinit(&ask->turns[i].reasoning);
        ask_free_uses(ask->turns[i].uses, ask->turns[i].n_uses);
    }
    free(ask->turns);
    buf_deinit(&ask->params);
    buf_deinit(&ask->stops);
    free(ask->up_body);
    buf_deinit(&ask->raw);
    buf_deinit(&ask->suffix);
    buf_deinit(&ask->head);
    *ask = (struct ask){};
}

int ask_append(struct buf *text, const char *more, size_t n, const char *param, struct refusal *refusal)
{
    int r = buf_append(text, more, n);

    return r == BUF_E_FULL ? refuse(refusal, 400, "invalid_value", param, "%s has more than %d bytes", param,
                                    ASK_TEXT_BYTES)
           : r             ? refuse(refusal, 503, "out_of_memory", NULL, "out of memory")
                           : 0;
}

struct turn *ask_turn(struct ask *ask, qwend_role role, const char *param, struct refusal *refusal)
{
    const size_t n = ask->n_turns;
    struct turn *turns = ask->turns;

    if (n == ASK_TURNS) {
        refuse(refusal, 400, "invalid_value", param, "more than %d messages", ASK_TURNS);
        return NULL;
    }
    if (!(n & (n - 1))) { /* the count says the capacity: the next power of two */
        turns = realloc(turns, (n ? 2 * n : 1) * sizeof(*turns));
        if (!turns) {
            refuse(refusal, 503, "out_of_memory", NULL, "out of memory");
            return NULL;
        }
        ask->turns = turns;
    }
    turns[n] =
        (struct turn){.role = role, .text = BUF_INIT(ASK_TEXT_BYTES), .reasoning = BUF_INIT(ASK_TEXT_BYTES)};
    ask->n_turns++;
    return &turns[n];
}

struct turn *ask_turn_of(struct ask *ask, qwend_role role, const char *param, struct refusal *refusal)
{
    struct turn *last = ask->n_turns ? &ask->turns[ask->n_turns - 1] : NULL;

    if (role != QWEND_SYSTEM || !last)
        return ask_turn(ask, role, param, refusal);
    if (last->role != QWEND_USER && last->role != QWEND_TOOL &&
        !(last->role == QWEND_SYSTEM && ask->n_turns == 1))
        return ask_turn(ask, QWEND_USER, param, refusal);
    return ask_append(&last->text, "\n\n", 2, param, refusal) ? NULL : last;
}

int ask_put_head(struct ask *ask, const char *param, struct refusal *refusal)
{
    struct turn *turn = ask->turns, system;

    if (!buf_size(&ask->head))
        return 0;
    if (ask->n_turns && turn->role == QWEND_SYSTEM) {
        if (ask_append(&ask->head, "\n\n", 2, param, refusal) ||
            ask_append(&ask->head, jout_buf_text(&turn->text), buf_size(&turn->text), param, refusal))
            return refusal->status;
        buf_deinit(&turn->text);
    } else {
        turn = ask_turn(ask, QWEND_SYSTEM, param, refusal);
        if (!turn)
            return refusal->status;
        system = *turn;
        memmove(ask->turns + 1, ask->turns, (ask->n_turns - 1) * sizeof(*ask->turns));
        turn = ask->turns;
        *turn = system;
    }
    turn->text = ask->head;
    ask->head = BUF_INIT(ASK_TEXT_BYTES);
    return 0;
}

/* fields */

/* A name that nobody but its sender knows: shown as far as it fits, and only plain ones. */
void ask_note_ignored(struct ask *ask, const char *prefix, const char *name)
{
    const size_t used = strlen(ask->ignored), left = sizeof(ask->ignored) - used;
    int n;

    if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != strlen(name))
        name = "?";
    n = snprintf(ask->ignored + used, left, "%s%s%s", used ? ", " : "", prefix, name);
    if (n < 0 || (size_t)n >= left)
        ask->ignored[used] = '\0';
}

static bool ask_is_nothing(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) || (json_is_array(value) && !json_array_size(value)) ||
           (json_is_string(value) &&
            (!json_string_length(value) || !strcmp(json_string_value(value), "none")));
}

int ask_refuse_set(int r, const char *param, struct refusal *refusal)
{
    return !r             ? 0
           : r == -ENOMEM ? refuse(refusal, 503, "out_of_memory", NULL, "out of memory")
                          : refuse(refusal, 400, "invalid_value", param, "%s is out of range", param);
}

/* What an upstream calls it.  What does not fit is left out: there is room for all options and stop strings.
 */
static void ask_note_param(struct ask *ask, qwend_opt opt, double value)
{
    static const char *const names[] = {[QWEND_OPT_TEMPERATURE] = "temperature",
                                        [QWEND_OPT_TOP_K] = "top_k",
                                        [QWEND_OPT_TOP_P] = "top_p",
                                        [QWEND_OPT_MIN_P] = "min_p",
                                        [QWEND_OPT_REPEAT_PENALTY] = "repetition_penalty",
                                        [QWEND_OPT_PRESENCE_PENALTY] = "presence_penalty",
                                        [QWEND_OPT_FREQUENCY_PENALTY] = "frequency_penalty"};
    struct jout j = {.buf = &ask->params, .more = buf_size(&ask->params) > 0};

    if (opt < ARRAY_SIZE(names) && names[opt])
        jout_real(&j, names[opt], value);
}

static int ask_read_field(struct ask *ask, const struct ask_field *field, const json_t *value,
                          const char *param, struct refusal *refusal)
{
    int64_t i;
    double f;
    int r;

    switch (field->kind) {
    case ASK_SET_INT:
        r = jin_int(value, param, (int64_t)field->lo, (int64_t)field->hi, &i, refusal);
        if (!r)
            ask_note_param(ask, field->opt, (double)i);
        return r ? r : ask_refuse_set(qwend_req_set_i(ask->req, field->opt, i), param, refusal);
    case ASK_SET_REAL:
        r = jin_real(value, param, field->lo, field->hi, &f, refusal);
        if (!r)
            ask_note_param(ask, field->opt, f);
        return r ? r : ask_refuse_set(qwend_req_set_f(ask->req, field->opt, f), param, refusal);
    case ASK_INT:
        return jin_int(value, param, (int64_t)field->lo, (int64_t)field->hi,
                       (int64_t *)((char *)ask + field->offset), refusal);
    case ASK_BOOL:
        return jin_bool(value, param, (bool *)((char *)ask + field->offset), refusal);
    case ASK_READ:
        return field->read(ask, value, param, refusal);
    case ASK_REFUSED:
        if (!ask_is_nothing(value))
            return refuse(refusal, 400, "unsupported_parameter", param, "%s: %s", param, field->why);
        return 0;
    }
    return 0;
}

static const struct ask_field *ask_find(const char *name, const struct ask_field *const *tables, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (const struct ask_field *field = tables[i]; field->name; field++)
            if (!strcmp(field->name, name))
                return field;
    return NULL;
}

int ask_read(struct ask *ask, const json_t *object, const char *prefix, const struct ask_field *const *tables,
             size_t n, struct refusal *refusal)
{
    const struct ask_field *field;
    const char *name;
    char param[80];
    json_t *value;
    int r;

    json_object_foreach((json_t *)object, name, value)
    {
        field = ask_find(name, tables, n);
        if (!field)
            ask_note_ignored(ask, prefix, name);
        if (!field || json_is_null(value))
            continue;
        snprintf(param, sizeof(param), "%s%s", prefix, name);
        r = ask_read_field(ask, field, value, param, refusal);
        if (r)
            return r;
    }
    return 0;
}

/* readers */

int ask_read_word(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const char *text;
    size_t n;

    return jin_text(value, param, &text, &n, refusal);
}

/* One model is served, whatever it is called; which server comes first may follow from the name. */
int ask_read_model(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const char *text = "";
    size_t n;
    int r = jin_text(value, param, &text, &n, refusal);

    snprintf(ask->model, sizeof(ask->model), "%s", text);
    return r;
}

static int ask_add_stop(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    struct jout j = {.buf = &ask->stops, .more = buf_size(&ask->stops) > 0};
    const char *text;
    size_t n;
    int r = jin_text(value, param, &text, &n, refusal);

    if (r)
        return r;
    if (!n || n > ASK_STOP_BYTES)
        return refuse(refusal, 400, "invalid_value", param, "%s has %zu bytes, must have 1 to %d", param, n,
                      ASK_STOP_BYTES);
    if (++ask->n_stops > ASK_STOPS)
        return refuse(refusal, 400, "invalid_value", param, "more than %d stop strings", ASK_STOPS);
    jout_text(&j, NULL, text, n);
    return ask_refuse_set(qwend_req_set_s(ask->req, QWEND_OPT_STOP, text, n), param, refusal);
}

int ask_read_stop(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const json_t *element;
    char place[96];
    size_t i;
    int r;

    if (json_is_string(value))
        return ask_add_stop(ask, value, param, refusal);
    r = jin_array(value, param, ASK_STOPS, refusal);
    json_array_foreach((json_t *)value, i, element)
    {
        snprintf(place, sizeof(place), "%.40s[%zu]", param, i);
        if (!r)
            r = ask_add_stop(ask, element, place, refusal);
    }
    return r;
}

/* A number, or llama.cpp's false, which bans. */
static int ask_add_bias(struct ask *ask, uint32_t id, const json_t *bias, const char *place,
                        struct refusal *refusal)
{
    double f = -100;
    int r = json_is_false(bias) ? 0 : jin_real(bias, place, -100, 100, &f, refusal);

    return r ? r : ask_refuse_set(qwend_req_bias(ask->req, id, (float)f), place, refusal);
}

/* [[151643, -100], [198, false], ...], as llama.cpp has it. */
static int ask_read_bias_pairs(struct ask *ask, const json_t *value, const char *param,
                               struct refusal *refusal)
{
    const json_t *pair;
    char place[80];
    int64_t id = 0;
    size_t i;
    int r = jin_array(value, param, ASK_BIASES, refusal);

    json_array_foreach((json_t *)value, i, pair)
    {
        snprintf(place, sizeof(place), "%.40s[%zu]", param, i);
        if (!r)
            r = jin_array(pair, place, 2, refusal);
        if (!r)
            r = jin_int(json_array_get(pair, 0), place, 0, UINT32_MAX, &id, refusal);
        if (!r)
            r = ask_add_bias(ask, (uint32_t)id, json_array_get(pair, 1), place, refusal);
    }
    return r;
}

/* {"151643": -100, ...}: added to the logits of these tokens. */
static int ask_read_bias(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const char *name;
    char place[80], *end;
    json_t *bias;
    int r;

    ask->biases = true; /* ids mean something to this model only */
    if (json_is_array(value))
        return ask_read_bias_pairs(ask, value, param, refusal);
    r = jin_object(value, param, refusal);
    if (!r && json_object_size(value) > ASK_BIASES)
        r = refuse(refusal, 400, "invalid_value", param, "%s has more than %d tokens", param, ASK_BIASES);
    if (r)
        return r;
    json_object_foreach((json_t *)value, name, bias)
    {
        const unsigned long long id = strtoull(name, &end, 10);

        snprintf(place, sizeof(place), "%.40s[%.20s]", param, name);
        if (*name < '0' || *name > '9' || *end || id > UINT32_MAX)
            return refuse(refusal, 400, "invalid_value", param, "%s: a key is not a token id", param);
        r = ask_add_bias(ask, (uint32_t)id, bias, place, refusal);
        if (r)
            return r;
    }
    return 0;
}

int ask_read_one(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    int64_t n;
    int r = jin_int(value, param, 1, INT32_MAX, &n, refusal);

    return r        ? r
           : n == 1 ? 0
                    : refuse(refusal, 400, "unsupported_parameter", param,
                             "%s: one answer a request here; n of /v1/completions gives several", param);
}

/* -1 is vLLM's and llama.cpp's word for all, as 0 is. */
static int ask_read_top_k(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    int64_t k;
    int r = jin_int(value, param, -1, INT32_MAX, &k, refusal);

    if (r)
        return r;
    ask_note_param(ask, QWEND_OPT_TOP_K, (double)k);
    return ask_refuse_set(qwend_req_set_i(ask->req, QWEND_OPT_TOP_K, MAX(k, 0)), param, refusal);
}

/* -1 is llama.cpp's and Ollama's word for any. */
int ask_read_seed(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const int r = jin_int(value, param, INT64_MIN, INT64_MAX, &ask->seed, refusal);

    ask->has_seed = !r && ask->seed != -1;
    return r;
}

static int ask_read_stream_options(struct ask *ask, const json_t *value, const char *param,
                                   struct refusal *refusal)
{
    static const struct ask_field fields[] = {
        {.name = "include_usage", .kind = ASK_BOOL, .offset = offsetof(struct ask, include_usage)}, ASK_END};
    static const struct ask_field *const tables[] = {fields};
    int r = jin_object(value, param, refusal);

    return r ? r : ask_read(ask, value, "stream_options.", tables, 1, refusal);
}

int ask_read_thinking(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    ask->has_thinking = true;
    return jin_bool(value, param, &ask->thinks, refusal);
}

/* The engine has no budget for thinking yet: all but none is on. */
int ask_read_effort(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    static const char *const words[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
    const char *text;
    size_t n;
    int r = jin_text(value, param, &text, &n, refusal);

    if (r)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (!strcmp(text, words[i])) {
            ask->has_thinking = true;
            ask->thinks = i >= 2;
            return 0;
        }
    return refuse(refusal, 400, "invalid_value", param,
                  "%s must be none, minimal, low, medium, high, xhigh or max", param);
}

static int ask_read_template(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    static const struct ask_field fields[] = {
        {.name = "enable_thinking", .kind = ASK_READ, .read = ask_read_thinking}, ASK_END};
    static const struct ask_field *const tables[] = {fields};
    int r = jin_object(value, param, refusal);

    return r ? r : ask_read(ask, value, "chat_template_kwargs.", tables, 1, refusal);
}

static int ask_read_format(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const char *type;
    size_t n;
    int r = jin_object(value, param, refusal);

    if (!r)
        r = jin_text(json_object_get(value, "type"), "response_format.type", &type, &n, refusal);
    if (!r && strcmp(type, "text"))
        r = refuse(refusal, 400, "unsupported_parameter", "response_format",
                   "response_format.type must be text: the engine cannot hold an answer to a schema yet");
    return r;
}

#define ASK_NO_GRAMMAR "the engine cannot hold an answer to a grammar yet"
#define SET_REAL(text, o, from, to)                                                                          \
    {                                                                                                        \
        .name = text, .kind = ASK_SET_REAL, .opt = o, .lo = from, .hi = to                                   \
    }
#define SET_INT(text, o, from, to)                                                                           \
    {                                                                                                        \
        .name = text, .kind = ASK_SET_INT, .opt = o, .lo = from, .hi = to                                    \
    }
#define REFUSED(text, reason)                                                                                \
    {                                                                                                        \
        .name = text, .kind = ASK_REFUSED, .why = reason                                                     \
    }

const struct ask_field ask_sampling[] = {
    SET_REAL("temperature", QWEND_OPT_TEMPERATURE, 0, 100),
    SET_REAL("top_p", QWEND_OPT_TOP_P, 0, 1),
    SET_REAL("min_p", QWEND_OPT_MIN_P, 0, 1),
    {.name = "top_k", .kind = ASK_READ, .read = ask_read_top_k},
    SET_REAL("presence_penalty", QWEND_OPT_PRESENCE_PENALTY, -2, 2),
    SET_REAL("frequency_penalty", QWEND_OPT_FREQUENCY_PENALTY, -2, 2),
    SET_REAL("repeat_penalty", QWEND_OPT_REPEAT_PENALTY, 0.01, 100),
    SET_REAL("repetition_penalty", QWEND_OPT_REPEAT_PENALTY, 0.01, 100),
    SET_INT("repeat_last_n", QWEND_OPT_PENALTY_LAST_N, -1, INT32_MAX),
    {.name = "seed", .kind = ASK_READ, .read = ask_read_seed},
    {.name = "ignore_eos", .kind = ASK_BOOL, .offset = offsetof(struct ask, ignores_eos)},
    {.name = "logit_bias", .kind = ASK_READ, .read = ask_read_bias},
    {.name = "stop", .kind = ASK_READ, .read = ask_read_stop},
    {.name = "model", .kind = ASK_READ, .read = ask_read_model},
    {.name = "local_only", .kind = ASK_BOOL, .offset = offsetof(struct ask, local_only)},
    {.name = "stream", .kind = ASK_BOOL, .offset = offsetof(struct ask, stream)},
    {.name = "stream_options", .kind = ASK_READ, .read = ask_read_stream_options},
    {.name = "cache_prompt", .kind = ASK_BOOL, .offset = offsetof(struct ask, caches)},
    {.name = "n", .kind = ASK_INT, .offset = offsetof(struct ask, n), .lo = 1, .hi = ASK_CHOICES},
    {.name = "chat_template_kwargs", .kind = ASK_READ, .read = ask_read_template},
    {.name = "enable_thinking", .kind = ASK_READ, .read = ask_read_thinking},
    {.name = "reasoning_effort", .kind = ASK_READ, .read = ask_read_effort},
    {.name = "response_format", .kind = ASK_READ, .read = ask_read_format},
    {.name = "tools", .kind = ASK_READ, .read = ask_read_tools},
    {.name = "functions", .kind = ASK_READ, .read = ask_read_tools},
    {.name = "parallel_tool_calls", .kind = ASK_READ, .read = ask_read_parallel},
    {.name = "tool_choice", .kind = ASK_READ, .read = ask_read_tool_choice},
    {.name = "function_call", .kind = ASK_READ, .read = ask_read_tool_choice},
    REFUSED("grammar", ASK_NO_GRAMMAR),
    REFUSED("json_schema", ASK_NO_GRAMMAR),
    REFUSED("guided_json", ASK_NO_GRAMMAR),
    REFUSED("guided_regex", ASK_NO_GRAMMAR),
    REFUSED("guided_choice", ASK_NO_GRAMMAR),
    REFUSED("guided_grammar", ASK_NO_GRAMMAR),
    REFUSED("structured_outputs", ASK_NO_GRAMMAR),
    {.name = "best_of", .kind = ASK_READ, .read = ask_read_one},
    REFUSED("audio", "the model knows text only"),
    REFUSED("images", "the model knows text only"),
    ASK_END,
};
