/* rate.h - tokens a minute: a bucket that fills while time passes and is emptied by what was read and
 * written.
 *
 * Pure: the caller says what time it is.  What a request will take is not known when it comes, so the bucket
 * may fall below zero; then nothing new is taken until the debt is paid. */
#pragma once

#include "proto/base.h"

struct rate { /* all zero: no limit */
    uint32_t per_min, burst;
    double level; /* tokens, at most burst */
    uint64_t at_ns;
};

/* Sets or changes the limit; 0: none.  A bucket that had none starts full. */
void rate_set(struct rate *rate, uint32_t per_min, uint32_t burst, uint64_t now_ns);
void rate_charge(struct rate *rate, uint64_t n_tokens, uint64_t now_ns);
uint64_t rate_wait_ms(struct rate *rate, uint64_t now_ns); /* until there is a token again; 0: there is one */
double rate_fill(struct rate *rate, uint64_t now_ns);      /* part of the burst; 1: nothing to remember */
