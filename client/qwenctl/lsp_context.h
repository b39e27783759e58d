/* lsp_context.h - what a model is shown of a text with a gap, laid out so that a recurrent model need not
 * read it twice.
 *
 * A state that has read something cannot unread its middle, so whatever changes makes everything behind it be
 * read again. Hence the order: pieces of other places (chunks), which are only ever appended; what stands
 * behind the cursor; what stands before it.  Typing then only appends.  The window on the document stays
 * where it is until the cursor has gone far, and when the chunks have no more room the next epoch of them is
 * read in the background, before it is used.  Pure but for requests. */
#pragma once

#include "client/lib/qwend.h"
#include "lsp_doc.h"
#include "lsp_secret.h"

enum {
    LSP_CHUNKS_MAX = 32,
    LSP_CHUNK_LINES = 64,
    LSP_CHUNK_BYTES = 3 << 10,
    LSP_EPOCH_BYTES = 16 << 10, /* some 5,000 tokens of code: seconds to read on a slow machine, once */
    /* Of the document: what is before the cursor grows from the first to the second, then starts anew; with
     * what is behind it, it is the other way round. */
    LSP_BEFORE_MIN = 6 << 10,
    LSP_BEFORE_MAX = 12 << 10,
    LSP_BEHIND_MIN = 1 << 10,
    LSP_BEHIND_NEW = 2 << 10,
    LSP_BEHIND_MAX = 3 << 10,
};

struct lsp_chunk {
    char *name, *text; /* owned */
    size_t n;
};
struct lsp_epoch {
    struct lsp_chunk chunks[LSP_CHUNKS_MAX]; /* oldest first */
    size_t n, n_bytes;
};

struct lsp_context {
    struct lsp_epoch now, next;
    bool turning;      /* next is being read */
    char *root, *repo; /* owned; path of the workspace and its last part, or NULL */
    struct lsp_globs globs;
    bool prefix_first;
};

void lsp_context_deinit(struct lsp_context *context);
int lsp_context_set_root(struct lsp_context *context, const char *uri);
/* "file:///a%20b" to "/a b"; what would break a line of a prompt becomes '?'. */
void lsp_uri_path(const char *uri, char ret_path[LSP_URI_MAX + 1]);
/* A file's path as a name for the model: decoded, within the workspace; cut to what fits. */
void lsp_context_name(const struct lsp_context *context, const char *uri, char ret_name[LSP_URI_MAX + 1]);

/* The lines around `at` are worth knowing elsewhere.  LSP_NOTE_GREW, LSP_NOTE_TURNS: something is to be read
 * ahead. */
enum { LSP_NOTE_NONE, LSP_NOTE_GREW, LSP_NOTE_TURNS };
int lsp_context_note(struct lsp_context *context, const struct lsp_doc *doc, size_t at);
void lsp_context_turn(struct lsp_context *context); /* next was read, or cannot be */

void lsp_context_window(struct lsp_doc *doc, size_t at); /* sets doc->begin and doc->end */
/* 0; LSP_CONTEXT_E_SECRET: a secret is in the window; < 0: -EILSEQ for a text that no model can be shown (a
 * NUL is in it). */
enum { LSP_CONTEXT_OK, LSP_CONTEXT_E_SECRET };
int lsp_context_request(const struct lsp_context *context, struct lsp_doc *doc, size_t at,
                        qwend_req **ret_req);
int lsp_context_warm(const struct lsp_context *context, const struct lsp_doc *doc, qwend_req **ret_req);
