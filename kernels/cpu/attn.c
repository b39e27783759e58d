/* attn.c - rope, KV pages, and attention of the query heads that share a KV head.
 *
 * Compiled once per instruction set.  The pages of a section (isa.h) are visited in order with an online
 * softmax, and a row sees the same operations whatever else is in the step: heads of one row are done
 * together (they see the same positions), rows one after the other, page by page, so that a page comes from
 * memory once for all of them. In K a lane is a position, in V a channel, so neither product sums across
 * lanes. */
#include "isa_fn.h"

#include "kernels/half.h"

enum { ATTN_Q8 = 32 }; /* values per scale */

void ISA_FN(attn_rope)(float *out, const float *x, const float *w, int d, float eps, int n_rot,
                       const float *cos_sin, float scale)
{
    const int half = n_rot / 2;

    ISA_FN(norm_rms)(out, x, w, d, eps);
    for (int i = 0; i < half; i++) {
        const float a = out[i], b = out[i + half], c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
        out[i] = a * c - b * s;
        out[i + half] = b * c + a * s;
    }
    for (int i = 0; i < d; i++)
        out[i] *= scale;
}

/* storing */

static void attn_put_f16(struct kv_head head, uint8_t *kv, int at, const float *k, const float *v)
{
    const vf lo = vf_set1(-65504.0f),
             hi = vf_set1(65504.0f); /* infinity would spread to every row that sees it; a NaN is to */
    uint16_t *kk = (uint16_t *)kv, *vv = kk + head.d * KERN_PAGE_TOK, h[16];

    for (int i = 0; i < head.d; i += 16) {
        vf_store_f16(vv + at * head.d + i, vf_min(hi, vf_max(lo, vf_load(v + i))));
        vf_store_f16(h, vf_min(hi, vf_max(lo, vf_load(k + i))));
        for (int j = 0; j < 16; j++)
            kk[(i + j) * KERN_PAGE_TOK + at] = h[j];
    }
}

static void attn_put_q8(struct kv_head head, uint8_t *kv, int at, const float *k, const float *v)
{
    const int n_scale = head.d / ATTN_Q8;
    uint16_t *k_scale = (uint16_t *)kv, *v_scale = (uint16_t *)(kv + kv_half_bytes(head)) + at * n_scale;
    int8_t *k_q = (int8_t *)(k_scale + n_scale * KERN_PAGE_TOK) + at, q[ATTN_Q8];
    int8_t *v_q = (int8_t *)(kv + kv_half_bytes(head)) + n_scale * KERN_PAGE_TOK * 2 + at * head.d;

    for (int b = 0; b < n_scale; b++) {
        k_scale[b * KERN_PAGE_TOK + at] = half_from_float(norm_quantise(q, k + b * ATTN_Q8, ATTN_Q8));
        for (int j = 0; j < ATTN_Q8; j++)
            k_q[(b * ATTN_Q8 + j) * KERN_PAGE_TOK] = q[j];
        v_scale[b] = half_from_float(norm_quantise(v_q + b * ATTN_Q8, v + b * ATTN_Q8, ATTN_Q8));
    }
}

void ISA_FN(attn_kv_put)(struct kv_head head, uint8_t *kv, int at, const float *k, const float *v)
{
    float *kk = (float *)kv;

    if (head.type == KERN_KV_F16) {
        attn_put_f16(head, kv, at, k, v);
    } else if (head.type == KERN_KV_Q8_0) {
        attn_put_q8(head, kv, at, k, v);
    } else {
        for (int i = 0; i < head.d; i++)
            kk[i * KERN_PAGE_TOK + at] = k[i];
        memcpy(kk + head.d * KERN_PAGE_TOK + at * head.d, v, (size_t)head.d * sizeof(float));
    }
}

/* reading */

/* K value i of positions 16 col.. of a page; scale: of its 32 values (Q8_0). */
VEC vf attn_k(enum kern_kv_type type, const uint8_t *kv, int d, int i, int col, vf scale)
{
    const int at = i * KERN_PAGE_TOK + 16 * col;

    if (type == KERN_KV_F32)
        return vf_load((const float *)kv + at);
    if (type == KERN_KV_F16)
        return vf_load_f16((const uint16_t *)kv + at);
    return vf_mul(vf_load_i8((const int8_t *)kv + d / ATTN_Q8 * KERN_PAGE_TOK * 2 + at), scale);
}

/* V values i.. of position pos; v is the V half of the page. */
VEC vf attn_v(enum kern_kv_type type, const uint8_t *v, int d, int pos, int i)
{
    if (type == KERN_KV_F32)
        return vf_load((const float *)v + pos * d + i);
    if (type == KERN_KV_F16)
        return vf_load_f16((const uint16_t *)v + pos * d + i);
    const float scale = half_to_float(((const uint16_t *)v)[pos * (d / ATTN_Q8) + i / ATTN_Q8]);
    return vf_mul(vf_load_i8((const int8_t *)v + d / ATTN_Q8 * KERN_PAGE_TOK * 2 + pos * d + i),
                  vf_set1(scale));
}

/* Of half a page, the lines that are fetched ahead with step i, so many with each.  The row that meets a
 * page first asks for its V with its K, and for the next page's K with its V: neither is read in an order
 * that a core foresees. */
VEC void attn_prefetch(const uint8_t *ahead, int i, int lines)
{
    for (int j = 0; j < lines; j++)
        vec_prefetch(ahead + 64 * (i * lines + j));
}

static int attn_lines(const struct attn_args *a, const uint8_t *ahead, int n_steps)
{
    return ahead ? (int)(kv_half_bytes(a->head) / 64) / n_steps : 0;
}

/* score[h][16 col..] = q_h . k for VEC_COLS vectors of positions */
VEC void attn_scores(enum kern_kv_type type, int n_head, const struct attn_args *a, const uint8_t *kv,
                     const float *q, int col, const uint8_t *ahead, float *score)
{
    const int d = a->head.d, lines = attn_lines(a, ahead, KERN_PAGE_TOK / 16 / VEC_COLS * d);
    vf s[VEC_HEADS][VEC_COLS], scale[VEC_COLS];

#pragma GCC unroll 4
    for (int j = 0; j < VEC_COLS; j++) {
        scale[j] = vf_set1(1.0f);
#pragma GCC unroll 4
        for (int h = 0; h < n_head; h++)
            s[h][j] = vf_set1(0.0f);
    }
    for (int i = 0; i < d; i++) {
        attn_prefetch(ahead, col / VEC_COLS * d + i, lines);
#pragma GCC unroll 4
        for (int j = 0; j < VEC_COLS; j++) {
            if (type == KERN_KV_Q8_0 && i % ATTN_Q8 == 0)
                scale[j] = vf_load_f16((const uint16_t *)kv + i / ATTN_Q8 * KERN_PAGE_TOK + 16 * (col + j));
            const vf k = attn_k(type, kv, d, i, col + j, scale[j]);
#pragma GCC unroll 4
            for (int h = 0; h < n_head; h++)
                s[h][j] = vf_fma(vf_set1(q[h * d + i]), k, s[h][j]);
        }
    }
#pragma GCC unroll 4
    for (int h = 0; h < n_head; h++)
#pragma GCC unroll 4
        for (int j = 0; j < VEC_COLS; j++)
            vf_store(score + h * KERN_PAGE_TOK + 16 * (col + j), s[h][j]);
}

struct attn_sum {
    float most;
    vf total, rescale; /* all lanes equal */
};

/* score of n positions becomes exp(score - most); sum->rescale is what earlier pages shrink by. */
VEC void attn_softmax(float *score, int n, struct attn_sum *sum)
{
    vf s[KERN_PAGE_TOK / 16], most = vf_set1(-INFINITY);

#pragma GCC unroll 4
    for (int j = 0; j < KERN_PAGE_TOK / 16; j++) {
        s[j] = vf_first_n(vf_load(score + 16 * j), CLAMP(n - 16 * j, 0, 16), -INFINITY);
        most = vf_max(s[j], most);
    }
    const float top = vf_max_lane(most), now = top > sum->most ? top : sum->most;
#pragma GCC unroll 4
    for (int j = 0; j < KERN_PAGE_TOK / 16; j++) {
        s[j] = vf_exp(vf_sub(s[j], vf_set1(now)));
        vf_store(score + 16 * j, s[j]);
    }
    sum->rescale = vf_exp(vf_set1(sum->most - now));
    const float added = vf_sum(vf_add(vf_add(s[0], s[1]), vf_add(s[2], s[3])));
    sum->total = vf_fma(sum->total, sum->rescale, vf_set1(added));
    sum->most = now;
}

/* acc[h][i..] = acc rescale + sum over n positions of score v, for n_vec vectors of channels */
VEC void attn_mix(enum kern_kv_type type, int n_head, int n_vec, const struct attn_args *a, const uint8_t *v,
                  int n, int i, const uint8_t *ahead, const float *score, const struct attn_sum *sum,
                  float *acc)
{
    const int d = a->head.d, lines = attn_lines(a, ahead, d / 16 / n_vec * KERN_PAGE_TOK);
    vf o[VEC_HEADS][VEC_COLS];

#pragma GCC unroll 4
    for (int h = 0; h < n_head; h++)
#pragma GCC unroll 4
        for (int j = 0; j < n_vec; j++)
            o[h][j] = vf_mul(vf_load(acc + h * d + i + 16 * j), sum[h].rescale);
    for (int pos = 0; pos < n; pos++) {
        attn_prefetch(ahead, i / 16 / n_vec * KERN_PAGE_TOK + pos, lines);
#pragma GCC unroll 4
        for (int j = 0; j < n_vec; j++) {
            const vf x = attn_v(type, v, d, pos, i + 16 * j);
#pragma GCC unroll 4
            for (int h = 0; h < n_head; h++)
                o[h][j] = vf_fma(vf_set1(score[h * KERN_PAGE_TOK + pos]), x, o[h][j]);
        }
    }
#pragma GCC unroll 4
    for (int h = 0; h < n_head; h++)
#pragma GCC unroll 4
        for (int j = 0; j < n_vec; j++)
            vf_store(acc + h * d + i + 16 * j, o[h][j]);
}

/* One row's n positions of a page.  first: it comes from memory; then next is the page after it, or NULL. */
VEC void attn_page(enum kern_kv_type type, int n_head, const struct attn_args *a, const uint8_t *kv, int n,
                   bool first, const uint8_t *next, const float *q, struct attn_sum *sum, float *acc)
{
    const uint8_t *v = kv + kv_half_bytes(a->head);
    int i = 0;

    for (int col = 0; 16 * col < n; col += VEC_COLS)
        attn_scores(type, n_head, a, kv, q, col, first ? v : NULL, a->score);
    for (int h = 0; h < n_head; h++)
        attn_softmax(a->score + h * KERN_PAGE_TOK, n, &sum[h]);
    for (; i + 16 * VEC_COLS <= a->head.d; i += 16 * VEC_COLS)
        attn_mix(type, n_head, VEC_COLS, a, v, n, i, next, a->score, sum, acc);
    for (; i < a->head.d; i += 16)
        attn_mix(type, n_head, 1, a, v, n, i, NULL, a->score, sum, acc);
}

/* joining */

/* sum and joined become those of all sections so far, from those of the ones before and of one more. */
VEC void attn_add(int d, struct attn_sum *sum, float *joined, const struct attn_sum *more, const float *acc)
{
    const float most = more->most > sum->most ? more->most : sum->most;
    const vf old = vf_exp(vf_set1(sum->most - most)), new = vf_exp(vf_set1(more->most - most));

    for (int i = 0; i < d; i += 16)
        vf_store(joined + i, vf_fma(vf_load(joined + i), old, vf_mul(vf_load(acc + i), new)));
    sum->total = vf_fma(sum->total, old, vf_mul(more->total, new));
    sum->most = most;
}

/* out = joined / total, gated; of one head */
VEC void attn_finish(const struct attn_args *a, int row, int head, const struct attn_sum *sum,
                     const float *joined)
{
    const int d = a->head.d;
    const float *gates = a->gate + 2 * row * a->stride + head * a->gate_stride;
    float *out = a->out + row * a->stride + head * d;

    for (int i = 0; i < d; i += 16) {
        const vf mixed = vf_div(vf_load(joined + i), sum->total);
        vf_store(out + i, vf_mul(mixed, vf_sigmoid(vf_load(gates + i))));
    }
}

static float *attn_section(const struct attn_args *a, int row, int head, int section)
{
    return a->sections + row * a->section_stride +
           (int64_t)(head * a->n_section + section) * attn_section_floats(a->head.d);
}

static void attn_keep(const struct attn_args *a, int row, int head, const struct attn_sum *sum,
                      const float *acc)
{
    float *kept = attn_section(a, row, head, a->section);

    memcpy(kept, acc, (size_t)a->head.d * sizeof(float));
    vf_store(kept + a->head.d, sum->total);
    kept[a->head.d + 1] = sum->most;
}

void ISA_FN(attn_join)(const struct attn_args *a)
{
    const int d = a->head.d;

    for (int r = 0; r < a->n_row; r++)
        for (int h = 0; h < a->n_head; h++) {
            float *joined = attn_section(a, r, h, 0);
            struct attn_sum sum = {.total = vf_set1(joined[d]), .most = joined[d + 1]};
            for (int i = 1; i < attn_n_sections(a->n_pos + r); i++) {
                const float *kept = attn_section(a, r, h, i);
                const struct attn_sum more = {.total = vf_set1(kept[d]), .most = kept[d + 1]};
                attn_add(d, &sum, joined, &more, kept);
            }
            attn_finish(a, r, h, &sum, joined);
        }
}

/* The first row that sees position pos. */
VEC int attn_first_row(const struct attn_args *a, int pos)
{
    return MAX(0, pos + 1 - a->n_pos);
}

VEC const uint8_t *attn_kv(const struct attn_args *a, int pos)
{
    return a->kv + (size_t)a->pages[pos / KERN_PAGE_TOK] * a->page_bytes;
}

/* n_head query heads from h0 on, of all rows that see some of a section. */
VEC void attn_of_section(enum kern_kv_type type, int n_head, const struct attn_args *a, int h0, int section,
                         struct attn_sum (*sum)[VEC_HEADS], float *acc)
{
    const int d = a->head.d, ld = n_head * d, from = section * ATTN_SECTION;
    const int end = MIN(from + ATTN_SECTION, a->n_pos + a->n_row - 1);

    for (int r = 0; r < a->n_row; r++)
        for (int h = 0; h < n_head; h++)
            sum[r][h] =
                (struct attn_sum){.most = -INFINITY, .total = vf_set1(0.0f), .rescale = vf_set1(0.0f)};
    memset(acc, 0, (size_t)(a->n_row * ld) * sizeof(float));
    for (int pos = from; pos < end; pos += KERN_PAGE_TOK) {
        const uint8_t *kv = attn_kv(a, pos),
                      *next = pos + KERN_PAGE_TOK < end ? attn_kv(a, pos + KERN_PAGE_TOK) : NULL;
        const int first = attn_first_row(a, pos);
        for (int r = first; r < a->n_row; r++)
            attn_page(type, n_head, a, kv, MIN(KERN_PAGE_TOK, a->n_pos + r - pos), r == first,
                      r == first ? next : NULL, a->q + r * a->stride + h0 * d, sum[r], acc + r * ld);
    }
}

VEC void attn_heads(enum kern_kv_type type, int n_head, const struct attn_args *a, int h0)
{
    const int d = a->head.d, ld = n_head * d, first = MAX(a->section, 0);
    const int end = a->section < 0 ? attn_n_sections(a->n_pos + a->n_row - 1) : first + 1;
    struct attn_sum sum[ATTN_ROWS][VEC_HEADS], more[ATTN_ROWS][VEC_HEADS];

    for (int i = first; i < end; i++) {
        const bool is_more = i > first;
        attn_of_section(type, n_head, a, h0, i, is_more ? more : sum, is_more ? a->acc : a->joined);
        for (int r = attn_first_row(a, i * ATTN_SECTION); is_more && r < a->n_row; r++)
            for (int h = 0; h < n_head; h++)
                attn_add(d, &sum[r][h], a->joined + r * ld + h * d, &more[r][h], a->acc + r * ld + h * d);
    }
    for (int r = attn_first_row(a, first * ATTN_SECTION); r < a->n_row; r++)
        for (int h = 0; h < n_head; h++)
            if (a->section < 0)
                attn_finish(a, r, h0 + h, &sum[r][h], a->joined + r * ld + h * d);
            else
                attn_keep(a, r, h0 + h, &sum[r][h], a->joined + r * ld + h * d);
}

static void attn_rows_f32(const struct attn_args *a)
{
    for (int h = 0; h < a->n_head; h++)
        attn_heads(KERN_KV_F32, 1, a, h);
}

static void attn_rows_f16(const struct attn_args *a)
{
    int h = 0;

    for (; h + VEC_HEADS <= a->n_head; h += VEC_HEADS)
        attn_heads(KERN_KV_F16, VEC_HEADS, a, h);
    for (; h + 2 <= a->n_head; h += 2)
        attn_heads(KERN_KV_F16, 2, a, h);
    for (; h < a->n_head; h++)
        attn_heads(KERN_KV_F16, 1, a, h);
}

static void attn_rows_q8(const struct attn_args *a)
{
    int h = 0;

    for (; h + VEC_HEADS <= a->n_head; h += VEC_HEADS)
        attn_heads(KERN_KV_Q8_0, VEC_HEADS, a, h);
    for (; h < a->n_head; h++)
        attn_heads(KERN_KV_Q8_0, 1, a, h);
}

void ISA_FN(attn_rows)(const struct attn_args *args)
{
    if (args->head.type == KERN_KV_F32)
        attn_rows_f32(args);
    else if (args->head.type == KERN_KV_F16)
        attn_rows_f16(args);
    else
        attn_rows_q8(args);
}
