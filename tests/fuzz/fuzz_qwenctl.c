/* fuzz_qwenctl.c - libFuzzer target: what qwenctl reads from the user's files and from a model's answers.
 *
 * The same bytes are a configuration, a template, a session and an answer.  What must hold: a refusal names
 * the file; what is taken can be sent (text without NUL) and applied; a code block does not depend on the
 * pieces it comes in and is a part of the answer's lines; a terminal gets no sequence but ours, and its
 * cursor never goes above where the answer began. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/qwenctl/conf.h"
#include "client/qwenctl/fence.h"
#include "client/qwenctl/md.h"
#include "client/qwenctl/session.h"
#include "client/qwenctl/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* files */

static void fuzz_conf(const char *text, size_t n)
{
    struct opt_values values = {};
    struct fault fault = {};
    struct conf conf = {};
    int r = conf_parse(&conf, "f", text, n, &fault);

    assert(r >= 0 && (r ? !strncmp(fault.text, "f:", 2) : !*fault.text));
    for (size_t i = 0; i < conf.n; i++)
        assert(conf.entries[i].opt->conf && *conf.entries[i].value &&
               !strncmp(conf.entries[i].origin, "f:", 2));
    values.profile = conf.n ? conf.entries[conf.n - 1].profile : NULL;
    if (!r) /* each value was tried when it was read */
        assert(!conf_apply(&conf, OPT_ASK, &values, &fault));
    conf_deinit(&conf);
}

static void fuzz_template(const char *text, size_t n)
{
    struct template template = {.path = strdup("f")};
    struct opt_values values = {};
    struct fault fault = {};
    enum code code;

    assert(template.path);
    code = template_parse(&template, text, n, &fault);
    assert(code ? *fault.text == 'f' : !*fault.text);
    if (!code)
        assert(!template_apply(&template, OPT_ASK, &values, &fault));
    assert(!template.question || strlen(template.question) <= n);
    template_deinit(&template);
}

static void fuzz_session(const char *text, size_t n)
{
    qwend_req *req = qwend_req_new();
    struct fault fault = {};
    struct talk talk = {};
    enum code code = session_parse(&talk, "f", text, n, &fault);

    assert(req && (code ? !strncmp(fault.text, "f:", 2) : !*fault.text));
    if (!code)
        assert(!talk_fill(&talk, "q", 1, req));
    qwend_req_free(req);
    talk_deinit(&talk);
}

/* answers */

struct fuzz_text {
    char *data;
    size_t n, cap;
};

static int fuzz_gather(void *arg, const char *text, size_t n)
{
    struct fuzz_text *out = arg;

    assert(out->n + n <= out->cap);
    memcpy(out->data + out->n, text, n);
    out->n += n;
    return 0;
}

static void fuzz_fence(const char *text, size_t n, size_t piece, struct fuzz_text *out)
{
    struct fence fence = {.language = ""};

    out->n = 0;
    for (size_t i = 0; i < n; i += piece)
        assert(!fence_feed(&fence, text + i, MIN(piece, n - i), fuzz_gather, out));
    assert(!fence_end(&fence, fuzz_gather, out));
    assert(fence.found || !out->n);
    fence_deinit(&fence);
}

static void fuzz_fences(const char *text, size_t n, size_t piece)
{
    struct fuzz_text whole = {malloc(n + 1), 0, n}, pieces = {malloc(n + 1), 0, n};

    assert(whole.data && pieces.data);
    fuzz_fence(text, n, n, &whole);
    fuzz_fence(text, n, piece, &pieces);
    assert(whole.n == pieces.n && !memcmp(whole.data, pieces.data, whole.n));
    free(whole.data);
    free(pieces.data);
}

/* Only what md.c and md_paint.c write: SGR, up, erase below; row counts from where the answer began. */
static int fuzz_terminal(void *arg, const char *text, size_t n)
{
    long *row = arg;

    for (size_t i = 0; i < n; i++) {
        char end;
        long number = 0;

        *row += text[i] == '\n';
        assert((unsigned char)text[i] >= ' ' || strchr("\n\r\t\033", text[i]));
        if (text[i] != '\033')
            continue;
        assert(text[++i] == '[');
        while (strchr("0123456789;", text[++i]) && text[i])
            number = text[i] == ';' ? 0 : 10 * number + text[i] - '0';
        end = text[i];
        assert(end == 'm' || end == 'A' || end == 'J');
        *row -= end == 'A' ? number : 0;
        assert(*row > -1000000);
    }
    return 0;
}

static void fuzz_md(const char *text, size_t n, size_t piece)
{
    struct md *md = md_new();
    long row = 0;

    if (!md)
        return; /* built without */
    md_set_size(md, 20 + (unsigned)piece % 60, 5 + (unsigned)piece % 20);
    for (size_t i = 0; i < n; i += piece)
        assert(!md_feed(md, text + i, MIN(piece, n - i), fuzz_terminal, &row));
    assert(!md_end(md, fuzz_terminal, &row));
    md_free(md);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const size_t piece = n ? 1 + data[0] % 40 : 1;
    char *text;

    if (!n)
        return 0;
    text = strndup((const char *)data + 1, n - 1); /* files are read with a NUL behind them */
    assert(text);
    n = strlen(text);
    fuzz_conf(text, n);
    fuzz_template(text, n);
    fuzz_session(text, n);
    fuzz_md(text, n, piece);
    if (n)
        fuzz_fences(text, n, piece);
    free(text);
    return 0;
}
