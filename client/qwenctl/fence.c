/* fence.c - the first code block.  See fence.h. */
#include "fence.h"

#include <string.h>

static size_t fence_indent(const char *line, size_t n)
{
    size_t i = 0;

    while (i < n && line[i] == ' ')
        i++;
    return i;
}

/* How many marks a fence on this line has: 0 if it is none.  *ret_rest: what stands behind them. */
static size_t fence_marks(const char *line, size_t n, char *ret_mark, size_t *ret_rest)
{
    size_t indent = fence_indent(line, n), i = indent;
    const char mark = i < n ? line[i] : 0;

    if (mark != '`' && mark != '~')
        return 0;
    while (i < n && line[i] == mark)
        i++;
    if (i - indent < 3)
        return 0;
    *ret_mark = mark;
    *ret_rest = i;
    return i - indent;
}

/* Names of one language; the shells are one to whoever pipes into sh. */
static bool fence_is_language(const char *wanted, const char *name, size_t n)
{
    static const char *const same[][4] = {
        {"sh", "bash", "shell", "zsh"},     {"py", "python", "python3", NULL},
        {"js", "javascript", "node", NULL}, {"ts", "typescript", NULL, NULL},
        {"c++", "cpp", "cc", NULL},         {"yaml", "yml", NULL, NULL}};

    if (!*wanted || !n || (strlen(wanted) == n && !strncasecmp(wanted, name, n)))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        bool has_wanted = false, has_name = false;

        for (size_t k = 0; k < 4 && same[i][k]; k++) {
            has_wanted |= !strcasecmp(same[i][k], wanted);
            has_name |= strlen(same[i][k]) == n && !strncasecmp(same[i][k], name, n);
        }
        if (has_wanted && has_name)
            return true;
    }
    return false;
}

static void fence_open(struct fence *fence, const char *line, size_t n)
{
    size_t rest, n_mark;
    char mark;

    n_mark = fence_marks(line, n, &mark, &rest);
    if (!n_mark || (mark == '`' && memchr(line + rest, '`', n - rest))) /* ```x``` is a span */
        return;
    fence->mark = mark;
    fence->n_mark = n_mark;
    fence->indent = fence_indent(line, n);
    rest += fence_indent(line + rest, n - rest);
    n = rest;
    while (line[n] && line[n] != ' ' && line[n] != '\t' && line[n] != '\n' && line[n] != '\r')
        n++;
    fence->wanted = !fence->over && fence_is_language(fence->language, line + rest, n - rest);
    fence->found |= fence->wanted;
}

static bool fence_closes(const struct fence *fence, const char *line, size_t n)
{
    size_t rest, n_mark;
    char mark;

    n_mark = fence_marks(line, n, &mark, &rest);
    return n_mark >= fence->n_mark && mark == fence->mark && strspn(line + rest, " \t\r\n") == n - rest;
}

static int fence_on_line(struct fence *fence, fence_put *put, void *arg)
{
    const char *line = fence->line;
    const size_t n = fence->n_line, skip = MIN(fence_indent(line, n), fence->indent);

    fence->n_line = 0;
    if (!fence->mark) {
        fence_open(fence, line, n);
        return 0;
    }
    if (fence_closes(fence, line, n)) {
        fence->over |= fence->wanted;
        fence->mark = 0;
        return 0;
    }
    return fence->wanted ? put(arg, line + skip, n - skip) : 0;
}

static int fence_keep(struct fence *fence, const char *text, size_t n)
{
    if (fence->n_line + n >= fence->cap) {
        const size_t cap = MAX(2 * (fence->n_line + n + 1), (size_t)256);
        char *line = realloc(fence->line, cap);

        if (!line)
            return err_origin(-ENOMEM);
        fence->line = line;
        fence->cap = cap;
    }
    memcpy(fence->line + fence->n_line, text, n);
    fence->n_line += n;
    fence->line[fence->n_line] = 0;
    return 0;
}

int fence_feed(struct fence *fence, const char *text, size_t n, fence_put *put, void *arg)
{
    int r = 0;

    while (n && !r) {
        const char *end = memchr(text, '\n', n);
        const size_t k = end ? (size_t)(end - text) + 1 : n;

        r = fence_keep(fence, text, k);
        if (!r && end)
            r = fence_on_line(fence, put, arg);
        text += k;
        n -= k;
    }
    return r;
}

int fence_end(struct fence *fence, fence_put *put, void *arg)
{
    return fence->n_line ? fence_on_line(fence, put, arg) : 0;
}

void fence_deinit(struct fence *fence)
{
    free(fence->line);
    fence->line = NULL;
}
