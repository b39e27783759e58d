/* test_cuda_mm.cpp - the CUDA products against exact.c, bit for bit: every type, odd shapes and those of the
 * family, any number of rows, every order. */
#include "kernels/cuda/exact.h"
#include "kernels/cuda/matmul.cuh"
#include "kernels/cuda/matmul_pack.cuh"
#include "kernels/cuda/norm.cuh"

#include "tests/kernels/kt_cuda.h"

#include <math.h>
#include <stdio.h>

struct mat {
    enum quant_type type;
    int n_out, n_in;
    std::vector<uint8_t> rows;
    struct kern_cuda_tiles tiles; /* with data, on the device, owned */
};

static struct mat mat_new(enum quant_type type, int n_out, int n_in, uint64_t seed)
{
    struct mat m = {type, n_out, n_in, kt_file_rows(type, n_out, n_in, seed), {}};
    uint8_t *const src = emu_device(m.rows.data(), m.rows.size());

    assert_int_equal(kern_cuda_tiles_shape(type, n_out, n_in, &m.tiles), 0);
    m.tiles.data = emu_device<uint8_t>(NULL, m.tiles.bytes);
    assert_int_equal(kern_cuda_pack(&m.tiles, src, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    cudaFree(src);
    return m;
}

/* Rows of activations, here and on the device. */
struct acts {
    int n_row, n;
    std::vector<int8_t> q;
    std::vector<struct kern_cuda_group> group;
    std::vector<float> f;
    struct kern_cuda_act device; /* owned */
};

static void acts_upload(struct acts *a)
{
    a->device = {emu_device(a->q.data(), a->q.size()), emu_device(a->group.data(), a->group.size()),
                 emu_device(a->f.data(), a->f.size())};
}

static struct acts acts_new(int n_row, int n, uint64_t seed)
{
    struct acts a = {n_row, n, {}, {}, {}, {}};

    for (int i = 0; i < n_row * n / KERN_CUDA_GROUP; i++) {
        struct kern_cuda_group g = {float(emu_next(&seed) % 1000 + 1) * 1e-4f, 0};
        int sum = 0;
        for (int j = 0; j < KERN_CUDA_GROUP; j++) {
            a.q.push_back(int8_t(int(emu_next(&seed) % 255) - 127));
            a.f.push_back(float(a.q.back()) * g.d * 0.01f);
            sum += a.q.back();
        }
        g.dsum = g.d * float(sum);
        a.group.push_back(g);
    }
    acts_upload(&a);
    return a;
}

static void acts_free(struct acts *a)
{
    cudaFree(a->device.q);
    cudaFree(a->device.group);
    cudaFree(a->device.f);
}

static float expected(const struct mat *m, const struct acts *a, int row, int out)
{
    const size_t at = size_t(row) * size_t(a->n);
    std::vector<int8_t> q(a->q.begin() + long(at), a->q.begin() + long(at) + a->n);
    std::vector<struct kern_cuda_group> group(a->group.begin() + long(at / KERN_CUDA_GROUP),
                                              a->group.begin() + long((at + size_t(a->n)) / KERN_CUDA_GROUP));
    std::vector<float> f(a->f.begin() + long(at), a->f.begin() + long(at) + a->n);
    const struct kern_cuda_act x = {q.data(), group.data(), f.data()};

    return kern_cuda_exact(m->type, &m->rows[size_t(out) * quant_row_bytes(quant_find(m->type), m->n_in)], &x,
                           m->n_in);
}

static void check_same(float got, float want, const struct mat *m, int n_row, int row, int out)
{
    if (half_bits(got) != half_bits(want))
        fail_msg("%s %d x %d, %d rows: [%d][%d] is %a, expected %a", quant_find(m->type)->name, m->n_out,
                 m->n_in, n_row, row, out, double(got), double(want));
}

/* Of a block: what every device has, and what large ones have, in turn. */
enum { MORE_SHARED = 227 << 10 };

static int next_shared(void)
{
    static int turn;

    return turn++ % 2 ? MORE_SHARED : 99 << 10;
}

/* All the matrices' results from one launch, or added to base. */
static std::vector<std::vector<float>> run(const std::vector<struct mat> &mats, const struct acts *a,
                                           bool add, float base, int n_sm)
{
    struct kern_cuda_matmul op = {};
    std::vector<std::vector<float>> out;

    op.n_row = a->n_row;
    op.n_mat = int(mats.size());
    op.add = add;
    op.in = a->device;
    op.n_sm = n_sm;
    op.shared_bytes = next_shared();
    for (size_t i = 0; i < mats.size(); i++) {
        out.push_back(std::vector<float>(size_t(a->n_row) * size_t(mats[i].n_out), base));
        op.mats[i] = mats[i].tiles;
        op.out[i] = emu_device(add ? out[i].data() : NULL, out[i].size());
    }
    assert_int_equal(kern_cuda_matmul_init(MORE_SHARED), 0);
    assert_int_equal(kern_cuda_matmul_rows(&op, true, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    for (size_t i = 0; i < mats.size(); i++)
        emu_take(out[i].data(), op.out[i], out[i].size());
    return out;
}

static void mats_free(std::vector<struct mat> *mats)
{
    for (struct mat &m : *mats)
        cudaFree(m.tiles.data);
}

/* In every order; modes: how many of them. */
static void check_product(enum quant_type type, int n_out, int n_in, int n_row, int n_sm, int modes)
{
    std::vector<struct mat> mats = {mat_new(type, n_out, n_in, uint64_t(n_out * n_in))};
    struct acts a = acts_new(n_row, n_in, uint64_t(n_row));

    for (int mode = 0; mode < modes; mode++) {
        emu_use_mode(mode);
        const std::vector<float> out = run(mats, &a, false, 0, n_sm)[0];
        for (int row = 0; row < n_row; row++)
            for (int o = 0; o < n_out; o++)
                check_same(out[size_t(row * n_out + o)], expected(&mats[0], &a, row, o), &mats[0], n_row, row,
                           o);
    }
    acts_free(&a);
    mats_free(&mats);
}

#ifdef EMU_TSAN_ON
static const int n_rows[] = {1, 9};
enum { FAMILY_MODES = 1, MANY = 34 };
static const bool slow = true; /* orders show in few tiles as well as in many */
#else
static const int n_rows[] = {1, 2, 3, 4, 7, 8, 9, 15, 16};
enum { FAMILY_MODES = 2, MANY = 66 };
static const bool slow = false;
#endif

static void test_every_type_gives_exactly_the_definition(void **state)
{
    for (enum quant_type type : kt_tiled)
        for (int n_row : n_rows) {
            check_product(type, 19, 768, n_row, 1, n_row == 3 || n_row == 9 ? EMU_N_MODES : 1);
            if (quant_find(type)->n_block == 32)
                check_product(type, 33, 416, n_row, 3, 1);
        }
    for (enum quant_type type : kt_floats)
        for (int n_row : n_rows)
            check_product(type, 19, 416, n_row, 1, n_row == 3 || n_row == 9 ? EMU_N_MODES : 1);
}

static void test_smallest_shapes(void **state)
{
    check_product(QUANT_Q8_0, 1, 32, 1, 1, EMU_N_MODES);
    check_product(QUANT_Q4_0, 2, 96, 3, 128, EMU_N_MODES);
    check_product(QUANT_F32, 1, 32, 2, 1, EMU_N_MODES);
    check_product(QUANT_Q4_K, 1, 256, 16, 1, EMU_N_MODES);
}

/* The widths of the family's matrices and its n_ff; all of a slice staged at once, and by fours. */
static void test_shapes_of_the_family(void **state)
{
    check_product(QUANT_Q4_K, 48, 1024, 1, 1, FAMILY_MODES);
    check_product(QUANT_Q6_K, 32, 2048, 5, 1, FAMILY_MODES);
    check_product(QUANT_Q8_0, 16, 2560, 8, 1, FAMILY_MODES);
    check_product(QUANT_Q6_K, 32, 4096, 16, 1, FAMILY_MODES);
    check_product(QUANT_Q4_K, 16, 3584, 2, 1, FAMILY_MODES);
    if (slow)
        return;
    check_product(QUANT_Q4_K, 80, 4096, 1, 2, FAMILY_MODES);
    check_product(QUANT_Q8_0, 32, 12288, 16, 1, 1);
    check_product(QUANT_Q6_K, 32, 12288, 1, 1, FAMILY_MODES);
    check_product(QUANT_Q8_0, 16, 32768, 1, 1, 1); /* the longest of which one row is staged at once */
    check_product(QUANT_Q8_0, 16, 36864, 1, 1, 1);
}

static void test_a_stack_gives_all_its_matrices(void **state)
{
    std::vector<struct mat> mats = {mat_new(QUANT_Q6_K, 70, 512, 1), mat_new(QUANT_Q4_K, 33, 512, 2),
                                    mat_new(QUANT_F32, 4, 512, 3), mat_new(QUANT_Q8_0, 4, 512, 4)};

    for (int n_row : {1, 9, 45}) {
        struct acts a = acts_new(n_row, 512, uint64_t(n_row));
        emu_use_mode(n_row % EMU_N_MODES);
        const std::vector<std::vector<float>> out = run(mats, &a, false, 0, 2);
        for (size_t i = 0; i < mats.size(); i++)
            for (int row = 0; row < n_row; row++)
                for (int o = 0; o < mats[i].n_out; o++)
                    check_same(out[i][size_t(row * mats[i].n_out + o)], expected(&mats[i], &a, row, o),
                               &mats[i], n_row, row, o);
        acts_free(&a);
    }
    mats_free(&mats);
}

static void test_add_adds(void **state)
{
    std::vector<struct mat> mats = {mat_new(QUANT_Q5_K, 37, 1024, 1)};
    struct acts a = acts_new(3, 1024, 5), many = acts_new(35, 1024, 6);

    const std::vector<float> sums = run(mats, &many, true, -0.5f, 1)[0];
    for (int row = 0; row < 35; row++)
        for (int o = 0; o < 37; o++)
            check_same(sums[size_t(row * 37 + o)], -0.5f + expected(&mats[0], &many, row, o), &mats[0], 35,
                       row, o);
    acts_free(&many);
    for (int mode = 0; mode < EMU_N_MODES; mode++) {
        emu_use_mode(mode);
        const std::vector<float> out = run(mats, &a, true, 1.5f, 1)[0];
        for (int row = 0; row < 3; row++)
            for (int o = 0; o < 37; o++)
                check_same(out[size_t(row * 37 + o)], 1.5f + expected(&mats[0], &a, row, o), &mats[0], 3, row,
                           o);
    }
    acts_free(&a);
    mats_free(&mats);
}

/* Any number of rows: each as if it were alone, by whichever kernel. */
static void test_many_rows_give_what_each_gives_alone(void **state)
{
    check_product(QUANT_Q4_K, 40, 768, 17, 1, EMU_N_MODES);
    check_product(QUANT_BF16, 24, 64, 37, 2, FAMILY_MODES);
    check_product(QUANT_Q4_K, 19, 768, 33, 1, EMU_N_MODES);
    for (enum quant_type type : kt_tiled)
        check_product(type, 21, 256, MANY, 1, FAMILY_MODES);
    if (slow)
        return;
    check_product(QUANT_Q6_K, 150, 512, 70, 2, FAMILY_MODES);
    check_product(QUANT_Q8_0, 3, 416, 64, 1, EMU_N_MODES);
    check_product(QUANT_Q4_K, 128, 4096, 40, 1, 1);
    check_product(QUANT_Q6_K, 16, 12288, 34, 1, 1);
}

static void test_a_row_with_a_nan_is_nan_and_no_other(void **state)
{
    std::vector<struct mat> mats = {mat_new(QUANT_Q4_K, 20, 256, 1), mat_new(QUANT_F16, 4, 256, 2)};
    struct acts a = acts_new(3, 256, 5);

    acts_free(&a);
    for (int i = 0; i < KERN_CUDA_GROUP; i++)
        a.q[size_t(256 + 32 + i)] = 0;
    a.group[9] = {NAN, NAN};
    a.f[256 + 40] = NAN;
    acts_upload(&a);
    const std::vector<std::vector<float>> out = run(mats, &a, false, 0, 1);
    for (size_t i = 0; i < mats.size(); i++)
        for (int row = 0; row < 3; row++)
            for (int o = 0; o < mats[i].n_out; o++) {
                const float v = out[i][size_t(row * mats[i].n_out + o)];
                if (row == 1)
                    assert_true(isnan(v));
                else
                    check_same(v, expected(&mats[i], &a, row, o), &mats[i], 3, row, o);
            }
    acts_free(&a);
    mats_free(&mats);
}

/* gate and up */

static struct kern_cuda_gate_up gate_up_of(const std::vector<struct mat> &mats, const struct acts *in,
                                           const struct acts *out)
{
    struct kern_cuda_gate_up op = {};

    op.n_row = in->n_row;
    op.in = in->device;
    op.out = out->device;
    op.gate = mats[0].tiles;
    op.up = mats[1].tiles;
    op.n_sm = 1;
    op.shared_bytes = next_shared();
    return op;
}

/* Group of 32 results from h, as act.cuh has it. */
static void check_group(const struct acts *got, size_t at, const float *h)
{
    const struct kern_cuda_group g = got->group[at / KERN_CUDA_GROUP];
    float most = 0;
    int sum = 0;

    for (int i = 0; i < KERN_CUDA_GROUP; i++)
        most = fmaxf(most, fabsf(h[i]));
    const float d = most / 127.0f;
    for (int i = 0; i < KERN_CUDA_GROUP; i++) {
        const int want = int(rintf(fminf(fmaxf(h[i] * (1.0f / d), -127.0f), 127.0f)));
        if (got->q[at + size_t(i)] != want || half_bits(got->f[at + size_t(i)]) != half_bits(h[i]))
            fail_msg("[%zu]: %d and %a, expected %d and %a", at + size_t(i), got->q[at + size_t(i)],
                     double(got->f[at + size_t(i)]), want, double(h[i]));
        sum += want;
    }
    if (half_bits(g.d) != half_bits(d) || half_bits(g.dsum) != half_bits(d * float(sum)))
        fail_msg("group at %zu: %a and %a, expected %a and %a", at, double(g.d), double(g.dsum), double(d),
                 double(d * float(sum)));
}

static void check_gate_up(enum quant_type gate, enum quant_type up, int n_out, int n_in, int n_row, int mode)
{
    std::vector<struct mat> mats = {mat_new(gate, n_out, n_in, 1), mat_new(up, n_out, n_in, 2)};
    struct acts in = acts_new(n_row, n_in, 3), out = acts_new(n_row, n_out, 4);
    const struct kern_cuda_gate_up op = gate_up_of(mats, &in, &out);

    emu_use_mode(mode);
    assert_int_equal(kern_cuda_matmul_init(MORE_SHARED), 0);
    assert_int_equal(kern_cuda_gate_up_rows(&op, true, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    emu_take(out.q.data(), out.device.q, out.q.size());
    emu_take(out.group.data(), out.device.group, out.group.size());
    emu_take(out.f.data(), out.device.f, out.f.size());
    for (int row = 0; row < n_row; row++)
        for (int o = 0; o < n_out; o += KERN_CUDA_GROUP) {
            float h[KERN_CUDA_GROUP];
            for (int i = 0; i < KERN_CUDA_GROUP; i++) {
                const float g = expected(&mats[0], &in, row, o + i);
                h[i] = g / (1.0f + expf(-g)) * expected(&mats[1], &in, row, o + i);
            }
            check_group(&out, size_t(row * n_out + o), h);
        }
    acts_free(&in);
    mats_free(&mats);
}

static void test_gate_and_up_give_the_activations_of_down(void **state)
{
    int mode = 0;

    for (int n_row : n_rows) {
        check_gate_up(QUANT_Q4_K, QUANT_Q4_K, 96, 768, n_row, mode++ % EMU_N_MODES);
        check_gate_up(QUANT_Q6_K, QUANT_Q4_0, 32, 512, n_row, mode++ % EMU_N_MODES);
        check_gate_up(QUANT_F32, QUANT_Q8_0, 64, 256, n_row, mode++ % EMU_N_MODES);
    }
    for (mode = 0; mode < FAMILY_MODES; mode++)
        check_gate_up(QUANT_Q6_K, QUANT_Q6_K, 160, 256, 33, mode);
    if (slow)
        return;
    check_gate_up(QUANT_Q4_K, QUANT_Q4_K, 320, 256, 20, 2); /* more than a block keeps, and than 16 rows */
    check_gate_up(QUANT_Q5_K, QUANT_Q6_K, 32, 256, 35, 3);
    check_gate_up(QUANT_Q4_K, QUANT_Q4_K, 96, 768, 65, 1);
    check_gate_up(QUANT_Q8_0, QUANT_Q8_0, 64, 4096, 16, 1);
}

/* rows that are to be normed */

/* x and w on the device, and what norm_q8 makes of them: what a product that norms for itself has to get. */
struct normed {
    struct kern_cuda_row_norm norm;
    struct acts acts;
};

static struct normed normed_new(int n_row, int n, uint64_t seed)
{
    struct normed of = {{}, acts_new(n_row, n, seed)};
    std::vector<float> x, w;
    struct kern_cuda_norm op = {};

    for (int i = 0; i < n_row * n; i++)
        x.push_back(float(int32_t(emu_next(&seed))) * 0x1p-29f);
    for (int i = 0; i < n; i++)
        w.push_back(float(emu_next(&seed) % 1000) * 2e-3f);
    of.norm = {emu_device(x.data(), x.size()), emu_device(w.data(), w.size()), 1e-6f};
    op.n_row = n_row;
    op.dim = n;
    op.x = of.norm.x;
    op.w = of.norm.w;
    op.eps = of.norm.eps;
    op.act = of.acts.device;
    assert_int_equal(kern_cuda_norm_q8(&op, true, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    emu_take(of.acts.q.data(), of.acts.device.q, of.acts.q.size());
    emu_take(of.acts.group.data(), of.acts.device.group, of.acts.group.size());
    emu_take(of.acts.f.data(), of.acts.device.f, of.acts.f.size());
    acts_upload(&of.acts);
    return of;
}

static void normed_free(struct normed *of)
{
    cudaFree(const_cast<float *>(of->norm.x));
    cudaFree(const_cast<float *>(of->norm.w));
    acts_free(&of->acts);
}

static void check_normed(const std::vector<enum quant_type> &types, int n_out, int n_in, int n_row, int mode)
{
    struct normed of = normed_new(n_row, n_in, uint64_t(n_in));
    struct kern_cuda_matmul op = {};
    std::vector<struct mat> mats;

    emu_use_mode(mode);
    op.n_row = n_row;
    op.n_sm = 1;
    op.shared_bytes = n_row > 1 ? MORE_SHARED : next_shared();
    op.norm = of.norm;
    for (enum quant_type type : types) {
        mats.push_back(mat_new(type, n_out, n_in, mats.size() + 1));
        op.mats[op.n_mat] = mats.back().tiles;
        op.out[op.n_mat++] = emu_device<float>(NULL, size_t(n_row * n_out));
    }
    assert_true(kern_cuda_matmul_norms(&op));
    assert_int_equal(kern_cuda_matmul_init(MORE_SHARED), 0);
    assert_int_equal(kern_cuda_matmul_rows(&op, true, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    for (size_t i = 0; i < mats.size(); i++) {
        std::vector<float> out(size_t(n_row * n_out), 0.0f);
        emu_take(out.data(), op.out[i], out.size());
        for (int row = 0; row < n_row; row++)
            for (int o = 0; o < n_out; o++)
                check_same(out[size_t(row * n_out + o)], expected(&mats[i], &of.acts, row, o), &mats[i],
                           n_row, row, o);
    }
    mats_free(&mats);
    normed_free(&of);
}

static void check_normed_gate_up(enum quant_type gate, enum quant_type up, int n_out, int n_in, int n_row,
                                 int mode)
{
    std::vector<struct mat> mats = {mat_new(gate, n_out, n_in, 1), mat_new(up, n_out, n_in, 2)};
    struct normed of = normed_new(n_row, n_in, 7);
    struct acts out[] = {acts_new(n_row, n_out, 4), acts_new(n_row, n_out, 5)};

    emu_use_mode(mode);
    assert_int_equal(kern_cuda_matmul_init(MORE_SHARED), 0);
    for (int i = 0; i < 2; i++) {
        struct kern_cuda_gate_up op = gate_up_of(mats, &of.acts, &out[i]);
        op.shared_bytes = n_row > 1 ? MORE_SHARED : next_shared();
        if (i)
            op.norm = of.norm;
        assert_true(kern_cuda_gate_up_norms(&op));
        assert_int_equal(kern_cuda_gate_up_rows(&op, true, NULL), 0);
        assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
        emu_take(out[i].q.data(), op.out.q, out[i].q.size());
        emu_take(out[i].group.data(), op.out.group, out[i].group.size());
        emu_take(out[i].f.data(), op.out.f, out[i].f.size());
    }
    for (int i = 0; i < n_row * n_out; i++)
        if (half_bits(out[0].f[size_t(i)]) != half_bits(out[1].f[size_t(i)]))
            fail_msg("%s %s %d x %d: [%d] is %a, expected %a", quant_find(gate)->name, quant_find(up)->name,
                     n_out, n_in, i, double(out[1].f[size_t(i)]), double(out[0].f[size_t(i)]));
    assert_memory_equal(out[0].q.data(), out[1].q.data(), out[0].q.size());
    assert_memory_equal(out[0].f.data(), out[1].f.data(), out[0].f.size() * sizeof(float));
    assert_memory_equal(out[0].group.data(), out[1].group.data(),
                        out[0].group.size() * sizeof(struct kern_cuda_group));
    mats_free(&mats);
    normed_free(&of);
}

static void test_a_product_norms_its_row_as_the_norm_does(void **state)
{
    struct kern_cuda_matmul op = {};

    for (int mode = 0; mode < FAMILY_MODES; mode++)
        for (int n_row = 1; n_row <= 2; n_row++) {
            check_normed({QUANT_Q6_K, QUANT_Q4_K, QUANT_F32, QUANT_Q8_0}, 33, 1024, n_row, mode);
            check_normed({QUANT_Q8_0, QUANT_BF16}, 16, 416, n_row, mode);
            check_normed({QUANT_Q4_0}, 20, 32, n_row, mode);
            check_normed_gate_up(QUANT_Q4_K, QUANT_Q4_K, 64, 256, n_row, mode);
            check_normed_gate_up(QUANT_Q6_K, QUANT_Q6_K, 32, 768, n_row, mode);
            check_normed_gate_up(QUANT_F16, QUANT_F16, 32, 160, n_row, mode);
        }
    if (!slow)
        check_normed({QUANT_Q4_K, QUANT_F32}, 16, 4096, 2, 1);
    std::vector<struct mat> mats = {mat_new(QUANT_Q4_K, 16, 4352, 1), mat_new(QUANT_F32, 32, 256, 2),
                                    mat_new(QUANT_Q8_0, 32, 256, 2)};
    op.n_row = op.n_mat = op.n_sm = 1;
    op.mats[0] = mats[0].tiles;
    assert_false(kern_cuda_matmul_norms(&op)); /* too long a row */
    struct acts a = acts_new(5, 256, 5);
    struct kern_cuda_gate_up glu = gate_up_of({mats[1], mats[2]}, &a, &a);
    glu.n_row = 1;
    assert_false(kern_cuda_gate_up_norms(&glu)); /* of two types */
    glu.up = glu.gate;
    glu.n_row = 5;
    glu.shared_bytes = op.shared_bytes = MORE_SHARED;
    glu.norm = {a.device.f, a.device.f, 1e-6f};
    assert_int_equal(kern_cuda_gate_up_rows(&glu, false, NULL), -EINVAL); /* too many rows */
    op.mats[0] = mats[2].tiles;
    op.out[0] = a.device.f;
    op.n_row = 5;
    op.norm = glu.norm;
    assert_int_equal(kern_cuda_matmul_rows(&op, false, NULL), -EINVAL);
    acts_free(&a);
    mats_free(&mats);
}

static void test_what_does_not_fit_is_refused(void **state)
{
    std::vector<struct mat> mats = {mat_new(QUANT_Q4_K, 48, 256, 1), mat_new(QUANT_Q8_0, 48, 64, 2)};
    struct acts a = acts_new(1, 256, 5);
    struct kern_cuda_matmul op = {};
    struct kern_cuda_gate_up glu = gate_up_of(mats, &a, &a);

    glu.up = glu.gate; /* 48 results are no whole groups */
    assert_int_equal(kern_cuda_gate_up_rows(&glu, false, NULL), -EINVAL);
    glu.gate.n_out = glu.up.n_out = 32;
    glu.up.n_in = 512;
    assert_int_equal(kern_cuda_gate_up_rows(&glu, false, NULL), -EINVAL);
    op.n_row = op.n_mat = op.n_sm = 1;
    op.in = a.device;
    op.mats[0] = mats[0].tiles;
    assert_int_equal(kern_cuda_matmul_rows(&op, false, NULL), -EINVAL); /* nowhere to put it */
    op.out[0] = op.out[1] = a.device.f;
    op.mats[1] = mats[1].tiles;
    op.n_mat = 2;
    assert_int_equal(kern_cuda_matmul_rows(&op, false, NULL), -EINVAL); /* other rows */
    op.n_mat = 1;
    op.in.q = NULL;
    assert_int_equal(kern_cuda_matmul_rows(&op, false, NULL), -EINVAL);
    op.in = a.device;
    op.n_row = 0;
    assert_int_equal(kern_cuda_matmul_rows(&op, false, NULL), -EINVAL);
    op.n_row = 1;
    op.n_mat = KERN_CUDA_STACK + 1;
    assert_int_equal(kern_cuda_matmul_rows(&op, false, NULL), -EINVAL);
    acts_free(&a);
    mats_free(&mats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_gives_exactly_the_definition),
        cmocka_unit_test(test_smallest_shapes),
        cmocka_unit_test(test_shapes_of_the_family),
        cmocka_unit_test(test_a_stack_gives_all_its_matrices),
        cmocka_unit_test(test_add_adds),
        cmocka_unit_test(test_many_rows_give_what_each_gives_alone),
        cmocka_unit_test(test_a_row_with_a_nan_is_nan_and_no_other),
        cmocka_unit_test(test_gate_and_up_give_the_activations_of_down),
        cmocka_unit_test(test_a_product_norms_its_row_as_the_norm_does),
        cmocka_unit_test(test_what_does_not_fit_is_refused),
    };

    struct emu_machine machine = EMU_MACHINE;

    machine.major = 9; /* with as much shared memory as there is */
    emu_set_machine(&machine);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
