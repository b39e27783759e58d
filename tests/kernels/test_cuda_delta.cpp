/* test_cuda_delta.cpp - the DeltaNet mixer against ref.c: several sequences a step, fresh and advanced slots,
 * any cut of a sequence into spans, in every order with the same bits. */
#include "kernels/cuda/delta.cuh"

#include "cuda_step.h"
#include "kt_cuda.h"

enum { CTX = 4096 };
static const float eps = 1e-6f;

/* Rows of all sequences, by sequence and position, and what came out. */
struct data {
    struct kern_shape s;
    size_t n_ch, n_out;
    struct cuda_seqs seqs;
    std::vector<float> qkv, z, alpha, beta, conv_w, a, dt, norm_w, out;
    std::vector<int8_t> q;
    std::vector<uint16_t> h;
    std::vector<struct kern_cuda_group> group;
};

/* Slots are not the sequences' numbers. */
static int slot_of(int seq)
{
    return seq ^ 1;
}

static struct data data_new(int n_kh, int n_vh, int d, int n_seq, int len, uint64_t seed)
{
    struct data r = {};
    const size_t n = size_t(n_seq * len), vh = size_t(n_vh);

    r.s.dim = r.s.n_ff = r.s.n_vocab = 16;
    r.s.n_qh = r.s.n_kvh = 1;
    r.s.d_attn = 16;
    r.s.n_kh = n_kh;
    r.s.n_vh = n_vh;
    r.s.d_delta = d;
    r.s.conv_k = 4;
    r.s.max_tok = n_seq * len;
    r.s.max_ctx = CTX;
    r.n_ch = size_t((2 * n_kh + n_vh) * d);
    r.n_out = vh * size_t(d);
    r.seqs = {n_seq, len, slot_of};
    r.qkv = cuda_floats(&seed, n * r.n_ch, -2, 2);
    r.z = cuda_floats(&seed, n * r.n_out, -3, 3);
    r.alpha = cuda_floats(&seed, n * vh, -3, 3);
    r.beta = cuda_floats(&seed, n * vh, -3, 3);
    r.conv_w = cuda_floats(&seed, 4 * r.n_ch, -1, 1);
    r.a = cuda_floats(&seed, vh, -4, -0.01f);
    r.dt = cuda_floats(&seed, vh, -4, 2);
    r.norm_w = cuda_floats(&seed, size_t(d), 0.5f, 1.5f);
    r.out.assign(n * r.n_out, 0.0f); /* rows that a test leaves out stay so */
    r.q.assign(n * r.n_out, 0);
    r.h.assign(n * r.n_out, 0);
    r.group.resize(n * r.n_out / KERN_CUDA_GROUP);
    return r;
}

struct ref_ctx {
    struct kern *kern;
    uint8_t *state;
};

static void ref_step(void *data, const struct kern_batch *b, const std::vector<struct cuda_cut> &cuts,
                     void *ctx)
{
    struct data *const r = static_cast<struct data *>(data);
    struct ref_ctx *const ref = static_cast<struct ref_ctx *>(ctx);
    const std::vector<float> qkv = cuda_gather(&r->seqs, r->qkv, b, cuts),
                             z = cuda_gather(&r->seqs, r->z, b, cuts);
    const std::vector<float> alpha = cuda_gather(&r->seqs, r->alpha, b, cuts),
                             beta = cuda_gather(&r->seqs, r->beta, b, cuts);
    std::vector<float> out(size_t(b->n_tok) * r->n_out);
    const struct kern_delta op = {
        b,           qkv.data(),   z.data(),         alpha.data(), beta.data(), r->conv_w.data(),
        r->a.data(), r->dt.data(), r->norm_w.data(), eps,          ref->state,  out.data()};

    assert_int_equal(ref->kern->ops->delta(ref->kern, &op), 0);
    cuda_scatter(&r->seqs, &r->out, out, b, cuts);
}

static void run_ref(struct data *r, const cuda_steps &plan)
{
    struct ref_ctx ref = {cuda_ref(&r->s), NULL};

    ref.state =
        static_cast<uint8_t *>(calloc(size_t(r->seqs.n_seq) + 2, ref.kern->ops->delta_state_bytes(ref.kern)));
    cuda_run(&r->seqs, plan, ref_step, r, &ref);
    free(ref.state);
    kern_free(ref.kern);
}

struct cuda_ctx {
    uint8_t *state;
    float *scratch, *conv_w, *a, *dt, *norm_w;
    int more_spans; /* blocks without work */
};

static void cuda_step_run(void *data, const struct kern_batch *b, const std::vector<struct cuda_cut> &cuts,
                          void *ctx)
{
    struct data *const r = static_cast<struct data *>(data);
    struct cuda_ctx *const c = static_cast<struct cuda_ctx *>(ctx);
    const std::vector<float> qkv = cuda_gather(&r->seqs, r->qkv, b, cuts),
                             z = cuda_gather(&r->seqs, r->z, b, cuts);
    const std::vector<float> alpha = cuda_gather(&r->seqs, r->alpha, b, cuts),
                             beta = cuda_gather(&r->seqs, r->beta, b, cuts);
    const size_t n = size_t(b->n_tok) * r->n_out;
    std::vector<float> out(n);
    std::vector<int8_t> q(n);
    std::vector<uint16_t> h(n);
    std::vector<struct kern_cuda_group> group(n / KERN_CUDA_GROUP);
    struct cuda_step step = cuda_step_new(b, CTX);
    struct kern_cuda_delta op = {};
    std::vector<struct kern_span> spans(b->spans, b->spans + b->n_span);
    struct kern_batch bucket = *b;
    cudaStream_t stream;

    spans.resize(spans.size() + size_t(c->more_spans), spans.back());
    bucket.n_span = int(spans.size());
    bucket.spans = spans.data();
    op.step = step.step;
    op.n_kh = r->s.n_kh;
    op.n_vh = r->s.n_vh;
    op.d = r->s.d_delta;
    op.conv_k = r->s.conv_k;
    float *const in[] = {emu_device(qkv.data(), qkv.size()), emu_device(z.data(), z.size()),
                         emu_device(alpha.data(), alpha.size()), emu_device(beta.data(), beta.size())};
    op.qkv = in[0];
    op.z = in[1];
    op.alpha = in[2];
    op.beta = in[3];
    op.conv_w = c->conv_w;
    op.a = c->a;
    op.dt = c->dt;
    op.norm_w = c->norm_w;
    op.eps = eps;
    op.state = c->state;
    op.scratch = c->scratch;
    op.act.f = emu_device<float>(NULL, n);
    op.act.q = emu_device<int8_t>(NULL, n);
    op.act.h = emu_device<uint16_t>(NULL, n);
    op.act.group = emu_device<struct kern_cuda_group>(NULL, n / KERN_CUDA_GROUP);
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(kern_cuda_delta_mix(&op, &bucket, true, stream), 0);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    emu_take(out.data(), op.act.f, n);
    emu_take(q.data(), op.act.q, n);
    emu_take(h.data(), op.act.h, n);
    emu_take(group.data(), op.act.group, group.size());
    for (float *p : in)
        cudaFree(p);
    cuda_step_free(&step);
    cuda_scatter(&r->seqs, &r->out, out, b, cuts);
    cuda_scatter(&r->seqs, &r->q, q, b, cuts);
    cuda_scatter(&r->seqs, &r->h, h, b, cuts);
    cuda_scatter(&r->seqs, &r->group, group, b, cuts);
}

static void run_cuda(struct data *r, const cuda_steps &plan, int more_spans)
{
    const std::vector<uint8_t> fresh(size_t(r->seqs.n_seq + 2) * kern_cuda_delta_state_bytes(&r->s), 0);
    struct cuda_ctx c = {emu_device(fresh.data(), fresh.size()),
                         emu_device<float>(NULL, kern_cuda_delta_scratch_bytes(&r->s) / sizeof(float)),
                         emu_device(r->conv_w.data(), r->conv_w.size()),
                         emu_device(r->a.data(), r->a.size()),
                         emu_device(r->dt.data(), r->dt.size()),
                         emu_device(r->norm_w.data(), r->norm_w.size()),
                         more_spans};

    cuda_run(&r->seqs, plan, cuda_step_run, r, &c);
    cudaFree(c.state);
    for (float *p : {c.scratch, c.conv_w, c.a, c.dt, c.norm_w})
        cudaFree(p);
}

static void check_same(const struct data *got, const struct data *want)
{
    assert_memory_equal(got->out.data(), want->out.data(), want->out.size() * sizeof(float));
    assert_memory_equal(got->q.data(), want->q.data(), want->q.size());
    assert_memory_equal(got->group.data(), want->group.data(), want->group.size() * sizeof(want->group[0]));
}

/* Against the definition, and the same bits in all orders.  f32 against double: values of size 1..10, each at
 * the end of some hundred roundings of 6e-8. */
static void check(struct data *r, const cuda_steps &plan, double tolerance)
{
    struct data want = *r, again = *r;

    run_ref(&want, plan);
    emu_use_mode(0);
    run_cuda(r, plan, 0);
    cuda_check_near(r->out, want.out, tolerance, "out");
    cuda_check_groups(r->out, r->q, r->group, "act");
    assert_memory_equal(r->h.data(), kt_halves(r->out).data(), r->h.size() * sizeof(uint16_t));
    for (int mode = 1; mode < EMU_N_MODES; mode++) {
        emu_use_mode(mode);
        run_cuda(&again, plan, mode % 2);
        check_same(&again, r);
    }
}

struct heads {
    int n_kh, n_vh, d;
};
#ifdef EMU_TSAN_ON
static const struct heads all_heads[] = {{2, 4, 32}}; /* heads of a key head are neighbours */
#else
static const struct heads all_heads[] = {{2, 4, 64}, {2, 2, 128}, {2, 6, 32}, {4, 4, 64}, {1, 3, 32}};
#endif

/* Three sequences that begin one after the other, then run beside each other by different strides. */
static void test_delta_step_is_near_the_definition(void **state)
{
    const cuda_steps plan = {{{1, 3}}, {{1, 1}, {0, 2}}, {{0, 1}, {1, 1}, {2, 1}}, {{2, 5}, {0, 3}, {1, 1}}};

    for (const struct heads &h : all_heads) {
        struct data r = data_new(h.n_kh, h.n_vh, h.d, 3, 6, uint64_t(h.d + h.n_vh));
        check(&r, plan, 2e-5);
    }
}

#ifndef EMU_TSAN_ON
/* The 9B's heads: two tokens, the second of an advanced slot. */
static void test_delta_step_runs_the_9b(void **state)
{
    struct data r = data_new(16, 32, 128, 1, 2, 9), want = r;

    run_ref(&want, {{{0, 1}}, {{0, 1}}});
    emu_use_mode(2);
    run_cuda(&r, {{{0, 1}}, {{0, 1}}}, 0);
    cuda_check_near(r.out, want.out, 2e-5, "out");
    cuda_check_groups(r.out, r.q, r.group, "act");
}

#endif

/* Whatever else is in the step, and however many rows of the sequence: P2 of batches and drafts. */
static void test_delta_step_gives_the_same_bits_for_any_cut(void **state)
{
    struct data one = data_new(2, 4, 64, 2, 16, 3), other = one;
    cuda_steps single;

    emu_use_mode(0);
    for (int i = 0; i < 16; i++)
        single.push_back({{0, 1}});
    for (int i = 0; i < 16; i++)
        single.push_back({{1, 1}});
    run_cuda(&one, single, 0);
    run_cuda(&other, {{{0, 16}, {1, 2}}, {{1, 7}}, {{1, 1}}, {{1, 6}}}, 0);
    check_same(&other, &one);
}

static void test_delta_step_keeps_a_nan_in_its_sequence(void **state)
{
    struct data r = data_new(1, 3, 32, 2, 4, 5);

    r.qkv[2 * 32 + 7] = NAN; /* position 0 of sequence 0, v of its first head */
    emu_use_mode(0);
    run_cuda(&r, {{{0, 4}, {1, 4}}}, 0);
    for (size_t t = 0; t < 8; t++)
        for (size_t i = 0; i < r.n_out; i++)
            assert_int_equal(isnan(r.out[t * r.n_out + i]), t < 4 && i < 32);
    cuda_check_groups(r.out, r.q, r.group, "act");
}

#ifdef EMU_TSAN_ON
static const struct heads chunk_heads[] = {{1, 2, 32}};
#else
static const struct heads chunk_heads[] = {{2, 4, 64}, {1, 3, 32}};
#endif

/* Long spans: chunks, rows before and after them, beside decode rows, slots that go on. */
static void test_delta_chunks_are_near_the_definition(void **state)
{
    const cuda_steps plan = {{{1, 20}, {0, 66}}, {{0, 1}, {1, 121}}, {{0, 74}}};

    for (const struct heads &h : chunk_heads) {
        struct data r = data_new(h.n_kh, h.n_vh, h.d, 2, 141, uint64_t(h.d + h.n_vh));
        check(&r, plan, 1e-4);
    }
}

/* More spans than a warp looks at in one go, the long ones among the last. */
static void test_delta_chunks_find_their_span_among_many(void **state)
{
    struct data r = data_new(1, 1, 32, 35, 64, 17), want = r;
    cuda_steps plan = {{}};

    for (int i = 0; i < 35; i++)
        plan[0].push_back({i, i < 31 || i == 33 ? 1 : 64});
    run_ref(&want, plan);
    emu_use_mode(1);
    run_cuda(&r, plan, 0);
    cuda_check_near(r.out, want.out, 1e-4, "out");
}

#ifndef EMU_TSAN_ON
/* Chunked and token by token do the same over a long prompt: 4,096 tokens, slow and fast decays. */
static void test_delta_chunks_stay_with_the_recurrence(void **state)
{
    enum { LEN = 4096 };
    struct data chunks = data_new(1, 2, 32, 1, LEN, 21), tokens;
    cuda_steps long_plan, short_plan;
    double worst = 0, sum = 0, size = 0;

    chunks.a = {-0.02f, -2.0f};
    tokens = chunks;
    for (int t = 0; t < LEN; t += 512)
        long_plan.push_back(std::vector<struct cuda_cut>(1, {0, 512}));
    for (int t = 0; t < LEN; t += 16)
        short_plan.push_back(std::vector<struct cuda_cut>(1, {0, 16}));
    emu_use_mode(0);
    run_cuda(&chunks, long_plan, 0);
    run_cuda(&tokens, short_plan, 0);
    for (size_t i = 0; i < chunks.out.size(); i++) {
        const double error = fabs(double(chunks.out[i]) - double(tokens.out[i]));
        worst = fmax(worst, error / (1 + fabs(double(tokens.out[i]))));
        sum += error;
        size += fabs(double(tokens.out[i]));
    }
    if (!(worst <= 2e-3 && sum / size <= 1e-4))
        fail_msg("worst %g, mean %g of the mean size", worst, sum / size);
}

/* The 9B's heads, one chunk and a token. */
static void test_delta_chunks_run_the_9b(void **state)
{
    const cuda_steps plan = {std::vector<struct cuda_cut>(1, {0, 65})};
    struct data r = data_new(16, 32, 128, 1, 65, 9), want = r;

    run_ref(&want, plan);
    emu_use_mode(2);
    run_cuda(&r, plan, 0);
    cuda_check_near(r.out, want.out, 1e-4, "out");
    cuda_check_groups(r.out, r.q, r.group, "act");
}
#endif

/* Where a prompt is cut at the ends of chunks, and what is read beside it, changes nothing. */
static void test_delta_chunks_give_the_same_bits_for_cuts_between_them(void **state)
{
    struct data whole = data_new(1, 2, 32, 2, 150, 3), cut = whole;

    emu_use_mode(0);
    run_cuda(&whole, {std::vector<struct cuda_cut>(1, {0, 150}), std::vector<struct cuda_cut>(1, {1, 150})},
             0);
    run_cuda(&cut, {{{0, 64}, {1, 128}}, {{0, 64}, {1, 22}}, {{0, 22}}}, 1);
    check_same(&cut, &whole);
}

static void test_delta_mix_refuses_shapes_without_kernels(void **state)
{
    const struct kern_span span = {0, 1, 0, 0, NULL};
    const struct kern_batch batch = {1, 1, NULL, &span}, none = {0, 0, NULL, &span};
    const struct {
        int n_kh, n_vh, d, conv_k;
    } shapes[] = {{2, 4, 48, 4}, {2, 4, 256, 4}, {2, 3, 64, 4}, {2, 4, 64, 3}, {0, 4, 64, 4}, {2, 0, 64, 4}};
    struct kern_cuda_delta op = {};

    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        op.n_kh = shapes[i].n_kh;
        op.n_vh = shapes[i].n_vh;
        op.d = shapes[i].d;
        op.conv_k = shapes[i].conv_k;
        assert_int_equal(kern_cuda_delta_mix(&op, &batch, false, NULL), -EINVAL);
    }
    op.n_kh = op.n_vh = 1;
    op.d = 64;
    op.conv_k = 4;
    assert_int_equal(kern_cuda_delta_mix(&op, &none, false, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delta_step_is_near_the_definition),
#ifndef EMU_TSAN_ON /* nothing in it but more of the same */
        cmocka_unit_test(test_delta_step_runs_the_9b),
#endif
        cmocka_unit_test(test_delta_step_gives_the_same_bits_for_any_cut),
        cmocka_unit_test(test_delta_step_keeps_a_nan_in_its_sequence),
        cmocka_unit_test(test_delta_chunks_are_near_the_definition),
        cmocka_unit_test(test_delta_chunks_find_their_span_among_many),
#ifndef EMU_TSAN_ON
        cmocka_unit_test(test_delta_chunks_stay_with_the_recurrence),
        cmocka_unit_test(test_delta_chunks_run_the_9b),
#endif
        cmocka_unit_test(test_delta_chunks_give_the_same_bits_for_cuts_between_them),
        cmocka_unit_test(test_delta_mix_refuses_shapes_without_kernels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
