/* score.c - log-probabilities of a given continuation.  See score.h. */
#include "score.h"

#include <assert.h>
#include <string.h>

#include "daemon/util/clock.h"
#include "daemon/util/log.h"

void score_begin(struct seq *seq, const struct token_ids *continuation, int n_done)
{
    const int n = (int)continuation->n;

    assert(n == seq->max_tokens && n_done < n && seq->n_ids == seq->n_prompt);
    memcpy(seq->ids + seq->n_prompt, continuation->id, (size_t)n * sizeof(*seq->ids));
    seq->n_ids += n - 1; /* what follows the last one is not asked */
    seq->scores = true;
    seq->n_scored = n_done;
}

int score_n_rows(const struct seq *seq, int n_tok)
{
    const int first = seq->n_prompt - 1 + seq->n_scored;

    return CLAMP(seq->n_read + n_tok - first, 0, n_tok);
}

static struct seq *score_picked(const struct engine *e, int i)
{
    return e->seqs[e->item_slots[e->picks[i].item]];
}

void score_cut_picks(struct engine *e, int n_picks)
{
    int n_spare = e->n_slots - n_picks; /* each pick has one row for certain */

    for (int i = 0; i < n_picks; i++) {
        const struct seq *seq = score_picked(e, i);
        const int n = seq->scores ? score_n_rows(seq, e->picks[i].n_tok) : 0;
        const int n_may = MIN(n, MIN(1 + n_spare, (int)SCORE_ROWS_MAX));

        e->picks[i].n_tok -= n - n_may;
        n_spare -= MAX(n_may - 1, 0);
    }
}

static int score_put(struct engine *e, const struct seq *seq, const float *logprobs, int n, bool is_last)
{
    const int32_t *ids = seq->ids + seq->n_prompt + seq->n_scored - n;
    Qwp__TokenLogprob tokens[SCORE_ROWS_MAX], *list[SCORE_ROWS_MAX];
    Qwe__Emit emit = QWE__EMIT__INIT;

    for (int i = 0; i < n; i++) {
        qwp__token_logprob__init(&tokens[i]);
        tokens[i].has_id = tokens[i].has_logprob = true;
        tokens[i].id = (uint32_t)ids[i];
        tokens[i].logprob = logprobs[i];
        list[i] = &tokens[i];
    }
    emit.n_ids = emit.n_logprobs = (size_t)n;
    emit.ids = (uint32_t *)ids; /* none is negative */
    emit.logprobs = list;
    emit.has_answer_tokens = emit.has_reasoning_tokens = true;
    emit.answer_tokens = (uint32_t)seq->n_scored;
    emit.has_at_ns = true;
    emit.at_ns = clock_now_ns();
    emit.has_finish = is_last;
    emit.finish = QWP__FINISH__FINISH_LENGTH;
    return uplink_put(&e->up, seq->handle, MSG_E_EMIT, &emit.base);
}

static int score_refuse(struct engine *e, struct seq *seq, int at)
{
    struct fault fault;
    int r;

    log_err("request %u: the model gave no usable number for token %d; refused", seq->handle, at);
    fault_set(&fault, STATUS_NUMERICS, "the model gave no usable number for token %d", at);
    r = engine_put_refused(e, seq->handle, &fault);
    if (!r)
        r = engine_cache_forget(e, seq);
    engine_drop_seq(e, seq->slot);
    return r;
}

int32_t score_id(const struct seq *seq, int i)
{
    return seq->ids[seq->n_prompt + seq->n_scored + i];
}

int score_advance(struct engine *e, struct seq *seq, int row0, int n_rows)
{
    float logprobs[SCORE_ROWS_MAX];
    bool is_last;
    int r = 0;

    assert(n_rows <= SCORE_ROWS_MAX);
    for (int i = 0; i < n_rows; i++) {
        r = engine_row_score(e, row0 + i, score_id(seq, i), &logprobs[i]);
        if (r)
            return r < 0 ? r : score_refuse(e, seq, seq->n_prompt + seq->n_scored + i);
    }
    seq->n_scored += n_rows;
    is_last = seq->n_scored == seq->max_tokens;
    if (n_rows)
        r = score_put(e, seq, logprobs, n_rows, is_last);
    if (is_last)
        engine_drop_seq(e, seq->slot);
    return r;
}
