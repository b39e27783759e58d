/* request.c - how a request begins and ends.  See request.h. */
#include "request.h"

#include <string.h>
#include <sys/random.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "proto/frame.h"
#include "proto/status.h"

/* What a request may emit, as far as is known, is reserved in the replay log when it comes in. */
enum { REQUEST_CONTEXT_GUESS = 32768 }; /* before the first engine has said how much it can do */

struct metrics_class *request_metrics(const struct request *request)
{
    return metrics_class_of(&request->broker->metrics, request->priority);
}

bool request_is_receiving(const struct request *request)
{
    return request->state == REQUEST_RECEIVING;
}

/* Frees everything; the client's stream and the engine's sequence are somebody else's business by then. */
static void request_destroy(struct request *request)
{
    quarantine_on_leave(request);
    queue_remove(&request->broker->queue, &request->item);
    list_remove(&request->node);
    list_remove(&request->handle_node);
    stream_deinit(request);
    loop_event_free(&request->deadline);
    buf_deinit(&request->body);
    closep(&request->memfd);
    free(request->head);
    free(request->ids);
    free(request->stop);
    free(request->logprobs);
    free(request->error);
    quota_release(&request->request_charge);
    quota_release(&request->body_charge);
    quota_release(&request->log_charge);
    quota_release(&request->score_charge);
    request_journal_close(request);
    account_put(request->account, clock_now_ns());
    free(request);
}

void request_free(struct request *request)
{
    struct broker *broker = request->broker;
    struct client *client = request->client;

    if (request_is_in_engine(request))
        link_cancel(&broker->link, request->handle);
    if (request_is_receiving(request))
        client->n_input -= buf_size(&request->body);
    if (client)
        client_stream_close(client, request->stream);
    request_destroy(request);
    broker_kick(broker);
}

static void request_log_ended(const struct request *request, const struct fault *fault)
{
    const struct journal_event event = {
        .kind = JOURNAL_ENDED,
        .has_uid = true,
        .uid = request->uid,
        .request = request->id,
        .code = fault->code,
        .numbers = {{"QWEND_TOKENS", request->n_ids},
                    {"QWEND_MS", (clock_now_ns() - request->received_ns) / 1000000}},
    };

    log_event_info(&event, "uid %u: request ended: %d %s", event.uid, fault->code, fault->text);
}

void request_fail_limit(struct request *request, const struct refusal *refusal)
{
    Qwp__Error error = QWP__ERROR__INIT;

    if (refusal->fault.code >= 300)
        request_log_ended(request, &refusal->fault);
    if (request_is_detachable(request)) { /* whoever attaches hears of it as well */
        error.has_code = true;
        error.code = (uint32_t)refusal->fault.code;
        error.text = (char *)refusal->fault.text;
        request_fail_with(request, &error);
        return;
    }
    metrics_on_code(request_metrics(request), refusal->fault.code);
    request_journal_failed(request, &refusal->fault);
    client_refuse_limit(request->client, request->stream, refusal);
    request_free(request);
}

void request_fail(struct request *request, const struct fault *fault)
{
    request_fail_limit(request, &(struct refusal){.fault = *fault});
}

void request_cancel(struct request *request)
{
    if (request->ended && !request->client) { /* kept in case its end was lost: it was not */
        request_free(request);
        return;
    }
    /* A flood of open-and-cancel pays for the work it makes. */
    queue_charge(&request->broker->queue, &request->item, REQUEST_BOTHER_TOK);
    if (request->is_score) {
        request_cancel_score(request);
        return;
    }
    if (!request->done_ns)
        request->done_ns = clock_now_ns();
    request->finish = QWP__FINISH__FINISH_CANCEL;
    request_journal_ended(request, NULL);
    request_put_usage(request);
    request_free(request);
}

void request_cancel_client(struct client *client)
{
    for (size_t i = 0; i < ARRAY_SIZE(client->streams); i++)
        if (client->streams[i].request)
            request_on_client_gone(client->streams[i].request);
}

static bool request_may_cancel(const struct client *by, const struct request *request)
{
    return by->is_admin || by->peer.uid == request->uid;
}

uint32_t request_cancel_id(struct client *by, const uint8_t *id, size_t n)
{
    struct request *request;
    uint32_t n_cancelled = 0;

    LIST_FOREACH (request, &by->broker->requests, node)
        if (n == POLICY_ID_BYTES && !memcmp(request->id, id, n) && request_may_cancel(by, request)) {
            request_cancel(request);
            n_cancelled++;
        }
    return n_cancelled;
}

uint32_t request_cancel_uid(struct client *by)
{
    struct request *request;
    uint32_t n_cancelled = 0;

    LIST_FOREACH (request, &by->broker->requests, node)
        if (request->uid == by->peer.uid) {
            request_cancel(request);
            n_cancelled++;
        }
    return n_cancelled;
}

/* beginning */
/* Packs all of the Submit that is known by now; the rest is appended when it is sent. */
static int request_pack_head(struct request *request, const Qwp__Generate *generate)
{
    Qwp__Sampling none = QWP__SAMPLING__INIT, sampling = generate->sampling ? *generate->sampling : none;
    Qwe__Submit submit = QWE__SUBMIT__INIT;
    Qwe__Terms terms = QWE__TERMS__INIT;

    request_fill_terms(request, &terms);
    submit.terms = &terms;
    sampling.has_seed = true;
    sampling.seed = request->seed;
    submit.sampling = &sampling;
    submit.has_max_tokens = generate->has_max_tokens;
    submit.max_tokens = generate->max_tokens;
    submit.n_stop = generate->n_stop;
    submit.stop = generate->stop;
    submit.has_thinking = generate->has_thinking;
    submit.thinking = generate->thinking;
    submit.has_logprobs = generate->has_logprobs;
    submit.logprobs = generate->logprobs;
    submit.has_ignore_eos = generate->has_ignore_eos;
    submit.ignore_eos = generate->ignore_eos;
    submit.has_uid = true;
    submit.uid = request->uid;
    submit.has_no_cache = generate->has_no_cache;
    submit.no_cache = generate->no_cache;
    request->head = malloc(qwe__submit__get_packed_size(&submit));
    if (!request->head)
        return err_origin(-ENOMEM);
    request->n_head = qwe__submit__pack(&submit, request->head);
    return 0;
}

static bool request_warms(const Qwp__Generate *generate)
{
    return generate->has_max_tokens && !generate->max_tokens;
}

static Qwp__Priority request_priority(const struct client *client, const Qwp__Generate *generate)
{
    if (generate->has_priority)
        return generate->priority;
    if (request_warms(generate) && policy_has_priority(client->class, QWP__PRIORITY__PRIORITY_BATCH))
        return QWP__PRIORITY__PRIORITY_BATCH;
    return policy_priority(client->class);
}

/* Values the client left to us; the rest of the request's plain fields. */
static int request_take_fields(struct request *request, const Qwp__Generate *generate)
{
    const bool has_seed = generate->sampling && generate->sampling->has_seed;

    if (has_seed)
        request->seed = generate->sampling->seed;
    else if (getrandom(&request->seed, sizeof(request->seed), 0) < 0)
        return err_errno();
    if (generate->has_request_id)
        memcpy(request->id, generate->request_id.data, POLICY_ID_BYTES);
    else if (getrandom(request->id, sizeof(request->id), 0) < 0)
        return err_errno();
    request->priority = request_priority(request->client, generate);
    request->max_tokens = generate->has_max_tokens ? generate->max_tokens : 0;
    request->warms = request_warms(generate);
    request->ttft_deadline_ms = generate->has_ttft_deadline_ms ? generate->ttft_deadline_ms : 0;
    request->deadline_ms = generate->has_deadline_ms ? generate->deadline_ms : 0;
    request->want_ids = generate->has_want_ids && generate->want_ids;
    request->detachable = generate->has_detachable && generate->detachable;
    return request_pack_head(request, generate);
}

static int request_charge(struct request *request, struct refusal *refusal)
{
    struct broker *broker = request->broker;
    const uint64_t owner = request->account->key;
    const Qwe__Ready *ready = broker->supervise.ready;
    const uint32_t context = ready && ready->has_context ? ready->context : REQUEST_CONTEXT_GUESS;
    const struct policy_class *class = request->client->class;
    const uint32_t limit = policy_output(class, policy_context(class, context));
    const uint64_t n_log = request->is_score     ? MIN((uint32_t)POLICY_SCORES_MAX, context)
                           : request->warms      ? 0
                           : request->max_tokens ? MIN(request->max_tokens, context)
                                                 : limit;
    int r;

    r = quota_charge(&broker->quota, owner, QUOTA_REQUESTS, 1, &request->request_charge);
    if (r > 0)
        return client_name_quota(broker, owner, QUOTA_REQUESTS, refusal);
    if (!r)
        quota_cap(&request->request_charge, QUOTA_BYTES, (uint64_t) class->max_mib << 20);
    if (!r)
        r = quota_charge(&broker->quota, owner, QUOTA_BYTES, n_log * sizeof(*request->ids) + request->n_head,
                         &request->log_charge);
    if (!r)
        r = quota_charge(&broker->quota, owner, QUOTA_BYTES, 0, &request->body_charge);
    return r > 0 ? client_name_quota(broker, owner, QUOTA_BYTES, refusal) : r;
}

static int request_append_body(struct request *request, const uint8_t *data, size_t n,
                               struct refusal *refusal)
{
    const size_t n_body = buf_size(&request->body);
    int r = policy_check_input(n_body, request->client->n_input, n, &refusal->fault);

    if (r)
        return r;
    /* twice: buf.c doubles */
    r = quota_resize(&request->body_charge, MIN(2 * (n_body + n), (size_t)POLICY_BODY_BYTES_MAX));
    if (r > 0)
        return client_name_quota(request->broker, request->account->key, QUOTA_BYTES, refusal);
    return r ? r : buf_append(&request->body, data, n);
}

static bool request_id_is_taken(const struct request *request)
{
    const struct request *other;

    LIST_FOREACH (other, &request->broker->requests, node)
        if (other != request && other->uid == request->uid &&
            !memcmp(other->id, request->id, POLICY_ID_BYTES))
            return true;
    return false;
}

static int request_take_body(struct request *request, const Qwp__Generate *generate, int *memfd,
                             struct refusal *refusal)
{
    uint64_t n_bytes;
    int r;

    if (*memfd >= 0) {
        r = policy_check_memfd(*memfd, &refusal->fault, &n_bytes);
        if (!r) {
            request->memfd = steal_fd(memfd);
            request->n_body = n_bytes;
        }
        return r;
    }
    return generate->has_body ? request_append_body(request, generate->body.data, generate->body.len, refusal)
                              : 0;
}

/* Whether requests are taken at all now. */
static int request_check_service(const struct request *request, struct refusal *refusal)
{
    const struct broker *broker = request->broker;
    int r;

    if (broker->draining)
        return fault_set(&refusal->fault, STATUS_DRAINING, "qwend is being stopped");
    if (broker->held)
        return fault_set(&refusal->fault, STATUS_DRAINING, "an administrator holds the service");
    r = supervise_check(&broker->supervise, &refusal->fault);
    return r ? r : quarantine_check(request->client, refusal);
}

/* The prompt is complete: it may run. */
static int request_admit(struct request *request, struct refusal *refusal)
{
    static const enum queue_priority bands[] = {
        [QWP__PRIORITY__PRIORITY_INTERACTIVE] = QUEUE_INTERACTIVE,
        [QWP__PRIORITY__PRIORITY_NORMAL] = QUEUE_NORMAL,
        [QWP__PRIORITY__PRIORITY_BATCH] = QUEUE_BATCH,
    };
    int r = request_check_queue(request, refusal);

    if (!r)
        r = queue_push(&request->broker->queue, request->account->key, bands[request->priority],
                       &request->item);
    if (r)
        return r;
    if (request->memfd < 0)
        request->n_body = buf_size(&request->body);
    queue_set_weight(&request->item, request->weight);
    queue_set_max_running(&request->item, request->max_running);
    request->state = REQUEST_QUEUED;
    request->received_ns = clock_now_ns();
    queue_set_work(&request->item, forecast_prompt_tok(&request->broker->forecast, request->n_body));
    r = request_begin_deadline(request, refusal);
    if (!r)
        r = request_journal_open(request, refusal);
    if (r)
        return r;
    request->broker->totals.requests++;
    broker_kick(request->broker);
    return 0;
}

static int request_fill(struct request *request, const Qwp__Generate *generate, uint16_t flags, int *memfd,
                        struct refusal *refusal)
{
    int r = request_check_service(request, refusal);

    if (!r)
        r = policy_check_generate(generate, flags, &refusal->fault);
    if (!r)
        r = request_take_class(request, generate, refusal);
    if (!r)
        r = request_take_fields(request, generate);
    if (!r && request_id_is_taken(request))
        r = fault_set(&refusal->fault, STATUS_INVALID,
                      "request_id: a request of yours with this id is running");
    if (!r)
        r = request_charge(request, refusal);
    if (!r)
        r = stream_init(request,
                        generate->has_credit_bytes ? generate->credit_bytes : POLICY_CREDIT_BYTES_DEFAULT);
    if (!r)
        r = request_take_body(request, generate, memfd, refusal);
    if (!r && !(flags & FRAME_MORE))
        r = request_admit(request, refusal);
    return r;
}

static void request_log_refused(uid_t uid, const struct refusal *refusal)
{
    const int code = refusal->fault.code;
    const bool is_quota =
        code == STATUS_CONCURRENCY || code == STATUS_TOKEN_RATE || code == STATUS_QUEUE_FULL;
    struct journal_event event = {
        .kind = is_quota ? JOURNAL_QUOTA : JOURNAL_DENIED, .has_uid = true, .uid = uid, .code = code};

    if (refusal->used || refusal->limit) {
        event.numbers[0] = (struct journal_number){"QWEND_USED", refusal->used};
        event.numbers[1] = (struct journal_number){"QWEND_LIMIT", refusal->limit};
    }
    log_event_info(&event, "uid %u: request refused: %d %s", uid, code, refusal->fault.text);
}

void request_open(struct client *client, struct client_stream *stream, const Qwp__Generate *generate,
                  uint16_t flags, int *memfd, bool is_score)
{
    struct broker *broker = client->broker;
    struct request *request = calloc(1, sizeof(*request));
    struct refusal refusal = {};
    int r = request ? 0 : err_origin(-ENOMEM);

    if (!r) {
        *request = (struct request){
            .broker = broker, .client = client, .uid = client->peer.uid, .stream = stream->id, .memfd = -1};
        request->body = BUF_INIT(POLICY_BODY_BYTES_MAX);
        broker_give_handle(request);
        request->received_ns = clock_now_ns();
        request->is_score = is_score;
        list_push(&broker->requests, &request->node);
        r = request_fill(request, generate, flags, memfd, &refusal);
    }
    if (!r) {
        stream->request = request;
        return;
    }
    if (r < 0) {
        log_errno(r, "uid %u: request dropped", client->peer.uid);
        fault_set(&refusal.fault, STATUS_INTERNAL, "out of memory");
    } else if (r >= 300) {
        request_log_refused(client->peer.uid, &refusal);
    }
    metrics_on_code(metrics_class_of(&broker->metrics, request_priority(client, generate)),
                    refusal.fault.code);
    client_refuse_limit(client, stream->id, &refusal);
    client_stream_close(client, stream->id);
    if (request)
        request_destroy(request);
}

void request_on_body(struct request *request, const uint8_t *data, size_t n, bool more)
{
    struct client *client = request->client;
    struct refusal refusal = {};
    int r = request_append_body(request, data, n, &refusal);

    if (!r)
        client->n_input += n;
    if (!r && !more) {
        client->n_input -= buf_size(&request->body);
        r = request_admit(request, &refusal);
        if (r)
            client->n_input += buf_size(&request->body); /* request_free() takes it off */
    }
    if (r < 0)
        fault_set(&refusal.fault, STATUS_INTERNAL, "out of memory");
    if (r) {
        metrics_on_code(request_metrics(request), refusal.fault.code);
        client_refuse_limit(client, request->stream, &refusal);
        request_free(request);
    }
}
