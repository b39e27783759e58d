/* selftest.c - before Ready: two steps on the real model.
 *
 * They show that the machine computes numbers at all, so that a broken file or backend is found at start and
 * not by the first client; they fault in what a step touches; and they give the scheduler its first costs,
 * without which the first prompt piece would be a guess: of one row, of one tile of rows, of some. */
#include "engine.h"

#include <math.h>

#include "daemon/util/clock.h"

enum { SELFTEST_PIECE = 32 }; /* long enough to tell a prompt token's cost from a step's */

/* One step of n tokens in slot 0, as a fresh sequence. */
static int selftest_step(struct engine *e, int n, double *ret_ns)
{
    const struct kern_span span = {.n_tok = n, .pages = e->tables} /* all zero: page 0 */;
    const struct kern_batch batch = {.n_tok = n, .n_span = 1, .ids = e->ids, .spans = &span};
    uint64_t t0;
    int r = state_clear_slot(e->state, 0);

    if (r)
        return r;
    e->rows[0] = n - 1;
    e->asked[0] = -1;
    t0 = clock_now_ns();
    r = engine_forward(e, &batch, 1);
    *ret_ns = (double)(clock_now_ns() - t0);
    return r || !e->tops ? r : model_logits(e->model, e->state, 0, e->logits);
}

static int selftest_check_top(const struct engine *e, struct fault *fault)
{
    int best = 0;

    for (int i = 1; i < e->n_vocab; i++)
        best = e->logits[i] > e->logits[best] ? i : best;
    if (e->tops->is_bad || e->tops->ids[0] != best)
        return fault_set(fault, STATUS_NUMERICS,
                         "self-test: the backend %s finds another best token than its row of logits has",
                         e->kern->ops->name);
    return 0;
}

static int selftest_check(const struct engine *e, struct fault *fault)
{
    for (int i = 0; i < e->n_vocab; i++)
        if (!isfinite(e->logits[i]))
            return fault_set(
                fault, STATUS_NUMERICS,
                "self-test: the model gives %g for token %d; the file or the backend %s is broken",
                (double)e->logits[i], i, e->kern->ops->name);
    return e->tops ? selftest_check_top(e, fault) : 0;
}

static int selftest_piece(struct engine *e, int n, struct fault *fault)
{
    double ns;
    int r = selftest_step(e, n, &ns);

    if (!r)
        r = selftest_check(e, fault);
    if (r)
        return r;
    sched_cost_add_piece(&e->sched.cost, n, ns);
    sched_cost_add_rows(&e->sched.cost, n, 0, ns);
    return 0;
}

int engine_selftest(struct engine *e, struct fault *fault)
{
    const int n = MIN(SELFTEST_PIECE, e->context);
    double ns;
    int r;

    for (int i = 0; i < n; i++)
        e->ids[i] = i % e->n_vocab;
    for (int k = 0; k < 2; k++) { /* the first one pays for pages that were never touched */
        r = selftest_step(e, 1, &ns);
        if (!r)
            r = selftest_check(e, fault);
        if (r)
            return r;
    }
    sched_cost_add_decode(&e->sched.cost, ns);
    e->sched.cost.tile = e->kern->row_tile;
    if (e->kern->row_tile && e->kern->row_tile < n)
        r = selftest_piece(e, e->kern->row_tile, fault);
    return r ? r : selftest_piece(e, n, fault);
}
