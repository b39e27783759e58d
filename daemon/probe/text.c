/* text.c - verbs tokenize, detokenize and render: the text parts of the model library.
 *
 * Lines are read as slices of their own text (daemon/model/jtext.h), not as values: the digits of a large
 * integer in a call's arguments reach the prompt as they stand. */
#include "probe.h"

#include <string.h>

#include "daemon/model/chat.h"
#include "daemon/model/detok.h"
#include "daemon/model/jtext.h"
#include "daemon/model/tokenizer.h"

/* lines */

typedef int (*text_line_fn)(void *user, size_t line_no, struct jtext object);

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

static int text_each_line(text_line_fn on_line, void *user)
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

static void text_print_member(const char *key, const char *s, size_t n)
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

static int text_open(const char *path, struct tokenizer **ret_tokenizer)
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

/* render */

struct text_arena { /* decoded strings and arrays of one line */
    void **blocks;
    size_t n, cap;
};

static void text_arena_deinit(struct text_arena *arena)
{
    for (size_t i = 0; i < arena->n; i++)
        free(arena->blocks[i]);
    free(arena->blocks);
}

static void *text_arena_take(struct text_arena *arena, size_t n_bytes)
{
    void *block = calloc(1, n_bytes + 1);

    if (arena->n == arena->cap) {
        const size_t cap = arena->cap ? 2 * arena->cap : 64;
        void **grown = realloc(arena->blocks, cap * sizeof(*grown));

        if (!grown) {
            free(block);
            return NULL;
        }
        arena->blocks = grown;
        arena->cap = cap;
    }
    if (block)
        arena->blocks[arena->n++] = block;
    return block;
}

/* A string value as it is meant, anything else as it stands in the line. */
static int text_str(struct text_arena *arena, struct jtext value, struct chat_str *ret_str)
{
    char *text;

    if (jtext_kind(value) != JTEXT_STRING) {
        *ret_str = (struct chat_str){value.s, value.n};
        return 0;
    }
    text = text_arena_take(arena, value.n);
    if (!text)
        return -ENOMEM;
    *ret_str = (struct chat_str){text, jtext_decode(value, text)};
    return 0;
}

static int text_find_str(struct text_arena *arena, struct jtext object, const char *key,
                         struct chat_str *ret_str)
{
    struct jtext value;

    if (!jtext_find(object, key, &value) || jtext_kind(value) != JTEXT_STRING)
        return 0;
    return text_str(arena, value, ret_str);
}

/* Parts {"type": "text", "text": ...} are joined; anything else is what the template refuses. */
static int text_content_parts(struct text_arena *arena, struct jtext array, struct chat_message *m)
{
    char *text = text_arena_take(arena, array.n);
    struct jtext key, part, value;
    size_t n = 0;

    if (!text)
        return -ENOMEM;
    for (size_t cursor = 0; jtext_next(array, &cursor, &key, &part);) {
        if (jtext_kind(part) != JTEXT_OBJECT || !jtext_find(part, "text", &value) ||
            jtext_kind(value) != JTEXT_STRING)
            m->content_error = "Unexpected item type in content.";
        else
            n += jtext_decode(value, text + n);
    }
    m->content = (struct chat_str){text, n};
    return 0;
}

static int text_content(struct text_arena *arena, struct jtext message, struct chat_message *m)
{
    struct jtext value;

    if (!jtext_find(message, "content", &value) || jtext_kind(value) == JTEXT_NULL)
        return 0;
    if (jtext_kind(value) == JTEXT_STRING)
        return text_str(arena, value, &m->content);
    if (jtext_kind(value) == JTEXT_ARRAY)
        return text_content_parts(arena, value, m);
    m->content_error = "Unexpected content type.";
    return 0;
}

static size_t text_count(struct jtext array)
{
    struct jtext key, value;
    size_t n = 0;

    for (size_t cursor = 0; jtext_next(array, &cursor, &key, &value);)
        n++;
    return n;
}

static int text_calls(struct text_arena *arena, struct jtext message, struct chat_message *m)
{
    struct jtext calls, key, call, function, arguments;
    struct chat_call *out;
    int r = 0;

    if (!jtext_find(message, "tool_calls", &calls) || jtext_kind(calls) != JTEXT_ARRAY)
        return 0;
    m->calls = out = text_arena_take(arena, text_count(calls) * sizeof(*out));
    if (!out)
        return -ENOMEM;
    for (size_t cursor = 0; !r && jtext_next(calls, &cursor, &key, &call); out++) {
        if (jtext_kind(call) != JTEXT_OBJECT)
            continue;
        if (jtext_find(call, "function", &function) && jtext_kind(function) == JTEXT_OBJECT)
            call = function;
        r = text_find_str(arena, call, "name", &out->name);
        if (!r && jtext_find(call, "arguments",
                             &arguments)) /* a string with JSON in it is refused by the template */
            out->arguments = (struct chat_str){arguments.s, arguments.n};
        m->n_calls++;
    }
    return r;
}

static int text_message(struct text_arena *arena, struct jtext message, struct chat_message *m)
{
    int r = text_find_str(arena, message, "role", &m->role);

    if (!r)
        r = text_content(arena, message, m);
    if (!r)
        r = text_find_str(arena, message, "reasoning_content", &m->reasoning);
    return r ? r : text_calls(arena, message, m);
}

static int text_messages(struct text_arena *arena, struct jtext object, size_t line_no, struct chat *chat)
{
    struct chat_message *m;
    struct jtext array, key, message;
    int r = 0;

    if (!jtext_find(object, "messages", &array) || jtext_kind(array) != JTEXT_ARRAY)
        return probe_error("line %zu: \"messages\" should be an array", line_no);
    chat->messages = m = text_arena_take(arena, text_count(array) * sizeof(*m));
    if (!m)
        return probe_error("line %zu: no memory", line_no);
    for (size_t cursor = 0; !r && jtext_next(array, &cursor, &key, &message); m++, chat->n_messages++)
        r = jtext_kind(message) == JTEXT_OBJECT
                ? text_message(arena, message, m)
                : probe_error("line %zu: message %zu should be an object", line_no, chat->n_messages);
    return r < 0 ? probe_error("line %zu: no memory", line_no) : r;
}

static int text_tools(struct text_arena *arena, struct jtext object, size_t line_no, struct chat *chat)
{
    struct jtext array, key, tool;
    struct chat_str *out;

    if (!jtext_find(object, "tools", &array) || jtext_kind(array) != JTEXT_ARRAY)
        return 0;
    chat->tools = out = text_arena_take(arena, text_count(array) * sizeof(*out));
    if (!out)
        return probe_error("line %zu: no memory", line_no);
    for (size_t cursor = 0; jtext_next(array, &cursor, &key, &tool); chat->n_tools++)
        *out++ = (struct chat_str){tool.s, tool.n};
    return 0;
}

static bool text_flag(struct jtext object, const char *key, bool absent)
{
    struct jtext value;

    if (!jtext_find(object, key, &value))
        return absent;
    return absent ? jtext_kind(value) != JTEXT_FALSE : jtext_kind(value) == JTEXT_TRUE;
}

static int text_render_line(void *user, size_t line_no, struct jtext object)
{
    _cleanup_(text_arena_deinit) struct text_arena arena = {0};
    _cleanup_(chat_text_deinit) struct chat_text text = CHAT_TEXT_INIT;
    struct chat chat = {
        .thinking = text_flag(object, "enable_thinking", true),
        .generation_prompt = text_flag(object, "add_generation_prompt", false),
    };
    struct fault fault = {0};
    int r = text_messages(&arena, object, line_no, &chat);

    if (!r)
        r = text_tools(&arena, object, line_no, &chat);
    if (r)
        return r;
    r = chat_render(&chat, &fault, &text);
    if (r && r != CHAT_E_TEMPLATE)
        return probe_fault("render", r, &fault);
    if (r)
        text_print_member("error", fault.text, strlen(fault.text));
    else
        text_print_member("text", text.text, text.n);
    return 0;
}

/* The template is part of this program; the model is opened to see that it is one. */
static int text_run_render(const struct probe_verb *verb, int argc, char **argv)
{
    _cleanup_(tokenizer_freep) struct tokenizer *tokenizer = NULL;
    const char *path;
    int r = probe_parse(verb, argc, argv, NULL, 0, &path);

    if (!r)
        r = text_open(path, &tokenizer);
    return r ? r : text_each_line(text_render_line, NULL);
}

const struct probe_verb probe_render = {
    .name = "render",
    .args = "MODEL",
    .help = "{\"messages\":[...],\"tools\":[...],\"enable_thinking\":bool,\"add_generation_prompt\":bool} "
            "per line to "
            "{\"text\":...} or {\"error\":...} per line",
    .run = text_run_render,
};
