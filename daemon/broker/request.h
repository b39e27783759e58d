/* request.h - one generation, from Generate to Usage.
 *
 * It keeps what is needed to run it again from the start after an engine died: the request as it came, its
 * seed and the token ids that were emitted.  These ids are forced on replay, so what a client was sent can
 * neither change nor come twice (the replay log, daemon.md's promise L1). */
#pragma once

#include "engine.pb-c.h"
#include "meter.h"
#include "policy.h"
#include "preempt.h"
#include "queue.h"
#include "quota.h"
#include "request_journal.h"
#include "stream.h"

struct broker;
struct client;
struct client_stream;
struct refusal;

enum request_state {
    REQUEST_RECEIVING, /* its prompt is still arriving */
    REQUEST_QUEUED,
    REQUEST_PREFILL,   /* submitted */
    REQUEST_DECODE,    /* the first token came */
    REQUEST_REPLAYING, /* its engine died; to be submitted again */
    REQUEST_PREEMPTED, /* somebody else got its slot; it waits in the queue as if it were new, or is parked */
    REQUEST_DONE,      /* the engine is through with it; its reader is not */
};

struct request {
    struct list node;        /* of the broker's requests */
    struct list handle_node; /* of those in its bucket */
    struct broker *broker;   /* borrowed */
    struct client *client;   /* borrowed; outlives it, or is replaced by NULL: detached */
    struct account *account; /* held: who pays */
    uid_t uid;
    struct queue_item item;
    enum request_state state;
    uint32_t stream, handle;
    uint8_t id[POLICY_ID_BYTES];
    /* what was asked */
    uint8_t *head; /* owned; a packed Submit without body, forced and paused */
    size_t n_head;
    struct buf body; /* the prompt, unread; or */
    int memfd;       /* owned; -1: none */
    uint64_t n_body; /* bytes of the prompt, wherever it is; known when it is complete */
    Qwp__Priority priority;
    uint32_t max_tokens;      /* 0: none given, or warms */
    bool warms;               /* is only read, for the cache */
    uint32_t context, output; /* what its class lets it use; 0: no cap */
    uint32_t weight, max_running;
    uint64_t seed;
    bool want_ids, detachable, is_score; /* is_score: answered once, see request_score.c */
    bool orphan; /* not detachable, but the broker was started again: it waits for its client once */
    struct request_journal journal;
    /* the replay log */
    uint32_t *ids; /* owned, [n_ids] */
    size_t n_ids, cap_ids;
    float *logprobs; /* owned, [n_ids], of a Score */
    struct quota_charge request_charge, body_charge, log_charge, score_charge;
    /* how far it is */
    struct stream out;
    uint32_t prompt_tokens, cached_tokens, n_reasoning, n_answer;
    bool has_started;     /* the first two are known */
    uint32_t read_tokens; /* of the prompt's, as the engine that has it said last */
    Qwp__Finish finish;   /* once REQUEST_DONE */
    char *stop;           /* owned; the stop string that ended it, or NULL */
    uint8_t *error;       /* owned; a packed Error that ended it while it was detached, or NULL */
    size_t n_error;
    uint32_t replays, idle_deaths; /* deaths lived through; since the last new token */
    struct preempt preempt;
    uint32_t ttft_deadline_ms, deadline_ms; /* from received_ns; 0: none */
    struct event *deadline;                 /* NULL without a deadline */
    bool restart_told, preempt_told;        /* it hears RESUMED */
    bool suspect;                           /* an engine died while it was at work (quarantine.h) */
    bool held;                              /* paused until the other suspects are through */
    uint32_t crashes;                       /* times it was a suspect */
    size_t suspected_ids, probation;        /* how many ids there were; are needed to be clear */
    uint32_t idle_crashes; /* times in a row that it was a suspect without a new id in between */
    uint32_t told_position, told_permille;
    uint64_t told_ns; /* 0: no Accepted was sent */
    bool ended;       /* and counted: it may be attached to and end again */
    uint64_t received_ns, submitted_ns, first_ns, done_ns;
    struct meter written;
    uint64_t last_ns; /* of the last token; 0: none, or its reader stalled since */
};

enum { REQUEST_DEATHS_MAX = 3, REQUEST_TELL_MS = 500 };
/* What a request is charged that is cancelled, or parked: as some work that it makes. */
enum { REQUEST_BOTHER_TOK = 64 };

/* From a Generate on a stream just opened: refused on that stream, or made.  Takes *memfd if it uses it. */
void request_open(struct client *client, struct client_stream *stream, const Qwp__Generate *generate,
                  uint16_t flags, int *memfd, bool is_score);
struct metrics_class *request_metrics(const struct request *request); /* where it counts */
bool request_is_receiving(const struct request *request);
static inline bool request_is_detachable(const struct request *request)
{
    return request->detachable || request->orphan;
}
void request_on_body(struct request *request, const uint8_t *data, size_t n, bool more);

/* its class (request_policy.c) */
/* Whether its class lets it in, and as what: 0, a status code, < 0. */
int request_take_class(struct request *request, const Qwp__Generate *generate, struct refusal *refusal);
int request_check_queue(const struct request *request,
                        struct refusal *refusal); /* now that its prompt is there */
void request_fill_terms(const struct request *request, Qwe__Terms *terms);
void request_charge_tokens(struct request *request, uint64_t n_tokens); /* read or written */

/* Ends it with an Error, or without a word (request_free). */
void request_fail(struct request *request, const struct fault *fault);
void request_fail_limit(struct request *request, const struct refusal *refusal); /* with its numbers */
void request_fail_with(struct request *request, const Qwp__Error *error);
void request_free(struct request *request);
/* Ends it with Usage FINISH_CANCEL. */
void request_cancel(struct request *request);
void request_cancel_client(struct client *client); /* its connection is gone: all of them, without a word, but
                                                      for the detachable ones */
uint32_t request_cancel_id(struct client *by, const uint8_t *id, size_t n);
uint32_t request_cancel_uid(struct client *by);

/* Scores (request_score.c) */
void request_open_score(struct client *client, struct client_stream *stream, const Qwp__Score *score,
                        uint16_t flags, int *memfd);
int request_take_scores(struct request *request,
                        const Qwe__Emit *emit); /* its ids are in the log; it may be freed */
void request_cancel_score(struct request *request);

/* detached and attached (request_attach.c) */
void request_on_client_gone(struct request *request); /* it may be freed */
void request_attach(struct client *client, struct client_stream *stream, const Qwp__Attach *attach);
void request_linger(struct request *request); /* starts to wait for a reader */
void request_on_linger_end(struct request *request);
void request_finish(struct request *request); /* all was said: it is freed, or waits for whoever asks again */

/* the engine's side (request_engine.c) */
void request_leave_engine(struct request *request); /* engine and queue are through with it */
int request_submit(struct request *request);        /* LINK_E_FULL: later */
bool request_is_in_engine(const struct request *request);
bool request_is_at_work(const struct request *request); /* there, and not paused */
void request_pause(struct request *request, bool paused);
void request_preempt(struct request *request);
void request_park(struct request *request); /* until its reader reads */
int request_on_started(struct request *request, const Qwe__Started *started);
void request_on_read(struct request *request, uint32_t n_tok); /* so much of its prompt is read by now */
int request_on_emit(struct request *request, const Qwe__Emit *emit, const uint8_t *raw, size_t n_raw);
void request_on_refused(struct request *request, const Qwe__Refused *refused);
void request_error_from_refused(const Qwe__Refused *refused, Qwp__Error *error); /* borrows from refused */
void request_on_engine_lost(struct request *request);                            /* it may be freed */

/* another broker's (request_restore.c) */
void request_restore_all(struct broker *broker); /* what the journal has */
/* What is served, instead of all that brokers have said about themselves so far. */
void request_restore_note(struct broker *broker);
/* An Emit of before the start: 0; the status code that the request is to end with; < 0: it has ended. */
int request_restore_emit(struct request *request, const Qwe__Emit *emit, const uint8_t *raw, size_t n_raw,
                         struct fault *fault);
/* The engine serves: if it makes other tokens than those that were made, requests that have some end. */
void request_check_serving(struct broker *broker, const Qwe__Ready *ready);

/* deadlines (request_deadline.c) */
int request_restore_deadline(struct request *request); /* -ENOMEM */
/* Once it is in the queue: STATUS_DEADLINE_UNMEETABLE with the numbers, or the clock runs. */
int request_begin_deadline(struct request *request, struct refusal *refusal);

/* saying so (request_tell.c) */
bool request_tell_position(struct request *request,
                           uint64_t now_ns); /* true: something is left to say later */
void request_tell_accepted(struct request *request, uint32_t position);
void request_tell_event(struct request *request, Qwp__Event__Kind kind);
void request_finish_if_done(struct request *request); /* all was read: Usage, and it is freed */
void request_put_usage(struct request *request);
