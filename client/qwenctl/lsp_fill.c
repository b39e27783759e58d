/* lsp_fill.c - completions at the cursor.  See lsp_fill.h. */
#include "lsp_fill.h"

#include <string.h>

#include "cmd.h"
#include "lsp.h"
#include "proto/status.h"
#include "tick.h"

enum {
    LSP_TRIGGER_INVOKED = 1, /* InlineCompletionTriggerKind, and CompletionTriggerKind */
    LSP_AUTO_TOKENS = 40,
    LSP_INVOKED_TOKENS = 256,
    LSP_AUTO_MS = 400, /* from the first text: what is longer comes too late to be read */
    LSP_INVOKED_MS = 5000,
    LSP_WAIT_MIN_MS = 40, /* between two keys of who types fast: 80 */
    LSP_WAIT_MAX_MS = 250,
    LSP_FIRST_MS = 80,       /* until it is measured */
    LSP_FAR_BYTES = 8 << 10, /* of two places in a document: the cursor jumped */
    LSP_INTERACTIVE = 1,
    LSP_KIND_TEXT = 1, /* CompletionItemKind */
    LSP_LABEL_BYTES = 60,
};

/* where it belongs */

static void lsp_base_take(struct lsp_base *base, const struct lsp_doc *doc, size_t at)
{
    memcpy(base->uri, doc->uri, strlen(doc->uri) + 1); /* at most LSP_URI_MAX */
    base->at = at;
    base->n_before = MIN(at, (size_t)LSP_BASE_BEFORE);
    base->n_behind = MIN(doc->n - at, (size_t)LSP_BASE_BEHIND);
    memcpy(base->before, doc->text + at - base->n_before, base->n_before);
    memcpy(base->behind, doc->text + at, base->n_behind);
}

/* Whether the document is now what it was, but for the beginning of text that was typed. */
static bool lsp_base_goes_on(const struct lsp_base *base, const char *text, size_t n,
                             const struct lsp_doc *doc, size_t offset)
{
    const size_t k = offset - base->at;

    if (offset < base->at || k > n || strcmp(base->uri, doc->uri) || doc->n - offset < base->n_behind)
        return false;
    return !memcmp(doc->text + base->at - base->n_before, base->before, base->n_before) &&
           !memcmp(doc->text + base->at, text, k) &&
           !memcmp(doc->text + offset, base->behind, base->n_behind);
}

/* answers */

static json_t *lsp_fill_inline(struct lsp_range at, const char *text, size_t n)
{
    return json_pack("{s:[{s:s%, s:o}]}", "items", "insertText", text, n, "range", lsp_put_range(at));
}

static json_t *lsp_fill_list(struct lsp_range at, const char *text, size_t n)
{
    const size_t n_line = lsp_line_end(text, n, 0);
    size_t n_label = MIN(n_line, (size_t)LSP_LABEL_BYTES);

    n_label = qwend_utf8_valid(text, n_label);
    return json_pack("{s:b, s:[{s:s%, s:i, s:s, s:s, s:{s:o, s:s%}}]}", "isIncomplete", 1, "items", "label",
                     n_label ? text : "...", n_label ? n_label : (size_t)3, "kind", LSP_KIND_TEXT, "detail",
                     "qwend", "sortText", "~", "textEdit", "range", lsp_put_range(at), "newText", text, n);
}

static void lsp_fill_reply(struct lsp *lsp, json_t *id, bool is_list, const struct lsp_doc *doc,
                           size_t offset, const char *text, size_t n)
{
    struct lsp_range at;

    if (!doc || !n || offset > doc->n) {
        lsp_reply(lsp, id,
                  is_list ? json_pack("{s:b, s:[]}", "isIncomplete", 1, "items")
                          : json_pack("{s:[]}", "items"));
        return;
    }
    at.start = at.end = lsp_position(doc->text, doc->n, lsp->docs.utf8, offset);
    lsp_reply(lsp, id, is_list ? lsp_fill_list(at, text, n) : lsp_fill_inline(at, text, n));
}

/* What the question that waits or runs is answered with; it goes on without one. */
static void lsp_fill_answer(struct lsp *lsp, const char *text, size_t n)
{
    struct lsp_fill *fill = &lsp->fill;

    if (!fill->id)
        return;
    lsp_fill_reply(lsp, fill->id, fill->is_list, lsp_docs_find(&lsp->docs, fill->base.uri), fill->offset,
                   text, n);
    json_decref(fill->id);
    fill->id = NULL;
}

static void lsp_fill_stop(struct lsp *lsp)
{
    struct lsp_fill *fill = &lsp->fill;

    lsp_fill_answer(lsp, NULL, 0);
    qwend_stream_free(fill->stream); /* cancels */
    fill->stream = NULL;
    fill->state = LSP_FILL_IDLE;
    fill->due_ns = 0;
}

/* the text */

static bool lsp_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* What stands behind the cursor must not be proposed once more. */
static size_t lsp_fill_overlap(const struct lsp_fill *fill, const char *text, size_t n)
{
    const struct lsp_base *base = &fill->base;
    const size_t n_rest = lsp_line_end(base->behind, base->n_behind, 0);

    for (size_t k = MIN(n, n_rest); k; k--)
        if (!memcmp(text + n - k, base->behind, k))
            return k;
    return 0;
}

static void lsp_fill_shape(struct lsp_fill *fill, bool is_cut)
{
    const char *last = is_cut ? memrchr(fill->text, '\n', fill->n) : NULL;

    if (fill->one_line)
        fill->n = lsp_line_end(fill->text, fill->n, 0);
    else if (last && last > fill->text)
        fill->n = (size_t)(last - fill->text); /* half a line is worth less than none */
    if (fill->one_line)
        fill->n -= lsp_fill_overlap(fill, fill->text, fill->n);
    while (fill->n && lsp_is_blank(fill->text[fill->n - 1]))
        fill->n--;
    if (fill->n && fill->n <= fill->base.n_behind && !memcmp(fill->text, fill->base.behind, fill->n))
        fill->n = 0; /* it says what follows anyway */
}

static void lsp_fill_keep(struct lsp_fill *fill)
{
    struct lsp_kept *kept = &fill->kept[fill->next_kept];

    kept->base = fill->base;
    memcpy(kept->text, fill->text, fill->n);
    kept->n = fill->n;
    fill->next_kept = (fill->next_kept + 1) % LSP_KEPT_MAX;
}

static void lsp_fill_finish(struct lsp *lsp, bool is_cut)
{
    struct lsp_fill *fill = &lsp->fill;
    const size_t k = fill->offset - fill->base.at;

    lsp_fill_shape(fill, is_cut);
    if (fill->n)
        lsp_fill_keep(fill);
    if (k < fill->n)
        lsp_fill_answer(lsp, fill->text + k, fill->n - k);
    lsp_fill_stop(lsp);
}

/* the request */

static void lsp_fill_on_text(struct lsp *lsp, const qwend_event *event)
{
    struct lsp_fill *fill = &lsp->fill;
    const uint64_t now = tick_ns();
    size_t n = MIN(event->n, LSP_FILL_BYTES - fill->n);

    if (!fill->n && event->n) {
        const double ms = (double)(now - fill->sent_ns) / 1e6;

        fill->first_ms += fill->first_ms > 0 ? (ms - fill->first_ms) / 4 : ms;
        fill->due_ns = now + (fill->invoked ? LSP_INVOKED_MS : LSP_AUTO_MS) * 1000000ull;
    }
    n = qwend_utf8_valid(event->text, n); /* cut, it may end inside a character */
    memcpy(fill->text + fill->n, event->text, n);
    fill->n += n;
    if (n < event->n)
        lsp_fill_finish(lsp, true);
}

/* What will be refused again is not asked again, but by hand; what may pass (a full queue) the next key
 * tries. */
static void lsp_fill_on_error(struct lsp *lsp, const qwend_event *event)
{
    const bool is_first = event->code == STATUS_DENIED && !lsp->link.no_priority;

    lsp_fill_stop(lsp);
    lsp->link.no_priority |= is_first;
    if (is_first ||
        (event->code != STATUS_UNSUPPORTED && event->code != STATUS_INVALID && event->code != STATUS_DENIED))
        return; /* INVALID: a daemon that is older than gaps */
    lsp->fill.unable = true;
    lsp_show(lsp, LSP_WARNING, "qwend: no completions: %s", event->text);
}

static int lsp_fill_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct lsp *lsp = user;

    if (stream != lsp->fill.stream)
        return 0;
    if (event->type == QWEND_EV_STARTED)
        lsp->fill.unable = false;
    else if (event->type == QWEND_EV_ANSWER)
        lsp_fill_on_text(lsp, event);
    else if (event->type == QWEND_EV_END)
        lsp_fill_finish(lsp, false);
    else if (event->type == QWEND_EV_ERROR)
        lsp_fill_on_error(lsp, event);
    return 0;
}

static int lsp_fill_options(const struct lsp_fill *fill, bool no_priority, qwend_req *req)
{
    int r = qwend_req_set_i(req, QWEND_OPT_MAX_TOKENS, fill->invoked ? LSP_INVOKED_TOKENS : LSP_AUTO_TOKENS);

    if (!r)
        r = qwend_req_set_f(req, QWEND_OPT_TEMPERATURE, 0);
    if (!r && !no_priority)
        r = qwend_req_set_i(req, QWEND_OPT_PRIORITY, LSP_INTERACTIVE);
    if (!r && fill->one_line)
        r = qwend_req_set_s(req, QWEND_OPT_STOP, "\n", 1);
    return r;
}

static void lsp_fill_begin(struct lsp *lsp)
{
    struct lsp_fill *fill = &lsp->fill;
    struct lsp_doc *doc = lsp_docs_find(&lsp->docs, fill->base.uri);
    _cleanup_(qwend_req_freep) qwend_req *req = NULL;
    qwend *q = doc && fill->offset <= doc->n ? lsp_link_get(lsp) : NULL;

    fill->due_ns = 0;
    if (!q || lsp_context_request(&lsp->context, doc, fill->offset, &req) ||
        lsp_fill_options(fill, lsp->link.no_priority, req)) {
        lsp_fill_stop(lsp);
        return;
    }
    fill->state = LSP_FILL_RUNS;
    fill->sent_ns = tick_ns();
    fill->n = 0;
    if (qwend_generate(q, req, lsp_fill_on_event, lsp, &fill->stream))
        lsp_fill_stop(lsp);
}

/* questions */

static bool lsp_fill_from_kept(struct lsp *lsp, json_t *id, bool is_list, const struct lsp_doc *doc,
                               size_t offset)
{
    struct lsp_fill *fill = &lsp->fill;

    for (size_t i = 0; i < LSP_KEPT_MAX; i++) {
        const struct lsp_kept *kept = &fill->kept[(fill->next_kept + LSP_KEPT_MAX - 1 - i) % LSP_KEPT_MAX];
        size_t k;

        if (!kept->n || !lsp_base_goes_on(&kept->base, kept->text, kept->n, doc, offset))
            continue;
        k = offset - kept->base.at;
        if (k == kept->n)
            continue; /* all of it was typed */
        lsp_fill_reply(lsp, id, is_list, doc, offset, kept->text + k, kept->n - k);
        return true;
    }
    return false;
}

static uint64_t lsp_fill_wait_ns(const struct lsp_fill *fill)
{
    const double ms = (fill->first_ms > 0 ? fill->first_ms : LSP_FIRST_MS) / 2;

    return (uint64_t)(CLAMP(ms, (double)LSP_WAIT_MIN_MS, (double)LSP_WAIT_MAX_MS) * 1e6);
}

/* A place that the cursor left is worth knowing at the new one. */
static void lsp_fill_note_jump(struct lsp *lsp, const struct lsp_doc *doc, size_t offset)
{
    struct lsp_fill *fill = &lsp->fill;
    const struct lsp_doc *last = *fill->last_uri ? lsp_docs_find(&lsp->docs, fill->last_uri) : NULL;
    const size_t gap = offset > fill->last_at ? offset - fill->last_at : fill->last_at - offset;

    if (last && (last != doc || gap > LSP_FAR_BYTES))
        lsp_fill_note(lsp, last, fill->last_at);
    memcpy(fill->last_uri, doc->uri, strlen(doc->uri) + 1);
    fill->last_at = offset;
}

static void lsp_fill_start(struct lsp *lsp, json_t *id, const struct lsp_doc *doc, size_t offset,
                           bool is_list, bool invoked)
{
    struct lsp_fill *fill = &lsp->fill;
    const bool goes_on = fill->state == LSP_FILL_RUNS && (!invoked || fill->invoked) &&
                         lsp_base_goes_on(&fill->base, fill->text, fill->n, doc, offset);

    lsp_fill_answer(lsp, NULL, 0);
    if (!goes_on) {
        const size_t end = lsp_line_end(doc->text, doc->n, offset);

        lsp_fill_stop(lsp);
        lsp_base_take(&fill->base, doc, offset);
        fill->one_line = false;
        for (size_t i = offset; i < end; i++)
            fill->one_line |= !lsp_is_blank(doc->text[i]);
        fill->state = LSP_FILL_WAITS;
        fill->invoked = invoked;
        fill->due_ns = tick_ns() + (invoked ? 0 : lsp_fill_wait_ns(fill));
    }
    fill->id = json_incref(id);
    fill->is_list = is_list;
    fill->offset = offset;
}

void lsp_fill_ask(struct lsp *lsp, json_t *id, const json_t *params, bool is_list)
{
    struct lsp_fill *fill = &lsp->fill;
    const struct lsp_doc *doc = lsp_doc_of(lsp, params);
    struct lsp_pos pos;
    int64_t trigger = 0;
    bool invoked;
    size_t offset;

    if (!doc || !lsp_take_pos(json_object_get(params, "position"), &pos)) {
        lsp_refuse(lsp, id, LSP_INVALID_PARAMS, "%s",
                   doc ? "position is none" : "textDocument.uri is not open");
        return;
    }
    offset = lsp_offset(doc->text, doc->n, lsp->docs.utf8, pos);
    lsp_number(json_object_get(params, "context"), "triggerKind", 1, 3, &trigger);
    invoked = !is_list && trigger == LSP_TRIGGER_INVOKED;
    if (fill->off || (fill->unable && !invoked) || doc->stale || doc->secret) {
        lsp_fill_reply(lsp, id, is_list, doc, offset, NULL, 0);
        return;
    }
    lsp_fill_note_jump(lsp, doc, offset);
    if (lsp_fill_from_kept(lsp, id, is_list, doc, offset)) {
        lsp_fill_stop(lsp); /* an older question */
        return;
    }
    lsp_fill_start(lsp, id, doc, offset, is_list, invoked);
}

bool lsp_fill_cancel(struct lsp *lsp, const json_t *id)
{
    struct lsp_fill *fill = &lsp->fill;

    if (!fill->id || !json_equal(fill->id, id))
        return false;
    lsp_refuse(lsp, fill->id, LSP_REQUEST_CANCELLED, "cancelled");
    json_decref(fill->id);
    fill->id = NULL;
    lsp_fill_stop(lsp);
    return true;
}

void lsp_fill_on_time(struct lsp *lsp)
{
    struct lsp_fill *fill = &lsp->fill;

    if (!fill->due_ns || tick_ns() < fill->due_ns)
        return;
    if (fill->state == LSP_FILL_WAITS)
        lsp_fill_begin(lsp);
    else
        lsp_fill_finish(lsp, true);
}

/* reading ahead */

static void lsp_fill_warm(struct lsp *lsp, const struct lsp_doc *doc);

static int lsp_fill_on_warm(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct lsp *lsp = user;
    struct lsp_fill *fill = &lsp->fill;
    const struct lsp_doc *doc;

    if (stream != fill->warm || (event->type != QWEND_EV_END && event->type != QWEND_EV_ERROR))
        return 0;
    qwend_stream_free(fill->warm);
    fill->warm = NULL;
    lsp_context_turn(&lsp->context);
    doc = fill->warm_again ? lsp_docs_find(&lsp->docs, fill->last_uri) : NULL;
    fill->warm_again = false;
    if (doc)
        lsp_fill_warm(lsp, doc);
    return 0;
}

static void lsp_fill_warm(struct lsp *lsp, const struct lsp_doc *doc)
{
    struct lsp_fill *fill = &lsp->fill;
    _cleanup_(qwend_req_freep) qwend_req *req = NULL;
    qwend *q;

    if (fill->warm) {
        fill->warm_again = true;
        return;
    }
    q = fill->off || fill->unable ? NULL : lsp_link_get(lsp);
    if (!q || lsp_context_warm(&lsp->context, doc, &req) ||
        qwend_generate(q, req, lsp_fill_on_warm, lsp, &fill->warm))
        lsp_context_turn(&lsp->context);
}

void lsp_fill_note(struct lsp *lsp, const struct lsp_doc *doc, size_t at)
{
    if (lsp_context_note(&lsp->context, doc, at) != LSP_NOTE_NONE)
        lsp_fill_warm(lsp, doc);
}

void lsp_fill_on_lost(struct lsp *lsp)
{
    lsp_fill_stop(lsp);
    qwend_stream_free(lsp->fill.warm);
    lsp->fill.warm = NULL;
    lsp_context_turn(&lsp->context);
}

void lsp_fill_deinit(struct lsp_fill *fill)
{
    json_decref(fill->id);
}
