/* seq.c - one request while it runs.  See seq.h. */
#include "seq.h"

#include <assert.h>
#include <string.h>

static int seq_copy_ids(struct seq *seq, const struct seq_config *config)
{
    const size_t cap = (size_t)config->n_prompt + (size_t)config->max_tokens;

    seq->ids = malloc(cap * sizeof(*seq->ids));
    if (!seq->ids)
        return err_origin(-ENOMEM);
    memcpy(seq->ids, config->prompt, (size_t)config->n_prompt * sizeof(*seq->ids));
    seq->n_ids = seq->n_prompt = config->n_prompt;
    return 0;
}

static int seq_copy_bias(struct seq *seq, const struct sample_params *sampling)
{
    const size_t bytes = (size_t)sampling->n_bias * sizeof(*seq->bias);

    seq->sampling = *sampling;
    seq->sampling.bias = NULL;
    if (!bytes)
        return 0;
    seq->bias = malloc(bytes);
    if (!seq->bias)
        return err_origin(-ENOMEM);
    memcpy(seq->bias, sampling->bias, bytes);
    seq->sampling.bias = seq->bias;
    return 0;
}

/* Pieces of forced ids were all delivered by the engine that sampled them. */
static void seq_push_forced(struct seq *seq, const int32_t *forced, int n_forced)
{
    for (int i = 0; i < n_forced && !seq->finish; i++)
        seq_push(seq, forced[i]);
    seq->n_forced = seq_n_answer(seq);
    seq->pieces.n_items = 0;
}

int seq_new(const struct seq_config *config, struct fault *fault, struct seq **ret_seq)
{
    _cleanup_(seq_freep) struct seq *seq = calloc(1, sizeof(*seq));
    int r;

    if (!seq)
        return err_origin(-ENOMEM);
    assert(config->n_prompt > 0 && config->max_tokens > 0 && config->n_forced <= config->max_tokens);
    seq->handle = config->handle;
    seq->slot = -1;
    seq->max_tokens = config->max_tokens;
    seq->n_logprobs = config->n_logprobs;
    seq->ignore_eos = config->ignore_eos;
    seq->paused = config->paused;
    seq->stops_at = config->stops_at;
    r = seq_copy_ids(seq, config);
    if (!r)
        r = seq_copy_bias(seq, &config->sampling);
    if (!r)
        r = pieces_init(&seq->pieces, &config->text, fault);
    if (r)
        return r;
    seq_push_forced(seq, config->forced, config->n_forced);
    *ret_seq = steal(&seq);
    return 0;
}

struct seq *seq_free(struct seq *seq)
{
    if (!seq)
        return NULL;
    pieces_deinit(&seq->pieces);
    free(seq->ids);
    free(seq->bias);
    free(seq);
    return NULL;
}

void seq_push(struct seq *seq, int32_t id)
{
    assert(!seq->finish && seq_n_answer(seq) < seq->max_tokens);
    seq->ids[seq->n_ids++] = id;
    seq->n_reasoning += pieces_in_reasoning(&seq->pieces);
    pieces_push(&seq->pieces, id);
    if (pieces_stop(&seq->pieces) || (seq->stops_at[id] && !seq->ignore_eos))
        seq->finish = SEQ_STOP;
    else if (seq_n_answer(seq) == seq->max_tokens)
        seq->finish = SEQ_LENGTH;
    if (seq->finish)
        pieces_end(&seq->pieces);
}
