/* prompt_cut.c - a document shortened to what the context has room for.  See prompt.h.
 *
 * The daemon counts the tokens, since only it has the vocabulary.  A few are left free, as tokens next to a
 * cut and the template's own are not counted one by one. */
#include <string.h>

#include "prompt.h"

enum {
    CUT_MESSAGE_TOK = 16,  /* what the template puts around a message, with some to spare */
    CUT_SPARE_TOK = 48,    /* the mark, and tokens that two cut pieces no longer share */
    CUT_ANSWER_TOK = 2048, /* left for an answer without --max-tokens, if that is no more than a quarter */
    CUT_LEAST_TOK = 16,    /* less of a document says nothing */
    CUT_TOKEN_BYTES = 64,  /* more text than tokens times this need not be counted: few tokens are as long */
};

static const char cut_mark[] = "\n[... left out ...]\n";

static enum code cut_count(const struct prompt_cut *cut, const char *text, size_t n, size_t *n_tok,
                           struct fault *fault)
{
    _cleanup_(freep) uint32_t *ids = NULL;
    size_t n_ids;
    int r;

    if (!text)
        return CODE_OK;
    r = qwend_tokenize(cut->q, text, n, QWEND_SPECIAL_NONE, &ids, &n_ids);
    if (r)
        return (enum code)fault_set(fault,
                                    r < 0 ? code_of_errno(r) : code_of_status(qwend_error_code(cut->q)),
                                    "counting tokens: %s", qwend_error(cut->q));
    *n_tok += n_ids;
    return CODE_OK;
}

/* Tokens that the document may have. */
static enum code cut_budget(const struct prompt_cut *cut, size_t *ret_budget, struct fault *fault)
{
    const struct opt_int max_tokens = cut->args->values->max_tokens;
    size_t used = cut->n_messages * CUT_MESSAGE_TOK + CUT_SPARE_TOK;
    enum code code = CODE_OK;
    qwend_status_info info;
    int r = qwend_status(cut->q, &info);

    if (r)
        return (enum code)fault_set(fault,
                                    r < 0 ? code_of_errno(r) : code_of_status(qwend_error_code(cut->q)),
                                    "asking for the context: %s", qwend_error(cut->q));
    const size_t context = info.context;
    for (size_t i = 0; !code && i < ARRAY_SIZE(cut->rest); i++)
        code = cut_count(cut, cut->rest[i], cut->n_rest[i], &used, fault);
    if (!code)
        code = cut_count(cut, cut->turns, cut->n_turns, &used, fault);
    used += max_tokens.given ? (size_t)max_tokens.value : MIN((size_t)CUT_ANSWER_TOK, context / 4);
    if (!code && used + CUT_LEAST_TOK > context)
        return (enum code)fault_set(
            fault, CODE_TOO_LONG,
            "without the document %zu of %zu tokens are taken already: no room for any of it", used, context);
    if (!code)
        *ret_budget = context - used;
    return code;
}

/* The bytes of text's first or last n_tok tokens, on a character's boundary. */
static enum code cut_side(const struct prompt_cut *cut, const char *text, size_t n, bool head, size_t n_tok,
                          size_t *ret_n, struct fault *fault)
{
    const size_t limit = MIN(n, n_tok * CUT_TOKEN_BYTES);
    _cleanup_(freep) uint32_t *ids = NULL;
    _cleanup_(freep) char *kept = NULL;
    size_t n_ids, at = head ? 0 : n - limit, n_kept;
    int r;

    while (at && at < n && ((unsigned char)text[at] & 0xc0) == 0x80) /* into a character */
        at++;
    n_kept = head ? qwend_utf8_valid(text, limit) : n - at;
    r = qwend_tokenize(cut->q, text + at, n_kept, QWEND_SPECIAL_NONE, &ids, &n_ids);
    if (!r && n_ids > n_tok)
        r = qwend_detokenize(cut->q, head ? ids : ids + (n_ids - n_tok), n_tok, &kept, &n_kept);
    if (r)
        return (enum code)fault_set(fault,
                                    r < 0 ? code_of_errno(r) : code_of_status(qwend_error_code(cut->q)),
                                    "cutting the input: %s", qwend_error(cut->q));
    if (head)
        n_kept = qwend_utf8_valid(text, MIN(n_kept, n));
    else
        while (n_kept && ((unsigned char)text[n - n_kept] & 0xc0) == 0x80)
            n_kept--;
    *ret_n = n_kept;
    return CODE_OK;
}

/* The document becomes its first n_head bytes, the mark, its last n_tail bytes. */
static enum code cut_make(struct prompt *prompt, size_t n_head, size_t n_tail, struct fault *fault)
{
    char *data = NULL;
    size_t n;
    FILE *out = open_memstream(&data, &n);

    if (!out)
        return (enum code)fault_set(fault, CODE_FAILED, "out of memory");
    fwrite(prompt->document, 1, n_head, out);
    fputs(n_head ? cut_mark : cut_mark + 1, out);
    fwrite(prompt->document + prompt->n_document - n_tail, 1, n_tail, out);
    if (fclose(out)) {
        free(data);
        return (enum code)fault_set(fault, CODE_FAILED, "out of memory");
    }
    free(prompt->document);
    prompt->document = data;
    prompt->n_document = n;
    return CODE_OK;
}

enum code prompt_cut(const struct prompt_cut *cut, struct prompt *prompt, size_t *ret_kept, size_t *ret_all,
                     struct fault *fault)
{
    const int keep = cut->args->values->overflow;
    size_t budget, n_head = 0, n_tail = 0, n_all = prompt->n_document;
    enum code code;

    code = cut_budget(cut, &budget, fault);
    if (!code && keep != OPT_OVERFLOW_TAIL)
        code = cut_side(cut, prompt->document, n_all, true, budget, &n_head, fault);
    if (!code && keep != OPT_OVERFLOW_HEAD && n_head < n_all)
        code = cut_side(cut, prompt->document, n_all, false, budget, &n_tail, fault);
    if (code)
        return code;
    *ret_all = *ret_kept = n_all;
    if (n_head == n_all || n_tail == n_all)
        return CODE_OK;
    if (keep == OPT_OVERFLOW_MIDDLE) { /* half of the room for either end */
        code = cut_side(cut, prompt->document, n_all, true, budget / 2, &n_head, fault);
        if (!code)
            code = cut_side(cut, prompt->document, n_all, false, budget - budget / 2, &n_tail, fault);
    }
    *ret_kept = n_head + n_tail;
    return code ? code : cut_make(prompt, n_head, n_tail, fault);
}
