/* eval_likely.c - multiple choice without an answer: which letter does the model find likeliest?  See
 * eval_run.h.
 *
 * The letter is the continuation of the rendered question, tokenised by itself, as a client's Score has it;
 * its score is the sum of its tokens' log-probabilities. */
#include <math.h>

#include "eval_run.h"
#include "run.h"

struct eval_likely {
    const struct eval_run *run;
    struct token_ids letters[EVAL_CHOICES_MAX]; /* owned */
    struct probe_run *steps;                    /* owned */
    struct sampler *sampler;                    /* owned */
    float *logits;                              /* owned, [PROBE_ROWS_MAX][n_vocab] */
    int *ids;                                   /* owned, [max_ctx] */
    int *positions;                             /* owned, [longest letter] */
    int max_ctx, n_longest;
};

static void eval_likely_deinit(struct eval_likely *l)
{
    for (size_t i = 0; i < ARRAY_SIZE(l->letters); i++)
        token_ids_deinit(&l->letters[i]);
    probe_run_free(l->steps);
    sampler_free(l->sampler);
    free(l->logits);
    free(l->ids);
    free(l->positions);
}

static int eval_likely_encode_prompt(const struct eval_likely *l, const struct eval_item *item,
                                     struct token_ids *ret_ids)
{
    struct fault fault = {0};
    int r = tokenizer_encode(l->run->tokenizer, item->prompt.text, item->prompt.n, TOKENIZER_ALL,
                             item->prompt.plain, item->prompt.n_plain, &fault, ret_ids);

    return r ? probe_fault(l->run->suite_name, r, &fault) : 0;
}

static int eval_likely_encode_letters(struct eval_likely *l)
{
    for (int i = 0; i < EVAL_CHOICES_MAX; i++) {
        const char letter = (char)('A' + i);
        struct fault fault = {0};
        int r =
            tokenizer_encode(l->run->tokenizer, &letter, 1, TOKENIZER_NONE, NULL, 0, &fault, &l->letters[i]);

        if (r)
            return probe_fault("a letter", r, &fault);
        l->n_longest = MAX(l->n_longest, (int)l->letters[i].n);
    }
    return 0;
}

/* How long the longest question with a letter is; one that is too long is refused before anything is asked.
 */
static int eval_likely_measure(struct eval_likely *l)
{
    const struct eval_suite *suite = l->run->suite;
    const int context = l->run->pm->model->config.context_trained;

    for (size_t i = 0; i < suite->n; i++) {
        _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;
        int r = eval_likely_encode_prompt(l, &suite->items[i], &ids);

        if (r)
            return r;
        if (ids.n + (size_t)l->n_longest > (size_t)context)
            return probe_error(
                "%s:%zu: the prompt has %zu tokens, the model's context %d, and a letter needs "
                "room too",
                l->run->suite_name, suite->items[i].line_no, ids.n, context);
        l->max_ctx = MAX(l->max_ctx, (int)ids.n + l->n_longest);
    }
    return 0;
}

static int eval_likely_init(struct eval_likely *l)
{
    const size_t n_vocab = (size_t)l->run->pm->model->config.n_vocab;
    int r = eval_likely_encode_letters(l);

    if (!r)
        r = eval_likely_measure(l);
    if (r)
        return r;
    l->logits = malloc(PROBE_ROWS_MAX * n_vocab * sizeof(*l->logits));
    l->ids = malloc((size_t)l->max_ctx * sizeof(*l->ids));
    l->positions = malloc((size_t)l->n_longest * sizeof(*l->positions));
    if (!l->logits || !l->ids || !l->positions || sampler_new((int)n_vocab, &l->sampler))
        return probe_error("no memory for a sequence of %d tokens", l->max_ctx);
    return probe_run_new(l->run->pm, l->run->options, l->max_ctx, &l->steps);
}

/* The rows before each token of one letter. */
struct eval_likely_sum {
    struct eval_likely *l;
    const struct token_ids *letter;
    size_t n_done;
    double sum;
};

static int eval_likely_add(struct eval_likely_sum *s, const float *row)
{
    float logprob;

    if (sampler_score(s->l->sampler, row, s->letter->id[s->n_done], &logprob))
        return probe_error("the model gave no usable number");
    s->sum += (double)logprob;
    s->n_done++;
    return 0;
}

static int eval_likely_on_rows(void *user, const float *rows, int n_rows)
{
    struct eval_likely_sum *s = user;
    const size_t n_vocab = (size_t)s->l->run->pm->model->config.n_vocab;
    int r = 0;

    for (int i = 0; i < n_rows && !r; i++)
        r = eval_likely_add(s, rows + (size_t)i * n_vocab);
    return r;
}

/* A letter of several tokens is read behind the prompt; those of one need the prompt's last row only. */
static int eval_likely_letter(struct eval_likely *l, const struct token_ids *prompt,
                              const struct token_ids *letter, double *ret_sum)
{
    struct eval_likely_sum sum = {.l = l, .letter = letter};
    const struct probe_want want = {.ids = l->ids,
                                    .n_ids = (int)(prompt->n + letter->n),
                                    .positions = l->positions,
                                    .n_positions = (int)letter->n,
                                    .logits = l->logits,
                                    .on_rows = eval_likely_on_rows,
                                    .user = &sum};
    int r;

    for (size_t i = 0; i < letter->n; i++) {
        l->ids[prompt->n + i] = letter->id[i];
        l->positions[i] = (int)(prompt->n + i) - 1;
    }
    r = probe_run_reset(l->steps);
    if (!r)
        r = probe_run_positions(l->steps, &want);
    if (!r)
        *ret_sum = sum.sum;
    return r;
}

static int eval_likely_score(struct eval_likely *l, const struct token_ids *prompt, int n_choices,
                             double scores[EVAL_CHOICES_MAX])
{
    bool have_row = false;
    int r = 0;

    for (size_t i = 0; i < prompt->n; i++)
        l->ids[i] = prompt->id[i];
    for (int i = 0; i < n_choices && !r; i++) {
        struct eval_likely_sum sum = {.l = l, .letter = &l->letters[i]};

        if (l->letters[i].n > 1 || !have_row) {
            r = eval_likely_letter(l, prompt, &l->letters[i], &scores[i]);
            have_row = l->letters[i].n == 1; /* the row that was read last is the prompt's */
            continue;
        }
        r = eval_likely_add(&sum, l->logits);
        scores[i] = sum.sum;
    }
    return r;
}

static int eval_likely_item(struct eval_likely *l, size_t index)
{
    _cleanup_(token_ids_deinit) struct token_ids prompt = TOKEN_IDS_INIT;
    const struct eval_item *item = &l->run->suite->items[index];
    const int n_choices = eval_choice_count(&item->goal);
    double scores[EVAL_CHOICES_MAX];
    struct eval_done done = {.index = index, .scores = scores, .n_scores = n_choices};
    int best = 0, r = eval_likely_encode_prompt(l, item, &prompt);
    char letter;

    if (!r)
        r = eval_likely_score(l, &prompt, n_choices, scores);
    if (r)
        return r;
    for (int i = 1; i < n_choices; i++)
        if (scores[i] > scores[best]) /* of equals the first */
            best = i;
    letter = (char)('A' + best);
    done.n_prompt = (int)prompt.n;
    done.reasoning = (struct chat_str){"", 0};
    done.text = (struct chat_str){&letter, 1};
    done.choice = best;
    r = l->run->on_done(l->run->user, &done);
    l->run->on_step(l->run->user, n_choices);
    return r;
}

int eval_likely(const struct eval_run *run)
{
    _cleanup_(eval_likely_deinit) struct eval_likely l = {.run = run};
    int r = eval_likely_init(&l);

    for (size_t i = 0; i < run->suite->n && !r && !*run->stop; i++)
        r = eval_likely_item(&l, i);
    return r;
}
