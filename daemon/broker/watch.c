/* watch.c - samples for those who look.  See watch.h. */
#include "watch.h"

#include "broker.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "daemon/util/loop.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "report.h"
#include "request.h"

/* a sample */
static void watch_fill_totals(const struct broker *broker, Qwp__Sample *sample)
{
    sample->has_requests = sample->has_prompt_tokens = sample->has_cached_tokens = true;
    sample->has_output_tokens = sample->has_replays = sample->has_stalls = true;
    sample->requests = broker->totals.requests;
    for (int i = 0; i < METRICS_CLASSES; i++) {
        const struct metrics_class *klass = &broker->metrics.classes[i];

        sample->prompt_tokens += klass->prompt_tokens;
        sample->cached_tokens += klass->cached_tokens;
        sample->output_tokens += klass->output_tokens;
        sample->replays += klass->replays;
        sample->stalls += klass->stalls;
    }
}

static void watch_fill_now(const struct broker *broker, uint64_t now_ns, Qwp__Sample *sample)
{
    const Qwe__Ready *ready = broker->supervise.ready;

    sample->has_state = sample->has_uptime_s = sample->has_running = sample->has_queued = true;
    sample->state = report_state(broker);
    sample->uptime_s = clock_ms(now_ns - broker->started_ns) / 1e3;
    sample->running = broker->queue.n_started;
    sample->queued = queue_n_waiting(&broker->queue);
    sample->has_connections = sample->has_engine_restarts = true;
    sample->connections = broker->n_clients;
    sample->engine_restarts = broker->supervise.n_restarts;
    sample->has_read_s = sample->has_written_s = true;
    sample->read_s = meter_rate(&broker->read, now_ns);
    sample->written_s = meter_rate(&broker->written, now_ns);
    sample->has_held_bytes = sample->has_held_limit_bytes = true;
    sample->held_bytes = broker->quota.used[QUOTA_BYTES];
    sample->held_limit_bytes = broker->quota.max[QUOTA_BYTES];
    sample->has_slots = sample->has_weights_bytes = sample->has_state_bytes = ready != NULL;
    if (!ready)
        return;
    sample->slots = supervise_slots(&broker->supervise);
    sample->weights_bytes = ready->weights_bytes;
    sample->state_bytes = ready->state_bytes;
    sample->has_cache_bytes = sample->has_cache_used_bytes = true;
    sample->cache_bytes = ready->cache_bytes;
    sample->cache_used_bytes = broker->supervise.cache_used_bytes;
}

static void watch_put(struct watch *watch)
{
    Qwp__RequestInfo infos[WATCH_LIST_MAX], *list[WATCH_LIST_MAX];
    const struct broker *broker = watch->client->broker;
    Qwp__Sample sample = QWP__SAMPLE__INIT;
    struct request *request;

    sample.has_seq = true;
    sample.seq = watch->seq++;
    if (buf_size(&watch->client->sock.out))
        return; /* it has not read what it got before */
    watch_fill_totals(broker, &sample);
    watch_fill_now(broker, clock_now_ns(), &sample);
    sample.has_unlisted = true;
    LIST_FOREACH (request, &broker->requests, node) {
        if (!report_may_see(watch->client, request))
            continue;
        if (sample.n_list == WATCH_LIST_MAX) {
            sample.unlisted++;
            continue;
        }
        report_fill_request(request, &infos[sample.n_list]);
        list[sample.n_list] = &infos[sample.n_list];
        sample.n_list++;
    }
    sample.list = list;
    (void)client_offer(watch->client, watch->stream, MSG_SAMPLE, 0, &sample.base); /* no room: the next one */
}

static void watch_on_due(int fd, short what, void *arg)
{
    struct watch *watch = arg;

    watch_put(watch);
    loop_arm_ms(watch->due, watch->interval_ms);
}

/* life */
static void watch_free(struct watch *watch)
{
    client_stream_close(watch->client, watch->stream);
    list_remove(&watch->node);
    loop_event_free(&watch->due);
    free(watch);
}

static int watch_check(const struct client *client, const Qwp__Subscribe *subscribe, struct refusal *refusal)
{
    const struct watch *watch;

    if (subscribe->has_interval_ms &&
        (subscribe->interval_ms < WATCH_MS_MIN || subscribe->interval_ms > WATCH_MS_MAX))
        return fault_set(&refusal->fault, STATUS_INVALID, "interval_ms is %u, must be %d to %d",
                         subscribe->interval_ms, WATCH_MS_MIN, WATCH_MS_MAX);
    refusal->limit = WATCH_PER_UID_MAX;
    LIST_FOREACH (watch, &client->broker->watches, node)
        refusal->used += watch->client->peer.uid == client->peer.uid;
    if (refusal->used >= refusal->limit)
        return fault_set(&refusal->fault, STATUS_CONCURRENCY, "uid %u has %llu subscriptions, at most %d",
                         client->peer.uid, (unsigned long long)refusal->used, WATCH_PER_UID_MAX);
    return 0;
}

static int watch_new(struct client *client, uint32_t stream, uint32_t interval_ms, struct watch **ret_watch)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    int r;

    if (!watch)
        return err_origin(-ENOMEM);
    *watch = (struct watch){.client = client, .stream = stream, .interval_ms = interval_ms};
    r = loop_event_new(client->broker->base, -1, 0, watch_on_due, watch, &watch->due);
    if (r) {
        free(watch);
        return r;
    }
    list_push(&client->broker->watches, &watch->node);
    *ret_watch = watch;
    return 0;
}

void watch_open(struct client *client, struct client_stream *stream, const Qwp__Subscribe *subscribe)
{
    struct refusal refusal = {};
    int r = watch_check(client, subscribe, &refusal);

    if (!r)
        r = watch_new(client, stream->id,
                      subscribe->has_interval_ms ? subscribe->interval_ms : WATCH_MS_DEFAULT, &stream->watch);
    if (!r) {
        loop_arm_ms(stream->watch->due, 0); /* when what is being said now has been sent */
        return;
    }
    if (r < 0)
        fault_set(&refusal.fault, STATUS_INTERNAL, "out of memory");
    client_refuse_limit(client, stream->id, &refusal);
    client_stream_close(client, stream->id);
}

void watch_cancel(struct watch *watch)
{
    Qwp__Cancelled cancelled = QWP__CANCELLED__INIT;

    cancelled.has_n_cancelled = true;
    cancelled.n_cancelled = 1;
    client_put(watch->client, watch->stream, MSG_CANCELLED, FRAME_END_STREAM, &cancelled.base);
    watch_free(watch);
}

void watch_cancel_client(struct client *client)
{
    for (size_t i = 0; i < ARRAY_SIZE(client->streams); i++)
        if (client->streams[i].watch)
            watch_free(client->streams[i].watch);
}
