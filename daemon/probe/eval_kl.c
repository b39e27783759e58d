/* eval_kl.c - the Kullback-Leibler divergence of two models' next tokens.  See eval_run.h. */
#include <math.h>

#include "eval_run.h"

/* log of the sum of exp(x), and where x is largest */
static double eval_kl_log_sum(const float *x, int n, int *ret_best)
{
    int best = 0;
    double sum = 0;

    for (int i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    for (int i = 0; i < n; i++)
        sum += exp((double)x[i] - (double)x[best]);
    *ret_best = best;
    return (double)x[best] + log(sum);
}

/* sum of p (log p - log q), both over the whole vocabulary; at least 0 but for rounding. */
bool eval_kl_add(struct eval_kl *kl, const float *reference, const float *model, int n_vocab)
{
    int best_p, best_q;
    const double norm_p = eval_kl_log_sum(reference, n_vocab, &best_p);
    const double norm_q = eval_kl_log_sum(model, n_vocab, &best_q);
    double sum = 0;

    for (int i = 0; i < n_vocab; i++) {
        const double log_p = (double)reference[i] - norm_p, log_q = (double)model[i] - norm_q;

        if (log_p > -700) /* below, p is 0 in float64: it adds nothing, whatever q */
            sum += exp(log_p) * (log_p - log_q);
    }
    if (!isfinite(norm_p) || !isfinite(norm_q) || !isfinite(sum))
        return false;
    sum = MAX(sum, 0.0);
    kl->n++;
    kl->sum += sum;
    kl->max = MAX(kl->max, sum);
    kl->n_same += best_p == best_q;
    return true;
}

void eval_kl_merge(struct eval_kl *kl, const struct eval_kl *other)
{
    kl->n += other->n;
    kl->sum += other->sum;
    kl->max = MAX(kl->max, other->max);
    kl->n_same += other->n_same;
}
