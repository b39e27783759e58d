/* stream.h - the way of a request's output: from the engine's Emit to Deltas that the client has credit and
 * room for.
 *
 * What cannot be sent yet is kept as the engine sent it, in order, and the request is paused in the engine;
 * so at most what was under way is kept (STREAM_HELD_BYTES).  Credit is exact: a text is cut between
 * characters where it ends. */
#pragma once

#include "engine.pb-c.h"
#include "history.h"
#include "proto/buf.h"
#include "quota.h"

struct event;
struct request;

enum {
    /* What can come after a pause was decided: a socket buffer full (208 KiB by default), what was read with
     * it, and the step that the engine is in. */
    STREAM_HELD_BYTES = 1 << 20,
    /* Of it, what comes with the request and is not charged to its uid: a user whose share is used up must
     * still be able to pause for a moment.  Some hundred tokens; a pause reaches the engine much sooner. */
    STREAM_FREE_BYTES = 16 << 10,
};

/* While Deltas are made again that another broker made: where some of them ended, and whether somebody read.
 */
struct stream_cut {
    uint64_t seq;
    uint32_t n_text;
};
struct stream_past {
    struct stream_cut *cuts; /* owned; by seq */
    size_t n_cuts, next;
    bool reader;
};

struct stream {
    uint64_t credit, seq;
    struct buf held;            /* u32 length and Emit body, each */
    struct quota_charge charge; /* of held, beyond STREAM_FREE_BYTES */
    size_t piece, offset;       /* how much of the oldest Emit was sent */
    bool meta_sent;             /* its ids and logprobs were */
    bool blocked;               /* paused in the engine, and the clock of slow_s or linger_s runs */
    Qwp__Channel channel;       /* of the last text; 0: there was none */
    struct history history;     /* of a detachable request */
    struct stream_past *past;   /* owned; NULL: this is the present */
    struct event *slow;         /* it has waited long enough for its reader, or for one to come */
};

int stream_init(struct request *request, uint64_t credit);
void stream_deinit(struct request *request);
/* An Emit, unpacked and as it came.  The request may have ended and been freed when it returns false. */
bool stream_push(struct request *request, const Qwe__Emit *emit, const uint8_t *raw, size_t n_raw);
void stream_resume(struct request *request); /* credit or room may have come; the request may be freed */
void stream_on_credit(struct request *request, const Qwp__Credit *credit);
static inline bool stream_is_delivered(const struct stream *stream)
{
    return !buf_size(&stream->held) && history_is_sent(&stream->history);
}

/* What stream_push() is given in between was there before, and its Deltas end where they did; what they are
 * cut at is noted first.  -ENOMEM. */
int stream_begin_past(struct request *request);
int stream_note_cut(struct request *request, uint64_t seq, uint32_t n_text);
void stream_end_past(struct request *request);
void stream_on_detach(struct request *request); /* its reader is gone */
/* The next reader has all Deltas before seq.  False: the ones from there on are not kept. */
bool stream_seek(struct request *request, uint64_t seq);
void stream_on_attach(struct request *request, uint64_t credit); /* there it is; the request may be freed */
void stream_drop_held(struct request *request); /* what was not made into Deltas yet is not wanted any more */
