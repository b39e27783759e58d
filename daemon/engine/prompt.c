/* prompt.c - a serialised qwp.Prompt to text or token ids.  See prompt.h. */
#include "prompt.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fim.h"
#include "proto/wire.h"

static void prompt_message_freep(ProtobufCMessage **message)
{
    wire_free(*message);
    *message = NULL;
}

/* body */

static int prompt_check_fd(int fd, struct fault *fault, size_t *ret_bytes)
{
    const int need = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    const int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    if (seals < 0 || (seals & need) != need)
        return fault_set(fault, STATUS_INVALID,
                         "the prompt's memfd is not sealed against writing, shrinking and growing");
    if (fstat(fd, &st) < 0)
        return err_errno();
    if (st.st_size < 0 || st.st_size > PROMPT_BYTES_MAX)
        return fault_set(fault, STATUS_INVALID, "the prompt's memfd has %lld bytes, at most %d are allowed",
                         (long long)st.st_size, PROMPT_BYTES_MAX);
    *ret_bytes = (size_t)st.st_size;
    return 0;
}

int prompt_read_fd(int fd, struct fault *fault, uint8_t **ret_body, size_t *ret_bytes)
{
    _cleanup_(freep) uint8_t *body = NULL;
    size_t n = 0, done = 0;
    int r = prompt_check_fd(fd, fault, &n);

    if (r)
        return r;
    body = malloc(n + 1); /* never zero bytes */
    if (!body)
        return err_origin(-ENOMEM);
    while (done < n) {
        ssize_t k = pread(fd, body + done, n - done, (off_t)done);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? err_errno() : err_origin(-EIO); /* sealed: it cannot have become shorter */
        done += (size_t)k;
    }
    *ret_body = steal(&body);
    *ret_bytes = n;
    return 0;
}

static int prompt_unpack(const uint8_t *body, size_t n_bytes, struct fault *fault, Qwp__Prompt **ret_prompt)
{
    ProtobufCMessage *message;
    int r = wire_unpack(&qwp__prompt__descriptor, body, n_bytes, fault, &message);

    if (r)
        return r < 0 ? r : STATUS_INVALID; /* the fault says which field */
    *ret_prompt = (Qwp__Prompt *)message;
    return 0;
}

static int prompt_check_one_kind(const Qwp__Prompt *p, struct fault *fault)
{
    const int n = (p->n_messages > 0) + (p->raw != NULL) + (p->ids != NULL) + (p->fim != NULL);

    if (n != 1)
        return fault_set(fault, STATUS_INVALID,
                         "the prompt has %d of messages, raw, ids and fim, should have exactly one", n);
    if (p->n_tools && !p->n_messages)
        return fault_set(fault, STATUS_INVALID, "tools need messages: a raw prompt has no place for them");
    return 0;
}

/* chat */

static struct chat_str prompt_str(const char *s)
{
    return (struct chat_str){s, s ? strlen(s) : 0};
}

/* What chat_render() takes, made of pointers into the unpacked message. */
struct prompt_chat {
    struct chat chat;
    struct chat_message *messages; /* owned */
    struct chat_call *calls;       /* owned, of all messages */
    struct chat_str *tools;        /* owned */
};

static void prompt_chat_deinit(struct prompt_chat *c)
{
    free(c->messages);
    free(c->calls);
    free(c->tools);
}

static int prompt_chat_alloc(struct prompt_chat *c, const Qwp__Prompt *p)
{
    size_t n_calls = 0;

    for (size_t i = 0; i < p->n_messages; i++)
        n_calls += p->messages[i]->n_tool_calls;
    c->messages = calloc(p->n_messages, sizeof(*c->messages));
    c->calls = calloc(n_calls + 1, sizeof(*c->calls)); /* + 1: calloc(0) may be NULL */
    c->tools = calloc(p->n_tools + 1, sizeof(*c->tools));
    return c->messages && c->calls && c->tools ? 0 : err_origin(-ENOMEM);
}

static int prompt_check_role(const char *role, size_t i, struct fault *fault)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};

    if (!role)
        return fault_set(fault, STATUS_INVALID, "messages[%zu] has no role", i);
    for (size_t k = 0; k < ARRAY_SIZE(roles); k++)
        if (!strcmp(role, roles[k]))
            return 0;
    return fault_set(fault, STATUS_INVALID,
                     "messages[%zu] has an unknown role, should be system, user, assistant or tool", i);
}

static int prompt_chat_fill(struct prompt_chat *c, const Qwp__Prompt *p, bool thinking, struct fault *fault)
{
    struct chat_call *call = c->calls;

    for (size_t i = 0; i < p->n_messages; i++) {
        const Qwp__Message *m = p->messages[i];
        int r = prompt_check_role(m->role, i, fault);

        if (r)
            return r;
        c->messages[i] = (struct chat_message){prompt_str(m->role), prompt_str(m->content),
                                               prompt_str(m->reasoning), call, m->n_tool_calls};
        for (size_t k = 0; k < m->n_tool_calls; k++, call++)
            *call = (struct chat_call){prompt_str(m->tool_calls[k]->name),
                                       prompt_str(m->tool_calls[k]->arguments)};
    }
    for (size_t i = 0; i < p->n_tools; i++)
        c->tools[i] = prompt_str(p->tools[i]);
    c->chat = (struct chat){c->messages, p->n_messages, c->tools, p->n_tools, thinking, true};
    return 0;
}

static int prompt_render_message(const Qwp__Prompt *p, bool thinking, struct fault *fault,
                                 struct chat_text *ret_text)
{
    _cleanup_(prompt_chat_deinit) struct prompt_chat c = {0};
    struct chat_text text = CHAT_TEXT_INIT;
    int r = prompt_chat_alloc(&c, p);

    if (!r)
        r = prompt_chat_fill(&c, p, thinking, fault);
    if (r)
        return r;
    text.max = 2 * PROMPT_BYTES_MAX; /* markup around each message at most doubles the largest body */
    r = chat_render(&c.chat, fault, &text);
    if (r) {
        chat_text_deinit(&text);
        if (r == CHAT_E_FULL)
            return fault_set(fault, STATUS_TOO_LONG, "the rendered prompt has more than %zu bytes", text.max);
        return r < 0 ? r : STATUS_TEMPLATE;
    }
    *ret_text = text;
    return 0;
}

int prompt_render(const uint8_t *body, size_t n_bytes, bool thinking, struct fault *fault,
                  struct chat_text *ret_text)
{
    _cleanup_(prompt_message_freep) ProtobufCMessage *message = NULL;
    Qwp__Prompt *p;
    int r = prompt_unpack(body, n_bytes, fault, &p);

    if (r)
        return r;
    message = &p->base;
    r = prompt_check_one_kind(p, fault);
    if (!r && !p->n_messages)
        r = fault_set(fault, STATUS_INVALID, "only messages are rendered");
    return r ? r : prompt_render_message(p, thinking, fault, ret_text);
}

/* ids */

enum tokenizer_special prompt_special(bool has, Qwp__Special special)
{
    if (!has)
        return TOKENIZER_NONE;
    return special == QWP__SPECIAL__SPECIAL_ALL    ? TOKENIZER_ALL
           : special == QWP__SPECIAL__SPECIAL_USER ? TOKENIZER_USER
                                                   : TOKENIZER_NONE;
}

int prompt_copy_ids(const struct tokenizer *tokenizer, const char *what, const uint32_t *ids, size_t n_ids,
                    struct fault *fault, struct token_ids *ret_ids)
{
    const uint32_t n_vocab = (uint32_t)tokenizer_n_vocab(tokenizer);
    struct token_ids copy = TOKEN_IDS_INIT;
    int r = 0;

    for (size_t i = 0; !r && i < n_ids; i++) {
        if (ids[i] >= n_vocab)
            r = fault_set(fault, STATUS_INVALID, "%s[%zu] is %u, the vocabulary has %u tokens", what, i,
                          ids[i], n_vocab);
        else
            r = token_ids_push(&copy, (int32_t)ids[i]);
    }
    if (r) {
        token_ids_deinit(&copy);
        return r;
    }
    *ret_ids = copy;
    return 0;
}

static int prompt_encode_text(const struct tokenizer *tokenizer, const char *text, size_t n,
                              enum tokenizer_special special, const struct chat_text *chat,
                              struct fault *fault, struct token_ids *ret_ids)
{
    struct token_ids ids = TOKEN_IDS_INIT;
    int r = tokenizer_encode(tokenizer, text, n, special, chat ? chat->plain : NULL, chat ? chat->n_plain : 0,
                             fault, &ids);

    if (r) {
        token_ids_deinit(&ids);
        return r < 0 ? r : STATUS_INVALID; /* not UTF-8; the fault says where */
    }
    *ret_ids = ids;
    return 0;
}

static int prompt_encode_chat(const struct tokenizer *tokenizer, const Qwp__Prompt *p, bool thinking,
                              struct fault *fault, struct token_ids *ret_ids)
{
    _cleanup_(chat_text_deinit) struct chat_text text = CHAT_TEXT_INIT;
    int r = prompt_render_message(p, thinking, fault, &text);

    if (r)
        return r;
    return prompt_encode_text(tokenizer, text.text, text.n, TOKENIZER_ALL, &text, fault, ret_ids);
}

/* The template's turns are found by their mark, which nothing that a caller wrote in a chat can become. */
static void prompt_find_borders(const struct tokenizer *tokenizer, struct prompt *prompt)
{
    const struct token_ids *ids = &prompt->ids;
    const int32_t mark = tokenizer_find(tokenizer, "<|im_start|>");
    size_t first = 0, last = 0;

    for (size_t i = 1; mark >= 0 && i < ids->n; i++) {
        if (ids->id[i] != mark)
            continue;
        first = first ? first : i;
        last = i;
    }
    if (first)
        prompt->borders[prompt->n_borders++] = first;
    if (last > first)
        prompt->borders[prompt->n_borders++] = last;
    if (ids->n - 1 > last)
        prompt->borders[prompt->n_borders++] = ids->n - 1;
}

/* By itself, so that the prompt's tokens are those of a Generate. */
static int prompt_encode_continuation(const struct tokenizer *tokenizer, const Qwp__Prompt *p,
                                      struct fault *fault, struct token_ids *ret_ids)
{
    int r = 0;

    if (p->continuation && p->continuation_ids)
        return fault_set(fault, STATUS_INVALID, "the prompt has continuation and continuation_ids");
    if (p->continuation)
        r = prompt_encode_text(tokenizer, p->continuation, strlen(p->continuation), TOKENIZER_NONE, NULL,
                               fault, ret_ids);
    else if (p->continuation_ids)
        r = prompt_copy_ids(tokenizer, "continuation_ids", p->continuation_ids->id, p->continuation_ids->n_id,
                            fault, ret_ids);
    if (!r && (p->continuation || p->continuation_ids) && !ret_ids->n)
        r = fault_set(fault, STATUS_INVALID, "the continuation is empty");
    return r;
}

int prompt_encode(const struct tokenizer *tokenizer, const uint8_t *body, size_t n_bytes, bool thinking,
                  struct fault *fault, struct prompt *ret_prompt)
{
    _cleanup_(prompt_message_freep) ProtobufCMessage *message = NULL;
    _cleanup_(prompt_deinit) struct prompt prompt = {.ids = TOKEN_IDS_INIT, .continuation = TOKEN_IDS_INIT};
    Qwp__Prompt *p;
    int r = prompt_unpack(body, n_bytes, fault, &p);

    if (r)
        return r;
    message = &p->base;
    r = prompt_check_one_kind(p, fault);
    if (r)
        return r;
    prompt.reasoning = thinking && p->n_messages;
    prompt.goes_on = !p->fim && (!p->n_messages || p->n_tools);
    prompt.is_fim = p->fim;
    if (p->n_messages)
        r = prompt_encode_chat(tokenizer, p, thinking, fault, &prompt.ids);
    else if (p->fim)
        r = fim_encode(tokenizer, p->fim, fault, &prompt);
    else if (p->raw)
        r = prompt_encode_text(tokenizer, p->raw, strlen(p->raw),
                               prompt_special(p->has_raw_special, p->raw_special), NULL, fault, &prompt.ids);
    else
        r = prompt_copy_ids(tokenizer, "ids", p->ids->id, p->ids->n_id, fault, &prompt.ids);
    if (!r && !prompt.ids.n)
        r = fault_set(fault, STATUS_INVALID, "the prompt is empty");
    if (!r)
        r = prompt_encode_continuation(tokenizer, p, fault, &prompt.continuation);
    if (r)
        return r;
    if (!p->fim)
        prompt_find_borders(tokenizer, &prompt);
    *ret_prompt = prompt;
    prompt.ids = prompt.continuation = TOKEN_IDS_INIT; /* handed over */
    return 0;
}

void prompt_deinit(struct prompt *prompt)
{
    token_ids_deinit(&prompt->ids);
    token_ids_deinit(&prompt->continuation);
}
