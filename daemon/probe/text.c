/* text.c - verbs tokenize and detokenize, and what they share with render.  See text.h. */
#include "text.h"

#include <string.h>

#include "daemon/model/detok.h"

/* lines */

static int text_on_line(const char *text, size_t n, size_t line_no, text_line_fn on_line, void *user)
{
    struct fault fault;
    struct jtext object;

    if (jtext_check(text, n, &fault, &object))
        return probe_error("line %zu: %s", line_no, fault.text);
    if (jtext_kind(object) != JTEXT_OBJECT)
        return probe_error("line %zu: should be a JSON object", line_no);
    return on_line(user, line_no, object);
}

int text_each_line(text_line_fn on_line, void *user)
{
    _cleanup_(freep) char *text = NULL;
    size_t cap = 0, line_no = 0;
    ssize_t n;
    int status = 0;

    while (!status && (n = getline(&text, &cap, stdin)) >= 0) {
        line_no++;
        if (strspn(text, " \t\r\n") < (size_t)n)
            status = text_on_line(text, (size_t)n, line_no, on_line, user);
    }
    if (!status && ferror(stdin))
        return probe_error("standard input: %s", strerror(errno));
    return status;
}

static int text_put_stdout(void *user, const char *s, size_t n)
{
    fwrite(s, 1, n, stdout); /* main() looks at ferror() */
    return 0;
}

void text_print_member(const char *key, const char *s, size_t n)
{
    printf("{\"%s\": ", key);
    jtext_print_text(s, n, text_put_stdout, NULL);
    puts("}");
}

/* A string member, decoded; *ret_text is malloc'ed.  0 or an exit status. */
static int text_get(struct jtext object, size_t line_no, const char *key, char **ret_text, size_t *ret_n)
{
    struct jtext value;
    char *text;

    if (!jtext_find(object, key, &value) || jtext_kind(value) != JTEXT_STRING)
        return probe_error("line %zu: \"%s\" should be a string", line_no, key);
    text = malloc(value.n);
    if (!text)
        return probe_error("line %zu: no memory for %zu bytes", line_no, value.n);
    *ret_n = jtext_decode(value, text);
    *ret_text = text;
    return 0;
}

int text_open(const char *path, struct tokenizer **ret_tokenizer)
{
    _cleanup_(gguf_freep) struct gguf *gguf = NULL;
    struct fault fault = {0};
    int r = gguf_open(path, &fault, &gguf);

    if (!r)
        r = tokenizer_new(gguf, &fault, ret_tokenizer);
    return r ? probe_fault(path, r, &fault) : 0;
}

/* tokenize */

struct text_tokenize {
    struct tokenizer *tokenizer;
    enum tokenizer_special special;
};

static int text_tokenize_line(void *user, size_t line_no, struct jtext object)
{
    const struct text_tokenize *job = user;
    _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;
    _cleanup_(freep) char *text = NULL;
    struct fault fault = {0};
    size_t n = 0;
    int r = text_get(object, line_no, "text", &text, &n);

    if (r)
        return r;
    r = tokenizer_encode(job->tokenizer, text, n, job->special, NULL, 0, &fault, &ids);
    if (r)
        return probe_fault("tokenize", r, &fault);
    fputs("{\"ids\": [", stdout);
    for (size_t i = 0; i < ids.n; i++)
        printf(i ? ", %d" : "%d", ids.id[i]);
    puts("]}");
    return 0;
}

static int text_special(const struct probe_verb *verb, const char *name, enum tokenizer_special *ret_special)
{
    static const char *const names[] = {
        [TOKENIZER_ALL] = "all", [TOKENIZER_USER] = "user", [TOKENIZER_NONE] = "none"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(names[i], name))
            continue;
        *ret_special = (enum tokenizer_special)i;
        return 0;
    }
    return probe_usage(verb, "--special is \"%s\", should be all, user or none", name);
}

static int text_run_tokenize(const struct probe_verb *verb, int argc, char **argv)
{
    _cleanup_(tokenizer_freep) struct tokenizer *tokenizer = NULL;
    const char *special = "all", *path;
    const struct probe_opt opts[] = {{.name = "special", .text = &special}};
    struct text_tokenize job;
    int r = probe_parse(verb, argc, argv, opts, ARRAY_SIZE(opts), &path);

    if (!r)
        r = text_special(verb, special, &job.special);
    if (!r)
        r = text_open(path, &tokenizer);
    job.tokenizer = tokenizer;
    return r ? r : text_each_line(text_tokenize_line, &job);
}

const struct probe_verb probe_tokenize = {
    .name = "tokenize",
    .args = "MODEL [--special all|user|none]",
    .help = "{\"text\":...} per line to {\"ids\":[...]} per line; which added tokens the text may contain",
    .run = text_run_tokenize,
};

/* detokenize */

static int text_detokenize_line(void *user, size_t line_no, const json_t *object)
{
    const struct tokenizer *tokenizer = user;
    _cleanup_(freep) char *text = NULL;
    _cleanup_(freep) int *ids = NULL;
    size_t n_ids = 0, cap = DETOK_HOLD_MAX, n = 0;
    struct detok d;
    int r = 0;

    if (json_array_size(json_object_get(object, "ids")) || !json_is_array(json_object_get(object, "ids")))
        r = probe_get_ints(object, line_no, "ids", 0, tokenizer_n_vocab(tokenizer) - 1, &ids, &n_ids);
    if (r)
        return r;
    for (size_t i = 0; i < n_ids; i++)
        cap +=
            3 * (tokenizer_bytes(tokenizer, ids[i]).n + DETOK_HOLD_MAX); /* at worst U+FFFD for each byte */
    text = malloc(cap);
    if (!text)
        return probe_error("line %zu: no memory for %zu bytes", line_no, cap);
    detok_init(&d, tokenizer);
    d.keep_control = true;
    for (size_t i = 0; i < n_ids; i++)
        n += detok_push(&d, ids[i], text + n);
    n += detok_flush(&d, text + n);
    text_print_member("text", text, n);
    return 0;
}

static int text_run_detokenize(const struct probe_verb *verb, int argc, char **argv)
{
    _cleanup_(tokenizer_freep) struct tokenizer *tokenizer = NULL;
    const char *path;
    int r = probe_parse(verb, argc, argv, NULL, 0, &path);

    if (!r)
        r = text_open(path, &tokenizer);
    return r ? r : probe_each_line(text_detokenize_line, tokenizer);
}

const struct probe_verb probe_detokenize = {
    .name = "detokenize",
    .args = "MODEL",
    .help = "{\"ids\":[...]} per line to {\"text\":...} per line; control tokens as their text",
    .run = text_run_detokenize,
};
