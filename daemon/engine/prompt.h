/* prompt.h - a serialised qwp.Prompt, which the broker never reads, to text or token ids.
 *
 * Functions return 0, an enum status_code > 0 that answers the client (the fault has the text, never a piece
 * of the prompt), or < 0. */
#pragma once

#include "daemon/model/chat.h"
#include "daemon/model/tokenizer.h"
#include "proto/status.h"
#include "qwend.pb-c.h"

enum { PROMPT_BYTES_MAX = 8 << 20 }; /* of one body, as in the broker */

/* Reads a sealed memfd with pread, never mmap: a peer must not be able to change or truncate it under us.  fd
 * borrowed. */
int prompt_read_fd(int fd, struct fault *fault, uint8_t **ret_body, size_t *ret_bytes);

/* The chat of a Prompt as the template renders it; a raw prompt is refused.  ret_text to be deinit-ed by the
 * caller. */
int prompt_render(const uint8_t *body, size_t n_bytes, bool thinking, struct fault *fault,
                  struct chat_text *ret_text);

struct prompt {
    struct token_ids ids, continuation; /* continuation: of a Score; n 0: there is none */
    bool reasoning;                     /* ends inside <think>: the answer starts with reasoning */
    bool is_fim;                        /* its answer ends where another file would begin, too */
    bool goes_on; /* a later prompt may have this one's answer as it was written: tools, raw, ids */
    /* Positions up to which a later prompt may well be the same, ascending: the end of the first turn (system
     * and tools, where there are any), the start of the last (the next prompt has another one there: the
     * template drops past reasoning), the last token (an equal prompt needs its logits). */
    size_t borders[3];
    int n_borders;
};
/* Nothing of what the caller wrote can become a control token, unless it is a raw prompt that asks for it. */
int prompt_encode(const struct tokenizer *tokenizer, const uint8_t *body, size_t n_bytes, bool thinking,
                  struct fault *fault, struct prompt *ret_prompt);
void prompt_deinit(struct prompt *prompt);

enum tokenizer_special prompt_special(bool has, Qwp__Special special); /* absent: none */
/* Ids from the wire to int32; STATUS_INVALID names the first that is not in the vocabulary. */
int prompt_copy_ids(const struct tokenizer *tokenizer, const char *what, const uint32_t *ids, size_t n_ids,
                    struct fault *fault, struct token_ids *ret_ids);
