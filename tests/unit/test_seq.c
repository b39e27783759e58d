/* test_seq.c - one request's ids and text, without a model: what was sampled is the encoding of a text. */
#include "daemon/engine/seq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct tokenizer *tokenizer;
static bool *stops_at;
static size_t max_raw;
static char vocab_path[4096];

static int setup(void **state)
{
    struct fault fault;
    struct gguf *gguf;
    int n;

    if (gguf_open(vocab_path, &fault, &gguf) || tokenizer_new(gguf, &fault, &tokenizer))
        fail_msg("%s", fault.text);
    gguf_free(gguf);
    n = tokenizer_n_vocab(tokenizer);
    stops_at = calloc((size_t)n, sizeof(*stops_at));
    assert_non_null(stops_at);
    for (int i = 0; i < n; i++)
        stops_at[i] = tokenizer_is_stop(tokenizer, i);
    max_raw = pieces_max_raw(tokenizer);
    return 0;
}

static int teardown(void **state)
{
    free(stops_at);
    tokenizer_free(tokenizer);
    return 0;
}

struct said {
    char reasoning[512], answer[512];
};

static void said_add(struct said *said, const struct seq *seq)
{
    for (int i = 0; i < seq->pieces.n_items; i++) {
        const struct piece *piece = &seq->pieces.items[i];
        char *to = piece->answer ? said->answer : said->reasoning;

        assert_true(piece->n > 0);
        strncat(to, piece->s, piece->n);
    }
}

static struct token_ids encode(const char *text)
{
    struct token_ids ids = TOKEN_IDS_INIT;

    assert_int_equal(tokenizer_encode(tokenizer, text, strlen(text), TOKENIZER_ALL, NULL, 0, NULL, &ids), 0);
    return ids;
}

static struct seq_config config_of(int max_tokens, bool reasoning)
{
    static const int32_t prompt[] = {5, 6, 7};

    return (struct seq_config){
        .handle = 1,
        .prompt = prompt,
        .n_prompt = 3,
        .max_tokens = max_tokens,
        .n_logprobs = -1,
        .stops_at = stops_at,
        .text = {.tokenizer = tokenizer, .max_raw = max_raw, .reasoning = reasoning},
    };
}

/* Pushes ids[k..] after forcing the first k, until the sequence is over or the ids are. */
static struct seq *run(struct seq_config config, const struct token_ids *ids, int k, struct said *said)
{
    struct seq *seq;

    config.forced = ids->id;
    config.n_forced = k;
    assert_int_equal(seq_new(&config, NULL, &seq), 0);
    assert_int_equal(seq->pieces.n_items, 0);
    for (int i = k; i < (int)ids->n && !seq->finish; i++) {
        seq_push(seq, ids->id[i]);
        said_add(said, seq);
    }
    return seq;
}

static const char thought[] =
    "Caf\u00e9 \U0001f389?\n</think>\n\nYes \u2014 \U0001f389 it is. END and more<|im_end|>";

static void test_seq_splits_reasoning_and_answer(void **state)
{
    struct token_ids ids = encode(thought);
    struct said said = {0};
    struct seq *seq = run(config_of(200, true), &ids, 0, &said);

    assert_string_equal(said.reasoning, "Caf\u00e9 \U0001f389?\n");
    assert_string_equal(said.answer, "Yes \u2014 \U0001f389 it is. END and more");
    assert_int_equal(seq->finish, SEQ_STOP);
    assert_null(pieces_stop(&seq->pieces));
    assert_int_equal(seq_n_answer(seq), ids.n); /* the stop token counts */
    assert_int_equal(seq->ids[3 + seq->n_reasoning - 1], tokenizer_find(tokenizer, "</think>"));
    seq_free(seq);
    token_ids_deinit(&ids);
}

/* Forced ids, then the rest: the pieces are those that would have followed, for every place to cut. */
static void test_seq_forced_ids_leave_the_text_where_they_should(void **state)
{
    char *stops[] = {"END"};
    struct token_ids ids = encode(thought);

    for (int k = 0; k < (int)ids.n - 8; k++) {
        struct seq_config config = config_of(200, true);
        struct said before = {0}, after = {0};
        struct token_ids head = ids;
        struct seq *a, *b;

        config.text.stops = stops;
        config.text.n_stops = 1;
        head.n = (size_t)k;
        a = run(config, &head, 0, &before);
        b = run(config, &ids, k, &after);
        assert_int_equal(b->n_forced, k);
        strcat(before.reasoning, after.reasoning);
        strcat(before.answer, after.answer);
        assert_string_equal(before.reasoning, "Caf\u00e9 \U0001f389?\n");
        assert_string_equal(before.answer, "Yes \u2014 \U0001f389 it is. ");
        assert_string_equal(pieces_stop(&b->pieces), "END");
        seq_free(a);
        seq_free(b);
    }
    token_ids_deinit(&ids);
}

static void test_seq_ends_at_max_tokens_and_shows_what_was_held(void **state)
{
    char *stops[] = {"Yes sir"};
    struct token_ids ids = encode("Yes s");
    struct seq_config config = config_of((int)ids.n, false);
    struct said said = {0};
    struct seq *seq;

    config.text.stops = stops;
    config.text.n_stops = 1;
    seq = run(config, &ids, 0, &said);
    assert_int_equal(seq->finish, SEQ_LENGTH);
    assert_string_equal(said.answer, "Yes s");
    assert_int_equal(seq->n_reasoning, 0);
    seq_free(seq);
    token_ids_deinit(&ids);
}

/* The last token ends inside a character: it will never be whole. */
static void test_seq_that_ends_inside_a_character_says_so(void **state)
{
    struct token_ids ids = encode("\U0001f389");
    struct said said = {0};
    struct seq *seq;

    assert_true(ids.n > 1); /* the small vocabulary spells it byte by byte */
    seq = run(config_of((int)ids.n - 1, false), &ids, 0, &said);
    assert_string_equal(said.answer, "\ufffd");
    seq_free(seq);
    token_ids_deinit(&ids);
}

static void test_seq_ignores_stop_tokens_if_told_so(void **state)
{
    struct token_ids ids = encode("a<|im_end|>b<|endoftext|>c");
    struct seq_config config = config_of(200, false);
    struct said said = {0};
    struct seq *seq;

    config.ignore_eos = true;
    seq = run(config, &ids, 0, &said);
    assert_int_equal(seq->finish, SEQ_RUNNING);
    assert_string_equal(said.answer, "abc");
    seq_free(seq);
    token_ids_deinit(&ids);
}

static void test_seq_pending_counts_prompt_and_forced(void **state)
{
    struct token_ids ids = encode("one two three");
    struct said said = {0};
    struct seq *seq = run(config_of(200, false), &ids, 2, &said);

    assert_int_equal(seq_n_pending(seq), 3 + ids.n);
    seq->n_read = seq->n_ids;
    seq_push(seq, 9);
    assert_int_equal(seq_n_pending(seq), 1);
    seq_free(seq);
    token_ids_deinit(&ids);
}

static void test_seq_new_keeps_its_own_copies(void **state)
{
    struct sample_bias bias = {3, 1.5f};
    char text[] = "STOP", *stops[] = {text};
    int32_t prompt[] = {1, 2};
    struct seq_config config = config_of(4, false);
    struct seq *seq;

    config.prompt = prompt;
    config.n_prompt = 2;
    config.sampling.bias = &bias;
    config.sampling.n_bias = 1;
    config.text.stops = stops;
    config.text.n_stops = 1;
    assert_int_equal(seq_new(&config, NULL, &seq), 0);
    memset(&bias, 0, sizeof(bias));
    memset(text, 'x', 4);
    memset(prompt, 0, sizeof(prompt));
    assert_int_equal(seq->sampling.bias[0].id, 3);
    assert_int_equal(seq->ids[1], 2);
    assert_string_equal(seq->pieces.stop.strings[0], "STOP");
    seq_free(seq);
}

static void test_seq_new_refuses_bad_stops(void **state)
{
    char *stops[] = {""};
    struct seq_config config = config_of(4, false);
    struct fault fault;
    struct seq *seq = NULL;

    config.text.stops = stops;
    config.text.n_stops = 1;
    assert_int_equal(seq_new(&config, &fault, &seq), STOP_E_INVALID);
    assert_null(seq);
    assert_string_equal(fault.text, "stop[0] is empty");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seq_splits_reasoning_and_answer),
        cmocka_unit_test(test_seq_forced_ids_leave_the_text_where_they_should),
        cmocka_unit_test(test_seq_ends_at_max_tokens_and_shows_what_was_held),
        cmocka_unit_test(test_seq_that_ends_inside_a_character_says_so),
        cmocka_unit_test(test_seq_ignores_stop_tokens_if_told_so),
        cmocka_unit_test(test_seq_pending_counts_prompt_and_forced),
        cmocka_unit_test(test_seq_new_keeps_its_own_copies),
        cmocka_unit_test(test_seq_new_refuses_bad_stops),
    };

    if (argc != 2)
        return 2;
    snprintf(vocab_path, sizeof(vocab_path), "%s/tokenizer/vocab-tiny.gguf", argv[1]);
    return cmocka_run_group_tests(tests, setup, teardown);
}
