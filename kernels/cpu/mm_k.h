/* mm_k.h - one block of a Q4_K, Q5_K, Q6_K or IQ4_XS panel taken apart, and what becomes of its integer sums.
 *
 * For mm_k.c and mm_tile.c, which differ in how they multiply, not in what.  exact.c defines the values. */
#pragma once

#include "isa_fn.h"

#include "kernels/blocks.h"

/* Scales of one block, taken apart as far as pays. */
struct mm_k_scales {
    vb low[4]; /* Q4_K, Q5_K: scale bytes of groups 0..3, 4..7, then mins.  Q6_K: bytes.  IQ4_XS: low[0]
                  nibbles */
    vi top;    /* IQ4_XS */
};

VEC struct mm_k_scales mm_k_scales(enum panel_kind kind, const uint8_t *main, const uint8_t *side)
{
    struct mm_k_scales s = {0};

    if (kind == PANEL_Q6K) {
        for (int i = 0; i < 4; i++)
            s.low[i] = vb_load(main + PANEL_Q6_SCALE + 64 * i);
    } else if (kind == PANEL_IQ4XS) {
        s.low[0] = vb_load(main + PANEL_IQ4_SCALE);
        s.top = vi_load_u16(side + 32);
    } else {
        const vb m0f = vb_set1(0x0f), m30 = vb_set1(0x30), hi = vb_load(main + PANEL_K_TOP);
        const vb lo03 = vb_load(main + PANEL_K_LO03), lo47 = vb_load(main + PANEL_K_LO47);
        s.low[0] = vb_or(vb_and(lo03, m0f), vb_and(vb_sll16(hi, 4), m30));
        s.low[1] = vb_or(vb_and(lo47, m0f), vb_and(hi, m30));
        s.low[2] = vb_or(vb_and(vb_srl16(lo03, 4), m0f), vb_and(vb_sll16(hi, 2), m30));
        s.low[3] = vb_or(vb_and(vb_srl16(lo47, 4), m0f), vb_and(vb_srl16(hi, 2), m30));
    }
    return s;
}

/* Scale of group g (of 16 for Q6_K, else of 32), per lane. */
VEC vi mm_k_scale(enum panel_kind kind, const struct mm_k_scales *s, int g)
{
    if (kind == PANEL_Q6K)
        return vi_sra(vi_sll(s->low[g >> 2], 24 - 8 * (g & 3)), 24);
    if (kind == PANEL_IQ4XS) {
        const vb low = vb_and(vi_srl(s->low[0], 8 * (g & 3) + 4 * (g >> 2)), vi_set1(15));
        const vb top = vb_and(vi_sll(vi_srl(s->top, 2 * g), 4), vi_set1(0x30));
        return vi_sub(vb_or(low, top), vi_set1(32));
    }
    return vb_and(vi_srl(s->low[g >> 2], 8 * (g & 3)), vi_set1(255));
}

/* 16-bit pair i: what multiplies the activation sums (act.h's order).  Q4_K, Q5_K: mins; the others: scales.
 */
VEC vb mm_k_pair(enum panel_kind kind, const struct mm_k_scales *s, int i)
{
    if (kind == PANEL_Q6K)
        return i & 1 ? vb_sra16(s->low[i >> 1], 8) : vb_sra16(vb_sll16(s->low[i >> 1], 8), 8);
    if (kind == PANEL_IQ4XS) {
        const int g = (i >> 1) * 4 + (i & 1);
        return vb_or(vb_and(mm_k_scale(kind, s, g), vi_set1(0xffff)), vi_sll(mm_k_scale(kind, s, g + 2), 16));
    }
    const vb mins = s->low[2 + (i >> 1)];
    return vb_and(i & 1 ? vb_srl16(mins, 8) : mins, vi_set1(0x00ff00ff));
}

/* Codes of quad (4 k) of group of 32 g. */
VEC vb mm_k_codes(enum panel_kind kind, const uint8_t *main, int g, int quad, vb table)
{
    const int qs = kind == PANEL_Q6K ? PANEL_Q6_QS : kind == PANEL_IQ4XS ? PANEL_IQ4_QS : PANEL_K_QS;
    const uint8_t *at = main + qs + ((g >> 1) * 8 + quad) * 64;
    const vb low = vb_set1(0x0f), v = g & 1 ? vb_and(vb_srl16(vb_load(at), 4), low) : vb_and_load(at, low);

    if (kind == PANEL_IQ4XS)
        return vb_lookup(table, v);
    if (kind == PANEL_Q5K) {
        const vb hi = vb_load(main + PANEL_K_QH + quad * 64);
        return vb_or(v, vb_and(g < 4 ? vb_sll16(hi, 4 - g) : vb_srl16(hi, g - 4), vb_set1(0x10)));
    }
    if (kind == PANEL_Q6K) {
        const vb hi = vb_load(main + PANEL_Q6_QH + ((g >> 2) * 8 + quad) * 64);
        const int by = 4 - 2 * (g & 3);
        return vb_or(v, vb_and(by >= 0 ? vb_sll16(hi, by) : vb_srl16(hi, -by), vb_set1(0x30)));
    }
    return v;
}

/* What IQ4_XS codes stand for, with offset added; of no meaning for the others. */
VEC vb mm_k_table(enum panel_kind kind, int offset)
{
    uint8_t iq4[16];

    if (kind != PANEL_IQ4XS)
        return vb_set1(0);
    for (int i = 0; i < 16; i++)
        iq4[i] = (uint8_t)(block_iq4_values[i] + offset);
    return vb_table(iq4);
}

/* sum of min_g (Q4_K, Q5_K) or scale_g (the others) times the row's group sums */
VEC vi mm_k_sums(enum panel_kind kind, const struct mm_k_scales *s, const struct act256 *x)
{
    const int n_pair = kind == PANEL_Q6K ? 8 : 4;
    const int16_t *sums = kind == PANEL_Q6K ? x->sum16 : x->sum32;
    vi r = vi_zero();

#pragma GCC unroll 8
    for (int i = 0; i < n_pair; i++)
        r = vi_dot_i16(r, mm_k_pair(kind, s, i), sums + 2 * i);
    return r;
}

/* s of codes as mm_k_codes() has them, with IQ4_XS's of mm_k_table(128): takes off what they carry beyond the
 * value. */
VEC vi mm_k_less_offset(enum panel_kind kind, vi s, vi sums)
{
    if (kind == PANEL_Q6K)
        return vi_sub(s, vi_sll(sums, 5));
    if (kind == PANEL_IQ4XS && VEC_OFF128_BIAS)
        return vi_sub(s, vi_sll(sums, 7));
    return s;
}

VEC bool mm_k_has_min(enum panel_kind kind)
{
    return kind == PANEL_Q4K || kind == PANEL_Q5K;
}

struct mm_k_floats { /* of a block, per lane; m: where mm_k_has_min() */
    vf d, m;
};

VEC struct mm_k_floats mm_k_floats(enum panel_kind kind, const uint8_t *side)
{
    return (struct mm_k_floats){
        .d = vf_load_f16((const uint16_t *)side),
        .m = mm_k_has_min(kind) ? vf_load_f16((const uint16_t *)(side + 32)) : vf_set1(0.0f),
    };
}

/* f + (float(s) d - float(sums) m) xd */
VEC vf mm_k_finish(enum panel_kind kind, vi s, vi sums, const struct mm_k_floats *w, float xd, vf f)
{
    vf t = vf_mul(vf_from_vi(s), w->d);

    if (mm_k_has_min(kind))
        t = vf_fnma(vf_from_vi(sums), w->m, t);
    return vf_fma(t, vf_set1(xd), f);
}
