/* rate.c - a token bucket.  See rate.h. */
#include "rate.h"

static const double rate_minute_ns = 60e9;

static void rate_refill(struct rate *rate, uint64_t now_ns)
{
    const double passed_ns = now_ns > rate->at_ns ? (double)(now_ns - rate->at_ns) : 0;

    rate->level = MIN(rate->level + passed_ns * rate->per_min / rate_minute_ns, (double)rate->burst);
    rate->at_ns = MAX(now_ns, rate->at_ns);
}

void rate_set(struct rate *rate, uint32_t per_min, uint32_t burst, uint64_t now_ns)
{
    if (rate->per_min)
        rate_refill(rate, now_ns);
    else
        *rate = (struct rate){.level = burst, .at_ns = now_ns};
    rate->per_min = per_min;
    rate->burst = burst;
    rate->level = MIN(rate->level, (double)burst);
}

void rate_charge(struct rate *rate, uint64_t n_tokens, uint64_t now_ns)
{
    if (!rate->per_min)
        return;
    rate_refill(rate, now_ns);
    rate->level -= (double)n_tokens;
}

uint64_t rate_wait_ms(struct rate *rate, uint64_t now_ns)
{
    if (!rate->per_min)
        return 0;
    rate_refill(rate, now_ns);
    if (rate->level >= 1)
        return 0;
    return (uint64_t)((1 - rate->level) * rate_minute_ns / rate->per_min / 1e6) + 1; /* up: not too early */
}

double rate_fill(struct rate *rate, uint64_t now_ns)
{
    if (!rate->per_min)
        return 1;
    rate_refill(rate, now_ns);
    return rate->level / rate->burst;
}
