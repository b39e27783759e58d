/* test_cuda_top.cpp - the best of a row against ref's: sizes around those of its blocks, ties, rows that
 * bring its first guess down, and in every order the same bytes. */
extern "C" {
#include "kernels/kernels.h"
}

#include "kernels/cuda/top.cuh"

#include "tests/emu/emu_test.h"

#include <float.h>
#include <math.h>

#include <functional>
#include <vector>

static struct kern *ref;

static int setup(void **state)
{
    struct kern_options options = {};
    struct fault fault = {};

    options.backend = "ref";
    return kern_open(&options, &fault, &ref);
}

static int teardown(void **state)
{
    ref = kern_free(ref);
    return 0;
}

struct rows {
    int n_row, n_vocab;
    std::vector<float> x;
    std::vector<int32_t> asked;
    std::vector<struct kern_top_row> top;
};

static float uniform(uint64_t *seed)
{
    return float(int32_t(emu_next(seed))) * 0x1p-31f;
}

static struct rows rows_new(int n_row, int n_vocab, const std::function<float(int, int)> &value)
{
    struct rows r = {n_row, n_vocab, {}, {}, {}};

    for (int row = 0; row < n_row; row++) {
        for (int i = 0; i < n_vocab; i++)
            r.x.push_back(value(row, i));
        r.asked.push_back(row % 2 ? -1 : n_vocab / 2);
    }
    return r;
}

/* As a model's: most of them far below a few. */
static struct rows rows_peaked(int n_row, int n_vocab, uint64_t seed)
{
    return rows_new(n_row, n_vocab, [&](int row, int i) {
        const float u = uniform(&seed), w = uniform(&seed);
        return 3.0f * (u + w + uniform(&seed)) + (emu_next(&seed) % 200 ? 0.0f : 8.0f * fabsf(w)) - 2.0f;
    });
}

static int run(struct rows *r)
{
    const size_t n_part = size_t(r->n_row) * size_t(kern_cuda_top_n_part(r->n_vocab));
    float *const x = emu_device(r->x.data(), r->x.size());
    int32_t *const asked = emu_device(r->asked.data(), r->asked.size());
    struct kern_cuda_top op = {};
    void *out = NULL;

    assert_int_equal(cudaHostAlloc(&out, size_t(r->n_row) * sizeof(*op.out), cudaHostAllocDefault),
                     cudaSuccess);
    memset(out, 0, size_t(r->n_row) * sizeof(*op.out));
    op.n_row = r->n_row;
    op.n_vocab = r->n_vocab;
    op.logits = x;
    op.asked = asked;
    op.parts = emu_device<struct kern_cuda_top_part>(NULL, n_part);
    op.groups = emu_device<float>(NULL, n_part * KERN_CUDA_TOP_GROUPS);
    op.out = static_cast<struct kern_top_row *>(out);
    cudaStream_t stream;
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    const int result = kern_cuda_top_rows(&op, true, stream);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    r->top.assign(op.out, op.out + r->n_row);
    cudaFree(x);
    cudaFree(asked);
    cudaFree(op.parts);
    cudaFree(op.groups);
    cudaFreeHost(out);
    return result;
}

static void check_row(const struct kern_top_row *got, const struct kern_top_row *want, int32_t asked)
{
    assert_int_equal(got->is_bad, want->is_bad);
    if (want->is_bad)
        return;
    assert_int_equal(got->n, want->n);
    for (int i = 0; i < want->n; i++)
        if (got->ids[i] != want->ids[i] || got->logits[i] != want->logits[i])
            fail_msg("place %d: %d %a, expected %d %a", i, got->ids[i], double(got->logits[i]), want->ids[i],
                     double(want->logits[i]));
    if (want->n ? fabs(got->lse - want->lse) > KERN_TOP_LSE_ERROR / 2 : got->lse != want->lse)
        fail_msg("lse %.9g, expected %.9g", got->lse, want->lse);
    if (asked >= 0)
        assert_true(got->asked == want->asked);
}

static void check(struct rows *r)
{
    std::vector<struct kern_top_row> want(size_t(r->n_row));
    struct kern_top op = {};

    op.n_rows = r->n_row;
    op.n_vocab = r->n_vocab;
    op.logits = r->x.data();
    op.asked = r->asked.data();
    op.ret_rows = want.data();
    assert_int_equal(ref->ops->top(ref, &op), 0);
    assert_int_equal(run(r), 0);
    for (int i = 0; i < r->n_row; i++)
        check_row(&r->top[size_t(i)], &want[size_t(i)], r->asked[size_t(i)]);
}

#ifdef EMU_TSAN_ON /* which takes a second for a row: of each way through the kernel one */
static const int n_vocabs[] = {2049};
enum { LARGE = 2100, SMALL = 9, EACH = 6, MODES = 1, ROWS = 1 };
#else
static const int n_vocabs[] = {1,    7,    64,    255,   256,   257,    1000,  2047,
                               2048, 2049, 16384, 16385, 50001, 248320, 300001};
enum { LARGE = 70000, SMALL = 300, EACH = 1, MODES = EMU_N_MODES, ROWS = 2 };
#endif

static void test_top_is_refs_at_any_size(void **state)
{
    for (size_t i = 0; i < sizeof(n_vocabs) / sizeof(n_vocabs[0]); i++) {
        struct rows r = rows_peaked(n_vocabs[i] > 20000 ? 1 : int(ROWS), n_vocabs[i], i);
        check(&r);
    }
}

/* The first guess takes the best groups: here it takes too few or too many. */
static void test_top_is_refs_of_rows_that_are_not_a_models(void **state)
{
    uint64_t seed = 5;
    const std::function<float(int, int)> values[] = {
        [](int, int) { return 1.5f; },                                 /* all the same */
        [](int, int i) { return float(i); },                           /* the best beside each other */
        [](int, int i) { return i % 300 ? -INFINITY : float(i % 7); }, /* few at all */
        [](int, int i) { return i % 90 ? -1.0f : 2.0f; },              /* the best are equal */
        [](int, int i) { return i % 2 ? 0.0f : -0.0f; },               /* equal, and do not look it */
        [](int, int i) { return i < 200 ? float(i)
                                : i % 3 ? -7.0f
                                        : -7.5f; }, /* ties from the middle on */
        [](int, int) { return -INFINITY; },                                    /* none */
        [](int, int i) { return i ? -INFINITY : 3.0f; },                       /* one */
        [](int, int i) { return i % 2 ? FLT_MAX : -FLT_MAX; },
        [&](int, int) {
            return ldexpf(uniform(&seed), int(emu_next(&seed) % 250) - 126);
        },                                                         /* all magnitudes */
        [&](int, int) { return -1e-40f * fabsf(uniform(&seed)); }, /* denormal */
        [](int, int i) { return i < 3 ? 1e30f : -1e30f - float(i) * 1e24f; },
    };

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i += EACH)
        for (int n_vocab : {int(LARGE), int(SMALL)}) {
            struct rows r = rows_new(1, n_vocab, values[i]);
            check(&r);
        }
}

static void test_top_tells_a_bad_row_and_no_other(void **state)
{
    struct rows r = rows_peaked(4, 2500, 9);

    r.x[0 * 2500 + 2499] = NAN;
    r.x[2 * 2500 + 17] = INFINITY;
    r.x[3 * 2500 + 17] = -INFINITY;
    check(&r);
    assert_true(r.top[0].is_bad && !r.top[1].is_bad && r.top[2].is_bad && !r.top[3].is_bad);
}

static void test_top_gives_the_same_bytes_in_any_order(void **state)
{
    struct rows peaked = rows_peaked(ROWS, LARGE / 2, 3),
                tied = rows_new(1, 2500, [](int, int i) { return float(i % 3); });

    for (struct rows *r : {&peaked, &tied}) {
        assert_int_equal(run(r), 0);
        const std::vector<struct kern_top_row> first = r->top;
        for (int mode = 0; mode < MODES; mode++) {
            emu_use_mode(mode);
            assert_int_equal(run(r), 0);
            assert_memory_equal(r->top.data(), first.data(), first.size() * sizeof(first[0]));
        }
        emu_use_mode(0);
    }
}

static void test_top_refuses_what_its_scratch_is_not_for(void **state)
{
    struct kern_cuda_top op = {};

    op.n_row = KERN_CUDA_TOP_ROWS + 1;
    op.n_vocab = 10;
    assert_int_equal(kern_cuda_top_rows(&op, false, NULL), -EINVAL);
    op.n_row = 0;
    assert_int_equal(kern_cuda_top_rows(&op, false, NULL), -EINVAL);
    op.n_row = 1;
    op.n_vocab = 0;
    assert_int_equal(kern_cuda_top_rows(&op, false, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top_is_refs_at_any_size),
        cmocka_unit_test(test_top_is_refs_of_rows_that_are_not_a_models),
        cmocka_unit_test(test_top_tells_a_bad_row_and_no_other),
        cmocka_unit_test(test_top_gives_the_same_bytes_in_any_order),
        cmocka_unit_test(test_top_refuses_what_its_scratch_is_not_for),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
