/* lsp_task.h - what takes longer: fix, explain, document, test and rewrite a piece of text, and chats.
 *
 * A task is a chat with the model, told as it goes by $/progress.  What changes the document is applied by
 * the editor (workspace/applyEdit), and only to the version that was asked about. */
#pragma once

#include <jansson.h>

#include "client/lib/qwend.h"
#include "lsp_doc.h"

struct lsp;

enum {
    LSP_TASKS_MAX = 8,
    LSP_ANSWER_MAX = 1 << 20, /* bytes of an answer */
    LSP_ASK_MAX = 128 << 10,  /* bytes of the text that is asked about */
};

struct lsp_task {
    json_t *id;                   /* owned; NULL: the place is free */
    json_t *token, *stream_token; /* owned, or NULL: of progress, of text as it comes */
    const struct lsp_verb *verb;  /* NULL: a chat */
    char *uri;                    /* owned */
    int64_t version;
    struct lsp_range range; /* of the document that is asked about */
    qwend_stream *stream;   /* NULL: the edit is being applied */
    uint64_t edit_id;       /* of that question */
    char *text;             /* owned */
    size_t n, cap;
    uint64_t told_ns;
    bool waits; /* not a word was told yet */
};

struct lsp_tasks {
    struct lsp_task tasks[LSP_TASKS_MAX];
};

json_t *lsp_task_commands(void); /* names, for executeCommandProvider */
void lsp_task_actions(struct lsp *lsp, json_t *id, const json_t *params);
void lsp_task_execute(struct lsp *lsp, json_t *id, const json_t *params);
void lsp_task_chat(struct lsp *lsp, json_t *id, const json_t *params);
bool lsp_task_cancel(struct lsp *lsp, const json_t *id);
void lsp_task_cancel_token(struct lsp *lsp, const json_t *token);
void lsp_task_on_reply(struct lsp *lsp, const json_t *message); /* of the editor, to a question of ours */
void lsp_task_on_lost(struct lsp *lsp);
void lsp_task_deinit(struct lsp_tasks *tasks);
