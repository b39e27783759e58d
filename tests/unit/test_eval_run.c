/* test_eval_run.c - the figures of qwend-probe eval, and answers split as the engine splits them. */
#include "daemon/probe/eval_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/engine/pieces.h"
#include "daemon/probe/eval_report.h"

static const char *golden;

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.12g is not %.12g within %g", a, b, tolerance);
}

/* splitting */

struct parts {
    struct unicode_text reasoning, answer;
};

/* What the engine sends for the same tokens, piece by piece. */
static struct parts split_as_engine(const struct tokenizer *t, bool thinking, const int32_t *ids, int n)
{
    const struct pieces_config config = {.tokenizer = t, .max_raw = pieces_max_raw(t), .reasoning = thinking};
    struct parts parts = {0};
    struct pieces p;

    assert_int_equal(pieces_init(&p, &config, NULL), 0);
    for (int i = 0; i <= n; i++) {
        p.n_items = 0;
        p.n_text = 0;
        if (i < n)
            pieces_push(&p, ids[i]);
        else
            pieces_end(&p);
        for (int k = 0; k < p.n_items; k++)
            assert_int_equal(unicode_text_append(p.items[k].answer ? &parts.answer : &parts.reasoning,
                                                 p.items[k].s, p.items[k].n),
                             0);
    }
    pieces_deinit(&p);
    return parts;
}

static void expect_text(struct chat_str got, const struct unicode_text *want)
{
    if (got.n != want->n || (got.n && memcmp(got.s, want->s, got.n)))
        fail_msg("\"%.*s\", the engine has \"%.*s\"", (int)got.n, got.s, (int)want->n, want->s);
}

/* Random tokens, among them line ends, broken characters, control tokens and, often enough, </think>. */
static void test_answers_are_split_as_the_engine_splits_them(void **state)
{
    _cleanup_(tokenizer_freep) struct tokenizer *t = NULL;
    _cleanup_(gguf_freep) struct gguf *gguf = NULL;
    struct unicode_text out = {0};
    struct token_ids newline = TOKEN_IDS_INIT;
    struct fault fault = {0};
    char path[4096];
    uint32_t random = 1;

    snprintf(path, sizeof(path), "%s/tokenizer/vocab-tiny.gguf", golden);
    assert_int_equal(gguf_open(path, &fault, &gguf), 0);
    assert_int_equal(tokenizer_new(gguf, &fault, &t), 0);
    assert_int_equal(tokenizer_encode(t, "\n", 1, TOKENIZER_NONE, NULL, 0, &fault, &newline), 0);
    for (int round = 0; round < 2000; round++) {
        struct eval_done done;
        int32_t ids[40];
        const int n = round % 40;

        for (int i = 0; i < n; i++) {
            random = random * 1664525u + 1013904223u;
            ids[i] = (int32_t)((random >> 8) % (uint32_t)tokenizer_n_vocab(t));
            if ((random >> 4) % 12 == 0)
                ids[i] = tokenizer_find(t, "</think>");
            if ((random >> 4) % 12 < 3 && i && ids[i - 1] == tokenizer_find(t, "</think>"))
                ids[i] = newline.id[0];
        }
        for (int thinking = 0; thinking < 2; thinking++) {
            struct parts want = split_as_engine(t, thinking, ids, n);

            assert_int_equal(eval_split(t, thinking, ids, n, &out, &done), 0);
            expect_text(done.reasoning, &want.reasoning);
            expect_text(done.text, &want.answer);
            unicode_text_deinit(&want.reasoning);
            unicode_text_deinit(&want.answer);
        }
    }
    token_ids_deinit(&newline);
    unicode_text_deinit(&out);
}

/* figures */

/* The formula, computed apart in Python; 9 of 10 is the textbook case (0.596, 0.982). */
static void test_wilson_intervals_are_the_textbooks(void **state)
{
    static const struct {
        int64_t right, n;
        double lo, hi;
    } rows[] = {{9, 10, 0.5958499732, 0.9821237869},
                {0, 10, 0, 0.2775327998},
                {10, 10, 0.7224672002, 1},
                {490, 500, 0.9635798168, 0.9891008164},
                {1, 1, 0.2065493143, 1}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        double lo, hi;

        eval_wilson(rows[i].right, rows[i].n, &lo, &hi);
        assert_near(lo, rows[i].lo, 1e-9);
        assert_near(hi, rows[i].hi, 1e-9);
    }
}

static void test_kl_of_known_distributions(void **state)
{
    const float p[] = {logf(0.5f), logf(0.25f), logf(0.25f)},
                q[] = {3 + logf(0.25f), 3 + logf(0.5f), 3 + logf(0.25f)};
    const float sure[] = {0, -INFINITY, -1000}, half[] = {0, 0, -INFINITY};
    struct eval_kl kl = {0};

    assert_true(eval_kl_add(&kl, p, p, 3));
    assert_int_equal(kl.n, 1);
    assert_near(kl.sum, 0, 1e-12);
    assert_int_equal(kl.n_same, 1);
    eval_kl_add(&kl, p, q, 3); /* 0.5 ln 2 + 0.25 ln 0.5 */
    assert_near(kl.max, 0.25 * log(2), 1e-7);
    assert_int_equal(kl.n_same, 1);
    eval_kl_add(&kl, sure, half, 3);
    assert_near(kl.max, log(2), 1e-12);
    assert_near(kl.sum, 1.25 * log(2), 1e-7);
    assert_int_equal(kl.n, 3);
    assert_int_equal(kl.n_same, 2); /* ties: the lower id */
    kl = (struct eval_kl){0};
    assert_false(eval_kl_add(&kl, sure, (float[]){0, NAN, 0}, 3));
    assert_false(eval_kl_add(&kl, (float[]){0, NAN, 0}, sure, 3));
    assert_true(eval_kl_add(&kl, half, (float[]){0, -1000, 0}, 3)); /* far, but a number */
    assert_near(kl.max, 500, 1);
    assert_false(eval_kl_add(&kl, half, (float[]){0, -INFINITY, 0}, 3)); /* 0 for what may be said */
}

static void test_report_counts_by_family(void **state)
{
    char a[] = "a", b[] = "b";
    struct eval_item items[] = {{.family = a}, {.family = b}, {.family = a}};
    const struct eval_suite suite = {.items = items, .n = 3};
    const struct eval_done long_one = {.n_reasoning = 10, .n_answer = 4, .cut = true},
                           short_one = {.n_answer = 2};
    struct eval_report report;

    assert_int_equal(eval_report_init(&report, &suite), 0);
    eval_report_add(&report, &items[2], &long_one, false);
    eval_report_add(&report, &items[0], &short_one, true);
    assert_int_equal(report.n_families, 2);
    assert_string_equal(report.families[0].name, "a");
    assert_int_equal(report.families[0].n, 2);
    assert_int_equal(report.families[0].n_right, 1);
    assert_int_equal(report.families[0].n_cut, 1);
    assert_int_equal(report.families[0].n_reasoning, 10);
    assert_int_equal(report.families[0].n_answer, 6);
    assert_int_equal(report.families[1].n, 0);
    assert_int_equal(report.all.n, 2);
    eval_report_deinit(&report);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_are_split_as_the_engine_splits_them),
        cmocka_unit_test(test_wilson_intervals_are_the_textbooks),
        cmocka_unit_test(test_kl_of_known_distributions),
        cmocka_unit_test(test_report_counts_by_family),
    };

    if (argc != 2)
        return 2;
    golden = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
