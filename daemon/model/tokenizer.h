/* tokenizer.h - byte-level BPE with the `qwen35` pre-tokeniser, equal to Hugging Face's (qwen35-math §5). */
#pragma once

#include "gguf.h"

enum { TOKENIZER_OK, TOKENIZER_E_VOCAB = 60, TOKENIZER_E_UTF8, TOKENIZER_E_FULL };

/* Which added tokens a text may contain: all; user-defined ones only (GGUF type 4, e.g. <think>); none. */
enum tokenizer_special { TOKENIZER_ALL, TOKENIZER_USER, TOKENIZER_NONE };

struct tokenizer; /* opaque, immutable once made: may be shared by threads */

/* [begin, end) bytes of the text in which no added token is recognised: untrusted content inside a rendered
 * chat. The split and the merges run across its borders exactly as if it were not marked. */
struct tokenizer_plain {
    size_t begin, end;
};

struct token_ids {
    int32_t *id;
    size_t n, cap;
    size_t max;
}; /* owned; max: refuse beyond (0: no bound) */
#define TOKEN_IDS_INIT ((struct token_ids){0})
void token_ids_deinit(struct token_ids *ids);
int token_ids_push(struct token_ids *ids, int32_t id); /* 0, TOKENIZER_E_FULL, -ENOMEM */

/* Copies what it needs from gguf.  Faults name the key. */
int tokenizer_new(const struct gguf *gguf, struct fault *fault, struct tokenizer **ret_tokenizer);
struct tokenizer *tokenizer_free(struct tokenizer *t);
CLEANUP_FUNC(struct tokenizer, tokenizer_free)

/* Appends to ids.  plain: sorted, not overlapping; NULL with 0.  TOKENIZER_E_UTF8 names the byte offset;
 * TOKENIZER_E_FULL. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n_text,
                     enum tokenizer_special special, const struct tokenizer_plain *plain, size_t n_plain,
                     struct fault *fault, struct token_ids *ids);

int tokenizer_n_vocab(const struct tokenizer *t);
/* The bytes of one token, borrowed; n = 0 for an unused one.  id in [0, n_vocab). */
struct gguf_str tokenizer_bytes(const struct tokenizer *t, int32_t id);
bool tokenizer_is_control(const struct tokenizer *t, int32_t id); /* type 3: never shown as text */
bool tokenizer_is_unused(const struct tokenizer *t, int32_t id);  /* type 5: never sampled */
bool tokenizer_is_stop(const struct tokenizer *t, int32_t id);    /* eos key, <|im_end|>, <|endoftext|> */
int32_t tokenizer_find(const struct tokenizer *t,
                       const char *token); /* an added token by its text; -1: none */
