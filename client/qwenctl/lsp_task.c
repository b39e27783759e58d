/* lsp_task.c - tasks: code actions, commands, chats.  See lsp_task.h. */
#include "lsp_task.h"

#include <string.h>

#include "cmd.h"
#include "lsp.h"
#include "lsp_verb.h"
#include "proto/status.h"
#include "tick.h"

enum {
    LSP_TELL_MS = 100, /* between two reports of progress */
    LSP_TELL_BYTES = 80,
    LSP_CHAT_MAX = 256, /* messages */
};

#define LSP_SYSTEM "You are a careful programmer who helps in an editor."

/* progress */

static void lsp_task_progress(struct lsp *lsp, const struct lsp_task *task, json_t *value)
{
    lsp_notify(lsp, "$/progress", json_pack("{s:O, s:o}", "token", task->token, "value", value));
}

static void lsp_task_tell_begin(struct lsp *lsp, struct lsp_task *task)
{
    if (task->token)
        lsp_task_progress(lsp, task,
                          json_pack("{s:s, s:s+, s:b}", "kind", "begin", "title",
                                    "qwend: ", task->verb ? task->verb->title : "Chat", "cancellable", 1));
}

/* The end of what is there, now and then. */
static void lsp_task_tell(struct lsp *lsp, struct lsp_task *task, const char *text, size_t n)
{
    const uint64_t now = tick_ns();
    size_t from;

    if (task->stream_token)
        lsp_notify(lsp, "$/progress",
                   json_pack("{s:O, s:{s:s%}}", "token", task->stream_token, "value", "text", text, n));
    if (!task->token || now - task->told_ns < LSP_TELL_MS * 1000000ull)
        return;
    task->told_ns = now;
    from = task->n > LSP_TELL_BYTES ? task->n - LSP_TELL_BYTES : 0;
    while (from < task->n && ((unsigned char)task->text[from] & 0xc0) == 0x80)
        from++;
    from = MAX(from, lsp_line_start(task->text, task->n));
    lsp_task_progress(
        lsp, task, json_pack("{s:s, s:s%}", "kind", "report", "message", task->text + from, task->n - from));
}

/* the places */

static struct lsp_task *lsp_task_new(struct lsp *lsp)
{
    for (size_t i = 0; i < LSP_TASKS_MAX; i++)
        if (!lsp->tasks.tasks[i].id)
            return &lsp->tasks.tasks[i];
    return NULL;
}

static void lsp_task_clear(struct lsp_task *task)
{
    json_decref(task->id);
    json_decref(task->token);
    json_decref(task->stream_token);
    free(task->uri);
    free(task->text);
    *task = (struct lsp_task){};
}

/* Its answer was given. */
static void lsp_task_end(struct lsp *lsp, struct lsp_task *task)
{
    if (task->token)
        lsp_task_progress(lsp, task, json_pack("{s:s}", "kind", "end"));
    qwend_stream_free(task->stream);
    lsp_task_clear(task);
}

static void lsp_task_fail(struct lsp *lsp, struct lsp_task *task, int code, const char *why)
{
    lsp_refuse(lsp, task->id, code, "%s", why);
    lsp_task_end(lsp, task);
}

/* the end of a task */

static json_t *lsp_task_edit(const struct lsp *lsp, const struct lsp_task *task, const char *text, size_t n)
{
    struct lsp_range range = task->range;
    json_t *edits;

    if (task->verb->does == LSP_VERB_APPEND)
        range.start = range.end;
    edits = json_pack("[{s:o, s:s%}]", "range", lsp_put_range(range), "newText", text, n);
    if (!lsp->client.document_changes)
        return json_pack("{s:s, s:{s:{s:o}}}", "label", task->verb->title, "edit", "changes", task->uri,
                         edits);
    return json_pack("{s:s, s:{s:[{s:{s:s, s:I}, s:o}]}}", "label", task->verb->title, "edit",
                     "documentChanges", "textDocument", "uri", task->uri, "version",
                     (json_int_t)task->version, "edits", edits);
}

static void lsp_task_apply(struct lsp *lsp, struct lsp_task *task, bool is_cut)
{
    const struct lsp_doc *doc = lsp_docs_find(&lsp->docs, task->uri);
    size_t end, n;
    char *code;

    if (!doc || doc->version != task->version || doc->stale) {
        lsp_task_fail(lsp, task, LSP_CONTENT_MODIFIED, "the document has changed since: nothing was edited");
        return;
    }
    if (is_cut) {
        lsp_task_fail(lsp, task, LSP_REQUEST_FAILED,
                      "the answer did not come to its end: nothing was edited");
        return;
    }
    end = lsp_offset(doc->text, doc->n, lsp->docs.utf8, task->range.end);
    code = lsp_verb_code(task->text, task->n, end && doc->text[end - 1] == '\n', &n);
    if (!n) {
        lsp_task_fail(lsp, task, LSP_REQUEST_FAILED, "the model had nothing to say: nothing was edited");
        return;
    }
    qwend_stream_free(task->stream);
    task->stream = NULL;
    task->edit_id = lsp_ask(lsp, "workspace/applyEdit", lsp_task_edit(lsp, task, code, n));
}

static void lsp_task_finish(struct lsp *lsp, struct lsp_task *task, bool is_cut)
{
    if (task->verb && task->verb->does != LSP_VERB_TELL) {
        lsp_task_apply(lsp, task, is_cut);
        return;
    }
    if (task->verb && !lsp->client.show_text)
        lsp_notify(lsp, "window/showMessage",
                   json_pack("{s:i, s:s%}", "type", LSP_INFO, "message", task->text, task->n));
    lsp_reply(lsp, task->id, json_pack("{s:s%, s:b}", "text", task->text, task->n, "cut", is_cut));
    lsp_task_end(lsp, task);
}

void lsp_task_on_reply(struct lsp *lsp, const json_t *message)
{
    const json_int_t id = json_integer_value(json_object_get(message, "id"));
    const bool applied = lsp_flag(json_object_get(message, "result"), "applied");

    for (size_t i = 0; id > 0 && i < LSP_TASKS_MAX; i++) {
        struct lsp_task *task = &lsp->tasks.tasks[i];

        if (!task->id || task->edit_id != (uint64_t)id)
            continue;
        lsp_reply(lsp, task->id, json_pack("{s:b}", "applied", applied));
        lsp_task_end(lsp, task);
        return;
    }
}

/* while it runs */

/* Room for one byte more than there is: lsp_verb_code() ends the last line, lsp_show() needs a NUL. */
static bool lsp_task_append(struct lsp_task *task, const char *text, size_t n)
{
    size_t cap = MAX(task->cap, (size_t)1024);
    char *grown;

    if (task->n + n > LSP_ANSWER_MAX)
        return false;
    while (cap < task->n + n + 2)
        cap *= 2;
    if (cap != task->cap) {
        grown = realloc(task->text, cap);
        if (!grown)
            return false;
        task->text = grown;
        task->cap = cap;
    }
    if (n)
        memcpy(task->text + task->n, text, n);
    task->n += n;
    task->text[task->n] = 0;
    return true;
}

static void lsp_task_on_error(struct lsp *lsp, struct lsp_task *task, const qwend_event *event)
{
    lsp->link.no_priority |= event->code == STATUS_DENIED; /* asked again, it may be let in */
    lsp_task_fail(lsp, task, LSP_REQUEST_FAILED, event->text);
}

static int lsp_task_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct lsp *lsp = user;
    struct lsp_task *task = lsp->tasks.tasks;

    while (task < lsp->tasks.tasks + LSP_TASKS_MAX && task->stream != stream)
        task++;
    if (task == lsp->tasks.tasks + LSP_TASKS_MAX)
        return 0;
    if (event->type == QWEND_EV_ANSWER && !lsp_task_append(task, event->text, event->n))
        lsp_task_fail(lsp, task, LSP_REQUEST_FAILED, "the answer is too long");
    else if (event->type == QWEND_EV_ANSWER)
        lsp_task_tell(lsp, task, event->text, event->n);
    else if (event->type == QWEND_EV_END)
        lsp_task_finish(lsp, task, event->usage->finish != QWEND_FINISH_STOP);
    else if (event->type == QWEND_EV_ERROR)
        lsp_task_on_error(lsp, task, event);
    return 0;
}

/* Fills what every task has and sends it.  What could not be sent is answered. */
static void lsp_task_begin(struct lsp *lsp, struct lsp_task *task, json_t *id, const json_t *params,
                           const qwend_req *req)
{
    json_t *token = json_object_get(params, "workDoneToken"),
           *stream = json_object_get(params, "partialResultToken");
    qwend *q = lsp_link_get(lsp);
    int r;

    task->id = json_incref(id);
    if (!q || !lsp_task_append(task, "", 0)) {
        lsp_task_fail(lsp, task, LSP_REQUEST_FAILED, q ? "out of memory" : "there is no daemon");
        return;
    }
    r = qwend_generate(q, req, lsp_task_on_event, lsp, &task->stream);
    if (r) {
        task->stream = NULL;
        lsp_task_fail(lsp, task, LSP_REQUEST_FAILED, *qwend_error(q) ? qwend_error(q) : strerror(-r));
        return;
    }
    task->stream_token = json_incref(stream);
    task->token = json_incref(token);
    if (!token && lsp->client.progress) {
        task->token = json_sprintf("qwend-%llu", (unsigned long long)lsp->next_id + 1);
        lsp_ask(lsp, "window/workDoneProgress/create", json_pack("{s:O}", "token", task->token));
    }
    lsp_task_tell_begin(lsp, task);
}

/* the kinds of tasks */

static int lsp_task_request(const char *question, bool no_priority, qwend_req *req)
{
    int r = qwend_req_message(req, QWEND_SYSTEM, LSP_SYSTEM, (size_t)-1);

    if (!r)
        r = qwend_req_message(req, QWEND_USER, question, (size_t)-1);
    if (!r)
        r = qwend_req_set_i(req, QWEND_OPT_THINKING, 0);
    if (!r && !no_priority)
        r = qwend_req_set_i(req, QWEND_OPT_PRIORITY, 1);
    return r;
}

/* Why what is asked about cannot be, or NULL. */
static const char *lsp_task_check(const struct lsp_doc *doc, const struct lsp_verb *verb, const char *words,
                                  size_t begin, size_t end)
{
    if (doc->secret || lsp_secret_text(doc->text, doc->n))
        return "this document holds secrets: it is shown to nobody";
    if (doc->stale)
        return "a change of this document was lost: open it again";
    if (begin >= end || end - begin > LSP_ASK_MAX)
        return begin >= end ? "nothing is marked" : "more than 128 KiB are marked";
    if (strlen(doc->text) != doc->n)
        return "the document holds a NUL";
    return verb->wants_words && !(words && *words) ? "it needs an instruction" : NULL;
}

void lsp_task_execute(struct lsp *lsp, json_t *id, const json_t *params)
{
    const char *command = lsp_string(params, "command"), *why;
    const struct lsp_verb *verb = command ? lsp_verb_find(command) : NULL;
    const json_t *given = json_array_get(json_object_get(params, "arguments"), 0);
    const char *uri = lsp_string(given, "uri"), *words = lsp_string(given, "instruction");
    const struct lsp_doc *doc = uri ? lsp_docs_find(&lsp->docs, uri) : NULL;
    _cleanup_(qwend_req_freep) qwend_req *req = qwend_req_new();
    _cleanup_(freep) char *question = NULL;
    struct lsp_task *task = lsp_task_new(lsp);
    char name[LSP_URI_MAX + 1];
    struct lsp_range range;
    size_t begin, end;

    if (!verb || !doc || !lsp_take_range(json_object_get(given, "range"), &range)) {
        lsp_refuse(lsp, id, LSP_INVALID_PARAMS, "%s",
                   !verb ? "there is no such command"
                   : doc ? "range is none"
                         : "uri is not open");
        return;
    }
    begin = lsp_offset(doc->text, doc->n, lsp->docs.utf8, range.start);
    end = lsp_offset(doc->text, doc->n, lsp->docs.utf8, range.end);
    why = task ? lsp_task_check(doc, verb, words, begin, end) : "8 tasks run already";
    if (why) {
        lsp_refuse(lsp, id, LSP_REQUEST_FAILED, "%s", why);
        return;
    }
    lsp_context_name(&lsp->context, doc->uri, name);
    question = lsp_verb_question(verb, doc, begin, end, name, words, lsp_string(given, "complaint"));
    task->uri = strdup(doc->uri);
    if (!req || !question || !task->uri || lsp_task_request(question, lsp->link.no_priority, req)) {
        lsp_refuse(lsp, id, LSP_REQUEST_FAILED, "out of memory");
        lsp_task_clear(task);
        return;
    }
    task->verb = verb;
    task->version = doc->version;
    task->range = range;
    lsp_task_begin(lsp, task, id, params, req);
}

static int lsp_task_take_messages(const json_t *messages, qwend_req *req)
{
    static const char *const roles[] = {
        [QWEND_SYSTEM] = "system", [QWEND_USER] = "user", [QWEND_ASSISTANT] = "assistant"};
    const json_t *message;
    size_t i;

    if (!json_array_size(messages) || json_array_size(messages) > LSP_CHAT_MAX)
        return -EINVAL;
    json_array_foreach(messages, i, message)
    {
        const char *role = lsp_string(message, "role"), *content = lsp_string(message, "content");
        size_t k = QWEND_ASSISTANT;

        while (k && role && content && strcmp(role, roles[k] ? roles[k] : ""))
            k--;
        if (!role || !content || !k)
            return -EINVAL;
        if (qwend_req_message(req, (qwend_role)k, content, (size_t)-1))
            return -ENOMEM;
    }
    return 0;
}

void lsp_task_chat(struct lsp *lsp, json_t *id, const json_t *params)
{
    _cleanup_(qwend_req_freep) qwend_req *req = qwend_req_new();
    struct lsp_task *task = lsp_task_new(lsp);
    int r = req ? lsp_task_take_messages(json_object_get(params, "messages"), req) : -ENOMEM;

    if (!r)
        r = qwend_req_set_i(req, QWEND_OPT_THINKING, lsp_flag(params, "thinking"));
    if (r)
        lsp_refuse(lsp, id, r == -EINVAL ? LSP_INVALID_PARAMS : LSP_REQUEST_FAILED, "%s",
                   r == -EINVAL ? "messages should be 1 to 256 of {role, content}" : "out of memory");
    else if (!task)
        lsp_refuse(lsp, id, LSP_REQUEST_FAILED, "8 tasks run already");
    else
        lsp_task_begin(lsp, task, id, params, req);
}

/* what can be done */

json_t *lsp_task_commands(void)
{
    json_t *names = json_array();
    size_t n;
    const struct lsp_verb *verbs = lsp_verbs(&n);

    for (size_t i = 0; i < n; i++)
        json_array_append_new(names, json_string(verbs[i].command));
    return names;
}

/* What the editor says is wrong there, in one line. */
static const char *lsp_task_complaint(const json_t *params)
{
    const json_t *list = json_object_get(json_object_get(params, "context"), "diagnostics");

    return lsp_string(json_array_get(list, 0), "message");
}

static json_t *lsp_task_action(const struct lsp_verb *verb, const char *uri, json_t *range,
                               const char *complaint)
{
    json_t *given = json_pack("{s:s, s:O, s:s*}", "uri", uri, "range", range, "complaint", complaint);

    return json_pack("{s:s+, s:s, s:{s:s, s:s, s:[o]}}", "title", "qwend: ", verb->title, "kind", verb->kind,
                     "command", "title", verb->title, "command", verb->command, "arguments", given);
}

void lsp_task_actions(struct lsp *lsp, json_t *id, const json_t *params)
{
    const struct lsp_doc *doc = lsp_doc_of(lsp, params);
    json_t *range = json_object_get(params, "range"), *actions;
    const char *complaint = lsp_task_complaint(params);
    struct lsp_range r;
    size_t n;
    const struct lsp_verb *verbs = lsp_verbs(&n);

    if (!doc || !lsp_take_range(range, &r)) {
        lsp_refuse(lsp, id, LSP_INVALID_PARAMS, "%s", doc ? "range is none" : "textDocument.uri is not open");
        return;
    }
    actions = json_array();
    for (size_t i = 0; i < n && !doc->secret; i++)
        if (!verbs[i].wants_words && (verbs[i].does == LSP_VERB_TELL || lsp->client.apply_edit) &&
            lsp_offset(doc->text, doc->n, lsp->docs.utf8, r.start) <
                lsp_offset(doc->text, doc->n, lsp->docs.utf8, r.end))
            json_array_append_new(actions, lsp_task_action(&verbs[i], doc->uri, range, complaint));
    lsp_reply(lsp, id, actions);
}

/* ending early */

bool lsp_task_cancel(struct lsp *lsp, const json_t *id)
{
    for (size_t i = 0; i < LSP_TASKS_MAX; i++) {
        struct lsp_task *task = &lsp->tasks.tasks[i];

        if (!task->id || !json_equal(task->id, id))
            continue;
        lsp_task_fail(lsp, task, LSP_REQUEST_CANCELLED, "cancelled");
        return true;
    }
    return false;
}

void lsp_task_cancel_token(struct lsp *lsp, const json_t *token)
{
    for (size_t i = 0; token && i < LSP_TASKS_MAX; i++) {
        struct lsp_task *task = &lsp->tasks.tasks[i];

        if (task->id && task->token && json_equal(task->token, token))
            lsp_task_fail(lsp, task, LSP_REQUEST_CANCELLED, "cancelled");
    }
}

void lsp_task_on_lost(struct lsp *lsp)
{
    for (size_t i = 0; i < LSP_TASKS_MAX; i++)
        if (lsp->tasks.tasks[i].stream)
            lsp_task_fail(lsp, &lsp->tasks.tasks[i], LSP_REQUEST_FAILED, "the daemon went away: ask again");
}

void lsp_task_deinit(struct lsp_tasks *tasks)
{
    for (size_t i = 0; i < LSP_TASKS_MAX; i++)
        lsp_task_clear(&tasks->tasks[i]);
}
