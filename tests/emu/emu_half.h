/* emu_half.h - half, bf16 and the integer intrinsics, bit for bit as CUDA defines them.  Part of emu.h. */
#pragma once

#include "kernels/half.h"

struct __half {
    uint16_t bits;
};
struct alignas(4) __half2 {
    __half x, y;
};
struct __nv_bfloat16 {
    uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
typedef __half half;
typedef __half2 half2;

static inline __half __float2half_rn(float f)
{
    return __half{f != f ? uint16_t(0x7fff) : half_from_float(f)}; /* CUDA has one NaN */
}

static inline float __half2float(__half h)
{
    return half_to_float(h.bits);
}

static inline __half2 __floats2half2_rn(float x, float y)
{
    return __half2{__float2half_rn(x), __float2half_rn(y)};
}

static inline float2 __half22float2(__half2 h)
{
    return float2{__half2float(h.x), __half2float(h.y)};
}

static inline __half __low2half(__half2 h)
{
    return h.x;
}

static inline __half __high2half(__half2 h)
{
    return h.y;
}

static inline __half2 __halves2half2(__half x, __half y)
{
    return __half2{x, y};
}

static inline unsigned short __half_as_ushort(__half h)
{
    return h.bits;
}

static inline __half __ushort_as_half(unsigned short bits)
{
    return __half{bits};
}

/* a b + c, rounded once.  The product is exact in double.  The sum is too, but where one of the two is so
 * much smaller that it only tells to which side of the other the result lies; to odd when it becomes a float
 * keeps that. */
static inline uint16_t emu_half_fma(uint16_t a, uint16_t b, uint16_t c)
{
    const double sum = double(half_to_float(a)) * double(half_to_float(b)) + double(half_to_float(c));
    float f = float(sum);

    if (f - f == 0 && double(f) != sum && half_bits(f) % 2 == 0)
        f = half_from_bits(half_bits(f) + (fabs(double(f)) < fabs(sum) ? 1 : -1u));
    return __float2half_rn(f).bits;
}

static inline uint32_t emu_half2_fma(uint32_t a, uint32_t b, uint32_t c)
{
    return emu_half_fma(uint16_t(a), uint16_t(b), uint16_t(c)) |
           uint32_t(emu_half_fma(uint16_t(a >> 16), uint16_t(b >> 16), uint16_t(c >> 16))) << 16;
}

static inline __nv_bfloat16 __float2bfloat16_rn(float f)
{
    const uint32_t bits = half_bits(f);

    if (f != f)
        return __nv_bfloat16{0x7fff};
    return __nv_bfloat16{uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

static inline float __bfloat162float(__nv_bfloat16 h)
{
    return half_from_bf16(h.bits);
}

static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return __nv_bfloat162{__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}

static inline float2 __bfloat1622float2(__nv_bfloat162 h)
{
    return float2{__bfloat162float(h.x), __bfloat162float(h.y)};
}

static inline float __int_as_float(int i)
{
    return half_from_bits(uint32_t(i));
}

static inline float __uint_as_float(unsigned i)
{
    return half_from_bits(i);
}

static inline int __float_as_int(float f)
{
    return int(half_bits(f));
}

static inline unsigned __float_as_uint(float f)
{
    return half_bits(f);
}

/* Nearest, ties to even; NaN gives 0, what does not fit the nearest int, as cvt.rni.s32.f32 does. */
static inline int __float2int_rn(float f)
{
    if (f != f)
        return 0;
    return f >= 0x1p31f ? INT32_MAX : f < -0x1p31f ? INT32_MIN : int(rintf(f));
}

static inline int __dp4a(int a, int b, int c)
{
    unsigned sum = unsigned(c);

    for (int i = 0; i < 4; i++)
        sum += unsigned(int(int8_t(unsigned(a) >> 8 * i)) * int(int8_t(unsigned(b) >> 8 * i)));
    return int(sum);
}

static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
    for (int i = 0; i < 4; i++)
        c += (a >> 8 * i & 255) * (b >> 8 * i & 255);
    return c;
}

static inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned shift)
{
    return unsigned((uint64_t(hi) << 32 | lo) >> (shift & 31));
}

static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned shift)
{
    return unsigned((uint64_t(hi) << 32 | lo) << (shift & 31) >> 32);
}

/* Byte i of the result is byte (s >> 4 i) & 7 of x and y, or its sign eight times if bit 3 is set. */
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s)
{
    const uint64_t bytes = uint64_t(y) << 32 | x;
    unsigned out = 0;

    for (int i = 0; i < 4; i++) {
        const unsigned pick = s >> 4 * i & 15;
        const unsigned byte = unsigned(bytes >> 8 * (pick & 7)) & 255;
        out |= (pick & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
    }
    return out;
}

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

static inline int __clz(int x)
{
    return x ? __builtin_clz(unsigned(x)) : 32;
}

static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
