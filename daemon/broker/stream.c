/* stream.c - Deltas, credit and pausing.  See stream.h. */
#include "stream.h"

#include <string.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/loop.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "proto/wire.h"
#include "request.h"

static void stream_on_slow(int fd, short what, void *arg)
{
    struct request *request = arg;
    struct fault fault;

    if (!request->client) {
        request_on_linger_end(request);
        return;
    }
    fault_set(&fault, STATUS_SLOW_CONSUMER, "the request waited %u s for its reader: %s",
              request->broker->options->slow_s,
              request->out.credit ? "the connection's output was full" : "there was no credit");
    request_fail(request, &fault);
}

int stream_init(struct request *request, uint64_t credit)
{
    request->out =
        (struct stream){.credit = credit, .held = BUF_INIT(STREAM_HELD_BYTES), .history = HISTORY_INIT};
    return loop_event_new(request->broker->base, -1, 0, stream_on_slow, request, &request->out.slow);
}

void stream_deinit(struct request *request)
{
    loop_event_free(&request->out.slow);
    stream_end_past(request);
    buf_deinit(&request->out.held);
    quota_release(&request->out.charge);
    history_deinit(&request->out.history);
}

/* A Delta's end is where it was, or else its piece's: credit is no matter of the past. */
static size_t stream_cut_again(struct stream *out, size_t n)
{
    struct stream_past *past = out->past;

    if (past->next == past->n_cuts || past->cuts[past->next].seq != out->seq)
        return n;
    past->next++;
    return MIN((size_t)past->cuts[past->next - 1].n_text, n);
}

/* How much of n bytes of UTF-8 may go for the credit there is, ending between characters. */
static size_t stream_cut(const uint8_t *text, size_t n, uint64_t credit)
{
    if (n <= credit)
        return n;
    n = (size_t)credit;
    while (n && (text[n] & 0xc0) == 0x80)
        n--;
    return n;
}

/* Without a reader it only goes into the history, whole; with one, the history may lose its oldest for it. */
static int stream_put_delta(struct request *request, const Qwp__Delta *delta)
{
    const struct stream_past *past = request->out.past;
    const bool reader = past ? past->reader : !!request->client;

    if (request->client && client_offer(request->client, request->stream, MSG_DELTA, 0, &delta->base))
        return CLIENT_E_FULL;
    if (!request_is_detachable(request))
        return CLIENT_OK;
    return history_put(&request->out.history, &request->broker->quota, request->account->key, delta, !reader)
               ? CLIENT_E_FULL
               : CLIENT_OK;
}

/* One Delta: n bytes of text at most, and with it what else the Emit has to say. */
static int stream_put(struct request *request, const Qwe__Emit *emit, const uint8_t *text, size_t n)
{
    struct stream *out = &request->out;
    Qwp__Delta delta = QWP__DELTA__INIT;

    delta.has_seq = true;
    delta.seq = out->seq;
    delta.has_channel = out->channel != 0; /* a token that only begins a character comes before any text */
    delta.channel = out->channel;
    delta.has_text = true;
    delta.text = (ProtobufCBinaryData){.len = n, .data = (uint8_t *)text};
    if (!out->meta_sent && request->want_ids) {
        delta.n_ids = emit->n_ids;
        delta.ids = emit->ids;
    }
    if (!out->meta_sent) {
        delta.n_logprobs = emit->n_logprobs;
        delta.logprobs = emit->logprobs;
    }
    if (stream_put_delta(request, &delta))
        return CLIENT_E_FULL;
    out->seq++;
    out->credit -= out->past ? 0 : n;
    out->meta_sent = true;
    return CLIENT_OK;
}

/* Sends what is left of an Emit.  False: it stopped on the way. */
static bool stream_deliver(struct request *request, const Qwe__Emit *emit)
{
    struct stream *out = &request->out;

    while (out->piece < emit->n_pieces) {
        const Qwe__Piece *piece = emit->pieces[out->piece];
        const uint8_t *text = piece->text.data + out->offset;
        const size_t left = piece->text.len - out->offset;
        const size_t n = out->past ? stream_cut_again(out, left) : stream_cut(text, left, out->credit);

        if (left && !n)
            return false;
        if (piece->has_channel)
            out->channel = piece->channel;
        if (left && stream_put(request, emit, text, n))
            return false;
        if (n < left && !out->past)
            request_journal_cut(request, out->seq - 1, n);
        out->offset += n;
        if (n == left) {
            out->piece++;
            out->offset = 0;
        }
    }
    if (!out->meta_sent && ((request->want_ids && emit->n_ids) || emit->n_logprobs) &&
        stream_put(request, emit, NULL, 0))
        return false;
    out->piece = 0;
    out->meta_sent = false;
    return true;
}

static void stream_arm(struct request *request)
{
    if (request->orphan)
        return; /* its clock runs since the start */
    if (request->client)
        loop_arm_ms(request->out.slow, request->broker->options->slow_s * 1000ull);
    else
        request_linger(request);
}

static void stream_block(struct request *request)
{
    if (request->out.blocked)
        return;
    request->out.blocked = true;
    request->last_ns = 0; /* the gap that follows is its reader's doing */
    request_metrics(request)->stalls++;
    request_pause(request, true);
    stream_arm(request);
}

static void stream_unblock(struct request *request)
{
    if (!request->out.blocked)
        return;
    request->out.blocked = false;
    if (!request->orphan)
        loop_unwatch(request->out.slow);
    request_pause(request, false);
}

/* Charges what is held as buf.c grows: by doubling. */
static int stream_charge(struct request *request, size_t n_more)
{
    struct stream *out = &request->out;
    uint64_t cap = 4096;

    while (cap < buf_size(&out->held) + n_more)
        cap *= 2;
    if (out->charge.user)
        return cap > out->charge.amount ? quota_resize(&out->charge, cap) : QUOTA_OK;
    if (cap <= STREAM_FREE_BYTES)
        return QUOTA_OK;
    return quota_charge(&request->broker->quota, request->account->key, QUOTA_BYTES, cap, &out->charge);
}

static int stream_hold(struct request *request, const uint8_t *raw, size_t n_raw)
{
    struct stream *out = &request->out;
    const uint32_t n = (uint32_t)n_raw;
    uint8_t *tail;
    int r = stream_charge(request, sizeof(n) + n_raw);

    if (!r)
        r = buf_reserve(&out->held, sizeof(n) + n_raw, &tail);
    if (r)
        return r;
    memcpy(tail, &n, sizeof(n));
    memcpy(tail + sizeof(n), raw, n_raw);
    buf_commit(&out->held, sizeof(n) + n_raw);
    return 0;
}

bool stream_push(struct request *request, const Qwe__Emit *emit, const uint8_t *raw, size_t n_raw)
{
    struct fault fault;

    if (stream_is_delivered(&request->out) && stream_deliver(request, emit))
        return true;
    stream_block(request);
    if (!stream_hold(request, raw, n_raw))
        return true;
    fault_set(&fault, STATUS_SLOW_CONSUMER, "no room to keep what the reader does not take");
    request_fail(request, &fault);
    return false;
}

/* The oldest Emit that is held: true if it was sent whole and is gone. */
static bool stream_deliver_held(struct request *request)
{
    struct buf *held = &request->out.held;
    ProtobufCMessage *emit = NULL;
    uint32_t n;
    bool done;

    memcpy(&n, buf_head(held), sizeof(n));
    /* Checked when it came, so only memory can be short now: then it is tried again at the next occasion. */
    if (wire_unpack(&qwe__emit__descriptor, buf_head(held) + sizeof(n), n, NULL, &emit))
        return false;
    done = stream_deliver(request, (Qwe__Emit *)emit);
    wire_free(emit);
    if (done)
        buf_consume(held, sizeof(n) + n);
    return done;
}

/* What the reader has missed.  False: it stopped on the way. */
static bool stream_deliver_history(struct request *request)
{
    struct stream *out = &request->out;
    Qwp__Delta *delta;
    bool done;

    while (request->client && !history_is_sent(&out->history)) {
        if (history_peek(&out->history, &delta))
            return false; /* no memory: at the next occasion */
        done = delta->text.len <= out->credit &&
               !client_offer(request->client, request->stream, MSG_DELTA, 0, &delta->base);
        if (done) {
            out->credit -= delta->text.len;
            history_advance(&out->history);
        }
        wire_free(&delta->base);
        if (!done)
            return false;
    }
    return true;
}

void stream_resume(struct request *request)
{
    struct stream *out = &request->out;

    if (!out->blocked || !stream_deliver_history(request))
        return;
    while (buf_size(&out->held))
        if (!stream_deliver_held(request))
            return;
    buf_deinit(&out->held);
    quota_release(&out->charge);
    stream_unblock(request);
    request_finish_if_done(request);
}

void stream_on_credit(struct request *request, const Qwp__Credit *credit)
{
    struct fault fault;

    if (policy_check_credit(request->out.credit, credit, &fault)) {
        request_fail(request, &fault);
        return;
    }
    request->out.credit += credit->bytes;
    stream_resume(request);
}

int stream_begin_past(struct request *request)
{
    struct stream_past *past = calloc(1, sizeof(*past));

    if (!past)
        return err_origin(-ENOMEM);
    past->reader = true;
    request->out.past = past;
    request->out.history.buf.max = HISTORY_RESTORED_BYTES_MAX;
    return 0;
}

/* Grows at powers of two. */
int stream_note_cut(struct request *request, uint64_t seq, uint32_t n_text)
{
    struct stream_past *past = request->out.past;
    struct stream_cut *cuts = past->cuts;

    if (!(past->n_cuts & (past->n_cuts - 1))) {
        cuts = realloc(cuts, MAX(2 * past->n_cuts, (size_t)1) * sizeof(*cuts));
        if (!cuts)
            return err_origin(-ENOMEM);
        past->cuts = cuts;
    }
    cuts[past->n_cuts++] = (struct stream_cut){.seq = seq, .n_text = n_text};
    return 0;
}

void stream_end_past(struct request *request)
{
    if (request->out.past)
        free(request->out.past->cuts);
    freep(&request->out.past);
}

void stream_on_detach(struct request *request)
{
    struct stream *out = &request->out;

    request_journal_reader(request, false);
    out->history.sent = buf_size(&out->history.buf); /* by the next reader's own count */
    if (out->blocked || request->state == REQUEST_DONE)
        stream_arm(request);
    stream_resume(request); /* the connection may have been what was full */
}

bool stream_seek(struct request *request, uint64_t seq)
{
    return history_seek(&request->out.history, seq, request->out.seq);
}

void stream_on_attach(struct request *request, uint64_t credit)
{
    struct stream *out = &request->out;

    request_journal_reader(request, true);
    loop_unwatch(out->slow);
    out->credit = credit;
    if (out->blocked)
        stream_arm(request);
    else if (!stream_deliver_history(request))
        stream_block(request);
    if (out->blocked)
        stream_resume(request);
    else
        request_finish_if_done(request);
}

void stream_drop_held(struct request *request)
{
    struct stream *out = &request->out;

    buf_deinit(&out->held);
    quota_release(&out->charge);
    out->piece = out->offset = 0;
    stream_unblock(request);
}
