/* jout.c - see jout.h. */
#include "jout.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "client/lib/qwend.h"

void jout_bytes(struct jout *j, const char *text, size_t n)
{
    if (!j->r)
        j->r = buf_append(j->buf, text, n);
}

static void jout_string(struct jout *j, const char *text)
{
    jout_bytes(j, text, strlen(text));
}

/* U+2028 and U+2029 end a line in JavaScript of old, and DEL is a control: all else above ASCII stays as it
 * is. */
static size_t jout_plain(const char *text, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];

        if (c < ' ' || c == '"' || c == '\\' || c == 0x7f || c >= 0x80)
            break;
    }
    return i;
}

static void jout_escape_one(struct jout *j, unsigned char c)
{
    static const char shorts[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\'};
    char text[8];

    if (c < sizeof(shorts) && shorts[c])
        snprintf(text, sizeof(text), "\\%c", shorts[c]);
    else
        snprintf(text, sizeof(text), "\\u%04x", c);
    jout_string(j, text);
}

void jout_escape(struct jout *j, const char *text, size_t n)
{
    while (n && !j->r) {
        size_t k = jout_plain(text, n);

        jout_bytes(j, text, k);
        text += k;
        n -= k;
        if (!n)
            break;
        if ((unsigned char)*text < 0x80) {
            jout_escape_one(j, (unsigned char)*text);
            k = 1;
        } else {
            for (k = 1; k < n && k < 4 && ((unsigned char)text[k] & 0xc0) == 0x80; k++)
                ;
            if (qwend_utf8_valid(text, k) == k) {
                jout_bytes(j, text, k);
            } else {
                jout_string(j, "\xef\xbf\xbd");
                k = 1;
            }
        }
        text += k;
        n -= k;
    }
}

static void jout_key(struct jout *j, const char *key)
{
    if (j->more)
        jout_string(j, ",");
    j->more = true;
    if (!key)
        return;
    jout_string(j, "\"");
    jout_escape(j, key, strlen(key));
    jout_string(j, "\":");
}

void jout_open(struct jout *j, const char *key, char bracket)
{
    jout_key(j, key);
    jout_bytes(j, &bracket, 1);
    j->more = false;
}

void jout_close(struct jout *j, char bracket)
{
    jout_bytes(j, &bracket, 1);
    j->more = true;
}

void jout_text(struct jout *j, const char *key, const char *text, size_t n)
{
    if (!text) {
        jout_null(j, key);
        return;
    }
    jout_key(j, key);
    jout_string(j, "\"");
    jout_escape(j, text, n == (size_t)-1 ? strlen(text) : n);
    jout_string(j, "\"");
}

void jout_key_text(struct jout *j, const char *key, const char *head, const char *tail)
{
    jout_key(j, key);
    jout_string(j, "\"");
    jout_escape(j, head, strlen(head));
    jout_escape(j, tail, strlen(tail));
    jout_string(j, "\"");
}

void jout_raw(struct jout *j, const char *key, const char *json, size_t n)
{
    jout_key(j, key);
    jout_bytes(j, json, n);
}

void jout_int(struct jout *j, const char *key, int64_t value)
{
    char text[24];

    jout_raw(j, key, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)value));
}

void jout_real(struct jout *j, const char *key, double value)
{
    char text[32];
    int digits = 1;

    if (!isfinite(value)) {
        jout_null(j, key);
        return;
    }
    do
        snprintf(text, sizeof(text), "%.*g", digits, value);
    while (strtof(text, NULL) != (float)value && ++digits <= 9);
    jout_raw(j, key, text, strlen(text));
}

void jout_bool(struct jout *j, const char *key, bool value)
{
    jout_raw(j, key, value ? "true" : "false", value ? 4 : 5);
}

void jout_null(struct jout *j, const char *key)
{
    jout_raw(j, key, "null", 4);
}
