/* render.c - verb render: a conversation as the chat template writes it.
 *
 * This file is the JSON side of the template: what the reference takes from a message's fields, how parts of
 * a content are joined, and which kinds of content it refuses. */
#include "text.h"

#include <string.h>

#include "daemon/model/chat.h"

struct render_arena { /* decoded strings and arrays of one line */
    void **blocks;
    size_t n, cap;
};

static void render_arena_deinit(struct render_arena *arena)
{
    for (size_t i = 0; i < arena->n; i++)
        free(arena->blocks[i]);
    free(arena->blocks);
}

static void *render_arena_take(struct render_arena *arena, size_t n_bytes)
{
    void *block = calloc(1, n_bytes + 1);

    if (arena->n == arena->cap) {
        const size_t cap = arena->cap ? 2 * arena->cap : 64;
        void **grown = realloc(arena->blocks, cap * sizeof(*grown));

        if (!grown) {
            free(block);
            return NULL;
        }
        arena->blocks = grown;
        arena->cap = cap;
    }
    if (block)
        arena->blocks[arena->n++] = block;
    return block;
}

/* A string value as it is meant, anything else as it stands in the line. */
static int render_str(struct render_arena *arena, struct jtext value, struct chat_str *ret_str)
{
    char *text;

    if (jtext_kind(value) != JTEXT_STRING) {
        *ret_str = (struct chat_str){value.s, value.n};
        return 0;
    }
    text = render_arena_take(arena, value.n);
    if (!text)
        return -ENOMEM;
    *ret_str = (struct chat_str){text, jtext_decode(value, text)};
    return 0;
}

static int render_find_str(struct render_arena *arena, struct jtext object, const char *key,
                           struct chat_str *ret_str)
{
    struct jtext value;

    if (!jtext_find(object, key, &value) || jtext_kind(value) != JTEXT_STRING)
        return 0;
    return render_str(arena, value, ret_str);
}

static size_t render_count(struct jtext array)
{
    struct jtext key, value;
    size_t n = 0;

    for (size_t cursor = 0; jtext_next(array, &cursor, &key, &value);)
        n++;
    return n;
}

static bool render_has(struct jtext object, const char *key)
{
    struct jtext value;

    return jtext_find(object, key, &value);
}

static bool render_is_type(struct jtext part, const char *type)
{
    struct jtext value;

    return jtext_find(part, "type", &value) && value.n == strlen(type) + 2 &&
           !memcmp(value.s + 1, type, strlen(type));
}

#define RENDER_IMAGE "<|vision_start|><|image_pad|><|vision_end|>"
#define RENDER_VIDEO "<|vision_start|><|video_pad|><|vision_end|>"

/* Writes one part to text, which has room for all of it or for a placeholder; returns how many bytes.
 * *ret_error: why the template refuses it. */
static size_t render_part(struct jtext part, bool is_system, char *text, const char **ret_error)
{
    struct jtext value;

    if (jtext_kind(part) == JTEXT_OBJECT) {
        if (render_has(part, "image") || render_has(part, "image_url") || render_is_type(part, "image")) {
            *ret_error = is_system ? "System message cannot contain images." : NULL;
            return strlen(strcpy(text, RENDER_IMAGE));
        }
        if (render_has(part, "video") || render_is_type(part, "video")) {
            *ret_error = is_system ? "System message cannot contain videos." : NULL;
            return strlen(strcpy(text, RENDER_VIDEO));
        }
        if (jtext_find(part, "text", &value) && jtext_kind(value) == JTEXT_STRING)
            return jtext_decode(value, text);
    }
    *ret_error = "Unexpected item type in content.";
    return 0;
}

/* Parts {"type": "text", "text": ...} are joined; an image or a video leaves the template's placeholder. */
static int render_parts(struct render_arena *arena, struct jtext array, bool is_system,
                        struct chat_message *m)
{
    char *text = render_arena_take(arena, array.n + render_count(array) * sizeof(RENDER_IMAGE));
    struct jtext key, part;
    size_t n = 0;

    if (!text)
        return -ENOMEM;
    for (size_t cursor = 0; !m->content_error && jtext_next(array, &cursor, &key, &part);)
        n += render_part(part, is_system, text + n, &m->content_error);
    m->content = (struct chat_str){text, n};
    return 0;
}

static int render_content(struct render_arena *arena, struct jtext message, bool is_system,
                          struct chat_message *m)
{
    struct jtext value;

    if (!jtext_find(message, "content", &value) || jtext_kind(value) == JTEXT_NULL)
        return 0;
    if (jtext_kind(value) == JTEXT_STRING)
        return render_str(arena, value, &m->content);
    if (jtext_kind(value) == JTEXT_ARRAY)
        return render_parts(arena, value, is_system, m);
    m->content_error = "Unexpected content type.";
    return 0;
}

static int render_calls(struct render_arena *arena, struct jtext message, struct chat_message *m)
{
    struct jtext calls, key, call, function, arguments;
    struct chat_call *out;
    int r = 0;

    if (!jtext_find(message, "tool_calls", &calls) || jtext_kind(calls) != JTEXT_ARRAY)
        return 0;
    m->calls = out = render_arena_take(arena, render_count(calls) * sizeof(*out));
    if (!out)
        return -ENOMEM;
    for (size_t cursor = 0; !r && jtext_next(calls, &cursor, &key, &call); m->n_calls++, out++) {
        if (jtext_kind(call) == JTEXT_OBJECT && jtext_find(call, "function", &function))
            call = function;
        if (jtext_kind(call) != JTEXT_OBJECT)
            continue; /* stays without a name, which the template refuses */
        r = render_find_str(arena, call, "name", &out->name);
        if (!r && jtext_find(call, "arguments", &arguments)) /* a string with JSON in it is refused as well */
            out->arguments = (struct chat_str){arguments.s, arguments.n};
    }
    return r;
}

static bool render_is(struct chat_str s, const char *word)
{
    return s.n == strlen(word) && !memcmp(s.s, word, s.n);
}

static int render_message(struct render_arena *arena, struct jtext message, bool is_first,
                          struct chat_message *m)
{
    int r = render_find_str(arena, message, "role", &m->role);

    if (!r)
        r = render_content(arena, message, is_first && render_is(m->role, "system"), m);
    if (!r)
        r = render_find_str(arena, message, "reasoning_content", &m->reasoning);
    return r ? r : render_calls(arena, message, m);
}

static int render_messages(struct render_arena *arena, struct jtext object, size_t line_no, struct chat *chat)
{
    struct chat_message *m;
    struct jtext array, key, message;
    int r = 0;

    if (!jtext_find(object, "messages", &array) || jtext_kind(array) != JTEXT_ARRAY)
        return probe_error("line %zu: \"messages\" should be an array", line_no);
    chat->messages = m = render_arena_take(arena, render_count(array) * sizeof(*m));
    if (!m)
        return probe_error("line %zu: no memory", line_no);
    for (size_t cursor = 0; !r && jtext_next(array, &cursor, &key, &message); m++, chat->n_messages++)
        r = jtext_kind(message) == JTEXT_OBJECT
                ? render_message(arena, message, !chat->n_messages, m)
                : probe_error("line %zu: message %zu should be an object", line_no, chat->n_messages);
    return r < 0 ? probe_error("line %zu: no memory", line_no) : r;
}

static int render_tools(struct render_arena *arena, struct jtext object, size_t line_no, struct chat *chat)
{
    struct jtext array, key, tool;
    struct chat_str *out;

    if (!jtext_find(object, "tools", &array) || jtext_kind(array) != JTEXT_ARRAY)
        return 0;
    chat->tools = out = render_arena_take(arena, render_count(array) * sizeof(*out));
    if (!out)
        return probe_error("line %zu: no memory", line_no);
    for (size_t cursor = 0; jtext_next(array, &cursor, &key, &tool); chat->n_tools++)
        *out++ = (struct chat_str){tool.s, tool.n};
    return 0;
}

static bool render_flag(struct jtext object, const char *key, bool absent)
{
    struct jtext value;

    if (!jtext_find(object, key, &value))
        return absent;
    return absent ? jtext_kind(value) != JTEXT_FALSE : jtext_kind(value) == JTEXT_TRUE;
}

static int render_line(void *user, size_t line_no, struct jtext object)
{
    _cleanup_(render_arena_deinit) struct render_arena arena = {0};
    _cleanup_(chat_text_deinit) struct chat_text text = CHAT_TEXT_INIT;
    struct chat chat = {
        .thinking = render_flag(object, "enable_thinking", true),
        .generation_prompt = render_flag(object, "add_generation_prompt", false),
    };
    struct fault fault = {0};
    int r = render_messages(&arena, object, line_no, &chat);

    if (!r)
        r = render_tools(&arena, object, line_no, &chat);
    if (r)
        return r;
    r = chat_render(&chat, &fault, &text);
    if (r && r != CHAT_E_TEMPLATE)
        return probe_fault("render", r, &fault);
    if (r)
        text_print_member("error", fault.text, strlen(fault.text));
    else
        text_print_member("text", text.text, text.n);
    return 0;
}

/* The template is part of this program; the model is opened to see that it is one. */
static int render_run(const struct probe_verb *verb, int argc, char **argv)
{
    _cleanup_(tokenizer_freep) struct tokenizer *tokenizer = NULL;
    const char *path;
    int r = probe_parse(verb, argc, argv, NULL, 0, &path);

    if (!r)
        r = text_open(path, &tokenizer);
    return r ? r : text_each_line(render_line, NULL);
}

const struct probe_verb probe_render = {
    .name = "render",
    .args = "MODEL",
    .help = "{\"messages\":[...],\"tools\":[...],\"enable_thinking\":bool,\"add_generation_prompt\":bool} "
            "per line to "
            "{\"text\":...} or {\"error\":...} per line",
    .run = render_run,
};
