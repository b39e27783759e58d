/* buf.c - a growing byte buffer with a hard cap.  See buf.h. */
#include "buf.h"

#include <assert.h>
#include <string.h>

void buf_deinit(struct buf *buf)
{
    free(buf->data);
    *buf = BUF_INIT(buf->max);
}

/* Moves the live bytes to the front; called only when the tail is too short, so that each byte moves rarely.
 */
static void buf_compact(struct buf *buf)
{
    if (!buf->pos)
        return;
    memmove(buf->data, buf->data + buf->pos, buf_size(buf));
    buf->len -= buf->pos;
    buf->pos = 0;
}

int buf_reserve(struct buf *buf, size_t n, uint8_t **ret_tail)
{
    if (n > buf->max || buf_size(buf) > buf->max - n)
        return BUF_E_FULL;
    if (buf->cap - buf->len < n)
        buf_compact(buf);
    if (buf->cap - buf->len < n) {
        size_t cap = MAX(buf->cap, (size_t)512);
        uint8_t *data;

        while (cap < buf->len + n)
            cap *= 2;
        cap = MIN(cap, buf->max);
        data = realloc(buf->data, cap);
        if (!data)
            return err_origin(-ENOMEM);
        buf->data = data;
        buf->cap = cap;
    }
    *ret_tail = buf->data + buf->len;
    return BUF_OK;
}

void buf_commit(struct buf *buf, size_t k)
{
    assert(k <= buf->cap - buf->len);
    buf->len += k;
}

int buf_append(struct buf *buf, const void *data, size_t n)
{
    uint8_t *tail;
    int r;

    if (!n)
        return BUF_OK;
    r = buf_reserve(buf, n, &tail);
    if (r)
        return r;
    memcpy(tail, data, n);
    buf_commit(buf, n);
    return BUF_OK;
}

void buf_consume(struct buf *buf, size_t n)
{
    assert(n <= buf_size(buf));
    buf->pos += n;
    if (buf->pos == buf->len)
        buf->pos = buf->len = 0;
}
