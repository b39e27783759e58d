/* textop.c - Tokenize, Detokenize and Render.  See textop.h. */
#include "textop.h"

#include "broker.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "proto/wire.h"

static struct textop *textop_free(struct textop *textop)
{
    client_stream_close(textop->client, textop->stream_id);
    wire_free(textop->msg);
    quota_release(&textop->request_charge);
    quota_release(&textop->bytes_charge);
    list_remove(&textop->node);
    broker_on_request_gone(textop->broker);
    free(textop);
    return NULL;
}

static struct textop *textop_find(struct broker *broker, uint32_t handle)
{
    struct textop *textop;

    LIST_FOREACH(textop, &broker->textops, node)
    if (textop->handle == handle)
        return textop;
    return NULL;
}

static void textop_refuse(struct textop *textop, int code, const char *text)
{
    Qwp__Error error = QWP__ERROR__INIT;

    error.has_code = 1;
    error.code = (uint32_t)code;
    error.text = (char *)text;
    client_put_error(textop->client, textop->stream_id, &error);
    textop_free(textop);
}

static void textop_submit(struct textop *textop)
{
    Qwe__TextOp op = QWE__TEXT_OP__INIT;

    if (textop->broker->supervise.state != SUPERVISE_READY)
        return;
    if (textop->type == MSG_TOKENIZE)
        op.tokenize = (Qwp__Tokenize *)textop->msg;
    else if (textop->type == MSG_DETOKENIZE)
        op.detokenize = (Qwp__Detokenize *)textop->msg;
    else
        op.render = (Qwp__Render *)textop->msg;
    textop->sent = true;
    link_put(&textop->broker->link, textop->handle, MSG_E_TEXT, &op.base, -1);
}

static int textop_admit(struct textop *textop, size_t n_bytes, struct fault *fault)
{
    struct quota *quota = &textop->broker->quota;
    const uid_t uid = textop->client->peer.uid;
    int r;

    if (textop->broker->supervise.state == SUPERVISE_FAILED)
        return fault_set(fault, STATUS_ENGINE_LOST, "%s", textop->broker->supervise.note);
    if (textop->broker->draining)
        return fault_set(fault, STATUS_DRAINING, "the service is being stopped");
    r = quota_charge(quota, uid, QUOTA_REQUESTS, 1, &textop->request_charge);
    if (!r)
        r = quota_charge(quota, uid, QUOTA_BYTES, sizeof(*textop) + n_bytes, &textop->bytes_charge);
    if (r > 0)
        return fault_set(fault, STATUS_CONCURRENCY, "you hold as many requests or bytes as one user may");
    return r < 0 ? fault_set(fault, STATUS_OOM, "the broker is out of memory") : 0;
}

void textop_open(struct client *client, const struct frame *frame, ProtobufCMessage *msg)
{
    struct textop *textop = calloc(1, sizeof(*textop));
    struct fault fault = {};

    if (!textop) {
        fault_set(&fault, STATUS_OOM, "the broker is out of memory");
        client_refuse(client, frame->stream, &fault);
        client_stream_close(client, frame->stream);
        wire_free(msg);
        return;
    }
    *textop = (struct textop){.broker = client->broker,
                              .client = client,
                              .stream_id = frame->stream,
                              .handle = broker_new_handle(client->broker),
                              .msg = msg,
                              .type = frame->type};
    list_push(&client->broker->textops, &textop->node);
    client_stream_find(client, frame->stream)->textop = textop;
    fault.code = textop_admit(textop, frame->length, &fault);
    if (fault.code)
        textop_refuse(textop, fault.code, fault.text);
    else
        textop_submit(textop);
}

void textop_cancel(struct textop *textop)
{
    textop_refuse(textop, STATUS_CANCELLED, "cancelled");
}

void textop_cancel_client(struct client *client)
{
    for (size_t i = 0; i < ARRAY_SIZE(client->streams); i++)
        if (client->streams[i].textop)
            textop_free(client->streams[i].textop);
}

void textop_on_reply(struct broker *broker, uint32_t handle, const Qwe__TextReply *reply)
{
    struct textop *textop = textop_find(broker, handle);

    if (!textop)
        return; /* cancelled meanwhile */
    if (textop->type == MSG_TOKENIZE && reply->tokens) {
        client_put(textop->client, textop->stream_id, MSG_TOKENS, FRAME_END_STREAM, &reply->tokens->base);
        textop_free(textop);
    } else if (textop->type != MSG_TOKENIZE && reply->text) {
        client_put(textop->client, textop->stream_id, MSG_TEXT, FRAME_END_STREAM, &reply->text->base);
        textop_free(textop);
    } else {
        textop_refuse(textop, STATUS_INTERNAL, "the engine gave an answer of another kind");
    }
}

bool textop_on_refused(struct broker *broker, uint32_t handle, const Qwe__Refused *msg)
{
    struct textop *textop = textop_find(broker, handle);

    if (!textop)
        return false;
    textop_refuse(textop, msg->has_code ? (int)msg->code : STATUS_INTERNAL,
                  msg->text ? msg->text : "refused");
    return true;
}

void textop_on_engine_death(struct broker *broker)
{
    struct textop *textop;

    LIST_FOREACH(textop, &broker->textops, node)
    textop->sent = false;
}

void textop_resubmit_all(struct broker *broker)
{
    struct textop *textop;

    LIST_FOREACH(textop, &broker->textops, node)
    if (!textop->sent)
        textop_submit(textop);
}

void textop_fail_all(struct broker *broker, const char *note)
{
    struct textop *textop;

    LIST_FOREACH(textop, &broker->textops, node)
    textop_refuse(textop, STATUS_ENGINE_LOST, note);
}
