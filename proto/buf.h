/* buf.h - a growing byte buffer with a hard cap, for wire input and output.
 *
 * Bytes [pos, len) are live.  buf_consume() moves pos; the space before pos is reclaimed when more room is
 * needed. Nothing grows beyond max: BUF_E_FULL instead, so that what a peer can make us hold follows from
 * configuration. */
#pragma once

#include "base.h"

enum { BUF_OK, BUF_E_FULL };

struct buf {
    uint8_t *data; /* owned */
    size_t pos, len, cap;
    size_t max; /* cap never exceeds this */
};
#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})

void buf_deinit(struct buf *buf); /* frees; the buffer is empty and usable again with the same max */
static inline size_t buf_size(const struct buf *buf)
{
    return buf->len - buf->pos;
}
/* NULL while the buffer has never held anything; as integers, because adding even 0 to NULL is undefined. */
static inline uint8_t *buf_head(const struct buf *buf)
{
    return (uint8_t *)((uintptr_t)buf->data + buf->pos);
}

/* Room for n more bytes: *ret_tail points at it; buf_commit() then makes k <= n of them live. */
int buf_reserve(struct buf *buf, size_t n, uint8_t **ret_tail); /* 0, BUF_E_FULL, -ENOMEM */
void buf_commit(struct buf *buf, size_t k);
int buf_append(struct buf *buf, const void *data, size_t n); /* 0, BUF_E_FULL, -ENOMEM */
void buf_consume(struct buf *buf, size_t n);                 /* n <= buf_size() */
