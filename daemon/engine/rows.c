/* rows.c - from a step's rows of logits to tokens and scores.  See engine.h.
 *
 * A backend whose memory is not the host's gives the best of each row (kernels.h, top()): 2 KiB in place of
 * the 1 MB that 248,320 logits are.  Nearly every token can be told from those; for one that cannot, its row
 * is fetched. */
#include "engine.h"

static const float *rows_whole(const struct engine *e, int row)
{
    return e->logits + (size_t)row * (size_t)e->n_vocab;
}

int engine_forward(struct engine *e, const struct kern_batch *batch, int n_rows)
{
    if (e->tops)
        return model_forward_top(e->model, e->state, batch, e->rows, n_rows, e->asked, e->tops);
    return model_forward(e->model, e->state, batch, e->rows, n_rows, e->logits);
}

static int rows_pick_whole(struct engine *e, const struct seq *seq, const float *logits, int n_logprobs,
                           struct sample_choice *ret_choice)
{
    return sampler_pick(e->sampler, &seq->sampling, logits, e->banned, seq->ids, (size_t)seq->n_ids,
                        (uint64_t)seq->n_ids, n_logprobs, ret_choice);
}

static int rows_fetch(struct engine *e, const struct seq *seq, int row, struct sample_choice *ret_choice)
{
    int r = model_logits(e->model, e->state, row, e->logits);

    e->n_fetched++;
    if (!r)
        r = rows_pick_whole(e, seq, e->logits, -1, ret_choice);
    if (!r)
        sample_tell(&e->tops[row], e->logits[ret_choice->id], seq->n_logprobs, ret_choice);
    return r;
}

int engine_row_pick(struct engine *e, const struct seq *seq, int row, struct sample_choice *ret_choice)
{
    int r;

    if (!e->tops)
        return rows_pick_whole(e, seq, rows_whole(e, row), seq->n_logprobs, ret_choice);
    r = sampler_pick_top(e->sampler, &seq->sampling, &e->tops[row], e->banned, seq->ids, (size_t)seq->n_ids,
                         (uint64_t)seq->n_ids, seq->n_logprobs, ret_choice);
    return r == SAMPLE_E_MORE ? rows_fetch(e, seq, row, ret_choice) : r;
}

int engine_row_score(struct engine *e, int row, int32_t id, float *ret_logprob)
{
    if (e->tops)
        return sample_score_top(&e->tops[row], ret_logprob);
    return sampler_score(e->sampler, rows_whole(e, row), id, ret_logprob);
}
