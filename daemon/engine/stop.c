/* stop.c - stop strings.  See stop.h.
 *
 * Eight strings of 256 bytes against a few bytes per token: comparing suffixes directly costs at most some
 * microseconds, so there is no automaton to build. */
#include "stop.h"

#include <assert.h>
#include <string.h>

static int stop_add(struct stop *s, const char *string, struct fault *fault)
{
    const size_t n = strlen(string);
    const int i = s->n_strings;

    if (!n)
        return fault_set(fault, STOP_E_INVALID, "stop[%d] is empty", i);
    if (n > STOP_BYTES_MAX)
        return fault_set(fault, STOP_E_INVALID, "stop[%d] has %zu bytes, at most %d are allowed", i, n,
                         STOP_BYTES_MAX);
    s->strings[i] = strdup(string);
    if (!s->strings[i])
        return err_origin(-ENOMEM);
    s->n_bytes[i] = n;
    s->n_strings++;
    return STOP_OK;
}

int stop_init(struct stop *s, char *const *strings, size_t n_strings, size_t max_push, struct fault *fault)
{
    int r = STOP_OK;

    *s = (struct stop){.max_push = max_push, .cap = max_push + STOP_BYTES_MAX, .found = -1};
    if (n_strings > STOP_STRINGS_MAX)
        return fault_set(fault, STOP_E_INVALID, "%zu stop strings, at most %d are allowed", n_strings,
                         STOP_STRINGS_MAX);
    for (size_t i = 0; !r && i < n_strings; i++)
        r = stop_add(s, strings[i], fault);
    if (!r && n_strings && !(s->buf = malloc(s->cap)))
        r = err_origin(-ENOMEM);
    if (r)
        stop_deinit(s);
    return r;
}

void stop_deinit(struct stop *s)
{
    for (int i = 0; i < s->n_strings; i++)
        free(s->strings[i]);
    free(s->buf);
    *s = (struct stop){.found = -1};
}

/* The longest string that ends with byte end - 1 of the buffer; -1: none. */
static int stop_find_ending(const struct stop *s, size_t end)
{
    int best = -1;

    for (int i = 0; i < s->n_strings; i++) {
        const size_t n = s->n_bytes[i];

        if (n <= end && !memcmp(s->buf + end - n, s->strings[i], n) && (best < 0 || n > s->n_bytes[best]))
            best = i;
    }
    return best;
}

static bool stop_is_prefix(const struct stop *s, const char *text, size_t n)
{
    for (int i = 0; i < s->n_strings; i++)
        if (n < s->n_bytes[i] && !memcmp(text, s->strings[i], n))
            return true;
    return false;
}

/* How many bytes at the end of the buffer may begin a stop string. */
static size_t stop_n_held(const struct stop *s)
{
    for (size_t n = MIN(s->n_buf, (size_t)STOP_BYTES_MAX - 1); n > 0; n--)
        if (stop_is_prefix(s, s->buf + s->n_buf - n, n))
            return n;
    return 0;
}

static void stop_drop_out(struct stop *s)
{
    memmove(s->buf, s->buf + s->n_out, s->n_buf - s->n_out);
    s->n_buf -= s->n_out;
    s->n_out = 0;
}

void stop_push(struct stop *s, const char *text, size_t n, const char **ret_text, size_t *ret_n)
{
    size_t end;

    *ret_text = text;
    *ret_n = s->found < 0 ? n : 0;
    if (!s->n_strings || s->found >= 0)
        return;
    stop_drop_out(s);
    assert(n <= s->max_push && s->n_buf < STOP_BYTES_MAX);
    end = s->n_buf;
    memcpy(s->buf + s->n_buf, text, n);
    s->n_buf += n;
    while (end < s->n_buf && s->found < 0)
        s->found = stop_find_ending(s, ++end);
    s->n_out = s->found < 0 ? s->n_buf - stop_n_held(s) : end - s->n_bytes[s->found];
    *ret_text = s->buf;
    *ret_n = s->n_out;
}

void stop_flush(struct stop *s, const char **ret_text, size_t *ret_n)
{
    *ret_text = NULL;
    *ret_n = 0;
    if (!s->n_strings || s->found >= 0)
        return;
    stop_drop_out(s);
    *ret_text = s->buf;
    *ret_n = s->n_out = s->n_buf;
}
