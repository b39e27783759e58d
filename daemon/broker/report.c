/* report.c - Welcome, StatusReply and Requests.  See report.h. */
#include "report.h"

#include "broker.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "request.h"

#define REPORT_SERVER "qwend " QWEND_VERSION

void report_welcome(struct client *client)
{
    struct broker *broker = client->broker;
    const Qwe__Ready *ready = broker->supervise.ready;
    char *capabilities[] = {(char *)"memfd", (char *)"preempt",  (char *)"deadline", (char *)"account",
                            (char *)"score", (char *)"admin",    (char *)"attach",   (char *)"fim",
                            (char *)"use",   (char *)"progress", (char *)"restart"};
    Qwp__Limits limits = QWP__LIMITS__INIT;
    Qwp__Welcome welcome = QWP__WELCOME__INIT;

    limits.has_frame_bytes = limits.has_streams = limits.has_body_bytes = limits.has_credit_bytes = true;
    limits.frame_bytes = FRAME_MAX_BYTES;
    limits.streams = client->class->max_streams ? client->class->max_streams : POLICY_STREAMS_MAX;
    limits.body_bytes = POLICY_BODY_BYTES_MAX;
    limits.credit_bytes = POLICY_CREDIT_BYTES_MAX;
    limits.has_context = ready && ready->has_context;
    limits.context = limits.has_context ? policy_context(client->class, ready->context) : 0;
    welcome.has_version = welcome.has_connection = welcome.has_boot_id = true;
    welcome.version = 1;
    welcome.connection = client->id;
    welcome.server = (char *)REPORT_SERVER;
    welcome.uid_class = (char *)client->class->name;
    welcome.limits = &limits;
    welcome.model = ready ? ready->model : NULL;
    welcome.backend = ready ? ready->backend : NULL;
    welcome.boot_id = (ProtobufCBinaryData){.data = broker->boot_id, .len = sizeof(broker->boot_id)};
    welcome.capabilities = capabilities;
    welcome.n_capabilities = ARRAY_SIZE(capabilities) - !store_is_on(&broker->store); /* restart */
    client_put(client, 0, MSG_WELCOME, 0, &welcome.base);
}

void report_served(struct broker *broker)
{
    const Qwe__Ready *ready = broker->supervise.ready;
    Qwp__Served served = QWP__SERVED__INIT;
    struct client *client;

    served.model = ready->model;
    served.backend = ready->backend;
    served.has_context = ready->has_context;
    LIST_FOREACH (client, &broker->clients, node) {
        if (client->state != CLIENT_READY || client->dead)
            continue;
        served.context = policy_context(client->class, ready->context);
        (void)client_offer(client, 0, MSG_SERVED, 0, &served.base); /* no room: Welcome's stands */
    }
}

Qwp__StatusReply__State report_state(const struct broker *broker)
{
    const struct supervise *supervise = &broker->supervise;

    if (broker->draining || broker->held)
        return QWP__STATUS_REPLY__STATE__DRAINING;
    switch (supervise->state) {
    case SUPERVISE_SERVING:
        return QWP__STATUS_REPLY__STATE__SERVING;
    case SUPERVISE_FAILED:
        return QWP__STATUS_REPLY__STATE__FAILED;
    case SUPERVISE_OFF:
        return QWP__STATUS_REPLY__STATE__STARTING;
    case SUPERVISE_LOADING:
    case SUPERVISE_BACKOFF:
        break;
    }
    if (broker->use.stage >= USE_LOADING)
        return QWP__STATUS_REPLY__STATE__LOADING;
    return supervise->ready ? QWP__STATUS_REPLY__STATE__DEGRADED : QWP__STATUS_REPLY__STATE__LOADING;
}

/* What the engine said of itself. */
static void report_fill_engine(const Qwe__Ready *ready, Qwp__StatusReply *reply)
{
    reply->model = ready->model;
    reply->backend = ready->backend;
    reply->isa = ready->isa;
    reply->kv_type = ready->kv_type;
    reply->has_context = ready->has_context;
    reply->context = ready->context;
    reply->has_threads = ready->has_threads;
    reply->threads = ready->threads;
    reply->has_weights_bytes = ready->has_weights_bytes;
    reply->weights_bytes = ready->weights_bytes;
    reply->has_state_bytes = ready->has_state_bytes;
    reply->state_bytes = ready->state_bytes;
    reply->has_weights_host_bytes = ready->has_weights_host_bytes;
    reply->weights_host_bytes = ready->weights_host_bytes;
    reply->has_weights_locked = ready->has_weights_locked;
    reply->weights_locked = ready->weights_locked;
    reply->has_cache_bytes = ready->has_cache_bytes;
    reply->cache_bytes = ready->cache_bytes;
    reply->has_cache_pages = ready->has_cache_pages;
    reply->cache_pages = ready->cache_pages;
    reply->has_cache_checkpoints = ready->has_cache_checkpoints;
    reply->cache_checkpoints = ready->cache_checkpoints;
    reply->has_cache_dir_bytes = ready->has_cache_dir_bytes;
    reply->cache_dir_bytes = ready->cache_dir_bytes;
    reply->has_weights_adopted = ready->has_weights_adopted;
    reply->weights_adopted = ready->weights_adopted;
}

/* What the broker counts. */
static void report_fill_counts(const struct broker *broker, Qwp__StatusReply *reply)
{
    reply->has_pid = reply->has_uptime_s = reply->has_running = reply->has_queued = true;
    reply->pid = (uint32_t)getpid();
    reply->uptime_s = clock_ms(clock_now_ns() - broker->started_ns) / 1e3;
    reply->running = broker->queue.n_started;
    reply->queued = queue_n_waiting(&broker->queue);
    reply->has_connections = reply->has_requests = true;
    reply->connections = broker->n_clients;
    reply->requests = broker->totals.requests;
    reply->has_prompt_tokens = reply->has_cached_tokens = reply->has_output_tokens = true;
    reply->prompt_tokens = broker->totals.prompt_tokens;
    reply->cached_tokens = broker->totals.cached_tokens;
    reply->output_tokens = broker->totals.output_tokens;
    reply->has_journal_bytes = reply->has_journal_limit_bytes = store_is_on(&broker->store);
    reply->journal_bytes = broker->quota.used[QUOTA_JOURNAL];
    reply->journal_limit_bytes = broker->quota.max[QUOTA_JOURNAL];
    reply->has_preemptions = true;
    reply->preemptions = broker->totals.preemptions;
}

struct report_publics {
    Qwp__PublicPrefix items[PUBLISH_MAX], *list[PUBLISH_MAX];
};

static void report_fill_publics(const struct publish *publish, struct report_publics *publics,
                                Qwp__StatusReply *reply)
{
    static const Qwp__PublicPrefix__State states[] = {
        [PUBLISH_WAITING] = QWP__PUBLIC_PREFIX__STATE__WAITING,
        [PUBLISH_SENT] = QWP__PUBLIC_PREFIX__STATE__WAITING,
        [PUBLISH_READY] = QWP__PUBLIC_PREFIX__STATE__READY,
        [PUBLISH_REFUSED] = QWP__PUBLIC_PREFIX__STATE__REFUSED,
    };

    for (size_t i = 0; i < publish->n; i++) {
        const struct publish_item *from = &publish->items[i];
        Qwp__PublicPrefix *to = publics->list[i] = &publics->items[i];

        qwp__public_prefix__init(to);
        to->name = (char *)from->name;
        to->has_state = true;
        to->state = states[from->state];
        to->has_tokens = from->state == PUBLISH_READY;
        to->tokens = from->tokens;
        to->text = from->state == PUBLISH_REFUSED ? (char *)from->text : NULL;
    }
    reply->publics = publics->list;
    reply->n_publics = publish->n;
}

void report_status(struct client *client, uint32_t stream)
{
    struct report_publics publics;
    Qwp__UseProgress progress;
    struct broker *broker = client->broker;
    struct supervise *supervise = &broker->supervise;
    Qwp__StatusReply reply = QWP__STATUS_REPLY__INIT;

    reply.has_state = true;
    reply.state = report_state(broker);
    reply.server = (char *)REPORT_SERVER;
    report_fill_counts(broker, &reply);
    report_fill_publics(broker->publish, &publics, &reply);
    if (supervise->ready)
        report_fill_engine(supervise->ready, &reply);
    reply.has_cache_used_bytes = supervise->ready != NULL;
    reply.cache_used_bytes = supervise->cache_used_bytes;
    reply.has_cache_dir_used_bytes = reply.has_cache_dir_bytes;
    reply.cache_dir_used_bytes = supervise->cache_dir_used_bytes;
    reply.has_engine_pid = supervise->pid > 0;
    reply.engine_pid = (uint32_t)supervise->pid;
    reply.has_slots = supervise->ready != NULL;
    reply.slots = supervise_slots(supervise);
    reply.has_engine_restarts = reply.has_load_permille = true;
    reply.engine_restarts = supervise->n_restarts;
    reply.load_permille = supervise->load_permille;
    reply.model_path = supervise->model;
    if (use_is_on(&broker->use)) {
        use_fill_progress(&broker->use, &progress);
        reply.use = &progress;
        reply.use_path = broker->use.model;
    }
    reply.note = *supervise->note ? supervise->note : NULL;
    client_put(client, stream, MSG_STATUS_REPLY, FRAME_END_STREAM, &reply.base);
}

static Qwp__RequestInfo__State report_request_state(const struct request *request)
{
    if (request->out.blocked)
        return QWP__REQUEST_INFO__STATE__PAUSED;
    switch (request->state) {
    case REQUEST_RECEIVING:
    case REQUEST_QUEUED:
    case REQUEST_PREEMPTED:
        return QWP__REQUEST_INFO__STATE__QUEUED;
    case REQUEST_PREFILL:
        return QWP__REQUEST_INFO__STATE__PREFILL;
    case REQUEST_REPLAYING:
        return QWP__REQUEST_INFO__STATE__REPLAYING;
    case REQUEST_DECODE:
    case REQUEST_DONE:
        break;
    }
    return QWP__REQUEST_INFO__STATE__DECODE;
}

void report_fill_request(struct request *request, Qwp__RequestInfo *info)
{
    qwp__request_info__init(info);
    info->has_request_id = info->has_uid = info->has_state = info->has_position = true;
    info->has_pid = request->client != NULL;
    info->request_id = (ProtobufCBinaryData){.data = request->id, .len = sizeof(request->id)};
    info->uid = request->uid;
    if (request->client) {
        info->pid = (uint32_t)request->client->peer.pid;
        info->client = *request->client->name ? request->client->name : NULL;
    }
    info->state = report_request_state(request);
    info->position = queue_position(&request->broker->queue, &request->item);
    info->has_prompt_tokens = request->has_started;
    info->prompt_tokens = request->prompt_tokens;
    info->has_output_tokens = info->has_age_s = info->has_priority = info->has_replays = true;
    info->output_tokens = (uint32_t)request->n_ids;
    info->age_s = clock_ms(clock_now_ns() - request->received_ns) / 1e3;
    info->priority = request->priority;
    info->replays = request->replays;
    info->has_read_tokens = info->state == QWP__REQUEST_INFO__STATE__PREFILL && request->has_started;
    info->read_tokens = request->read_tokens;
    info->has_cached_tokens = request->has_started;
    info->cached_tokens = request->cached_tokens;
    info->has_tokens_s = true;
    info->tokens_s = meter_rate(&request->written, clock_now_ns());
}

bool report_may_see(const struct client *client, const struct request *request)
{
    return client->is_admin || request->uid == client->peer.uid;
}

static size_t report_count(const struct client *client)
{
    const struct request *request;
    size_t n = 0;

    LIST_FOREACH (request, &client->broker->requests, node)
        n += report_may_see(client, request);
    return n;
}

static void report_too_much(struct client *client, uint32_t stream, bool no_memory)
{
    struct fault fault;

    if (no_memory)
        fault_set(&fault, STATUS_INTERNAL, "out of memory for the list");
    else
        fault_set(&fault, STATUS_SLOW_CONSUMER, "the connection has no room for the list");
    client_refuse(client, stream, &fault);
}

void report_requests(struct client *client, uint32_t stream)
{
    const size_t max = report_count(client);
    _cleanup_(freep) Qwp__RequestInfo *infos = calloc(max + 1, sizeof(*infos));
    _cleanup_(freep) Qwp__RequestInfo **list = calloc(max + 1, sizeof(*list));
    Qwp__Requests reply = QWP__REQUESTS__INIT;
    struct request *request;

    if (!infos || !list) {
        report_too_much(client, stream, true);
        return;
    }
    LIST_FOREACH (request, &client->broker->requests, node) {
        if (!report_may_see(client, request))
            continue;
        report_fill_request(request, &infos[reply.n_requests]);
        list[reply.n_requests] = &infos[reply.n_requests];
        reply.n_requests++;
    }
    reply.requests = list;
    if (client_offer(client, stream, MSG_REQUESTS, FRAME_END_STREAM, &reply.base))
        report_too_much(client, stream, false);
}
