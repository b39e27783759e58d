/* test_cuda_wide.cpp - the f16 products against double-precision ones of the same matrices and the same f16
 * rows: every type, odd shapes, one row and many, every order; and what f16 cannot hold. */
#include "kernels/cuda/matmul.cuh"
#include "kernels/cuda/matmul_pack.cuh"
#include "kernels/cuda/norm.cuh"

#include "tests/kernels/kt_cuda.h"

#include <math.h>
#include <stdio.h>

/* Weights are rounded to 11 bits, and their scale and minimum before: by 2.5e-4 of their size each, in any
 * direction. */
static const double OF_NORM = 1e-3, OF_RMS = 4e-3;

struct mat {
    enum quant_type type;
    int n_out, n_in;
    std::vector<float> values;
    struct kern_cuda_tiles tiles; /* with data, on the device, owned */
};

static struct mat mat_of(enum quant_type type, int n_out, int n_in, const std::vector<uint8_t> &rows)
{
    struct mat m = {type, n_out, n_in, std::vector<float>(size_t(n_out) * size_t(n_in)), {}};
    uint8_t *const src = emu_device(rows.data(), rows.size());

    quant_dequantise(type, rows.data(), m.values.data(), int64_t(m.values.size()));
    assert_int_equal(kern_cuda_tiles_shape(type, n_out, n_in, &m.tiles), 0);
    m.tiles.data = emu_device<uint8_t>(NULL, m.tiles.bytes);
    assert_int_equal(kern_cuda_pack(&m.tiles, src, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    cudaFree(src);
    return m;
}

static struct mat mat_new(enum quant_type type, int n_out, int n_in, uint64_t seed)
{
    return mat_of(type, n_out, n_in, kt_file_rows(type, n_out, n_in, seed));
}

static void mats_free(std::vector<struct mat> *mats)
{
    for (struct mat &m : *mats)
        cudaFree(m.tiles.data);
}

static std::vector<float> rows_new(int n_row, int n, uint64_t seed)
{
    std::vector<float> x(size_t(n_row) * size_t(n));

    for (float &v : x)
        v = float(int32_t(emu_next(&seed))) * 0x1p-30f;
    return x;
}

/* in rows of one length for all; results of all matrices, or those added to base */
static std::vector<std::vector<float>> run(const std::vector<struct mat> &mats, const std::vector<float> &x,
                                           bool add = false, float base = 0)
{
    const std::vector<uint16_t> h = kt_halves(x);
    std::vector<std::vector<float>> out;
    struct kern_cuda_matmul op = {};

    op.n_row = int(x.size()) / mats[0].n_in;
    op.n_mat = int(mats.size());
    op.add = add;
    op.in.h = emu_device(h.data(), h.size());
    op.in.f = emu_device(x.data(), x.size());
    op.n_sm = 2;
    for (size_t i = 0; i < mats.size(); i++) {
        out.push_back(std::vector<float>(size_t(op.n_row) * size_t(mats[i].n_out), base));
        op.mats[i] = mats[i].tiles;
        op.out[i] = emu_device(add ? out[i].data() : NULL, out[i].size());
    }
    assert_int_equal(kern_cuda_matmul_init(0), 0);
    assert_int_equal(kern_cuda_matmul_rows(&op, true, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    for (size_t i = 0; i < mats.size(); i++)
        emu_take(out[i].data(), op.out[i], out[i].size());
    cudaFree(op.in.h);
    cudaFree(op.in.f);
    return out;
}

/* Of row `row` with the values that f16 has of them. */
static std::vector<double> expected(const struct mat *m, const std::vector<float> &x, int row, double base)
{
    std::vector<double> sums(size_t(m->n_out), base), in(size_t(m->n_in));

    for (int k = 0; k < m->n_in; k++)
        in[size_t(k)] = 16 * double(half_to_float(kt_half(x[size_t(row * m->n_in + k)])));
    for (int o = 0; o < m->n_out; o++)
        for (int k = 0; k < m->n_in; k++)
            sums[size_t(o)] += double(m->values[size_t(o * m->n_in + k)]) * in[size_t(k)];
    return sums;
}

static void check_row(const struct mat *m, const float *got, const std::vector<double> &want, int n_row,
                      int row)
{
    double off = 0, size = 0, most = 0;

    for (int o = 0; o < m->n_out; o++) {
        const double diff = double(got[o]) - want[size_t(o)];
        off += diff * diff;
        size += want[size_t(o)] * want[size_t(o)];
        most = fmax(most, diff == diff ? fabs(diff) : INFINITY);
    }
    if (!(sqrt(off) <= OF_NORM * sqrt(size)) || !(most <= OF_RMS * sqrt(size / m->n_out)))
        fail_msg("%s %d x %d, row %d of %d: off by %.2e of its norm, one value by %.2e of the rms",
                 quant_find(m->type)->name, m->n_out, m->n_in, row, n_row, sqrt(off / size),
                 most / sqrt(size / m->n_out));
}

/* modes: in how many orders, which give the same bits */
static void check_product(enum quant_type type, int n_out, int n_in, int n_row, int modes)
{
    std::vector<struct mat> mats = {mat_new(type, n_out, n_in, uint64_t(n_out * n_in))};
    const std::vector<float> x = rows_new(n_row, n_in, uint64_t(n_row));
    std::vector<float> first;

    for (int mode = 0; mode < modes; mode++) {
        emu_use_mode(mode);
        const std::vector<float> out = run(mats, x)[0];
        if (mode == 0)
            first = out;
        assert_memory_equal(out.data(), first.data(), out.size() * sizeof(float));
    }
    for (int row = 0; row < n_row; row++)
        check_row(&mats[0], &first[size_t(row * n_out)], expected(&mats[0], x, row, 0), n_row, row);
    mats_free(&mats);
}

#ifdef EMU_TSAN_ON
enum { MODES = 1 };
static const bool slow = true; /* orders show in few tiles as well as in many */
#else
enum { MODES = EMU_N_MODES };
static const bool slow = false;
#endif

static void test_every_type_is_near_the_definition(void **state)
{
    for (enum quant_type type : kt_tiled) {
        check_product(type, 147, 768, 33, type == QUANT_Q4_K || type == QUANT_Q6_K ? MODES : 1);
        if (quant_find(type)->n_block == 32)
            check_product(type, 33, 416, 65, 1);
    }
}

static void test_odd_shapes(void **state)
{
    check_product(QUANT_Q8_0, 1, 32, 1, MODES);
    check_product(QUANT_Q4_0, 16, 96, 40, MODES);
    check_product(QUANT_Q5_1, 130, 288, 129, 1); /* a block of 32 values behind one of 256 */
    if (slow)
        return;
    check_product(QUANT_Q4_K, 300, 256, 300, MODES);
    check_product(QUANT_IQ4_NL, 20, 1504, 35, 1);
    check_product(QUANT_Q6_K, 40, 4096, 34, 1);
}

static void test_a_row_gives_what_it_gives_alone(void **state)
{
    std::vector<struct mat> mats = {mat_new(QUANT_Q4_K, 70, 512, 1)};
    const std::vector<float> x = rows_new(140, 512, 2);
    const std::vector<float> all = run(mats, x)[0];

    for (int row : {0, 65, 139}) {
        const std::vector<float> alone =
            run(mats, std::vector<float>(x.begin() + row * 512, x.begin() + (row + 1) * 512))[0];
        assert_memory_equal(alone.data(), &all[size_t(row * 70)], 70 * sizeof(float));
    }
    mats_free(&mats);
}

static void test_a_stack_gives_all_its_matrices(void **state)
{
    std::vector<struct mat> mats = {mat_new(QUANT_Q6_K, 140, 512, 1), mat_new(QUANT_Q4_K, 33, 512, 2),
                                    mat_new(QUANT_F32, 4, 512, 3), mat_new(QUANT_Q8_0, 4, 512, 4)};
    const std::vector<float> x = rows_new(45, 512, 5);

    for (int mode = 0; mode < MODES; mode++) {
        emu_use_mode(mode);
        const std::vector<std::vector<float>> out = run(mats, x);
        for (size_t i = 0; i < mats.size(); i++)
            for (int row = 0; row < 45; row++)
                check_row(&mats[i], &out[i][size_t(row * mats[i].n_out)], expected(&mats[i], x, row, 0), 45,
                          row);
    }
    mats_free(&mats);
}

static void test_add_adds(void **state)
{
    std::vector<struct mat> mats = {mat_new(QUANT_Q5_K, 150, 256, 1)};
    const std::vector<float> x = rows_new(135, 256, 2), out = run(mats, x)[0],
                             sums = run(mats, x, true, 1.5f)[0];

    for (size_t i = 0; i < out.size(); i++)
        if (half_bits(sums[i]) != half_bits(1.5f + out[i]))
            fail_msg("[%zu] is %a, expected 1.5 + %a", i, double(sums[i]), double(out[i]));
    mats_free(&mats);
}

/* values that f16 has not */

static void test_large_values_are_cut_and_none_is_infinite(void **state)
{
    static const float factors[] = {1, 0x1p10f, 0x1p18f, 1e7f, 1e30f}; /* of values up to 2 */
    std::vector<struct mat> mats = {mat_new(QUANT_Q4_K, 20, 256, 1)};
    std::vector<float> x = rows_new(5, 256, 2);

    for (int row = 1; row < 5; row++)
        for (int k = 0; k < 256; k++)
            x[size_t(row * 256 + k)] = x[size_t(k)] * factors[row];
    const std::vector<float> out = run(mats, x)[0];
    for (int row = 0; row < 5; row++) {
        check_row(&mats[0], &out[size_t(row * 20)], expected(&mats[0], x, row, 0), 5, row);
        if (row == 1 || row == 2) { /* to a million nothing is cut */
            std::vector<double> want = expected(&mats[0], x, 0, 0);
            for (double &v : want)
                v *= double(factors[row]);
            check_row(&mats[0], &out[size_t(row * 20)], want, 5, row);
        }
    }
    mats_free(&mats);
}

static void test_a_row_with_a_nan_or_an_infinity_is_nan_and_no_other(void **state)
{
    std::vector<struct mat> mats = {mat_new(QUANT_Q4_K, 20, 256, 1)};
    std::vector<float> x = rows_new(5, 256, 2);
    const std::vector<float> usual = run(mats, x)[0];

    x[256 + 40] = NAN;
    x[3 * 256 + 255] = INFINITY;
    const std::vector<float> out = run(mats, x)[0];
    for (int row = 0; row < 5; row++)
        for (int o = 0; o < 20; o++)
            if (row == 1 || row == 3)
                assert_true(isnan(out[size_t(row * 20 + o)]));
            else
                assert_int_equal(half_bits(out[size_t(row * 20 + o)]),
                                 half_bits(usual[size_t(row * 20 + o)]));
    mats_free(&mats);
}

/* All blocks' d, of Q8_0. */
static struct mat mat_of_scale(float d)
{
    std::vector<uint8_t> rows = kt_file_rows(QUANT_Q8_0, 20, 64, 3);
    const uint16_t h = half_from_float(d);

    for (size_t i = 0; i < rows.size(); i += 34)
        memcpy(&rows[i], &h, 2);
    return mat_of(QUANT_Q8_0, 20, 64, rows);
}

static void test_small_weights_keep_their_digits_and_large_ones_are_cut(void **state)
{
    std::vector<struct mat> mats = {mat_of_scale(1e-6f), mat_of_scale(3.9f), mat_of_scale(400),
                                    mat_of_scale(NAN)};
    const std::vector<float> x = rows_new(3, 64, 4);
    const std::vector<std::vector<float>> out = run(mats, x);

    for (int row = 0; row < 3; row++) {
        check_row(&mats[0], &out[0][size_t(row * 20)], expected(&mats[0], x, row, 0), 3, row);
        check_row(&mats[1], &out[1][size_t(row * 20)], expected(&mats[1], x, row, 0), 3, row);
        for (int o = 0; o < 20; o++) {
            assert_true(isfinite(out[2][size_t(row * 20 + o)]));
            assert_true(isnan(out[3][size_t(row * 20 + o)]));
        }
    }
    mats_free(&mats);
}

/* gate and up */

struct acts {
    std::vector<float> f;
    std::vector<uint16_t> h;
    std::vector<int8_t> q;
    std::vector<struct kern_cuda_group> group;
};

static int run_gate_up(const std::vector<struct mat> &mats, const std::vector<float> &x, struct acts *out)
{
    const std::vector<uint16_t> h = kt_halves(x);
    struct kern_cuda_gate_up op = {};
    const size_t n = x.size() / size_t(mats[0].n_in) * size_t(mats[0].n_out);

    *out = {std::vector<float>(n), std::vector<uint16_t>(n), std::vector<int8_t>(n),
            std::vector<struct kern_cuda_group>(n / KERN_CUDA_GROUP)};
    op.n_row = int(x.size()) / mats[0].n_in;
    op.in.h = emu_device(h.data(), h.size());
    op.out = {emu_device<int8_t>(NULL, n), emu_device<struct kern_cuda_group>(NULL, n / KERN_CUDA_GROUP),
              emu_device<float>(NULL, n), emu_device<uint16_t>(NULL, n)};
    op.gate = mats[0].tiles;
    op.up = mats[1].tiles;
    op.n_sm = 2;
    assert_int_equal(kern_cuda_matmul_init(0), 0);
    const int r = kern_cuda_gate_up_rows(&op, true, NULL);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    emu_take(out->q.data(), op.out.q, n);
    emu_take(out->group.data(), op.out.group, n / KERN_CUDA_GROUP);
    emu_take(out->f.data(), op.out.f, n);
    emu_take(out->h.data(), op.out.h, n);
    cudaFree(op.in.h);
    return r;
}

static void check_gate_up(enum quant_type type, int n_out, int n_in, int n_row, int mode)
{
    std::vector<struct mat> mats = {mat_new(type, n_out, n_in, 1), mat_new(type, n_out, n_in, 2)};
    const std::vector<float> x = rows_new(n_row, n_in, 3);
    struct acts out;

    emu_use_mode(mode);
    assert_int_equal(run_gate_up(mats, x, &out), 0);
    const std::vector<std::vector<float>> products = run(mats, x); /* the same sums */
    for (size_t i = 0; i < out.f.size(); i++) {
        const float g = products[0][i], want = g / (1.0f + expf(-g)) * products[1][i];
        if (half_bits(out.f[i]) != half_bits(want))
            fail_msg("%s, [%zu] is %a, expected %a", quant_find(type)->name, i, double(out.f[i]),
                     double(want));
        const struct kern_cuda_group group = out.group[i / KERN_CUDA_GROUP];
        if (!(fabsf(group.d * float(out.q[i]) - want) <= 0.501f * group.d))
            fail_msg("[%zu]: %d of %a, expected %a", i, out.q[i], double(group.d), double(want));
    }
    const std::vector<uint16_t> h = kt_halves(out.f);
    assert_memory_equal(out.h.data(), h.data(), h.size() * sizeof(uint16_t));
    mats_free(&mats);
}

static void test_gate_and_up_give_the_activations_of_down(void **state)
{
    for (int mode = 0; mode < MODES; mode++)
        check_gate_up(QUANT_Q4_K, 96, 256, 33, mode);
    check_gate_up(QUANT_Q6_K, 32, 256, 130, 2);
    check_gate_up(QUANT_Q8_0, 160, 96, 65, 3);
}

static void test_what_does_not_fit_is_refused(void **state)
{
    std::vector<struct mat> other = {mat_new(QUANT_Q4_K, 32, 256, 1), mat_new(QUANT_Q6_K, 32, 256, 2)},
                            odd = {mat_new(QUANT_Q4_K, 48, 256, 1), mat_new(QUANT_Q4_K, 48, 256, 2)};
    const std::vector<float> x = rows_new(33, 256, 3);
    struct acts out;

    assert_int_equal(run_gate_up(other, x, &out), -EINVAL); /* two types */
    assert_int_equal(run_gate_up(odd, x, &out), -EINVAL);   /* 48 results are no whole groups */
    mats_free(&other);
    mats_free(&odd);
}

/* rows by those who write them: norm here, the mixers in their own tests */
static void test_norm_writes_rows_in_the_products_order(void **state)
{
    std::vector<float> x = rows_new(3, 160, 7);
    struct kern_cuda_norm op = {};
    std::vector<uint16_t> h(x.size());

    x[5] = 3e6f;
    x[170] = NAN;
    x[171] = -INFINITY;
    op.n_row = 3;
    op.dim = 160;
    op.x = emu_device(x.data(), x.size());
    op.act.h = emu_device<uint16_t>(NULL, h.size());
    assert_int_equal(kern_cuda_norm_q8(&op, false, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    emu_take(h.data(), op.act.h, h.size());
    cudaFree(const_cast<float *>(op.x));
    const std::vector<uint16_t> want = kt_halves(x);
    assert_memory_equal(h.data(), want.data(), h.size() * sizeof(uint16_t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_is_near_the_definition),
        cmocka_unit_test(test_odd_shapes),
        cmocka_unit_test(test_a_row_gives_what_it_gives_alone),
        cmocka_unit_test(test_a_stack_gives_all_its_matrices),
        cmocka_unit_test(test_add_adds),
        cmocka_unit_test(test_large_values_are_cut_and_none_is_infinite),
        cmocka_unit_test(test_a_row_with_a_nan_or_an_infinity_is_nan_and_no_other),
        cmocka_unit_test(test_small_weights_keep_their_digits_and_large_ones_are_cut),
        cmocka_unit_test(test_gate_and_up_give_the_activations_of_down),
        cmocka_unit_test(test_what_does_not_fit_is_refused),
        cmocka_unit_test(test_norm_writes_rows_in_the_products_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
