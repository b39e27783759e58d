/* lsp_doc.c - open documents and their changes.  See lsp_doc.h. */
#include "lsp_doc.h"

#include <string.h>

/* positions */

/* The line break at text[i], 0: there is none. */
static size_t lsp_break(const char *text, size_t n, size_t i)
{
    if (i >= n || (text[i] != '\n' && text[i] != '\r'))
        return 0;
    return text[i] == '\r' && i + 1 < n && text[i + 1] == '\n' ? 2 : 1;
}

static size_t lsp_char_bytes(const char *text, size_t n, size_t i)
{
    const unsigned char c = (unsigned char)text[i];
    const size_t want = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    return MIN(want, n - i);
}

static size_t lsp_char_units(size_t n_bytes, bool utf8)
{
    return utf8 ? n_bytes : n_bytes == 4 ? 2 : 1;
}

size_t lsp_line_start(const char *text, size_t at)
{
    while (at && text[at - 1] != '\n' && text[at - 1] != '\r')
        at--;
    return at;
}

size_t lsp_line_end(const char *text, size_t n, size_t at)
{
    while (at < n && text[at] != '\n' && text[at] != '\r')
        at++;
    return at;
}

size_t lsp_offset(const char *text, size_t n, bool utf8, struct lsp_pos pos)
{
    size_t i = 0, units = 0;

    for (uint32_t line = 0; line < pos.line; line++) {
        i = lsp_line_end(text, n, i);
        if (i == n)
            return n;
        i += lsp_break(text, n, i);
    }
    while (i < n && !lsp_break(text, n, i)) {
        const size_t n_bytes = lsp_char_bytes(text, n, i);

        units += lsp_char_units(n_bytes, utf8);
        if (units > pos.character)
            break;
        i += n_bytes;
    }
    return i;
}

struct lsp_pos lsp_position(const char *text, size_t n, bool utf8, size_t offset)
{
    struct lsp_pos pos = {};
    size_t i = 0, start = 0;

    while (i < offset) {
        const size_t n_break = lsp_break(text, n, i);

        i += n_break ? n_break : 1;
        if (n_break && i <= offset) {
            pos.line++;
            start = i;
        }
    }
    for (i = start; i < offset && !lsp_break(text, n, i);) {
        const size_t n_bytes = lsp_char_bytes(text, n, i);

        if (i + n_bytes > offset)
            break;
        i += n_bytes;
        pos.character += (uint32_t)lsp_char_units(n_bytes, utf8);
    }
    return pos;
}

/* documents */

static struct lsp_doc *lsp_doc_free(struct lsp_doc *doc)
{
    if (!doc)
        return NULL;
    free(doc->uri);
    free(doc->language);
    free(doc->text);
    free(doc);
    return NULL;
}
CLEANUP_FUNC(struct lsp_doc, lsp_doc_free)

void lsp_docs_deinit(struct lsp_docs *docs)
{
    for (size_t i = 0; i < docs->n; i++)
        lsp_doc_free(docs->docs[i]);
    docs->n = docs->n_bytes = 0;
}

struct lsp_doc *lsp_docs_find(const struct lsp_docs *docs, const char *uri)
{
    for (size_t i = 0; i < docs->n; i++)
        if (!strcmp(docs->docs[i]->uri, uri))
            return docs->docs[i];
    return NULL;
}

void lsp_docs_close(struct lsp_docs *docs, const char *uri)
{
    for (size_t i = 0; i < docs->n; i++) {
        if (strcmp(docs->docs[i]->uri, uri))
            continue;
        docs->n_bytes -= docs->docs[i]->n;
        lsp_doc_free(docs->docs[i]);
        docs->docs[i] = docs->docs[--docs->n];
        return;
    }
}

void lsp_docs_distrust(struct lsp_docs *docs)
{
    for (size_t i = 0; i < docs->n; i++)
        docs->docs[i]->stale = true;
}

/* Whether a text of n bytes may take the place of one of n_old. */
static bool lsp_docs_has_room(const struct lsp_docs *docs, size_t n_old, size_t n)
{
    return n <= LSP_DOC_BYTES_MAX && docs->n_bytes - n_old + n <= LSP_DOCS_BYTES_MAX;
}

/* An offset behind the change moves with its text, one inside goes to the change's end. */
static size_t lsp_doc_moved(size_t at, size_t begin, size_t end, size_t n)
{
    if (at <= begin)
        return at;
    return at >= end ? at - (end - begin) + n : begin + n;
}

static int lsp_doc_grow(struct lsp_doc *doc, size_t n)
{
    size_t cap = MAX(doc->cap, (size_t)256);
    char *text;

    while (cap < n + 1)
        cap *= 2;
    if (cap == doc->cap)
        return 0;
    text = realloc(doc->text, cap);
    if (!text)
        return err_origin(-ENOMEM);
    doc->text = text;
    doc->cap = cap;
    return 0;
}

static int lsp_doc_splice(struct lsp_doc *doc, size_t begin, size_t end, const char *text, size_t n)
{
    const size_t n_new = doc->n - (end - begin) + n;
    int r;

    r = lsp_doc_grow(doc, MAX(n_new, doc->n));
    if (r)
        return r;
    memmove(doc->text + begin + n, doc->text + end, doc->n - end);
    if (n)
        memcpy(doc->text + begin, text, n);
    doc->begin = lsp_doc_moved(doc->begin, begin, end, n);
    doc->end = lsp_doc_moved(doc->end, begin, end, n);
    doc->edited = begin + n;
    doc->n = n_new;
    doc->text[n_new] = 0;
    return 0;
}

int lsp_docs_edit(struct lsp_docs *docs, struct lsp_doc *doc, const struct lsp_range *range, const char *text,
                  size_t n)
{
    size_t begin = 0, end = doc->n;
    int r;

    if (range) {
        begin = lsp_offset(doc->text, doc->n, docs->utf8, range->start);
        end = lsp_offset(doc->text, doc->n, docs->utf8, range->end);
    }
    r = begin > end ? LSP_DOC_E_RANGE : 0;
    if (!r && !lsp_docs_has_room(docs, end - begin, n))
        r = LSP_DOC_E_FULL;
    if (!r && doc->n - (end - begin) + n > LSP_DOC_BYTES_MAX)
        r = LSP_DOC_E_FULL;
    if (!r) {
        docs->n_bytes = docs->n_bytes - (end - begin) + n;
        r = lsp_doc_splice(doc, begin, end, text, n);
        if (r)
            docs->n_bytes = docs->n_bytes - n + (end - begin);
    }
    if (r)
        doc->stale = true;
    else if (!range)
        doc->stale = false;
    return r;
}

int lsp_docs_open(struct lsp_docs *docs, const char *uri, const char *language, int64_t version,
                  const char *text, size_t n, struct lsp_doc **ret_doc)
{
    _cleanup_(lsp_doc_freep) struct lsp_doc *doc = NULL;
    int r;

    lsp_docs_close(docs, uri);
    if (docs->n == LSP_DOCS_MAX || strlen(uri) > LSP_URI_MAX || !lsp_docs_has_room(docs, 0, n))
        return LSP_DOC_E_FULL;
    doc = calloc(1, sizeof(*doc));
    if (!doc)
        return err_origin(-ENOMEM);
    doc->uri = strdup(uri);
    doc->language = strdup(language);
    if (!doc->uri || !doc->language)
        return err_origin(-ENOMEM);
    r = lsp_doc_splice(doc, 0, 0, text, n);
    if (r)
        return r;
    doc->version = version;
    docs->n_bytes += n;
    docs->docs[docs->n++] = doc;
    *ret_doc = steal(&doc);
    return 0;
}
