/* sample_few.c - the best few of a row in one walk over it.  See sampler.h.
 *
 * Bias, penalties and bans move some ids; those are looked at one by one.  Of all others the model's own
 * logits count, and of the 248,320 of a vocabulary nearly all are below the least candidate: a run of them is
 * passed over by one comparison of vectors for each four. */
#include "sampler.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { FEW_RUN = 64 }; /* logits */

typedef float few_floats __attribute__((vector_size(16)));
typedef int32_t few_ints __attribute__((vector_size(16)));

/* ids that are moved: their value is in x, their place is not zero, and they are in ids */

static void few_move(struct sampler *s, const float *logits, int32_t id)
{
    assert(id >= 0 && id < s->n_vocab);
    if (s->place[id])
        return;
    s->place[id] = 1;
    s->x[id] = (double)logits[id];
    s->ids[s->n_moved++] = id;
}

static void few_move_all(struct sampler *s, const struct sample_row *row)
{
    const struct sample_params *p = row->params;
    size_t n;
    const int32_t *window = sample_window(p, row->history, row->n_history, &n);

    s->n_moved = 0;
    for (int i = 0; i < p->n_bias; i++)
        few_move(s, row->logits, p->bias[i].id);
    for (size_t i = 0; i < n; i++)
        few_move(s, row->logits, window[i]);
    for (int32_t id = -1; (id = sample_next_banned(row, s->n_vocab, id + 1)) < s->n_vocab;)
        few_move(s, row->logits, id);
}

/* candidates */

/* What a logit must have to be a candidate: the least one's value, rounded down. */
static float few_floor(const struct sampler *s, int k)
{
    const double least = s->n_heap < k ? -INFINITY : s->heap[0].x;
    const float f = (float)least;

    return (double)f > least ? nextafterf(f, -INFINITY) : f;
}

/* Whether one of a run may be a candidate, or is no number. */
static bool few_run_matters(const float *logits, float floor)
{
    few_ints matters = {0};
    uint64_t halves[2];

    for (int i = 0; i < FEW_RUN; i += 4) {
        few_floats x;

        memcpy(&x, logits + i, sizeof(x));
        matters |= ~(x < floor);
    }
    memcpy(halves, &matters, sizeof(halves));
    return halves[0] | halves[1];
}

static int few_take(struct sampler *s, const float *logits, int k, int from, int to)
{
    for (int i = from; i < to; i++) {
        if (!(logits[i] < INFINITY))
            return SAMPLE_E_NAN;
        if (!s->place[i])
            sampler_put(s, k, (double)logits[i], i);
    }
    return SAMPLE_OK;
}

static int few_walk(struct sampler *s, const float *logits, int k)
{
    int i, r = SAMPLE_OK;

    for (i = 0; !r && i + FEW_RUN <= s->n_vocab; i += FEW_RUN)
        if (few_run_matters(logits + i, few_floor(s, k)))
            r = few_take(s, logits, k, i, i + FEW_RUN);
    return r ? r : few_take(s, logits, k, i, s->n_vocab);
}

int sampler_find_few(struct sampler *s, const struct sample_row *row, int k)
{
    int r;

    few_move_all(s, row);
    sampler_adjust(s, row);
    sampler_begin(s);
    for (int i = 0; i < s->n_moved; i++)
        sampler_put(s, k, s->x[s->ids[i]], s->ids[i]);
    r = few_walk(s, row->logits, k);
    for (int i = 0; i < s->n_moved; i++)
        s->place[s->ids[i]] = 0;
    sampler_end(s);
    return r;
}
