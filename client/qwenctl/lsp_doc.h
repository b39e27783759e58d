/* lsp_doc.h - the documents that the editor has open, kept as it tells us of each change.
 *
 * Texts are UTF-8; a position is a line and a character in it, counted in bytes or in UTF-16 units as was
 * agreed.  A position beyond a line or the text means its end; one inside a character, that character's
 * start.  Pure. */
#pragma once

#include "proto/base.h"

enum {
    LSP_DOCS_MAX = 256,
    LSP_DOC_BYTES_MAX = 8 << 20,   /* of one */
    LSP_DOCS_BYTES_MAX = 64 << 20, /* of all */
    LSP_URI_MAX = 4096,
};

enum { LSP_DOC_OK, LSP_DOC_E_FULL, LSP_DOC_E_RANGE };

struct lsp_pos {
    uint32_t line, character;
};
struct lsp_range {
    struct lsp_pos start, end;
};

struct lsp_doc {
    char *uri, *language; /* owned, as is text */
    int64_t version;
    char *text; /* a NUL stands behind it */
    size_t n, cap;
    size_t begin, end; /* what a model is shown of it, see lsp_context.h; moved with the text */
    size_t edited;     /* where the last change ended */
    bool stale;        /* a change of it was lost: of no use until it comes whole */
    bool secret;
};

struct lsp_docs {
    struct lsp_doc *docs[LSP_DOCS_MAX]; /* owned */
    size_t n, n_bytes;
    bool utf8; /* positions count bytes */
};

void lsp_docs_deinit(struct lsp_docs *docs);
struct lsp_doc *lsp_docs_find(const struct lsp_docs *docs, const char *uri); /* NULL: not open */
/* Opens it, or anew.  LSP_DOC_E_FULL: too many, or too large; it is not open then. */
int lsp_docs_open(struct lsp_docs *docs, const char *uri, const char *language, int64_t version,
                  const char *text, size_t n, struct lsp_doc **ret_doc);
void lsp_docs_close(struct lsp_docs *docs, const char *uri);
void lsp_docs_distrust(struct lsp_docs *docs); /* some change was lost, of whichever */

/* range NULL: all of it.  LSP_DOC_E_RANGE: it ends before it starts; LSP_DOC_E_FULL; the text is as it was
 * then, and stale. */
int lsp_docs_edit(struct lsp_docs *docs, struct lsp_doc *doc, const struct lsp_range *range, const char *text,
                  size_t n);

size_t lsp_offset(const char *text, size_t n, bool utf8, struct lsp_pos pos);
struct lsp_pos lsp_position(const char *text, size_t n, bool utf8, size_t offset);
size_t lsp_line_start(const char *text, size_t at);         /* of the line that `at` is in */
size_t lsp_line_end(const char *text, size_t n, size_t at); /* before its line break */
