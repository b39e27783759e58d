/* isa.h - what one instruction set provides: a table of functions over rows, panels, heads.
 *
 * All tables compute the same bits; exact.c and the words of vec.h say which.  Chosen once, in cpu.c. */
#pragma once

#include "act.h"

/* Products of consecutive panels with consecutive rows: out[t][16 p + lane] = sum over k.
 * One row's value never depends on n_tok, n_panel or its place. */
struct mm_args {
    const uint8_t *panels; /* first panel */
    size_t panel_bytes;
    const uint8_t *next; /* what the thread reads after them, to be fetched ahead; NULL: what follows them */
    int n_panel, n_in, n_tok;
    const uint8_t *act; /* the tile of the first row */
    size_t tile_bytes;
    float *out; /* [n_tok rounded up to ACT_TILE][ld], overwritten */
    int ld;
    void *scratch; /* isa.scratch_bytes, 64-byte aligned */
};
enum { MM_ROWS_MAX = 512, /* n_tok */ MM_PANELS = 4 /* of many rows, at once */ };
typedef void (*mm_fn)(const struct mm_args *a);

/* One head of one sequence through the convolution: y = silu(conv(u)), q and k heads L2-normalised.
 *   u, y   rows of stride floats, d channels each
 *   w      [n_tap] rows, conv [n_tap - 1] rows, both of conv_stride floats; conv oldest first, in/out
 * norm_scale 0: no normalisation, else x / sqrt(sum x^2 + 1e-6) * norm_scale. */
struct conv_args {
    const float *u, *w;
    float *y, *conv;
    int64_t stride, conv_stride;
    int n_tok, d, n_tap;
    float norm_scale;
};

/* The gated delta rule of one value head over consecutive rows of one sequence, then norm and gate.
 *   q, k, v  rows of stride floats, [d]      decay, beta  rows of n_vh floats, this head's first
 *   z, out   rows of z_stride floats, [d]    norm_w [d]
 *   m        [slice of 64 value channels][key d][channels of the slice] in/out */
struct scan_args {
    const float *q, *k, *v, *decay, *beta, *z, *norm_w;
    float *m, *out;
    int64_t stride, z_stride;
    int n_tok, d, n_vh;
    float eps;
};

/* KV page of one head: K then V, each 64 positions.
 *   F32, F16: K [d][64], V [64][d]
 *   Q8_0:     K f16 scale [d / 32][64], int8 [d][64]; V f16 scale [64][d / 32], int8 [64][d] */
struct kv_head {
    enum kern_kv_type type;
    int d;
};
static inline size_t kv_half_bytes(struct kv_head h) /* of K or of V */
{
    const size_t n = (size_t)h.d * KERN_PAGE_TOK;

    return h.type == KERN_KV_F32 ? n * 4 : h.type == KERN_KV_F16 ? n * 2 : n + n / 32 * 2;
}

/* Attention of the query heads that read one KV head, for consecutive rows of one sequence.
 *   q [n_head][d] of a row, normed, rotated, scaled by 1 / sqrt(d); gate of head h at gate + h gate_stride;
 * out [n_head][d]; the next row's stride floats on, the gates' 2 stride kv + page * page_bytes: this KV
 * head's part of a page.
 *
 * Every ATTN_SECTION positions have a softmax of their own, and the sections of a row are joined in order: so
 * whether one thread does all of them or several one each, and joins them later, changes no bits. */
enum {
    ATTN_HEADS = 4, /* query heads per pass; more are done in groups */
    ATTN_ROWS = 16,
    ATTN_SECTION = 16 * KERN_PAGE_TOK,
};
struct attn_args {
    struct kv_head head;
    int n_head, n_row,
        n_pos; /* positions 0..n_pos - 1 are visible to the first row, one more to each after it */
    int64_t stride;
    const int32_t *pages;
    const uint8_t *kv;
    size_t page_bytes;
    const float *q, *gate;
    int64_t gate_stride;
    float *out;
    float *score, *acc, *joined; /* scratch: [ATTN_HEADS][64], twice [n_row][ATTN_HEADS][d] */
    int section;                 /* only that one, into sections; -1: all of them, into out */
    float *sections;             /* [n_row][n_head][n_section][attn_section_floats()] */
    int n_section;
    int64_t section_stride; /* floats from one row's sections to the next's */
};

/* Of one row and head: acc [d], the sum of exp(score - largest), the largest score, and what fills a line. */
static inline int attn_section_floats(int d)
{
    return d + 16;
}

static inline int attn_n_sections(int n_pos)
{
    return CEIL_DIV(n_pos, ATTN_SECTION);
}

struct isa {
    const char *name;
    int slowness; /* about how many times as long as the quickest set it needs for the same */
    mm_fn mm[PANEL_KIND_N];
    int many_panels; /* instead of MM_PANELS where the blocks are of 256 */
    size_t scratch_bytes;
    /* out = x / sqrt(mean(x^2) + eps) * w; out may be x */
    void (*rms)(float *out, const float *x, const float *w, int n, float eps);
    /* One row of n_in values into place row (0..ACT_TILE - 1) of a tile. */
    void (*act[ACT_KIND_N])(uint8_t *tile, int row, const float *x, int n_in);
    float (*read)(const uint8_t *data,
                  size_t bytes); /* of no meaning, but takes all of it; bytes % 64 == 0 */
    void (*swiglu)(float *out, const float *gate, const float *up, int n); /* silu(gate) * up */
    /* decay = exp(a softplus(alpha + dt)), beta = sigmoid(raw); n = n_vh */
    void (*gates)(float *decay, float *beta, const float *alpha, const float *raw, const float *a,
                  const float *dt, int n);
    void (*conv)(const struct conv_args *args);
    void (*scan)(const struct scan_args *args);
    /* x normed, rotated by cos_sin [n_rot / 2][2], times scale; out may be x */
    void (*rope)(float *out, const float *x, const float *w, int d, float eps, int n_rot,
                 const float *cos_sin, float scale);
    void (*kv_put)(struct kv_head head, uint8_t *kv, int at, const float *k, const float *v);
    void (*attn)(const struct attn_args *args);
    void (*attn_join)(const struct attn_args *args); /* sections into out */
};

extern const struct isa isa_scalar;
#if defined(__x86_64__)
extern const struct isa isa_avx2, isa_avxvnni, isa_avx512, isa_amx;
#elif defined(__aarch64__)
extern const struct isa isa_neon, isa_i8mm;
#endif
