/* json.c - writing JSON.  See json.h. */
#include "json.h"

#include <math.h>
#include <string.h>

#include "client/lib/qwend.h"

/* One character of text[n]; returns its bytes. */
static size_t json_char(FILE *file, const char *text, size_t n)
{
    const unsigned char c = (unsigned char)*text;
    const size_t k = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    if (c == '"' || c == '\\')
        fprintf(file, "\\%c", c);
    else if (c == '\n')
        fputs("\\n", file);
    else if (c < ' ' || c == 0x7f)
        fprintf(file, "\\u%04x", c);
    else if (k > n || qwend_utf8_valid(text, k) != k)
        return fputs("\xef\xbf\xbd", file), 1;
    else if (c == 0xc2 && (unsigned char)text[1] < 0xa0)
        fprintf(file, "\\u%04x", (unsigned char)text[1]);
    else
        fwrite(text, 1, k, file);
    return k;
}

static void json_string(FILE *file, const char *text, size_t n)
{
    fputc('"', file);
    for (size_t done = 0; done < n;)
        done += json_char(file, text + done, n - done);
    fputc('"', file);
}

static void json_key(struct json *json, const char *key)
{
    if (json->more)
        fputc(',', json->file);
    if (key) {
        json_string(json->file, key, strlen(key));
        fputc(':', json->file);
    }
    json->more = true;
}

void json_open(struct json *json, const char *key, char bracket)
{
    json_key(json, key);
    fputc(bracket, json->file);
    json->more = false;
}

void json_close(struct json *json, char bracket)
{
    fputc(bracket, json->file);
    json->more = true;
}

void json_text(struct json *json, const char *key, const char *text, size_t n)
{
    json_key(json, key);
    json_string(json->file, text, n == (size_t)-1 ? strlen(text) : n);
}

void json_uint(struct json *json, const char *key, uint64_t value)
{
    json_key(json, key);
    fprintf(json->file, "%llu", (unsigned long long)value);
}

void json_real(struct json *json, const char *key, double value, int digits)
{
    json_key(json, key);
    if (isfinite(value))
        fprintf(json->file, "%.*f", digits, value);
    else
        fputs("null", json->file);
}

void json_bool(struct json *json, const char *key, bool value)
{
    json_key(json, key);
    fputs(value ? "true" : "false", json->file);
}
