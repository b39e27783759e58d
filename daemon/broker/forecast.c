/* forecast.c - what tokens cost, and when a request will have its first one.  See forecast.h. */
#include "forecast.h"

static const double forecast_smooth = 0.2; /* of each new measurement */
static const double forecast_write_price_first =
    2; /* as VTC weighs a written token against one that is read */
static const double forecast_write_price_min = 0.5, forecast_write_price_max = 1024; /* beyond is noise */
static const double forecast_answer_tok_first = 256;                                 /* a paragraph or two */
static const double forecast_prompt_byte_first = 4; /* Qwen's usual, of English text */

static void forecast_smooth_to(double *value, double sample)
{
    *value = *value > 0 ? *value + forecast_smooth * (sample - *value) : sample;
}

/* Smoothed by the engine. */
void forecast_note_beat(struct forecast *forecast, uint64_t read_ns, uint64_t step_ns)
{
    forecast->read_ns = (double)read_ns;
    forecast->step_ns = (double)step_ns;
}

void forecast_note_prompt(struct forecast *forecast, uint64_t n_bytes, uint32_t n_tok)
{
    if (n_bytes && n_tok)
        forecast_smooth_to(&forecast->prompt_byte, (double)n_bytes / n_tok);
}

void forecast_note_answer(struct forecast *forecast, uint64_t n_tok)
{
    if (n_tok)
        forecast_smooth_to(&forecast->answer_tok, (double)n_tok);
}

double forecast_write_price(const struct forecast *forecast, unsigned n_rows)
{
    if (forecast->read_ns <= 0 || forecast->step_ns <= 0)
        return forecast_write_price_first;
    return CLAMP(forecast->step_ns / (MAX(n_rows, 1u) * forecast->read_ns), forecast_write_price_min,
                 forecast_write_price_max);
}

double forecast_prompt_tok(const struct forecast *forecast, uint64_t n_bytes)
{
    return (double)n_bytes / (forecast->prompt_byte > 0 ? forecast->prompt_byte : forecast_prompt_byte_first);
}

double forecast_left_tok(const struct forecast *forecast, uint64_t max_tok)
{
    const double mean = forecast->answer_tok > 0 ? forecast->answer_tok : forecast_answer_tok_first;

    return max_tok ? MIN(mean, (double)max_tok) : mean;
}

/* Slots become free one after another, each after what is left on average, all together so much sooner. */
static double forecast_wait_ns(const struct forecast *forecast, const struct forecast_work *work)
{
    const unsigned busy = work->n_running + work->n_ahead;

    if (work->takes_slot || busy < work->n_slots)
        return 0;
    return (busy - work->n_slots + 1) * work->left_tok * forecast->step_ns / work->n_slots;
}

double forecast_ttft_ns(const struct forecast *forecast, const struct forecast_work *work)
{
    const double read_ns = (work->own_tok + work->ahead_tok) * forecast->read_ns;

    if (forecast->read_ns <= 0 || forecast->step_ns <= 0)
        return 0;
    /* beside running streams half of a step is theirs (sched.h); at last one step writes the token */
    return forecast_wait_ns(forecast, work) + (work->n_running > 0 ? 2 : 1) * read_ns + forecast->step_ns;
}
