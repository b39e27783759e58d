/* convo.c - a conversation written as JSON.  See convo.h. */
#include "convo.h"

#include <string.h>

void convo_deinit(struct convo *convo)
{
    for (size_t i = 0; i < convo->n_blocks; i++)
        free(convo->blocks[i]);
    free(convo->blocks);
    *convo = (struct convo){0};
}

static void *convo_take(struct convo *convo, size_t n_bytes)
{
    void *block = calloc(1, n_bytes + 1);

    if (convo->n_blocks == convo->cap) {
        const size_t cap = convo->cap ? 2 * convo->cap : 64;
        void **grown = realloc(convo->blocks, cap * sizeof(*grown));

        if (!grown) {
            free(block);
            return NULL;
        }
        convo->blocks = grown;
        convo->cap = cap;
    }
    if (block)
        convo->blocks[convo->n_blocks++] = block;
    return block;
}

/* A string value as it is meant, anything else as it stands in the line. */
static int convo_str(struct convo *convo, struct jtext value, struct chat_str *ret_str)
{
    char *text;

    if (jtext_kind(value) != JTEXT_STRING) {
        *ret_str = (struct chat_str){value.s, value.n};
        return 0;
    }
    text = convo_take(convo, value.n);
    if (!text)
        return err_origin(-ENOMEM);
    *ret_str = (struct chat_str){text, jtext_decode(value, text)};
    return 0;
}

static int convo_find_str(struct convo *convo, struct jtext object, const char *key, struct chat_str *ret_str)
{
    struct jtext value;

    if (!jtext_find(object, key, &value) || jtext_kind(value) != JTEXT_STRING)
        return 0;
    return convo_str(convo, value, ret_str);
}

static size_t convo_count(struct jtext array)
{
    struct jtext key, value;
    size_t n = 0;

    for (size_t cursor = 0; jtext_next(array, &cursor, &key, &value);)
        n++;
    return n;
}

static bool convo_has(struct jtext object, const char *key)
{
    struct jtext value;

    return jtext_find(object, key, &value);
}

static bool convo_is_type(struct jtext part, const char *type)
{
    struct jtext value;

    return jtext_find(part, "type", &value) && value.n == strlen(type) + 2 &&
           !memcmp(value.s + 1, type, strlen(type));
}

#define CONVO_IMAGE "<|vision_start|><|image_pad|><|vision_end|>"
#define CONVO_VIDEO "<|vision_start|><|video_pad|><|vision_end|>"

/* Writes one part to text, which has room for all of it or for a placeholder; returns how many bytes.
 * *ret_error: why the template refuses it. */
static size_t convo_part(struct jtext part, bool is_system, char *text, const char **ret_error)
{
    struct jtext value;

    if (jtext_kind(part) == JTEXT_OBJECT) {
        if (convo_has(part, "image") || convo_has(part, "image_url") || convo_is_type(part, "image")) {
            *ret_error = is_system ? "System message cannot contain images." : NULL;
            return strlen(strcpy(text, CONVO_IMAGE));
        }
        if (convo_has(part, "video") || convo_is_type(part, "video")) {
            *ret_error = is_system ? "System message cannot contain videos." : NULL;
            return strlen(strcpy(text, CONVO_VIDEO));
        }
        if (jtext_find(part, "text", &value) && jtext_kind(value) == JTEXT_STRING)
            return jtext_decode(value, text);
    }
    *ret_error = "Unexpected item type in content.";
    return 0;
}

/* Parts {"type": "text", "text": ...} are joined; an image or a video leaves the template's placeholder. */
static int convo_parts(struct convo *convo, struct jtext array, bool is_system, struct chat_message *m)
{
    char *text = convo_take(convo, array.n + convo_count(array) * sizeof(CONVO_IMAGE));
    struct jtext key, part;
    size_t n = 0;

    if (!text)
        return err_origin(-ENOMEM);
    for (size_t cursor = 0; !m->content_error && jtext_next(array, &cursor, &key, &part);)
        n += convo_part(part, is_system, text + n, &m->content_error);
    m->content = (struct chat_str){text, n};
    return 0;
}

static int convo_content(struct convo *convo, struct jtext message, bool is_system, struct chat_message *m)
{
    struct jtext value;

    if (!jtext_find(message, "content", &value) || jtext_kind(value) == JTEXT_NULL)
        return 0;
    if (jtext_kind(value) == JTEXT_STRING)
        return convo_str(convo, value, &m->content);
    if (jtext_kind(value) == JTEXT_ARRAY)
        return convo_parts(convo, value, is_system, m);
    m->content_error = "Unexpected content type.";
    return 0;
}

static int convo_calls(struct convo *convo, struct jtext message, struct chat_message *m)
{
    struct jtext calls, key, call, function, arguments;
    struct chat_call *out;
    int r = 0;

    if (!jtext_find(message, "tool_calls", &calls) || jtext_kind(calls) != JTEXT_ARRAY)
        return 0;
    m->calls = out = convo_take(convo, convo_count(calls) * sizeof(*out));
    if (!out)
        return err_origin(-ENOMEM);
    for (size_t cursor = 0; !r && jtext_next(calls, &cursor, &key, &call); m->n_calls++, out++) {
        if (jtext_kind(call) == JTEXT_OBJECT && jtext_find(call, "function", &function))
            call = function;
        if (jtext_kind(call) != JTEXT_OBJECT)
            continue; /* stays without a name, which the template refuses */
        r = convo_find_str(convo, call, "name", &out->name);
        if (!r && jtext_find(call, "arguments", &arguments)) /* a string with JSON in it is refused as well */
            out->arguments = (struct chat_str){arguments.s, arguments.n};
    }
    return r;
}

static bool convo_is(struct chat_str s, const char *word)
{
    return s.n == strlen(word) && !memcmp(s.s, word, s.n);
}

static int convo_message(struct convo *convo, struct jtext message, bool is_first, struct chat_message *m)
{
    int r = convo_find_str(convo, message, "role", &m->role);

    if (!r)
        r = convo_content(convo, message, is_first && convo_is(m->role, "system"), m);
    if (!r)
        r = convo_find_str(convo, message, "reasoning_content", &m->reasoning);
    return r ? r : convo_calls(convo, message, m);
}

static int convo_messages(struct convo *convo, struct jtext object, struct fault *fault)
{
    struct chat *chat = &convo->chat;
    struct chat_message *m;
    struct jtext array, key, message;
    int r = 0;

    if (!jtext_find(object, "messages", &array) || jtext_kind(array) != JTEXT_ARRAY)
        return fault_set(fault, CONVO_E_BAD, "\"messages\" should be an array");
    chat->messages = m = convo_take(convo, convo_count(array) * sizeof(*m));
    if (!m)
        return err_origin(-ENOMEM);
    for (size_t cursor = 0; !r && jtext_next(array, &cursor, &key, &message); m++, chat->n_messages++)
        r = jtext_kind(message) == JTEXT_OBJECT
                ? convo_message(convo, message, !chat->n_messages, m)
                : fault_set(fault, CONVO_E_BAD, "message %zu should be an object", chat->n_messages);
    return r;
}

static int convo_tools(struct convo *convo, struct jtext object)
{
    struct chat *chat = &convo->chat;
    struct jtext array, key, tool;
    struct chat_str *out;

    if (!jtext_find(object, "tools", &array) || jtext_kind(array) != JTEXT_ARRAY)
        return 0;
    chat->tools = out = convo_take(convo, convo_count(array) * sizeof(*out));
    if (!out)
        return err_origin(-ENOMEM);
    for (size_t cursor = 0; jtext_next(array, &cursor, &key, &tool); chat->n_tools++)
        *out++ = (struct chat_str){tool.s, tool.n};
    return 0;
}

int convo_read(struct jtext object, struct fault *fault, struct convo *ret_convo)
{
    int r;

    *ret_convo = (struct convo){0};
    r = convo_messages(ret_convo, object, fault);
    return r ? r : convo_tools(ret_convo, object);
}
