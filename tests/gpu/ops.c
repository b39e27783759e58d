/* ops.c - gpu_driver ops: each op of a backend against ref's, on small and odd shapes and, with --large, on a
 * 9B's.
 *
 * ref multiplies with exact activations, a GPU with int8 or f16 ones: so this shows that the right operands
 * meet in the right places and to what share of their size results differ; that each kernel computes its
 * scheme bit for bit is tests/kernels' business. Inputs are random, so a wrong operand is wrong by the size
 * of the result. */
#include "gpu.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Of the result's own rms: int8 activations of uniform values round by 0.3 %, a few of them in a row by more.
 * f16 ones and weights rounded to f16 by 0.04 %. */
static const double OPS_QUANTISED = 0.015, OPS_F16 = 1e-3, OPS_F32 = 2e-5, OPS_F16_KV = 1e-3,
                    OPS_Q8_KV = 0.015;

static const enum quant_type ops_types[] = {QUANT_F32,  QUANT_F16,    QUANT_BF16,  QUANT_Q4_0, QUANT_Q4_1,
                                            QUANT_Q5_0, QUANT_Q5_1,   QUANT_Q8_0,  QUANT_Q4_K, QUANT_Q5_K,
                                            QUANT_Q6_K, QUANT_IQ4_NL, QUANT_IQ4_XS};

enum { OPS_FLOATS = 3 }; /* that stand first */
enum { OPS_MEMS = 64, OPS_MAX_TOK = 48, OPS_MAX_CTX = 512 };

/* The two backends, and what one check has allocated of each. */
static struct {
    struct kern *kern[2]; /* ref, ours */
    struct kern_mem mem[2][OPS_MEMS];
    int n_mem;
    struct gpu_random random;
} ops;
enum { REF, OURS };

static void ops_failed(const char *what, int r)
{
    gpu_check(false, what, "%s %s", strerror(-r), ops.kern[OURS] ? ops.kern[OURS]->trouble : "");
}

/* memory of both */

struct ops_pair {
    float *at[2];
    size_t n;
};

static uint8_t *ops_alloc(int side, size_t bytes)
{
    struct kern *k = ops.kern[side];
    struct kern_mem *mem = &ops.mem[side][ops.n_mem];
    const int r = ops.n_mem < OPS_MEMS ? k->ops->mem_alloc(k, bytes, KERN_MEM_STATE, mem) : -E2BIG;

    if (r < 0)
        ops_failed("mem_alloc", r);
    return r < 0 ? NULL : mem->base;
}

/* n zeros, or values up to scale; below zero: none above it. */
static struct ops_pair ops_floats(size_t n, float scale)
{
    struct ops_pair p = {.n = n};
    _cleanup_(freep) float *values = calloc(n, sizeof(float));

    gpu_fill(&ops.random, values, n, fabsf(scale));
    for (size_t i = 0; i < n && scale <= 0; i++)
        values[i] = scale < 0 ? -fabsf(values[i]) : 0.0f;
    for (int i = 0; i < 2; i++) {
        p.at[i] = (float *)(void *)ops_alloc(i, n * sizeof(float));
        ops.kern[i]->ops->copy_in(ops.kern[i], p.at[i], values, n * sizeof(float));
    }
    ops.n_mem++;
    return p;
}

struct ops_mats {
    struct kern_mat mat[2];
};

static struct ops_mats ops_mat(enum quant_type type, enum kern_layout layout, int n_out, int n_in)
{
    struct ops_mats m;
    _cleanup_(freep) uint8_t *rows = malloc((size_t)n_out * quant_row_bytes(quant_find(type), n_in));

    gpu_fill_rows(&ops.random, type, rows, n_out, n_in);
    for (int i = 0; i < 2; i++) {
        struct kern *k = ops.kern[i];
        m.mat[i] = (struct kern_mat){.type = type, .layout = layout, .n_out = n_out, .n_in = n_in};
        m.mat[i].bytes = k->ops->mat_bytes(k, type, layout, n_out, n_in);
        m.mat[i].data = ops_alloc(i, m.mat[i].bytes);
        const struct kern_pack pack = {.mat = &m.mat[i], .n_row = n_out, .src = rows};
        const int r = k->ops->mat_pack(k, &pack);
        if (r < 0)
            ops_failed("mat_pack", r);
    }
    ops.n_mem++;
    return m;
}

static void ops_release(void)
{
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < ops.n_mem; i++)
            ops.kern[side]->ops->mem_free(ops.kern[side], &ops.mem[side][i]);
    ops.n_mem = 0;
}

static float *ops_take(int side, const float *from, size_t n)
{
    struct kern *k = ops.kern[side];
    float *values = malloc(n * sizeof(float));
    const int r = k->ops->copy_out(k, values, from, n * sizeof(float));

    if (r < 0)
        ops_failed("copy_out", r);
    return values;
}

/* The rms of the difference as a share of the result's. */
static void ops_compare(const char *name, const char *what, const struct ops_pair *p, double limit)
{
    _cleanup_(freep) float *want = ops_take(REF, p->at[REF], p->n), *got = ops_take(OURS, p->at[OURS], p->n);
    double sum = 0, size = 0;

    for (size_t i = 0; i < p->n; i++) {
        const double diff = (double)got[i] - (double)want[i];
        sum += diff * diff;
        size += (double)want[i] * (double)want[i];
    }
    const double share = sqrt(sum / size);
    gpu_check(share <= limit, name, "%s differs by %.2e of its size (at most %.1e)", what, share, limit);
}

enum { OPS_FEW = 32 }; /* rows that are never f16 */

static double ops_limit(enum quant_type type, int n_tok)
{
    const bool f32 = type == QUANT_F32 || type == QUANT_F16 || type == QUANT_BF16;
    const bool f16 = n_tok > OPS_FEW && strstr(ops.kern[OURS]->numerics_id, "-f16");

    return f32 ? OPS_F32 : f16 ? OPS_F16 : OPS_QUANTISED;
}

/* products */

static void ops_check_embed(enum quant_type type, int dim)
{
    const int32_t ids[] = {0, 36, 7, 7, 35}, outside[] = {3, 37};
    const struct ops_mats table = ops_mat(type, KERN_ROWS, 37, dim);
    const struct ops_pair x = ops_floats(5 * (size_t)dim, 0);
    char name[64];

    snprintf(name, sizeof(name), "embed %s", quant_find(type)->name);
    for (int i = 0; i < 2; i++) {
        const int r = ops.kern[i]->ops->embed(ops.kern[i], &table.mat[i], ids, 5, x.at[i]);
        if (r < 0)
            ops_failed(name, r);
    }
    ops_compare(name, "x", &x, 0);
    if (type == QUANT_F32)
        gpu_check(ops.kern[OURS]->ops->embed(ops.kern[OURS], &table.mat[OURS], outside, 2, x.at[OURS]) ==
                      -EINVAL,
                  name, "an id outside of the table is refused");
    ops_release();
}

/* A stack of four: two of the type, one narrow, one of f32, as DeltaNet layers have them. */
static void ops_check_norm_proj(enum quant_type type, int n_tok, int dim, int n_out, bool norm)
{
    const struct ops_mats mats[] = {
        ops_mat(type, KERN_PANELS, n_out, dim), ops_mat(QUANT_Q6_K, KERN_PANELS, 4, dim),
        ops_mat(QUANT_F32, KERN_PANELS, 4, dim), ops_mat(type, KERN_PANELS, n_out + 3, dim)};
    const struct ops_pair x = ops_floats((size_t)n_tok * (size_t)dim, 1.0f),
                          w = ops_floats((size_t)dim, 1.0f);
    struct ops_pair out[4];
    char name[64], what[16];

    snprintf(name, sizeof(name), "norm_proj %s %dx%d rows %d%s", quant_find(type)->name, n_out, dim, n_tok,
             norm ? "" : " without norm");
    for (int m = 0; m < 4; m++)
        out[m] = ops_floats((size_t)n_tok * (size_t)mats[m].mat[0].n_out, 0);
    for (int i = 0; i < 2; i++) {
        struct kern_norm_proj op = {
            .n_tok = n_tok, .n_mat = 4, .x = x.at[i], .norm_w = norm ? w.at[i] : NULL, .eps = 1e-6f};
        for (int m = 0; m < 4; m++) {
            op.mats[m] = &mats[m].mat[i];
            op.out[m] = out[m].at[i];
        }
        const int r = ops.kern[i]->ops->norm_proj(ops.kern[i], &op);
        if (r < 0)
            ops_failed(name, r);
    }
    for (int m = 0; m < 4; m++) {
        snprintf(what, sizeof(what), "out %d", m);
        ops_compare(name, what, &out[m], ops_limit((enum quant_type)mats[m].mat[0].type, n_tok));
    }
    ops_release();
}

static void ops_check_proj_add(enum quant_type type, int n_tok, int dim, int n_in)
{
    const struct ops_mats mat = ops_mat(type, KERN_PANELS, dim, n_in);
    const struct ops_pair x = ops_floats((size_t)n_tok * (size_t)dim, 0.1f),
                          y = ops_floats((size_t)n_tok * (size_t)n_in, 1.0f);
    char name[64];

    snprintf(name, sizeof(name), "proj_add %s %dx%d rows %d", quant_find(type)->name, dim, n_in, n_tok);
    for (int i = 0; i < 2; i++) {
        const struct kern_proj_add op = {.n_tok = n_tok, .y = y.at[i], .mat = &mat.mat[i], .x = x.at[i]};
        const int r = ops.kern[i]->ops->proj_add(ops.kern[i], &op);
        if (r < 0)
            ops_failed(name, r);
    }
    ops_compare(name, "x", &x, ops_limit(type, n_tok));
    ops_release();
}

static void ops_check_mlp(enum quant_type type, int n_tok, int dim, int n_ff)
{
    const struct ops_mats gate = ops_mat(type, KERN_PANELS, n_ff, dim),
                          up = ops_mat(type, KERN_PANELS, n_ff, dim),
                          down = ops_mat(type, KERN_PANELS, dim, n_ff);
    const struct ops_pair x = ops_floats((size_t)n_tok * (size_t)dim, 1.0f),
                          w = ops_floats((size_t)dim, 1.0f);
    char name[64];

    snprintf(name, sizeof(name), "mlp %s %dx%d rows %d", quant_find(type)->name, n_ff, dim, n_tok);
    for (int i = 0; i < 2; i++) {
        const struct kern_mlp op = {.n_tok = n_tok,
                                    .x = x.at[i],
                                    .norm_w = w.at[i],
                                    .eps = 1e-6f,
                                    .gate = &gate.mat[i],
                                    .up = &up.mat[i],
                                    .down = &down.mat[i]};
        const int r = ops.kern[i]->ops->mlp(ops.kern[i], &op);
        if (r < 0)
            ops_failed(name, r);
    }
    ops_compare(name, "x", &x, 2 * ops_limit(type, n_tok)); /* two products in a row */
    ops_release();
}

static void ops_check_head(enum quant_type type, int dim, int n_vocab, bool hidden)
{
    const int rows[] = {1, 4, 5}, n_tok = 6;
    const struct ops_mats mat = ops_mat(type, KERN_PANELS, n_vocab, dim);
    const struct ops_pair x = ops_floats((size_t)n_tok * (size_t)dim, 1.0f),
                          w = ops_floats((size_t)dim, 1.0f), logits = ops_floats(3 * (size_t)n_vocab, 0),
                          h = ops_floats(3 * (size_t)dim, 0);
    char name[64];

    snprintf(name, sizeof(name), "head %s %dx%d", quant_find(type)->name, n_vocab, dim);
    for (int i = 0; i < 2; i++) {
        const struct kern_head op = {.n_rows = 3,
                                     .rows = rows,
                                     .x = x.at[i],
                                     .norm_w = w.at[i],
                                     .eps = 1e-6f,
                                     .mat = &mat.mat[i],
                                     .hidden = hidden ? h.at[i] : NULL,
                                     .logits = logits.at[i]};
        const int r = ops.kern[i]->ops->head(ops.kern[i], &op);
        if (r < 0)
            ops_failed(name, r);
    }
    ops_compare(name, "logits", &logits, ops_limit(type, (int)ARRAY_SIZE(rows)));
    if (hidden)
        ops_compare(name, "hidden", &h, OPS_F32);
    ops_release();
}

/* The same ids and logits; the normaliser to what kernels.h promises. */
static bool ops_same_top(const struct kern_top_row *a, const struct kern_top_row *b)
{
    const size_t n = (size_t)a->n;

    return !a->is_bad && !b->is_bad && a->n == b->n && a->asked == b->asked &&
           fabs(a->lse - b->lse) <= KERN_TOP_LSE_ERROR && !memcmp(a->ids, b->ids, n * sizeof(*a->ids)) &&
           !memcmp(a->logits, b->logits, n * sizeof(*a->logits));
}

/* scale 0: all are equal. */
static void ops_check_top(int n_rows, int n_vocab, float scale)
{
    const struct ops_pair logits = ops_floats((size_t)n_rows * (size_t)n_vocab, scale);
    _cleanup_(freep) struct kern_top_row *want = calloc((size_t)n_rows, sizeof(*want)),
                                         *got = calloc((size_t)n_rows, sizeof(*got));
    int32_t asked[OPS_MAX_TOK];
    int n_same = 0;

    for (int i = 0; i < n_rows; i++)
        asked[i] = i * 7 % n_vocab;
    for (int i = 0; i < 2; i++) {
        const struct kern_top op = {.n_rows = n_rows,
                                    .n_vocab = n_vocab,
                                    .logits = logits.at[i],
                                    .asked = asked,
                                    .ret_rows = i == REF ? want : got};
        const int r = ops.kern[i]->ops->top(ops.kern[i], &op);
        if (r < 0)
            ops_failed("top", r);
    }
    for (int i = 0; i < n_rows; i++)
        n_same += ops_same_top(&got[i], &want[i]);
    gpu_check(n_same == n_rows, "top", "%d of %d rows of %d logits up to %g are ref's", n_same, n_rows,
              n_vocab, (double)scale);
    ops_release();
}

/* mixers */

/* A step of three sequences: a long one, and two of a few rows each; the next goes on from there.  Pages lie
 * anywhere. */
struct ops_step {
    int32_t pages[3][OPS_MAX_CTX / KERN_PAGE_TOK];
    struct kern_span spans[3];
    struct kern_batch batch;
};

static void ops_step_begin(struct ops_step *s, const int n_tok[3])
{
    const int n_page = OPS_MAX_CTX / KERN_PAGE_TOK;

    *s = (struct ops_step){.batch = {.n_span = 3, .spans = s->spans}};
    for (int i = 0; i < 3; i++) {
        for (int p = 0; p < n_page; p++)
            s->pages[i][p] = (p * 3 + i * 5) % n_page * 3 + i;
        s->spans[i] = (struct kern_span){
            .row0 = s->batch.n_tok, .n_tok = n_tok[i], .slot = (i + 1) % 3, .pages = s->pages[i]};
        s->batch.n_tok += n_tok[i];
    }
}

static void ops_step_next(struct ops_step *s, const int n_tok[3])
{
    s->batch.n_tok = 0;
    for (int i = 0; i < 3; i++) {
        s->spans[i].pos0 += s->spans[i].n_tok;
        s->spans[i].row0 = s->batch.n_tok;
        s->spans[i].n_tok = n_tok[i];
        s->batch.n_tok += n_tok[i];
    }
}

static uint8_t *ops_cleared(int side, size_t bytes)
{
    uint8_t *p = ops_alloc(side, bytes); /* mem_alloc gives zeros */

    return p;
}

/* The product behind a mixer takes what that quantised, behind anything else what it quantises itself: the
 * same bits.  One of delta and attn; its out is y. */
static void ops_check_handover(const char *name, const struct kern_delta *delta, const struct kern_attn *attn,
                               float *y, int n_tok, int n)
{
    struct kern *k = ops.kern[OURS];
    const int dim = k->shape.dim;
    const struct ops_mats mat = ops_mat(QUANT_Q4_K, KERN_PANELS, dim, n);
    const struct ops_pair x = ops_floats((size_t)n_tok * (size_t)dim, 0),
                          again = ops_floats((size_t)n_tok * (size_t)dim, 0);
    const struct kern_proj_add direct = {.n_tok = n_tok, .y = y, .mat = &mat.mat[OURS], .x = x.at[OURS]},
                               later = {.n_tok = n_tok, .y = y, .mat = &mat.mat[OURS], .x = again.at[OURS]};
    int r = delta ? k->ops->delta(k, delta) : k->ops->attn(k, attn);

    if (!r)
        r = k->ops->proj_add(k, &direct);
    if (!r)
        r = k->ops->copy_out(k, NULL, NULL, 0);
    if (!r)
        r = k->ops->proj_add(k, &later);
    if (r < 0)
        ops_failed(name, r);
    _cleanup_(freep) float *a = ops_take(OURS, x.at[OURS], x.n), *b = ops_take(OURS, again.at[OURS], x.n);
    gpu_check(!memcmp(a, b, x.n * sizeof(float)) && a[0] != 0, name,
              "handed over as int8 or as f32: the same bits");
}

static void ops_check_delta(void)
{
    static const int first[3] = {27, 3, 1}, second[3] = {1, 4, 1};
    const struct kern_shape *s = &ops.kern[REF]->shape;
    const size_t n_ch = (size_t)((2 * s->n_kh + s->n_vh) * s->d_delta), n_v = (size_t)(s->n_vh * s->d_delta),
                 n_vh = (size_t)s->n_vh, max = OPS_MAX_TOK;
    const struct ops_pair qkv = ops_floats(max * n_ch, 1.0f), z = ops_floats(max * n_v, 2.0f),
                          alpha = ops_floats(max * n_vh, 2.0f), beta = ops_floats(max * n_vh, 2.0f),
                          conv_w = ops_floats((size_t)s->conv_k * n_ch, 0.5f), a = ops_floats(n_vh, -0.5f),
                          dt = ops_floats(n_vh, 1.0f), norm_w = ops_floats((size_t)s->d_delta, 1.0f),
                          out = ops_floats(max * n_v, 0);
    struct kern_delta op[2];
    uint8_t *state[2];
    struct ops_step step;

    for (int i = 0; i < 2; i++)
        state[i] = ops_cleared(i, 3 * ops.kern[i]->ops->delta_state_bytes(ops.kern[i]));
    ops.n_mem++;
    ops_step_begin(&step, first);
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 2; i++) {
            op[i] = (struct kern_delta){.batch = &step.batch,
                                        .qkv = qkv.at[i],
                                        .z = z.at[i],
                                        .alpha = alpha.at[i],
                                        .beta = beta.at[i],
                                        .conv_w = conv_w.at[i],
                                        .a = a.at[i],
                                        .dt = dt.at[i],
                                        .norm_w = norm_w.at[i],
                                        .eps = 1e-6f,
                                        .state = state[i],
                                        .out = out.at[i]};
            const int r = ops.kern[i]->ops->delta(ops.kern[i], &op[i]);
            if (r < 0)
                ops_failed("delta", r);
        }
        ops_compare("delta", turn ? "out of advanced states" : "out of fresh states", &out, 1e-4);
        ops_step_next(&step, second);
    }
    ops_check_handover("delta", &op[OURS], NULL, out.at[OURS], step.batch.n_tok, (int)n_v);
    ops_release();
}

static void ops_check_attn(enum kern_kv_type type)
{
    static const char *const names[] = {"attn with f32 KV", "attn with f16 KV", "attn with q8_0 KV"};
    static const double limits[] = {1e-4, OPS_F16_KV, OPS_Q8_KV};
    static const int turns[][3] = {{30, 9, 1}, {41, 1, 1}, {1, 1, 3}};
    const struct kern_shape *s = &ops.kern[REF]->shape;
    const size_t n_q = (size_t)(s->n_qh * s->d_attn), n_kv = (size_t)(s->n_kvh * s->d_attn),
                 max = OPS_MAX_TOK;
    const struct ops_pair q = ops_floats(max * 2 * n_q, 2.0f), k = ops_floats(max * n_kv, 2.0f),
                          v = ops_floats(max * n_kv, 2.0f), q_norm = ops_floats((size_t)s->d_attn, 2.0f),
                          k_norm = ops_floats((size_t)s->d_attn, 2.0f), out = ops_floats(max * n_q, 0);
    struct kern_attn op[2];
    uint8_t *kv[2];
    struct ops_step step;
    char what[32];

    for (int i = 0; i < 2; i++)
        kv[i] =
            ops_cleared(i, 3 * OPS_MAX_CTX / KERN_PAGE_TOK * ops.kern[i]->ops->kv_page_bytes(ops.kern[i]));
    ops.n_mem++;
    ops_step_begin(&step, turns[0]);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < 2; i++) {
            op[i] = (struct kern_attn){.batch = &step.batch,
                                       .q = q.at[i],
                                       .k = k.at[i],
                                       .v = v.at[i],
                                       .q_norm = q_norm.at[i],
                                       .k_norm = k_norm.at[i],
                                       .eps = 1e-6f,
                                       .n_rot = s->d_attn / 4,
                                       .rope_base = 1e7f,
                                       .kv = kv[i],
                                       .out = out.at[i]};
            const int r = ops.kern[i]->ops->attn(ops.kern[i], &op[i]);
            if (r < 0)
                ops_failed(names[type], r);
        }
        snprintf(what, sizeof(what), "out of step %d", turn);
        ops_compare(names[type], what, &out, limits[type]);
        if (turn + 1 < 3)
            ops_step_next(&step, turns[turn + 1]);
    }
    ops_check_handover(names[type], NULL, &op[OURS], out.at[OURS], step.batch.n_tok, (int)n_q);
    ops_release();
}

/* memory */

static void ops_check_memory(void)
{
    struct kern *k = ops.kern[OURS];
    const struct ops_pair a = ops_floats(1000, 0), b = ops_floats(1000, 1.0f);
    _cleanup_(freep) float *zero = ops_take(OURS, a.at[OURS], 1000),
                           *random = ops_take(OURS, b.at[OURS], 1000);
    bool all_zero = true;
    int r;

    for (int i = 0; i < 1000; i++)
        all_zero = all_zero && zero[i] == 0;
    gpu_check(all_zero, "memory", "new memory is zero");
    r = k->ops->copy(k, a.at[OURS] + 10, b.at[OURS] + 20, 900 * sizeof(float));
    if (!r)
        r = k->ops->clear(k, b.at[OURS] + 100, 100 * sizeof(float));
    _cleanup_(freep) float *copied = ops_take(OURS, a.at[OURS], 1000),
                           *cleared = ops_take(OURS, b.at[OURS], 1000);
    gpu_check(!r && !memcmp(copied + 10, random + 20, 900 * sizeof(float)) && !copied[9] && !copied[910],
              "memory", "a copy is what was copied and nothing else");
    gpu_check(!memcmp(cleared, random, 100 * sizeof(float)) &&
                  !memcmp(cleared + 200, random + 200, 800 * sizeof(float)) &&
                  !memcmp(cleared + 100, zero, 100 * sizeof(float)),
              "memory", "what was cleared is zero and nothing else");
    ops_release();
}

/* all of them */

static bool ops_begin(const char *backend, const struct kern_shape *shape)
{
    ops.random.state = 1;
    ops.kern[REF] = gpu_open("ref");
    ops.kern[OURS] = gpu_open(backend);
    for (int i = 0; i < 2; i++) {
        const int r = ops.kern[i] ? ops.kern[i]->ops->plan(ops.kern[i], shape) : -ENODEV;
        if (r < 0) {
            ops_failed("plan", r);
            return false;
        }
    }
    return true;
}

static void ops_end(void)
{
    for (int i = 0; i < 2; i++)
        ops.kern[i] = kern_free(ops.kern[i]);
}

static void ops_run_mixers(const char *backend, struct kern_shape shape)
{
    for (int type = KERN_KV_F32; type <= KERN_KV_Q8_0; type++) {
        shape.kv_type = (enum kern_kv_type)type;
        if (ops_begin(backend, &shape)) {
            if (type == KERN_KV_F32)
                ops_check_delta();
            ops_check_attn((enum kern_kv_type)type);
        }
        ops_end();
    }
}

/* Large: of prompts two types, since ref takes seconds for each. */
static void ops_run_products(const char *backend, const struct kern_shape *shape, bool is_large)
{
    static const int n_toks[] = {1, 3, 16, 33};

    if (ops_begin(backend, shape)) {
        ops_check_memory();
        for (size_t i = 0; i < ARRAY_SIZE(ops_types); i++) {
            const int n_tok = n_toks[i % ARRAY_SIZE(n_toks)];
            ops_check_embed(ops_types[i], shape->dim);
            ops_check_norm_proj(ops_types[i], n_tok, shape->dim, shape->n_vh * shape->d_delta, i % 4 != 3);
            ops_check_proj_add(ops_types[i], n_tok, shape->dim, shape->n_qh * shape->d_attn);
            ops_check_mlp(ops_types[i], n_toks[(i + 1) % ARRAY_SIZE(n_toks)], shape->dim, shape->n_ff);
        }
        for (size_t i = OPS_FLOATS; i < (is_large ? OPS_FLOATS : ARRAY_SIZE(ops_types)); i++) {
            ops_check_norm_proj(ops_types[i], 33 + (int)i, shape->dim, shape->n_vh * shape->d_delta, true);
            ops_check_mlp(ops_types[i], 33 + (int)i, shape->dim, shape->n_ff);
        }
        ops_check_proj_add(QUANT_Q4_K, OPS_MAX_TOK, shape->dim, shape->n_qh * shape->d_attn);
        ops_check_proj_add(QUANT_Q6_K, OPS_MAX_TOK, shape->dim, shape->n_qh * shape->d_attn);
        ops_check_head(QUANT_Q6_K, shape->dim, 1000, true);
        ops_check_head(QUANT_F16, shape->dim, 50, false);
        ops_check_top(1, shape->n_vocab, 20.0f);
        ops_check_top(17, shape->n_vocab - 1, 20.0f);
        ops_check_top(2, shape->n_vocab, 0.0f);
    }
    ops_end();
}

int gpu_ops(const char *backend, int argc, char **argv)
{
    const struct kern_shape tiny = {.dim = 256,
                                    .n_ff = 512,
                                    .n_vocab = 1000,
                                    .n_qh = 4,
                                    .n_kvh = 2,
                                    .d_attn = 64,
                                    .n_kh = 2,
                                    .n_vh = 4,
                                    .d_delta = 64,
                                    .conv_k = 4,
                                    .max_tok = OPS_MAX_TOK,
                                    .max_ctx = OPS_MAX_CTX};
    const struct kern_shape large = {.dim = 4096,
                                     .n_ff = 12288,
                                     .n_vocab = 248320,
                                     .n_qh = 16,
                                     .n_kvh = 4,
                                     .d_attn = 256,
                                     .n_kh = 16,
                                     .n_vh = 32,
                                     .d_delta = 128,
                                     .conv_k = 4,
                                     .max_tok = OPS_MAX_TOK,
                                     .max_ctx = OPS_MAX_CTX};
    const bool is_large = argc == 2 && !strcmp(argv[1], "--large");

    if (argc > 1 && !is_large)
        return 2;
    ops_run_products(backend, is_large ? &large : &tiny, is_large);
    ops_run_mixers(backend, is_large ? large : tiny);
    return gpu_n_failed() > 0;
}
