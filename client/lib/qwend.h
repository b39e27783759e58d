/* qwend.h - libqwend: the C interface of qwend, a language model as a service of the operating system.
 *
 * One `qwend` is one connection; any one thread at a time may use it.  No globals, no threads, no signals, no output.
 * Functions return 0 or a negative errno unless they say otherwise; qwend_error() then has one line for people.
 * A refusal by the daemon is not an errno: it arrives as a QWEND_EV_ERROR event, or as QWEND_REFUSED from a blocking call.
 *
 *     qwend *q;
 *     char *text;
 *     if (qwend_open(&q, NULL, 0) == 0 && qwend_ask(q, "Why is the sky blue?", &text, NULL) == 0)
 *         puts(text);
 */
#ifndef QWEND_H
#define QWEND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

typedef struct qwend qwend;
typedef struct qwend_req qwend_req;
typedef struct qwend_stream qwend_stream;

#define QWEND_REFUSED 1 /* the daemon said no: qwend_error_code() and qwend_error() say why */

/* connection */
enum {
    QWEND_NONBLOCK = 1 << 0,    /* nothing ever waits; drive it with qwend_fd() and qwend_dispatch() */
    QWEND_RESUME = 1 << 1       /* with it: streams outlive their connection there too, see qwend_dispatch() */
};
/* socket NULL: $QWEND_SOCKET, else /run/qwend/qwend.sock, else $XDG_RUNTIME_DIR/qwend/qwend.sock. */
int qwend_open(qwend **ret, const char *socket, unsigned flags);
int qwend_open_as(qwend **ret, const char *socket, unsigned flags, const char *client_name); /* shown by `qwenctl ps` */
void qwend_close(qwend *q);                         /* NULL allowed; its streams are cancelled and freed */
const char *qwend_error(const qwend *q);            /* the last failure; q NULL: of the last qwend_open() of this thread */
int qwend_error_code(const qwend *q);               /* stable code of the daemon (status.h), 0 if it was not the daemon */
unsigned qwend_retry_after_ms(const qwend *q);
const char *qwend_socket_path(const qwend *q);
unsigned qwend_version(void);                       /* 0x00MMmmpp */
int qwend_set_timeout(qwend *q, int timeout_ms);    /* of each blocking call, which then gives -ETIMEDOUT; -1: none (default) */
const char *qwend_model_name(const qwend *q);       /* as the daemon said on opening, or since; NULL: not known yet; borrowed until the next call */
uint64_t qwend_prompt_max(const qwend *q);          /* bytes of one packed prompt; more is -EMSGSIZE */

/* request */
typedef enum { QWEND_SYSTEM = 1, QWEND_USER, QWEND_ASSISTANT, QWEND_TOOL } qwend_role;
typedef enum {
    QWEND_OPT_MAX_TOKENS = 1,   /* i; 0: the prompt is only read, so that the next one like it is soon answered */
    QWEND_OPT_THINKING,         /* i: 0 off, 1 on */
    QWEND_OPT_TEMPERATURE,      /* f */
    QWEND_OPT_TOP_K,            /* i */
    QWEND_OPT_TOP_P,            /* f */
    QWEND_OPT_MIN_P,            /* f */
    QWEND_OPT_REPEAT_PENALTY,   /* f */
    QWEND_OPT_PRESENCE_PENALTY, /* f */
    QWEND_OPT_FREQUENCY_PENALTY, /* f */
    QWEND_OPT_PENALTY_LAST_N,   /* i */
    QWEND_OPT_SEED,             /* i, as uint64_t */
    QWEND_OPT_STOP,             /* s, repeatable */
    QWEND_OPT_LOGPROBS,         /* i: alternatives per token */
    QWEND_OPT_PRIORITY,         /* i: 1 interactive, 2 normal, 3 batch */
    QWEND_OPT_RAW,              /* s: tokenised as it stands instead of a chat */
    QWEND_OPT_RAW_SPECIAL,      /* i: 1 all, 2 user-defined, 3 none (default) */
    QWEND_OPT_WANT_IDS,         /* i: events carry token ids */
    QWEND_OPT_IGNORE_EOS,       /* i */
    QWEND_OPT_CREDIT_BYTES,     /* i: window of unread text before the model waits for the reader */
    QWEND_OPT_NO_CACHE,         /* i: 1: neither look into the prefix cache nor leave anything in it */
    QWEND_OPT_TTFT_DEADLINE_MS, /* i: refused if its first token is not expected by then, an error if it did not come */
    QWEND_OPT_DEADLINE_MS,      /* i: the same, and the answer ends then, with FINISH_DEADLINE */
    QWEND_OPT_ACCOUNT,          /* s: of a gateway: the user that it asks for, 1 to 64 printable ASCII characters */
    QWEND_OPT_DETACHABLE,       /* i: outlives its connection: see qwend_attach() */
    QWEND_OPT_FIM_ORDER,        /* i: 1 prefix first (default), 2 suffix first: typing then appends to the prompt */
    QWEND_OPT_FIM_REPO,         /* s: names that the files of a gap stand under, one line */
    QWEND_OPT_FIM_FILE          /* s */
} qwend_opt;
qwend_req *qwend_req_new(void);                     /* NULL: out of memory */
void qwend_req_free(qwend_req *req);
int qwend_req_message(qwend_req *req, qwend_role role, const char *text, size_t n);  /* copies; (size_t)-1: strlen */
int qwend_req_reasoning(qwend_req *req, const char *text, size_t n);                 /* of the assistant message just added */
int qwend_req_call(qwend_req *req, const char *name, const char *arguments, size_t n); /* a call in the assistant message just added; a JSON object */
int qwend_req_tool(qwend_req *req, const char *json, size_t n);                      /* one function description */
int qwend_req_ids(qwend_req *req, const uint32_t *ids, size_t n);
/* A text with a gap to be filled in, instead of a chat; and what is to be read before it, in order. */
int qwend_req_fim(qwend_req *req, const char *prefix, size_t n_prefix, const char *suffix, size_t n_suffix);
int qwend_req_fim_extra(qwend_req *req, const char *name, const char *text, size_t n);
int qwend_req_bias(qwend_req *req, uint32_t id, float bias);
int qwend_req_set_i(qwend_req *req, qwend_opt opt, int64_t value);                   /* -EINVAL: not an integer option, or out of range */
int qwend_req_set_f(qwend_req *req, qwend_opt opt, double value);
int qwend_req_set_s(qwend_req *req, qwend_opt opt, const char *text, size_t n);

/* events */
typedef enum {
    QWEND_EV_QUEUED = 1,        /* position, load_permille */
    QWEND_EV_STARTED,           /* prompt_tokens, cached_tokens */
    QWEND_EV_REASONING,         /* text, n */
    QWEND_EV_ANSWER,            /* text, n */
    QWEND_EV_TOOL_CALL,         /* text, n */
    QWEND_EV_RESTART,           /* the engine died; the stream will go on */
    QWEND_EV_RESUMED,           /* from_token */
    QWEND_EV_END,               /* usage; the stream is over */
    QWEND_EV_ERROR,             /* code, text; the stream is over */
    QWEND_EV_SAMPLE,            /* sample; of qwend_subscribe() only, whose END has no usage */
    QWEND_EV_PREEMPTED,         /* a batch request gave its slot to an interactive one; the stream will go on */
    QWEND_EV_REPLY,             /* text, n; or ids, n_ids; or status: of qwend_begin_*() and qwend_use() only; the stream is over */
    QWEND_EV_USE,               /* text; position; load_permille: of qwend_use() only */
    QWEND_EV_READ               /* prompt_tokens, from_token of them read by now: about once a second while a long prompt is */
} qwend_event_type;
typedef enum { QWEND_FINISH_STOP = 1, QWEND_FINISH_LENGTH, QWEND_FINISH_TOOL, QWEND_FINISH_CANCEL, QWEND_FINISH_DEADLINE } qwend_finish;
typedef struct {
    uint32_t prompt_tokens, cached_tokens, reasoning_tokens, answer_tokens, replays;
    double queue_ms, prefill_ms, decode_ms;
    qwend_finish finish;
    uint64_t seed;
    const char *stop;           /* the stop string that ended it, or NULL */
    const char *backend;
    const char *const *warnings;
    size_t n_warnings;
    uint32_t preemptions;       /* slots given to interactive requests */
} qwend_usage;
typedef struct qwend_sample qwend_sample;
typedef struct { uint32_t id; float logprob; const char *text; size_t n; } qwend_alternative;
typedef struct {
    qwend_alternative token;
    const qwend_alternative *top;
    size_t n_top;
} qwend_logprob;
typedef struct {
    qwend_event_type type;
    const char *text;           /* borrowed until the next call on this connection; NUL-terminated as well */
    size_t n;
    const uint32_t *ids;        /* with WANT_IDS */
    size_t n_ids;
    const qwend_logprob *logprobs;
    size_t n_logprobs;
    uint32_t position, load_permille, prompt_tokens, cached_tokens, from_token;
    int loading;
    int code;                   /* ERROR: stable code */
    uint32_t retry_after_ms;
    const char *const *details; /* ERROR: key, value, key, value …, [2 n_details] */
    size_t n_details;
    const qwend_usage *usage;   /* END */
    const char *request_id;     /* 32 hex digits, once known */
    const qwend_sample *sample; /* SAMPLE */
    const struct qwend_status_info *status; /* REPLY of qwend_begin_status() */
} qwend_event;
typedef int (*qwend_cb)(qwend_stream *stream, const qwend_event *event, void *user); /* nonzero: cancel */

/* running */
int qwend_ask(qwend *q, const char *prompt, char **ret_text, size_t *ret_n);   /* blocking; *ret_text is freed by the caller; ret_n may be NULL */
int qwend_run(qwend *q, const qwend_req *req, qwend_cb cb, void *user);        /* blocking; 0 after END, QWEND_REFUSED after ERROR */
int qwend_generate(qwend *q, const qwend_req *req, qwend_cb cb, void *user, qwend_stream **ret); /* sends and returns; cb NULL: use qwend_next() */
int qwend_next(qwend_stream *stream, qwend_event *ret);  /* 1: an event; 0: the stream is over; -EAGAIN with QWEND_NONBLOCK */
int qwend_cancel(qwend_stream *stream);                  /* END with FINISH_CANCEL follows */
void qwend_stream_free(qwend_stream *stream);            /* cancels if it still runs; NULL allowed */
const char *qwend_stream_id(const qwend_stream *stream); /* 32 hex digits */
/* A detachable request goes on when its connection is gone, and waits some time (30 s by default) for whoever attaches.
 * A blocking qwend_next() does so by itself, also if the daemon is being started again meanwhile, and the caller notices
 * nothing (RESTART and RESUMED at most); after such a start it does so with any request.  qwend_attach() goes on with a
 * request of another process, from its beginning: same user, same events.  In an event loop QWEND_RESUME does the same. */
int qwend_attach(qwend *q, const char *request_id, qwend_cb cb, void *user, qwend_stream **ret);
void qwend_stream_detach(qwend_stream *stream);          /* as qwend_stream_free(), without cancelling: close q next */

/* event loop: one fd; watch it for events, wait at most timeout_ms, then dispatch.  client/lib/glue has this for sd-event,
 * libevent and GLib.  With QWEND_RESUME a connection that breaks under a stream that can go on is made again: the fd is then
 * another one after a dispatch, or -1 until the next try, when qwend_timeout_ms() says; until then new requests are -EAGAIN. */
int qwend_fd(const qwend *q);
short qwend_events(const qwend *q);                      /* POLLIN, POLLOUT wanted now */
int qwend_timeout_ms(const qwend *q);                    /* -1: none */
int qwend_dispatch(qwend *q, short revents);             /* reads, writes, calls back; -EPIPE: the connection is gone */
/* Of a stream with a callback: paused it is not called and grants no credit, so that the model waits for a slow reader.
 * What has arrived meanwhile is called back before qwend_stream_pause(stream, 0) returns. */
void qwend_stream_pause(qwend_stream *stream, int paused);

/* text */
size_t qwend_utf8_valid(const char *text, size_t n);     /* bytes of the valid head, n if all is; NUL is not valid in a prompt */
enum { QWEND_SPECIAL_ALL = 1, QWEND_SPECIAL_USER, QWEND_SPECIAL_NONE };
int qwend_tokenize(qwend *q, const char *text, size_t n, int special, uint32_t **ret_ids, size_t *ret_n); /* blocking; caller frees */
int qwend_detokenize(qwend *q, const uint32_t *ids, size_t n, char **ret_text, size_t *ret_n);
int qwend_render(qwend *q, const qwend_req *req, char **ret_text, size_t *ret_n);

/* The same, and qwend_status(), without waiting, also with QWEND_NONBLOCK: a REPLY or an ERROR event follows. */
int qwend_begin_tokenize(qwend *q, const char *text, size_t n, int special, qwend_cb cb, void *user, qwend_stream **ret);
int qwend_begin_detokenize(qwend *q, const uint32_t *ids, size_t n, qwend_cb cb, void *user, qwend_stream **ret);
int qwend_begin_render(qwend *q, const qwend_req *req, qwend_cb cb, void *user, qwend_stream **ret);
int qwend_begin_status(qwend *q, qwend_cb cb, void *user, qwend_stream **ret);

/* How likely the model finds a given continuation of the request's prompt.  Of the request's options thinking, priority and
 * account count.  Blocking; ids and logprobs are borrowed until the next call. */
typedef struct {
    const uint32_t *ids;
    const float *logprobs;      /* natural log of each token's probability after what stands before it */
    size_t n;
    double sum;                 /* of logprobs */
    uint32_t prompt_tokens, cached_tokens;
} qwend_scores;
int qwend_score(qwend *q, const qwend_req *req, const char *text, size_t n, qwend_scores *ret); /* n (size_t)-1: strlen */
int qwend_score_ids(qwend *q, const qwend_req *req, const uint32_t *ids, size_t n, qwend_scores *ret);

/* service */
typedef struct {                                         /* a beginning of prompts that was read for everybody */
    const char *name, *text;                             /* text: why it was refused */
    int state;                                           /* 1 waiting 2 ready 3 refused */
    uint32_t tokens;
} qwend_public;
typedef struct qwend_status_info {
    int state;                  /* 1 starting 2 loading 3 serving 4 degraded 5 draining 6 failed */
    const char *state_name, *server, *model, *file, *quantisation, *backend, *isa, *kv_type, *numerics_id, *note;
    uint32_t pid, engine_pid, context, context_trained, slots, threads, running, queued, connections, engine_restarts, load_permille;
    uint64_t file_bytes, n_params, weights_bytes, state_bytes, prompt_tokens, output_tokens, requests;
    double uptime_s;
    int weights_locked;
    uint64_t cache_bytes, cache_used_bytes, cached_tokens; /* of the prefix cache; cached_tokens: of prompt_tokens */
    uint32_t cache_pages, cache_checkpoints;             /* how many it has room for */
    uint64_t cache_dir_bytes, cache_dir_used_bytes;      /* of its files; 0: it has none */
    uint64_t preemptions;                                /* slots that batch requests gave to interactive ones */
    const qwend_public *publics;                         /* [n_publics] */
    size_t n_publics;
    uint64_t weights_host_bytes;                         /* of weights_bytes, what a GPU reads in main memory */
} qwend_status_info;
int qwend_status(qwend *q, qwend_status_info *ret);      /* blocking; strings are borrowed until the next call */
typedef struct {                                         /* strings: "" for none; borrowed likewise */
    const char *path;                                    /* of the model that is served */
    const char *next_path, *next_stage;                  /* of the one that qwend_use() is to make of it, and how far that is */
    uint32_t next_left, next_permille;                   /* as in USE events */
} qwend_served;
int qwend_status_served(qwend *q, qwend_served *ret);    /* of the status just asked for; -EINVAL: none was */
typedef struct {
    const char *request_id, *client, *state;             /* queued, prefill, decode, paused, replaying */
    uint32_t uid, pid, position, prompt_tokens, output_tokens, replays;
    int priority;
    double age_s;
    uint32_t cached_tokens;                              /* of the prompt's */
    double tokens_s;                                     /* written in the last 4 s */
} qwend_request_info;
int qwend_requests(qwend *q, const qwend_request_info **ret, size_t *ret_n);
typedef enum { QWEND_ADMIN_RELOAD = 1, QWEND_ADMIN_DRAIN, QWEND_ADMIN_RESUME, QWEND_ADMIN_UPGRADE } qwend_admin_verb;
int qwend_admin(qwend *q, qwend_admin_verb verb, const char **ret_text); /* *ret_text: what came of it; borrowed until the next call */
/* Another model instead of the one that is served, for administrators; path: of a GGUF file, from the root, as the daemon's
 * user sees it.  USE events while it goes on (text "checking", "draining" with position requests of the old model left,
 * "loading", or "returning" to the old one, with load_permille), then REPLY with one line of text, or ERROR.
 * qwend_cancel() calls it off while the old model is there; qwend_stream_detach() leaves it to itself. */
int qwend_use(qwend *q, const char *path, qwend_cb cb, void *user, qwend_stream **ret);
int qwend_use_cancel(qwend *q);                          /* whoever began it; blocking */
int qwend_cancel_request(qwend *q, const char *request_id, uint32_t *ret_n); /* request_id NULL: all of this uid's */

/* How the service does, now and then every interval_ms (100 to 60000; 0: 500), as SAMPLE events of a stream that
 * qwend_next(), qwend_cancel() and qwend_stream_free() take.  A sample not taken is replaced by the next. */
struct qwend_sample {
    uint64_t seq;               /* 0, 1, 2 …; what is missing was dropped */
    int state;
    const char *state_name;
    uint32_t slots, running, queued, connections, engine_restarts;
    uint64_t n_requests, prompt_tokens, cached_tokens, output_tokens, replays, stalls; /* since start */
    double uptime_s, read_s, written_s;                  /* tokens a second: read and not cached, written */
    uint64_t held_bytes, held_limit_bytes, weights_bytes, state_bytes, cache_bytes, cache_used_bytes;
    const qwend_request_info *list;                      /* of this uid, all for an administrator; oldest first */
    size_t n_list;
    uint32_t unlisted;                                   /* those for which the list had no room */
};
int qwend_subscribe(qwend *q, unsigned interval_ms, qwend_cb cb, void *user, qwend_stream **ret);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
