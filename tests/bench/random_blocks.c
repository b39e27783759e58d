/* random_blocks.c - see random_blocks.h.  Quants are uniform random bits; only the scales are chosen.
 * Deviations: b uniform bits have deviation sqrt((4^b - 1) / 12), i.e. 4.61 for 4 bits, 9.23 for 5, 18.47 for
 * 6, 73.9 for 8. */
#include "tests/bench/random_blocks.h"

#include <math.h>
#include <string.h>

/* Splitmix64 seeds xoshiro256**, both by Blackman and Vigna (prng.di.unimi.it): 5.6 GB in seconds. */
void random_init(struct random_source *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        r->s[i] = z ^ z >> 31;
    }
}

static uint64_t random_rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static uint64_t random_next(struct random_source *r)
{
    uint64_t *s = r->s, result = random_rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = random_rotl(s[3], 45);
    return result;
}

static void random_bytes(struct random_source *r, uint8_t *dst, size_t n)
{
    for (; n >= 8; n -= 8, dst += 8) {
        uint64_t v = random_next(r);

        memcpy(dst, &v, 8);
    }
    for (; n; n--)
        *dst++ = (uint8_t)(random_next(r) >> 56);
}

static float random_uniform(struct random_source *r, float lo, float hi)
{
    return lo + (hi - lo) * (float)(random_next(r) >> 40) * 0x1p-24f;
}

/* Cut towards zero.  Scales of wide rows are subnormal halves, in real files too. */
static uint16_t random_half(float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    int e = (int)(bits >> 23 & 0xff) - 127 + 15;
    if (e <= 0)
        return (uint16_t)((bits >> 16 & 0x8000) | (uint32_t)(fabsf(v) * 0x1p24f));
    return (uint16_t)((bits >> 16 & 0x8000) | (uint32_t)e << 10 | (bits >> 13 & 0x3ff));
}

static void random_put_half(uint8_t *dst, float v)
{
    uint16_t h = random_half(v);

    memcpy(dst, &h, sizeof(h));
}

/* plain values */
static float random_value(struct random_source *r, enum fill fill, float sigma)
{
    switch (fill) {
    case FILL_NORM:
        return random_uniform(r, 0.9f, 1.1f);
    case FILL_CONV:
        return random_uniform(r, -0.5f, 0.5f);
    case FILL_DECAY:
        return random_uniform(r, -8.0f, -0.5f);
    case FILL_DT:
        return random_uniform(r, -6.0f, -2.0f);
    case FILL_MATRIX:
        break;
    }
    return random_uniform(r, -1.7320508f * sigma, 1.7320508f * sigma);
}

static void random_plain(enum quant_type type, float v, uint8_t *dst)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    if (type == QUANT_F16)
        random_put_half(dst, v);
    else if (type == QUANT_BF16)
        memcpy(dst, (uint8_t *)&bits + 2, 2);
    else
        memcpy(dst, &v, 4);
}

/* blocks */
/* Eight scales and eight minima of 6 bits in 12 bytes (ggml's get_scale_min_k4); each minimum equals its
 * scale, so that dmin = d * mean(q) centres the values. */
static void random_k_scales(struct random_source *r, uint8_t *dst)
{
    uint64_t bits = random_next(r);
    uint8_t s[8];

    for (int j = 0; j < 8; j++)
        s[j] = (uint8_t)(24 + (bits >> 8 * j & 31)); /* 24 .. 55, mean 39.5 */
    for (int j = 0; j < 4; j++) {
        dst[j] = dst[j + 4] = (uint8_t)(s[j] | s[j + 4] >> 4 << 6);
        dst[j + 8] = (uint8_t)((s[j + 4] & 15) * 17);
    }
}

/* Q4_K and Q5_K: f16 d, f16 dmin, scales, quants.  value = d s q - dmin s. */
static void random_q45_k(struct random_source *r, bool five, float sigma, size_t n_bytes, uint8_t *dst)
{
    float d = sigma / ((five ? 9.23f : 4.61f) * 39.5f);

    random_put_half(dst, d);
    random_put_half(dst + 2, d * (five ? 15.5f : 7.5f));
    random_k_scales(r, dst + 4);
    random_bytes(r, dst + 16, n_bytes - 16);
}

/* Q6_K: quants, 16 int8 scales, f16 d.  value = d s (q - 32); scales of both signs, since the mean of q
 * is 31.5. */
static void random_q6_k(struct random_source *r, float sigma, uint8_t *dst)
{
    random_bytes(r, dst, 208);
    for (int j = 0; j < 16; j++)
        dst[192 + j] =
            (uint8_t)((dst[192 + j] & 31) + 24) ^ (dst[192 + j] & 128 ? 0xff : 0); /* +-(24 .. 56) */
    random_put_half(dst + 208, sigma / (18.47f * 40.0f));
}

/* Q4_0 and Q8_0: f16 d, quants.  value = d q with q signed and of mean -0.5: the sign of d alternates. */
static void random_q_0(struct random_source *r, float sigma, float deviation, size_t n_bytes, uint8_t *dst)
{
    random_bytes(r, dst, n_bytes);
    random_put_half(dst, dst[0] & 1 ? sigma / deviation : -sigma / deviation);
}

bool random_can_fill(enum quant_type type)
{
    switch (type) {
    case QUANT_F32:
    case QUANT_F16:
    case QUANT_BF16:
    case QUANT_Q4_0:
    case QUANT_Q8_0:
    case QUANT_Q4_K:
    case QUANT_Q5_K:
    case QUANT_Q6_K:
        return true;
    default:
        return false;
    }
}

void random_blocks(struct random_source *r, enum quant_type type, enum fill fill, int n_in, size_t n_blocks,
                   uint8_t *dst)
{
    size_t n_bytes = (size_t)quant_find(type)->n_bytes;
    float sigma = 1.0f / sqrtf((float)n_in);

    for (size_t i = 0; i < n_blocks; i++, dst += n_bytes) {
        if (type == QUANT_Q4_K || type == QUANT_Q5_K)
            random_q45_k(r, type == QUANT_Q5_K, sigma, n_bytes, dst);
        else if (type == QUANT_Q6_K)
            random_q6_k(r, sigma, dst);
        else if (type == QUANT_Q4_0 || type == QUANT_Q8_0)
            random_q_0(r, sigma, type == QUANT_Q4_0 ? 4.61f : 73.9f, n_bytes, dst);
        else
            random_plain(type, random_value(r, fill, sigma), dst);
    }
}
