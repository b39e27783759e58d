/* calls.c - see calls.h. */
#include "calls.h"

#include <string.h>
#include <strings.h>

#include "jout.h"

static const char calls_open[] = "<tool_call>", calls_close[] = "</tool_call>";

enum { CALLS_OPEN = sizeof(calls_open) - 1, CALLS_CLOSE = sizeof(calls_close) - 1, CALLS_BLANKS = 64 };

void calls_init(struct calls *calls, const json_t *tools)
{
    *calls = (struct calls){.tools = tools, .held = BUF_INIT(CALLS_TEXT_BYTES + CALLS_OPEN + CALLS_CLOSE)};
}

void calls_deinit(struct calls *calls)
{
    buf_deinit(&calls->held);
}

struct text {
    const char *at, *end;
};

static bool calls_is_blank(char c)
{
    return c == '\n' || c == ' ' || c == '\t' || c == '\r';
}

static void calls_skip_blanks(struct text *text)
{
    while (text->at < text->end && calls_is_blank(*text->at))
        text->at++;
}

static bool calls_take(struct text *text, const char *word)
{
    const size_t n = strlen(word);

    if ((size_t)(text->end - text->at) < n || memcmp(text->at, word, n))
        return false;
    text->at += n;
    return true;
}

static const char *calls_find(const struct text *text, const char *word)
{
    return text->at < text->end ? memmem(text->at, (size_t)(text->end - text->at), word, strlen(word)) : NULL;
}

/* "WORD=NAME>": the name, NUL-terminated. */
static bool calls_take_name(struct text *text, const char *word, char ret_name[CALLS_NAME_BYTES + 1])
{
    const char *close;
    size_t n;

    calls_skip_blanks(text);
    if (!calls_take(text, word))
        return false;
    close = calls_find(text, ">");
    n = close ? (size_t)(close - text->at) : 0;
    if (!n || n > CALLS_NAME_BYTES || memchr(text->at, '\n', n))
        return false;
    memcpy(ret_name, text->at, n);
    ret_name[n] = '\0';
    text->at = close + 1;
    return true;
}

/* A value ends where its mark is followed by what may follow it: it may have such a mark in it. */
static bool calls_take_value(struct text *text, struct text *ret_value)
{
    static const char close[] = "</parameter>";
    struct text rest = *text;

    while ((rest.at = calls_find(&rest, close))) {
        struct text behind = {rest.at + sizeof(close) - 1, text->end};

        calls_skip_blanks(&behind);
        if (calls_take(&behind, "<parameter=") || calls_take(&behind, "</function>")) {
            *ret_value = (struct text){text->at, rest.at};
            text->at = rest.at + sizeof(close) - 1;
            return true;
        }
        rest.at += sizeof(close) - 1;
    }
    return false;
}

/* values */

static bool calls_allows(const json_t *schema, const char *type)
{
    const json_t *types = json_object_get(schema, "type"), *one;
    size_t i;

    if (json_is_string(types))
        return !strcmp(json_string_value(types), type);
    json_array_foreach((json_t *)types, i,
                       one) if (json_is_string(one) && !strcmp(json_string_value(one), type)) return true;
    return false;
}

static bool calls_is_word(const struct text *value, const char *word)
{
    const size_t n = strlen(word);

    return (size_t)(value->end - value->at) == n && !strncasecmp(value->at, word, n);
}

/* What the template writes without quotes and as Python does becomes JSON again; NULL: no memory. */
static json_t *calls_value(struct text value, const json_t *schema)
{
    json_t *json;

    if (value.at < value.end && *value.at == '\n')
        value.at++;
    if (value.at < value.end && value.end[-1] == '\n')
        value.end--;
    if (calls_allows(schema, "null") && (calls_is_word(&value, "null") || calls_is_word(&value, "none")))
        return json_null();
    if (calls_allows(schema, "boolean") && calls_is_word(&value, "true"))
        return json_true();
    if (calls_allows(schema, "boolean") && calls_is_word(&value, "false"))
        return json_false();
    json = calls_allows(schema, "string") ? NULL
                                          : json_loadb(value.at, (size_t)(value.end - value.at),
                                                       JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    return json ? json : json_stringn(value.at, (size_t)(value.end - value.at));
}

static bool calls_take_parameter(struct text *text, const json_t *schema, json_t *arguments)
{
    char key[CALLS_NAME_BYTES + 1];
    struct text value;
    json_t *json;

    if (!calls_take_name(text, "<parameter=", key) || !calls_take_value(text, &value))
        return false;
    json = calls_value(value, json_object_get(json_object_get(schema, "properties"), key));
    return json && !json_object_set_new(arguments, key, json);
}

/* The inside of one.  False: it is none, or there is no memory. */
static bool calls_read(const struct calls *calls, struct text text, char ret_name[CALLS_NAME_BYTES + 1],
                       char **ret_arguments)
{
    json_t *arguments = json_object();
    bool is_call = arguments &&
                   !memchr(text.at, '\0', (size_t)(text.end - text.at)) && /* no request can have it */
                   calls_take_name(&text, "<function=", ret_name);
    const json_t *schema = is_call ? json_object_get(calls->tools, ret_name) : NULL;

    while (is_call) {
        calls_skip_blanks(&text);
        if (calls_take(&text, "</function>"))
            break;
        is_call = calls_take_parameter(&text, schema, arguments);
    }
    calls_skip_blanks(&text);
    *ret_arguments = is_call && text.at == text.end ? json_dumps(arguments, JSON_COMPACT) : NULL;
    json_decref(arguments);
    return *ret_arguments;
}

/* the stream */

static int calls_say(struct calls *calls, size_t n, const struct calls_sink *sink)
{
    int r = 0;

    if (n && !calls->n) /* what stands behind a call is told by nobody's rules */
        r = sink->on_text(sink->arg, (const char *)buf_head(&calls->held), n);
    if (!r) /* else whoever hears it may have let go of us */
        buf_consume(&calls->held, n);
    return r;
}

/* Bytes at the end that may turn out to belong to a call: a part of its mark, and the blanks before it. */
static size_t calls_tail(const struct buf *held)
{
    const char *text = jout_buf_text(held);
    const size_t n = buf_size(held);
    size_t tail = MIN(n, (size_t)CALLS_OPEN - 1), blanks = 0;

    while (tail && memcmp(text + n - tail, calls_open, tail))
        tail--;
    while (blanks < CALLS_BLANKS && tail + blanks < n && calls_is_blank(text[n - tail - blanks - 1]))
        blanks++;
    return tail + blanks;
}

static size_t calls_blanks_before(const char *text, size_t n)
{
    while (n && calls_is_blank(text[n - 1]))
        n--;
    return n;
}

/* The last beginning of a call in a text that is not its first bytes; NULL: none. */
static const char *calls_find_last(struct text text)
{
    const char *last = NULL;

    while ((text.at = calls_find(&text, calls_open)))
        last = text.at++;
    return last;
}

/* A whole one is held, n bytes with the blanks before it.  A beginning that a text is about may stand before
 * the call's own, which is the last one then. */
static int calls_close_one(struct calls *calls, size_t n, const struct calls_sink *sink)
{
    const char *text = (const char *)buf_head(&calls->held), *last;
    const struct text inside = {text + calls->n_blanks + CALLS_OPEN, text + n - CALLS_CLOSE};
    _cleanup_(freep) char *arguments = NULL;
    char name[CALLS_NAME_BYTES + 1];

    calls->inside = false;
    if (calls->n < CALLS_MAX && calls_read(calls, inside, name, &arguments)) {
        buf_consume(&calls->held, n);
        calls->n++;
        return sink->on_call(sink->arg, name, arguments, strlen(arguments));
    }
    last = calls->n < CALLS_MAX ? calls_find_last(inside) : NULL;
    return calls_say(calls, last ? calls_blanks_before(text, (size_t)(last - text)) : n,
                     sink); /* and from there anew */
}

/* Text up to the beginning of a call goes out. */
static bool calls_step_outside(struct calls *calls, const struct calls_sink *sink, int *ret_r)
{
    const char *text = jout_buf_text(&calls->held);
    const struct text held = {text, text + buf_size(&calls->held)};
    const char *mark = calls_find(&held, calls_open);
    const size_t n_before = mark ? (size_t)(mark - text) : 0;

    if (!mark) {
        *ret_r = calls_say(calls, buf_size(&calls->held) - calls_tail(&calls->held), sink);
        return false;
    }
    calls->n_blanks = MIN(n_before - calls_blanks_before(text, n_before), (size_t)CALLS_BLANKS);
    calls->n_seen = calls->n_blanks + CALLS_OPEN;
    calls->inside = true;
    *ret_r = calls_say(calls, n_before - calls->n_blanks, sink);
    return true;
}

/* Whether the beginning of a call stands behind the mark, or may yet: else it is one that a text is about. */
static bool calls_may_be_one(const struct calls *calls)
{
    static const char word[] = "<function=";
    const char *text = (const char *)buf_head(&calls->held);
    struct text inside = {text + calls->n_blanks + CALLS_OPEN, text + buf_size(&calls->held)};
    const char *begin = inside.at;

    calls_skip_blanks(&inside);
    return inside.at - begin <= CALLS_BLANKS &&
           !memcmp(inside.at, word, MIN((size_t)(inside.end - inside.at), sizeof(word) - 1));
}

static bool calls_step_inside(struct calls *calls, const struct calls_sink *sink, int *ret_r)
{
    const char *text = jout_buf_text(&calls->held);
    const size_t n = buf_size(&calls->held);
    const struct text unseen = {text + calls->n_seen, text + n};
    const char *mark = calls_find(&unseen, calls_close);

    if (mark)
        *ret_r = calls_close_one(calls, (size_t)(mark - text) + CALLS_CLOSE, sink);
    else if (n > calls->n_seen + CALLS_CLOSE)
        calls->n_seen = n - CALLS_CLOSE; /* each byte is looked at once */
    return mark;
}

/* True: there may be more to do. */
static bool calls_step(struct calls *calls, const struct calls_sink *sink, int *ret_r)
{
    if (!calls->inside)
        return calls_step_outside(calls, sink, ret_r);
    if (calls_may_be_one(calls))
        return calls_step_inside(calls, sink, ret_r);
    calls->inside = false;
    *ret_r = calls_say(calls, calls->n_blanks + CALLS_OPEN, sink);
    return true;
}

int calls_push(struct calls *calls, const char *text, size_t n, const struct calls_sink *sink)
{
    while (n) {
        const size_t k =
            MIN(n, (size_t)CALLS_TEXT_BYTES - MIN(buf_size(&calls->held), (size_t)CALLS_TEXT_BYTES));
        int r = k ? buf_append(&calls->held, text, k) : 0;

        text += k;
        n -= k;
        while (!r && calls_step(calls, sink, &r))
            ;
        if (!r && !k) { /* too long for a call: it is text, and what follows may be anything */
            calls->inside = false;
            r = calls_say(calls, buf_size(&calls->held), sink);
        }
        if (r)
            return r;
    }
    return 0;
}

int calls_end(struct calls *calls, const struct calls_sink *sink)
{
    calls->inside = false;
    return calls_say(calls, buf_size(&calls->held), sink);
}
