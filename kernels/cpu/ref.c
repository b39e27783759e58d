/* ref.c - every op of kern_ops in plain C: the definition that each other backend is tested against.
 *
 * Weights are dequantised exactly, activations stay f32, sums of products run in 16 f32 lanes that are added
 * in double, everything else that is summed or exponentiated runs in double.  Formulas: docs/MODEL.md, which
 * restates transformers models/qwen3_5/modeling_qwen3_5.py for the GGUF layout.  One thread; clarity before
 * speed, except that a weight row is dequantised once per op.  How a backend rounds activations to integers
 * is its own business, and defined value by value beside it: cpu/exact.c, cuda/exact.c. */
#include <math.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/half.h"
#include "kernels/hostmem.h"

enum { REF_LANES = 16 };

struct ref {
    struct kern kern;
    struct kern_shape s; /* == kern.shape */
    float *norm;         /* [max_tok][dim] normed rows */
    float *gate, *up;    /* [max_tok][n_ff] */
    float *row;          /* [n_in_max] one dequantised weight row */
    float *mixed;        /* [2 n_kh d + n_vh d] one token of DeltaNet inputs after the convolution */
    float *head;         /* [d_attn] one normed and rotated head */
    double *score;       /* [max_ctx] */
    double *sum;         /* [max(d_attn, d_delta)] */
    int n_in_max;
};

static struct ref *ref_of(struct kern *kern)
{
    return (struct ref *)kern;
}

static int ref_n_channels(const struct kern_shape *s)
{
    return (2 * s->n_kh + s->n_vh) * s->d_delta;
}

/* arithmetic */

static float ref_dot(const float *a, const float *b, int n)
{
    float lane[REF_LANES] = {0};
    double sum = 0;
    int i = 0;

    for (; i + REF_LANES <= n; i += REF_LANES)
        for (int l = 0; l < REF_LANES; l++)
            lane[l] += a[i + l] * b[i + l];
    for (int l = 0; l < REF_LANES; l++)
        sum += (double)lane[l];
    for (; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return (float)sum;
}

/* out = x / sqrt(mean(x^2) + eps) * w.  out may be x. */
static void ref_rms(float *out, const float *x, const float *w, int n, float eps)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    const double scale = 1.0 / sqrt(sum / n + (double)eps);
    for (int i = 0; i < n; i++)
        out[i] = (float)((double)x[i] * scale * (double)w[i]);
}

static double ref_sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double ref_softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

/* set-up */

static int ref_plan(struct kern *kern, const struct kern_shape *shape)
{
    struct ref *ref = ref_of(kern);
    const struct kern_shape *s = shape;
    const int widest = MAX(MAX(s->dim, s->n_ff), MAX(s->n_qh * s->d_attn, s->n_vh * s->d_delta));

    if (ref->norm || s->max_tok < 1 || s->max_ctx < 1)
        return err_origin(-EINVAL);
    if (s->kv_type == KERN_KV_Q8_0 && s->d_attn % 32)
        return err_origin(-EINVAL);
    ref->kern.shape = ref->s = *s;
    ref->n_in_max = widest;
    ref->norm = calloc((size_t)s->max_tok * (size_t)s->dim, sizeof(float));
    ref->gate = calloc((size_t)s->max_tok * (size_t)s->n_ff, sizeof(float));
    ref->up = calloc((size_t)s->max_tok * (size_t)s->n_ff, sizeof(float));
    ref->row = calloc((size_t)widest, sizeof(float));
    ref->mixed = calloc((size_t)ref_n_channels(s), sizeof(float));
    ref->head = calloc((size_t)s->d_attn, sizeof(float));
    ref->score = calloc((size_t)s->max_ctx, sizeof(double));
    ref->sum = calloc((size_t)MAX(s->d_attn, s->d_delta), sizeof(double));
    if (!ref->norm || !ref->gate || !ref->up || !ref->row || !ref->mixed || !ref->head || !ref->score ||
        !ref->sum)
        return err_origin(-ENOMEM);
    return 0;
}

static size_t ref_mat_bytes(struct kern *kern _unused_, enum quant_type type,
                            enum kern_layout layout _unused_, int n_out, int n_in)
{
    return (size_t)n_out * quant_row_bytes(quant_find(type), n_in);
}

static int ref_mat_pack(struct kern *kern, const struct kern_pack *pack)
{
    const struct kern_mat *mat = pack->mat;

    memcpy((uint8_t *)mat->data + ref_mat_bytes(kern, mat->type, mat->layout, pack->row, mat->n_in),
           pack->src, ref_mat_bytes(kern, mat->type, mat->layout, pack->n_row, mat->n_in));
    return 0;
}

static const uint8_t *ref_mat_row(const struct kern_mat *mat, int64_t i)
{
    return mat->data + (size_t)i * quant_row_bytes(quant_find(mat->type), mat->n_in);
}

/* M [n_vh][value channel][key channel] f32, then the last conv_k - 1 rows before the convolution, oldest
 * first. */
static size_t ref_delta_matrix_floats(const struct kern_shape *s)
{
    return (size_t)s->n_vh * (size_t)s->d_delta * (size_t)s->d_delta;
}

static size_t ref_delta_state_bytes(struct kern *kern)
{
    const struct kern_shape *s = &kern->shape;

    return (ref_delta_matrix_floats(s) + (size_t)(s->conv_k - 1) * (size_t)ref_n_channels(s)) * sizeof(float);
}

/* A head of d values in the KV store.  Q8_0 as in GGUF files: per 32 values an f16 scale, then 32 int8. */
static size_t ref_kv_head_bytes(const struct kern_shape *s)
{
    switch (s->kv_type) {
    case KERN_KV_F32:
        return (size_t)s->d_attn * sizeof(float);
    case KERN_KV_F16:
        return (size_t)s->d_attn * sizeof(uint16_t);
    case KERN_KV_Q8_0:
        break;
    }
    return (size_t)s->d_attn / 32 * 34;
}

/* Page: [KERN_PAGE_TOK][k, v][n_kvh] heads. */
static size_t ref_kv_page_bytes(struct kern *kern)
{
    return (size_t)KERN_PAGE_TOK * 2 * (size_t)kern->shape.n_kvh * ref_kv_head_bytes(&kern->shape);
}

/* products */

/* out[t] = mat x[t], or += if add.   x [n_tok][n_in]   out [n_tok][n_out] */
static int ref_matmul(struct ref *ref, const struct kern_mat *mat, const float *x, int n_tok, bool add,
                      float *out)
{
    if (mat->n_in > ref->n_in_max)
        return err_origin(-EINVAL);
    for (int64_t i = 0; i < mat->n_out; i++) {
        quant_dequantise(mat->type, ref_mat_row(mat, i), ref->row, mat->n_in);
        for (int64_t t = 0; t < n_tok; t++) {
            const float y = ref_dot(ref->row, x + t * mat->n_in, mat->n_in);
            float *dst = out + t * mat->n_out + i;
            *dst = add ? *dst + y : y;
        }
    }
    return 0;
}

static void ref_norm_rows(struct ref *ref, const float *x, const float *w, float eps, int n_tok)
{
    const int64_t dim = ref->s.dim;

    for (int64_t t = 0; t < n_tok; t++)
        ref_rms(ref->norm + t * dim, x + t * dim, w, ref->s.dim, eps);
}

static int ref_embed(struct kern *kern, const struct kern_mat *table, const int32_t *ids, int n_tok, float *x)
{
    (void)kern;
    for (int64_t t = 0; t < n_tok; t++) {
        if (ids[t] < 0 || ids[t] >= table->n_out)
            return err_origin(-EINVAL);
        quant_dequantise(table->type, ref_mat_row(table, ids[t]), x + t * table->n_in, table->n_in);
    }
    return 0;
}

static int ref_norm_proj(struct kern *kern, const struct kern_norm_proj *op)
{
    struct ref *ref = ref_of(kern);
    const float *in = op->x;
    int r = 0;

    if (op->norm_w) {
        ref_norm_rows(ref, op->x, op->norm_w, op->eps, op->n_tok);
        in = ref->norm;
    }
    for (int i = 0; i < op->n_mat && r == 0; i++)
        r = ref_matmul(ref, op->mats[i], in, op->n_tok, false, op->out[i]);
    return r;
}

static int ref_proj_add(struct kern *kern, const struct kern_proj_add *op)
{
    return ref_matmul(ref_of(kern), op->mat, op->y, op->n_tok, true, op->x);
}

static int ref_mlp(struct kern *kern, const struct kern_mlp *op)
{
    struct ref *ref = ref_of(kern);
    int r;

    ref_norm_rows(ref, op->x, op->norm_w, op->eps, op->n_tok);
    r = ref_matmul(ref, op->gate, ref->norm, op->n_tok, false, ref->gate);
    if (r == 0)
        r = ref_matmul(ref, op->up, ref->norm, op->n_tok, false, ref->up);
    if (r < 0)
        return r;
    for (int64_t i = 0; i < (int64_t)op->n_tok * op->gate->n_out; i++)
        ref->gate[i] = (float)((double)ref->gate[i] * ref_sigmoid((double)ref->gate[i]) * (double)ref->up[i]);
    return ref_matmul(ref, op->down, ref->gate, op->n_tok, true, op->x);
}

static int ref_head(struct kern *kern, const struct kern_head *op)
{
    struct ref *ref = ref_of(kern);
    const int64_t dim = ref->s.dim;

    for (int64_t i = 0; i < op->n_rows; i++)
        ref_rms(ref->norm + i * dim, op->x + op->rows[i] * dim, op->norm_w, ref->s.dim, op->eps);
    if (op->hidden)
        memcpy(op->hidden, ref->norm, (size_t)op->n_rows * (size_t)dim * sizeof(float));
    return ref_matmul(ref, op->mat, ref->norm, op->n_rows, false, op->logits);
}

/* DeltaNet */

/* mixed = silu(causal convolution), then the row joins the window.
 *   qkv [n_ch]   conv [conv_k - 1][n_ch] in/out, oldest first   conv_w [conv_k][n_ch] */
static void ref_delta_conv(struct ref *ref, const float *qkv, const float *conv_w, float *conv)
{
    const int n_ch = ref_n_channels(&ref->s), n_tap = ref->s.conv_k;

    for (int c = 0; c < n_ch; c++) {
        const float *w = conv_w + c;
        double y = (double)w[(int64_t)(n_tap - 1) * n_ch] * (double)qkv[c];
        for (int j = 0; j < n_tap - 1; j++)
            y += (double)w[(int64_t)j * n_ch] * (double)conv[(int64_t)j * n_ch + c];
        ref->mixed[c] = (float)(y * ref_sigmoid(y));
    }
    if (n_tap < 2)
        return;
    memmove(conv, conv + n_ch, (size_t)(n_tap - 2) * (size_t)n_ch * sizeof(float));
    memcpy(conv + (int64_t)(n_tap - 2) * n_ch, qkv, (size_t)n_ch * sizeof(float));
}

/* x = x / sqrt(sum x^2 + 1e-6) * scale.  The 1e-6 is the model's, not the norms' eps. */
static void ref_l2(float *x, int n, double scale)
{
    double sum = 1e-6;

    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    for (int i = 0; i < n; i++)
        x[i] = (float)((double)x[i] / sqrt(sum) * scale);
}

/* One token of one value head: decay, predict, correct, read.
 *   m [d value][d key] in/out   q, k [d] L2-normalised (q also / sqrt(d))   v [d]   out [d] */
static void ref_delta_step(float *m, const float *q, const float *k, const float *v, double decay,
                           double beta, int d, double *out)
{
    for (int j = 0; j < d; j++) {
        float *row = m + (int64_t)j * d;
        double recalled = 0, read = 0;
        for (int i = 0; i < d; i++) {
            row[i] = (float)(decay * (double)row[i]);
            recalled += (double)row[i] * (double)k[i];
        }
        const double delta = beta * ((double)v[j] - recalled);
        for (int i = 0; i < d; i++) {
            row[i] = (float)((double)row[i] + delta * (double)k[i]);
            read += (double)row[i] * (double)q[i];
        }
        out[j] = read;
    }
}

/* out = rms(o) * w * silu(z) */
static void ref_delta_gate(float *out, const double *o, const float *w, const float *z, int d, float eps)
{
    double sum = 0;

    for (int j = 0; j < d; j++)
        sum += o[j] * o[j];
    const double scale = 1.0 / sqrt(sum / d + (double)eps);
    for (int j = 0; j < d; j++)
        out[j] = (float)(o[j] * scale * (double)w[j] * (double)z[j] * ref_sigmoid((double)z[j]));
}

static void ref_delta_token(struct ref *ref, const struct kern_delta *op, int64_t t, float *state)
{
    const struct kern_shape *s = &ref->s;
    const int d = s->d_delta, n_ch = ref_n_channels(s);
    float *q = ref->mixed, *k = q + s->n_kh * d, *v = k + s->n_kh * d;

    ref_delta_conv(ref, op->qkv + t * n_ch, op->conv_w, state + ref_delta_matrix_floats(s));
    for (int g = 0; g < s->n_kh; g++) {
        ref_l2(q + g * d, d, 1.0 / sqrt(d));
        ref_l2(k + g * d, d, 1.0);
    }
    for (int h = 0; h < s->n_vh; h++) {
        const int64_t at = t * s->n_vh + h;
        const double softplus = ref_softplus((double)op->alpha[at] + (double)op->dt[h]);
        ref_delta_step(state + (int64_t)h * d * d, q + h % s->n_kh * d, k + h % s->n_kh * d, v + h * d,
                       exp((double)op->a[h] * softplus), ref_sigmoid((double)op->beta[at]), d, ref->sum);
        ref_delta_gate(op->out + at * d, ref->sum, op->norm_w, op->z + at * d, d, op->eps);
    }
}

static int ref_delta(struct kern *kern, const struct kern_delta *op)
{
    const struct kern_batch *batch = op->batch;

    for (int i = 0; i < batch->n_span; i++) {
        const struct kern_span *span = &batch->spans[i];
        float *state = (float *)(op->state + (size_t)span->slot * ref_delta_state_bytes(kern));
        for (int t = 0; t < span->n_tok; t++)
            ref_delta_token(ref_of(kern), op, span->row0 + t, state);
    }
    return 0;
}

/* attention */

static void ref_kv_put_q8(uint8_t *dst, const float *x, int d)
{
    for (int b = 0; b < d; b += 32, dst += 34) {
        float most = 0, none = 0; /* NaN where x has no number, which no int8 can say */
        for (int i = 0; i < 32; i++) {
            most = fmaxf(most, fabsf(x[b + i]));
            none += 0.0f * x[b + i];
        }
        const uint16_t scale = half_from_float(most / 127.0f + none);
        const float inverse = most > 0 ? 127.0f / most : 0.0f;
        memcpy(dst, &scale, 2);
        for (int i = 0; i < 32; i++)
            dst[2 + i] = (uint8_t)(int8_t)CLAMP(lrintf(x[b + i] * inverse), -127, 127);
    }
}

/* F16 clamps to the largest finite value, so that a large value cannot turn a whole row into NaN. */
static void ref_kv_put(const struct ref *ref, uint8_t *dst, const float *x)
{
    const int d = ref->s.d_attn;

    if (ref->s.kv_type == KERN_KV_F32) {
        memcpy(dst, x, (size_t)d * sizeof(float));
    } else if (ref->s.kv_type == KERN_KV_Q8_0) {
        ref_kv_put_q8(dst, x, d);
    } else {
        for (int i = 0; i < d; i++) {
            const uint16_t h = half_from_float(CLAMP(x[i], -65504.0f, 65504.0f));
            memcpy(dst + 2 * i, &h, 2);
        }
    }
}

static void ref_kv_get(const struct ref *ref, const uint8_t *src, float *x)
{
    static const enum quant_type types[] = {
        [KERN_KV_F32] = QUANT_F32, [KERN_KV_F16] = QUANT_F16, [KERN_KV_Q8_0] = QUANT_Q8_0};

    quant_dequantise(types[ref->s.kv_type], src, x, ref->s.d_attn);
}

static uint8_t *ref_kv_head(struct ref *ref, const struct kern_attn *op, const struct kern_span *span,
                            int pos, bool is_v, int head)
{
    const size_t in_page = ((size_t)(pos % KERN_PAGE_TOK) * 2 + is_v) * (size_t)ref->s.n_kvh + (size_t)head;

    return op->kv + (size_t)span->pages[pos / KERN_PAGE_TOK] * ref_kv_page_bytes(&ref->kern) +
           in_page * ref_kv_head_bytes(&ref->s);
}

/* Norm, then rotation of pairs (i, i + n_rot / 2) by pos * base^(-2i / n_rot); the rest of the head passes
 * through. */
static void ref_rope_head(const struct kern_attn *op, const float *x, const float *norm_w, int pos, int d,
                          float *out)
{
    const int half = op->n_rot / 2;

    ref_rms(out, x, norm_w, d, op->eps);
    for (int i = 0; i < half; i++) {
        const double angle = pos * pow((double)op->rope_base, -2.0 * i / op->n_rot);
        const double a = (double)out[i], b = (double)out[i + half];
        out[i] = (float)(a * cos(angle) - b * sin(angle));
        out[i + half] = (float)(b * cos(angle) + a * sin(angle));
    }
}

static void ref_attn_store(struct ref *ref, const struct kern_attn *op, const struct kern_span *span, int t)
{
    const int d = ref->s.d_attn, pos = span->pos0 + t;
    const int64_t row = span->row0 + t;

    for (int h = 0; h < ref->s.n_kvh; h++) {
        const int64_t at = (row * ref->s.n_kvh + h) * d;
        ref_rope_head(op, op->k + at, op->k_norm, pos, d, ref->head);
        ref_kv_put(ref, ref_kv_head(ref, op, span, pos, false, h), ref->head);
        ref_kv_put(ref, ref_kv_head(ref, op, span, pos, true, h), op->v + at);
    }
}

/* score[p] = softmax over p <= pos of q . k_p / sqrt(d) */
static void ref_attn_weights(struct ref *ref, const struct kern_attn *op, const struct kern_span *span,
                             int pos, int kv_head)
{
    const int d = ref->s.d_attn;
    double most = -INFINITY, total = 0;

    for (int p = 0; p <= pos; p++) {
        ref_kv_get(ref, ref_kv_head(ref, op, span, p, false, kv_head), ref->row);
        ref->score[p] = (double)ref_dot(ref->head, ref->row, d) / sqrt(d);
        most = fmax(most, ref->score[p]);
    }
    for (int p = 0; p <= pos; p++)
        total += ref->score[p] = exp(ref->score[p] - most);
    for (int p = 0; p <= pos; p++)
        ref->score[p] /= total;
}

static void ref_attn_head(struct ref *ref, const struct kern_attn *op, const struct kern_span *span, int t,
                          int h)
{
    const int d = ref->s.d_attn, pos = span->pos0 + t, kv_head = h / (ref->s.n_qh / ref->s.n_kvh);
    const int64_t row = span->row0 + t;
    const float *q = op->q + (row * ref->s.n_qh + h) * 2 * d, *gate = q + d;
    float *out = op->out + (row * ref->s.n_qh + h) * d;

    ref_rope_head(op, q, op->q_norm, pos, d, ref->head);
    ref_attn_weights(ref, op, span, pos, kv_head);
    memset(ref->sum, 0, (size_t)d * sizeof(double));
    for (int p = 0; p <= pos; p++) {
        ref_kv_get(ref, ref_kv_head(ref, op, span, p, true, kv_head), ref->row);
        for (int i = 0; i < d; i++)
            ref->sum[i] += ref->score[p] * (double)ref->row[i];
    }
    for (int i = 0; i < d; i++)
        out[i] = (float)(ref->sum[i] * ref_sigmoid((double)gate[i]));
}

static int ref_attn(struct kern *kern, const struct kern_attn *op)
{
    struct ref *ref = ref_of(kern);

    for (int i = 0; i < op->batch->n_span; i++) {
        const struct kern_span *span = &op->batch->spans[i];
        if (span->pos0 + span->n_tok > ref->s.max_ctx)
            return err_origin(-EINVAL);
        for (int t = 0; t < span->n_tok; t++) {
            ref_attn_store(ref, op, span, t);
            for (int h = 0; h < ref->s.n_qh; h++)
                ref_attn_head(ref, op, span, t, h);
        }
    }
    return 0;
}

/* sampling */

/* Puts the candidate where it belongs among those that have come before it, which all have lower ids. */
static void ref_top_put(struct kern_top_row *row, int32_t id, float logit)
{
    int at = row->n;

    if (at == KERN_TOP && logit <= row->logits[KERN_TOP - 1])
        return;
    if (at < KERN_TOP)
        row->n++;
    else
        at--; /* the last one goes */
    for (; at > 0 && row->logits[at - 1] < logit; at--) {
        row->ids[at] = row->ids[at - 1];
        row->logits[at] = row->logits[at - 1];
    }
    row->ids[at] = id;
    row->logits[at] = logit;
}

static void ref_top_row(const float *logits, int n_vocab, int32_t asked, struct kern_top_row *row)
{
    double sum = 0;

    row->is_bad = false;
    row->n = 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        row->is_bad = row->is_bad || !(logits[i] < INFINITY); /* true for NaN as well */
        if (logits[i] > -INFINITY)
            ref_top_put(row, i, logits[i]);
    }
    if (row->is_bad)
        return;
    for (int32_t i = 0; i < n_vocab && row->n; i++)
        sum += exp((double)logits[i] - (double)row->logits[0]);
    row->lse = row->n ? (double)row->logits[0] + log(sum) : -INFINITY;
    if (asked >= 0)
        row->asked = logits[asked];
}

static int ref_top(struct kern *kern _unused_, const struct kern_top *op)
{
    for (int i = 0; i < op->n_rows; i++) {
        const int32_t asked = op->asked ? op->asked[i] : -1;

        if (asked >= op->n_vocab)
            return err_origin(-EINVAL);
        ref_top_row(op->logits + (int64_t)i * op->n_vocab, op->n_vocab, asked, &op->ret_rows[i]);
    }
    return 0;
}

/* opening */

static void ref_populate(struct kern *kern, void *at, size_t bytes)
{
    if (at)
        hostmem_populate(kern, at, bytes);
}

static void ref_free(struct kern *kern)
{
    struct ref *ref = ref_of(kern);

    freep(&ref->norm);
    freep(&ref->gate);
    freep(&ref->up);
    freep(&ref->row);
    freep(&ref->mixed);
    freep(&ref->head);
    freep(&ref->score);
    freep(&ref->sum);
    free(ref);
}

static const struct kern_ops ref_ops = {
    .name = "ref",
    .plan = ref_plan,
    .mem_alloc = hostmem_alloc,
    .mem_adopt = hostmem_adopt,
    .mem_seal = hostmem_seal,
    .mem_free = hostmem_free,
    .populate = ref_populate,
    .make_huge = hostmem_make_huge,
    .copy_in = hostmem_copy_in,
    .copy_out = hostmem_copy_out,
    .clear = hostmem_clear,
    .copy = hostmem_copy,
    .mat_bytes = ref_mat_bytes,
    .mat_pack = ref_mat_pack,
    .delta_state_bytes = ref_delta_state_bytes,
    .kv_page_bytes = ref_kv_page_bytes,
    .embed = ref_embed,
    .norm_proj = ref_norm_proj,
    .proj_add = ref_proj_add,
    .mlp = ref_mlp,
    .delta = ref_delta,
    .attn = ref_attn,
    .head = ref_head,
    .top = ref_top,
    .free = ref_free,
};

int ref_open(const struct kern_options *options, struct fault *fault, struct kern **ret_kern)
{
    struct ref *ref;

    if (options->isa && *options->isa)
        return fault_set(fault, KERN_E_ISA,
                         "backend \"ref\" has no instruction sets to choose from (asked for \"%s\")",
                         options->isa);
    ref = calloc(1, sizeof(*ref));
    if (!ref)
        return err_origin(-ENOMEM);
    ref->kern = (struct kern){.ops = &ref_ops, .n_threads = 1, .cut_tok = 1, .numerics_id = "ref-1"};
    *ret_kern = &ref->kern;
    return 0;
}
