/* lsp_context.c - the context of a completion.  See lsp_context.h. */
#include "lsp_context.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"

enum { LSP_ORDER_PREFIX = 1, LSP_ORDER_SUFFIX };

static void lsp_epoch_deinit(struct lsp_epoch *epoch)
{
    for (size_t i = 0; i < epoch->n; i++) {
        free(epoch->chunks[i].name);
        free(epoch->chunks[i].text);
    }
    epoch->n = epoch->n_bytes = 0;
}

void lsp_context_deinit(struct lsp_context *context)
{
    lsp_epoch_deinit(&context->now);
    lsp_epoch_deinit(&context->next);
    lsp_globs_deinit(&context->globs);
    free(context->root);
    free(context->repo);
}

/* names */

static int lsp_hex(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
                                        : -1;
}

void lsp_uri_path(const char *uri, char ret_path[LSP_URI_MAX + 1])
{
    size_t n = 0;

    if (!strncmp(uri, "file://", 7))
        uri += 7;
    for (; *uri && n < LSP_URI_MAX; uri++) {
        char c = *uri;

        if (c == '%' && lsp_hex(uri[1]) >= 0 && lsp_hex(uri[2]) >= 0) {
            c = (char)(16 * lsp_hex(uri[1]) + lsp_hex(uri[2]));
            uri += 2;
        }
        ret_path[n++] = (unsigned char)c < ' ' || c == 0x7f ? '?' : c;
    }
    ret_path[n] = 0;
}

int lsp_context_set_root(struct lsp_context *context, const char *uri)
{
    char path[LSP_URI_MAX + 1];
    size_t n;

    lsp_uri_path(uri, path);
    for (n = strlen(path); n > 1 && path[n - 1] == '/';)
        path[--n] = 0;
    if (qwend_utf8_valid(path, n) != n || !strrchr(path, '/') || !strrchr(path, '/')[1])
        return 0; /* no name that a model could be told */
    free(context->root);
    free(context->repo);
    context->root = strdup(path);
    context->repo = strndup(strrchr(path, '/') + 1, 255);
    if (!context->root || !context->repo)
        return err_origin(-ENOMEM);
    context->repo[qwend_utf8_valid(context->repo, strlen(context->repo))] = 0;
    return 0;
}

void lsp_context_name(const struct lsp_context *context, const char *uri, char ret_name[LSP_URI_MAX + 1])
{
    char path[LSP_URI_MAX + 1];
    const char *name = path;
    const size_t n = context->root ? strlen(context->root) : 0;

    lsp_uri_path(uri, path);
    if (n && !strncmp(path, context->root, n) && path[n] == '/')
        name = path + n + 1;
    snprintf(ret_name, LSP_URI_MAX + 1, "%s", name);
    ret_name[qwend_utf8_valid(ret_name, strlen(ret_name))] = 0;
}

/* chunks */

static size_t lsp_n_lines(const char *text, size_t n)
{
    size_t n_lines = 0;

    for (size_t i = 0; i < n; i++)
        n_lines += text[i] == '\n';
    return n_lines + (n && text[n - 1] != '\n');
}

static bool lsp_has_line(const struct lsp_chunk *chunk, const char *line, size_t n)
{
    const char *end = chunk->text + chunk->n;

    for (const char *p = chunk->text; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        const size_t n_line = (size_t)((stop ? stop : end) - p);

        if (n_line == n && !memcmp(p, line, n))
            return true;
        p += n_line + 1;
    }
    return false;
}

/* More than nine lines of ten are the same: it would be read twice for nothing. */
static bool lsp_chunk_is_like(const struct lsp_chunk *chunk, const char *text, size_t n)
{
    const size_t n_lines = MAX(lsp_n_lines(text, n), lsp_n_lines(chunk->text, chunk->n));
    size_t n_same = 0;

    for (size_t i = 0; i < n;) {
        const char *stop = memchr(text + i, '\n', n - i);
        const size_t n_line = stop ? (size_t)(stop - text) - i : n - i;

        n_same += lsp_has_line(chunk, text + i, n_line);
        i += n_line + 1;
    }
    return 10 * n_same > 9 * n_lines;
}

static bool lsp_epoch_has(const struct lsp_epoch *epoch, const char *text, size_t n)
{
    for (size_t i = 0; i < epoch->n; i++)
        if (lsp_chunk_is_like(&epoch->chunks[i], text, n))
            return true;
    return false;
}

static bool lsp_epoch_has_room(const struct lsp_epoch *epoch, size_t n)
{
    return epoch->n < LSP_CHUNKS_MAX && epoch->n_bytes + n <= LSP_EPOCH_BYTES;
}

static int lsp_epoch_push(struct lsp_epoch *epoch, const char *name, const char *text, size_t n)
{
    struct lsp_chunk chunk = {strdup(name), strndup(text, n), n};

    if (!chunk.name || !chunk.text) {
        free(chunk.name);
        free(chunk.text);
        return err_origin(-ENOMEM);
    }
    epoch->chunks[epoch->n++] = chunk;
    epoch->n_bytes += n;
    return 0;
}

/* The newer half stays, in its order. */
static int lsp_context_begin_turn(struct lsp_context *context)
{
    const struct lsp_epoch *now = &context->now;
    size_t first = now->n, n_bytes = 0;
    int r = 0;

    while (first && n_bytes + now->chunks[first - 1].n <= LSP_EPOCH_BYTES / 2)
        n_bytes += now->chunks[--first].n;
    for (size_t i = first; !r && i < now->n; i++)
        r = lsp_epoch_push(&context->next, now->chunks[i].name, now->chunks[i].text, now->chunks[i].n);
    context->turning = !r;
    if (r)
        lsp_epoch_deinit(&context->next);
    return r;
}

/* Whole lines around `at`, no more than a chunk has. */
static void lsp_lines_around(const struct lsp_doc *doc, size_t at, size_t *ret_begin, size_t *ret_end)
{
    size_t begin = lsp_line_start(doc->text, MIN(at, doc->n)), end = begin;

    for (int i = 0; i < LSP_CHUNK_LINES / 2 && begin && at - begin < LSP_CHUNK_BYTES / 2; i++)
        begin = lsp_line_start(doc->text, begin - 1);
    while (begin < at && at - begin > LSP_CHUNK_BYTES / 2)
        begin = MIN(lsp_line_end(doc->text, doc->n, begin) + 1, doc->n);
    for (int i = 0; i < LSP_CHUNK_LINES / 2 && end < doc->n; i++) {
        const size_t next = MIN(lsp_line_end(doc->text, doc->n, end) + 1, doc->n);

        if (next - begin > LSP_CHUNK_BYTES)
            break;
        end = next;
    }
    *ret_begin = begin;
    *ret_end = MAX(begin, end);
}

int lsp_context_note(struct lsp_context *context, const struct lsp_doc *doc, size_t at)
{
    struct lsp_epoch *epoch = context->turning ? &context->next : &context->now;
    char name[LSP_URI_MAX + 1];
    size_t begin, end;
    const char *text;

    if (doc->secret || doc->stale)
        return LSP_NOTE_NONE;
    lsp_lines_around(doc, at, &begin, &end);
    text = doc->text + begin;
    if (lsp_n_lines(text, end - begin) < 3 || qwend_utf8_valid(text, end - begin) != end - begin ||
        lsp_secret_text(text, end - begin) || lsp_epoch_has(epoch, text, end - begin))
        return LSP_NOTE_NONE;
    lsp_context_name(context, doc->uri, name);
    if (!lsp_epoch_has_room(epoch, end - begin)) {
        if (context->turning || lsp_context_begin_turn(context))
            return LSP_NOTE_NONE; /* it was not that important */
        epoch = &context->next;
    }
    if (lsp_epoch_push(epoch, name, text, end - begin))
        return LSP_NOTE_NONE;
    return context->turning ? LSP_NOTE_TURNS : LSP_NOTE_GREW;
}

void lsp_context_turn(struct lsp_context *context)
{
    if (!context->turning)
        return;
    lsp_epoch_deinit(&context->now);
    context->now = context->next;
    context->next.n = context->next.n_bytes = 0;
    context->turning = false;
}

/* the window */

static size_t lsp_char_start(const char *text, size_t at)
{
    while (at && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    return at;
}

void lsp_context_window(struct lsp_doc *doc, size_t at)
{
    if (doc->begin > at || at - doc->begin > LSP_BEFORE_MAX ||
        (doc->begin && at - doc->begin < LSP_BEHIND_MIN)) {
        const size_t from = lsp_char_start(doc->text, at > LSP_BEFORE_MIN ? at - LSP_BEFORE_MIN : 0);

        doc->begin = lsp_line_start(doc->text, from);
        if (at - doc->begin > LSP_BEFORE_MAX) /* one long line */
            doc->begin = from;
    }
    if (doc->end < at || doc->end - at > LSP_BEHIND_MAX ||
        (doc->end < doc->n && doc->end - at < LSP_BEHIND_MIN)) {
        const size_t to = lsp_char_start(doc->text, MIN(at + LSP_BEHIND_NEW, doc->n));

        doc->end = lsp_line_end(doc->text, doc->n, to);
        if (doc->end - at > LSP_BEHIND_MAX)
            doc->end = to;
    }
}

static int lsp_context_head(const struct lsp_context *context, const struct lsp_epoch *epoch, const char *uri,
                            qwend_req *req)
{
    char name[LSP_URI_MAX + 1];
    int r = 0;

    for (size_t i = 0; !r && i < epoch->n; i++)
        r = qwend_req_fim_extra(req, epoch->chunks[i].name, epoch->chunks[i].text, epoch->chunks[i].n);
    lsp_context_name(context, uri, name);
    if (!r)
        r = qwend_req_set_s(req, QWEND_OPT_FIM_FILE, name, (size_t)-1);
    if (!r && context->repo)
        r = qwend_req_set_s(req, QWEND_OPT_FIM_REPO, context->repo, (size_t)-1);
    if (!r)
        r = qwend_req_set_i(req, QWEND_OPT_FIM_ORDER,
                            context->prefix_first ? LSP_ORDER_PREFIX : LSP_ORDER_SUFFIX);
    return r;
}

int lsp_context_request(const struct lsp_context *context, struct lsp_doc *doc, size_t at,
                        qwend_req **ret_req)
{
    _cleanup_(qwend_req_freep) qwend_req *req = qwend_req_new();
    int r;

    if (!req)
        return err_origin(-ENOMEM);
    lsp_context_window(doc, at);
    if (lsp_secret_text(doc->text + doc->begin, doc->end - doc->begin))
        return LSP_CONTEXT_E_SECRET;
    r = lsp_context_head(context, &context->now, doc->uri, req);
    if (!r)
        r = qwend_req_fim(req, doc->text + doc->begin, at - doc->begin, doc->text + at, doc->end - at);
    if (!r)
        *ret_req = steal(&req);
    return r;
}

int lsp_context_warm(const struct lsp_context *context, const struct lsp_doc *doc, qwend_req **ret_req)
{
    _cleanup_(qwend_req_freep) qwend_req *req = qwend_req_new();
    int r;

    if (!req)
        return err_origin(-ENOMEM);
    r = lsp_context_head(context, context->turning ? &context->next : &context->now, doc->uri, req);
    if (!r)
        r = qwend_req_fim(req, "", 0, "\n", 1);
    if (!r)
        r = qwend_req_set_i(req, QWEND_OPT_MAX_TOKENS, 0);
    if (!r)
        *ret_req = steal(&req);
    return r;
}
