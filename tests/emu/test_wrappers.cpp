/* test_wrappers.cpp - everything that dev.cuh lets a kernel use, against plain scalar definitions, in every
 * order. */
#include "wrappers.cu"

#include "emu_test.h"

#include <math.h>
#include <stdio.h>

#define CHECK_EQUAL(got, want, what, i)                                                                      \
    do {                                                                                                     \
        const long long got_ = (long long)(got), want_ = (long long)(want);                                  \
        if (got_ != want_)                                                                                   \
            fail_msg("%s [%d]: %lld (%#llx), expected %lld (%#llx)", what, int(i), got_, got_, want_,        \
                     want_);                                                                                 \
    } while (0)

static void run_warp(const unsigned *in, unsigned *out)
{
    unsigned *const d_in = emu_device(in, 32), *const d_out = emu_device<unsigned>(NULL, WRAP_WARP_ROWS * 32);

    assert_int_equal(KERN_CUDA_LAUNCH(wrap_warp, 1, 32, 0, NULL, false, d_in, d_out), cudaSuccess);
    emu_take(out, d_out, WRAP_WARP_ROWS * 32);
    cudaFree(d_in);
}

/* PTX ISA, shfl.sync: what lane l reads with a segment of width w. */
static int shuffle_source(int l, int kind, int arg, int w)
{
    const int base = l / w * w;
    const int from = kind == 0 ? base + arg % w : kind == 1 ? l - arg : kind == 2 ? l + arg : (l ^ arg);

    return (kind == 1 && from < base) || (kind >= 2 && from >= base + w) ? l : from;
}

static void check_shuffles(const unsigned *in, const unsigned *out)
{
    static const int kinds[8][3] = {{0, -1, 32}, {0, 5, 8}, {1, 3, 32},  {1, 2, 16},
                                    {2, 7, 32},  {2, 1, 4}, {3, 21, 32}, {3, 9, 8}};

    for (int row = 0; row < 8; row++)
        for (int l = 0; l < 32; l++) {
            const int *k = kinds[row], arg = k[1] < 0 ? int(in[l] % 32) : k[1];
            CHECK_EQUAL(out[row * 32 + l], in[shuffle_source(l, k[0], arg, k[2])], "shuffle", row * 32 + l);
        }
}

static void check_votes(const unsigned *in, const unsigned *out)
{
    unsigned ballot = 0, sum = 0, parity[2] = {0, 0};
    int most = INT32_MIN, least = INT32_MAX;
    unsigned umost = 0, uleast = UINT32_MAX, fsum = 0;

    for (int l = 0; l < 32; l++) {
        ballot |= unsigned((in[l] & 4) != 0) << l;
        sum += in[l];
        parity[l % 2] += in[l];
        fsum += in[l] % 64;
        most = int(in[l]) > most ? int(in[l]) : most;
        least = int(in[l]) < least ? int(in[l]) : least;
        umost = in[l] > umost ? in[l] : umost;
        uleast = in[l] < uleast ? in[l] : uleast;
    }
    for (int l = 0; l < 32; l++) {
        unsigned same = 0, top = 0, four = 0;
        for (int m = 0; m < 32; m++) {
            same |= unsigned(in[m] % 4 == in[l] % 4) << m;
            top = m / 8 == l / 8 && in[m] % 4096 > top ? in[m] % 4096 : top;
            four += m / 4 == l / 4 ? in[m] % 1024 : 0;
        }
        const unsigned want[14] = {
            ballot,        1,    1,   same, 0, 0, sum, sum, unsigned(least) ^ uleast, unsigned(most) ^ umost,
            parity[l % 2], fsum, top, four};
        for (int row = 8; row < WRAP_WARP_ROWS; row++)
            CHECK_EQUAL(out[row * 32 + l], want[row - 8], "vote or reduction", row * 32 + l);
    }
}

static void test_warp_collectives_are_as_defined(void **state)
{
    unsigned in[32], out[WRAP_WARP_ROWS * 32];
    uint64_t seed = 3;

    for (int i = 0; i < 32; i++)
        in[i] = emu_next(&seed);
    for (int mode = 0; mode < EMU_N_MODES; mode++) {
        emu_use_mode(mode);
        run_warp(in, out);
        check_shuffles(in, out);
        check_votes(in, out);
    }
}

static void test_match_all_says_when_all_agree(void **state)
{
    unsigned in[32], out[WRAP_WARP_ROWS * 32];

    for (int i = 0; i < 32; i++)
        in[i] = 5000000u + unsigned(i);
    run_warp(in, out);
    for (int l = 0; l < 32; l++) {
        CHECK_EQUAL(out[12 * 32 + l], KC_ALL_LANES, "match_all", l);
        CHECK_EQUAL(out[13 * 32 + l], 1, "match_all", l);
    }
}

/* integers and conversions */

static int scalar_dp4a(uint32_t a, uint32_t b, uint32_t c, bool is_signed)
{
    int64_t sum = is_signed ? int64_t(int32_t(c)) : int64_t(c);

    for (int i = 0; i < 4; i++) {
        const uint8_t x = uint8_t(a >> 8 * i), y = uint8_t(b >> 8 * i);
        sum += is_signed ? int64_t(int8_t(x)) * int8_t(y) : int64_t(x) * y;
    }
    return int(uint32_t(uint64_t(sum)));
}

static void check_int(const unsigned *in, const unsigned *out, int n, int i)
{
    const unsigned a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2], s = c & 31;
    const unsigned high = a >> (b & 31), low = a << (b & 31);
    uint8_t bytes[8];
    unsigned perm = 0, bits = 0, zeros = 0;

    memcpy(bytes, &a, 4);
    memcpy(bytes + 4, &b, 4);
    for (int j = 0; j < 4; j++)
        perm |= unsigned(bytes[c >> 4 * j & 7]) << 8 * j;
    for (int j = 0; j < 32; j++)
        bits += a >> j & 1;
    while (zeros < 32 && !(high >> (31 - zeros) & 1))
        zeros++;
    unsigned first = 0;
    while (first < 32 && !(low >> first & 1))
        first++;
    const unsigned want[WRAP_INT_ROWS] = {unsigned(scalar_dp4a(a, b, c, true)),
                                          unsigned(scalar_dp4a(a, b, c, false)),
                                          s ? a >> s | b << (32 - s) : a,
                                          s ? b << s | a >> (32 - s) : b,
                                          perm,
                                          bits,
                                          zeros,
                                          first == 32 ? 0 : first + 1,
                                          unsigned(int(lrint(double(int(a)) / 65536.0))),
                                          (a >> 2) + (b >> 2)};
    for (int row = 0; row < 10; row++)
        if (row != 8 || fabs(double(int(a))) < 0x1p24) /* above, the quotient itself is rounded */
            CHECK_EQUAL(out[row * n + i], want[row], "integer intrinsic, row", row);
    const double exact = double(half_from_bits(0x3f800000u | a >> 9)) * 3.0 + double(0.1f);
    CHECK_EQUAL(out[10 * n + i], half_bits(float(exact)), "fmaf", i);
    CHECK_EQUAL(out[12 * n + i], (a & b) | c, "kc_and_or", i);
    const double e = exp(double(float(int(b)) / 1e9f)), got = double(half_from_bits(out[11 * n + i]));
    if (fabs(got - e) > 2e-7 * e)
        fail_msg("expf: %g, expected %g", got, e);
}

static void test_integer_intrinsics_are_as_defined(void **state)
{
    enum { N = 1000 };
    static unsigned in[3 * N], out[WRAP_INT_ROWS * N];
    uint64_t seed = 5;

    for (int i = 0; i < 3 * N; i++)
        in[i] = emu_next(&seed) >> (i % 7 == 3 ? 9 : 0);
    unsigned *const d_in = emu_device(in, 3 * N), *const d_out =
                                                      emu_device<unsigned>(NULL, WRAP_INT_ROWS * N);
    assert_int_equal(KERN_CUDA_LAUNCH(wrap_int, (N + 95) / 96, 96, 0, NULL, false, d_in, d_out, N),
                     cudaSuccess);
    emu_take(out, d_out, WRAP_INT_ROWS * N);
    cudaFree(d_in);
    for (int i = 0; i < N; i++)
        check_int(in, out, N, i);
}

/* The value of f16 bits, from the definition; NaN for NaN. */
static double scalar_half(uint16_t h)
{
    const int e = h >> 10 & 31, m = h & 1023;
    const double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);

    return h >> 15 ? -v : v;
}

static void test_half_conversions_round_to_nearest_even(void **state)
{
    enum { N = 65536 };
    static float in[N];
    static unsigned out[WRAP_HALF_ROWS * N];
    uint64_t seed = 7;

    for (int i = 0; i < N; i++) /* all sizes, and values half-way between two halves */
        in[i] = i % 2 ? half_from_bits(emu_next(&seed))
                      : float((scalar_half(uint16_t(i)) + scalar_half(uint16_t(i + 1))) / 2);
    float *const d_in = emu_device(in, N);
    unsigned *const d_out = emu_device<unsigned>(NULL, WRAP_HALF_ROWS * N);
    assert_int_equal(KERN_CUDA_LAUNCH(wrap_half, N / 256, 256, 0, NULL, false, d_in, d_out, N), cudaSuccess);
    emu_take(out, d_out, WRAP_HALF_ROWS * N);
    cudaFree(d_in);
    for (int i = 0; i < N; i++) {
        const uint16_t h = uint16_t(out[i]);
        const double x = double(in[i]), v = scalar_half(h), y = double(half_from_bits(out[4 * N + i]));
        const float all = half_from_bits(out[N + i]);
        if (isnan(scalar_half(uint16_t(i))) ? !isnan(all) : double(all) != scalar_half(uint16_t(i)))
            fail_msg("half %#x is %g, expected %g", unsigned(i), double(all), scalar_half(uint16_t(i)));
        if (isnan(x)) {
            assert_int_equal(h, 0x7fff);
            continue;
        }
        const double up = scalar_half(uint16_t(h + 1)), down = h & 0x7fff ? scalar_half(uint16_t(h - 1)) : 0;
        if (isinf(v) ? fabs(x) < 65520
                     : fabs(x - v) > fabs(x - up) || (h & 0x7fff && fabs(x - v) > fabs(x - down)))
            fail_msg("%a to half: %g, but %g or %g is nearer", x, v, up, down);
        if (!isinf(v) && (h & 1) && (fabs(x - v) == fabs(x - up) || fabs(x - v) == fabs(x - down)))
            fail_msg("%a to half: a tie gave the odd %#x", x, h);
        if (fabs(x) < 1e38 && fabs(x) > 1e-37 && fabs(y - x) > fabs(x) / 256)
            fail_msg("%a to bf16: %a", x, y);
        CHECK_EQUAL(out[3 * N + i], half_bits(float(v)), "the half in front", i);
        CHECK_EQUAL(out[5 * N + i], out[4 * N + i], "bf16 pair", i);
        CHECK_EQUAL(out[7 * N + i], half_bits(float(sqrt(fabs(x)))), "sqrtf", i);
    }
}

__extension__ typedef __int128 scalar_exact; /* of 2^-48: sums of products of halves */

static scalar_exact scalar_of(uint16_t h)
{
    return scalar_exact(ldexp(scalar_half(h), 24));
}

/* By magnitudes; what lies above the largest half is 2^16, which got is then: an infinity. */
static void check_half_fma(uint16_t got, uint16_t a, uint16_t b, uint16_t c)
{
    const scalar_exact unit = 1 << 24, above = unit << 16;
    const scalar_exact sum = scalar_of(a) * scalar_of(b) + scalar_of(c) * unit, want = got >> 15 ? -sum : sum;
    const uint16_t size = got & 0x7fff;
    const scalar_exact v = (size == 0x7c00 ? above : scalar_of(size)) * unit,
                       up = (size >= 0x7bff ? above : scalar_of(uint16_t(size + 1))) * unit,
                       down = (size ? scalar_of(uint16_t(size - 1)) : -1) * unit;

    if (size > 0x7c00)
        fail_msg("%#x * %#x + %#x gave a NaN", a, b, c);
    if (size < 0x7c00 && (2 * want > v + up || (2 * want == v + up && got & 1)))
        fail_msg("%#x * %#x + %#x gave %#x, above is nearer", a, b, c, got);
    if (2 * want < v + down || (2 * want == v + down && got & 1))
        fail_msg("%#x * %#x + %#x gave %#x, below is nearer", a, b, c, got);
}

/* Random finite halves; every other c is about the product, so that digits cancel or lie side by side. */
static void test_half2_arithmetic_rounds_once(void **state)
{
    enum { N = 20480 };
    static unsigned in[3 * N], out[WRAP_HALF2_ROWS * N];
    uint64_t seed = 11;

    for (int i = 0; i < 3 * N; i++) {
        in[i] = emu_next(&seed) & 0xbbffbbffu; /* no exponent of all ones */
        if (i % 6 == 5)
            for (int e = 0; e < 32; e += 16) {
                const double product =
                    scalar_half(uint16_t(in[i - 2] >> e)) * scalar_half(uint16_t(in[i - 1] >> e));
                const uint16_t near = half_from_float(float(-product));
                if ((near & 0x7c00) != 0x7c00)
                    in[i] = (in[i] & ~(0xffffu << e)) | unsigned(near) << e;
            }
    }
    unsigned *const d_in = emu_device(in, 3 * N), *const d_out =
                                                      emu_device<unsigned>(NULL, WRAP_HALF2_ROWS * N);
    assert_int_equal(KERN_CUDA_LAUNCH(wrap_half2, N / 256, 256, 0, NULL, false, d_in, d_out, N), cudaSuccess);
    emu_take(out, d_out, WRAP_HALF2_ROWS * N);
    cudaFree(d_in);
    for (int i = 0; i < N; i++)
        for (int e = 0; e < 32; e += 16) {
            const uint16_t a = uint16_t(in[3 * i] >> e), b = uint16_t(in[3 * i + 1] >> e),
                           c = uint16_t(in[3 * i + 2] >> e);
            check_half_fma(uint16_t(out[i] >> e), a, 0x3c00, c);
            check_half_fma(uint16_t(out[N + i] >> e), a, b, 0);
            check_half_fma(uint16_t(out[2 * N + i] >> e), a, b, c);
            CHECK_EQUAL(out[3 * N + i] >> e & 0xffff, in[3 * i] & 0xffff, "the low half", i);
            CHECK_EQUAL(out[4 * N + i] >> e & 0xffff, in[3 * i] >> 16, "the high half", i);
        }
}

/* matrices */

template <int K, bool U>
static void check_mma_s8(uint64_t seed)
{
    int8_t a[16 * K], b[8 * K];
    int d[16 * 8], want[16 * 8];

    for (int i = 0; i < 16 * K; i++)
        a[i] = int8_t(emu_next(&seed));
    for (int i = 0; i < 8 * K; i++)
        b[i] = int8_t(emu_next(&seed));
    for (int i = 0; i < 16 * 8; i++)
        d[i] = want[i] = int(emu_next(&seed) >> 4);
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++)
            for (int k = 0; k < K; k++)
                want[i * 8 + j] += (U ? int(uint8_t(a[i * K + k])) : a[i * K + k]) * b[j * K + k];
    int8_t *const d_a = emu_device(a, 16 * K), *const d_b = emu_device(b, 8 * K);
    int *const d_d = emu_device(d, 16 * 8);
    assert_int_equal(KERN_CUDA_LAUNCH((wrap_mma_s8<K, U>), 1, 32, 0, NULL, false, d_a, d_b, d_d),
                     cudaSuccess);
    emu_take(d, d_d, 16 * 8);
    cudaFree(d_a);
    cudaFree(d_b);
    for (int i = 0; i < 16 * 8; i++)
        CHECK_EQUAL(d[i], want[i], K == 32 ? "mma s8 k32" : "mma s8 k16", i);
}

template <bool BF16>
static void check_mma_float(uint64_t seed)
{
    uint16_t a[16 * 16], b[16 * 8];
    float d[16 * 8], was[16 * 8];

    for (int i = 0; i < 16 * 16; i++)
        a[i] = uint16_t(emu_next(&seed) % 0x800 + (BF16 ? 0x3f00 : 0x3800));
    for (int i = 0; i < 16 * 8; i++)
        b[i] = uint16_t((emu_next(&seed) % 0x800 + (BF16 ? 0x3f00 : 0x3800)) | (i % 3 ? 0x8000 : 0));
    for (int i = 0; i < 16 * 8; i++)
        d[i] = was[i] = float(i) / 7;
    uint16_t *const d_a = emu_device(a, 16 * 16), *const d_b = emu_device(b, 16 * 8);
    float *const d_d = emu_device(d, 16 * 8);
    assert_int_equal(KERN_CUDA_LAUNCH(wrap_mma_float<BF16>, 1, 32, 0, NULL, false, d_a, d_b, d_d),
                     cudaSuccess);
    emu_take(d, d_d, 16 * 8);
    cudaFree(d_a);
    cudaFree(d_b);
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) {
            double want = double(was[i * 8 + j]);
            for (int k = 0; k < 16; k++)
                want += BF16 ? double(half_from_bf16(a[i * 16 + k])) * double(half_from_bf16(b[k * 8 + j]))
                             : scalar_half(a[i * 16 + k]) * scalar_half(b[k * 8 + j]);
            if (fabs(double(d[i * 8 + j]) - want) > 1e-5 * (1 + fabs(want)))
                fail_msg("mma %s [%d][%d]: %g, expected %g", BF16 ? "bf16" : "f16", i, j,
                         double(d[i * 8 + j]), want);
        }
}

static void test_matrix_products_are_as_defined(void **state)
{
    for (int mode = 0; mode < EMU_N_MODES; mode++) {
        emu_use_mode(mode);
        check_mma_s8<32, false>(11);
        check_mma_s8<32, true>(15);
        check_mma_s8<16, false>(12);
        check_mma_float<false>(13);
        check_mma_float<true>(14);
    }
}

static void test_ldmatrix_gives_each_lane_its_two_values(void **state)
{
    static const struct {
        int row0, n;
        bool trans;
    } parts[] = {{0, 1, false}, {1, 2, false}, {3, 4, false}, {7, 1, true}, {8, 2, true}, {10, 4, true}};
    uint16_t in[4 * 64];
    uint32_t out[14 * 32];

    for (int i = 0; i < 4 * 64; i++)
        in[i] = uint16_t(i * 257);
    uint16_t *const d_in = emu_device(in, 4 * 64);
    uint32_t *const d_out = emu_device<uint32_t>(NULL, 14 * 32);
    assert_int_equal(KERN_CUDA_LAUNCH(wrap_ldmatrix, 1, 32, sizeof(in), NULL, false, d_in, d_out),
                     cudaSuccess);
    emu_take(out, d_out, 14 * 32);
    cudaFree(d_in);
    for (const auto &p : parts)
        for (int m = 0; m < p.n; m++)
            for (int l = 0; l < 32; l++) {
                const uint16_t *const mat = in + m * 64;
                const int r = l / 4, c = l % 4 * 2;
                const uint16_t lo = p.trans ? mat[c * 8 + r] : mat[r * 8 + c];
                const uint16_t hi = p.trans ? mat[(c + 1) * 8 + r] : mat[r * 8 + c + 1];
                CHECK_EQUAL(out[(p.row0 + m) * 32 + l], lo | uint32_t(hi) << 16, "ldmatrix",
                            (p.row0 + m) * 32 + l);
            }
}

/* copies, atomics */

static void test_async_copies_arrive_at_the_wait_of_their_group(void **state)
{
    enum { N_STAGE = 7, N = N_STAGE * 64, VALID = 6 * 64 + 52 };
    uint32_t in[N], out[N];

    for (int i = 0; i < N; i++)
        in[i] = uint32_t(i) * 2654435761u;
    for (int mode = 0; mode < EMU_N_MODES; mode++) {
        emu_use_mode(mode);
        uint32_t *const d_in = emu_device(in, N), *const d_out = emu_device<uint32_t>(NULL, N);
        assert_int_equal(KERN_CUDA_LAUNCH(wrap_copies, 1, 64, 0, NULL, false, d_in, d_out, N_STAGE, VALID),
                         cudaSuccess);
        emu_take(out, d_out, N);
        cudaFree(d_in);
        for (int i = 0; i < N; i++)
            CHECK_EQUAL(out[i], i < VALID ? in[i] : 0, "copied word", i);
    }
}

static void test_atomics_count_every_thread(void **state)
{
    enum { BLOCKS = 5 };
    const uint4 weight = {1, 2, 3, 4};

    for (int mode = 0; mode < EMU_N_MODES; mode++) {
        unsigned u[4] = {0, 0, 0xffffffffu, 0};
        float f = 0;
        uint4 last;
        emu_use_mode(mode);
        unsigned *const d_u = emu_device(u, 4);
        float *const d_f = emu_device(&f, 1);
        uint4 *const d_w = emu_device(&weight, 1), *const d_last = emu_device<uint4>(NULL, BLOCKS);
        for (int i = 0; i < BLOCKS; i++) /* a block a launch: `last` is one place */
            assert_int_equal(KERN_CUDA_LAUNCH(wrap_atomics, 1, 96, 0, NULL, true, d_u, d_f, d_w, d_last),
                             cudaSuccess);
        emu_take(u, d_u, 4);
        emu_take(&f, d_f, 1);
        cudaMemcpy(&last, d_last, sizeof(last), cudaMemcpyDeviceToHost);
        cudaFree(d_w);
        cudaFree(d_last);
        CHECK_EQUAL(u[0], BLOCKS * 96, "sum of the blocks' counts", 0);
        CHECK_EQUAL(u[1], 95, "atomicMax", 0);
        CHECK_EQUAL(u[2], 0, "atomicCAS", 0);
        CHECK_EQUAL(u[3], 7, "atomicExch", 0);
        CHECK_EQUAL(f * 2, BLOCKS * 96, "atomicAdd of floats", 0);
        CHECK_EQUAL(last.w, 4, "ld_stream", 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warp_collectives_are_as_defined),
        cmocka_unit_test(test_match_all_says_when_all_agree),
        cmocka_unit_test(test_integer_intrinsics_are_as_defined),
        cmocka_unit_test(test_half_conversions_round_to_nearest_even),
        cmocka_unit_test(test_half2_arithmetic_rounds_once),
        cmocka_unit_test(test_matrix_products_are_as_defined),
        cmocka_unit_test(test_ldmatrix_gives_each_lane_its_two_values),
        cmocka_unit_test(test_async_copies_arrive_at_the_wait_of_their_group),
        cmocka_unit_test(test_atomics_count_every_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
