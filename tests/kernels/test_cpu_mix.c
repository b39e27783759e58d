/* test_cpu_mix.c - DeltaNet and attention of the CPU backend: near ref.c; the same bits on every instruction
 * set, for any cut of a sequence into steps, beside any neighbours, with any number of threads and any order
 * of pages. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kt.h"

enum { N_SEQ = 3, LEN = 150, MAX_TOK = 64, N_PAGES = 12, CTX = 192 };

struct dims {
    struct kern_shape shape;
    int n_ch, n_delta, n_q, n_kv; /* floats per row: qkv; z and out; attention out; k and v */
};

/* n_kh 2 of n_vh 6: heads tiled, not grouped.  d_delta 80: a slice of 64 channels and one of 16. */
static struct dims dims_of(int d_attn, int n_qh, int n_kvh, int d_delta, enum kern_kv_type kv)
{
    struct dims d = {.shape = {.dim = 16,
                               .n_ff = 16,
                               .n_vocab = 16,
                               .n_qh = n_qh,
                               .n_kvh = n_kvh,
                               .d_attn = d_attn,
                               .n_kh = 2,
                               .n_vh = 6,
                               .d_delta = d_delta,
                               .conv_k = 4,
                               .max_tok = MAX_TOK,
                               .max_ctx = CTX,
                               .kv_type = kv}};

    d.n_ch = (2 * 2 + 6) * d_delta;
    d.n_delta = 6 * d_delta;
    d.n_q = n_qh * d_attn;
    d.n_kv = n_kvh * d_attn;
    return d;
}

/* Inputs of N_SEQ sequences, and what came out, by sequence and position. */
struct data {
    float *qkv, *z, *alpha, *beta, *conv_w, a[6], dt[6], *delta_norm; /* [N_SEQ][LEN][..] */
    float *q, *k, *v, *qk_norm;
    float *delta_out, *attn_out;
};

static void data_init(struct data *data, const struct dims *d)
{
    const size_t n = N_SEQ * LEN;
    struct kt_rng rng = {31};
    struct {
        float **at;
        size_t n;
        float scale;
    } parts[] = {{&data->qkv, n * (size_t)d->n_ch, 2},
                 {&data->z, n * (size_t)d->n_delta, 3},
                 {&data->alpha, n * 6, 3},
                 {&data->beta, n * 6, 3},
                 {&data->conv_w, (size_t)d->n_ch * 4, 1},
                 {&data->delta_norm, (size_t)d->shape.d_delta, 2},
                 {&data->q, n * (size_t)d->n_q * 2, 3},
                 {&data->k, n * (size_t)d->n_kv, 3},
                 {&data->v, n * (size_t)d->n_kv, 2},
                 {&data->qk_norm, (size_t)d->shape.d_attn, 2},
                 {&data->delta_out, n * (size_t)d->n_delta, 0},
                 {&data->attn_out, n * (size_t)d->n_q, 0}};

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        *parts[i].at = kt_floats(parts[i].n);
        kt_fill(&rng, *parts[i].at, parts[i].n, parts[i].scale);
    }
    for (int h = 0; h < 6; h++) {
        data->a[h] = -kt_uniform(&rng, 0.01f, 4.0f);
        data->dt[h] = kt_uniform(&rng, -4.0f, 2.0f);
    }
}

static void data_deinit(struct data *data)
{
    float **all[] = {&data->qkv, &data->z, &data->alpha, &data->beta,    &data->conv_w,    &data->delta_norm,
                     &data->q,   &data->k, &data->v,     &data->qk_norm, &data->delta_out, &data->attn_out};

    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        freep(all[i]);
}

/* How the sequences are cut into steps: in each step, sequence s gives up to chunk[s] rows; first step: only
 * sequence 0 while alone is set. */
struct plan {
    const char *name, *isa;
    int n_threads, chunk[N_SEQ];
    bool alone;     /* one sequence after the other */
    bool backwards; /* pages and slots from the end */
};

struct runner {
    struct kern *kern;
    const struct dims *d;
    struct data *data;
    uint8_t *state, *kv;
    int32_t pages[N_SEQ][CTX / KERN_PAGE_TOK];
    int pos[N_SEQ];
};

/* Rows of one step, gathered from or scattered to their sequences. */
static void rows_move(const struct runner *r, const struct kern_span *spans, const int *seqs, int n_span,
                      float *all, float *step, int width, bool gather)
{
    for (int i = 0; i < n_span; i++) {
        float *in_all = all + (size_t)((seqs[i] * LEN + spans[i].pos0) * width),
              *in_step = step + spans[i].row0 * width;
        const size_t bytes = (size_t)(spans[i].n_tok * width) * sizeof(float);
        memcpy(gather ? in_step : in_all, gather ? in_all : in_step, bytes);
    }
    (void)r;
}

static void run_delta(struct runner *r, const struct kern_batch *batch, const int *seqs)
{
    const struct dims *d = r->d;
    float *qkv = kt_floats((size_t)(MAX_TOK * d->n_ch)), *z = kt_floats((size_t)(MAX_TOK * d->n_delta));
    float *alpha = kt_floats(MAX_TOK * 6), *beta = kt_floats(MAX_TOK * 6),
          *out = kt_floats((size_t)(MAX_TOK * d->n_delta));
    const struct kern_delta op = {.batch = batch,
                                  .qkv = qkv,
                                  .z = z,
                                  .alpha = alpha,
                                  .beta = beta,
                                  .conv_w = r->data->conv_w,
                                  .a = r->data->a,
                                  .dt = r->data->dt,
                                  .norm_w = r->data->delta_norm,
                                  .eps = 1e-6f,
                                  .state = r->state,
                                  .out = out};

    rows_move(r, batch->spans, seqs, batch->n_span, r->data->qkv, qkv, d->n_ch, true);
    rows_move(r, batch->spans, seqs, batch->n_span, r->data->z, z, d->n_delta, true);
    rows_move(r, batch->spans, seqs, batch->n_span, r->data->alpha, alpha, 6, true);
    rows_move(r, batch->spans, seqs, batch->n_span, r->data->beta, beta, 6, true);
    assert_int_equal(r->kern->ops->delta(r->kern, &op), 0);
    rows_move(r, batch->spans, seqs, batch->n_span, r->data->delta_out, out, d->n_delta, false);
    free(qkv);
    free(z);
    free(alpha);
    free(beta);
    free(out);
}

static void run_attn(struct runner *r, const struct kern_batch *batch, const int *seqs)
{
    const struct dims *d = r->d;
    float *q = kt_floats((size_t)(MAX_TOK * d->n_q * 2)), *k = kt_floats((size_t)(MAX_TOK * d->n_kv));
    float *v = kt_floats((size_t)(MAX_TOK * d->n_kv)), *out = kt_floats((size_t)(MAX_TOK * d->n_q));
    const struct kern_attn op = {.batch = batch,
                                 .q = q,
                                 .k = k,
                                 .v = v,
                                 .q_norm = r->data->qk_norm,
                                 .k_norm = r->data->qk_norm,
                                 .eps = 1e-6f,
                                 .n_rot = d->shape.d_attn / 4,
                                 .rope_base = 1e7f,
                                 .kv = r->kv,
                                 .out = out};

    rows_move(r, batch->spans, seqs, batch->n_span, r->data->q, q, d->n_q * 2, true);
    rows_move(r, batch->spans, seqs, batch->n_span, r->data->k, k, d->n_kv, true);
    rows_move(r, batch->spans, seqs, batch->n_span, r->data->v, v, d->n_kv, true);
    assert_int_equal(r->kern->ops->attn(r->kern, &op), 0);
    rows_move(r, batch->spans, seqs, batch->n_span, r->data->attn_out, out, d->n_q, false);
    free(q);
    free(k);
    free(v);
    free(out);
}

/* Returns false when every sequence is at its end. */
static bool run_step(struct runner *r, const struct plan *plan)
{
    struct kern_span spans[N_SEQ];
    int seqs[N_SEQ];
    struct kern_batch batch = {.spans = spans};

    for (int s = 0; s < N_SEQ; s++) {
        const int n = MIN(plan->chunk[s], LEN - r->pos[s]);
        if (n == 0)
            continue;
        seqs[batch.n_span] = s;
        spans[batch.n_span++] = (struct kern_span){.row0 = batch.n_tok,
                                                   .n_tok = n,
                                                   .pos0 = r->pos[s],
                                                   .slot = plan->backwards ? N_SEQ - 1 - s : s,
                                                   .pages = r->pages[s]};
        batch.n_tok += n;
        r->pos[s] += n;
        if (plan->alone)
            break;
    }
    if (batch.n_tok == 0)
        return false;
    run_delta(r, &batch, seqs);
    run_attn(r, &batch, seqs);
    return true;
}

/* State and KV start as the contract has them: state zero; KV holds whatever an earlier sequence left (here:
 * NaN). */
static bool run(const char *backend, const struct plan *plan, const struct dims *d, struct data *data)
{
    struct runner r = {
        .kern = kt_open_planned(backend, plan->isa, plan->n_threads, &d->shape), .d = d, .data = data};

    if (!r.kern)
        return false;
    const size_t kv_bytes = N_PAGES * r.kern->ops->kv_page_bytes(r.kern);
    r.state = aligned_alloc(64, ROUND_UP(N_SEQ * r.kern->ops->delta_state_bytes(r.kern), (size_t)64));
    r.kv = aligned_alloc(64, ROUND_UP(kv_bytes, (size_t)64));
    memset(r.state, 0, N_SEQ * r.kern->ops->delta_state_bytes(r.kern));
    memset(r.kv, 0xff, kv_bytes);
    for (int s = 0, page = 0; s < N_SEQ; s++)
        for (int i = 0; i < CTX / KERN_PAGE_TOK; i++, page++)
            r.pages[s][i] = plan->backwards ? N_PAGES - 1 - page : (page * 5 + 2) % N_PAGES;
    while (run_step(&r, plan))
        ;
    free(r.state);
    free(r.kv);
    kern_free(r.kern);
    return true;
}

static const struct dims *all_dims(size_t *ret_n)
{
    static struct dims dims[5];

    dims[0] = dims_of(256, 4, 1, 128, KERN_KV_F16); /* the 9B's heads */
    dims[1] = dims_of(64, 4, 2, 64, KERN_KV_F16);
    dims[2] = dims_of(80, 6, 2, 80, KERN_KV_F32);
    dims[3] = dims_of(96, 5, 1, 32, KERN_KV_Q8_0);
    dims[4] = dims_of(16, 3, 3, 16, KERN_KV_F16);
    *ret_n = ARRAY_SIZE(dims);
    return dims;
}

/* The widest steps on scalar are the words against which all others are held. */
static void test_mixers_give_the_same_bits_however_they_are_run(void **state)
{
    static const struct plan base = {"scalar", "scalar", 1, {21, 21, 21}, false, false};
    static const struct plan plans[] = {
        {"avx2", "avx2", 1, {21, 21, 21}, false, false},
        {"avx512", "avx512", 1, {21, 21, 21}, false, false},
        {"neon", "neon", 1, {21, 21, 21}, false, false},
        {"i8mm", "i8mm", 1, {21, 21, 21}, false, false},
        {"token by token", NULL, 2, {1, 1, 1}, false, true},
        {"one after the other in 64s", NULL, 3, {64, 64, 64}, true, true},
        {"odd pieces beside decoding", NULL, 4, {7, 1, 31}, false, false},
        {"two tokens, avx2", "avx2", 2, {2, 5, 3}, false, true},
        {"two tokens, neon", "neon", 2, {2, 5, 3}, false, true},
    };
    size_t n;
    const struct dims *dims = all_dims(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        const size_t n_delta = sizeof(float) * N_SEQ * LEN * (size_t)dims[i].n_delta;
        const size_t n_attn = sizeof(float) * N_SEQ * LEN * (size_t)dims[i].n_q;
        struct data want, got;
        data_init(&want, &dims[i]);
        assert_true(run("cpu", &base, &dims[i], &want));
        for (size_t j = 0; j < ARRAY_SIZE(plans); j++) {
            data_init(&got, &dims[i]);
            if (run("cpu", &plans[j], &dims[i], &got)) {
                kt_check_same(got.delta_out, want.delta_out, n_delta, plans[j].name);
                kt_check_same(got.attn_out, want.attn_out, n_attn, plans[j].name);
            }
            data_deinit(&got);
        }
        data_deinit(&want);
    }
}

/* f32 against double over 150 tokens: outputs are of size 1..10, each the end of some hundred roundings of
 * 6e-8: 1e-4 is ten times what was seen and 1 % of what a wrong formula moves.  A key just beside a rounding
 * border of Q8_0 may fall on its other side: one step of 1/127 in one of d values of one of up to 150 keys,
 * 1e-3. */
static void test_mixers_are_near_the_definition(void **state)
{
    static const struct plan plan = {"default", NULL, 2, {16, 32, 9}, false, false};
    size_t n;
    const struct dims *dims = all_dims(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        struct data want, got;
        data_init(&want, &dims[i]);
        data_init(&got, &dims[i]);
        assert_true(run("ref", &plan, &dims[i], &want));
        assert_true(run("cpu", &plan, &dims[i], &got));
        kt_check_near(got.delta_out, want.delta_out, N_SEQ * LEN * (size_t)dims[i].n_delta, 1e-4, "delta");
        kt_check_near(got.attn_out, want.attn_out, N_SEQ * LEN * (size_t)dims[i].n_q,
                      dims[i].shape.kv_type == KERN_KV_Q8_0 ? 1e-3 : 1e-4, "attn");
        data_deinit(&want);
        data_deinit(&got);
    }
}

/* Keys that dwarf all others: the online softmax must not overflow, nor divide zero by zero.  Scores of 7200
 * carry errors of 4e-4 in f32, and one f16 step of a key moves them by more: hence the tolerance. */
static void test_attn_survives_extreme_scores(void **state)
{
    const struct dims d = dims_of(64, 2, 1, 16, KERN_KV_F16);
    static const struct plan plan = {"default", NULL, 2, {30, 30, 4}, false, false};
    struct data want, got;

    (void)state;
    data_init(&want, &d);
    data_init(&got, &d);
    for (int i = 0; i < d.shape.d_attn; i++)
        want.qk_norm[i] = got.qk_norm[i] = 30.0f; /* scores up to +-7200 */
    assert_true(run("ref", &plan, &d, &want));
    assert_true(run("cpu", &plan, &d, &got));
    kt_check_near(got.attn_out, want.attn_out, N_SEQ * LEN * (size_t)d.n_q, 5e-2,
                  "attn"); /* 7200 * 6e-8 in the exponent, twice f16 steps of keys */
    data_deinit(&want);
    data_deinit(&got);
}

static void test_plan_refuses_head_sizes_that_fill_no_vector(void **state)
{
    const struct dims odd[] = {dims_of(24, 1, 1, 16, KERN_KV_F16), dims_of(16, 1, 1, 24, KERN_KV_F16),
                               dims_of(16, 1, 1, 16, KERN_KV_Q8_0), dims_of(1024, 1, 1, 16, KERN_KV_F16)};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
        struct kern *kern = kt_open("cpu", NULL, 1);
        assert_int_equal(kern->ops->plan(kern, &odd[i].shape), -EOPNOTSUPP);
        kern_free(kern);
    }
}

/* One token of one sequence; the value that is no number must be seen in its channel of the result. */
static void check_attn_keeps_nan(const char *backend, const char *isa, enum kern_kv_type kv_type)
{
    enum { D = 32, AT = 5 };
    const struct dims d = dims_of(D, 1, 1, 16, kv_type);
    struct kern *kern = kt_open_planned(backend, isa, 1, &d.shape);
    const int32_t page = 0;
    const struct kern_span span = {.n_tok = 1, .pages = &page};
    const struct kern_batch batch = {.n_tok = 1, .n_span = 1, .spans = &span};
    float q[2 * D] = {1}, k[D] = {1}, v[D] = {1}, norm[D] = {1}, out[D] = {0};
    struct kern_attn op = {.batch = &batch, .q = q, .k = k, .v = v, .q_norm = norm, .k_norm = norm};

    if (!kern)
        return; /* this machine lacks the instruction set */
    op.kv = aligned_alloc(64, ROUND_UP(kern->ops->kv_page_bytes(kern), (size_t)64));
    assert_non_null(op.kv);
    op.eps = 1e-6f;
    op.rope_base = 1e4f;
    op.out = out;
    v[AT] = NAN;
    assert_int_equal(kern->ops->attn(kern, &op), 0);
    if (!isnan(out[AT]))
        fail_msg("%s %s, KV type %d: %g", backend, isa ? isa : "", kv_type, (double)out[AT]);
    free(op.kv);
    kern_free(kern);
}

static void test_attn_keeps_what_is_no_number(void **state)
{
    static const char *const isas[] = {"scalar", "avx2", "avxvnni", "avx512", "neon", "i8mm"};
    static const enum kern_kv_type types[] = {KERN_KV_F32, KERN_KV_F16, KERN_KV_Q8_0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        check_attn_keeps_nan("ref", NULL, types[i]);
        for (size_t j = 0; j < ARRAY_SIZE(isas); j++)
            check_attn_keeps_nan("cpu", isas[j], types[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixers_give_the_same_bits_however_they_are_run),
        cmocka_unit_test(test_mixers_are_near_the_definition),
        cmocka_unit_test(test_attn_survives_extreme_scores),
        cmocka_unit_test(test_plan_refuses_head_sizes_that_fill_no_vector),
        cmocka_unit_test(test_attn_keeps_what_is_no_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
