/* public_text.c - a published file as the beginning of a chat.  See public_text.h. */
#include "public_text.h"

#include <string.h>

#include "daemon/model/jtext.h"

struct public_chat {
    Qwp__Prompt prompt;
    Qwp__Message system, user, *messages[2];
    char *system_text; /* owned, NUL-terminated */
    char **tools;      /* owned, and what it points to */
};

static void public_chat_deinit(struct public_chat *chat)
{
    for (size_t i = 0; i < chat->prompt.n_tools; i++)
        free(chat->tools[i]);
    free(chat->tools);
    free(chat->system_text);
}

/* Whose first turn is wanted; what the user says is cut off. */
static void public_chat_fill(struct public_chat *chat)
{
    Qwp__Prompt *p = &chat->prompt;

    if (chat->system_text)
        p->messages[p->n_messages++] = &chat->system;
    chat->system.role = (char *)"system";
    chat->system.content = chat->system_text;
    chat->user.role = (char *)"user";
    chat->user.content = (char *)"";
    p->messages[p->n_messages++] = &chat->user;
    p->tools = chat->tools;
}

static int public_take_system(struct public_chat *chat, struct jtext value, struct fault *fault)
{
    size_t n;

    if (jtext_kind(value) != JTEXT_STRING)
        return fault_set(fault, STATUS_INVALID, "its \"system\" is no string");
    chat->system_text = malloc(value.n + 1);
    if (!chat->system_text)
        return err_origin(-ENOMEM);
    n = jtext_decode(value, chat->system_text);
    chat->system_text[n] = '\0';
    if (strlen(chat->system_text) != n)
        return fault_set(fault, STATUS_INVALID, "its \"system\" has a NUL");
    return 0;
}

static int public_take_tools(struct public_chat *chat, struct jtext value, struct fault *fault)
{
    size_t cursor = 0, n = 0;
    struct jtext key, tool;

    if (jtext_kind(value) != JTEXT_ARRAY)
        return fault_set(fault, STATUS_INVALID, "its \"tools\" is no array");
    while (jtext_next(value, &cursor, &key, &tool))
        n++;
    chat->tools = calloc(n + 1, sizeof(*chat->tools));
    if (!chat->tools)
        return err_origin(-ENOMEM);
    for (cursor = 0; jtext_next(value, &cursor, &key, &tool);) {
        char *copy = strndup(tool.s, tool.n);

        if (!copy)
            return err_origin(-ENOMEM);
        chat->tools[chat->prompt.n_tools++] = copy;
    }
    return 0;
}

static int public_take_json(struct public_chat *chat, const char *text, size_t n, struct fault *fault)
{
    _cleanup_(freep) struct jtext_member *members = NULL;
    struct jtext whole;
    size_t n_members = 0;
    int r = jtext_check(text, n, fault, &whole);

    if (!r)
        r = jtext_members(whole, &members, &n_members);
    for (size_t i = 0; !r && i < n_members; i++) {
        const struct jtext key = members[i].key;

        if (key.n == 8 && !memcmp(key.s, "\"system\"", 8))
            r = public_take_system(chat, members[i].value, fault);
        else if (key.n == 7 && !memcmp(key.s, "\"tools\"", 7))
            r = public_take_tools(chat, members[i].value, fault);
        else
            r = fault_set(fault, STATUS_INVALID, "its member %zu is neither \"system\" nor \"tools\"", i + 1);
    }
    return r > 0 ? STATUS_INVALID : r;
}

static int public_take(struct public_chat *chat, const char *text, size_t n, struct fault *fault)
{
    if (n && text[strspn(text, " \t\r\n")] == '{')
        return public_take_json(chat, text, n, fault);
    if (strlen(text) != n)
        return fault_set(fault, STATUS_INVALID, "byte %zu of it is NUL", strlen(text));
    chat->system_text = strdup(text);
    return chat->system_text ? 0 : err_origin(-ENOMEM);
}

/* Up to where the user's turn begins, which no text of the file can become. */
static int public_cut(const struct prompt *prompt, struct token_ids *ret_ids)
{
    int r = 0;

    for (size_t i = 0; !r && i < prompt->borders[0]; i++)
        r = token_ids_push(ret_ids, prompt->ids.id[i]);
    return r;
}

int public_encode(const struct tokenizer *tokenizer, const char *text, size_t n, struct fault *fault,
                  struct token_ids *ret_ids)
{
    _cleanup_(public_chat_deinit) struct public_chat chat = {.prompt = QWP__PROMPT__INIT};
    _cleanup_(prompt_deinit) struct prompt prompt = {.ids = TOKEN_IDS_INIT, .continuation = TOKEN_IDS_INIT};
    _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;
    _cleanup_(freep) uint8_t *body = NULL;
    size_t n_body;
    int r;

    qwp__message__init(&chat.system);
    qwp__message__init(&chat.user);
    chat.prompt.messages = chat.messages;
    r = public_take(&chat, text, n, fault);
    if (!r && !chat.system_text && !chat.prompt.n_tools)
        r = fault_set(fault, STATUS_INVALID, "neither a system message nor tools are in it");
    if (r)
        return r;
    public_chat_fill(&chat);
    n_body = qwp__prompt__get_packed_size(&chat.prompt);
    body = malloc(n_body);
    if (!body)
        return err_origin(-ENOMEM);
    qwp__prompt__pack(&chat.prompt, body);
    r = prompt_encode(tokenizer, body, n_body, false, fault, &prompt);
    if (!r)
        r = public_cut(&prompt, &ids);
    if (r)
        return r;
    *ret_ids = ids;
    ids = TOKEN_IDS_INIT; /* handed over */
    return 0;
}
