/* chat.c - the chat template.  See chat.h; the source is the template that Qwen 3.5's files carry
 * (Apache-2.0), kept as tests/golden/chat/template.jinja. */
#include "chat.h"

#include <stdio.h>
#include <string.h>

#include "jtext.h"
#include "unicode.h"
#include "utf8.h"

/* text */

void chat_text_deinit(struct chat_text *text)
{
    free(text->text);
    free(text->plain);
    *text = (struct chat_text){.max = text->max};
}

static int chat_reserve(void **data, size_t n, size_t n_more, size_t size, size_t *cap)
{
    size_t want = MAX(*cap, (size_t)256);
    void *grown;

    if (n + n_more <= *cap)
        return 0;
    while (want < n + n_more)
        want *= 2;
    grown = realloc(*data, want * size);
    if (!grown)
        return err_origin(-ENOMEM);
    *data = grown;
    *cap = want;
    return 0;
}

static int chat_put_bytes(struct chat_text *text, const char *s, size_t n)
{
    int r;

    if (text->max && n > text->max - text->n)
        return CHAT_E_FULL;
    r = chat_reserve((void **)&text->text, text->n, n, 1, &text->cap);
    if (r)
        return r;
    if (n)
        memcpy(text->text + text->n, s, n);
    text->n += n;
    return 0;
}

/* The template's own words. */
static int chat_put(struct chat_text *text, const char *s)
{
    return chat_put_bytes(text, s, strlen(s));
}

/* The caller's words. */
static int chat_put_plain(void *user, const char *s, size_t n)
{
    struct chat_text *text = user;
    const size_t begin = text->n;
    struct tokenizer_plain *last;
    int r;

    if (!n)
        return 0;
    r = chat_put_bytes(text, s, n);
    if (!r)
        r = chat_reserve((void **)&text->plain, text->n_plain, 1, sizeof(*text->plain), &text->cap_plain);
    if (r)
        return r;
    last = text->n_plain ? &text->plain[text->n_plain - 1] : NULL;
    if (last && last->end == begin)
        last->end = text->n;
    else
        text->plain[text->n_plain++] = (struct tokenizer_plain){begin, text->n};
    return 0;
}

static int chat_put_str(struct chat_text *text, struct chat_str s)
{
    return chat_put_plain(text, s.s, s.n);
}

/* strings, as Python has them */

/* str.strip() */
static struct chat_str chat_trim(struct chat_str s)
{
    int n;

    while (s.n && unicode_is_python_space(utf8_get(s.s, &n))) {
        s.s += n;
        s.n -= (size_t)n;
    }
    while (s.n) {
        size_t last = s.n - 1;

        while (last && ((uint8_t)s.s[last] & 0xc0) == 0x80)
            last--;
        if (!unicode_is_python_space(utf8_get(s.s + last, &n)))
            break;
        s.n = last;
    }
    return s;
}

static struct chat_str chat_strip_newlines(struct chat_str s, bool left, bool right)
{
    while (left && s.n && s.s[0] == '\n')
        s = (struct chat_str){s.s + 1, s.n - 1};
    while (right && s.n && s.s[s.n - 1] == '\n')
        s.n--;
    return s;
}

static bool chat_equal(struct chat_str s, const char *word)
{
    return s.s && s.n == strlen(word) && !memcmp(s.s, word, s.n);
}

static bool chat_starts(struct chat_str s, const char *word)
{
    return s.n >= strlen(word) && !memcmp(s.s, word, strlen(word));
}

static bool chat_ends(struct chat_str s, const char *word)
{
    return s.n >= strlen(word) && !memcmp(s.s + s.n - strlen(word), word, strlen(word));
}

static const char *chat_find(struct chat_str s, const char *word)
{
    return s.s && s.n ? memmem(s.s, s.n, word, strlen(word)) : NULL;
}

/* What stands before the first word; all of it if there is none. */
static struct chat_str chat_before(struct chat_str s, const char *word)
{
    const char *at = chat_find(s, word);

    return at ? (struct chat_str){s.s, (size_t)(at - s.s)} : s;
}

/* What stands behind the last word; all of it if there is none. */
static struct chat_str chat_behind(struct chat_str s, const char *word)
{
    const size_t n = strlen(word);

    for (const char *at; (at = chat_find(s, word));)
        s = (struct chat_str){at + n, s.n - (size_t)(at + n - s.s)};
    return s;
}

/* content */

static int chat_content(const struct chat_message *m, struct fault *fault, struct chat_str *ret_content)
{
    if (m->content_error)
        return fault_set(fault, CHAT_E_TEMPLATE, "%s", m->content_error);
    *ret_content = chat_trim(m->content.s ? m->content : (struct chat_str){"", 0});
    return 0;
}

/* The last question: the last user turn that is not wholly a tool's response. */
static int chat_find_query(const struct chat *chat, struct fault *fault, size_t *ret_index)
{
    for (size_t i = chat->n_messages; i-- > 0;) {
        const struct chat_message *m = &chat->messages[i];
        struct chat_str content;
        int r;

        if (!chat_equal(m->role, "user"))
            continue;
        r = chat_content(m, fault, &content);
        if (r)
            return r;
        if (chat_starts(content, "<tool_response>") && chat_ends(content, "</tool_response>"))
            continue;
        *ret_index = i;
        return 0;
    }
    return fault_set(fault, CHAT_E_TEMPLATE, "No user query found in messages.");
}

/* system and tools */

static const char chat_tools_intro[] =
    "<|im_start|>system\n# Tools\n\nYou have access to the following functions:\n\n<tools>";
static const char chat_tools_rules[] =
    "\n</tools>\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n"
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
    "<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple "
    "lines\n"
    "</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n- Function calls MUST follow the "
    "specified "
    "format: an inner <function=...></function> block must be nested within <tool_call></tool_call> XML "
    "tags\n"
    "- Required parameters MUST be specified\n- You may provide optional reasoning for your function call in "
    "natural "
    "language BEFORE the function call, but NOT after\n- If there is no function call available, answer the "
    "question "
    "like normal with your current knowledge and do not tell the user about function calls\n</IMPORTANT>";

static int chat_check_json(const char *what, size_t i, struct chat_str text, struct fault *fault,
                           struct jtext *ret_value)
{
    struct fault why;

    if (jtext_check(text.s ? text.s : "", text.n, &why, ret_value))
        return fault_set(fault, CHAT_E_TEMPLATE, "%s %zu: %s", what, i, why.text);
    return 0;
}

static int chat_put_tool(const struct chat *chat, size_t i, struct fault *fault, struct chat_text *text)
{
    struct jtext value;
    int r = chat_check_json("tool", i, chat->tools[i], fault, &value);

    if (!r)
        r = chat_put(text, "\n");
    return r ? r : jtext_print(value, chat_put_plain, text);
}

static int chat_put_system(const struct chat *chat, struct fault *fault, struct chat_text *text)
{
    const bool has_system = chat_equal(chat->messages[0].role, "system");
    struct chat_str content = {"", 0};
    int r = 0;

    if (!chat->n_tools && !has_system)
        return 0;
    r = chat_put(text, chat->n_tools ? chat_tools_intro : "<|im_start|>system\n");
    for (size_t i = 0; !r && i < chat->n_tools; i++)
        r = chat_put_tool(chat, i, fault, text);
    if (!r && chat->n_tools)
        r = chat_put(text, chat_tools_rules);
    if (!r && has_system)
        r = chat_content(&chat->messages[0], fault, &content);
    if (!r && chat->n_tools && content.n)
        r = chat_put(text, "\n\n");
    if (!r)
        r = chat_put_str(text, content);
    return r ? r : chat_put(text, "<|im_end|>\n");
}

/* assistant */

static int chat_put_parameter(struct jtext key, struct jtext value, struct chat_text *text)
{
    int r = chat_put(text, "<parameter=");

    if (!r)
        r = jtext_print_str(key, chat_put_plain, text);
    if (!r)
        r = chat_put(text, ">\n");
    if (!r)
        r = jtext_print_str(value, chat_put_plain, text);
    return r ? r : chat_put(text, "\n</parameter>\n");
}

static int chat_put_parameters(struct jtext arguments, struct fault *fault, struct chat_text *text)
{
    _cleanup_(freep) struct jtext_member *members = NULL;
    size_t n = 0;
    int r;

    if (jtext_kind(arguments) != JTEXT_OBJECT)
        return fault_set(fault, CHAT_E_TEMPLATE, "Can only get item pairs from a mapping.");
    r = jtext_members(arguments, &members, &n);
    for (size_t i = 0; !r && i < n; i++)
        r = chat_put_parameter(members[i].key, members[i].value, text);
    return r;
}

static int chat_put_call(const struct chat_call *call, size_t i, bool after_text, struct fault *fault,
                         struct chat_text *text)
{
    struct jtext arguments;
    int r;

    if (!call->name.s)
        return fault_set(fault, CHAT_E_TEMPLATE, "Tool call %zu has no name.", i);
    r = chat_put(text, i            ? "\n<tool_call>\n<function="
                       : after_text ? "\n\n<tool_call>\n<function="
                                    : "<tool_call>\n<function=");

    if (!r)
        r = chat_put_str(text, call->name);
    if (!r)
        r = chat_put(text, ">\n");
    if (!r && call->arguments.s) {
        r = chat_check_json("the arguments of tool call", i, call->arguments, fault, &arguments);
        if (!r)
            r = chat_put_parameters(arguments, fault, text);
    }
    return r ? r : chat_put(text, "</function>\n</tool_call>");
}

static int chat_put_assistant(const struct chat_message *m, struct chat_str content, bool is_current,
                              struct fault *fault, struct chat_text *text)
{
    struct chat_str reasoning = m->reasoning.s ? m->reasoning : (struct chat_str){"", 0};
    int r;

    if (!m->reasoning.s && chat_find(content, "</think>")) {
        reasoning = chat_strip_newlines(chat_before(content, "</think>"), false, true);
        reasoning = chat_strip_newlines(chat_behind(reasoning, "<think>"), true, false);
        content = chat_strip_newlines(chat_behind(content, "</think>"), true, false);
    }
    reasoning = chat_trim(reasoning);
    r = chat_put(text, is_current ? "<|im_start|>assistant\n<think>\n" : "<|im_start|>assistant\n");
    if (!r && is_current)
        r = chat_put_str(text, reasoning);
    if (!r && is_current)
        r = chat_put(text, "\n</think>\n\n");
    if (!r)
        r = chat_put_str(text, content);
    for (size_t i = 0; !r && i < m->n_calls; i++)
        r = chat_put_call(&m->calls[i], i, chat_trim(content).n > 0, fault, text);
    return r ? r : chat_put(text, "<|im_end|>\n");
}

/* turns */

static int chat_put_user(struct chat_str content, struct chat_text *text)
{
    int r = chat_put(text, "<|im_start|>user\n");

    if (!r)
        r = chat_put_str(text, content);
    return r ? r : chat_put(text, "<|im_end|>\n");
}

/* Consecutive responses share one user turn; one at the very start opens none (as the template has it). */
static int chat_put_response(const struct chat *chat, size_t i, struct chat_str content,
                             struct chat_text *text)
{
    const bool opens = i && !chat_equal(chat->messages[i - 1].role, "tool");
    const bool closes = i + 1 == chat->n_messages || !chat_equal(chat->messages[i + 1].role, "tool");
    int r = chat_put(text, opens ? "<|im_start|>user\n<tool_response>\n" : "\n<tool_response>\n");

    if (!r)
        r = chat_put_str(text, content);
    return r ? r : chat_put(text, closes ? "\n</tool_response><|im_end|>\n" : "\n</tool_response>");
}

static int chat_put_message(const struct chat *chat, size_t i, size_t query, struct fault *fault,
                            struct chat_text *text)
{
    const struct chat_message *m = &chat->messages[i];
    struct chat_str content;
    int r = chat_content(m, fault, &content);

    if (r)
        return r;
    if (chat_equal(m->role, "system"))
        return i ? fault_set(fault, CHAT_E_TEMPLATE, "System message must be at the beginning.") : 0;
    if (chat_equal(m->role, "user"))
        return chat_put_user(content, text);
    if (chat_equal(m->role, "assistant"))
        return chat_put_assistant(m, content, i > query, fault, text);
    if (chat_equal(m->role, "tool"))
        return chat_put_response(chat, i, content, text);
    return fault_set(fault, CHAT_E_TEMPLATE, "Unexpected message role.");
}

static int chat_render_all(const struct chat *chat, struct fault *fault, struct chat_text *text)
{
    size_t query = 0;
    int r = chat_put_system(chat, fault, text);

    if (!r)
        r = chat_find_query(chat, fault, &query);
    for (size_t i = 0; !r && i < chat->n_messages; i++)
        r = chat_put_message(chat, i, query, fault, text);
    if (!r && chat->generation_prompt)
        r = chat_put(text, "<|im_start|>assistant\n");
    if (!r && chat->generation_prompt)
        r = chat_put(text, chat->thinking ? "<think>\n" : "<think>\n\n</think>\n\n");
    return r;
}

static int chat_check_utf8(const char *what, size_t i, struct chat_str s, struct fault *fault)
{
    size_t n = utf8_valid_prefix(s.s, s.n);

    return n == s.n
               ? 0
               : fault_set(fault, CHAT_E_TEMPLATE, "%s of message %zu is not UTF-8 at byte %zu", what, i, n);
}

/* Everything below takes UTF-8 for granted; tools and arguments are checked where they are parsed. */
static int chat_check_message(const struct chat_message *m, size_t i, struct fault *fault)
{
    int r = chat_check_utf8("the content", i, m->content, fault);

    if (!r)
        r = chat_check_utf8("the reasoning", i, m->reasoning, fault);
    for (size_t k = 0; !r && k < m->n_calls; k++)
        r = chat_check_utf8("a tool call's name", i, m->calls[k].name, fault);
    return r;
}

int chat_render(const struct chat *chat, struct fault *fault, struct chat_text *ret_text)
{
    _cleanup_(chat_text_deinit) struct chat_text text = {.max = ret_text->max};
    int r = 0;

    if (!chat->n_messages)
        return fault_set(fault, CHAT_E_TEMPLATE, "No messages provided.");
    for (size_t i = 0; !r && i < chat->n_messages; i++)
        r = chat_check_message(&chat->messages[i], i, fault);
    if (!r)
        r = chat_render_all(chat, fault, &text);
    if (r == CHAT_E_FULL)
        fault_set(fault, r, "the rendered conversation is longer than %zu bytes", text.max);
    if (r)
        return r;
    *ret_text = text;
    text = CHAT_TEXT_INIT;
    return CHAT_OK;
}
