/* textop.h - Tokenize, Detokenize and Render: a question passed to the engine, and its one answer passed
 * back.
 *
 * The text work is the engine's, between its steps.  An unanswered question is asked again of the next
 * engine. */
#pragma once

#include "client.h"
#include "engine.pb-c.h"

struct frame;

struct textop {
    struct list node;      /* in the broker's list */
    struct broker *broker; /* borrowed */
    struct client *client; /* borrowed */
    uint32_t stream_id, handle;
    ProtobufCMessage *msg; /* owned: the client's question */
    uint16_t type;
    bool sent;
    struct quota_charge request_charge, bytes_charge;
};

void textop_open(struct client *client, const struct frame *frame, ProtobufCMessage *msg); /* takes msg */
void textop_cancel(struct textop *textop);                                                 /* 603 */
void textop_cancel_client(struct client *client);
void textop_on_reply(struct broker *broker, uint32_t handle, const Qwe__TextReply *reply);
bool textop_on_refused(struct broker *broker, uint32_t handle,
                       const Qwe__Refused *msg); /* false: not one of ours */
void textop_on_engine_death(struct broker *broker);
void textop_resubmit_all(struct broker *broker);
void textop_fail_all(struct broker *broker, const char *note);
