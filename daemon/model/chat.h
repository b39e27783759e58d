/* chat.h - Qwen 3.5's chat template as a fixed renderer, equal to the reference byte for byte (qwen35-math §6). */
#pragma once

#include "tokenizer.h"

enum { CHAT_OK, CHAT_E_TEMPLATE = 80, CHAT_E_FULL };

struct chat_str { const char *s; size_t n; };        /* s NULL: absent */
struct chat_call { struct chat_str name, arguments; }; /* arguments: JSON text of an object */
struct chat_message {
    struct chat_str role, content, reasoning;
    const struct chat_call *calls;
    size_t n_calls;
};
struct chat {
    const struct chat_message *messages;
    size_t n_messages;
    const struct chat_str *tools;                    /* JSON text of each function description */
    size_t n_tools;
    bool thinking;                                   /* enable_thinking; false only when exactly false was asked */
    bool generation_prompt;
};

/* text, and the parts of it that came from the caller, in which no added token may be recognised when it is tokenised. */
struct chat_text {
    char *text;                                      /* owned; not NUL-terminated */
    size_t n, cap, max;                              /* max: CHAT_E_FULL beyond (0: no bound) */
    struct tokenizer_plain *plain;                   /* owned, sorted */
    size_t n_plain, cap_plain;
};
#define CHAT_TEXT_INIT ((struct chat_text){0})
void chat_text_deinit(struct chat_text *text);

/* CHAT_E_TEMPLATE: the fault has the template's own message ("No user query found in messages."). */
int chat_render(const struct chat *chat, struct fault *fault, struct chat_text *ret_text);
