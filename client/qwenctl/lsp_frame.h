/* lsp_frame.h - the framing of the language server protocol: bytes in, messages out.
 *
 *     Content-Length: 57\r\n \r\n {"jsonrpc":"2.0", ...}
 *
 * Pure.  A header or a length that cannot be right ends the stream: there is no way to find the next message.
 */
#pragma once

#include "proto/base.h"

enum {
    LSP_HEAD_MAX = 4096,     /* bytes of all header lines: editors send two */
    LSP_BODY_MAX = 16 << 20, /* of one message: a document of 8 MiB, escaped */
};

enum { LSP_FRAME_OK, LSP_FRAME_E_AGAIN, LSP_FRAME_E_BAD };

struct lsp_frame {
    char *data; /* owned */
    size_t n, cap;
    size_t taken; /* bytes of the last message, dropped with the next call */
};

void lsp_frame_deinit(struct lsp_frame *frame);
/* Room for n bytes more at *ret_tail; then commit those that were read. */
int lsp_frame_reserve(struct lsp_frame *frame, size_t n, char **ret_tail);
void lsp_frame_commit(struct lsp_frame *frame, size_t n);
/* The next whole message, borrowed until the next call here; LSP_FRAME_E_AGAIN; LSP_FRAME_E_BAD, which the
 * fault explains. */
int lsp_frame_next(struct lsp_frame *frame, struct fault *fault, const char **ret_body, size_t *ret_n);
