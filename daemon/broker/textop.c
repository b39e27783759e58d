/* textop.c - questions about text, forwarded to the engine.  See textop.h. */
#include "textop.h"

#include "broker.h"
#include "client.h"
#include "daemon/util/log.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "request.h"

enum { TEXTOP_USERS_MAX = 64 }; /* who have a question with the engine at a time */

static void textop_leave_client(struct textop *textop)
{
    if (!textop->client)
        return;
    if (textop->receiving)
        textop->client->n_input -= buf_size(&textop->body);
    client_stream_close(textop->client, textop->stream);
    textop->client = NULL;
}

static void textop_free(struct textop *textop)
{
    quarantine_on_leave_textop(textop);
    textop_leave_client(textop);
    list_remove(&textop->node);
    buf_deinit(&textop->body);
    free(textop->packed);
    quota_release(&textop->request_charge);
    quota_release(&textop->bytes_charge);
    broker_kick(textop->broker); /* the next of its user */
    free(textop);
}

void textop_fail(struct textop *textop, const struct fault *fault)
{
    if (textop->client)
        client_refuse(textop->client, textop->stream, fault);
    textop_free(textop);
}

static void textop_give_up(struct textop *textop)
{
    if (textop->sent)
        textop_leave_client(textop);
    else
        textop_free(textop);
}

static void textop_refuse(struct textop *textop, const struct refusal *refusal)
{
    client_refuse_limit(textop->client, textop->stream, refusal);
    textop_free(textop);
}

void textop_fail_all(struct broker *broker, const struct fault *fault)
{
    struct textop *textop;

    LIST_FOREACH (textop, &broker->textops, node)
        textop_fail(textop, fault);
}

void textop_cancel(struct textop *textop)
{
    struct fault fault;

    fault_set(&fault, STATUS_CANCELLED, "the question was cancelled");
    client_refuse(textop->client, textop->stream, &fault);
    textop_give_up(textop);
}

void textop_cancel_client(struct client *client)
{
    for (size_t i = 0; i < ARRAY_SIZE(client->streams); i++)
        if (client->streams[i].textop)
            textop_give_up(client->streams[i].textop);
}

/* asking */
static int textop_charge(struct textop *textop, size_t n_bytes, struct refusal *refusal)
{
    struct quota *quota = &textop->broker->quota;
    const uid_t uid = textop->client->peer.uid;
    int r = 0;

    if (!textop->request_charge.user)
        r = quota_charge(quota, uid, QUOTA_REQUESTS, 1, &textop->request_charge);
    if (r > 0)
        return client_over_quota(textop->client, QUOTA_REQUESTS, refusal);
    if (!r && !textop->bytes_charge.user)
        r = quota_charge(quota, uid, QUOTA_BYTES, n_bytes, &textop->bytes_charge);
    else if (!r)
        r = quota_resize(&textop->bytes_charge, n_bytes);
    return r > 0 ? client_over_quota(textop->client, QUOTA_BYTES, refusal) : r;
}

/* The question is complete. */
static int textop_pack(struct textop *textop, const Qwe__TextOp *op, struct refusal *refusal)
{
    const size_t n = qwe__text_op__get_packed_size(op);
    int r = textop_charge(textop, n, refusal);

    if (r)
        return r;
    textop->packed = malloc(MAX(n, (size_t)1));
    if (!textop->packed)
        return err_origin(-ENOMEM);
    textop->n_packed = qwe__text_op__pack(op, textop->packed);
    broker_kick(textop->broker);
    return 0;
}

static int textop_append_body(struct textop *textop, const uint8_t *data, size_t n, struct refusal *refusal)
{
    const size_t n_body = buf_size(&textop->body);
    int r = policy_check_input(n_body, textop->client->n_input, n, &refusal->fault);

    if (!r)
        r = textop_charge(textop, 2 * (n_body + n), refusal); /* buf.c doubles, and it is packed once more */
    if (!r)
        r = buf_append(&textop->body, data, n);
    if (!r)
        textop->client->n_input += n;
    return r;
}

static int textop_finish_body(struct textop *textop, struct refusal *refusal)
{
    Qwp__Render render = QWP__RENDER__INIT;
    Qwe__TextOp op = QWE__TEXT_OP__INIT;
    int r;

    render.has_body = true;
    render.body = (ProtobufCBinaryData){.data = buf_head(&textop->body), .len = buf_size(&textop->body)};
    render.has_thinking = textop->has_thinking;
    render.thinking = textop->thinking;
    op.render = &render;
    r = textop_pack(textop, &op, refusal);
    if (r)
        return r;
    textop->client->n_input -= buf_size(&textop->body);
    textop->receiving = false;
    buf_deinit(&textop->body);
    return 0;
}

static int textop_fill(struct textop *textop, const Qwe__TextOp *op, bool more, struct refusal *refusal)
{
    const struct policy_ask ask = {.op = POLICY_OP_TEXT};
    int r = supervise_check(&textop->broker->supervise, &refusal->fault);

    if (!r)
        r = quarantine_check(textop->client, refusal);
    if (r)
        return r;
    if (textop->broker->draining)
        return fault_set(&refusal->fault, STATUS_DRAINING, "qwend is being stopped");
    if (textop->broker->held)
        return fault_set(&refusal->fault, STATUS_DRAINING, "an administrator holds the service");
    r = policy_check(textop->client->class, &ask, &(struct policy_usage){}, refusal);
    if (r)
        return r;
    if (more && op->render->has_body)
        return fault_set(&refusal->fault, STATUS_INVALID, "the prompt comes in more than one way: body MORE");
    if (!more)
        return textop_pack(textop, op, refusal);
    textop->receiving = true;
    textop->has_thinking = op->render->has_thinking;
    textop->thinking = op->render->thinking;
    return textop_charge(textop, 0, refusal);
}

void textop_open(struct client *client, struct client_stream *stream, const Qwe__TextOp *op, uint16_t type,
                 bool more)
{
    struct textop *textop = calloc(1, sizeof(*textop));
    struct refusal refusal = {};
    int r = textop ? 0 : err_origin(-ENOMEM);

    if (!textop) {
        fault_set(&refusal.fault, STATUS_INTERNAL, "out of memory");
        client_refuse_limit(client, stream->id, &refusal);
        client_stream_close(client, stream->id);
        return;
    }
    *textop = (struct textop){.broker = client->broker,
                              .client = client,
                              .uid = client->peer.uid,
                              .stream = stream->id,
                              .type = type};
    textop->body = BUF_INIT(POLICY_BODY_BYTES_MAX);
    textop->handle = broker_new_handle(client->broker);
    list_push(&client->broker->textops, &textop->node);
    stream->textop = textop;
    r = textop_fill(textop, op, more, &refusal);
    if (r < 0)
        fault_set(&refusal.fault, STATUS_INTERNAL, "out of memory");
    if (r)
        textop_refuse(textop, &refusal);
}

void textop_on_body(struct textop *textop, const uint8_t *data, size_t n, bool more)
{
    struct refusal refusal = {};
    int r = textop_append_body(textop, data, n, &refusal);

    if (!r && !more)
        r = textop_finish_body(textop, &refusal);
    if (r < 0)
        fault_set(&refusal.fault, STATUS_INTERNAL, "out of memory");
    if (r)
        textop_refuse(textop, &refusal);
}

/* the engine's side */
/* Is it the first complete question of its user?  Only that one is with the engine, where each may be a
 * second of work: the others wait here, behind nobody else's. */
static bool textop_is_first(const struct textop *textop, uid_t seen[TEXTOP_USERS_MAX], size_t *n_seen)
{
    const uid_t uid = textop->uid;

    for (size_t i = 0; i < *n_seen; i++)
        if (seen[i] == uid)
            return false;
    if (*n_seen == TEXTOP_USERS_MAX)
        return false;
    seen[(*n_seen)++] = uid;
    return true;
}

int textop_send(struct textop *textop)
{
    int r =
        link_put_packed(&textop->broker->link, textop->handle, MSG_E_TEXT, textop->packed, textop->n_packed);

    textop->sent = !r;
    return r;
}

void textop_pump(struct broker *broker)
{
    uid_t seen[TEXTOP_USERS_MAX];
    struct textop *textop;
    size_t n_seen = 0;

    LIST_FOREACH (textop, &broker->textops, node) {
        if (textop->receiving || !textop_is_first(textop, seen, &n_seen) || textop->sent)
            continue;
        if (textop_send(textop))
            return;
    }
}

bool textop_is_pending(const struct broker *broker)
{
    const struct textop *textop;

    LIST_FOREACH (textop, &broker->textops, node)
        if (textop->sent)
            return true;
    return false;
}

static struct textop *textop_find(const struct broker *broker, uint32_t handle)
{
    struct textop *textop;

    LIST_FOREACH (textop, &broker->textops, node)
        if (textop->handle == handle && textop->sent)
            return textop;
    return NULL;
}

/* An answer may be longer than the question: ids take up to four bytes each, a template adds its own words.
 */
static void textop_answer(struct textop *textop, uint16_t type, const ProtobufCMessage *msg)
{
    const size_t n = protobuf_c_message_get_packed_size(msg);
    const size_t max = CLIENT_OUT_BYTES - CLIENT_RESERVE_BYTES - FRAME_HEADER_BYTES;
    struct fault fault;

    if (!textop->client || !client_offer(textop->client, textop->stream, type, FRAME_END_STREAM, msg)) {
        textop_free(textop);
        return;
    }
    if (n > max)
        fault_set(&fault, STATUS_TOO_LONG, "the answer has %zu bytes, a frame takes %zu", n, max);
    else
        fault_set(&fault, STATUS_SLOW_CONSUMER, "the connection has no room for an answer of %zu bytes", n);
    textop_fail(textop, &fault);
}

int textop_on_reply(struct broker *broker, uint32_t handle, const Qwe__TextReply *reply)
{
    struct textop *textop = textop_find(broker, handle);

    if (!textop)
        return 0; /* cancelled meanwhile */
    quarantine_clear_textop(textop);
    if (textop->type == MSG_TOKENIZE && reply->tokens)
        textop_answer(textop, MSG_TOKENS, &reply->tokens->base);
    else if (textop->type != MSG_TOKENIZE && reply->text)
        textop_answer(textop, MSG_TEXT, &reply->text->base);
    else
        return err_origin(-EBADMSG);
    return 0;
}

void textop_on_refused(struct broker *broker, uint32_t handle, const Qwe__Refused *refused)
{
    struct textop *textop = textop_find(broker, handle);
    Qwp__Error error = QWP__ERROR__INIT;

    if (!textop)
        return;
    quarantine_clear_textop(textop);
    request_error_from_refused(refused, &error);
    if (textop->client)
        client_put_error(textop->client, textop->stream, &error);
    textop_free(textop);
}

void textop_on_engine_lost(struct broker *broker)
{
    struct textop *textop;
    struct fault fault;

    LIST_FOREACH (textop, &broker->textops, node) {
        if (!textop->sent)
            continue;
        textop->sent = false;
        if (!textop->client) {
            textop_free(textop);
            continue;
        }
        if (++textop->deaths < REQUEST_DEATHS_MAX)
            continue;
        fault_set(&fault, STATUS_ENGINE_LOST, "the engine died %u times with this question", textop->deaths);
        textop_fail(textop, &fault);
    }
}
