/* eval_tool.c - tool calls in Qwen 3.5's XML form, against the calls that were wanted.  See eval_score.h.
 *
 *   <tool_call>\n<function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n ... </function>\n</tool_call>
 *
 * The form is the chat template's (tests/golden/chat/template.jinja): text may stand before the first call,
 * nothing but white space between and behind calls. */
#include <string.h>

#include "eval_score.h"

struct tool_cursor {
    struct chat_str s;
    size_t i;
    const char *why; /* what was wrong, for the verdict */
};

static void tool_skip_spaces(struct tool_cursor *c)
{
    while (eval_is_space(eval_at(c->s, c->i)))
        c->i++;
}

/* Takes white space and a tag; false: something else stands there. */
static bool tool_take(struct tool_cursor *c, const char *tag)
{
    tool_skip_spaces(c);
    if (!eval_has_at(c->s, c->i, tag))
        return false;
    c->i += strlen(tag);
    return true;
}

/* Up to the next end mark, which is taken; false: there is none. */
static bool tool_take_until(struct tool_cursor *c, const char *end, struct chat_str *ret_text)
{
    const size_t at = eval_find(c->s, c->i, end);

    if (at == c->s.n)
        return false;
    *ret_text = (struct chat_str){c->s.s + c->i, at - c->i};
    c->i = at + strlen(end);
    return true;
}

/* The template puts one line end on either side of a value. */
static struct chat_str tool_value(struct chat_str s)
{
    if (s.n && s.s[0] == '\n')
        s = (struct chat_str){s.s + 1, s.n - 1};
    if (s.n && s.s[s.n - 1] == '\n')
        s.n--;
    return s;
}

/* str() of Python's values, which is how the template writes what is no string, array or object. */
static bool tool_equal_word(const json_t *want, struct chat_str text)
{
    return (json_is_true(want) && eval_equal(text, eval_str("True"))) ||
           (json_is_false(want) && eval_equal(text, eval_str("False"))) ||
           (json_is_null(want) && eval_equal(text, eval_str("None")));
}

static bool tool_equal(const json_t *want, struct chat_str text)
{
    json_t *value;
    bool equal;

    if (json_is_string(want))
        return eval_equal(text, eval_json_str(want));
    text = eval_trim(text);
    if (!text.n || tool_equal_word(want, text))
        return text.n > 0;
    value = json_loadb(text.s, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    equal = value && eval_json_equal(value, want);
    json_decref(value);
    return equal;
}

/* One <parameter=KEY>, whose tag is taken up to the "=".  seen: the keys so far. */
static bool tool_parameter(struct tool_cursor *c, const json_t *arguments, json_t *seen)
{
    struct chat_str name, text;
    const json_t *want;

    if (!tool_take_until(c, ">", &name) || !tool_take_until(c, "</parameter>", &text)) {
        c->why = "a parameter without an end";
        return false;
    }
    want = json_object_getn(arguments, name.s, name.n);
    if (!want || json_object_getn(seen, name.s, name.n)) {
        c->why = want ? "a parameter twice" : "a parameter that is not wanted";
        return false;
    }
    json_object_setn_new(seen, name.s, name.n, json_true());
    if (tool_equal(want, tool_value(text)))
        return true;
    c->why = "a parameter with another value";
    return false;
}

static bool tool_parameters(struct tool_cursor *c, const json_t *arguments)
{
    json_t *seen = json_object();
    bool good = seen != NULL;

    while (good && tool_take(c, "<parameter="))
        good = tool_parameter(c, arguments, seen);
    if (good && json_object_size(seen) != json_object_size(arguments)) {
        c->why = "a parameter is missing";
        good = false;
    }
    json_decref(seen);
    return good;
}

static bool tool_call(struct tool_cursor *c, const json_t *want)
{
    struct chat_str name;

    if (!tool_take(c, "<tool_call>") || !tool_take(c, "<function=") || !tool_take_until(c, ">", &name)) {
        c->why = "no call in the form";
        return false;
    }
    if (!eval_equal(name, eval_json_str(json_object_get(want, "name")))) {
        c->why = "another function";
        return false;
    }
    if (!tool_parameters(c, json_object_get(want, "arguments")))
        return false;
    if (tool_take(c, "</function>") && tool_take(c, "</tool_call>"))
        return true;
    c->why = "a call without an end";
    return false;
}

static bool tool_calls(struct tool_cursor *c, const json_t *want)
{
    const bool several = json_is_array(want);
    const size_t n = several ? json_array_size(want) : 1;

    for (size_t i = 0; i < n; i++)
        if (!tool_call(c, several ? json_array_get(want, i) : want))
            return false;
    tool_skip_spaces(c);
    if (c->i == c->s.n)
        return true;
    c->why = "more behind the call";
    return false;
}

int eval_score_tool(const struct eval_goal *goal, struct chat_str answer, struct eval_verdict *verdict)
{
    struct tool_cursor c = {.s = answer, .i = eval_find(answer, 0, "<tool_call>"), .why = ""};

    verdict->right = tool_calls(&c, goal->answer);
    eval_got(verdict, verdict->right ? eval_trim(answer) : eval_str(c.why));
    return 0;
}
