/* unicode.c - character classes and normal form C (Unicode 16, chapter 3.11).  See unicode.h. */
#include "unicode.h"

#include <stdlib.h>
#include <string.h>

#include "unicode_data.h"
#include "utf8.h"

enum {
    HANGUL_S = 0xac00,
    HANGUL_L = 0x1100,
    HANGUL_V = 0x1161,
    HANGUL_T = 0x11a7, /* T: the one before the first final */
    HANGUL_N_L = 19,
    HANGUL_N_V = 21,
    HANGUL_N_T = 28,
    HANGUL_N_S = HANGUL_N_L * HANGUL_N_V * HANGUL_N_T,
};

/* The last entry of a bounds table whose first code point is not above cp. */
static uint32_t unicode_bound(const uint32_t *bounds, size_t n, int shift, uint32_t cp)
{
    size_t lo = 0;

    while (n > 1) {
        size_t half = n / 2;

        lo += bounds[lo + half] >> shift <= cp ? half : 0;
        n -= half;
    }
    return bounds[lo];
}

enum unicode_class unicode_class(uint32_t cp)
{
    return (enum unicode_class)(unicode_bound(unicode_class_bounds, unicode_class_bounds_n, 3, cp) & 7);
}

bool unicode_is_python_space(uint32_t cp)
{
    return (cp >= 0x1c && cp <= 0x1f) || unicode_class(cp) == UNICODE_SPACE;
}

/* quick check << 8 | combining class; 0 for what no normalisation ever touches */
static uint32_t unicode_normal(uint32_t cp)
{
    if (cp < 0x300)
        return 0;
    return unicode_bound(unicode_normal_bounds, unicode_normal_bounds_n, 10, cp) & 0x3ff;
}

void unicode_text_deinit(struct unicode_text *text)
{
    free(text->s);
    *text = (struct unicode_text){0};
}

int unicode_text_append(struct unicode_text *text, const char *s, size_t n)
{
    if (text->cap - text->n < n) {
        size_t cap = MAX(text->cap * 2, text->n + n);
        char *grown = realloc(text->s, cap);

        if (!grown)
            return err_origin(-ENOMEM);
        text->s = grown;
        text->cap = cap;
    }
    if (n)
        memcpy(text->s + text->n, s, n);
    text->n += n;
    return 0;
}

/* decomposition */
/* Characters under work: combining class << 56 | place (only while sorting) << 21 | code point. */
struct unicode_run {
    uint64_t *c;
    size_t n, cap;
};
#define UNICODE_CCC(c) ((c) >> 56)
#define UNICODE_CP(c)  ((uint32_t)((c)&0x1fffff))

static int unicode_run_push(struct unicode_run *run, uint32_t cp)
{
    if (run->n == run->cap) {
        size_t cap = run->cap ? run->cap * 2 : 64;
        uint64_t *grown = realloc(run->c, cap * sizeof(*grown));

        if (!grown)
            return err_origin(-ENOMEM);
        run->c = grown;
        run->cap = cap;
    }
    run->c[run->n++] = (uint64_t)(unicode_normal(cp) & 0xff) << 56 | cp;
    return 0;
}

static const struct unicode_pair *unicode_find_pair(uint32_t cp)
{
    size_t lo = 0, hi = unicode_pairs_n;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (unicode_pairs[mid].whole < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < unicode_pairs_n && unicode_pairs[lo].whole == cp ? &unicode_pairs[lo] : NULL;
}

static int unicode_decompose_hangul(struct unicode_run *run, uint32_t index)
{
    uint32_t t = index % HANGUL_N_T;
    int r = unicode_run_push(run, HANGUL_L + index / (HANGUL_N_V * HANGUL_N_T));

    if (!r)
        r = unicode_run_push(run, HANGUL_V + index / HANGUL_N_T % HANGUL_N_V);
    if (!r && t)
        r = unicode_run_push(run, HANGUL_T + t);
    return r;
}

/* Only the first part of a decomposition decomposes further, so the second parts come out last to first. */
static int unicode_decompose(struct unicode_run *run, uint32_t cp)
{
    uint32_t tail[4]; /* three is the longest chain in Unicode */
    int n = 0, r;

    if (cp - HANGUL_S < HANGUL_N_S)
        return unicode_decompose_hangul(run, cp - HANGUL_S);
    for (const struct unicode_pair *p; n < (int)ARRAY_SIZE(tail) && (p = unicode_find_pair(cp)); cp = p->a)
        if (p->b)
            tail[n++] = p->b;
    r = unicode_run_push(run, cp);
    while (!r && n)
        r = unicode_run_push(run, tail[--n]);
    return r;
}

static int unicode_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Sorts each stretch of marks by combining class, stably.  Not by insertion: a megabyte of marks is
 * somebody's input. */
static void unicode_sort_marks(struct unicode_run *run)
{
    for (size_t i = 0, end; i < run->n; i = end + 1) {
        bool sorted = true;

        for (end = i; end < run->n && UNICODE_CCC(run->c[end]); end++)
            sorted = sorted && (end == i || UNICODE_CCC(run->c[end - 1]) <= UNICODE_CCC(run->c[end]));
        if (sorted)
            continue;
        for (size_t k = i; k < end; k++)
            run->c[k] |= (uint64_t)(k - i) << 21;
        qsort(run->c + i, end - i, sizeof(*run->c), unicode_order);
        for (size_t k = i; k < end; k++)
            run->c[k] = UNICODE_CCC(run->c[k]) << 56 | UNICODE_CP(run->c[k]);
    }
}

/* composition */
static uint32_t unicode_find_composition(uint32_t a, uint32_t b)
{
    size_t lo = 0, hi = unicode_compositions_n;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct unicode_pair *p = &unicode_pairs[unicode_compositions[mid]];

        if (p->a == a && p->b == b)
            return p->whole;
        if (p->a < a || (p->a == a && p->b < b))
            lo = mid + 1;
        else
            hi = mid;
    }
    return 0;
}

/* 0: a and b do not compose */
static uint32_t unicode_compose_pair(uint32_t a, uint32_t b)
{
    if (a - HANGUL_L < HANGUL_N_L && b - HANGUL_V < HANGUL_N_V)
        return HANGUL_S + ((a - HANGUL_L) * HANGUL_N_V + (b - HANGUL_V)) * HANGUL_N_T;
    if (a - HANGUL_S < HANGUL_N_S && (a - HANGUL_S) % HANGUL_N_T == 0 && b > HANGUL_T &&
        b < HANGUL_T + HANGUL_N_T)
        return a + (b - HANGUL_T);
    return unicode_find_composition(a, b);
}

/* In place.  A mark composes with the last starter unless one of its own or a higher class stands between
 * them. */
static void unicode_compose(struct unicode_run *run)
{
    size_t n = 0, starter = SIZE_MAX;
    int last = -1; /* class of what stands between; -1: nothing does */

    for (size_t i = 0; i < run->n; i++) {
        uint64_t c = run->c[i];
        int ccc = (int)UNICODE_CCC(c);
        uint32_t whole = 0;

        if (starter != SIZE_MAX && last < ccc)
            whole = unicode_compose_pair(UNICODE_CP(run->c[starter]), UNICODE_CP(c));
        if (whole) {
            run->c[starter] = whole;
            continue;
        }
        if (!ccc)
            starter = n;
        last = ccc ? ccc : -1;
        run->c[n++] = c;
    }
    run->n = n;
}

/* normal form C */
/* Normalises s without looking at whether it needs it; s starts and ends where nothing reaches across. */
static int unicode_nfc_slow(struct unicode_text *text, struct unicode_run *run, const char *s, size_t n)
{
    int r = 0, len;

    run->n = 0;
    for (size_t i = 0; i < n && !r; i += (size_t)len)
        r = unicode_decompose(run, utf8_get(s + i, &len));
    if (r)
        return r;
    unicode_sort_marks(run);
    unicode_compose(run);
    for (size_t i = 0; i < run->n && !r; i++) {
        char utf8[4];

        r = unicode_text_append(text, utf8, (size_t)utf8_put(UNICODE_CP(run->c[i]), utf8));
    }
    return r;
}

/* The place of the next character that nothing before it can touch: class 0, quick check yes. */
static size_t unicode_find_boundary(const char *s, size_t n, size_t i)
{
    int len;

    while (i < n && unicode_normal(utf8_get(s + i, &len)))
        i += (size_t)len;
    return i;
}

/* The first place from i on where s is not certainly in NFC; n: none.  ret_boundary: the last boundary before
 * it. */
static size_t unicode_find_trouble(const char *s, size_t n, size_t i, size_t *ret_boundary)
{
    uint32_t last = 0;
    int len;

    *ret_boundary = i;
    for (; i < n; i += (size_t)len) {
        size_t ascii = utf8_ascii_prefix(s + i, n - i);
        uint32_t normal;

        if (ascii) {
            *ret_boundary = i + ascii - 1;
            last = 0;
            len = (int)MIN(ascii, (size_t)INT32_MAX);
            continue;
        }
        normal = unicode_normal(utf8_get(s + i, &len));
        if (normal >> 8 || (normal && (normal & 0xff) < last))
            return i;
        if (!normal)
            *ret_boundary = i;
        last = normal & 0xff;
    }
    return n;
}

int unicode_nfc_append(struct unicode_text *text, const char *s, size_t n)
{
    struct unicode_run run = {0};
    size_t i = 0;
    int r = 0;

    while (i < n && !r) {
        size_t boundary, trouble = unicode_find_trouble(s, n, i, &boundary), end;

        if (trouble == n) {
            r = unicode_text_append(text, s + i, n - i);
            break;
        }
        end = unicode_find_boundary(s, n, trouble);
        r = unicode_text_append(text, s + i, boundary - i);
        if (!r)
            r = unicode_nfc_slow(text, &run, s + boundary, end - boundary);
        i = end;
    }
    free(run.c);
    return r;
}
