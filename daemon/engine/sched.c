/* sched.c - what the next step reads.  See sched.h. */
#include "sched.h"

/* How long a prompt piece may take.  Alone: short enough that a cancel or a new request is noticed soon.
 * Beside running streams: their next token is late by this much, less than what a reader notices as a stop.
 * Where one decode step takes longer than that anyway (a big model on few cores), a piece may double the
 * step, or prompts would crawl. */
static const double sched_alone_ns = 250e6, sched_beside_ns = 75e6;
/* Before anything was measured. */
enum { SCHED_PIECE_FIRST = 32 };
/* Of each new measurement: follows a change of load within some ten steps, and one outlier moves it little.
 */
static const double sched_smooth = 0.2;

static void sched_smooth_to(double *value, double sample)
{
    *value = *value > 0 ? *value + sched_smooth * (sample - *value) : sample;
}

void sched_cost_add_decode(struct sched_cost *cost, double ns)
{
    sched_smooth_to(&cost->step_ns, ns);
}

void sched_cost_add_piece(struct sched_cost *cost, int n_piece, double ns)
{
    const double least =
        ns / (8.0 * n_piece); /* a step that was faster than a decode step says little; stay above 0 */

    sched_smooth_to(&cost->tok_ns, MAX((ns - cost->step_ns) / n_piece, least));
}

static int sched_piece_budget(const struct sched_cost *cost, bool alone)
{
    const double target = alone ? sched_alone_ns - cost->step_ns : sched_beside_ns;
    const double budget = MAX(target, cost->step_ns);

    if (cost->tok_ns <= 0)
        return SCHED_PIECE_FIRST;
    return (int)CLAMP(budget / cost->tok_ns, 1.0, (double)SCHED_PIECE_MAX);
}

static bool sched_is_decode(const struct sched_item *item)
{
    return item->n_pending == 1;
}

/* The oldest prompt; -1: none. */
static int sched_find_prompt(const struct sched_item *items, int n_items)
{
    int oldest = -1;

    for (int i = 0; i < n_items; i++)
        if (items[i].n_pending > 1 && (oldest < 0 || items[i].order < items[oldest].order))
            oldest = i;
    return oldest;
}

int sched_step(const struct sched_item *items, int n_items, const struct sched_cost *cost, int max_tok,
               struct sched_pick *ret_picks)
{
    const int prompt = sched_find_prompt(items, n_items);
    int n_decode = 0, piece, n = 0;

    for (int i = 0; i < n_items; i++)
        n_decode += sched_is_decode(&items[i]);
    piece = MIN(sched_piece_budget(cost, n_decode == 0), max_tok - n_decode);
    for (int i = 0; i < n_items; i++) {
        if (sched_is_decode(&items[i]))
            ret_picks[n++] = (struct sched_pick){i, 1};
        else if (i == prompt && piece > 0)
            ret_picks[n++] = (struct sched_pick){i, MIN(piece, items[i].n_pending)};
    }
    return n;
}
