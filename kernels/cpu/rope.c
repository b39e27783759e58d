/* rope.c - power and angles by IEEE additions, multiplications and divisions only.  See rope.h.
 *
 * Results are within 1e-12 of the true value, far below the f32 that they are rounded to. */
#include "rope.h"

#include <math.h>

static const double rope_ln2 = 0x1.62e42fefa39efp-1;

/* x = 2^e m, m in [0.7, 1.41]; log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172: series to s^25. */
static double rope_log(double x)
{
    int e;
    double m = frexp(x, &e), s, p = 0;

    if (m < 0.70710678) {
        m *= 2;
        e--;
    }
    s = (m - 1) / (m + 1);
    for (int i = 25; i >= 1; i -= 2)
        p = p * s * s + 1.0 / i;
    return (double)e * rope_ln2 + 2 * s * p;
}

/* x = n ln 2 + r, |r| <= 0.35: Taylor series to r^15. */
static double rope_exp(double x)
{
    const double n = rint(x / rope_ln2), r = x - n * rope_ln2;
    double p = 1;

    for (int i = 15; i >= 1; i--)
        p = 1 + p * r / i;
    return ldexp(p, (int)n);
}

void rope_freqs(double base, int n_rot, double *ret_freq)
{
    const double log_base = rope_log(base);

    for (int i = 0; i < n_rot / 2; i++)
        ret_freq[i] = rope_exp(-2.0 * i / n_rot * log_base);
}

/* cos and sin of r, |r| <= pi / 4 and a little: Taylor series to r^18. */
static void rope_cos_sin(double r, double *ret_cos, double *ret_sin)
{
    const double r2 = r * r;
    double c = 1, s = 1;

    for (int i = 18; i >= 2; i -= 2) {
        c = 1 - c * r2 / (i * (i - 1));
        s = 1 - s * r2 / (i * (i + 1));
    }
    *ret_cos = c;
    *ret_sin = s * r;
}

/* angle = n pi / 2 + r; pi / 2 in two parts, the first of 33 bits, so that n times it is exact. */
void rope_angles(const double *freq, int n, int pos, float *ret_cos_sin)
{
    for (int i = 0; i < n; i++) {
        const double angle = pos * freq[i], turns = rint(angle * 0x1.45f306dc9c883p-1);
        double c, s;
        rope_cos_sin(angle - turns * 0x1.921fb544p+0 - turns * 0x1.0b4611a626331p-34, &c, &s);
        const int quarter = (int)((long long)turns & 3);
        ret_cos_sin[2 * i] = (float)(quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s);
        ret_cos_sin[2 * i + 1] = (float)(quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c);
    }
}
