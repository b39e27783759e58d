/* textop.c - Tokenize, Detokenize and Render.  See textop.h.  Replies are one frame: what does not fit is
 * refused with the numbers. */
#include "textop.h"

#include <string.h>

#include "daemon/model/detok.h"
#include "prompt.h"
#include "proto/frame.h"

enum { TEXTOP_REPLY_BYTES = FRAME_MAX_BYTES - 64 };

static int textop_fits(size_t n, const char *what, struct fault *fault)
{
    if (n <= TEXTOP_REPLY_BYTES)
        return 0;
    return fault_set(fault, STATUS_TOO_LONG, "the %s take %zu bytes, a reply holds %d", what, n,
                     TEXTOP_REPLY_BYTES);
}

static void textop_set_text(struct textop *op, const char *text, size_t n)
{
    qwp__text__init(&op->text);
    op->text.has_text = 1;
    op->text.text = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = n};
    op->reply.text = &op->text;
}

static int textop_tokenize(const struct tokenizer *tokenizer, const Qwp__Tokenize *msg, struct textop *op,
                           struct fault *fault)
{
    const char *text = msg->text ? msg->text : "";
    int r = tokenizer_encode(tokenizer, text, strlen(text), prompt_special(msg->has_special, msg->special),
                             NULL, 0, fault, &op->ids);

    if (r)
        return r < 0 ? r : STATUS_INVALID;
    qwp__tokens__init(&op->tokens);
    op->tokens.n_ids = op->ids.n;
    op->tokens.ids = (uint32_t *)op->ids.id; /* none is negative */
    op->reply.tokens = &op->tokens;
    return textop_fits(protobuf_c_message_get_packed_size(&op->reply.base), "token ids", fault);
}

/* detok_max_bytes() is an upper bound: what is reserved for the last token may lie beyond what is used. */
enum { TEXTOP_TOKEN_SLACK = 4096 };

/* All of the text, or BUF_E_FULL. */
static int textop_decode(const struct tokenizer *tokenizer, const struct token_ids *ids, struct buf *buf)
{
    struct detok d;
    uint8_t *tail;
    int r = 0;

    detok_init(&d, tokenizer);
    d.keep_control = true; /* the text that Tokenize would make these ids from */
    for (size_t i = 0; i < ids->n; i++) {
        r = buf_reserve(buf, detok_max_bytes(&d, ids->id[i]), &tail);
        if (r)
            return r;
        buf_commit(buf, detok_push(&d, ids->id[i], (char *)tail));
    }
    r = buf_reserve(buf, DETOK_HOLD_MAX, &tail);
    if (!r)
        buf_commit(buf, detok_flush(&d, (char *)tail));
    return r;
}

static int textop_detokenize(const struct tokenizer *tokenizer, const Qwp__Detokenize *msg, struct textop *op,
                             struct fault *fault)
{
    int r = prompt_copy_ids(tokenizer, "ids", msg->ids, msg->n_ids, fault, &op->ids);

    op->decoded = BUF_INIT(TEXTOP_REPLY_BYTES + TEXTOP_TOKEN_SLACK);
    if (!r)
        r = textop_decode(tokenizer, &op->ids, &op->decoded);
    if (r == BUF_E_FULL || (!r && buf_size(&op->decoded) > TEXTOP_REPLY_BYTES))
        return fault_set(fault, STATUS_TOO_LONG,
                         "the decoded ids take more than the %d bytes that a reply holds",
                         TEXTOP_REPLY_BYTES);
    if (!r)
        textop_set_text(op, (const char *)buf_head(&op->decoded), buf_size(&op->decoded));
    return r;
}

static int textop_render(const Qwp__Render *msg, struct textop *op, struct fault *fault)
{
    const bool thinking = !msg->has_thinking || msg->thinking == QWP__THINKING__THINKING_ON;
    int r = prompt_render(msg->body.data, msg->body.len, thinking, fault, &op->rendered);

    if (!r)
        r = textop_fits(op->rendered.n, "rendered messages", fault);
    if (!r)
        textop_set_text(op, op->rendered.text, op->rendered.n);
    return r;
}

int textop_work(const struct tokenizer *tokenizer, struct textop *op, struct fault *fault)
{
    const Qwe__TextOp *msg = op->msg;

    qwe__text_reply__init(&op->reply);
    if (msg->tokenize)
        return textop_tokenize(tokenizer, msg->tokenize, op, fault);
    if (msg->detokenize)
        return textop_detokenize(tokenizer, msg->detokenize, op, fault);
    if (msg->render)
        return textop_render(msg->render, op, fault);
    return fault_set(fault, STATUS_INVALID, "nothing was asked");
}

void textop_deinit(struct textop *op)
{
    token_ids_deinit(&op->ids);
    chat_text_deinit(&op->rendered);
    buf_deinit(&op->decoded);
}
