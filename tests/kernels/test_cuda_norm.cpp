/* test_cuda_norm.cpp - norm_q8 against the formula in double, in every order with the same bits. */
#include "kernels/cuda/norm.cuh"

#include "tests/emu/emu_test.h"

#include <math.h>
#include <stdio.h>
#include <vector>

struct rows {
    int n_row, dim;
    std::vector<float> x, w;
    std::vector<int8_t> q;
    std::vector<struct kern_cuda_group> group;
    std::vector<float> f;
    std::vector<int32_t> rows; /* empty: all of them */
    bool plain;                /* no norm */
};
static const float eps = 1e-6f;

/* Rows of very different size, one of them zero, one with a single large value. */
static struct rows rows_new(int n_row, int dim, uint64_t seed)
{
    struct rows r = {n_row, dim, {}, {}, {}, {}, {}, {}, false};

    for (int t = 0; t < n_row; t++)
        for (int i = 0; i < dim; i++) {
            const float v = float(int32_t(emu_next(&seed))) * 0x1p-31f;
            r.x.push_back(t % 5 == 3                   ? 0.0f
                          : t % 5 == 2                 ? v * 1e-4f
                          : t % 5 == 1 && i == dim / 2 ? 900.0f
                                                       : v * 3.0f);
        }
    for (int i = 0; i < dim; i++)
        r.w.push_back(1.0f + float(int32_t(emu_next(&seed))) * 0x1p-32f);
    r.q.resize(size_t(n_row) * size_t(dim));
    r.group.resize(r.q.size() / KERN_CUDA_GROUP);
    r.f.resize(r.q.size());
    return r;
}

static int run(struct rows *r)
{
    float *const x = emu_device(r->x.data(), r->x.size()), *const w = emu_device(r->w.data(), r->w.size());
    int32_t *const rows = r->rows.empty() ? NULL : emu_device(r->rows.data(), r->rows.size());
    const struct kern_cuda_act act = {emu_device<int8_t>(NULL, r->q.size()),
                                      emu_device<struct kern_cuda_group>(NULL, r->group.size()),
                                      emu_device<float>(NULL, r->f.size())};
    const struct kern_cuda_norm op = {
        rows ? int(r->rows.size()) : r->n_row, r->dim, x, r->plain ? NULL : w, eps, act, rows};
    cudaStream_t stream;

    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    const int result = kern_cuda_norm_q8(&op, true, stream);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    emu_take(r->q.data(), act.q, r->q.size());
    emu_take(r->group.data(), act.group, r->group.size());
    emu_take(r->f.data(), act.f, r->f.size());
    cudaFree(x);
    cudaFree(w);
    cudaFree(rows);
    return result;
}

/* Group j of row t: d within f32's rounding, each q the nearest but for ties that f32 and double see
 * differently, the sum exact. */
static void check_group(const struct rows *r, int t, int j, double scale)
{
    const size_t at = size_t(t) * size_t(r->dim) + size_t(j) * KERN_CUDA_GROUP;
    const struct kern_cuda_group g = r->group[at / KERN_CUDA_GROUP];
    const double d = double(g.d);
    double most = 0;
    int sum = 0;

    for (size_t i = 0; i < KERN_CUDA_GROUP; i++) {
        const double w = r->plain ? 1 : double(r->w[size_t(j) * KERN_CUDA_GROUP + i]);
        const double v = double(r->x[at + i]) * scale * w, rounding = 2e-6 * fabs(v);
        most = fmax(most, fabs(v));
        sum += r->q[at + i];
        if (fabs(double(r->f[at + i]) - v) > rounding || fabs(d * r->q[at + i] - v) > 0.5 * d + rounding ||
            r->q[at + i] < -127)
            fail_msg("[%d][%d]: %g, %d times %g, expected %g", t, int(i) + j * KERN_CUDA_GROUP,
                     double(r->f[at + i]), r->q[at + i], d, v);
    }
    if (fabs(d - most / 127) > 2e-6 * most)
        fail_msg("row %d group %d: d is %g, expected %g", t, j, d, most / 127);
    if (half_bits(g.dsum) != half_bits(g.d * float(sum)))
        fail_msg("row %d group %d: dsum is %a, expected %a", t, j, double(g.dsum), double(g.d * float(sum)));
}

static void check_rows(const struct rows *r)
{
    for (int t = 0; t < r->n_row; t++) {
        double squares = 0;
        for (int i = 0; i < r->dim; i++)
            squares += double(r->x[size_t(t) * size_t(r->dim) + size_t(i)]) *
                       double(r->x[size_t(t) * size_t(r->dim) + size_t(i)]);
        for (int j = 0; j < r->dim / KERN_CUDA_GROUP; j++)
            check_group(r, t, j, r->plain ? 1 : 1 / sqrt(squares / r->dim + double(eps)));
    }
}

#ifdef EMU_TSAN_ON
static const int n_rows[] = {1, 3}; /* rows are blocks: neighbours race or they do not */
static const int dims[] = {32, 288, 1056, 4128};
#else
static const int n_rows[] = {1, 2, 3, 7};
static const int dims[] = {32, 64, 96, 256, 288, 1024, 1056, 2560, 4096, 5120, 17408, KERN_CUDA_NORM_MAX};
#endif

static void test_norm_q8_rounds_the_formula(void **state)
{
    for (int dim : dims)
        for (int n_row : n_rows) {
            if (dim > 4096 && n_row > 2)
                continue; /* long */
            struct rows r = rows_new(n_row, dim, uint64_t(dim + n_row)), again = r;
            emu_use_mode(0);
            assert_int_equal(run(&r), 0);
            check_rows(&r);
            for (int mode = 1; mode < EMU_N_MODES; mode++) {
                emu_use_mode(mode);
                assert_int_equal(run(&again), 0);
                assert_memory_equal(again.q.data(), r.q.data(), r.q.size());
                assert_memory_equal(again.group.data(), r.group.data(), r.group.size() * sizeof(r.group[0]));
                assert_memory_equal(again.f.data(), r.f.data(), r.f.size() * sizeof(float));
            }
        }
}

static void test_norm_q8_without_weights_rounds_x_itself(void **state)
{
    struct rows r = rows_new(3, 288, 9);

    r.plain = true;
    assert_int_equal(run(&r), 0);
    check_rows(&r);
}

static void test_norm_q8_takes_the_rows_asked_for(void **state)
{
    struct rows all = rows_new(5, 96, 11), some = all;

    assert_int_equal(run(&all), 0);
    some.rows = {1, 4};
    some.q.resize(2 * 96);
    some.f.resize(2 * 96);
    some.group.resize(2 * 3);
    assert_int_equal(run(&some), 0);
    for (size_t i = 0; i < 2; i++) {
        const size_t from = size_t(some.rows[i]);
        assert_memory_equal(&some.q[i * 96], &all.q[from * 96], 96);
        assert_memory_equal(&some.f[i * 96], &all.f[from * 96], 96 * sizeof(float));
        assert_memory_equal(&some.group[i * 3], &all.group[from * 3], 3 * sizeof(all.group[0]));
    }
}

static void test_norm_q8_writes_what_is_wanted_alone(void **state)
{
    struct rows r = rows_new(1, 96, 13);
    float *const x = emu_device(r.x.data(), r.x.size()), *const w = emu_device(r.w.data(), r.w.size());
    float *const f = emu_device<float>(NULL, r.f.size());
    struct kern_cuda_norm op = {1, 96, x, w, eps, {NULL, NULL, f}, NULL};

    assert_int_equal(run(&r), 0);
    assert_int_equal(kern_cuda_norm_q8(&op, false, NULL), 0);
    std::vector<float> got(96);
    emu_take(got.data(), f, got.size());
    assert_memory_equal(got.data(), r.f.data(), 96 * sizeof(float));
    op.act = {emu_device<int8_t>(NULL, 96), emu_device<struct kern_cuda_group>(NULL, 3), NULL};
    assert_int_equal(kern_cuda_norm_q8(&op, false, NULL), 0);
    std::vector<int8_t> q(96);
    emu_take(q.data(), op.act.q, q.size());
    assert_memory_equal(q.data(), r.q.data(), q.size());
    cudaFree(op.act.group);
    cudaFree(x);
    cudaFree(w);
}

static void test_norm_q8_gives_nan_for_a_row_with_a_nan_and_no_other(void **state)
{
    struct rows r = rows_new(3, 96, 5), clean = r;

    r.x[96 + 40] = NAN;
    assert_int_equal(run(&r), 0);
    assert_int_equal(run(&clean), 0);
    for (size_t j = 0; j < r.group.size(); j++)
        if (j / 3 == 1)
            assert_true(isnan(r.group[j].d) && isnan(r.group[j].dsum));
        else
            assert_memory_equal(&r.group[j], &clean.group[j], sizeof(r.group[j]));
}

static void test_norm_q8_refuses_a_row_that_is_no_whole_groups(void **state)
{
    struct kern_cuda_norm op = {1, 48, NULL, NULL, eps, {NULL, NULL, NULL}, NULL};

    assert_int_equal(kern_cuda_norm_q8(&op, false, NULL), -EINVAL);
    op.dim = 0;
    assert_int_equal(kern_cuda_norm_q8(&op, false, NULL), -EINVAL);
    op.dim = KERN_CUDA_NORM_MAX + 32;
    assert_int_equal(kern_cuda_norm_q8(&op, false, NULL), -EINVAL);
    op.dim = 64;
    op.n_row = 0;
    assert_int_equal(kern_cuda_norm_q8(&op, false, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm_q8_rounds_the_formula),
        cmocka_unit_test(test_norm_q8_without_weights_rounds_x_itself),
        cmocka_unit_test(test_norm_q8_takes_the_rows_asked_for),
        cmocka_unit_test(test_norm_q8_writes_what_is_wanted_alone),
        cmocka_unit_test(test_norm_q8_gives_nan_for_a_row_with_a_nan_and_no_other),
        cmocka_unit_test(test_norm_q8_refuses_a_row_that_is_no_whole_groups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
