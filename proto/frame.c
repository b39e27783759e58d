/* frame.c - QWP/1 framing.  See frame.h. */
#include "frame.h"

#include <string.h>

static uint32_t frame_get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint16_t frame_get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static void frame_put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void frame_put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

int frame_preface_next(struct buf *buf)
{
    size_t n = MIN(buf_size(buf), (size_t)FRAME_PREFACE_BYTES);

    if (n && memcmp(buf_head(buf), FRAME_PREFACE, n))
        return FRAME_E_PREFACE;
    if (n < FRAME_PREFACE_BYTES)
        return FRAME_E_AGAIN;
    buf_consume(buf, n);
    return FRAME_OK;
}

int frame_next(const struct buf *buf, uint32_t max_bytes, struct frame *ret_frame)
{
    const uint8_t *p;
    const uint16_t known = FRAME_END_STREAM | FRAME_HAS_FD | FRAME_MORE;

    if (buf_size(buf) < FRAME_HEADER_BYTES)
        return FRAME_E_AGAIN;
    p = buf_head(buf);
    *ret_frame = (struct frame){
        .length = frame_get_u32(p),
        .stream = frame_get_u32(p + 4),
        .type = frame_get_u16(p + 8),
        .flags = frame_get_u16(p + 10),
        .body = p + FRAME_HEADER_BYTES,
    };
    if (ret_frame->length > max_bytes)
        return FRAME_E_TOO_BIG;
    if (ret_frame->flags & ~known)
        return FRAME_E_FLAGS;
    if (buf_size(buf) - FRAME_HEADER_BYTES < ret_frame->length)
        return FRAME_E_AGAIN;
    return FRAME_OK;
}

void frame_consume(struct buf *buf, const struct frame *frame)
{
    buf_consume(buf, FRAME_HEADER_BYTES + (size_t)frame->length);
}

int frame_preface_put(struct buf *buf)
{
    return buf_append(buf, FRAME_PREFACE, FRAME_PREFACE_BYTES);
}

int frame_open(struct buf *buf, uint32_t stream, uint16_t type, uint16_t flags, size_t n_bytes,
               uint8_t **ret_body)
{
    uint8_t *tail;
    int r;

    if (n_bytes > UINT32_MAX)
        return BUF_E_FULL;
    r = buf_reserve(buf, FRAME_HEADER_BYTES + n_bytes, &tail);
    if (r)
        return r;
    frame_put_u32(tail, (uint32_t)n_bytes);
    frame_put_u32(tail + 4, stream);
    frame_put_u16(tail + 8, type);
    frame_put_u16(tail + 10, flags);
    buf_commit(buf, FRAME_HEADER_BYTES + n_bytes);
    *ret_body = tail + FRAME_HEADER_BYTES;
    return BUF_OK;
}

int frame_put(struct buf *buf, uint32_t stream, uint16_t type, uint16_t flags, const void *body,
              size_t n_bytes)
{
    uint8_t *tail;
    int r = frame_open(buf, stream, type, flags, n_bytes, &tail);

    if (!r && n_bytes)
        memcpy(tail, body, n_bytes);
    return r;
}

static const struct {
    uint16_t type;
    const char *name;
} frame_types[] = {
    {MSG_HELLO, "Hello"},
    {MSG_WELCOME, "Welcome"},
    {MSG_ERROR, "Error"},
    {MSG_PING, "Ping"},
    {MSG_PONG, "Pong"},
    {MSG_EVENT, "Event"},
    {MSG_GENERATE, "Generate"},
    {MSG_BODY, "Body"},
    {MSG_ACCEPTED, "Accepted"},
    {MSG_DELTA, "Delta"},
    {MSG_USAGE, "Usage"},
    {MSG_CREDIT, "Credit"},
    {MSG_CANCEL, "Cancel"},
    {MSG_CANCELLED, "Cancelled"},
    {MSG_ATTACH, "Attach"},
    {MSG_TOKENIZE, "Tokenize"},
    {MSG_TOKENS, "Tokens"},
    {MSG_DETOKENIZE, "Detokenize"},
    {MSG_TEXT, "Text"},
    {MSG_RENDER, "Render"},
    {MSG_STATUS, "Status"},
    {MSG_STATUS_REPLY, "StatusReply"},
    {MSG_LIST_REQUESTS, "ListRequests"},
    {MSG_REQUESTS, "Requests"},
    {MSG_SCORE, "Score"},
    {MSG_SCORE_REPLY, "ScoreReply"},
    {MSG_SUBSCRIBE, "Subscribe"},
    {MSG_SAMPLE, "Sample"},
    {MSG_ADMIN, "Admin"},
    {MSG_DONE, "Done"},
    {MSG_USE, "Use"},
    {MSG_USE_PROGRESS, "UseProgress"},
    {MSG_USED, "Used"},
    {MSG_SERVED, "Served"},
    {MSG_E_START, "Start"},
    {MSG_E_SUBMIT, "Submit"},
    {MSG_E_CANCEL, "CancelSeq"},
    {MSG_E_PAUSE, "Pause"},
    {MSG_E_RESUME, "Resume"},
    {MSG_E_TEXT, "TextOp"},
    {MSG_E_PREEMPT, "Preempt"},
    {MSG_E_PUBLISH, "Publish"},
    {MSG_E_UNPUBLISH, "Unpublish"},
    {MSG_E_CHECK, "Check"},
    {MSG_E_LOADING, "Loading"},
    {MSG_E_READY, "Ready"},
    {MSG_E_FAILED, "Failed"},
    {MSG_E_STARTED, "Started"},
    {MSG_E_EMIT, "Emit"},
    {MSG_E_REFUSED, "Refused"},
    {MSG_E_TEXT_REPLY, "TextReply"},
    {MSG_E_BEAT, "Beat"},
    {MSG_E_WEIGHTS, "Weights"},
    {MSG_E_PUBLISHED, "Published"},
    {MSG_E_CHECKED, "Checked"},
};

const char *msg_type_name(uint16_t type)
{
    for (size_t i = 0; i < ARRAY_SIZE(frame_types); i++)
        if (frame_types[i].type == type)
            return frame_types[i].name;
    return "?";
}
