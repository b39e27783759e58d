/* fuzz_lsp.c - libFuzzer target: the language server's framing, and its documents under changes.
 *
 * The input is read twice: as a stream of bytes that comes in two pieces, and as a list of changes to one
 * document.  What must hold: every message lies within the stream, whatever the pieces; a document is what an
 * editor that keeps an array of lines has; counts and what is shown of it stay within bounds; a position is
 * where its offset was. */
#include <assert.h>
#include <string.h>

#include "client/qwenctl/lsp_context.h"
#include "client/qwenctl/lsp_frame.h"

enum { FUZZ_TEXT_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* framing */

static size_t fuzz_frames(const uint8_t *data, size_t n, size_t cut, int *ret_r)
{
    struct lsp_frame frame = {};
    const size_t pieces[] = {cut, n - cut};
    size_t sum = 0;
    int r = LSP_FRAME_E_AGAIN;

    for (int i = 0; i < 2 && r == LSP_FRAME_E_AGAIN; i++) {
        struct fault fault = {};
        const char *body;
        char *tail;
        size_t n_body;

        assert(!lsp_frame_reserve(&frame, pieces[i], &tail));
        if (pieces[i])
            memcpy(tail, data + (i ? cut : 0), pieces[i]);
        lsp_frame_commit(&frame, pieces[i]);
        while (!(r = lsp_frame_next(&frame, &fault, &body, &n_body))) {
            assert(body >= frame.data && body + n_body <= frame.data + frame.n);
            sum = 31 * sum + n_body + (n_body ? (size_t)(unsigned char)body[n_body - 1] : 0);
        }
        assert((r == LSP_FRAME_E_BAD) == (*fault.text != 0));
    }
    lsp_frame_deinit(&frame);
    *ret_r = r;
    return sum;
}

/* The reference editor: a text as a list of lines, each with its end; a change joins, cuts and splits them
 * anew. */

struct fuzz_line {
    size_t begin, n, n_break;
};

static size_t fuzz_split(const char *text, size_t n, struct fuzz_line *lines)
{
    size_t n_lines = 0, begin = 0;

    for (size_t i = 0; i <= n; i++) {
        size_t n_break = 0;

        if (i < n && text[i] == '\r')
            n_break = i + 1 < n && text[i + 1] == '\n' ? 2 : 1;
        else if (i < n && text[i] == '\n')
            n_break = 1;
        else if (i < n)
            continue;
        lines[n_lines++] = (struct fuzz_line){begin, i - begin, n_break};
        i += n_break ? n_break - 1 : 0;
        begin = i + 1;
    }
    return n_lines;
}

static size_t fuzz_offset(const char *text, size_t n, bool utf8, struct lsp_pos pos)
{
    static struct fuzz_line lines[FUZZ_TEXT_MAX + 1];
    const size_t n_lines = fuzz_split(text, n, lines);
    size_t units = 0, at, end;

    if (pos.line >= n_lines)
        return n;
    at = lines[pos.line].begin;
    end = at + lines[pos.line].n;
    while (at < end) {
        size_t next = at + 1;

        while (next < end && ((unsigned char)text[next] & 0xc0) == 0x80)
            next++;
        units += utf8 ? next - at : next - at == 4 ? 2 : 1;
        if (units > pos.character)
            break;
        at = next;
    }
    return at;
}

/* changes: each is 4 small numbers of a range, a length, and so many characters of an alphabet with all
 * widths */

static size_t fuzz_text(const uint8_t *data, size_t n, char *text)
{
    static const char *const alphabet[] = {
        "a", "\n", "\r", "\r\n", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", " "};
    size_t n_text = 0;

    for (size_t i = 0; i < n; i++) {
        const char *c = alphabet[data[i] % ARRAY_SIZE(alphabet)];

        memcpy(text + n_text, c, strlen(c));
        n_text += strlen(c);
    }
    return n_text;
}

static void fuzz_compare(const struct lsp_docs *docs, struct lsp_doc *doc, const char *text, size_t n,
                         uint8_t where)
{
    const size_t at = fuzz_offset(text, n, docs->utf8, (struct lsp_pos){where % 8, where / 8});
    const struct lsp_pos pos = lsp_position(doc->text, doc->n, docs->utf8, at);

    assert(doc->n == n && !memcmp(doc->text, text, n) && !doc->text[n] && docs->n_bytes == n);
    assert(lsp_offset(doc->text, n, docs->utf8, pos) == at);
    assert(doc->begin <= n && doc->end <= n);
    lsp_context_window(doc, at);
    assert(doc->begin <= at && at <= doc->end && doc->end <= n);
}

static void fuzz_changes(const uint8_t *data, size_t n, bool utf8)
{
    static char text[FUZZ_TEXT_MAX], with[1024];
    struct lsp_docs docs = {.utf8 = utf8};
    struct lsp_doc *doc;
    size_t n_text = 0;

    assert(!lsp_docs_open(&docs, "u", "c", 1, "", 0, &doc));
    while (n >= 6) {
        const struct lsp_range range = {{data[0] % 16, data[1] % 16}, {data[2] % 16, data[3] % 16}};
        const size_t n_given = MIN((size_t)data[4], n - 6);
        const size_t n_with = fuzz_text(data + 6, n_given, with);
        const size_t begin = fuzz_offset(text, n_text, utf8, range.start),
                     end = fuzz_offset(text, n_text, utf8, range.end);
        const int r = lsp_docs_edit(&docs, doc, &range, with, n_with);

        assert((r == LSP_DOC_E_RANGE) == (begin > end));
        if (!r) {
            memmove(text + begin + n_with, text + end, n_text - end);
            memcpy(text + begin, with, n_with);
            n_text += n_with - (end - begin);
        }
        fuzz_compare(&docs, doc, text, n_text, data[5]);
        n -= 6 + n_given;
        data += 6 + n_given;
        if (n_text + sizeof(with) > sizeof(text))
            break;
    }
    lsp_docs_deinit(&docs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    int one, two;
    const size_t sum = fuzz_frames(data, n, 0, &one);

    assert(fuzz_frames(data, n, n ? data[0] % n : 0, &two) == sum && one == two);
    fuzz_changes(data, n, true);
    fuzz_changes(data, n, false);
    return 0;
}
