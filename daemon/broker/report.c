/* report.c - what the service says of itself.  See report.h. */
#include "report.h"

#include <stdio.h>
#include <string.h>

#include "broker.h"
#include "daemon/util/clock.h"
#include "daemon/util/sd.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "request.h"

enum { REPORT_REQUESTS_MAX = 4096 }; /* Requests.requests' cap in the wire check */

static char report_server[] = "qwend " QWEND_VERSION;

static Qwp__StatusReply__State report_state(const struct broker *broker)
{
    if (broker->draining)
        return QWP__STATUS_REPLY__STATE__DRAINING;
    switch (broker->supervise.state) {
    case SUPERVISE_LOADING:
        return QWP__STATUS_REPLY__STATE__LOADING;
    case SUPERVISE_READY:
        return QWP__STATUS_REPLY__STATE__SERVING;
    case SUPERVISE_DOWN:
        return QWP__STATUS_REPLY__STATE__DEGRADED;
    case SUPERVISE_FAILED:
        return QWP__STATUS_REPLY__STATE__FAILED;
    default:
        return QWP__STATUS_REPLY__STATE__STARTING;
    }
}

static void report_fill_engine(const Qwe__Ready *ready, Qwp__StatusReply *reply)
{
    reply->model = ready->model;
    reply->backend = ready->backend;
    reply->isa = ready->isa;
    reply->kv_type = ready->kv_type;
    reply->has_context = reply->has_slots = reply->has_threads = 1;
    reply->has_weights_bytes = reply->has_state_bytes = reply->has_weights_locked = 1;
    reply->context = ready->context;
    reply->slots = ready->slots;
    reply->threads = ready->threads;
    reply->weights_bytes = ready->weights_bytes;
    reply->state_bytes = ready->state_bytes;
    reply->weights_locked = ready->weights_locked;
}

static void report_fill_counts(const struct broker *broker, Qwp__StatusReply *reply)
{
    reply->has_running = reply->has_queued = reply->has_connections = reply->has_engine_restarts = 1;
    reply->has_prompt_tokens = reply->has_output_tokens = reply->has_requests = reply->has_load_permille = 1;
    reply->running = broker->queue.n_started;
    reply->queued = broker->queue.n_waiting;
    reply->connections = broker->n_clients;
    reply->engine_restarts = broker->supervise.n_restarts;
    reply->prompt_tokens = broker->totals.prompt_tokens;
    reply->output_tokens = broker->totals.output_tokens;
    reply->requests = broker->totals.requests;
    reply->load_permille = broker->supervise.ready ? 1000 : broker->supervise.permille;
}

void report_put_status(struct client *client, uint32_t stream)
{
    struct broker *broker = client->broker;
    Qwp__StatusReply reply = QWP__STATUS_REPLY__INIT;

    reply.has_state = reply.has_pid = reply.has_engine_pid = reply.has_uptime_s = 1;
    reply.state = report_state(broker);
    reply.server = report_server;
    reply.pid = (uint32_t)getpid();
    reply.engine_pid = (uint32_t)broker->supervise.pid;
    reply.uptime_s = clock_ms(clock_now_ns() - broker->started_ns) / 1000;
    if (broker->supervise.ready)
        report_fill_engine(broker->supervise.ready, &reply);
    report_fill_counts(broker, &reply);
    if (broker->supervise.note[0])
        reply.note = broker->supervise.note;
    client_put(client, stream, MSG_STATUS_REPLY, FRAME_END_STREAM, &reply.base);
}

static Qwp__RequestInfo__State report_request_state(const struct request *request)
{
    if (request->state == REQUEST_REPLAY)
        return QWP__REQUEST_INFO__STATE__REPLAYING;
    if (request->state == REQUEST_UPLOAD || request->state == REQUEST_QUEUED)
        return QWP__REQUEST_INFO__STATE__QUEUED;
    if (request->stream.paused)
        return QWP__REQUEST_INFO__STATE__PAUSED;
    return request->state == REQUEST_PREFILL ? QWP__REQUEST_INFO__STATE__PREFILL
                                             : QWP__REQUEST_INFO__STATE__DECODE;
}

static void report_fill_request(const struct request *request, Qwp__RequestInfo *info)
{
    const Qwp__Generate *g = request->generate;

    qwp__request_info__init(info);
    info->has_request_id = info->has_uid = info->has_pid = info->has_state = info->has_position = 1;
    info->has_output_tokens = info->has_age_s = info->has_priority = info->has_replays = 1;
    info->has_prompt_tokens = request->has_prompt_tokens;
    info->request_id = (ProtobufCBinaryData){.data = (uint8_t *)request->id, .len = sizeof(request->id)};
    info->uid = request->client->peer.uid;
    info->pid = (uint32_t)request->client->peer.pid;
    info->client = request->client->name;
    info->state = report_request_state(request);
    info->position =
        request->state == REQUEST_QUEUED ? queue_position(&request->broker->queue, &request->queue_item) : 0;
    info->prompt_tokens = request->prompt_tokens;
    info->output_tokens = (uint32_t)request->n_ids;
    info->age_s = clock_ms(clock_now_ns() - request->received_ns) / 1000;
    info->priority = g->has_priority ? g->priority : QWP__PRIORITY__PRIORITY_NORMAL;
    info->replays = request->n_replays;
}

void report_put_requests(struct client *client, uint32_t stream)
{
    struct broker *broker = client->broker;
    _cleanup_(freep) Qwp__RequestInfo *infos = NULL;
    _cleanup_(freep) Qwp__RequestInfo **ptrs = NULL;
    Qwp__Requests requests = QWP__REQUESTS__INIT;
    struct fault fault = {};
    struct request *request;

    infos = calloc(REPORT_REQUESTS_MAX, sizeof(*infos));
    ptrs = calloc(REPORT_REQUESTS_MAX, sizeof(Qwp__RequestInfo *));
    if (!infos || !ptrs) {
        fault_set(&fault, STATUS_OOM, "the broker is out of memory");
        client_refuse(client, stream, &fault);
        return;
    }
    LIST_FOREACH(request, &broker->requests, node)
    {
        if (requests.n_requests == REPORT_REQUESTS_MAX)
            break;
        if (request->client->peer.uid != client->peer.uid && !client->is_admin)
            continue;
        ptrs[requests.n_requests] = &infos[requests.n_requests];
        report_fill_request(request, ptrs[requests.n_requests++]);
    }
    requests.requests = ptrs;
    client_put(client, stream, MSG_REQUESTS, FRAME_END_STREAM, &requests.base);
}

void report_put_welcome(struct client *client, uint32_t version)
{
    struct broker *broker = client->broker;
    const Qwe__Ready *ready = broker->supervise.ready;
    Qwp__Welcome welcome = QWP__WELCOME__INIT;
    Qwp__Limits limits = QWP__LIMITS__INIT;
    char *capabilities[] = {"memfd"};

    limits.has_frame_bytes = limits.has_streams = limits.has_body_bytes = limits.has_credit_bytes = 1;
    limits.frame_bytes = FRAME_MAX_BYTES;
    limits.streams = POLICY_STREAMS_MAX;
    limits.body_bytes = POLICY_BODY_BYTES_MAX;
    limits.credit_bytes = POLICY_CREDIT_BYTES_MAX;
    if (ready) {
        limits.has_context = 1;
        limits.context = ready->context;
        welcome.model = ready->model;
        welcome.backend = ready->backend;
    }
    welcome.has_version = welcome.has_connection = welcome.has_boot_id = 1;
    welcome.version = version;
    welcome.connection = client->id;
    welcome.server = report_server;
    welcome.uid_class = client->is_admin ? "admin" : "user";
    welcome.limits = &limits;
    welcome.boot_id = (ProtobufCBinaryData){.data = broker->boot_id, .len = sizeof(broker->boot_id)};
    welcome.n_capabilities = ARRAY_SIZE(capabilities);
    welcome.capabilities = capabilities;
    client_put(client, 0, MSG_WELCOME, 0, &welcome.base);
}

void report_notify(struct broker *broker)
{
    static const char *const names[] = {
        [QWP__STATUS_REPLY__STATE__STARTING] = "starting",
        [QWP__STATUS_REPLY__STATE__LOADING] = "loading the model",
        [QWP__STATUS_REPLY__STATE__SERVING] = "serving",
        [QWP__STATUS_REPLY__STATE__DEGRADED] = "replacing the engine",
        [QWP__STATUS_REPLY__STATE__DRAINING] = "stopping",
        [QWP__STATUS_REPLY__STATE__FAILED] = "failed",
    };
    const struct supervise *s = &broker->supervise;

    if (s->note[0])
        sd_notify_put("STATUS=%s: %s", names[report_state(broker)], s->note);
    else
        sd_notify_put("STATUS=%s, %u running, %u queued", names[report_state(broker)],
                      broker->queue.n_started, broker->queue.n_waiting);
}
