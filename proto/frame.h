/* frame.h - QWP/1 framing, the same on the client sockets and between broker and engine.
 *
 * A connection starts with 8 bytes "QWP1\r\n\0\0" each way, then frames: a 12-byte little-endian header
 *     u32 length   bytes of the body that follows
 *     u32 stream   0 is the connection itself; clients use odd, strictly rising numbers
 *     u16 type     enum msg_type: what protobuf message the body is
 *     u16 flags    FRAME_*
 * This file is the only place that trusts a length from the wire, and it checks it first. */
#pragma once

#include "buf.h"

#define FRAME_PREFACE "QWP1\r\n\0" /* with its own NUL: 8 bytes */
enum {
    FRAME_PREFACE_BYTES = 8,
    FRAME_HEADER_BYTES = 12,
    FRAME_MAX_BYTES = 1 << 20,         /* body, client socket, after Hello */
    FRAME_MAX_BYTES_HELLO = 256 << 10, /* body, before Hello is done */
    FRAME_MAX_BYTES_ENGINE = 16 << 20, /* body, broker -> engine: a Submit carries the whole prompt body */
};

enum frame_flag {
    FRAME_END_STREAM = 1 << 0, /* the last frame of this stream in this direction */
    FRAME_HAS_FD = 1 << 1,     /* exactly one fd travels with this frame's first byte */
    FRAME_MORE = 1 << 2,       /* the prompt body continues in Body frames of the same stream */
};

/* Message types.  Numbers are never reused; a retired one stays here as a comment.  An unknown type with the
 * top bit (0x8000) set is ignored by the receiver, any other unknown type is an error. */
enum msg_type {
    /* connection */
    MSG_HELLO = 1,
    MSG_WELCOME = 2,
    MSG_ERROR = 3,
    MSG_PING = 4,
    MSG_PONG = 5,
    MSG_EVENT = 6,
    /* generation */
    MSG_GENERATE = 100,
    MSG_BODY = 101,
    MSG_ACCEPTED = 102,
    MSG_DELTA = 103,
    MSG_USAGE = 104,
    MSG_CREDIT = 105,
    MSG_CANCEL = 106,
    MSG_CANCELLED = 107,
    MSG_ATTACH = 108,
    /* text, one question and one answer */
    MSG_TOKENIZE = 200,
    MSG_TOKENS = 201,
    MSG_DETOKENIZE = 202,
    MSG_TEXT = 203,
    MSG_RENDER = 204,
    /* looking at the service */
    MSG_STATUS = 300,
    MSG_STATUS_REPLY = 301,
    MSG_LIST_REQUESTS = 302,
    MSG_REQUESTS = 303,
    MSG_SCORE = 307,
    MSG_SCORE_REPLY = 308,
    MSG_SUBSCRIBE = 309,
    MSG_SAMPLE = 310,
    /* for administrators */
    MSG_ADMIN = 400,
    MSG_DONE = 401,
    MSG_USE = 402,
    MSG_USE_PROGRESS = 403,
    MSG_USED = 404,
    MSG_SERVED = 33173, /* 0x8000 + 405: may be lost */
    /* broker -> engine */
    MSG_E_START = 1000,
    MSG_E_SUBMIT = 1001,
    MSG_E_CANCEL = 1002,
    MSG_E_PAUSE = 1003,
    MSG_E_RESUME = 1004,
    MSG_E_TEXT = 1005,
    MSG_E_PREEMPT = 1008,
    MSG_E_PUBLISH = 1011,
    MSG_E_UNPUBLISH = 1012,
    MSG_E_CHECK = 1013,
    /* engine -> broker */
    MSG_E_LOADING = 1100,
    MSG_E_READY = 1101,
    MSG_E_FAILED = 1102,
    MSG_E_STARTED = 1103,
    MSG_E_EMIT = 1104,
    MSG_E_REFUSED = 1105,
    MSG_E_TEXT_REPLY = 1106,
    MSG_E_BEAT = 1107,
    MSG_E_WEIGHTS = 1108,
    MSG_E_PUBLISHED = 1110,
    MSG_E_CHECKED = 1111,
};

struct frame {
    uint32_t length, stream;
    uint16_t type, flags;
    const uint8_t
        *body; /* borrowed from the buffer it was read from, valid until the buffer is touched again */
};

enum { FRAME_OK, FRAME_E_AGAIN, FRAME_E_PREFACE, FRAME_E_TOO_BIG, FRAME_E_FLAGS };

/* in: looks at the head of buf.  FRAME_E_AGAIN: not all there yet.  On FRAME_OK the caller uses the frame,
 * then calls frame_consume().  max_bytes bounds length; FRAME_E_TOO_BIG leaves the header in ret_frame for
 * the error message. */
int frame_preface_next(struct buf *buf); /* consumes the preface: FRAME_OK, FRAME_E_AGAIN, FRAME_E_PREFACE (as
                                            soon as one byte differs) */
int frame_next(const struct buf *buf, uint32_t max_bytes, struct frame *ret_frame);
void frame_consume(struct buf *buf, const struct frame *frame);

/* out: appends header and body.  0, BUF_E_FULL (nothing was appended), -ENOMEM. */
int frame_preface_put(struct buf *buf);
int frame_put(struct buf *buf, uint32_t stream, uint16_t type, uint16_t flags, const void *body,
              size_t n_bytes);

/* The same, but the body is left for the caller to fill in at *ret_body before the buffer is touched again.
 */
int frame_open(struct buf *buf, uint32_t stream, uint16_t type, uint16_t flags, size_t n_bytes,
               uint8_t **ret_body);

const char *msg_type_name(uint16_t type); /* "Generate"; "?" if unknown */
