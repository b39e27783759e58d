/* test_lsp.c - the pure parts of the language server: framing, documents, what a model is shown, secrets,
 * code in answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/qwenctl/lsp_context.h"
#include "client/qwenctl/lsp_frame.h"
#include "client/qwenctl/lsp_verb.h"

static struct lsp_doc *docs_open(struct lsp_docs *docs, const char *text)
{
    struct lsp_doc *doc;

    assert_int_equal(lsp_docs_open(docs, "file:///w/a.c", "c", 1, text, strlen(text), &doc), 0);
    return doc;
}

/* framing */

static int feed(struct lsp_frame *frame, const char *bytes, struct fault *fault, const char **ret_body,
                size_t *ret_n)
{
    char *tail;

    assert_int_equal(lsp_frame_reserve(frame, strlen(bytes), &tail), 0);
    memcpy(tail, bytes, strlen(bytes));
    lsp_frame_commit(frame, strlen(bytes));
    return lsp_frame_next(frame, fault, ret_body, ret_n);
}

static void test_frame_takes_messages_in_any_pieces(void **state)
{
    static const char bytes[] =
        "content-length:  2 \r\nX: y\r\n\r\n{}Content-Length: 0\r\n\r\nContent-Length: 1\r\n\r\n5";
    struct lsp_frame frame = {};
    struct fault fault;
    const char *body;
    char got[8] = "";
    size_t n;

    for (size_t i = 0; bytes[i]; i++) {
        const char one[2] = {bytes[i], 0};
        int r = feed(&frame, one, &fault, &body, &n);

        for (; !r; r = lsp_frame_next(&frame, &fault, &body, &n))
            snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s;", (int)n, body);
        assert_int_equal(r, LSP_FRAME_E_AGAIN);
    }
    assert_string_equal(got, "{};;5;");
    lsp_frame_deinit(&frame);
}

static void test_frame_refuses_what_cannot_be_followed(void **state)
{
    static const char *const cases[] = {"Content-Length: 16777217\r\n\r\n",
                                        "Content-Length: -1\r\n\r\n",
                                        "Content-Length: \r\n\r\n",
                                        "Content-Length: 1 1\r\n\r\n",
                                        "X: y\r\n\r\n",
                                        "\r\n\r\n"};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct lsp_frame frame = {};
        struct fault fault = {};
        const char *body;
        size_t n;

        if (feed(&frame, cases[i], &fault, &body, &n) != LSP_FRAME_E_BAD || !*fault.text)
            fail_msg("case %zu was taken", i);
        lsp_frame_deinit(&frame);
    }
}

/* positions and changes */

static void test_positions_count_as_was_agreed(void **state)
{
    static const char text[] = "a\xc3\xa4\xf0\x9f\x98\x80z\r\nb\rc\n\n"; /* a, a-umlaut, an emoji, z */
    static const struct {
        struct lsp_pos pos;
        size_t utf8, utf16;
    } cases[] = {
        {{0, 0}, 0, 0},   {{0, 1}, 1, 1},   {{0, 2}, 1, 3},   {{0, 3}, 3, 3},
        {{0, 4}, 3, 7},   {{0, 5}, 3, 8},   {{0, 9}, 8, 8},   {{1, 1}, 11, 11},
        {{2, 0}, 12, 12}, {{3, 7}, 14, 14}, {{9, 0}, 15, 15},
    };
    const size_t n = strlen(text);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (lsp_offset(text, n, true, cases[i].pos) != cases[i].utf8)
            fail_msg("case %zu: %zu in UTF-8", i, lsp_offset(text, n, true, cases[i].pos));
        if (lsp_offset(text, n, false, cases[i].pos) != cases[i].utf16)
            fail_msg("case %zu: %zu in UTF-16", i, lsp_offset(text, n, false, cases[i].pos));
    }
    assert_int_equal(lsp_position(text, n, false, 8).character, 5);
    assert_int_equal(lsp_position(text, n, true, 8).character, 8);
    assert_int_equal(lsp_position(text, n, true, 15).line, 4);
}

static void test_edits_move_what_is_shown(void **state)
{
    struct lsp_docs docs = {.utf8 = true};
    struct lsp_doc *doc = docs_open(&docs, "one\ntwo\nthree\n");
    const struct lsp_range two = {{1, 0}, {2, 0}}, back = {{1, 0}, {0, 0}};

    doc->begin = 8;
    doc->end = 10;
    assert_int_equal(lsp_docs_edit(&docs, doc, &two, "2\n2\n2\n", 6), 0);
    assert_string_equal(doc->text, "one\n2\n2\n2\nthree\n");
    assert_int_equal(doc->begin, 10);
    assert_int_equal(doc->end, 12);
    assert_int_equal(docs.n_bytes, doc->n);
    assert_int_equal(lsp_docs_edit(&docs, doc, &back, "", 0), LSP_DOC_E_RANGE);
    assert_true(doc->stale);
    assert_int_equal(lsp_docs_edit(&docs, doc, NULL, "new", 3), 0);
    assert_false(doc->stale);
    lsp_docs_deinit(&docs);
}

static void test_documents_have_room_for_so_much(void **state)
{
    char *big = calloc(1, LSP_DOC_BYTES_MAX + 1), uri[32];
    struct lsp_docs docs = {};
    struct lsp_doc *doc;
    int n = 0;

    assert_int_equal(lsp_docs_open(&docs, "u", "c", 1, big, LSP_DOC_BYTES_MAX + 1, &doc), LSP_DOC_E_FULL);
    do
        snprintf(uri, sizeof(uri), "u%d", n++);
    while (!lsp_docs_open(&docs, uri, "c", 1, big, LSP_DOC_BYTES_MAX, &doc));
    assert_int_equal(n - 1, LSP_DOCS_BYTES_MAX / LSP_DOC_BYTES_MAX);
    doc = lsp_docs_find(&docs, "u0");
    assert_int_equal(lsp_docs_edit(&docs, doc, &(struct lsp_range){}, "x", 1), LSP_DOC_E_FULL);
    assert_int_equal(lsp_docs_edit(&docs, doc, NULL, "x", 1), 0);
    assert_int_equal(docs.n_bytes, LSP_DOCS_BYTES_MAX - LSP_DOC_BYTES_MAX + 1);
    lsp_docs_deinit(&docs);
    free(big);
}

/* what a model is shown */

static char *lines(int n, const char *what)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    for (int i = 0; i < n; i++)
        fprintf(file, "%s %d of some width or other\n", what, i);
    fclose(file);
    return text;
}

static void test_window_stays_while_one_types(void **state)
{
    _cleanup_(freep) char *text = lines(2000, "line");
    struct lsp_docs docs = {.utf8 = true};
    struct lsp_doc *doc = docs_open(&docs, text);
    size_t at = doc->n / 2, moved = 0, begin;

    lsp_context_window(doc, at);
    begin = doc->begin;
    assert_true(at - begin >= LSP_BEFORE_MIN && at - begin <= LSP_BEFORE_MAX);
    for (int key = 0; key < 200; key++) {
        const struct lsp_pos pos = lsp_position(doc->text, doc->n, true, at);
        const size_t behind = doc->end - at;

        assert_int_equal(lsp_docs_edit(&docs, doc, &(struct lsp_range){pos, pos}, text, 100), 0);
        at += 100;
        lsp_context_window(doc, at);
        assert_int_equal(doc->end - at, behind); /* the suffix is the same text */
        moved += doc->begin != begin;
        begin = doc->begin;
    }
    assert_in_range(moved, 2, 5); /* 20,000 bytes were typed */
    lsp_docs_deinit(&docs);
}

static void test_window_of_one_long_line_is_bounded(void **state)
{
    _cleanup_(freep) char *text = calloc(1, 100001);
    struct lsp_docs docs = {};
    struct lsp_doc *doc;

    for (int i = 0; i < 100000; i += 2)
        memcpy(text + i, "\xc3\xa4", 2);
    doc = docs_open(&docs, text);
    lsp_context_window(doc, 50000);
    assert_true(50000 - doc->begin <= LSP_BEFORE_MAX && doc->end - 50000 <= LSP_BEHIND_MAX);
    assert_true(doc->begin % 2 == 0 && doc->end % 2 == 0);
    lsp_docs_deinit(&docs);
}

static void test_chunks_are_only_appended_until_the_epoch_turns(void **state)
{
    struct lsp_context context = {};
    struct lsp_docs docs = {};
    char first[LSP_CHUNK_BYTES + 1] = "", what[16];
    int n = 0, r = LSP_NOTE_GREW;

    while (r == LSP_NOTE_GREW) {
        _cleanup_(freep) char *text = NULL;

        snprintf(what, sizeof(what), "chunk%d", n++);
        text = lines(60, what);
        r = lsp_context_note(&context, docs_open(&docs, text), 0);
        if (*first)
            assert_string_equal(context.now.chunks[0].text, first);
        else
            snprintf(first, sizeof(first), "%s", context.now.chunks[0].text);
        assert_true(context.now.n_bytes <= LSP_EPOCH_BYTES);
        if (r == LSP_NOTE_GREW)
            assert_int_equal(lsp_context_note(&context, lsp_docs_find(&docs, "file:///w/a.c"), 0),
                             LSP_NOTE_NONE);
    }
    assert_int_equal(r, LSP_NOTE_TURNS);
    assert_string_equal(context.now.chunks[0].text, first); /* in use until the next one was read */
    lsp_context_turn(&context);
    assert_true(context.now.n >= 2 && context.now.n_bytes <= LSP_EPOCH_BYTES / 2 + LSP_CHUNK_BYTES);
    assert_non_null(strstr(context.now.chunks[context.now.n - 1].text, what));
    assert_int_equal(context.next.n, 0);
    lsp_docs_deinit(&docs);
    lsp_context_deinit(&context);
}

static void test_names_stand_within_the_workspace(void **state)
{
    struct lsp_context context = {};
    char name[LSP_URI_MAX + 1];
    static const struct {
        const char *uri, *name;
    } cases[] = {{"file:///my%20work/a/b.c", "a/b.c"},
                 {"file:///my%20works/b.c", "/my works/b.c"},
                 {"untitled:1", "untitled:1"},
                 {"file:///my%20work/a%0Ab", "a?b"},
                 {"file:///x%ff", "/x"},
                 {"file:///x%", "/x%"}};

    assert_int_equal(lsp_context_set_root(&context, "file:///my%20work/"), 0);
    assert_string_equal(context.repo, "my work");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        lsp_context_name(&context, cases[i].uri, name);
        assert_string_equal(name, cases[i].name);
    }
    lsp_context_deinit(&context);
}

static void test_secrets_are_known_by_name_and_by_text(void **state)
{
    static const struct {
        const char *text;
        bool is;
    } texts[] = {{"-----BEGIN OPENSSH PRIVATE KEY-----", true},
                 {"-----BEGIN CERTIFICATE-----", false},
                 {"a AKIAABCDEFGHIJKLMNOP b", true},
                 {"AKIAABCDEFGHIJKLMNO", false},
                 {"AKIA AKIAABCDEFGHIJKLMNOP", true},
                 {"", false}};
    struct lsp_globs globs = {};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (lsp_secret_text(texts[i].text, strlen(texts[i].text)) != texts[i].is)
            fail_msg("case %zu", i);
    assert_true(lsp_secret_path(&globs, "/a/.ENV"));
    assert_true(lsp_secret_path(&globs, "/a/.ssh/config"));
    assert_false(lsp_secret_path(&globs, "/a/environment.c"));
    for (int i = 0; i < LSP_GLOBS_MAX; i++)
        assert_int_equal(lsp_globs_add(&globs, "*.secret"), 0);
    assert_int_equal(lsp_globs_add(&globs, "x"), 1);
    assert_true(lsp_secret_path(&globs, "/a/b.secret"));
    lsp_globs_deinit(&globs);
}

/* answers */

static void test_code_is_taken_out_of_an_answer(void **state)
{
    static const struct {
        const char *text, *code;
        bool has_break;
    } cases[] = {
        {"x = 1", "x = 1", false},
        {"x = 1\n\n", "x = 1\n", true},
        {"Here:\n```py\nx = 1\n\ny\n```\nand so on", "x = 1\n\ny", false},
        {"```\n\nx\n```", "\nx", false},
        {"```\nno end", "no end", false},
        {"a ``` b", "a ``` b", false},
        {"\n\n", "", true},
        {"```", "", true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[64];
        size_t n;
        const char *code;

        strcpy(text, cases[i].text);
        code = lsp_verb_code(text, strlen(text), cases[i].has_break, &n);
        if (n != strlen(cases[i].code) || memcmp(code, cases[i].code, n))
            fail_msg("case %zu: \"%.*s\"", i, (int)n, code);
    }
}

static void test_questions_show_what_is_marked(void **state)
{
    struct lsp_docs docs = {};
    struct lsp_doc *doc = docs_open(&docs, "int a;\nint b;\nint c;\n");
    _cleanup_(freep) char *text =
        lsp_verb_question(lsp_verb_find("qwend.rewrite"), doc, 7, 13, "a.c", "as char", "odd");

    assert_non_null(strstr(text, "int a;\n\n<<<<<<<< marked\nint b;\n>>>>>>>> marked\n\nint c;"));
    assert_non_null(strstr(text, "as follows: as char\n"));
    assert_non_null(strstr(text, "It is said of it: odd\n"));
    assert_null(lsp_verb_find("qwend.none"));
    lsp_docs_deinit(&docs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_takes_messages_in_any_pieces),
        cmocka_unit_test(test_frame_refuses_what_cannot_be_followed),
        cmocka_unit_test(test_positions_count_as_was_agreed),
        cmocka_unit_test(test_edits_move_what_is_shown),
        cmocka_unit_test(test_documents_have_room_for_so_much),
        cmocka_unit_test(test_window_stays_while_one_types),
        cmocka_unit_test(test_window_of_one_long_line_is_bounded),
        cmocka_unit_test(test_chunks_are_only_appended_until_the_epoch_turns),
        cmocka_unit_test(test_names_stand_within_the_workspace),
        cmocka_unit_test(test_secrets_are_known_by_name_and_by_text),
        cmocka_unit_test(test_code_is_taken_out_of_an_answer),
        cmocka_unit_test(test_questions_show_what_is_marked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
