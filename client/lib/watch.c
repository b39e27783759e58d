/* watch.c - looking on: a stream of samples of the service.
 *
 * Only the newest sample is kept for a caller: one that is late sees how things are, not how they were. */
#include "conn.h"

int qwend_subscribe(qwend *q, unsigned interval_ms, qwend_cb cb, void *user, qwend_stream **ret)
{
    Qwp__Subscribe question = QWP__SUBSCRIBE__INIT;
    qwend_stream *stream;
    int r;

    event_release(q);
    r = stream_new(q, cb, user, &stream);
    if (r)
        return r;
    stream->watches = true;
    question.has_interval_ms = interval_ms != 0;
    question.interval_ms = interval_ms;
    r = conn_put(q, stream->number, MSG_SUBSCRIBE, 0, &question.base);
    if (!r)
        r = conn_flush(q);
    if (r) {
        stream_delete(stream);
        return r;
    }
    *ret = stream;
    return 0;
}

int watch_sample(qwend *q, const Qwp__Sample *message, qwend_event *event)
{
    const qwend_request_info *requests;
    int r = call_requests(q, message->list, message->n_list, &requests);

    if (r)
        return r;
    q->sample = (qwend_sample){
        .seq = message->seq,
        .state = message->has_state ? (int)message->state : 0,
        .state_name = call_state_name(message->has_state, message->state),
        .uptime_s = message->uptime_s,
        .slots = message->slots,
        .running = message->running,
        .queued = message->queued,
        .connections = message->connections,
        .engine_restarts = message->engine_restarts,
        .n_requests = message->requests,
        .prompt_tokens = message->prompt_tokens,
        .cached_tokens = message->cached_tokens,
        .output_tokens = message->output_tokens,
        .replays = message->replays,
        .stalls = message->stalls,
        .read_s = message->read_s,
        .written_s = message->written_s,
        .held_bytes = message->held_bytes,
        .held_limit_bytes = message->held_limit_bytes,
        .weights_bytes = message->weights_bytes,
        .state_bytes = message->state_bytes,
        .cache_bytes = message->cache_bytes,
        .cache_used_bytes = message->cache_used_bytes,
        .list = requests,
        .n_list = message->n_list,
        .unlisted = message->unlisted,
    };
    event->type = QWEND_EV_SAMPLE;
    event->sample = &q->sample;
    return 1;
}
