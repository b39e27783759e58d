/* stream.h - what the client of a request gets to see: Deltas as its credit and its socket allow, then Usage.
 *
 * What cannot be sent yet is kept as the engine said it; the engine is told to pause, so no more than what
 * was under way comes after it.  A reader that lets a request wait longer than slow_s loses it. */
#pragma once

#include "daemon/util/list.h"
#include "engine.pb-c.h"

struct request;
struct event;

enum { STREAM_WAITING_MAX = 1024 }; /* Emits kept; an engine that does not heed Pause is no reason to grow */

struct stream_item { /* one Emit that is not sent to its end */
    struct list node;
    Qwe__Emit *emit; /* owned */
    size_t i_piece, offset;
    bool ids_sent;
};

struct stream {
    struct list waiting; /* struct stream_item */
    unsigned n_waiting;
    uint64_t seq, credit;
    bool paused, want_ids, want_logprobs;
    struct event *slow;
    Qwp__Finish finish; /* 0: not yet */
    char *stop;         /* owned */
    uint32_t reasoning_tokens, answer_tokens;
};

void stream_init(struct request *request);
void stream_deinit(struct stream *stream);
void stream_push(struct request *request, Qwe__Emit *emit); /* takes emit; may free the request */
void stream_add_credit(struct request *request, uint32_t bytes);
void stream_resume(struct request *request); /* there is room again; may free the request */
void stream_put_accepted(struct request *request, uint32_t position);
void stream_put_event(struct request *request, Qwp__Event__Kind kind);
void stream_put_usage(struct request *request, Qwp__Finish finish); /* the last word */
