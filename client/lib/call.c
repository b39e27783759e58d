/* call.c - blocking calls: one question, one answer, on a stream of its own.  Text and service.
 *
 * The answer that is lent to the caller (status, requests) stays in q->held until the next call. */
#include <stdio.h>
#include <string.h>

#include "conn.h"

static int call_on_answer(qwend *q, const struct frame *frame, uint16_t want,
                          const ProtobufCMessageDescriptor *descriptor)
{
    bool refused = frame->type == MSG_ERROR;
    struct fault fault = {};
    int r;

    if ((frame->type != want && !refused) || !(frame->flags & FRAME_END_STREAM))
        return conn_fail(q, -EPROTO, "%s answered with %s where %s was due", q->path,
                         msg_type_name(frame->type), msg_type_name(want));
    r = wire_unpack(refused ? &qwp__error__descriptor : descriptor, frame->body, frame->length, &fault,
                    &q->held);
    if (r > 0)
        return conn_fail(q, -EPROTO, "%s from %s: %s", msg_type_name(frame->type), q->path, fault.text);
    if (r < 0 || !refused)
        return r;
    conn_error_from(&q->error, (const Qwp__Error *)q->held);
    return QWEND_REFUSED;
}

static int call_wait(qwend *q, qwend_stream *stream, uint16_t want,
                     const ProtobufCMessageDescriptor *descriptor)
{
    uint64_t deadline_ns = conn_deadline(q);
    struct frame frame;
    int r = 0;

    while (frame_next(&stream->queue, FRAME_MAX_BYTES, &frame) != FRAME_OK) {
        if (r)
            return r;
        r = conn_wait(
            q, deadline_ns); /* an answer may have arrived with the end of the connection: look again */
    }
    event_release(q);
    return call_on_answer(q, &frame, want, descriptor);
}

/* Asks and waits; the answer is q->held.  0, QWEND_REFUSED, or negative. */
static int call(qwend *q, uint16_t type, const ProtobufCMessage *question, uint16_t want,
                const ProtobufCMessageDescriptor *descriptor)
{
    qwend_stream *stream;
    int r;

    event_release(q);
    if (q->flags & QWEND_NONBLOCK)
        return conn_error(q, -EINVAL,
                          "this call waits for its answer: not on a connection opened with QWEND_NONBLOCK");
    r = stream_new(q, NULL, NULL, &stream);
    if (r)
        return r;
    r = conn_put(q, stream->number, type, FRAME_END_STREAM, question);
    if (!r)
        r = call_wait(q, stream, want, descriptor);
    qwend_stream_free(stream);
    return r;
}

/* text */

/* A copy with a NUL behind it. */
static int call_give_text(const Qwp__Text *text, char **ret_text, size_t *ret_n)
{
    char *copy = malloc(text->text.len + 1);

    if (!copy)
        return err_origin(-ENOMEM);
    if (text->text.len)
        memcpy(copy, text->text.data, text->text.len);
    copy[text->text.len] = 0;
    *ret_text = copy;
    if (ret_n)
        *ret_n = text->text.len;
    return 0;
}

int call_ask_tokenize(qwend *q, const char *text, size_t n, int special, Qwp__Tokenize *ret, char **ret_text)
{
    if (n == (size_t)-1)
        n = strlen(text);
    if (special && (special < QWEND_SPECIAL_ALL || special > QWEND_SPECIAL_NONE))
        return conn_error(q, -EINVAL, "%d is no way to treat special tokens", special);
    if (qwend_utf8_valid(text, n) != n)
        return conn_error(q, -EILSEQ, "the text is not UTF-8 from byte %zu on", qwend_utf8_valid(text, n));
    *ret_text = strndup(text, n);
    if (!*ret_text)
        return err_origin(-ENOMEM);
    ret->text = *ret_text;
    ret->has_special = special != 0;
    ret->special = (Qwp__Special)special;
    return 0;
}

int call_ask_render(qwend *q, const qwend_req *req, Qwp__Render *ret, uint8_t **ret_body)
{
    size_t n;
    int r = req_pack_body(q, req, ret_body, &n);

    if (r)
        return r;
    ret->has_body = true;
    ret->body = (ProtobufCBinaryData){n, *ret_body};
    ret->has_thinking = req_generate(req)->has_thinking;
    ret->thinking = req_generate(req)->thinking;
    return 0;
}

int qwend_tokenize(qwend *q, const char *text, size_t n, int special, uint32_t **ret_ids, size_t *ret_n)
{
    Qwp__Tokenize question = QWP__TOKENIZE__INIT;
    _cleanup_(freep) char *copy = NULL;
    const Qwp__Tokens *tokens;
    uint32_t *ids;
    int r;

    r = call_ask_tokenize(q, text, n, special, &question, &copy);
    if (!r)
        r = call(q, MSG_TOKENIZE, &question.base, MSG_TOKENS, &qwp__tokens__descriptor);
    if (r)
        return r;
    tokens = (const Qwp__Tokens *)q->held;
    ids = malloc(MAX(tokens->n_ids, (size_t)1) * sizeof(*ids));
    if (!ids)
        return err_origin(-ENOMEM);
    if (tokens->n_ids)
        memcpy(ids, tokens->ids, tokens->n_ids * sizeof(*ids));
    *ret_ids = ids;
    *ret_n = tokens->n_ids;
    return 0;
}

int qwend_detokenize(qwend *q, const uint32_t *ids, size_t n, char **ret_text, size_t *ret_n)
{
    Qwp__Detokenize question = QWP__DETOKENIZE__INIT;
    int r;

    question.n_ids = n;
    question.ids = (uint32_t *)ids;
    r = call(q, MSG_DETOKENIZE, &question.base, MSG_TEXT, &qwp__text__descriptor);
    return r ? r : call_give_text((const Qwp__Text *)q->held, ret_text, ret_n);
}

int qwend_render(qwend *q, const qwend_req *req, char **ret_text, size_t *ret_n)
{
    Qwp__Render question = QWP__RENDER__INIT;
    _cleanup_(freep) uint8_t *body = NULL;
    int r = call_ask_render(q, req, &question, &body);

    if (!r)
        r = call(q, MSG_RENDER, &question.base, MSG_TEXT, &qwp__text__descriptor);
    return r ? r : call_give_text((const Qwp__Text *)q->held, ret_text, ret_n);
}

/* Of the packed prompt with its continuation. */
static int call_score(qwend *q, const qwend_req *req, uint8_t *body, size_t n, qwend_scores *ret)
{
    const Qwp__Generate *head = req_generate(req);
    Qwp__Score question = QWP__SCORE__INIT;
    const Qwp__ScoreReply *reply;
    int r;

    question.has_body = true;
    question.body = (ProtobufCBinaryData){n, body};
    question.has_thinking = head->has_thinking;
    question.thinking = head->thinking;
    question.has_priority = head->has_priority;
    question.priority = head->priority;
    question.account = head->account;
    r = call(q, MSG_SCORE, &question.base, MSG_SCORE_REPLY, &qwp__score_reply__descriptor);
    if (r)
        return r;
    reply = (const Qwp__ScoreReply *)q->held;
    if (reply->n_ids != reply->n_logprobs)
        return conn_fail(q, -EPROTO, "ScoreReply from %s has %zu ids and %zu logprobs", q->path, reply->n_ids,
                         reply->n_logprobs);
    *ret = (qwend_scores){.ids = reply->ids,
                          .logprobs = reply->logprobs,
                          .n = reply->n_ids,
                          .sum = reply->sum,
                          .prompt_tokens = reply->prompt_tokens,
                          .cached_tokens = reply->cached_tokens};
    return 0;
}

int qwend_score(qwend *q, const qwend_req *req, const char *text, size_t n, qwend_scores *ret)
{
    _cleanup_(freep) uint8_t *body = NULL;
    _cleanup_(freep) char *copy = NULL;
    size_t n_body;
    int r;

    if (n == (size_t)-1)
        n = strlen(text);
    if (qwend_utf8_valid(text, n) != n)
        return conn_error(q, -EILSEQ, "the text is not UTF-8 from byte %zu on", qwend_utf8_valid(text, n));
    copy = strndup(text, n);
    if (!copy)
        return err_origin(-ENOMEM);
    r = req_pack_score(q, req, copy, NULL, 0, &body, &n_body);
    return r ? r : call_score(q, req, body, n_body, ret);
}

int qwend_score_ids(qwend *q, const qwend_req *req, const uint32_t *ids, size_t n, qwend_scores *ret)
{
    _cleanup_(freep) uint8_t *body = NULL;
    size_t n_body;
    int r = req_pack_score(q, req, NULL, ids, n, &body, &n_body);

    return r ? r : call_score(q, req, body, n_body, ret);
}

/* service */

static const char *call_or_empty(const char *text)
{
    return text ? text : "";
}

static void call_status_model(const Qwp__Model *model, qwend_status_info *info)
{
    static const Qwp__Model none = QWP__MODEL__INIT;

    if (!model)
        model = &none; /* still loading */
    info->model = call_or_empty(model->name);
    info->file = call_or_empty(model->file);
    info->quantisation = call_or_empty(model->quantisation);
    info->numerics_id = call_or_empty(model->numerics_id);
    info->context_trained = model->context_trained;
    info->file_bytes = model->file_bytes;
    info->n_params = model->n_params;
}

/* wire_check() lets declared states pass only. */
const char *call_state_name(bool is_known, Qwp__StatusReply__State state)
{
    static const char *const names[] = {"unknown",  "starting", "loading", "serving",
                                        "degraded", "draining", "failed"};

    return names[is_known ? state : 0];
}

static int call_publics(qwend *q, const Qwp__StatusReply *reply, qwend_status_info *ret)
{
    qwend_public *publics = calloc(reply->n_publics + 1, sizeof(*publics));

    if (!publics)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < reply->n_publics; i++) {
        const Qwp__PublicPrefix *from = reply->publics[i];

        publics[i] = (qwend_public){.name = call_or_empty(from->name),
                                    .text = call_or_empty(from->text),
                                    .state = from->has_state ? (int)from->state : 0,
                                    .tokens = from->tokens};
    }
    q->held_block = publics;
    ret->publics = publics;
    ret->n_publics = reply->n_publics;
    return 0;
}

int call_status(qwend *q, const Qwp__StatusReply *reply, qwend_status_info *ret)
{
    *ret = (qwend_status_info){
        .state = reply->has_state ? (int)reply->state : 0,
        .state_name = call_state_name(reply->has_state, reply->state),
        .server = call_or_empty(reply->server),
        .backend = call_or_empty(reply->backend),
        .isa = call_or_empty(reply->isa),
        .kv_type = call_or_empty(reply->kv_type),
        .note = call_or_empty(reply->note),
        .pid = reply->pid,
        .engine_pid = reply->engine_pid,
        .context = reply->context,
        .slots = reply->slots,
        .threads = reply->threads,
        .running = reply->running,
        .queued = reply->queued,
        .connections = reply->connections,
        .engine_restarts = reply->engine_restarts,
        .load_permille = reply->load_permille,
        .weights_bytes = reply->weights_bytes,
        .state_bytes = reply->state_bytes,
        .prompt_tokens = reply->prompt_tokens,
        .output_tokens = reply->output_tokens,
        .requests = reply->requests,
        .uptime_s = reply->uptime_s,
        .weights_locked = reply->weights_locked,
        .cache_bytes = reply->cache_bytes,
        .cache_used_bytes = reply->cache_used_bytes,
        .cached_tokens = reply->cached_tokens,
        .cache_pages = reply->cache_pages,
        .cache_checkpoints = reply->cache_checkpoints,
        .cache_dir_bytes = reply->cache_dir_bytes,
        .cache_dir_used_bytes = reply->cache_dir_used_bytes,
        .preemptions = reply->preemptions,
        .weights_host_bytes = reply->weights_host_bytes,
    };
    call_status_model(reply->model, ret);
    return call_publics(q, reply, ret);
}

int qwend_status(qwend *q, qwend_status_info *ret)
{
    const Qwp__Status question = QWP__STATUS__INIT;
    int r;

    r = call(q, MSG_STATUS, &question.base, MSG_STATUS_REPLY, &qwp__status_reply__descriptor);
    return r ? r : call_status(q, (const Qwp__StatusReply *)q->held, ret);
}

/* One entry of the list; hex is its place for the id. */
static void call_request_info(const Qwp__RequestInfo *from, char hex[33], qwend_request_info *ret)
{
    static const char *const names[] = {"unknown", "queued", "prefill", "decode", "paused", "replaying"};

    event_hex(&from->request_id, hex);
    *ret = (qwend_request_info){
        .request_id = hex,
        .client = call_or_empty(from->client),
        .state = names[from->has_state ? from->state : 0],
        .uid = from->uid,
        .pid = from->pid,
        .position = from->position,
        .prompt_tokens = from->prompt_tokens,
        .output_tokens = from->output_tokens,
        .replays = from->replays,
        .priority = from->has_priority ? (int)from->priority : (int)QWP__PRIORITY__PRIORITY_NORMAL,
        .age_s = from->age_s,
        .cached_tokens = from->cached_tokens,
        .tokens_s = from->tokens_s,
    };
}

int call_requests(qwend *q, Qwp__RequestInfo *const *from, size_t n, const qwend_request_info **ret)
{
    qwend_request_info *info = calloc(n + 1, sizeof(*info) + 33); /* the entries, then their ids */

    if (!info)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < n; i++)
        call_request_info(from[i], (char *)(info + n + 1) + 33 * i, &info[i]);
    q->held_block = info;
    *ret = info;
    return 0;
}

int qwend_requests(qwend *q, const qwend_request_info **ret, size_t *ret_n)
{
    const Qwp__ListRequests question = QWP__LIST_REQUESTS__INIT;
    const Qwp__Requests *reply;
    int r;

    r = call(q, MSG_LIST_REQUESTS, &question.base, MSG_REQUESTS, &qwp__requests__descriptor);
    if (r)
        return r;
    reply = (const Qwp__Requests *)q->held;
    r = call_requests(q, reply->requests, reply->n_requests, ret);
    if (r)
        return r;
    *ret_n = reply->n_requests;
    return 0;
}

int qwend_cancel_request(qwend *q, const char *request_id, uint32_t *ret_n)
{
    Qwp__Cancel question = QWP__CANCEL__INIT;
    uint8_t id[16];
    int r;

    if (request_id && attach_parse_id(request_id, id))
        return conn_error(q, -EINVAL, "\"%.40s\" is not a request id: 32 hexadecimal digits", request_id);
    question.has_request_id = request_id != NULL;
    question.request_id = (ProtobufCBinaryData){sizeof(id), id};
    question.has_mine = question.mine = !request_id;
    r = call(q, MSG_CANCEL, &question.base, MSG_CANCELLED, &qwp__cancelled__descriptor);
    if (!r && ret_n)
        *ret_n = ((const Qwp__Cancelled *)q->held)->n_cancelled;
    return r;
}

/* administration */

static void call_boot_id(const qwend *q, uint8_t ret_id[16])
{
    const ProtobufCBinaryData *id = &q->welcome->boot_id;

    memset(ret_id, 0, 16);
    if (id->len)
        memcpy(ret_id, id->data, MIN(id->len, (size_t)16));
}

/* A broker that becomes another one cannot answer: the other one does. */
static int call_upgraded(qwend *q, const uint8_t boot_id[16], const char **ret_text)
{
    uint8_t now_id[16];
    char text[256];
    int r = attach_again(q);

    if (r)
        return r;
    call_boot_id(q, now_id);
    if (!memcmp(boot_id, now_id, sizeof(now_id)))
        return conn_error(q, -EPIPE, "the connection was lost, and the daemon is the same as before");
    snprintf(text, sizeof(text), "upgraded: %.100s has taken over", call_or_empty(q->welcome->server));
    buf_consume(&q->held_text, buf_size(&q->held_text));
    r = buf_append(&q->held_text, text, strlen(text) + 1);
    if (r)
        return r < 0 ? r : err_origin(-ENOBUFS);
    if (ret_text)
        *ret_text = (const char *)buf_head(&q->held_text);
    return 0;
}

int qwend_use_cancel(qwend *q)
{
    Qwp__Use question = QWP__USE__INIT;

    question.has_cancel = question.cancel = true;
    return call(q, MSG_USE, &question.base, MSG_DONE, &qwp__done__descriptor);
}

int qwend_admin(qwend *q, qwend_admin_verb verb, const char **ret_text)
{
    Qwp__Admin question = QWP__ADMIN__INIT;
    uint8_t boot_id[16];
    int r;

    if (verb < QWEND_ADMIN_RELOAD || verb > QWEND_ADMIN_UPGRADE)
        return conn_error(q, -EINVAL, "%d is nothing that an administrator can ask for", (int)verb);
    question.has_verb = true;
    question.verb = (Qwp__Admin__Verb)verb;
    if (q->welcome)
        call_boot_id(q, boot_id);
    r = call(q, MSG_ADMIN, &question.base, MSG_DONE, &qwp__done__descriptor);
    if (r == -EPIPE && verb == QWEND_ADMIN_UPGRADE)
        return call_upgraded(q, boot_id, ret_text);
    if (!r && ret_text)
        *ret_text = call_or_empty(((const Qwp__Done *)q->held)->text);
    return r;
}
