/* ask_tools.c - tools that a client offers, and calls of them that were made, in each dialect's words.  See
 * ask.h.
 *
 * The model is told of them by its template, and calls.h finds its calls.  Nothing makes it call one: whoever
 * leaves the choice to the model is served, whoever insists on a call is not. */
#include <string.h>

#include "ask.h"
#include "calls.h"
#include "jout.h"

enum { TOOLS_MAX = 256, TOOLS_TEXT_BYTES = 256 << 10 }; /* as on the wire */

static void tools_copy(json_t *to, const char *key, const json_t *value)
{
    if (value)
        json_object_set(to, key, (json_t *)value);
}

/* {"name", "description", "parameters"}, from wherever a dialect has these; NULL: it is no function. */
static json_t *tools_function(const json_t *tool)
{
    const json_t *nested = json_object_get(tool, "function"), *from = json_is_object(nested) ? nested : tool;
    const char *type = json_string_value(json_object_get(tool, "type"));
    const json_t *schema = json_object_get(from, "input_schema"); /* Anthropic's word */
    json_t *function;

    if (type && strcmp(type, "function") && !schema)
        return NULL;
    if (!json_string_length(json_object_get(from, "name")))
        return NULL;
    function = json_object();
    tools_copy(function, "name", json_object_get(from, "name"));
    tools_copy(function, "description", json_object_get(from, "description"));
    tools_copy(function, "parameters", schema ? schema : json_object_get(from, "parameters"));
    return function;
}

static int tools_add(struct ask *ask, const json_t *tool, const char *place, struct refusal *refusal)
{
    const char *type = json_string_value(json_object_get(tool, "type"));
    json_t *function;
    int r = jin_object(tool, place, refusal);

    if (r)
        return r;
    function = tools_function(tool);
    if (!function) {
        ask_note_ignored(ask, "tools.", type ? type : "?");
        return 0;
    }
    if (json_string_length(json_object_get(function, "name")) > CALLS_NAME_BYTES)
        r = refuse(refusal, 400, "invalid_value", place, "%s has a name of more than %d bytes", place,
                   CALLS_NAME_BYTES);
    else if (json_array_append(ask->offered, function))
        r = refuse(refusal, 503, "out_of_memory", NULL, "out of memory");
    json_decref(function);
    return r;
}

int ask_read_tools(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const json_t *tool;
    char place[96];
    size_t i;
    int r = jin_array(value, param, TOOLS_MAX, refusal);

    if (!r && !ask->offered)
        ask->offered = json_array();
    json_array_foreach((json_t *)value, i, tool)
    {
        snprintf(place, sizeof(place), "%.60s[%zu]", param, i);
        ask->has_tools = true;
        if (!r)
            r = tools_add(ask, tool, place, refusal);
    }
    return r;
}

/* "auto", "none", "required"; or an object whose type, or mode, says so: {"type": "tool", "name": ...}. */
int ask_read_tool_choice(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const json_t *mode = json_object_get(value, "mode");
    const char *type = json_string_value(json_object_get(value, "type")), *word;
    size_t n;
    int r;

    ask->one_call |= json_is_true(json_object_get(value, "disable_parallel_tool_use"));
    ask->some_tools = type && !strcmp(type, "allowed_tools");
    if (json_is_object(value))
        value = mode ? mode : json_object_get(value, "type");
    r = jin_text(value, param, &word, &n, refusal);
    if (r)
        return r;
    ask->tool_choice = !strcmp(word, "auto")   ? ASK_TOOLS_AUTO
                       : !strcmp(word, "none") ? ASK_TOOLS_NONE
                                               : ASK_TOOLS_FORCED;
    return 0;
}

int ask_read_parallel(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    bool parallel = true;
    int r = jin_bool(value, param, &parallel, refusal);

    ask->one_call = !parallel;
    return r;
}

/* One function, as the template wants it: {"type": "function", "function": {...}}. */
static int tools_use(struct ask *ask, json_t *function, struct refusal *refusal)
{
    _cleanup_(buf_deinit) struct buf buf = BUF_INIT(TOOLS_TEXT_BYTES);
    _cleanup_(freep) char *text = json_dumps(function, JSON_COMPACT);
    const char *name = json_string_value(json_object_get(function, "name"));
    const json_t *schema = json_object_get(function, "parameters");
    struct jout j = {.buf = &buf};

    if (!text)
        return refuse(refusal, 503, "out_of_memory", NULL, "out of memory");
    jout_open(&j, NULL, '{');
    jout_text(&j, "type", "function", 8);
    jout_raw(&j, "function", text, strlen(text));
    jout_close(&j, '}');
    if (j.r == BUF_E_FULL)
        return refuse(refusal, 400, "invalid_value", "tools", "a tool has more than %d bytes",
                      TOOLS_TEXT_BYTES);
    json_object_set_new(ask->tools, name, schema ? json_incref((json_t *)schema) : json_object());
    return ask_refuse_set(j.r ? j.r : qwend_req_tool(ask->req, jout_buf_text(&buf), buf_size(&buf)), "tools",
                          refusal);
}

int ask_judge_tools(struct ask *ask, enum ask_tool_mode mode, struct refusal *refusal)
{
    json_t *function;
    size_t i;
    int r = 0;

    if (ask->tool_choice == ASK_TOOLS_FORCED)
        return refuse(refusal, 400, "unsupported_parameter", "tool_choice",
                      "tool_choice wants a call: the engine cannot be held to one yet");
    if (!ask->has_tools)
        return 0;
    if (ask->tool_choice == ASK_TOOLS_AUTO && mode == ASK_REFUSE_TOOLS)
        return refuse(refusal, 400, "unsupported_parameter", "tools",
                      "tools are not let in here: see the key 'tools'");
    if (ask->tool_choice == ASK_TOOLS_NONE || mode == ASK_IGNORE_TOOLS) {
        ask_note_ignored(ask, "", "tools");
        return 0;
    }
    if (ask->some_tools)
        return refuse(refusal, 400, "unsupported_parameter", "tool_choice",
                      "tool_choice names some of the tools, and the model is shown all: send those alone");
    if (ask->logprobs)
        return refuse(refusal, 400, "unsupported_parameter", "logprobs",
                      "logprobs are not told beside tools");
    if (json_array_size(ask->offered))
        ask->tools = json_object();
    json_array_foreach(ask->offered, i, function) if (!r) r = tools_use(ask, function, refusal);
    return r;
}

/* calls that were made */

int ask_add_call(struct turn *turn, const char *name, const char *arguments, size_t n, const char *place,
                 struct refusal *refusal)
{
    struct tool_use *uses = turn->uses;

    if (turn->n_uses == CALLS_MAX)
        return refuse(refusal, 400, "invalid_value", place, "%s: more than %d calls in one message", place,
                      CALLS_MAX);
    if (!*name || strlen(name) > CALLS_NAME_BYTES || n > CALLS_TEXT_BYTES)
        return refuse(refusal, 400, "invalid_value", place,
                      "%s: a call has a name of 1 to %d bytes, and at most %d of arguments", place,
                      CALLS_NAME_BYTES, CALLS_TEXT_BYTES);
    if (!(turn->n_uses & (turn->n_uses - 1)))
        uses = realloc(uses, (turn->n_uses ? 2 * turn->n_uses : 1) * sizeof(*uses));
    if (uses) {
        turn->uses = uses;
        uses[turn->n_uses] = (struct tool_use){strdup(name), strndup(arguments, n)};
        if (uses[turn->n_uses].name && uses[turn->n_uses++].arguments)
            return 0;
    }
    return refuse(refusal, 503, "out_of_memory", NULL, "out of memory");
}

/* arguments: JSON in a text, or an object; what is missing is none. */
int ask_read_call(struct turn *turn, const json_t *name, const json_t *arguments, const char *place,
                  struct refusal *refusal)
{
    _cleanup_(freep) char *dumped = NULL;
    const char *text = "{}", *what;
    size_t n;
    int r = jin_text(name, place, &what, &n, refusal);

    if (r)
        return r;
    if (json_is_object(arguments))
        text = dumped = json_dumps(arguments, JSON_COMPACT);
    else if (json_string_length(arguments))
        text = json_string_value(arguments);
    return text ? ask_add_call(turn, what, text, strlen(text), place, refusal)
                : refuse(refusal, 503, "out_of_memory", NULL, "out of memory");
}

/* OpenAI's: [{"id", "type", "function": {"name", "arguments"}}]. */
int ask_read_calls(struct turn *turn, const json_t *value, const char *param, struct refusal *refusal)
{
    const json_t *call, *function;
    char place[96];
    size_t i;
    int r = jin_array(value, param, CALLS_MAX, refusal);

    json_array_foreach((json_t *)value, i, call)
    {
        snprintf(place, sizeof(place), "%.60s[%zu].function", param, i);
        function = json_object_get(call, "function");
        if (!r)
            r = jin_object(function, place, refusal);
        if (!r)
            r = ask_read_call(turn, json_object_get(function, "name"), json_object_get(function, "arguments"),
                              place, refusal);
    }
    return r;
}

void ask_free_uses(struct tool_use *uses, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(uses[i].name);
        free(uses[i].arguments);
    }
    free(uses);
}
