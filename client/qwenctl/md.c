/* md.c - Markdown while it comes.  See md.h. */
#include "md.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "md_paint.h"
#include "term.h"

struct md {
    char *block; /* owned: what came and is not final; of it block[0 .. shown) stands on the terminal */
    size_t n, cap, shown;
    size_t scanned;       /* bytes of whole lines that were looked at */
    unsigned row, column; /* of the cursor, from where the block begins */
    unsigned columns, rows;
    bool fixed_size, stuck; /* stuck: the block stays as it stands */
    bool blank;             /* the last line looked at was empty */
    bool gap;               /* an empty line goes before the next block */
    char fence;             /* inside of a code block: its mark; 0: not */
    size_t n_fence;
    FILE *out; /* while something is fed */
};

struct md *md_new(void)
{
    return calloc(1, sizeof(struct md));
}

struct md *md_free(struct md *md)
{
    if (md)
        free(md->block);
    free(md);
    return NULL;
}

void md_disturb(struct md *md)
{
    md->stuck |= md->shown > 0;
}

/* The cursor after harmless text, as a terminal moves it: at the last column it waits for what comes next. */
static void md_move(struct md *md, const char *text, size_t n)
{
    for (size_t done = 0, k; done < n; done += k) {
        unsigned width;

        if (text[done] == '\n') {
            k = 1;
            md->row++;
            md->column = 0;
            continue;
        }
        width = text[done] == '\t' ? 8 - md->column % 8 : md_columns_of(text + done, n - done, &k);
        if (text[done] == '\t') { /* stops at the last column */
            k = 1;
            md->column = MIN(md->column + width, md->columns - 1);
        } else if (md->column + width > md->columns) {
            md->row++;
            md->column = width;
        } else {
            md->column += width;
        }
    }
}

/* Where the cursor is behind what is shown, which begins in the first column. */
static int md_measure(struct md *md)
{
    _cleanup_(freep) char *safe = malloc(TERM_GROWTH * md->shown + 1);
    size_t n_safe;

    if (!safe)
        return err_origin(-ENOMEM);
    n_safe = term_escape(md->block, md->shown, safe);
    md->row = md->column = 0;
    md_move(md, safe, n_safe);
    return 0;
}

/* Of another width: the terminal breaks anew what stands there, as most do, so the cursor is elsewhere. */
static int md_resize(struct md *md, unsigned columns, unsigned rows)
{
    const bool changed = md->columns && columns != md->columns;
    int r;

    md->columns = columns;
    md->rows = rows;
    r = changed && md->shown ? md_measure(md) : 0;
    md->stuck |= md->shown && md->row + 1 >= md->rows; /* its beginning may have left the screen */
    return r;
}

int md_set_size(struct md *md, unsigned columns, unsigned rows)
{
    md->fixed_size = true;
    return md_resize(md, columns, rows);
}

static int md_look_at_size(struct md *md)
{
    struct winsize size;

    if (md->fixed_size)
        return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col || !size.ws_row)
        size = (struct winsize){.ws_col = 80, .ws_row = 24};
    return md_resize(md, size.ws_col, size.ws_row);
}

/* Shows what came and does not stand there yet. */
static int md_show(struct md *md)
{
    _cleanup_(freep) char *safe = NULL;
    size_t n_safe;

    if (md->n == md->shown)
        return 0;
    if (!md->shown && md->gap) {
        fputc('\n', md->out);
        md->gap = false;
    }
    safe = malloc(TERM_GROWTH * (md->n - md->shown));
    if (!safe)
        return err_origin(-ENOMEM);
    n_safe = term_escape(md->block + md->shown, md->n - md->shown, safe);
    fwrite(safe, 1, n_safe, md->out);
    md_move(md, safe, n_safe);
    md->shown = md->n;
    md->stuck |= md->row + 1 >= md->rows; /* its beginning may have left the screen */
    return 0;
}

/* Takes what is shown off the terminal. */
static void md_take_back(struct md *md)
{
    if (md->shown) {
        fputc('\r', md->out);
        if (md->row)
            fprintf(md->out, "\033[%uA", md->row);
        fputs("\033[J", md->out);
    }
    md->shown = 0;
    md->row = md->column = 0;
}

static void md_drop(struct md *md, size_t n)
{
    memmove(md->block, md->block + n, md->n - n);
    md->n -= n;
    md->scanned -= MIN(md->scanned, n);
    md->shown -= MIN(md->shown, n);
}

/* What stays as it stands: the lines of block[0 .. n), and where the cursor is behind them. */
static int md_leave(struct md *md, size_t n)
{
    int r = 0;

    if (md->shown < n)
        r = md_show(md);
    if (r)
        return r;
    if (n && md->block[n - 1] != '\n')
        fputc('\n', md->out);
    md->gap = !(n > 1 && md->block[n - 1] == '\n' && md->block[n - 2] == '\n');
    md_drop(md, n);
    md->stuck = false;
    return md_measure(md);
}

/* Does the text look the same laid out?  Then it need not be taken back. */
static bool md_is_same(const struct md *md, size_t n, const char *painted, size_t n_painted)
{
    while (n && md->block[n - 1] == '\n')
        n--;
    while (n_painted && painted[n_painted - 1] == '\n')
        n_painted--;
    return md->shown && n == n_painted && !memcmp(md->block, painted, n);
}

/* block[0 .. n) is over: it is laid out, and what comes behind it begins anew. */
static int md_finish(struct md *md, size_t n)
{
    _cleanup_(freep) char *painted = NULL;
    size_t n_painted = 0;
    FILE *page;
    int r;

    if (!n || md->stuck)
        return n ? md_leave(md, n) : 0;
    page = open_memstream(&painted, &n_painted);
    if (!page)
        return err_origin(-ENOMEM);
    r = md_paint(page, md->block, n, md->columns);
    if (fclose(page) || r)
        return r ? r : err_origin(-ENOMEM);
    if (md_is_same(md, n, painted, n_painted))
        return md_leave(md, n);
    md_take_back(md);
    md_drop(md, n);
    if (!n_painted)
        return 0;
    if (md->gap)
        fputc('\n', md->out);
    fwrite(painted, 1, n_painted, md->out);
    md->gap = true;
    return 0;
}

/* code */

static size_t md_fence_of(const char *line, size_t n, char *ret_mark)
{
    size_t i = 0, n_mark = 0;

    while (i < n && line[i] == ' ')
        i++;
    while (i + n_mark < n && (line[i] == '`' || line[i] == '~') && line[i + n_mark] == line[i])
        n_mark++;
    if (n_mark < 3 || (line[i] == '`' && memchr(line + i + n_mark, '`', n - i - n_mark)))
        return 0;
    *ret_mark = line[i];
    return n_mark;
}

/* A line of a code block, or its fence: final at once. */
static int md_code_line(struct md *md, size_t n, bool is_fence)
{
    _cleanup_(freep) char *safe = malloc(TERM_GROWTH * n + 1);
    size_t n_safe;

    if (!safe)
        return err_origin(-ENOMEM);
    n_safe = term_escape(md->block, n - (n && md->block[n - 1] == '\n'), safe);
    if (md->stuck)
        return md_leave(md, n);
    md_take_back(md);
    if (md->gap)
        fputc('\n', md->out);
    md->gap = false;
    fprintf(md->out, "\033[%sm%.*s\033[0m\n", is_fence ? "2" : "36", (int)n_safe, safe);
    md_drop(md, n);
    return 0;
}

static int md_on_line_of_code(struct md *md, size_t n)
{
    char mark;
    const size_t n_mark = md_fence_of(md->block, n, &mark);
    const bool closes = n_mark >= md->n_fence && mark == md->fence;
    int r = md_code_line(md, n, closes);

    if (closes) {
        md->fence = 0;
        md->gap = true;
    }
    return r;
}

/* lines */

/* Behind an empty line, what is not indented belongs to no list or quote before it. */
static bool md_begins_block(const struct md *md, const char *line)
{
    return md->blank && !md->fence && *line != ' ' && *line != '\t' && *line != '\n' && *line != '\r';
}

/* The whole line block[at .. at + n).  Restarts the look behind it. */
static int md_on_line(struct md *md, size_t at, size_t n)
{
    const char *line = md->block + at;
    char mark;
    size_t n_mark;
    int r;

    if (md->fence)
        return md_on_line_of_code(md, n);
    n_mark = md_fence_of(line, n, &mark);
    if (n_mark) {
        r = md_finish(md, at);
        md->fence = mark;
        md->n_fence = n_mark;
        md->blank = false;
        return r ? r : md_code_line(md, n, true);
    }
    if (md_begins_block(md, line)) {
        r = md_finish(md, at);
        md->scanned = n;
        md->blank = false;
        return r;
    }
    if (!at && n == 1) { /* no block begins with an empty line */
        md_drop(md, n);
        return 0;
    }
    if (md->blank && n == 1 && md->shown <= at) { /* one empty line says as much as two */
        memmove(md->block + at, md->block + at + n, md->n - at - n);
        md->n -= n;
        md->scanned = at;
        return 0;
    }
    md->blank |= strspn(line, " \t\r") == n - 1;
    md->scanned = at + n;
    return 0;
}

static int md_keep(struct md *md, const char *text, size_t n)
{
    if (md->n + n >= md->cap) {
        const size_t cap = MAX(2 * (md->n + n), (size_t)1024);
        char *block = realloc(md->block, cap);

        if (!block)
            return err_origin(-ENOMEM);
        md->block = block;
        md->cap = cap;
    }
    memcpy(md->block + md->n, text, n);
    md->n += n;
    md->block[md->n] = 0;
    return 0;
}

static int md_take(struct md *md, const char *text, size_t n)
{
    const char *end;
    int r = md_keep(md, text, n);

    while (!r && md->n > md->scanned && (end = memchr(md->block + md->scanned, '\n', md->n - md->scanned))) {
        const size_t at = md->scanned;

        md->scanned = 0;
        r = md_on_line(md, at, (size_t)(end + 1 - md->block) - at);
    }
    if (!r && md->n > md->scanned && md_begins_block(md, md->block + md->scanned)) {
        r = md_finish(md, md->scanned);
        md->scanned = 0;
        md->blank = false;
    }
    return r ? r : md_show(md);
}

static int md_rest(struct md *md)
{
    if (md->fence)
        return md->n ? md_code_line(md, md->n, false) : 0;
    return md_finish(md, md->n);
}

int md_feed(struct md *md, const char *text, size_t n, md_put *put, void *arg)
{
    char *data = NULL;
    size_t n_data = 0;
    int r;

    md->out = open_memstream(&data, &n_data);
    if (!md->out)
        return err_origin(-ENOMEM);
    r = md_look_at_size(md);
    if (!r)
        r = text ? md_take(md, text, n) : md_rest(md);
    if (fclose(md->out) && !r)
        r = err_origin(-ENOMEM);
    if (!r && n_data)
        r = put(arg, data, n_data);
    free(data);
    return r;
}

int md_end(struct md *md, md_put *put, void *arg)
{
    int r = md_feed(md, NULL, 0, put, arg);

    md->fence = 0;
    md->gap = md->blank = md->stuck = false;
    md->n = md->shown = md->scanned = 0;
    md->row = md->column = 0;
    return r;
}
