/* sse.h - an event stream as it comes: bytes in any pieces become the text of its data lines.  Pure. */
#pragma once

#include "proto/buf.h"

enum { SSE_OK, SSE_E_TOO_LONG };
enum { SSE_LINE_BYTES = 1 << 20 };

struct sse {
    struct buf line; /* of which the end has not come */
};
#define SSE_INIT ((struct sse){.line = BUF_INIT(SSE_LINE_BYTES)})

/* One data line's text, lent; false: no more of this stream is wanted. */
typedef bool sse_fn(void *arg, const char *text, size_t n);

/* SSE_OK, SSE_E_TOO_LONG, -ENOMEM. */
int sse_push(struct sse *sse, const char *data, size_t n, sse_fn *on_data, void *arg);
void sse_deinit(struct sse *sse);
