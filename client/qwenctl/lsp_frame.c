/* lsp_frame.c - framing.  See lsp_frame.h. */
#include "lsp_frame.h"

#include <string.h>
#include <strings.h>

#define LSP_LENGTH "Content-Length:"

void lsp_frame_deinit(struct lsp_frame *frame)
{
    free(frame->data);
    *frame = (struct lsp_frame){};
}

static void lsp_frame_drop(struct lsp_frame *frame)
{
    if (!frame->taken)
        return;
    frame->n -= frame->taken;
    memmove(frame->data, frame->data + frame->taken, frame->n);
    frame->taken = 0;
}

int lsp_frame_reserve(struct lsp_frame *frame, size_t n, char **ret_tail)
{
    size_t cap = MAX(frame->cap, (size_t)4096);
    char *data;

    lsp_frame_drop(frame);
    while (cap - frame->n < n)
        cap *= 2;
    if (cap != frame->cap) {
        data = realloc(frame->data, cap);
        if (!data)
            return err_origin(-ENOMEM);
        frame->data = data;
        frame->cap = cap;
    }
    *ret_tail = frame->data + frame->n;
    return 0;
}

void lsp_frame_commit(struct lsp_frame *frame, size_t n)
{
    frame->n += n;
}

/* The digits behind the colon, and nothing else but blanks. */
static int lsp_frame_length(const char *text, size_t n, struct fault *fault, size_t *ret_length)
{
    size_t i = 0, length = 0, n_digits;

    while (i < n && (text[i] == ' ' || text[i] == '\t'))
        i++;
    for (n_digits = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++, n_digits++)
        if ((length = 10 * length + (size_t)(text[i] - '0')) > LSP_BODY_MAX)
            return fault_set(fault, LSP_FRAME_E_BAD, "Content-Length is above %d", LSP_BODY_MAX);
    while (i < n && (text[i] == ' ' || text[i] == '\t'))
        i++;
    if (!n_digits || i < n)
        return fault_set(fault, LSP_FRAME_E_BAD, "Content-Length is no number");
    *ret_length = length;
    return LSP_FRAME_OK;
}

/* [0, n) are the header lines, each with its end. */
static int lsp_frame_head(const char *head, size_t n, struct fault *fault, size_t *ret_length)
{
    bool found = false;
    const char *end;
    int r;

    while ((end = memmem(head, n, "\r\n", 2))) {
        const size_t n_line = (size_t)(end - head);

        if (n_line >= strlen(LSP_LENGTH) && !strncasecmp(head, LSP_LENGTH, strlen(LSP_LENGTH))) {
            if (found)
                return fault_set(fault, LSP_FRAME_E_BAD, "a header has two Content-Length lines");
            r = lsp_frame_length(head + strlen(LSP_LENGTH), n_line - strlen(LSP_LENGTH), fault, ret_length);
            if (r)
                return r;
            found = true;
        } else if (!memchr(head, ':', n_line)) {
            return fault_set(fault, LSP_FRAME_E_BAD, "a header line has no colon");
        }
        head += n_line + 2;
        n -= n_line + 2;
    }
    return found ? LSP_FRAME_OK : fault_set(fault, LSP_FRAME_E_BAD, "a header has no Content-Length");
}

int lsp_frame_next(struct lsp_frame *frame, struct fault *fault, const char **ret_body, size_t *ret_n)
{
    const char *end;
    size_t n_head, length = 0;
    int r;

    lsp_frame_drop(frame);
    end = frame->n ? memmem(frame->data, MIN(frame->n, (size_t)LSP_HEAD_MAX), "\r\n\r\n", 4) : NULL;
    if (!end && frame->n >= LSP_HEAD_MAX)
        return fault_set(fault, LSP_FRAME_E_BAD, "a header has more than %d bytes", LSP_HEAD_MAX);
    if (!end)
        return LSP_FRAME_E_AGAIN;
    n_head = (size_t)(end - frame->data) + 4;
    r = lsp_frame_head(frame->data, n_head - 2, fault, &length);
    if (r)
        return r;
    if (frame->n - n_head < length)
        return LSP_FRAME_E_AGAIN;
    *ret_body = frame->data + n_head;
    *ret_n = length;
    frame->taken = n_head + length;
    return LSP_FRAME_OK;
}
