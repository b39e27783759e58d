/* test_qwenctl.c - the small modules of qwenctl: exit codes, guesses, terminal text, JSON, conversations. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/qwenctl/board.h"
#include "client/qwenctl/code.h"
#include "client/qwenctl/guess.h"
#include "client/qwenctl/input.h"
#include "client/qwenctl/json.h"
#include "client/qwenctl/talk.h"
#include "client/qwenctl/term.h"
#include "client/qwenctl/wait.h"
#include "proto/status.h"

/* The promise of the manual, number by number. */
static void test_code_of_every_status(void **state)
{
    static const int wanted[][2] = {
        {0, 0},    {101, 2},  {102, 2},  {103, 2}, {104, 2},  {105, 2},  {201, 2},  {202, 6},
        {203, 8},  {204, 2},  {205, 2},  {206, 2}, {207, 10}, {301, 4},  {302, 4},  {303, 4},
        {304, 4},  {305, 4},  {401, 5},  {402, 9}, {403, 5},  {404, 5},  {501, 10}, {502, 10},
        {503, 10}, {504, 10}, {601, 10}, {602, 9}, {603, 10}, {604, 10}, {999, 10},
    };
    size_t n_known = 0;

    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        if ((int)code_of_status(wanted[i][0]) != wanted[i][1])
            fail_msg("status %d: exit %d, not %d", wanted[i][0], code_of_status(wanted[i][0]), wanted[i][1]);
        n_known += strcmp(status_name(wanted[i][0]), "UNKNOWN") != 0;
    }
    for (int status = 0; status < 1000; status++) /* a status that is added must be added here */
        n_known -= strcmp(status_name(status), "UNKNOWN") != 0;
    assert_int_equal(n_known, 0);
}

static void test_code_of_errno(void **state)
{
    static const int wanted[][2] = {{ENOENT, 3}, {ECONNREFUSED, 3}, {EPIPE, 3},    {EPROTO, 3},
                                    {EACCES, 4}, {EBUSY, 5},        {EMSGSIZE, 6}, {ETIMEDOUT, 9},
                                    {EINVAL, 2}, {EILSEQ, 2},       {ENOMEM, 10}};

    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        assert_int_equal(code_of_errno(-wanted[i][0]), wanted[i][1]);
}

static void test_code_table_explains_every_code(void **state)
{
    static const int codes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130, 141, 143};
    const struct code_entry *table;
    size_t n;

    table = code_table(&n);
    assert_int_equal(n, ARRAY_SIZE(codes));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(table[i].code, codes[i]);
        assert_true(strlen(table[i].meaning) > 3);
    }
}

static void test_board_counts_in_five_columns(void **state)
{
    static const struct {
        uint64_t n;
        const char *text;
    } cases[] = {{0, "0"},
                 {99999, "99999"},
                 {100000, "100k"},
                 {999499, "999k"},
                 {999500, "1.0M"},
                 {1234567, "1.2M"},
                 {9949999, "9.9M"},
                 {9950000, "10M"},
                 {999499999999, "999G"},
                 {1000000000000, "1.0T"},
                 {UINT64_MAX, "18E"}};
    char out[8];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_string_equal(board_count(cases[i].n, out), cases[i].text);
}

static void test_board_spans_in_six_columns(void **state)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{-1, "0.0s"},   {0, "0.0s"},         {4.25, "4.2s"}, {99.9, "99.9s"},
                 {100, "1m40"},  {5999, "99m59"},     {6000, "1h40"}, {359999, "99h59"},
                 {360000, "4d"}, {86400e9, "99999d"}, {NAN, "0.0s"},  {INFINITY, "99999d"}};
    char out[8];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_string_equal(board_span(cases[i].seconds, out), cases[i].text);
}

/* How many lines, and that none is longer than the terminal is wide (in characters, without sequences). */
static int board_lines(const struct board *board, const qwend_sample *sample)
{
    char *text = NULL;
    int lines = 0, columns = 0;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    board_put(out, board, sample);
    fclose(out);
    for (const char *p = text; *p; p++) {
        if (*p == 033)
            while (*p != 'm' && *p != 'K' && *p != 'H' && *p != 'J')
                p++;
        else if (*p == '\n' || *p == '\r')
            lines += *p == '\n', columns = 0;
        else
            columns += ((unsigned char)*p & 0xc0) != 0x80;
        if (board->columns)
            assert_in_range(columns, 0, board->columns);
    }
    free(text);
    return lines;
}

static void test_board_fits_every_terminal(void **state)
{
    qwend_request_info list[40];
    qwend_sample sample = {
        .state = 3, .state_name = "serving", .list = list, .n_list = ARRAY_SIZE(list), .unlisted = 7};

    for (size_t i = 0; i < ARRAY_SIZE(list); i++)
        list[i] = (qwend_request_info){
            .request_id = "0123456789abcdef0123456789abcdef",
            .client = "\xc3\xa4\xc3\xb6\x1b[2J and a name that is longer than it should be",
            .state = i % 2 ? "queued" : "decode",
            .uid = UINT32_MAX - 1,
            .pid = UINT32_MAX,
            .position = (uint32_t)i};
    for (int columns = 1; columns < 250; columns += 13)
        for (int rows = 1; rows < 60; rows += 3) {
            const struct board board = {
                .columns = columns, .rows = rows, .color = rows % 2, .utf8 = rows % 3};

            assert_int_equal(board_lines(&board, &sample), MIN(rows - 1, 7 + 40 + 1));
        }
    assert_int_equal(board_lines(&(struct board){}, &sample), 7 + 40 + 1);
}

static void test_guess_distance_counts_edits(void **state)
{
    char longer[100];

    assert_int_equal(guess_distance("", ""), 0);
    assert_int_equal(guess_distance("", "abc"), 3);
    assert_int_equal(guess_distance("status", "status"), 0);
    assert_int_equal(guess_distance("sttus", "status"), 1);
    assert_int_equal(guess_distance("satus", "status"), 1);
    assert_int_equal(guess_distance("tsatus", "status"), 1); /* two neighbours swapped */
    assert_int_equal(guess_distance("statas", "status"), 1);
    assert_int_equal(guess_distance("kitten", "sitting"), 3);
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    assert_true(guess_distance(longer, longer) > 2);
}

static void test_guess_offers_the_nearest_or_nothing(void **state)
{
    const char *best = NULL;

    guess_offer("cancle", "chat", &best);
    assert_null(best);
    guess_offer("cancle", "cancel", &best);
    guess_offer("cancle", "candle", &best);
    assert_string_equal(best, "cancel");
    best = NULL;
    guess_offer("xy", "ps", &best); /* two edits of two letters are another word */
    assert_null(best);
}

static void test_term_escape_disarms_every_control(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain\n\tx", "plain\n\tx"},
        {"\033]0;title\007", "^[]0;title^G"},
        {"a\rb\bc\177", "a^Mb^Hc^?"},
        {"caf\xc3\xa9 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xf0\x9f\x98\x80"},
        {"\xc2\x9b"
         "2J",
         "\xef\xbf\xbd"
         "2J"}, /* CSI as one character */
        {"\x9b"
         "2J",
         "\xef\xbf\xbd"
         "2J"}, /* and as one byte */
        {"cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc2\xa0", "\xc2\xa0"},
    };
    char out[100];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t n = term_escape(cases[i].in, strlen(cases[i].in), out);

        out[n] = 0;
        assert_string_equal(out, cases[i].out);
    }
    assert_int_equal(term_escape("\0", 1, out), 2);
    assert_memory_equal(out, "^@", 2);
}

/* Whatever goes in: nothing that a terminal would obey comes out, and never more than promised. */
static void test_term_escape_holds_for_all_bytes(void **state)
{
    char in[512], out[TERM_GROWTH * sizeof(in)];
    uint32_t x = 1;

    for (int round = 0; round < 2000; round++) {
        size_t n;

        for (size_t i = 0; i < sizeof(in); i++)
            in[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
        n = term_escape(in, sizeof(in), out);
        assert_true(n <= sizeof(out));
        assert_true(qwend_utf8_valid(out, n) == n);
        for (size_t i = 0; i < n; i++)
            assert_true((unsigned char)out[i] >= ' ' ? out[i] != 0x7f : out[i] == '\n' || out[i] == '\t');
    }
}

static void test_json_is_well_formed(void **state)
{
    char *text = NULL;
    size_t n;
    struct json json = {.file = open_memstream(&text, &n)};

    json_open(&json, NULL, '{');
    json_text(&json, "a\"b", "x\n\t\\\"\033\x7f\xc2\x9b\xff\xc3\xa9\0z", 14);
    json_open(&json, "list", '[');
    json_uint(&json, NULL, UINT64_MAX);
    json_open(&json, NULL, '{');
    json_close(&json, '}');
    json_real(&json, NULL, -INFINITY, 3);
    json_real(&json, NULL, 1.5, 3);
    json_close(&json, ']');
    json_bool(&json, "yes", true);
    json_text(&json, "empty", "", 0);
    json_close(&json, '}');
    fclose(json.file);
    assert_string_equal(
        text, "{\"a\\\"b\":\"x\\n\\u0009\\\\\\\"\\u001b\\u007f\\u009b\xef\xbf\xbd\xc3\xa9\\u0000z\","
              "\"list\":[18446744073709551615,{},null,1.500],\"yes\":true,\"empty\":\"\"}");
    free(text);
}

static void test_input_check_names_offset_and_line(void **state)
{
    struct fault fault = {};

    assert_int_equal(input_check("it", "ok", 2, &fault), CODE_OK);
    assert_int_equal(input_check("it", "a\nb\xe9z", 5, &fault), CODE_USAGE);
    assert_non_null(strstr(fault.text, "it is not UTF-8: 0xe9 at byte 3 (line 2)"));
    assert_non_null(strstr(fault.text, "iconv"));
    assert_int_equal(input_check("it", "a\0b", 3, &fault), CODE_USAGE);
    assert_non_null(strstr(fault.text, "NUL at byte 1 (line 1)"));
}

/* What the model wrote may hold bytes that no prompt may: the next turn must be possible all the same. */
static void test_talk_goes_on_after_an_answer_with_a_nul(void **state)
{
    struct talk talk = {};
    qwend_req *req = qwend_req_new();

    assert_int_equal(talk_add(&talk, "q", 1,
                              "a\0b\xc3\xa9\xff"
                              "c\0",
                              8),
                     0);
    assert_int_equal(talk.turns[0].n_assistant, 5);
    assert_string_equal(talk.turns[0].assistant, "ab\xc3\xa9"
                                                 "c");
    assert_int_equal(talk_add(&talk, "", 0, "\0", 1), 0);
    assert_string_equal(talk.turns[1].assistant, "");
    assert_int_equal(talk_fill(&talk, "next", 4, req), 0);
    qwend_req_free(req);
    talk_deinit(&talk);
}

static void test_talk_keeps_and_forgets_turns(void **state)
{
    struct talk talk = {};

    assert_false(talk_undo(&talk));
    assert_int_equal(talk_set_system(&talk, "S"), 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(talk_add(&talk, "question", 1, "answer", 6), 0);
    assert_int_equal(talk.n_turns, 40);
    assert_string_equal(talk.turns[39].user, "q");
    assert_string_equal(talk.turns[39].assistant, "answer");
    assert_true(talk_undo(&talk));
    assert_int_equal(talk.n_turns, 39);
    talk_clear(&talk);
    assert_int_equal(talk.n_turns, 0);
    assert_string_equal(talk.system, "S");
    assert_int_equal(talk_set_system(&talk, ""), 0);
    assert_null(talk.system);
    talk_deinit(&talk);
}

/* A line that cannot be drawn over is not drawn again. */
static void test_wait_turns_only_where_it_can_be_wiped(void **state)
{
    static const struct {
        struct ui ui;
        bool turns;
    } cases[] = {
        {{.cursor = true}, true},
        {{.cursor = true, .out_tty = true, .out_last = '\n', .err_last = '\n'}, true},
        {{.cursor = true, .out_last = 'x'}, true}, /* a pipe's */
        {{.cursor = false, .verbose = true}, false},
        {{.cursor = true, .quiet = true}, false},
        {{.cursor = true, .out_tty = true, .out_last = 'x'}, false},
        {{.cursor = true, .err_last = 'x'}, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ui ui = cases[i].ui;
        struct wait wait;

        wait_init(&wait, &ui);
        assert_int_equal(wait_timeout_ms(&wait), -1);
        wait_say(&wait, 60000, "x");
        if ((wait_timeout_ms(&wait) >= 0) != cases[i].turns)
            fail_msg("case %zu: %d ms", i, wait_timeout_ms(&wait));
        wait_go_on(&wait, 1, "x"); /* stands there: its time goes on */
        assert_true(wait_timeout_ms(&wait) == -1 || wait_timeout_ms(&wait) > 1);
        wait_end(&wait);
        assert_int_equal(wait_timeout_ms(&wait), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_code_of_every_status),
        cmocka_unit_test(test_code_of_errno),
        cmocka_unit_test(test_code_table_explains_every_code),
        cmocka_unit_test(test_board_counts_in_five_columns),
        cmocka_unit_test(test_board_spans_in_six_columns),
        cmocka_unit_test(test_board_fits_every_terminal),
        cmocka_unit_test(test_guess_distance_counts_edits),
        cmocka_unit_test(test_guess_offers_the_nearest_or_nothing),
        cmocka_unit_test(test_term_escape_disarms_every_control),
        cmocka_unit_test(test_term_escape_holds_for_all_bytes),
        cmocka_unit_test(test_json_is_well_formed),
        cmocka_unit_test(test_input_check_names_offset_and_line),
        cmocka_unit_test(test_talk_keeps_and_forgets_turns),
        cmocka_unit_test(test_wait_turns_only_where_it_can_be_wiped),
        cmocka_unit_test(test_talk_goes_on_after_an_answer_with_a_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
