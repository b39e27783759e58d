/* md_paint.c - Markdown to lines with SGR sequences, parsed by md4c.  See md_paint.h. */
#include "md_paint.h"

#include <md4c.h>
#include <string.h>

#include "term.h"

enum { PAINT_DEPTH = 8, PAINT_WORD = 4096 }; /* a word that is longer is put in pieces */
enum { PAINT_BOLD = 1, PAINT_ITALIC = 2, PAINT_UNDER = 4, PAINT_STRIKE = 8, PAINT_CODE = 16, PAINT_DIM = 32 };

/* one level of indentation: a quote, or an item of a list */
struct paint_level {
    char mark[16], rest[16]; /* before its first line, and before the others */
    unsigned columns;        /* of either */
    unsigned next;           /* of a list: the number of its next item; 0: it has bullets */
    bool fresh;              /* the mark stands nowhere yet */
};

struct paint {
    FILE *out;
    struct paint_level levels[PAINT_DEPTH];
    unsigned n_levels, n_deeper; /* deeper: those that are too deep to show */
    unsigned columns, column;    /* of the terminal; of what stands on this line */
    unsigned styles, n_items;    /* n_items: items that are open */
    char word[PAINT_WORD];
    size_t n_word;
    unsigned word_columns;
    bool space, literal, gap; /* a blank is due; code, as it stands; an empty line is due */
    unsigned cell;
    const char *last; /* the text that came last, to tell a link that is its own text */
    size_t n_last;
};

static size_t paint_sgr(char *out, size_t size, unsigned styles)
{
    static const struct {
        unsigned style;
        const char *code;
    } codes[] = {{PAINT_BOLD, ";1"},   {PAINT_ITALIC, ";3"}, {PAINT_UNDER, ";4"},
                 {PAINT_STRIKE, ";9"}, {PAINT_CODE, ";36"},  {PAINT_DIM, ";2"}};
    size_t n = (size_t)snprintf(out, size, "\033[0");

    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (styles & codes[i].style)
            n += (size_t)snprintf(out + n, size - n, "%s", codes[i].code);
    return n + (size_t)snprintf(out + n, size - n, "m");
}

/* lines */

static void paint_start_line(struct paint *paint)
{
    for (unsigned i = 0; i < paint->n_levels; i++) {
        struct paint_level *level = &paint->levels[i];

        fputs(level->fresh ? level->mark : level->rest, paint->out);
        level->fresh = false;
        paint->column += level->columns;
    }
}

static void paint_end_line(struct paint *paint)
{
    fputc('\n', paint->out);
    paint->column = 0;
    paint->space = false;
}

static unsigned paint_indent(const struct paint *paint)
{
    unsigned columns = 0;

    for (unsigned i = 0; i < paint->n_levels; i++)
        columns += paint->levels[i].columns;
    return columns;
}

/* Puts the word that was gathered: on the next line if this one has no room. */
static void paint_word(struct paint *paint)
{
    const unsigned indent = paint_indent(paint);

    if (!paint->n_word)
        return;
    if (!paint->literal && paint->column > indent &&
        paint->column + paint->space + paint->word_columns > paint->columns)
        paint_end_line(paint);
    if (!paint->column)
        paint_start_line(paint);
    if (paint->space && paint->word_columns && paint->column > indent) {
        fputc(' ', paint->out);
        paint->column++;
    }
    fwrite(paint->word, 1, paint->n_word, paint->out);
    paint->column += paint->word_columns;
    paint->space &= !paint->word_columns;
    paint->n_word = 0;
    paint->word_columns = 0;
}

static void paint_add(struct paint *paint, const char *text, size_t n, unsigned columns)
{
    if (paint->n_word + n > PAINT_WORD)
        paint_word(paint);
    memcpy(paint->word + paint->n_word, text, n);
    paint->n_word += n;
    paint->word_columns += columns;
}

static void paint_style(struct paint *paint, unsigned styles)
{
    char sgr[40];

    paint->styles = styles;
    paint_add(paint, sgr, paint_sgr(sgr, sizeof(sgr), styles), 0);
}

static void paint_text(struct paint *paint, const char *text, size_t n)
{
    char safe[4 * TERM_GROWTH];

    for (size_t done = 0, k; done < n; done += k) {
        const char c = text[done];
        size_t n_safe;
        unsigned columns;

        k = 1;
        if (paint->literal ? c == '\n' : c == ' ' || c == '\t' || c == '\n') {
            paint_word(paint);
            paint->space = !paint->literal;
            if (paint->literal && !paint->column)
                paint_start_line(paint);
            if (paint->literal)
                paint_end_line(paint);
            continue;
        }
        columns = md_columns_of(text + done, n - done, &k);
        n_safe = term_escape(text + done, k, safe);
        paint_add(paint, safe, n_safe, n_safe == k ? columns : (unsigned)n_safe); /* ^[ has two */
    }
}

/* blocks */

static void paint_block(struct paint *paint)
{
    if (paint->gap && !paint->n_items)
        fputc('\n', paint->out);
    paint->gap = false;
}

static void paint_block_end(struct paint *paint)
{
    paint_word(paint);
    if (paint->column)
        paint_end_line(paint);
    paint->gap = true;
}

static void paint_push(struct paint *paint, const char *mark, const char *rest, unsigned columns,
                       unsigned next)
{
    struct paint_level *level = &paint->levels[paint->n_levels];

    if (paint->n_levels == PAINT_DEPTH || paint_indent(paint) + columns + 16 > paint->columns) {
        paint->n_deeper++;
        return;
    }
    *level = (struct paint_level){.columns = columns, .next = next, .fresh = true};
    snprintf(level->mark, sizeof(level->mark), "%s", mark);
    snprintf(level->rest, sizeof(level->rest), "%s", rest);
    paint->n_levels++;
}

static void paint_pop(struct paint *paint)
{
    if (paint->n_deeper)
        paint->n_deeper--;
    else if (paint->n_levels)
        paint->n_levels--;
}

static void paint_item(struct paint *paint)
{
    struct paint_level *list = paint->n_levels ? &paint->levels[paint->n_levels - 1] : NULL;
    char mark[16], rest[16];
    int n;

    if (list && list->next && !paint->n_deeper)
        n = snprintf(mark, sizeof(mark), "%u. ", list->next++ % 100000000);
    else
        n = snprintf(mark, sizeof(mark), "\xe2\x80\xa2 ") - 2;
    snprintf(rest, sizeof(rest), "%*s", n, "");
    paint_block_end(paint);
    paint->gap = false;
    paint_push(paint, mark, rest, (unsigned)n, 0);
    paint->n_items++;
}

static void paint_rule(struct paint *paint)
{
    paint_start_line(paint);
    for (unsigned i = paint->column; i < paint->columns; i++)
        fputs("\xe2\x94\x80", paint->out);
    paint->column = paint->columns;
}

/* A cell behind the first is two blanks apart: columns are not lined up, which would need the whole table. */
static void paint_cell(struct paint *paint)
{
    if (!paint->cell++)
        return;
    paint_word(paint);
    fputs(" \xe2\x94\x82", paint->out);
    paint->column += 2;
    paint->space = true;
}

static int paint_on_block(MD_BLOCKTYPE type, void *detail, void *arg)
{
    struct paint *paint = arg;

    switch (type) {
    case MD_BLOCK_QUOTE:
        paint_block(paint);
        paint_push(paint, "\xe2\x94\x82 ", "\xe2\x94\x82 ", 2, 0);
        break;
    case MD_BLOCK_UL:
    case MD_BLOCK_OL:
        paint_block(paint);
        paint_push(paint, "", "", 0,
                   type == MD_BLOCK_OL ? MAX(((MD_BLOCK_OL_DETAIL *)detail)->start, 1u) : 0);
        break;
    case MD_BLOCK_LI:
        paint_item(paint);
        break;
    case MD_BLOCK_HR:
        paint_block(paint);
        paint_rule(paint);
        break;
    case MD_BLOCK_H:
        paint_block(paint);
        paint_style(paint, PAINT_BOLD | (((MD_BLOCK_H_DETAIL *)detail)->level == 1 ? PAINT_UNDER : 0));
        break;
    case MD_BLOCK_CODE:
        paint_block(paint);
        paint->literal = true;
        paint_style(paint, PAINT_CODE);
        break;
    case MD_BLOCK_P:
    case MD_BLOCK_TABLE:
        paint_block(paint);
        break;
    case MD_BLOCK_TR:
        paint->cell = 0;
        break;
    case MD_BLOCK_TH:
        paint_cell(paint);
        paint_style(paint, PAINT_BOLD);
        break;
    case MD_BLOCK_TD:
        paint_cell(paint);
        break;
    default:
        break;
    }
    return 0;
}

static int paint_on_block_end(MD_BLOCKTYPE type, void *detail, void *arg)
{
    struct paint *paint = arg;

    switch (type) {
    case MD_BLOCK_LI:
        paint->n_items--;
        /* fall through */
    case MD_BLOCK_QUOTE:
    case MD_BLOCK_UL:
    case MD_BLOCK_OL:
        paint_block_end(paint);
        paint_pop(paint);
        break;
    case MD_BLOCK_H:
    case MD_BLOCK_CODE:
        if (paint->styles && paint->n_word + paint->column)
            paint_style(paint, 0);
        paint_block_end(paint);
        paint->literal = false;
        paint->styles = 0;
        break;
    case MD_BLOCK_TH:
        paint_style(paint, 0);
        break;
    case MD_BLOCK_HR:
    case MD_BLOCK_P:
    case MD_BLOCK_TR:
        paint_block_end(paint);
        break;
    default:
        break;
    }
    return 0;
}

/* spans */

static unsigned paint_span_style(MD_SPANTYPE type)
{
    switch (type) {
    case MD_SPAN_EM:
        return PAINT_ITALIC;
    case MD_SPAN_STRONG:
        return PAINT_BOLD;
    case MD_SPAN_A:
        return PAINT_UNDER;
    case MD_SPAN_CODE:
        return PAINT_CODE;
    case MD_SPAN_DEL:
        return PAINT_STRIKE;
    default:
        return 0;
    }
}

static int paint_on_span(MD_SPANTYPE type, void *detail, void *arg)
{
    struct paint *paint = arg;

    paint_style(paint, paint->styles | paint_span_style(type));
    return 0;
}

/* Where a link leads is said, unless its text says it. */
static int paint_on_span_end(MD_SPANTYPE type, void *detail, void *arg)
{
    struct paint *paint = arg;
    const MD_ATTRIBUTE *href = type == MD_SPAN_A ? &((MD_SPAN_A_DETAIL *)detail)->href : NULL;

    paint_style(paint, paint->styles & ~paint_span_style(type));
    if (href && !(paint->n_last == href->size && !memcmp(paint->last, href->text, href->size))) {
        paint_text(paint, " (", 2);
        paint_text(paint, href->text, href->size);
        paint_text(paint, ")", 1);
    }
    return 0;
}

static int paint_on_text(MD_TEXTTYPE type, const MD_CHAR *text, MD_SIZE n, void *arg)
{
    struct paint *paint = arg;

    paint->last = text;
    paint->n_last = n;
    switch (type) {
    case MD_TEXT_BR:
        paint_word(paint);
        paint_end_line(paint);
        break;
    case MD_TEXT_SOFTBR:
        paint_text(paint, " ", 1);
        break;
    case MD_TEXT_NULLCHAR:
        paint_text(paint, "\xef\xbf\xbd", 3);
        break;
    default:
        paint_text(paint, text, n);
        break;
    }
    return 0;
}

int md_paint(FILE *out, const char *text, size_t n, unsigned columns)
{
    static const MD_PARSER parser = {
        .flags = MD_FLAG_TABLES | MD_FLAG_STRIKETHROUGH | MD_FLAG_NOHTML,
        .enter_block = paint_on_block,
        .leave_block = paint_on_block_end,
        .enter_span = paint_on_span,
        .leave_span = paint_on_span_end,
        .text = paint_on_text,
    };
    struct paint *paint = calloc(1, sizeof(*paint));
    int r;

    if (!paint)
        return err_origin(-ENOMEM);
    paint->out = out;
    paint->columns = MAX(columns, 20u);
    r = md_parse(text, (MD_SIZE)n, &parser, paint) ? err_origin(-ENOMEM) : 0;
    free(paint);
    return r;
}
