/* job.h - one HTTP request that the model answers: its streams at the daemon, and how its dialect tells of
 * them.
 *
 * A dialect is a table of functions that write text; what is sent when is decided here, the same for all.  An
 * answer that is not streamed is gathered and written whole. */
#pragma once

#include "ask.h"
#include "calls.h"
#include "conn.h"
#include "link.h"
#include "upstream.h"

enum {
    JOB_ANSWER_BYTES = 4 << 20
}; /* of one choice, text and log-probabilities each: half a million tokens */

struct choice {
    struct call call;
    struct up_call up; /* runs instead of call while the job is remote */
    struct job *job;   /* borrowed: it holds this */
    int index;
    bool over;
    struct buf reasoning, answer, logprobs,
        ids;               /* gathered, if the answer is not streamed; these two: JSON, with commas */
    struct calls calls;    /* where the model may call tools */
    struct tool_use *uses; /* owned; what it called */
    size_t n_uses, n_use_bytes;
    qwend_finish finish;
    uint32_t reasoning_tokens, answer_tokens;
    double queue_ms, prefill_ms, decode_ms;
    char stop[ASK_STOP_BYTES + 1]; /* the string that ended it, "" */
    int block;                     /* the dialect's: which part of a message is open */
};

struct dialect;
struct job {
    struct task task;
    struct conn *conn;
    struct gateway *g;
    struct list node; /* of the ended */
    const struct dialect *dialect;
    struct owner *owner;
    bool stream, include_usage, logprobs, wants_ids, shows_ids, wants_progress, begun, spoke, over;
    int n, n_over;
    struct choice choices[ASK_CHOICES];
    uint32_t prompt_tokens, cached_tokens;
    uint64_t read_ns; /* when the first choice's prompt began to be read */
    int64_t created_s;
    char id[33];                 /* of the first choice's request at the daemon */
    struct event *ping, *enough; /* enough: text_ms after the first token */
    int64_t text_ms;
    bool had_enough;
    int64_t fits;  /* max_tokens, which may be cut to what there is room for; 0: it may not */
    bool fitted;   /* it was, to the room in the context */
    size_t n_body; /* as much req holds */
    int64_t seq;   /* the dialect's: events so far */
    const char *reasoning_field;
    json_t *tools; /* owned; as in struct ask; NULL: none may be called */
    bool one_call;
    json_t *fields; /* owned; the dialect's: these alone; NULL: all */
    /* where it is answered, see job_way.c */
    qwend_req *req; /* owned; NULL: it cannot come back */
    char *up_body;  /* owned; NULL: it cannot leave */
    size_t n_up_body;
    struct event *spill; /* it waits too long here */
    char *model;         /* owned; that the request named */
    uint64_t conversation;
    uint32_t tried; /* servers, as in struct up_place */
    int server;     /* that is asked, while remote */
    bool remote, was_local, has_said, has_seed;
    int64_t seed;
};

struct dialect {
    const char *stream_type; /* Content-Type */
    bool gathers;            /* its last words repeat all of a stream */
    void (*begin)(struct job *job, struct jout *j);
    /* text of a channel, or log-probabilities alone */
    void (*delta)(struct job *job, struct choice *choice, const qwend_event *event, struct jout *j);
    /* a long prompt is being read; NULL: it cannot say so */
    void (*progress)(struct job *job, const qwend_event *event, struct jout *j);
    /* the last of choice->uses; NULL: it knows none */
    void (*call)(struct job *job, struct choice *choice, struct jout *j);
    void (*end)(struct job *job, struct choice *choice, struct jout *j);
    void (*finish)(struct job *job, struct jout *j); /* after all choices */
    void (*whole)(struct job *job, struct jout *j);
    void (*ping)(struct job *job, struct jout *j); /* NULL: it knows none */
    void (*fail)(struct job *job, const struct refusal *refusal,
                 struct jout *j); /* in a stream that has begun */
};

/* job_way.c: the daemon, or an upstream.  0, or a status code with the refusal. */
int job_begin_way(struct job *job, struct refusal *refusal);
bool job_switch_way(struct job *job,
                    struct refusal *refusal); /* true: it goes on elsewhere; else refusal says why not */
void job_settle_way(struct job *job);         /* the other way is open no more */
bool job_fit(struct job *job, const qwend_event *error); /* true: asked again, for fewer tokens */
void job_pause_choice(struct choice *choice, bool paused);
void job_end_choice(struct choice *choice);
void job_fail(struct job *job, struct refusal *refusal);             /* or it goes on elsewhere */
void job_on_choice(struct choice *choice, const qwend_event *event); /* job.c */
void job_on_event(struct call *call, const qwend_event *event);
void job_on_up_event(struct up_call *call, const qwend_event *event);
void job_on_spill(int fd, short what, void *arg);

/* Answers the request; of ask what it needs is taken. */
void job_start(struct conn *conn, const struct dialect *dialect, struct ask *ask);
void job_free(struct job *job); /* only of what ended */
/* An id for a choice's i-th call: "HEAD...". */
void job_put_call_id(struct jout *j, const char *key, const char *head, const struct job *job,
                     const struct choice *choice, size_t i);
const char *job_model(const struct job *job);
void job_put_logprobs(const struct job *job, struct jout *j,
                      const qwend_event *event); /* OpenAI's objects, with commas */
void job_put_progress(const struct job *job, const qwend_event *event,
                      struct jout *j);                               /* "prompt_progress": llama.cpp's */
void job_put_ids(struct jout *j, const qwend_event *event);          /* with commas */
uint32_t job_tokens(const struct job *job, uint32_t *ret_reasoning); /* written by all choices */
