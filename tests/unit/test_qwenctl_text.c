/* test_qwenctl_text.c - answers on their way to the reader: code blocks taken out, Markdown laid out. Neither
 * may depend on the pieces that the text comes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/qwenctl/fence.h"
#include "client/qwenctl/md.h"

enum { COLUMNS = 40, ROWS = 60 };

/* A terminal that knows what md.c writes: newline, return, tab, up, erase below; colours are dropped, and
 * what is not ASCII is a question mark. */
struct screen {
    char cells[ROWS][COLUMNS + 1];
    int row, column, columns;
};

static void screen_erase(struct screen *screen, int row, int column)
{
    memset(screen->cells[row] + column, 0, (size_t)(screen->columns - column));
    for (int i = row + 1; i < ROWS; i++)
        memset(screen->cells[i], 0, COLUMNS);
}

static size_t screen_sequence(struct screen *screen, const char *text)
{
    int number = 0, n = 0;

    assert_int_equal(text[1], '[');
    sscanf(text + 2, "%d%n", &number, &n);
    while (strchr("0123456789;", text[2 + n]))
        n++;
    if (text[2 + n] == 'A') {
        screen->row -= number;
        assert_true(screen->row >= 0); /* never above what is shown */
    } else if (text[2 + n] == 'J') {
        screen_erase(screen, screen->row, screen->column);
    } else {
        assert_int_equal(text[2 + n], 'm');
    }
    return (size_t)n + 3;
}

static int screen_put(void *arg, const char *text, size_t n)
{
    struct screen *screen = arg;

    for (size_t i = 0; i < n; i++) {
        if (text[i] == 033) {
            i += screen_sequence(screen, text + i) - 1;
            continue;
        }
        if (text[i] == '\r' || text[i] == '\n') {
            screen->column = 0;
            screen->row += text[i] == '\n';
            assert_true(screen->row < ROWS);
            continue;
        }
        if (((unsigned char)text[i] & 0xc0) == 0x80)
            continue; /* of a character that has its column */
        if (text[i] == '\t') {
            screen->column = MIN(screen->column + 8 - screen->column % 8, screen->columns - 1);
            continue;
        }
        if (screen->column == screen->columns) {
            screen->column = 0;
            screen->row++;
        }
        assert_true(screen->row < ROWS);
        screen->cells[screen->row][screen->column++] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
    }
    return 0;
}

/* Built without md4c there is no layout to be tested. */
static void skip_without_md(void)
{
    struct md *md = md_new();

    if (!md)
        skip();
    md_free(md);
}

static void screen_show(struct screen *screen, const char *text, size_t piece, unsigned rows)
{
    struct md *md = md_new();
    const size_t n = strlen(text);

    assert_non_null(md);
    *screen = (struct screen){.columns = COLUMNS};
    assert_int_equal(md_set_size(md, COLUMNS, rows), 0);
    for (size_t i = 0; i < n; i += piece)
        assert_int_equal(md_feed(md, text + i, MIN(piece, n - i), screen_put, screen), 0);
    assert_int_equal(md_end(md, screen_put, screen), 0);
    md_free(md);
}

static const char text_all[] =
    "\n\n# Head\n\nA *paragraph* with **bold** and `code` that is longer than a line of forty columns.\n\n"
    "- one\n- two is longer than a line of forty columns are\n  - inner\n\n    more of inner\n- three\n\n"
    "1. a\n\n2. b\n\n> quoted text\n> goes on\n\n```sh\nls\n\n  -l\n```\nafter\n\n\n---\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n[link](http://x) <http://y>\n\nlast  \nline";

static void test_md_lays_out_blocks(void **state)
{
    static const char *const lines[] = {
        "Head", "",      "A paragraph with bold and code that is", "longer than a line of forty columns.",
        "",     "? one", "? two is longer than a line of forty"};
    struct screen screen;

    skip_without_md();
    screen_show(&screen, text_all, sizeof(text_all), ROWS);
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        assert_string_equal(screen.cells[i], lines[i]);
}

static void test_md_does_not_depend_on_pieces(void **state)
{
    struct screen whole, pieces;

    skip_without_md();
    screen_show(&whole, text_all, sizeof(text_all), ROWS);
    for (size_t piece = 1; piece < 40; piece++) {
        screen_show(&pieces, text_all, piece, ROWS);
        for (int i = 0; i < ROWS; i++)
            if (strcmp(pieces.cells[i], whole.cells[i]))
                fail_msg("pieces of %zu, line %d: \"%s\", not \"%s\"", piece, i, pieces.cells[i],
                         whole.cells[i]);
    }
}

/* What has left the screen cannot be taken back: it stays as it came, and nothing is written over or lost. */
static void test_md_leaves_what_is_higher_than_the_screen(void **state)
{
    static const char text[] = "**a** b\nc d\ne f\ng h\ni j\nk l\n\n**next**\n\nend";
    struct screen screen;

    skip_without_md();
    screen_show(&screen, text, 3, 4);
    assert_string_equal(screen.cells[0], "**a** b");
    assert_string_equal(screen.cells[5], "k l");
    assert_string_equal(screen.cells[7], "next");
    assert_string_equal(screen.cells[9], "end");
}

/* A window of another width, in the middle of a paragraph: the terminal breaks what stands there anew, and
 * the paragraph is laid out for the new width, with nothing left of it and nothing before it lost. */
static void test_md_follows_the_window(void **state)
{
    static const char before[] = "# Head\n\n",
                      half[] = "A *paragraph* with **bold** words, longer than a line is",
                      rest[] = " in either window.\n\nNext.\n";
    static const int widths[][2] = {{40, 20}, {20, 40}, {40, 33}, {13, 40}, {25, 24}};

    skip_without_md();
    for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
        struct screen at_once = {.columns = widths[i][1]}, resized = {.columns = widths[i][0]};
        struct md *md = md_new();

        assert_int_equal(md_set_size(md, (unsigned)widths[i][1], ROWS), 0);
        assert_int_equal(md_feed(md, before, strlen(before), screen_put, &at_once), 0);
        assert_int_equal(md_feed(md, half, strlen(half), screen_put, &at_once), 0);
        assert_int_equal(md_feed(md, rest, strlen(rest), screen_put, &at_once), 0);
        assert_int_equal(md_end(md, screen_put, &at_once), 0);

        assert_int_equal(md_set_size(md, (unsigned)widths[i][0], ROWS), 0);
        assert_int_equal(md_feed(md, before, strlen(before), screen_put, &resized), 0);
        assert_int_equal(md_feed(md, half, strlen(half), screen_put, &resized), 0);
        resized = (struct screen){.columns = widths[i][1]};
        screen_put(&resized, "Head\n\n", 6); /* what the terminal shows now */
        screen_put(&resized, half, strlen(half));
        assert_int_equal(md_set_size(md, (unsigned)widths[i][1], ROWS), 0);
        assert_int_equal(md_feed(md, rest, strlen(rest), screen_put, &resized), 0);
        assert_int_equal(md_end(md, screen_put, &resized), 0);
        for (int row = 0; row < ROWS; row++)
            if (strcmp(resized.cells[row], at_once.cells[row]))
                fail_msg("%d to %d, line %d: \"%s\", not \"%s\"", widths[i][0], widths[i][1], row,
                         resized.cells[row], at_once.cells[row]);
        md_free(md);
    }
}

/* Bytes of any kind, also broken Markdown: no sequence of theirs, no crash, the cursor never above the start.
 */
static void test_md_holds_for_all_bytes(void **state)
{
    static const char alphabet[] = "ab \n\n*_`#->|[]()~1.\t\033\\&<";
    char text[400];
    struct screen screen;
    uint32_t x = 1;

    skip_without_md();
    for (int round = 0; round < 500; round++) {
        for (size_t i = 0; i < sizeof(text) - 1; i++)
            text[i] = alphabet[((x = x * 1664525 + 1013904223) >> 24) % (sizeof(alphabet) - 1)];
        text[200] = 0;
        screen_show(&screen, text, 1 + (size_t)round % 17, 10 + (unsigned)round % 30);
    }
}

static char fence_out[1000];
static size_t n_fence_out;

static int fence_put_out(void *arg, const char *text, size_t n)
{
    memcpy(fence_out + n_fence_out, text, n);
    n_fence_out += n;
    fence_out[n_fence_out] = 0;
    return 0;
}

static void test_fence_does_not_depend_on_pieces(void **state)
{
    static const char text[] =
        "x\n ```py\n a\n  b\n ``\n````\n```sh\nno\n```\n~~~ sh x\n```\nc\n~~\n~~~~\n```\nlast\n";
    static const struct {
        const char *language, *wanted;
    } cases[] = {{"", "a\n b\n``\n"},
                 {"py", "a\n b\n``\n"},
                 {"sh", "no\n"},
                 {"c", "last\n"},
                 {"Python", "a\n b\n``\n"}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (size_t piece = 1; piece < sizeof(text); piece++) {
            struct fence fence = {.language = cases[i].language};

            n_fence_out = 0;
            fence_out[0] = 0;
            for (size_t at = 0; at < sizeof(text) - 1; at += piece)
                assert_int_equal(
                    fence_feed(&fence, text + at, MIN(piece, sizeof(text) - 1 - at), fence_put_out, NULL), 0);
            assert_int_equal(fence_end(&fence, fence_put_out, NULL), 0);
            assert_string_equal(fence_out, cases[i].wanted);
            assert_true(fence.found);
            fence_deinit(&fence);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_md_lays_out_blocks),
        cmocka_unit_test(test_md_does_not_depend_on_pieces),
        cmocka_unit_test(test_md_leaves_what_is_higher_than_the_screen),
        cmocka_unit_test(test_md_follows_the_window),
        cmocka_unit_test(test_md_holds_for_all_bytes),
        cmocka_unit_test(test_fence_does_not_depend_on_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
