/* lsp.h - `qwenctl lsp`: a language server on standard input and output, one for every editor.
 *
 * One thread, one loop (lsp_loop.c): messages of the editor (lsp_frame.c) go to a table of methods (lsp.c);
 * completions of a gap (lsp_fill.c) and longer tasks (lsp_task.c) are requests to the daemon on one
 * connection (lsp_link.c), which may go away and come back.  What is sent to the editor waits in a buffer
 * (lsp_rpc.c), so neither side ever waits for the other. */
#pragma once

#include <jansson.h>

#include "client/lib/qwend.h"
#include "lsp_context.h"
#include "lsp_doc.h"
#include "lsp_fill.h"
#include "lsp_frame.h"
#include "lsp_task.h"

/* codes of JSON-RPC and of the language server protocol */
enum {
    LSP_PARSE_ERROR = -32700,
    LSP_INVALID_REQUEST = -32600,
    LSP_METHOD_NOT_FOUND = -32601,
    LSP_INVALID_PARAMS = -32602,
    LSP_NOT_INITIALIZED = -32002,
    LSP_REQUEST_FAILED = -32803,
    LSP_CONTENT_MODIFIED = -32801,
    LSP_REQUEST_CANCELLED = -32800,
};

enum { LSP_OUT_MAX = 32 << 20 }; /* unread by the editor: then it is given up */

struct lsp_link {
    const char *socket; /* borrowed; NULL: the usual ones */
    qwend *q;           /* NULL: no connection */
    uint64_t retry_ns;  /* not before */
    bool told;          /* that there is none */
    bool no_priority;   /* this user's class has no such: 301 said so */
};

struct lsp_client { /* what the editor can */
    bool inline_completion, progress, document_changes, apply_edit, show_text;
};

struct lsp {
    struct lsp_frame in;
    char *out; /* owned */
    size_t n_out, cap_out;
    bool failed; /* no memory, or the editor does not read */
    bool initialized, shut_down, over;
    uint64_t next_id; /* of our own questions */
    struct lsp_client client;
    struct lsp_docs docs;
    struct lsp_context context;
    struct lsp_link link;
    struct lsp_fill fill;
    struct lsp_tasks tasks;
};

void lsp_deinit(struct lsp *lsp); /* zero is how it begins */
/* lsp.c: one message of the editor, taken over */
void lsp_on_message(struct lsp *lsp, json_t *message);
/* Answers what the editor sent when it could not be read. */
void lsp_on_garbage(struct lsp *lsp, const char *why);

/* lsp_rpc.c; what is given is taken over, but for id */
void lsp_reply(struct lsp *lsp, json_t *id, json_t *result);
void lsp_refuse(struct lsp *lsp, json_t *id, int code, const char *fmt, ...) _printf_(4, 5);
void lsp_notify(struct lsp *lsp, const char *method, json_t *params);
uint64_t lsp_ask(struct lsp *lsp, const char *method, json_t *params); /* its id */
enum { LSP_ERROR = 1, LSP_WARNING, LSP_INFO };
void lsp_show(struct lsp *lsp, int type, const char *fmt, ...) _printf_(3, 4);

/* Members of a message: checked, NULL or false if they are not what they should be. */
const char *lsp_string(const json_t *object, const char *key);
bool lsp_flag(const json_t *object, const char *key);
bool lsp_number(const json_t *object, const char *key, int64_t lo, int64_t hi, int64_t *ret_value);
bool lsp_take_pos(const json_t *pos, struct lsp_pos *ret_pos);
bool lsp_take_range(const json_t *range, struct lsp_range *ret_range);
json_t *lsp_put_range(struct lsp_range range);
struct lsp_doc *lsp_doc_of(struct lsp *lsp, const json_t *params); /* by textDocument.uri */

/* lsp_link.c */
qwend *lsp_link_get(struct lsp *lsp); /* connects if need be; NULL: there is no daemon, and the user knows */
void lsp_link_lost(struct lsp *lsp);  /* whatever ran on it ends */
