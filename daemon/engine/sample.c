/* sample.c - from one row of logits to one token.  See sample.h.
 *
 * A full sort of a 248k vocabulary costs 20 ms, so nothing sorts more than it must: candidates lie in a
 * max-heap and are popped, best first, only as far as top_p or the draw asks; with top_k they are k entries
 * to begin with, which sample_few.c finds without looking at each of the others. */
#include "sampler.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <string.h>

void sample_params_default(struct sample_params *params, bool thinking)
{
    *params = (struct sample_params){
        .temperature = thinking ? 1.0f : 0.7f,
        .top_k = 20,
        .top_p = thinking ? 0.95f : 0.8f,
        .repeat_penalty = 1.0f,
        .presence_penalty = 1.5f,
        .penalty_last_n = 64,
    };
}

/* parameters */

static int sample_check_float(const char *name, float value, float lo, float hi, struct fault *fault)
{
    if (value >= lo && value <= hi)
        return SAMPLE_OK; /* false for NaN */
    return fault_set(fault, SAMPLE_E_RANGE, "%s is %g, should be from %g to %g", name, (double)value,
                     (double)lo, (double)hi);
}

static int sample_check_bias(const struct sample_params *params, int n_vocab, struct fault *fault)
{
    for (int i = 0; i < params->n_bias; i++) {
        const struct sample_bias *b = &params->bias[i];

        if (b->id < 0 || b->id >= n_vocab)
            return fault_set(fault, SAMPLE_E_RANGE, "logit_bias[%d] names token %d, the vocabulary has %d", i,
                             b->id, n_vocab);
        if (!(fabsf(b->bias) <= 100.0f)) /* the range of the OpenAI API, where -100 means never */
            return fault_set(fault, SAMPLE_E_RANGE, "logit_bias[%d] is %g, should be from -100 to 100", i,
                             (double)b->bias);
    }
    return SAMPLE_OK;
}

int sample_params_check(const struct sample_params *params, int n_vocab, struct fault *fault)
{
    /* Upper bounds only keep float64 arithmetic far from overflow; a useful value is within 0..2 in each
     * case. */
    const struct {
        const char *name;
        float value, lo, hi;
    } ranges[] = {
        {"temperature", params->temperature, 0, 100},
        {"top_p", params->top_p, 0, 1},
        {"min_p", params->min_p, 0, 1},
        {"repeat_penalty", params->repeat_penalty, 0.01f, 100},
        {"presence_penalty", params->presence_penalty, -100, 100},
        {"frequency_penalty", params->frequency_penalty, -100, 100},
    };

    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
        int r = sample_check_float(ranges[i].name, ranges[i].value, ranges[i].lo, ranges[i].hi, fault);

        if (r)
            return r;
    }
    if (params->top_k < 0)
        return fault_set(fault, SAMPLE_E_RANGE, "top_k is %d, should be 0 (off) or more", params->top_k);
    if (params->penalty_last_n < -1)
        return fault_set(fault, SAMPLE_E_RANGE, "penalty_last_n is %d, should be -1 (all) or more",
                         params->penalty_last_n);
    return sample_check_bias(params, n_vocab, fault);
}

/* scratch */

int sampler_new(int n_vocab, struct sampler **ret_sampler)
{
    _cleanup_(sampler_freep) struct sampler *s = calloc(1, sizeof(*s));
    size_t n = (size_t)n_vocab;

    if (!s)
        return err_origin(-ENOMEM);
    s->n_vocab = n_vocab;
    s->x = malloc(n * sizeof(*s->x));
    s->count = calloc(n, sizeof(*s->count));
    s->place = calloc(n, sizeof(*s->place));
    s->heap = malloc(n * sizeof(*s->heap));
    s->ids = malloc(n * sizeof(*s->ids));
    s->best = malloc(n * sizeof(*s->best));
    if (!s->x || !s->count || !s->place || !s->heap || !s->ids || !s->best)
        return err_origin(-ENOMEM);
    *ret_sampler = steal(&s);
    return SAMPLE_OK;
}

struct sampler *sampler_free(struct sampler *s)
{
    if (!s)
        return NULL;
    free(s->x);
    free(s->count);
    free(s->place);
    free(s->heap);
    free(s->ids);
    free(s->best);
    free(s);
    return NULL;
}

/* logits to adjusted values */

static int sampler_load_logits(struct sampler *s, const float *logits)
{
    bool bad = false;

    for (int i = 0; i < s->n_vocab; i++) {
        bad |= !(logits[i] < INFINITY); /* true for NaN as well */
        s->x[i] = (double)logits[i];
    }
    return bad ? SAMPLE_E_NAN : SAMPLE_OK;
}

double sample_penalised(const struct sample_params *p, double x, int32_t c)
{
    x = x <= 0 ? x * (double)p->repeat_penalty : x / (double)p->repeat_penalty;
    return x - ((double)c * (double)p->frequency_penalty + (double)p->presence_penalty);
}

static bool sample_penalises(const struct sample_params *p)
{
    return p->repeat_penalty != 1.0f || p->presence_penalty != 0.0f || p->frequency_penalty != 0.0f;
}

const int32_t *sample_window(const struct sample_params *p, const int32_t *history, size_t n_history,
                             size_t *ret_n)
{
    const size_t n = p->penalty_last_n < 0 ? n_history : MIN(n_history, (size_t)p->penalty_last_n);

    *ret_n = sample_penalises(p) ? n : 0;
    return history + (n_history - *ret_n);
}

/* Each distinct token of the window. */
static void sampler_penalise(struct sampler *s, const struct sample_row *row)
{
    size_t n;
    const int32_t *window = sample_window(row->params, row->history, row->n_history, &n);

    for (size_t i = 0; i < n; i++) {
        assert(window[i] >= 0 && window[i] < s->n_vocab);
        s->count[window[i]]++;
    }
    for (size_t i = 0; i < n; i++) {
        const int32_t id = window[i], c = s->count[id];

        if (!c)
            continue; /* an earlier place of the window has dealt with it */
        s->x[id] = sample_penalised(row->params, s->x[id], c);
        s->count[id] = 0;
    }
}

int32_t sample_next_banned(const struct sample_row *row, int32_t n_vocab, int32_t id)
{
    const bool *at = row->banned ? memchr(row->banned + id, true, (size_t)(n_vocab - id)) : NULL;

    return at ? (int32_t)(at - row->banned) : n_vocab;
}

void sampler_adjust(struct sampler *s, const struct sample_row *row)
{
    const struct sample_params *p = row->params;

    for (int i = 0; i < p->n_bias; i++)
        s->x[p->bias[i].id] += (double)p->bias[i].bias;
    sampler_penalise(s, row);
    for (int32_t id = -1; (id = sample_next_banned(row, s->n_vocab, id + 1)) < s->n_vocab;)
        s->x[id] = -INFINITY;
}

/* candidates */

bool sample_better(const struct sample_entry *a, const struct sample_entry *b)
{
    return a->x > b->x || (a->x == b->x && a->id < b->id);
}

/* Restores heap order below i. */
static void sample_sift(struct sample_entry *heap, int n, int i, bool best_on_top)
{
    const struct sample_entry e = heap[i];

    for (int child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && sample_better(&heap[child + 1], &heap[child]) == best_on_top)
            child++;
        if (sample_better(&heap[child], &e) != best_on_top)
            break;
        heap[i] = heap[child];
    }
    heap[i] = e;
}

static void sample_heapify(struct sample_entry *heap, int n, bool best_on_top)
{
    for (int i = n / 2 - 1; i >= 0; i--)
        sample_sift(heap, n, i, best_on_top);
}

void sampler_begin(struct sampler *s)
{
    s->n_heap = s->n_best = 0;
}

/* The least is on top once there are k. */
void sampler_put(struct sampler *s, int k, double x, int32_t id)
{
    const struct sample_entry e = {x, id};

    if (!(x > -INFINITY))
        return;
    if (s->n_heap < k) {
        s->heap[s->n_heap++] = e;
        if (s->n_heap == k)
            sample_heapify(s->heap, k, false);
    } else if (sample_better(&e, &s->heap[0])) {
        s->heap[0] = e;
        sample_sift(s->heap, k, 0, false);
    }
}

void sampler_end(struct sampler *s)
{
    sample_heapify(s->heap, s->n_heap, true);
}

/* Candidates = the k best of x (k = 0: all); fewer if fewer may be chosen. */
static void sampler_select(struct sampler *s, int k)
{
    sampler_begin(s);
    for (int i = 0; i < s->n_vocab; i++)
        sampler_put(s, k > 0 ? k : INT_MAX, s->x[i], i);
    sampler_end(s);
}

bool sampler_pop(struct sampler *s)
{
    if (!s->n_heap)
        return false;
    s->ids[s->n_best] = s->heap[0].id;
    s->best[s->n_best++] = s->heap[0].x;
    s->heap[0] = s->heap[--s->n_heap];
    if (s->n_heap)
        sample_sift(s->heap, s->n_heap, 0, true);
    return true;
}

/* Sums of a few candidates are taken best first, so that they are the same however the candidates were found.
 */
static void sampler_pop_few(struct sampler *s)
{
    while (s->n_heap && s->n_best + s->n_heap <= SAMPLER_FEW && sampler_pop(s))
        ;
}

/* Sum of exp((x - max) / temperature) over all candidates; the best one has been popped. */
double sampler_mass(const struct sampler *s, double temperature)
{
    double mass = 0;

    for (int i = 0; i < s->n_best; i++)
        mass += exp((s->best[i] - s->best[0]) / temperature);
    for (int i = 0; i < s->n_heap; i++)
        mass += exp((s->heap[i].x - s->best[0]) / temperature);
    return mass;
}

int sampler_reach(struct sampler *s, double want)
{
    double sum = 1.0; /* the best one's exp(0) */
    int n = 1;

    while (sum < want && (n < s->n_best || sampler_pop(s)))
        sum += exp(s->best[n++] - s->best[0]);
    return n;
}

static void sampler_keep_top_p(struct sampler *s, double top_p)
{
    if (top_p >= 1.0)
        return;
    s->n_best = sampler_reach(s, top_p * sampler_mass(s, 1.0));
    s->n_heap = 0;
}

static void sampler_keep_min_p(struct sampler *s, double min_p)
{
    double least;
    int n = 0;

    if (min_p <= 0.0)
        return;
    least = s->best[0] + log(min_p);
    while (s->n_best > 1 && s->best[s->n_best - 1] < least)
        s->n_best--;
    for (int i = 0; i < s->n_heap; i++)
        if (s->heap[i].x >= least)
            s->heap[n++] = s->heap[i];
    s->n_heap = n;
    sample_heapify(s->heap, n, true);
    sampler_pop_few(s);
}

void sampler_keep(struct sampler *s, const struct sample_params *p)
{
    sampler_pop_few(s);
    sampler_keep_top_p(s, (double)p->top_p);
    sampler_keep_min_p(s, (double)p->min_p);
}

static int sampler_find(struct sampler *s, const struct sample_row *row, int k)
{
    int r;

    if (k > 0 && k <= SAMPLER_FEW)
        return sampler_find_few(s, row, k);
    r = sampler_load_logits(s, row->logits);
    if (r)
        return r;
    sampler_adjust(s, row);
    sampler_select(s, k);
    return SAMPLE_OK;
}

/* Leaves what top_k, top_p, min_p and temperature 0 keep, at least the best one, which is popped. */
static int sampler_filter(struct sampler *s, const struct sample_row *row)
{
    const struct sample_params *p = row->params;
    int r = sampler_find(s, row, p->temperature == 0.0f ? 1 : p->top_k);

    if (r)
        return r;
    if (!sampler_pop(s))
        return SAMPLE_E_NAN;
    sampler_keep(s, p);
    return SAMPLE_OK;
}

/* the draw */

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t ret_out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    ret_out[0] = c0;
    ret_out[1] = c1;
    ret_out[2] = c2;
    ret_out[3] = c3;
}

/* [0, 1) with 53 random bits: the first two words of the block at this position. */
double sample_uniform(uint64_t seed, uint64_t position)
{
    const uint32_t counter[4] = {(uint32_t)position, 0, 0, 0},
                   key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];

    philox4x32(counter, key, out);
    return (double)(((uint64_t)out[0] << 32 | out[1]) >> 11) * 0x1p-53;
}

int sampler_at(struct sampler *s, double temperature, double want)
{
    double sum = 0;

    for (int i = 0; i < s->n_best || sampler_pop(s); i++) {
        sum += exp((s->best[i] - s->best[0]) / temperature);
        if (sum > want)
            return i;
    }
    return s->n_best -
           1; /* the two sums were added in different orders: u was closer to 1 than their rounding */
}

int sampler_draw(struct sampler *s, const struct sample_params *p, uint64_t position)
{
    const double temperature = (double)p->temperature;

    if (temperature == 0.0)
        return 0;
    return sampler_at(s, temperature, sample_uniform(p->seed, position) * sampler_mass(s, temperature));
}

/* Log of the sum of exp of what was loaded, which is the row as the model gave it. */
static double sampler_lse(const struct sampler *s)
{
    double max = -INFINITY, sum = 0;

    for (int i = 0; i < s->n_vocab; i++)
        max = MAX(max, s->x[i]);
    for (int i = 0; i < s->n_vocab; i++)
        if (s->x[i] - max > -40.0) /* the rest of a 248k vocabulary adds less than 1e-12 */
            sum += exp(s->x[i] - max);
    return max + log(sum);
}

/* log softmax of the row as the model gave it */
static void sampler_logprobs(struct sampler *s, const float *logits, int n_top, struct sample_choice *choice)
{
    double lse;

    (void)sampler_load_logits(s, logits); /* was good before */
    lse = sampler_lse(s);
    choice->logprob = (float)((double)logits[choice->id] - lse);
    choice->n_top = 0;
    if (!n_top)
        return;
    sampler_select(s, n_top);
    for (int i = 0; i < n_top && sampler_pop(s); i++) {
        choice->top_id[i] = s->ids[i];
        choice->top_logprob[i] = (float)(s->best[i] - lse);
        choice->n_top++;
    }
}

int sampler_pick(struct sampler *s, const struct sample_params *params, const float *logits,
                 const bool *banned, const int32_t *history, size_t n_history, uint64_t position,
                 int n_logprobs, struct sample_choice *ret_choice)
{
    const struct sample_row row = {params, logits, banned, history, n_history};
    struct sample_choice choice = {0};
    int i, r;

    assert(position <= UINT32_MAX && n_logprobs <= SAMPLE_TOP_MAX);
    r = sampler_filter(s, &row);
    if (r)
        return r;
    i = sampler_draw(s, params, position);
    choice.id = s->ids[i];
    if (n_logprobs >= 0)
        sampler_logprobs(s, logits, n_logprobs, &choice);
    *ret_choice = choice;
    return SAMPLE_OK;
}

int sampler_score(struct sampler *s, const float *logits, int32_t id, float *ret_logprob)
{
    int r = sampler_load_logits(s, logits);

    if (r)
        return r;
    *ret_logprob = (float)((double)logits[id] - sampler_lse(s));
    return SAMPLE_OK;
}

int sampler_distribution(struct sampler *s, const struct sample_params *params, const float *logits,
                         const bool *banned, const int32_t *history, size_t n_history,
                         const int32_t **ret_ids, const double **ret_probs, int *ret_n)
{
    const double temperature = params->temperature == 0.0f ? 1.0 : (double)params->temperature;
    const struct sample_row row = {params, logits, banned, history, n_history};
    double mass, max;
    int r = sampler_filter(s, &row);

    if (r)
        return r;
    while (sampler_pop(s))
        ;
    mass = sampler_mass(s, temperature);
    max = s->best[0];
    for (int i = 0; i < s->n_best; i++)
        s->best[i] = exp((s->best[i] - max) / temperature) / mass;
    *ret_ids = s->ids;
    *ret_probs = s->best;
    *ret_n = s->n_best;
    return SAMPLE_OK;
}
