/* textop.h - Tokenize, Detokenize and Render: one question to the engine, one answer, on the client's stream.
 *
 * The question is kept packed until it is answered, so that it can be asked again after an engine died.  A
 * user has one with the engine at a time.  One that is given up there stays charged to its user until the
 * engine is through with it: else asking and giving up would fill the engine with work that nobody pays for.
 */
#pragma once

#include "engine.pb-c.h"
#include "proto/buf.h"
#include "quota.h"

struct broker;
struct client;
struct client_stream;

struct textop {
    struct list node;      /* of the broker's textops */
    struct broker *broker; /* borrowed */
    struct client *client; /* borrowed; NULL: given up */
    uid_t uid;
    uint32_t stream, handle;
    uint16_t type; /* MSG_TOKENIZE … */
    bool receiving, sent;
    bool suspect; /* an engine died while it was there (quarantine.h) */
    uint32_t deaths;
    struct buf body; /* of a Render, while it arrives */
    bool has_thinking;
    Qwp__Thinking thinking;
    uint8_t *packed; /* owned; the TextOp */
    size_t n_packed;
    struct quota_charge request_charge, bytes_charge;
};

/* On a stream just opened: refused on that stream, or taken.  more: a Render's body follows. */
void textop_open(struct client *client, struct client_stream *stream, const Qwe__TextOp *op, uint16_t type,
                 bool more);
static inline bool textop_is_receiving(const struct textop *textop)
{
    return textop->receiving;
}
void textop_on_body(struct textop *textop, const uint8_t *data, size_t n, bool more);
void textop_cancel(struct textop *textop);
void textop_cancel_client(struct client *client); /* without a word */
void textop_fail_all(struct broker *broker, const struct fault *fault);

int textop_send(struct textop *textop); /* LINK_E_FULL: later */
void textop_fail(struct textop *textop, const struct fault *fault);
void textop_pump(struct broker *broker);             /* the engine serves: sends what waits */
bool textop_is_pending(const struct broker *broker); /* the engine owes an answer */
int textop_on_reply(struct broker *broker, uint32_t handle, const Qwe__TextReply *reply);
void textop_on_refused(struct broker *broker, uint32_t handle, const Qwe__Refused *refused);
void textop_on_engine_lost(struct broker *broker);
