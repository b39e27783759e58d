/* lsp.c - the methods of the language server: a table of who handles what.  See lsp.h. */
#include "lsp.h"

#include <string.h>

typedef void (*lsp_handler)(struct lsp *lsp, json_t *id, const json_t *params);

/* beginning and end */

static bool lsp_in_list(const json_t *list, const char *word)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i,
                       item) if (json_is_string(item) && !strcmp(json_string_value(item), word)) return true;
    return false;
}

static void lsp_take_client(struct lsp *lsp, const json_t *capabilities)
{
    const json_t *workspace = json_object_get(capabilities, "workspace");
    const json_t *text = json_object_get(capabilities, "textDocument");

    lsp->client.inline_completion = json_is_object(json_object_get(text, "inlineCompletion"));
    lsp->client.progress = lsp_flag(json_object_get(capabilities, "window"), "workDoneProgress");
    lsp->client.apply_edit = lsp_flag(workspace, "applyEdit");
    lsp->client.document_changes = lsp_flag(json_object_get(workspace, "workspaceEdit"), "documentChanges");
    lsp->docs.utf8 =
        lsp_in_list(json_object_get(json_object_get(capabilities, "general"), "positionEncodings"), "utf-8");
}

static void lsp_take_options(struct lsp *lsp, const json_t *options)
{
    const json_t *ignore = json_object_get(options, "ignore"), *glob;
    const char *order = lsp_string(options, "order");
    size_t i;

    lsp->fill.off = json_is_false(json_object_get(options, "completion"));
    lsp->client.show_text = lsp_flag(options, "showText");
    lsp->context.prefix_first = order && !strcmp(order, "prefix-first");
    json_array_foreach(ignore, i, glob) if (json_is_string(glob) &&
                                            lsp_globs_add(&lsp->context.globs, json_string_value(glob)))
        lsp_show(lsp, LSP_WARNING, "qwend: more than %d globs in ignore: the others are left out",
                 LSP_GLOBS_MAX);
}

static json_t *lsp_capabilities(const struct lsp *lsp)
{
    json_t *all = json_pack("{s:s, s:{s:b, s:i, s:b}, s:{s:[s,s,s,s]}, s:{s:o, s:b}}", "positionEncoding",
                            lsp->docs.utf8 ? "utf-8" : "utf-16", "textDocumentSync", "openClose", 1, "change",
                            2, "save", 1, "codeActionProvider", "codeActionKinds", "quickfix",
                            "refactor.rewrite", "source.qwend.explain", "source.qwend.test",
                            "executeCommandProvider", "commands", lsp_task_commands(), "workDoneProgress", 1);

    if (lsp->client.inline_completion)
        json_object_set_new(all, "inlineCompletionProvider", json_true());
    else if (!lsp->fill.off)
        json_object_set_new(all, "completionProvider", json_object());
    return all;
}

static void lsp_initialize(struct lsp *lsp, json_t *id, const json_t *params)
{
    const char *root = lsp_string(json_array_get(json_object_get(params, "workspaceFolders"), 0), "uri");

    if (lsp->initialized) {
        lsp_refuse(lsp, id, LSP_INVALID_REQUEST, "it is initialized already");
        return;
    }
    root = root ? root : lsp_string(params, "rootUri");
    lsp_take_client(lsp, json_object_get(params, "capabilities"));
    if (root && lsp_context_set_root(&lsp->context, root))
        lsp->failed = true;
    lsp->initialized = true;
    lsp_take_options(lsp, json_object_get(params, "initializationOptions"));
    lsp_reply(lsp, id,
              json_pack("{s:o, s:{s:s, s:s}}", "capabilities", lsp_capabilities(lsp), "serverInfo", "name",
                        "qwend", "version", QWEND_VERSION));
}

static void lsp_shutdown(struct lsp *lsp, json_t *id, const json_t *params _unused_)
{
    lsp->shut_down = true;
    lsp_fill_on_lost(lsp);
    lsp_task_on_lost(lsp);
    lsp_reply(lsp, id, json_null());
}

static void lsp_exit(struct lsp *lsp, json_t *id _unused_, const json_t *params _unused_)
{
    lsp->over = true;
}

/* documents */

static void lsp_did_open(struct lsp *lsp, json_t *id _unused_, const json_t *params)
{
    const json_t *given = json_object_get(params, "textDocument"), *text = json_object_get(given, "text");
    const char *uri = lsp_string(given, "uri"), *language = lsp_string(given, "languageId");
    char name[LSP_URI_MAX + 1];
    struct lsp_doc *doc;
    int64_t version = 0;
    int r;

    if (!uri || !json_is_string(text))
        return;
    lsp_number(given, "version", INT32_MIN, INT32_MAX, &version);
    r = lsp_docs_open(&lsp->docs, uri, language ? language : "text", version, json_string_value(text),
                      json_string_length(text), &doc);
    if (r > 0)
        lsp_show(lsp, LSP_WARNING, "qwend: not followed: more than %d documents, or %d MiB in one",
                 LSP_DOCS_MAX, LSP_DOC_BYTES_MAX >> 20);
    if (r) {
        lsp->failed |= r < 0;
        return;
    }
    lsp_uri_path(uri, name);
    doc->secret = lsp_secret_path(&lsp->context.globs, name);
    lsp_fill_note(lsp, doc, 0);
}

/* false: it is not what a change looks like */
static bool lsp_change(struct lsp *lsp, struct lsp_doc *doc, const json_t *change)
{
    const json_t *text = json_object_get(change, "text"), *at = json_object_get(change, "range");
    struct lsp_range range;

    if (!json_is_string(text) || (at && !lsp_take_range(at, &range)))
        return false;
    return !lsp_docs_edit(&lsp->docs, doc, at ? &range : NULL, json_string_value(text),
                          json_string_length(text));
}

static void lsp_did_change(struct lsp *lsp, json_t *id _unused_, const json_t *params)
{
    struct lsp_doc *doc = lsp_doc_of(lsp, params);
    const json_t *changes = json_object_get(params, "contentChanges"), *change;
    size_t i;

    if (!doc)
        return;
    json_array_foreach(changes, i, change) if (!lsp_change(lsp, doc, change) && !doc->stale) doc->stale =
        true;
    doc->version++;
    lsp_number(json_object_get(params, "textDocument"), "version", INT32_MIN, INT32_MAX, &doc->version);
}

static void lsp_did_save(struct lsp *lsp, json_t *id _unused_, const json_t *params)
{
    const struct lsp_doc *doc = lsp_doc_of(lsp, params);

    if (doc && doc->edited)
        lsp_fill_note(lsp, doc, doc->edited);
}

static void lsp_did_close(struct lsp *lsp, json_t *id _unused_, const json_t *params)
{
    const struct lsp_doc *doc = lsp_doc_of(lsp, params);

    if (doc)
        lsp_docs_close(&lsp->docs, doc->uri);
}

/* questions */

static void lsp_inline_completion(struct lsp *lsp, json_t *id, const json_t *params)
{
    lsp_fill_ask(lsp, id, params, false);
}

static void lsp_completion(struct lsp *lsp, json_t *id, const json_t *params)
{
    lsp_fill_ask(lsp, id, params, true);
}

static void lsp_cancel(struct lsp *lsp, json_t *id _unused_, const json_t *params)
{
    const json_t *which = json_object_get(params, "id");

    if (which && !lsp_fill_cancel(lsp, which))
        lsp_task_cancel(lsp, which); /* else it was answered already */
}

static void lsp_progress_cancel(struct lsp *lsp, json_t *id _unused_, const json_t *params)
{
    lsp_task_cancel_token(lsp, json_object_get(params, "token"));
}

static const struct lsp_method {
    const char *name;
    bool answers; /* a request; else a notification */
    lsp_handler handle;
} lsp_methods[] = {
    {"initialize", true, lsp_initialize},
    {"shutdown", true, lsp_shutdown},
    {"exit", false, lsp_exit},
    {"textDocument/didOpen", false, lsp_did_open},
    {"textDocument/didChange", false, lsp_did_change},
    {"textDocument/didSave", false, lsp_did_save},
    {"textDocument/didClose", false, lsp_did_close},
    {"textDocument/inlineCompletion", true, lsp_inline_completion},
    {"textDocument/completion", true, lsp_completion},
    {"textDocument/codeAction", true, lsp_task_actions},
    {"workspace/executeCommand", true, lsp_task_execute},
    {"qwend/chat", true, lsp_task_chat},
    {"$/cancelRequest", false, lsp_cancel},
    {"window/workDoneProgress/cancel", false, lsp_progress_cancel},
};

/* messages */

static const struct lsp_method *lsp_method_find(const char *name, bool answers)
{
    for (size_t i = 0; i < ARRAY_SIZE(lsp_methods); i++)
        if (lsp_methods[i].answers == answers && !strcmp(lsp_methods[i].name, name))
            return &lsp_methods[i];
    return NULL;
}

static void lsp_on_request(struct lsp *lsp, const char *name, json_t *id, const json_t *params)
{
    const struct lsp_method *method = lsp_method_find(name, true);

    if (!json_is_string(id) && !json_is_integer(id))
        lsp_refuse(lsp, json_null(), LSP_INVALID_REQUEST, "id is neither a number nor a string");
    else if (!lsp->initialized && strcmp(name, "initialize"))
        lsp_refuse(lsp, id, LSP_NOT_INITIALIZED, "initialize comes first");
    else if (lsp->shut_down)
        lsp_refuse(lsp, id, LSP_INVALID_REQUEST, "it was shut down");
    else if (!method)
        lsp_refuse(lsp, id, LSP_METHOD_NOT_FOUND, "there is no method %.60s", name);
    else
        method->handle(lsp, id, params);
}

static void lsp_on_notification(struct lsp *lsp, const char *name, const json_t *params)
{
    const struct lsp_method *method = lsp_method_find(name, false);

    if (method && (lsp->initialized || method->handle == lsp_exit))
        method->handle(lsp, NULL, params);
}

void lsp_on_message(struct lsp *lsp, json_t *message)
{
    const char *name = lsp_string(message, "method");
    json_t *id = json_object_get(message, "id");

    if (!json_is_object(message) || (!name && !id))
        lsp_refuse(lsp, json_null(), LSP_INVALID_REQUEST, "a message is an object with a method or an id");
    else if (!name)
        lsp_task_on_reply(lsp, message);
    else if (id)
        lsp_on_request(lsp, name, id, json_object_get(message, "params"));
    else
        lsp_on_notification(lsp, name, json_object_get(message, "params"));
    json_decref(message);
}

void lsp_on_garbage(struct lsp *lsp, const char *why)
{
    lsp_docs_distrust(&lsp->docs); /* it may have been a change of any of them */
    lsp_refuse(lsp, json_null(), LSP_PARSE_ERROR, "%s", why);
}

void lsp_deinit(struct lsp *lsp)
{
    qwend_close(lsp->link.q);
    lsp_fill_deinit(&lsp->fill);
    lsp_task_deinit(&lsp->tasks);
    lsp_context_deinit(&lsp->context);
    lsp_docs_deinit(&lsp->docs);
    lsp_frame_deinit(&lsp->in);
    free(lsp->out);
}
