/* stream.c - Deltas, credit, Usage.  See stream.h. */
#include "stream.h"

#include <string.h>

#include "broker.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "proto/wire.h"
#include "request.h"

enum { STREAM_DELTA_BYTES = 64 << 10 }; /* of text in one Delta: a long piece leaves room for other streams */

static void stream_item_free(struct stream_item *item)
{
    wire_free(&item->emit->base);
    list_remove(&item->node);
    free(item);
}

static void stream_on_slow(int fd, short what, void *arg)
{
    struct request *request = arg;

    log_warn("uid %u: request %u ended, its reader was away for %u s", request->client->peer.uid,
             request->handle, request->broker->options->slow_s);
    request_refuse_text(request, STATUS_SLOW_CONSUMER, "the request waited too long for its reader");
}

void stream_init(struct request *request)
{
    const Qwp__Generate *g = request->generate;
    struct stream *s = &request->stream;

    *s = (struct stream){
        .credit = g->has_credit_bytes ? g->credit_bytes : POLICY_CREDIT_BYTES_DEFAULT,
        .want_ids = g->has_want_ids && g->want_ids,
        .want_logprobs = g->has_logprobs,
    };
    list_init(&s->waiting);
}

void stream_deinit(struct stream *s)
{
    struct stream_item *item;

    if (s->waiting.next)
        LIST_FOREACH(item, &s->waiting, node)
    stream_item_free(item);
    loop_event_free(&s->slow);
    free(s->stop);
    s->stop = NULL;
}

/* pausing */

static void stream_set_paused(struct request *request, bool paused)
{
    struct stream *s = &request->stream;
    Qwe__Pause pause = QWE__PAUSE__INIT;
    Qwe__Resume resume = QWE__RESUME__INIT;

    if (s->paused == paused)
        return;
    s->paused = paused;
    if (paused && !s->slow && loop_event_new(request->broker->base, -1, 0, stream_on_slow, request, &s->slow))
        return; /* without memory for a timer the next pause tries again */
    if (paused)
        loop_arm_ms(s->slow, request->broker->options->slow_s * 1000ull);
    else if (s->slow)
        loop_unwatch(s->slow);
    if (request->state != REQUEST_PREFILL && request->state != REQUEST_DECODE)
        return;
    if (paused) {
        link_put(&request->broker->link, request->handle, MSG_E_PAUSE, &pause.base, -1);
    } else {
        link_put(&request->broker->link, request->handle, MSG_E_RESUME, &resume.base, -1);
        supervise_arm_watchdog(&request->broker->supervise);
    }
}

/* sending */

/* The longest start of text[0..n) of at most max bytes that ends on a UTF-8 border. */
static size_t stream_cut(const uint8_t *text, size_t n, size_t max)
{
    if (n <= max)
        return n;
    while (max && (text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

/* The next Delta of an item; false: it does not fit now. */
static bool stream_send_delta(struct request *request, struct stream_item *item)
{
    struct stream *s = &request->stream;
    const Qwe__Emit *emit = item->emit;
    const Qwe__Piece *piece = item->i_piece < emit->n_pieces ? emit->pieces[item->i_piece] : NULL;
    Qwp__Delta delta = QWP__DELTA__INIT;
    size_t n = 0;

    if (piece) {
        n = stream_cut(piece->text.data + item->offset, piece->text.len - item->offset,
                       MIN(s->credit, (uint64_t)STREAM_DELTA_BYTES));
        if (!n && piece->text.len > item->offset)
            return false;
        delta.has_channel = delta.has_text = 1;
        delta.channel = piece->channel;
        delta.text = (ProtobufCBinaryData){.data = piece->text.data + item->offset, .len = n};
    }
    delta.has_seq = 1;
    delta.seq = s->seq;
    if (!item->ids_sent && s->want_ids) {
        delta.n_ids = emit->n_ids;
        delta.ids = emit->ids;
    }
    if (!item->ids_sent && s->want_logprobs) {
        delta.n_logprobs = emit->n_logprobs;
        delta.logprobs = emit->logprobs;
    }
    if (client_offer(request->client, request->stream_id, MSG_DELTA, 0, &delta.base))
        return false;
    s->seq++;
    s->credit -= n;
    item->ids_sent = true;
    item->offset += n;
    if (piece && item->offset == piece->text.len) {
        item->i_piece++;
        item->offset = 0;
    }
    return true;
}

static bool stream_item_is_sent(const struct stream *s, const struct stream_item *item)
{
    const bool silent = item->ids_sent ||
                        !((s->want_ids && item->emit->n_ids) || (s->want_logprobs && item->emit->n_logprobs));

    return item->i_piece >= item->emit->n_pieces && silent;
}

static bool stream_send_item(struct request *request, struct stream_item *item)
{
    while (!stream_item_is_sent(&request->stream, item))
        if (!stream_send_delta(request, item))
            return false;
    return true;
}

/* Everything is sent: the last word, if the engine has said its own.  Frees the request. */
static void stream_finish_if_over(struct request *request)
{
    if (request->stream.finish && list_is_empty(&request->stream.waiting)) {
        stream_put_usage(request, request->stream.finish);
        request_free(request);
    }
}

void stream_resume(struct request *request)
{
    struct stream *s = &request->stream;
    struct stream_item *item;

    LIST_FOREACH(item, &s->waiting, node)
    {
        if (!stream_send_item(request, item))
            return;
        stream_item_free(item);
        s->n_waiting--;
    }
    stream_set_paused(request, !s->credit && !s->finish);
    stream_finish_if_over(request);
}

void stream_add_credit(struct request *request, uint32_t bytes)
{
    request->stream.credit += bytes;
    stream_resume(request);
}

static int stream_keep(struct request *request, const struct stream_item *item)
{
    struct stream *s = &request->stream;
    struct stream_item *kept;

    if (s->n_waiting == STREAM_WAITING_MAX)
        return -ENOBUFS;
    kept = malloc(sizeof(*kept));
    if (!kept)
        return -ENOMEM;
    *kept = *item;
    kept->node = (struct list){};
    list_push(&s->waiting, &kept->node);
    s->n_waiting++;
    return 0;
}

static void stream_note_counts(struct stream *s, const Qwe__Emit *emit)
{
    s->reasoning_tokens = emit->reasoning_tokens;
    s->answer_tokens = emit->answer_tokens;
    if (!emit->has_finish)
        return;
    s->finish = emit->finish;
    s->stop = emit->stop ? strdup(emit->stop) : NULL;
}

void stream_push(struct request *request, Qwe__Emit *emit)
{
    struct stream *s = &request->stream;
    struct stream_item item = {.emit = emit};

    stream_note_counts(s, emit);
    if (list_is_empty(&s->waiting) && stream_send_item(request, &item)) {
        wire_free(&emit->base);
        if (!s->credit && !s->finish)
            stream_set_paused(request, true);
        stream_finish_if_over(request);
        return;
    }
    if (stream_keep(request, &item) < 0) {
        wire_free(&emit->base);
        request_refuse_text(request, STATUS_SLOW_CONSUMER,
                            "more text is waiting for its reader than can be kept");
        return;
    }
    stream_set_paused(request, true);
}

/* other words */

void stream_put_accepted(struct request *request, uint32_t position)
{
    const struct supervise *supervise = &request->broker->supervise;
    Qwp__Accepted accepted = QWP__ACCEPTED__INIT;

    accepted.has_request_id = accepted.has_position = 1;
    accepted.request_id = (ProtobufCBinaryData){.data = request->id, .len = sizeof(request->id)};
    accepted.position = position;
    accepted.has_prompt_tokens = accepted.has_cached_tokens = request->has_prompt_tokens;
    accepted.prompt_tokens = request->prompt_tokens;
    accepted.cached_tokens = request->cached_tokens;
    if (!supervise->ready) {
        accepted.has_loading = accepted.has_load_permille = 1;
        accepted.loading = 1;
        accepted.load_permille = supervise->permille;
    }
    request->told_position = position;
    request->told_permille = supervise->permille;
    /* A client whose socket is full learns its position from what comes next. */
    (void)client_offer(request->client, request->stream_id, MSG_ACCEPTED, 0, &accepted.base);
}

void stream_put_event(struct request *request, Qwp__Event__Kind kind)
{
    Qwp__Event event = QWP__EVENT__INIT;

    event.has_kind = 1;
    event.kind = kind;
    if (kind == QWP__EVENT__KIND__RESUMED) {
        event.has_from_token = 1;
        event.from_token = (uint32_t)request->n_ids;
    } else if (kind == QWP__EVENT__KIND__ENGINE_RESTART) {
        event.text = "the engine died and is being replaced; the stream goes on";
    }
    (void)client_offer(request->client, request->stream_id, MSG_EVENT, 0, &event.base);
}

static double stream_ms(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns && to_ns > from_ns ? clock_ms(to_ns - from_ns) : 0;
}

static void stream_fill_times(const struct request *request, Qwp__Usage *usage)
{
    const uint64_t now = clock_now_ns(), over = request->over_ns ? request->over_ns : now;

    usage->has_queue_ms = usage->has_prefill_ms = usage->has_decode_ms = 1;
    usage->queue_ms = stream_ms(request->received_ns, request->started_ns ? request->started_ns : over);
    usage->prefill_ms = stream_ms(request->started_ns, request->first_ns ? request->first_ns : over);
    usage->decode_ms = stream_ms(request->first_ns, over);
}

void stream_put_usage(struct request *request, Qwp__Finish finish)
{
    const Qwe__Ready *ready = request->broker->supervise.ready;
    const struct stream *s = &request->stream;
    Qwp__Usage usage = QWP__USAGE__INIT;

    usage.has_prompt_tokens = usage.has_cached_tokens = usage.has_reasoning_tokens = usage.has_answer_tokens =
        1;
    usage.has_finish = usage.has_replays = usage.has_seed = usage.has_request_id = 1;
    usage.prompt_tokens = request->prompt_tokens;
    usage.cached_tokens = request->cached_tokens;
    usage.reasoning_tokens = s->reasoning_tokens;
    usage.answer_tokens = s->answer_tokens;
    usage.finish = finish;
    usage.stop = s->stop;
    usage.replays = request->n_replays;
    usage.seed = request->seed;
    usage.request_id = (ProtobufCBinaryData){.data = request->id, .len = sizeof(request->id)};
    if (ready) {
        usage.backend = ready->backend;
        usage.n_warnings = ready->n_warnings;
        usage.warnings = ready->warnings;
    }
    stream_fill_times(request, &usage);
    client_put(request->client, request->stream_id, MSG_USAGE, FRAME_END_STREAM, &usage.base);
}
