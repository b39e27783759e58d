/* sample_top.c - one token from the best of a row, without the row.  See sample.h and struct kern_top_row.
 *
 * What is proved before anything is said: bias and penalties are applied to the candidates; an id that is
 * none had a logit of at most the last candidate's (the ceiling), and has no more afterwards, or nothing is
 * said.  So the candidates above the ceiling are the best of the whole row, in their order.  top_k and
 * temperature 0 need no more than so many of them.  Without top_k the others count by their mass alone, which
 * lies between zero and what the row's normaliser leaves them: if either gives the same token, it is the one.
 */
#include "sampler.h"

#include <assert.h>
#include <math.h>

#include "kernels/kernels.h"

_Static_assert((int)SAMPLER_FEW >= (int)KERN_TOP, "the sums of as many have one order");

struct top_pick {
    const struct sample_params *params;
    const struct kern_top_row *top;
    bool has_rest;  /* there are ids that are no candidates and may be chosen */
    double ceiling; /* none of them is above it; -inf: there are none */
    int n_sure;     /* of the sampler's best: those above it */
};

/* candidates: the sampler's heap, in the row's order until they are sorted */

/* Returns false if an id outside is raised. */
static bool top_bias(struct sampler *s, const struct top_pick *pick)
{
    for (int i = 0; i < pick->params->n_bias; i++) {
        const struct sample_bias *b = &pick->params->bias[i];
        const int at = s->place[b->id];

        if (at)
            s->heap[at - 1].x += (double)b->bias;
        else if (b->bias > 0 && pick->has_rest)
            return false;
    }
    return true;
}

/* Likewise.  Penalties move an id at its first place in the window, of which there may be as many as the
 * context. */
static bool top_penalise(struct sampler *s, const struct top_pick *pick, const int32_t *history,
                         size_t n_history)
{
    const struct sample_params *p = pick->params;
    size_t n;
    const int32_t *window = sample_window(p, history, n_history, &n);
    const bool raises = p->repeat_penalty < 1.0f || p->presence_penalty < 0.0f || p->frequency_penalty < 0.0f;
    int32_t count[KERN_TOP] = {0};

    for (size_t i = 0; i < n; i++) {
        assert(window[i] >= 0 && window[i] < s->n_vocab);
        if (s->place[window[i]])
            count[s->place[window[i]] - 1]++;
        else if (raises && pick->has_rest)
            return false;
    }
    for (int i = 0; i < pick->top->n; i++)
        if (count[i])
            s->heap[i].x = sample_penalised(p, s->heap[i].x, count[i]);
    return true;
}

static bool top_adjust(struct sampler *s, const struct top_pick *pick, const int32_t *history,
                       size_t n_history)
{
    const struct kern_top_row *top = pick->top;
    bool is_told;

    for (int i = 0; i < top->n; i++) {
        s->heap[i] = (struct sample_entry){(double)top->logits[i], top->ids[i]};
        s->place[top->ids[i]] = (int16_t)(i + 1);
    }
    is_told = top_bias(s, pick) && top_penalise(s, pick, history, n_history);
    for (int i = 0; i < top->n; i++)
        s->place[top->ids[i]] = 0;
    return is_told;
}

/* Those that may be chosen to the sampler's best; in order but for what was moved. */
static void top_sort(struct sampler *s, struct top_pick *pick, const bool *banned)
{
    s->n_heap = s->n_best = 0;
    for (int i = 0; i < pick->top->n; i++) {
        const struct sample_entry e = s->heap[i];
        int at;

        if (!(e.x > -INFINITY) || (banned && banned[e.id]))
            continue;
        for (at = s->n_best++; at > 0; at--) {
            const struct sample_entry before = {s->best[at - 1], s->ids[at - 1]};

            if (sample_better(&before, &e))
                break;
            s->best[at] = before.x;
            s->ids[at] = before.id;
        }
        s->best[at] = e.x;
        s->ids[at] = e.id;
    }
    while (pick->n_sure < s->n_best && s->best[pick->n_sure] > pick->ceiling)
        pick->n_sure++;
}

/* the rest */

/* The most that the rest's mass can be, relative to the best candidate.  Below temperature 1 it shrinks by at
 * least as much as the ceiling does; above, nothing useful is known. */
static double top_rest(const struct sampler *s, const struct top_pick *pick, double temperature)
{
    const struct kern_top_row *top = pick->top;
    double rest = exp(top->lse + KERN_TOP_LSE_ERROR - s->best[0]);

    if (temperature > 1.0)
        return INFINITY;
    for (int i = 0; i < top->n; i++)
        rest -= exp((double)top->logits[i] - s->best[0]);
    return MAX(rest, 0.0) * exp((pick->ceiling - s->best[0]) * (1.0 / temperature - 1.0));
}

/* Sums of a quarter of a million terms, in whatever order: their rounding is far below this. */
static const double top_slack = 1e-9;

/* top_p over the whole row.  Leaves what it keeps. */
static bool top_keep_top_p(struct sampler *s, const struct top_pick *pick)
{
    const double top_p = (double)pick->params->top_p, mass = sampler_mass(s, 1.0),
                 rest = top_rest(s, pick, 1.0);
    const double most = top_p * (mass + rest) * (1.0 + top_slack);
    int n;

    if (!(most <= mass)) /* beyond the candidates; also for inf and NaN */
        return false;
    n = sampler_reach(s, most);
    if (n > pick->n_sure || sampler_reach(s, top_p * mass * (1.0 - top_slack)) != n)
        return false;
    s->n_best = n;
    return true;
}

/* A draw from the whole row.  Returns the index into ids, or -1. */
static int top_draw(struct sampler *s, const struct top_pick *pick, uint64_t position)
{
    const double temperature = (double)pick->params->temperature;
    const double u = sample_uniform(pick->params->seed, position), mass = sampler_mass(s, temperature),
                 most = u * (mass + top_rest(s, pick, temperature)) * (1.0 + top_slack);
    int i;

    if (!(most < mass)) /* beyond the candidates; also for inf and NaN */
        return -1;
    i = sampler_at(s, temperature, most);
    return i < pick->n_sure && sampler_at(s, temperature, u * mass * (1.0 - top_slack)) == i ? i : -1;
}

/* picking */

/* The candidates that filters keep of the whole row are the sampler's; or it cannot be told. */
static bool top_filter(struct sampler *s, struct top_pick *pick)
{
    const struct sample_params *p = pick->params;
    struct sample_params min_p = *p;
    const int k = p->temperature == 0.0f ? 1 : p->top_k;

    if (!pick->has_rest || (k > 0 && k <= pick->n_sure)) {
        s->n_best = k > 0 ? MIN(k, s->n_best) : s->n_best;
        sampler_keep(s, p);
        return true;
    }
    if (k > 0)
        return false;
    min_p.top_p = 1.0f;
    if (p->top_p < 1.0f && !top_keep_top_p(s, pick))
        return false;
    if (p->top_p >= 1.0f && !(s->best[0] + log((double)p->min_p) > pick->ceiling))
        return false; /* also for min_p 0 */
    sampler_keep(s, &min_p);
    return true;
}

static int top_pick(struct sampler *s, struct top_pick *pick, uint64_t position, int *ret_at)
{
    const struct sample_params *p = pick->params;

    if (!s->n_best)
        return pick->has_rest ? SAMPLE_E_MORE : SAMPLE_E_NAN;
    if (pick->has_rest && p->temperature != 0.0f && p->top_k == 0 && p->top_p >= 1.0f && p->min_p <= 0.0f)
        *ret_at = top_draw(s, pick, position);
    else
        *ret_at = top_filter(s, pick) ? sampler_draw(s, p, position) : -1;
    return *ret_at < 0 ? SAMPLE_E_MORE : SAMPLE_OK;
}

int sampler_pick_top(struct sampler *s, const struct sample_params *params, const struct kern_top_row *top,
                     const bool *banned, const int32_t *history, size_t n_history, uint64_t position,
                     int n_logprobs, struct sample_choice *ret_choice)
{
    struct top_pick pick = {.params = params,
                            .top = top,
                            .has_rest = top->n == KERN_TOP && top->n < s->n_vocab,
                            .ceiling = -INFINITY};
    struct sample_choice choice = {0};
    int at = 0, r;

    assert(position <= UINT32_MAX && n_logprobs <= SAMPLE_TOP_MAX);
    if (top->is_bad)
        return SAMPLE_E_NAN;
    if (pick.has_rest)
        pick.ceiling = (double)top->logits[KERN_TOP - 1];
    if (!top_adjust(s, &pick, history, n_history))
        return SAMPLE_E_MORE;
    top_sort(s, &pick, banned);
    r = top_pick(s, &pick, position, &at);
    if (r)
        return r;
    choice.id = s->ids[at];
    for (int i = 0; i < top->n; i++)
        if (top->ids[i] == choice.id)
            sample_tell(top, top->logits[i], n_logprobs, &choice);
    *ret_choice = choice;
    return SAMPLE_OK;
}

/* logprobs */

void sample_tell(const struct kern_top_row *top, float logit, int n_logprobs, struct sample_choice *choice)
{
    if (n_logprobs < 0)
        return;
    choice->logprob = (float)((double)logit - top->lse);
    choice->n_top = MIN(n_logprobs, top->n);
    for (int i = 0; i < choice->n_top; i++) {
        choice->top_id[i] = top->ids[i];
        choice->top_logprob[i] = (float)((double)top->logits[i] - top->lse);
    }
}

int sample_score_top(const struct kern_top_row *top, float *ret_logprob)
{
    if (top->is_bad)
        return SAMPLE_E_NAN;
    *ret_logprob = (float)((double)top->asked - top->lse);
    return SAMPLE_OK;
}
