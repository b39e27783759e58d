/* sse.c - see sse.h.  OpenAI's streams have one data line an event; comments and other fields say nothing
 * here. */
#include "sse.h"

#include <string.h>

/* line: whole, without its line feed. */
static bool sse_line(const char *line, size_t n, sse_fn *on_data, void *arg)
{
    if (n && line[n - 1] == '\r')
        n--;
    if (n < 5 || memcmp(line, "data:", 5))
        return true;
    line += 5;
    n -= 5;
    if (n && *line == ' ') {
        line++;
        n--;
    }
    return on_data(arg, line, n);
}

int sse_push(struct sse *sse, const char *data, size_t n, sse_fn *on_data, void *arg)
{
    while (n) {
        const char *end = memchr(data, '\n', n);
        const size_t k = end ? (size_t)(end - data) : n;
        int r = buf_append(&sse->line, data, k);

        if (r)
            return r > 0 ? SSE_E_TOO_LONG : r;
        data += k + (end != NULL);
        n -= k + (end != NULL);
        if (!end)
            break;
        if (!sse_line(buf_size(&sse->line) ? (const char *)buf_head(&sse->line) : "", buf_size(&sse->line),
                      on_data, arg))
            return SSE_OK;
        buf_consume(&sse->line, buf_size(&sse->line));
    }
    return SSE_OK;
}

void sse_deinit(struct sse *sse)
{
    buf_deinit(&sse->line);
}
