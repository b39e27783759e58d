/* kt.c - see kt.h. */
#include "kt.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/half.h"

const enum quant_type kt_types[13] = {QUANT_F32,  QUANT_F16,    QUANT_BF16,  QUANT_Q4_0, QUANT_Q4_1,
                                      QUANT_Q5_0, QUANT_Q5_1,   QUANT_Q8_0,  QUANT_Q4_K, QUANT_Q5_K,
                                      QUANT_Q6_K, QUANT_IQ4_NL, QUANT_IQ4_XS};

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t kt_next(struct kt_rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

float kt_uniform(struct kt_rng *rng, float lo, float hi)
{
    return lo + (hi - lo) * (float)(kt_next(rng) >> 40) * 0x1p-24f;
}

void kt_fill(struct kt_rng *rng, float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = kt_uniform(rng, -scale, scale);
}

struct kern *kt_open(const char *backend, const char *isa, int n_threads)
{
    const struct kern_options options = {
        .backend = backend, .isa = isa, .n_threads = n_threads, .share_all = true};
    struct kern *kern = NULL;
    struct fault fault = {0};
    const int r = kern_open(&options, &fault, &kern);

    if (r == KERN_E_ISA && isa)
        return NULL;
    if (r)
        fail_msg("kern_open(%s, %s): %d %s", backend, isa ? isa : "-", r, fault.text);
    return kern;
}

struct kern *kt_open_planned(const char *backend, const char *isa, int n_threads,
                             const struct kern_shape *shape)
{
    struct kern *kern = kt_open(backend, isa, n_threads);

    if (kern)
        assert_int_equal(kern->ops->plan(kern, shape), 0);
    return kern;
}

/* Random codes, d and m near 2^-6 so that sums over thousands of products stay in the range of f32's best
 * digits. */
static void kt_random_block(struct kt_rng *rng, enum quant_type type, uint8_t *dst)
{
    const struct quant_info *info = quant_find(type);
    uint8_t raw[BLOCK_MAX];
    struct block b;

    for (int i = 0; i < info->n_bytes; i++)
        raw[i] = (uint8_t)kt_next(rng);
    block_read(type, raw, &b);
    b.d = half_from_float(kt_uniform(rng, -0.02f, 0.02f));
    b.m = half_from_float(kt_uniform(rng, -0.02f, 0.02f));
    block_write(type, &b, dst);
}

void kt_random_weights(struct kt_rng *rng, enum quant_type type, uint8_t *dst, int64_t n)
{
    const struct quant_info *info = quant_find(type);

    for (int64_t i = 0; i < n; i += info->n_block, dst += info->n_bytes) {
        const float x = kt_uniform(rng, -0.1f, 0.1f);
        const uint16_t h = type == QUANT_F16 ? half_from_float(x) : (uint16_t)(half_bits(x) >> 16);
        if (type == QUANT_F32)
            memcpy(dst, &x, 4);
        else if (type == QUANT_F16 || type == QUANT_BF16)
            memcpy(dst, &h, 2);
        else
            kt_random_block(rng, type, dst);
    }
}

struct kern_shape kt_shape(int dim, int n_ff, int max_tok)
{
    return (struct kern_shape){.dim = dim,
                               .n_ff = n_ff,
                               .n_vocab = 64,
                               .n_qh = 1,
                               .n_kvh = 1,
                               .d_attn = 16,
                               .n_kh = 1,
                               .n_vh = 1,
                               .d_delta = 16,
                               .conv_k = 4,
                               .max_tok = max_tok,
                               .max_ctx = 64,
                               .kv_type = KERN_KV_F16};
}

struct kt_mat kt_mat_new(struct kern *kern, enum quant_type type, enum kern_layout layout, int n_out,
                         int n_in, uint64_t seed)
{
    struct kt_rng rng = {seed};
    uint8_t *rows = malloc((size_t)n_out * quant_row_bytes(quant_find(type), n_in));
    struct kt_mat m = {.mat = {.type = type, .layout = layout, .n_out = n_out, .n_in = n_in}};

    kt_random_weights(&rng, type, rows, (int64_t)n_out * n_in);
    m.mat.bytes = kern->ops->mat_bytes(kern, type, layout, n_out, n_in);
    m.mat.data = m.data = aligned_alloc(64, ROUND_UP(m.mat.bytes, (size_t)64));
    assert_non_null(m.data);
    const struct kern_pack pack = {.mat = &m.mat, .n_row = n_out, .src = rows};
    assert_int_equal(kern->ops->mat_pack(kern, &pack), 0);
    free(rows);
    return m;
}

void kt_mat_free(struct kt_mat *m)
{
    freep(&m->data);
}

void kt_check_near(const float *got, const float *want, size_t n, double tolerance, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance))
            fail_msg("%s, value %zu of %zu: %.9g, should be %.9g to %.3g", what, i, n, (double)got[i],
                     (double)want[i], tolerance);
}

void kt_check_same(const void *got, const void *want, size_t bytes, const char *what)
{
    const float *a = got, *b = want;

    if (memcmp(got, want, bytes) == 0)
        return;
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        if (memcmp(&a[i], &b[i], sizeof(float)) != 0)
            fail_msg("%s, value %zu of %zu: %a, should be the same bits as %a", what, i,
                     bytes / sizeof(float), (double)a[i], (double)b[i]);
}

float *kt_floats(size_t n)
{
    float *x = aligned_alloc(64, ROUND_UP(MAX(n, (size_t)1) * sizeof(float), (size_t)64));

    assert_non_null(x);
    memset(x, 0, n * sizeof(float));
    return x;
}
