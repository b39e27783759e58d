/* fim.c - a text with a gap to token ids.  See fim.h. */
#include "fim.h"

#include <string.h>

enum fim_token { FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE, FIM_REPO, FIM_FILE, FIM_PAD, FIM_TOKEN_N };

static const char *const fim_names[] = {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
                                        "<|repo_name|>",  "<|file_sep|>",   "<|fim_pad|>"};

enum {
    FIM_NAME_BYTES = 14, /* the longest of them */
    FIM_TAIL_TOK = 16,   /* a word longer than this is read anew in part */
};

void fim_mark_stops(const struct tokenizer *tokenizer, bool *stops)
{
    for (int i = 0; i < FIM_TOKEN_N; i++) {
        const int32_t id = tokenizer_find(tokenizer, fim_names[i]);

        if (id >= 0)
            stops[id] = true;
    }
}

/* layout */

struct fim_text {
    char *text; /* owned, as is plain */
    size_t n, n_plain;
    struct tokenizer_plain *plain;
};

static void fim_text_deinit(struct fim_text *t)
{
    free(t->text);
    free(t->plain);
}

static void fim_put(struct fim_text *t, const char *s, size_t n)
{
    if (n)
        memcpy(t->text + t->n, s, n);
    t->n += n;
}

static void fim_put_token(struct fim_text *t, enum fim_token token)
{
    fim_put(t, fim_names[token], strlen(fim_names[token]));
}

/* What a caller wrote; s NULL: nothing. */
static void fim_put_plain(struct fim_text *t, const char *s)
{
    const size_t n = s ? strlen(s) : 0;

    if (!n)
        return;
    t->plain[t->n_plain++] = (struct tokenizer_plain){t->n, t->n + n};
    fim_put(t, s, n);
}

static void fim_put_name(struct fim_text *t, enum fim_token token, const char *name)
{
    fim_put_token(t, token);
    fim_put_plain(t, name);
    fim_put(t, "\n", 1);
}

static bool fim_has_files(const Qwp__Fim *fim)
{
    return fim->n_extra || fim->file || fim->repo;
}

static bool fim_is_suffix_first(const Qwp__Fim *fim)
{
    return fim->has_order && fim->order == QWP__FIM__ORDER__SUFFIX_FIRST;
}

static size_t fim_bytes(const char *s)
{
    return (s ? strlen(s) : 0) + FIM_NAME_BYTES + 1;
}

static int fim_text_alloc(struct fim_text *t, const Qwp__Fim *fim)
{
    size_t n = fim_bytes(fim->repo) + fim_bytes(fim->file) + fim_bytes(fim->prefix) + fim_bytes(fim->suffix) +
               fim_bytes(NULL);

    for (size_t i = 0; i < fim->n_extra; i++)
        n += fim_bytes(fim->extra[i]->name) + fim_bytes(fim->extra[i]->text);
    t->text = malloc(n);
    t->plain = calloc(2 * fim->n_extra + 4, sizeof(*t->plain));
    return t->text && t->plain ? 0 : err_origin(-ENOMEM);
}

static void fim_lay_out(struct fim_text *t, const Qwp__Fim *fim)
{
    const bool turned = fim_is_suffix_first(fim);

    if (fim->repo)
        fim_put_name(t, FIM_REPO, fim->repo);
    for (size_t i = 0; i < fim->n_extra; i++) {
        fim_put_name(t, FIM_FILE, fim->extra[i]->name);
        fim_put_plain(t, fim->extra[i]->text);
        if (t->text[t->n - 1] != '\n')
            fim_put(t, "\n", 1);
    }
    if (fim_has_files(fim))
        fim_put_name(t, FIM_FILE, fim->file);
    fim_put_token(t, turned ? FIM_SUFFIX : FIM_PREFIX);
    fim_put_plain(t, turned ? fim->suffix : fim->prefix);
    fim_put_token(t, turned ? FIM_PREFIX : FIM_SUFFIX);
    fim_put_plain(t, turned ? fim->prefix : fim->suffix);
    fim_put_token(t, FIM_MIDDLE);
}

/* checks */

static int fim_check_tokens(const struct tokenizer *tokenizer, const Qwp__Fim *fim, struct fault *fault)
{
    const int n = fim_has_files(fim) ? FIM_FILE + 1 : FIM_MIDDLE + 1;

    for (int i = 0; i < n; i++)
        if (tokenizer_find(tokenizer, fim_names[i]) < 0)
            return fault_set(fault, STATUS_UNSUPPORTED,
                             "the model's vocabulary has no %s: it cannot fill in %s", fim_names[i],
                             i > FIM_MIDDLE ? "beside other files" : "a gap");
    return 0;
}

static int fim_check_name(const char *what, size_t i, const char *name, struct fault *fault)
{
    if (!name || !strpbrk(name, "\r\n"))
        return 0;
    return fault_set(fault, STATUS_INVALID, "the name of %s %zu of fim has a line break", what, i);
}

static int fim_check(const Qwp__Fim *fim, struct fault *fault)
{
    int r = fim_check_name("repo", 0, fim->repo, fault);

    if (!r)
        r = fim_check_name("file", 0, fim->file, fault);
    for (size_t i = 0; !r && i < fim->n_extra; i++)
        r = fim_check_name("extra", i, fim->extra[i]->name, fault);
    if (!r && !(fim->prefix && *fim->prefix) && !(fim->suffix && *fim->suffix))
        r = fault_set(fault, STATUS_INVALID, "fim has neither a prefix nor a suffix");
    return r;
}

/* borders */

static bool fim_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool fim_token_is_blank(const struct tokenizer *tokenizer, int32_t id)
{
    const struct gguf_str s = tokenizer_bytes(tokenizer, id);
    size_t i = 0;

    while (i < s.n && fim_is_blank(s.s[i]))
        i++;
    return i == s.n;
}

/* The start of the last word of [begin, end): whatever is typed behind it, the tokens before stay as they
 * are, while blanks at the end join what follows, and so does the beginning of a word. */
static size_t fim_stable_end(const struct tokenizer *tokenizer, const struct token_ids *ids, size_t begin,
                             size_t end)
{
    size_t i = end;

    while (i > begin && end - i < FIM_TAIL_TOK && fim_token_is_blank(tokenizer, ids->id[i - 1]))
        i--;
    while (i > begin && end - i < FIM_TAIL_TOK) {
        const struct gguf_str s = tokenizer_bytes(tokenizer, ids->id[--i]);

        if (s.n && fim_is_blank(s.s[0]))
            break;
    }
    return i;
}

static size_t fim_find(const struct tokenizer *tokenizer, const struct token_ids *ids, enum fim_token token)
{
    const int32_t id = tokenizer_find(tokenizer, fim_names[token]);
    size_t i = 0;

    while (i < ids->n && ids->id[i] != id)
        i++;
    return i;
}

static void fim_find_borders(const struct tokenizer *tokenizer, const Qwp__Fim *fim, struct prompt *p)
{
    const size_t prefix = fim_find(tokenizer, &p->ids, FIM_PREFIX) + 1;
    const size_t suffix = fim_find(tokenizer, &p->ids, FIM_SUFFIX);
    const bool turned = fim_is_suffix_first(fim);
    const size_t end = turned ? p->ids.n - 1 : suffix;

    if (turned ? suffix : prefix - 1) /* the other files */
        p->borders[p->n_borders++] = turned ? suffix : prefix - 1;
    if (turned)
        p->borders[p->n_borders++] = prefix;
    p->borders[p->n_borders++] = fim_stable_end(tokenizer, &p->ids, prefix, end);
    if (!turned)
        p->borders[p->n_borders++] = p->ids.n - 1;
}

int fim_encode(const struct tokenizer *tokenizer, const Qwp__Fim *fim, struct fault *fault,
               struct prompt *ret_prompt)
{
    _cleanup_(fim_text_deinit) struct fim_text text = {0};
    int r = fim_check(fim, fault);

    if (!r)
        r = fim_check_tokens(tokenizer, fim, fault);
    if (!r)
        r = fim_text_alloc(&text, fim);
    if (r)
        return r;
    fim_lay_out(&text, fim);
    r = tokenizer_encode(tokenizer, text.text, text.n, TOKENIZER_ALL, text.plain, text.n_plain, fault,
                         &ret_prompt->ids);
    if (r)
        return r < 0 ? r : STATUS_INVALID;
    fim_find_borders(tokenizer, fim, ret_prompt);
    return 0;
}
