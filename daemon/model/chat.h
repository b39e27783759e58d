/* chat.h - Qwen 3.5's chat template as a fixed renderer, equal to the reference byte for byte
 * (docs/MODEL.md).
 *
 * The template looks into what people wrote: an assistant turn without a reasoning field is split at
 * "</think>", a user turn that is one "<tool_response>…</tool_response>" is no question.  That is kept, since
 * it decides which text the model was trained on.  What is not kept is letting such text become control
 * tokens: everything a caller wrote is marked in chat_text.plain. */
#pragma once

#include "tokenizer.h"

enum { CHAT_OK, CHAT_E_TEMPLATE = 80, CHAT_E_FULL };

struct chat_str { /* s NULL: absent */
    const char *s;
    size_t n;
};
struct chat_call {
    struct chat_str name, arguments; /* arguments: JSON text of an object; absent: none */
};
struct chat_message {
    struct chat_str role, content, reasoning;
    const struct chat_call *calls;
    size_t n_calls;
    const char *
        content_error; /* content cannot be rendered: why, said when the template comes to it; NULL: it can */
};
struct chat {
    const struct chat_message *messages;
    size_t n_messages;
    const struct chat_str *tools; /* JSON text of each function description */
    size_t n_tools;
    bool thinking; /* enable_thinking; false only when exactly false was asked */
    bool generation_prompt;
};

/* text, and the parts of it that came from the caller, in which no added token may be recognised when it is
 * tokenised. */
struct chat_text {
    char *text;                    /* owned; not NUL-terminated */
    size_t n, cap, max;            /* max: CHAT_E_FULL beyond (0: no bound) */
    struct tokenizer_plain *plain; /* owned, sorted */
    size_t n_plain, cap_plain;
};
#define CHAT_TEXT_INIT ((struct chat_text){0})
void chat_text_deinit(struct chat_text *text);

/* ret_text comes as CHAT_TEXT_INIT with or without a max.  CHAT_E_TEMPLATE: the fault has the template's own
 * message
 * ("No user query found in messages.") or says which message, tool or call is wrong and where.  CHAT_E_FULL,
 * -ENOMEM. */
int chat_render(const struct chat *chat, struct fault *fault, struct chat_text *ret_text);
