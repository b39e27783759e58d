/* half.h - 16-bit floats without hardware help: the same bits on every machine, NaN and subnormals included.
 *
 * Used where a file or a KV page is read value by value; the fast paths use the machine's own conversions,
 * which IEEE 754 makes equal to these. */
#pragma once

#include <stdint.h>
#include <string.h>

static inline float half_from_bits(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof(f));
    return f;
}

static inline uint32_t half_bits(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static inline float half_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = (h >> 10) & 31, man = h & 1023;

    if (exp == 31)
        return half_from_bits(sign | 0x7f800000u | man << 13);
    if (exp)
        return half_from_bits(sign | (exp + 112) << 23 | man << 13);
    const float tiny = (float)man * 0x1p-24f; /* zero or subnormal: man units of 2^-24, exact */
    return sign ? -tiny : tiny;
}

/* Round to nearest, ties to even; overflow gives infinity. */
static inline uint16_t half_from_float(float f)
{
    const uint32_t bits = half_bits(f), sign = bits >> 16 & 0x8000, mag = bits & 0x7fffffffu;

    if (mag > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00);
    if (mag >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (mag < 0x38800000u) { /* below 2^-14: adding 0.5 leaves the rounded subnormal in the low bits */
        const uint32_t r = half_bits(half_from_bits(mag) + 0.5f);
        return (uint16_t)(sign | (r - 0x3f000000u));
    }
    const uint32_t odd = mag >> 13 & 1;
    return (uint16_t)(sign | (mag - 0x38000000u + 0xfff + odd) >> 13);
}

static inline float half_from_bf16(uint16_t h)
{
    return half_from_bits((uint32_t)h << 16);
}
