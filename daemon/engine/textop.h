/* textop.h - Tokenize, Detokenize and Render: text work that belongs to no sequence. */
#pragma once

#include "daemon/model/chat.h"
#include "daemon/model/tokenizer.h"
#include "engine.pb-c.h"
#include "proto/buf.h"

struct textop {
    const Qwe__TextOp *msg; /* borrowed */
    Qwe__TextReply reply;   /* what came of it, made of what follows */
    Qwp__Tokens tokens;
    Qwp__Text text;
    struct token_ids ids;
    struct chat_text rendered;
    struct buf decoded;
};

/* Touches nothing but op and what never changes.  0, a status code with its fault set, < 0. */
int textop_work(const struct tokenizer *tokenizer, struct textop *op, struct fault *fault);
void textop_deinit(struct textop *op);
