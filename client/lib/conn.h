/* conn.h - what a connection and its streams are inside libqwend; shared by the library's files, installed
 * nowhere.
 *
 * Incoming frames are copied into the queue of their stream and turned into events only when the caller takes
 * them, so what a slow caller leaves unread is bounded by the credit it granted (stream_queue_max), not by
 * the daemon's speed. A dead connection stays dead: `dead` holds the errno that every later call returns. */
#pragma once

#include "proto/base.h"
#include "proto/buf.h"
#include "proto/frame.h"
#include "proto/qwend.pb-c.h"
#include "proto/wire.h"
#include "qwend.h"

enum {
    CONN_READ_BYTES = 64 << 10, /* per recv(): one default credit window */
    CONN_OUT_BYTES = 18 << 20,  /* one 8 MiB prompt in MORE frames twice over, and small change */
    CONN_HELLO_MS = 10000, /* the daemon answers Hello in its first loop turn; later than this it hangs */
    CONN_CREDIT_BYTES = 64 << 10,    /* default window, as in qwend.proto */
    CONN_CREDIT_BYTES_MAX = 2 << 20, /* what a broker grants at most unless Welcome says otherwise */
    CONN_STREAMS = 64,               /* at a time on one connection, likewise */
    CONN_BODY_BYTES = 8 << 20,       /* of one prompt, likewise */
    CONN_CLIENT_BYTES = 64,          /* of the name shown by `qwenctl ps` */
    CONN_RETRY_MS = 20,              /* between tries to connect again, and twice as long each time */
    CONN_RETRY_MS_MAX = 1000,
    CONN_PATIENCE_MS = 30000, /* for a daemon that is being started again; a request waits no longer there */
};

/* The last failure: of a connection, or of the last qwend_open() of a thread. */
struct conn_error {
    int code; /* of the daemon, 0: it was not the daemon */
    uint32_t retry_after_ms;
    char text[500];
};

/* An fd that must leave with the byte at offset `at` of everything ever written to the connection. */
struct conn_pass {
    uint64_t at;
    int fd; /* owned until sent */
};

struct qwend {
    int fd;
    unsigned flags;
    char *path;
    char client_name[CONN_CLIENT_BYTES + 1];
    struct buf in, out;
    uint64_t n_out; /* bytes ever written to the socket */
    struct conn_pass pass[CONN_STREAMS];
    size_t n_pass;
    bool preface_seen;
    bool restarts; /* it said that it goes on with requests when it is started again */
    int dead;      /* 0, or the negative errno of every later call */
    bool resuming; /* from the loss of a connection to Welcome on the next; fd -1: between two tries */
    uint64_t resume_at_ns, resume_until_ns; /* the next try; the last one */
    int resume_pause_ms;
    int lost_fd; /* owned: of the connection that broke, open until the next one is, so that no number is used
                    again while an event loop may still know it; -1: none */
    Qwp__Welcome *welcome; /* NULL until it arrived */
    Qwp__Served *served;   /* NULL: what it says of the model still holds */
    uint64_t hello_deadline_ns;
    int timeout_ms; /* of one blocking call; -1: none */
    uint32_t frame_bytes, n_streams_max, credit_bytes_max;
    uint64_t body_bytes;
    uint32_t next_number;  /* of the next stream: odd, rising */
    qwend_stream *streams; /* owned list: every stream that was not freed */
    struct conn_error error;
    /* what the caller borrows until its next call */
    ProtobufCMessage *held;
    void *held_block;
    struct buf held_text;
    qwend_usage usage;
    qwend_sample sample;
    qwend_status_info status;
};

struct qwend_stream {
    qwend *q; /* borrowed, outlives the stream */
    qwend_stream *next;
    uint32_t number;
    struct buf queue; /* frames not yet taken */
    qwend_cb cb;      /* NULL: qwend_next() */
    void *user;
    char id[33];                    /* "" for a unary call */
    uint32_t window, consumed;      /* credit: granted at once, taken since the last grant */
    uint64_t next_seq, arrived_seq; /* of the next Delta to be taken; to arrive */
    bool detachable;
    /* Until the daemon has said a word about it, it may never have heard of it: then it is asked again. */
    uint8_t *ask_head,
        *ask_body; /* owned; a packed Generate without its prompt, and that; NULL: it has answered */
    size_t n_ask_head, n_ask_body;
    int channel;  /* of the last Delta that named one: ids and log-probabilities without text belong to it */
    bool watches; /* of qwend_subscribe(): only its newest frame is kept */
    uint16_t reply; /* of qwend_begin_*(): the type that answers; 0: it is a generation */
    bool paused;
    bool started; /* STARTED was delivered */
    bool over;    /* the daemon ended it; what is queued is all there will be */
    bool cancelled, in_cb, dying;
    bool cancel_due, dropped; /* cancelled, freed by its caller while there was no connection to say so on */
};

/* conn.c: bytes and frames */
uint64_t conn_now_ns(void);
int conn_fail(qwend *q, int r, const char *fmt, ...) _printf_(3, 4);  /* the connection is dead; returns r */
int conn_error(qwend *q, int r, const char *fmt, ...) _printf_(3, 4); /* only this call failed; returns r */
void conn_error_from(struct conn_error *error, const Qwp__Error *message);
int conn_put(qwend *q, uint32_t stream, uint16_t type, uint16_t flags, const ProtobufCMessage *message);
int conn_put_fd(qwend *q, uint32_t stream, uint16_t type, uint16_t flags, const ProtobufCMessage *message,
                int *fd);
void conn_forget_welcome(qwend *q); /* what the connection before said of the daemon */
int conn_flush(qwend *q);           /* what the socket takes now; 0 or negative */
int conn_step(qwend *q);            /* writes, reads once, delivers: 0, -EAGAIN (nothing came), negative */
uint64_t conn_deadline(const qwend *q); /* of a blocking call that starts now, 0: none */
int conn_wait(qwend *q,
              uint64_t deadline_ns); /* waits for the socket, then steps: 0 or negative, never -EAGAIN */

/* open.c: the same once more, on the connection that broke: 0 and Hello is under way, or negative */
int open_again(qwend *q);

/* attach.c */
bool attach_may_retry(const qwend_stream *stream); /* its connection broke, and it may go on on another one */
int attach_again(qwend *q); /* blocking; what can goes on, other streams end with an error */
/* A word of the daemon's about a stream: 1: it was about an Attach, and the request is sent once more; 0,
 * negative. */
int attach_on_frame(qwend_stream *stream, const struct frame *frame);
int attach_parse_id(const char *hex, uint8_t ret_id[16]); /* 32 hexadecimal digits; -EINVAL */
void attach_forget(qwend_stream *stream);                 /* what would be sent once more */
bool attach_is_wanted(const qwend_stream *stream);
bool attach_has_detachable(const qwend *q);
int attach_streams(qwend *q); /* Welcome came: what can goes on, other streams end with an error */

/* resume.c */
int resume_step(qwend *q); /* conn_step() for an event loop: another connection if this one breaks */
bool resume_drop(qwend_stream *stream);   /* it waits for a connection, and is cancelled there: keep it */
void attach_let_go(qwend_stream *stream); /* its end was read: the daemon need not keep it */

/* stream.c */
void stream_delete(qwend_stream *stream);
/* window: of credit; head: what is asked for decides how much may wait to be taken. */
void stream_set_window(qwend_stream *stream, uint32_t window, const Qwp__Generate *head, bool detachable);
int stream_new(qwend *q, qwend_cb cb, void *user, qwend_stream **ret_stream);
void stream_delete(qwend_stream *stream);                 /* without a word to the daemon */
int stream_on_frame(qwend *q, const struct frame *frame); /* copies it; does not touch q->in */
void stream_drain(qwend *q, uint32_t number); /* gives callbacks what is queued; number 0: of every stream */
void stream_on_fatal(qwend *q,
                     const struct frame *frame); /* Error on stream 0: every live stream ends with it */

int event_text(qwend *q, const ProtobufCBinaryData *text, qwend_event *event); /* lends a copy */
/* event.c: 1 and an event, 0 if the frame makes none, or negative */
int event_from_frame(qwend_stream *stream, const struct frame *frame, qwend_event *ret_event);
void event_release(qwend *q); /* what was lent before */
void event_hex(const ProtobufCBinaryData *id, char ret_hex[33]);

/* call.c */
const char *call_state_name(bool is_known, Qwp__StatusReply__State state);
/* Lends the list to the caller: q->held_block. */
int call_requests(qwend *q, Qwp__RequestInfo *const *from, size_t n, const qwend_request_info **ret);
/* The questions of call.c and begin.c.  ret borrows from what is the caller's to free then. */
int call_ask_tokenize(qwend *q, const char *text, size_t n, int special, Qwp__Tokenize *ret, char **ret_text);
int call_ask_render(qwend *q, const qwend_req *req, Qwp__Render *ret, uint8_t **ret_body);

int call_status(qwend *q, const Qwp__StatusReply *reply, qwend_status_info *ret); /* lends q->held_block */

/* begin.c */
const ProtobufCMessageDescriptor *begin_descriptor(const qwend_stream *stream, uint16_t type);
int begin_reply(qwend_stream *stream, uint16_t type, qwend_event *event); /* 1 and an event, or negative */

/* use.c: 1 and an event */
int use_progress(const Qwp__UseProgress *message, qwend_event *event);

/* watch.c: 1 and an event, or negative */
int watch_sample(qwend *q, const Qwp__Sample *message, qwend_event *event);

/* request.c */
const Qwp__Generate *req_generate(const qwend_req *req);
/* The same with a continuation: text, or the ids [n]; text or ids NULL: not that one. */
int req_pack_score(qwend *q, const qwend_req *req, const char *text, const uint32_t *ids, size_t n,
                   uint8_t **ret_body, size_t *ret_n);
int req_pack_body(qwend *q, const qwend_req *req, uint8_t **ret_body, size_t *ret_n);

/* body.c: sends Generate with its prompt in the frame, in a sealed memfd, or in MORE frames */
int body_send(qwend *q, uint32_t stream, const Qwp__Generate *head, const uint8_t *body, size_t n);
