/* lsp_rpc.c - messages to the editor, and members of its messages.  See lsp.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lsp.h"

/* out */

static void lsp_out_append(struct lsp *lsp, const char *data, size_t n)
{
    size_t cap = MAX(lsp->cap_out, (size_t)4096);
    char *out;

    if (lsp->n_out + n > LSP_OUT_MAX) {
        lsp->failed = true;
        return;
    }
    while (cap < lsp->n_out + n)
        cap *= 2;
    if (cap != lsp->cap_out) {
        out = realloc(lsp->out, cap);
        if (!out) {
            lsp->failed = true;
            return;
        }
        lsp->out = out;
        lsp->cap_out = cap;
    }
    memcpy(lsp->out + lsp->n_out, data, n);
    lsp->n_out += n;
}

/* message NULL: there was no memory to make it */
static void lsp_send(struct lsp *lsp, json_t *message)
{
    _cleanup_(freep) char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    char head[64];

    json_decref(message);
    if (!text) {
        lsp->failed = true;
        return;
    }
    snprintf(head, sizeof(head), "Content-Length: %zu\r\n\r\n", strlen(text));
    lsp_out_append(lsp, head, strlen(head));
    lsp_out_append(lsp, text, strlen(text));
}

void lsp_reply(struct lsp *lsp, json_t *id, json_t *result)
{
    lsp_send(lsp, json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, "result", result));
}

void lsp_refuse(struct lsp *lsp, json_t *id, int code, const char *fmt, ...)
{
    char text[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    text[qwend_utf8_valid(text, strlen(text))] = 0; /* a name that was cut */
    lsp_send(lsp, json_pack("{s:s, s:O, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id, "error", "code", code,
                            "message", text));
}

void lsp_notify(struct lsp *lsp, const char *method, json_t *params)
{
    lsp_send(lsp, json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", method, "params", params));
}

uint64_t lsp_ask(struct lsp *lsp, const char *method, json_t *params)
{
    const uint64_t id = ++lsp->next_id;

    lsp_send(lsp, json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", (json_int_t)id, "method", method,
                            "params", params));
    return id;
}

void lsp_show(struct lsp *lsp, int type, const char *fmt, ...)
{
    char text[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    text[qwend_utf8_valid(text, strlen(text))] = 0;
    lsp_notify(lsp, "window/showMessage", json_pack("{s:i, s:s}", "type", type, "message", text));
}

/* in */

/* A NUL inside would end it early: such a string is none of those that are looked for. */
const char *lsp_string(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);

    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

bool lsp_flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

bool lsp_number(const json_t *object, const char *key, int64_t lo, int64_t hi, int64_t *ret_value)
{
    const json_t *value = json_object_get(object, key);
    const json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < lo || number > hi)
        return false;
    *ret_value = number;
    return true;
}

bool lsp_take_pos(const json_t *pos, struct lsp_pos *ret_pos)
{
    int64_t line, character;

    if (!lsp_number(pos, "line", 0, UINT32_MAX, &line) ||
        !lsp_number(pos, "character", 0, UINT32_MAX, &character))
        return false;
    *ret_pos = (struct lsp_pos){(uint32_t)line, (uint32_t)character};
    return true;
}

bool lsp_take_range(const json_t *range, struct lsp_range *ret_range)
{
    struct lsp_range r;

    if (!lsp_take_pos(json_object_get(range, "start"), &r.start) ||
        !lsp_take_pos(json_object_get(range, "end"), &r.end))
        return false;
    *ret_range = r;
    return true;
}

json_t *lsp_put_range(struct lsp_range r)
{
    return json_pack("{s:{s:I, s:I}, s:{s:I, s:I}}", "start", "line", (json_int_t)r.start.line, "character",
                     (json_int_t)r.start.character, "end", "line", (json_int_t)r.end.line, "character",
                     (json_int_t)r.end.character);
}

struct lsp_doc *lsp_doc_of(struct lsp *lsp, const json_t *params)
{
    const char *uri = lsp_string(json_object_get(params, "textDocument"), "uri");

    return uri ? lsp_docs_find(&lsp->docs, uri) : NULL;
}
