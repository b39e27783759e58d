/* lsp_fill.h - completions at the cursor: one at a time, for the newest key.
 *
 * A question waits a moment (40 to 250 ms, half of what a first token takes) in case another key comes; a
 * newer one takes its place, and is answered "nothing".  What was answered is kept: while the user types what
 * was proposed, the rest of it is proposed without a request, and a request whose beginning he types goes on
 * for the newer question. */
#pragma once

#include <jansson.h>

#include "client/lib/qwend.h"
#include "lsp_doc.h"

struct lsp;

enum {
    LSP_FILL_BYTES = 4096, /* of one completion: 256 tokens, amply */
    LSP_KEPT_MAX = 16,
    LSP_BASE_BEFORE = 256, /* bytes on each side of the cursor that say where a completion belongs */
    LSP_BASE_BEHIND = 128,
};

/* Where a completion belongs: a place in a text, known again by what stands around it. */
struct lsp_base {
    char uri[LSP_URI_MAX + 1];
    size_t at;
    char before[LSP_BASE_BEFORE], behind[LSP_BASE_BEHIND];
    size_t n_before, n_behind;
};

struct lsp_kept {
    struct lsp_base base;
    char text[LSP_FILL_BYTES];
    size_t n; /* 0: unused */
};

struct lsp_fill {
    enum { LSP_FILL_IDLE, LSP_FILL_WAITS, LSP_FILL_RUNS } state;
    json_t *id;            /* owned; of the question that is owed an answer, NULL: none */
    bool is_list, invoked; /* textDocument/completion; asked for by hand */
    struct lsp_base base;
    size_t offset;   /* of the newest question: at or behind base.at */
    bool one_line;   /* something stands behind the cursor in its line */
    uint64_t due_ns; /* WAITS: to be sent; RUNS, with text: to be answered with what is there; 0: none */
    uint64_t sent_ns;
    qwend_stream *stream;
    char text[LSP_FILL_BYTES];
    size_t n;
    struct lsp_kept kept[LSP_KEPT_MAX];
    size_t next_kept;
    double first_ms;    /* from sending to the first text, smoothed */
    bool off, unable;   /* by the user's wish; the model cannot */
    qwend_stream *warm; /* what is read ahead */
    bool warm_again;
    char last_uri[LSP_URI_MAX + 1]; /* of the last question: leaving a place makes it a chunk */
    size_t last_at;
};

/* params of textDocument/inlineCompletion or /completion.  id is referenced. */
void lsp_fill_ask(struct lsp *lsp, json_t *id, const json_t *params, bool is_list);
bool lsp_fill_cancel(struct lsp *lsp, const json_t *id); /* false: it is not of such a question */
void lsp_fill_on_time(struct lsp *lsp);
void lsp_fill_on_lost(struct lsp *lsp); /* the connection is going: the streams with it */
void lsp_fill_note(struct lsp *lsp, const struct lsp_doc *doc, size_t at); /* a place worth knowing */
void lsp_fill_deinit(struct lsp_fill *fill);
