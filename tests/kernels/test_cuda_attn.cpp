/* test_cuda_attn.cpp - attention on the device against ref.c: every KV type, pages in no order, positions of
 * one part and of many; the same bits in every order, alone or in a batch. */
#include "kernels/cuda/attn.cuh"

#include "cuda_step.h"
#include "kt_cuda.h"

enum { N_PAGES = 24, SEQ_PAGES = 4, CTX = SEQ_PAGES * KERN_PAGE_TOK };
static const float eps = 1e-6f;

/* Rows of all sequences, by sequence and position, and what came out. */
struct data {
    struct kern_shape s;
    struct cuda_seqs seqs;
    int n_rot, add; /* add: to each position, as if the pages before were read in a circle */
    float base;
    std::vector<float> q, k, v, norm, out;
    std::vector<int8_t> code;
    std::vector<uint16_t> h;
    std::vector<struct kern_cuda_group> group;
};

static int slot_of(int seq)
{
    return seq;
}

/* In no order, and no page of two sequences. */
static const int32_t *pages_of(int seq)
{
    static int32_t pages[3][SEQ_PAGES];

    for (int i = 0; i < SEQ_PAGES; i++)
        pages[seq][i] = ((seq * SEQ_PAGES + i) * 5 + 2) % N_PAGES;
    return pages[seq];
}

static struct data data_new(int n_qh, int n_kvh, int d, enum kern_kv_type kv_type, int n_seq, int len,
                            uint64_t seed)
{
    struct data r = {};
    const size_t n = size_t(n_seq * len), heads = size_t(n_qh * d), kv = size_t(n_kvh * d);

    r.s.dim = r.s.n_ff = r.s.n_vocab = 16;
    r.s.n_qh = n_qh;
    r.s.n_kvh = n_kvh;
    r.s.d_attn = d;
    r.s.n_kh = r.s.n_vh = 1;
    r.s.d_delta = 16;
    r.s.conv_k = 4;
    r.s.max_tok = n_seq * len;
    r.s.max_ctx = CTX;
    r.s.kv_type = kv_type;
    r.seqs = {n_seq, len, slot_of, pages_of};
    r.n_rot = d / 4;
    r.base = 1e7f;
    r.q = cuda_floats(&seed, n * heads * 2, -3, 3);
    r.k = cuda_floats(&seed, n * kv, -3, 3);
    r.v = cuda_floats(&seed, n * kv, -3, 3);
    r.norm = cuda_floats(&seed, size_t(d), 0.5f, 1.5f);
    r.out.assign(n * heads, 0.0f); /* rows that a test leaves out stay so */
    r.code.assign(n * heads, 0);
    r.h.assign(n * heads, 0);
    r.group.resize(n * heads / KERN_CUDA_GROUP);
    return r;
}

struct ref_ctx {
    struct kern *kern;
    uint8_t *kv;
};

static void ref_step(void *data, const struct kern_batch *b, const std::vector<struct cuda_cut> &cuts,
                     void *ctx)
{
    struct data *const r = static_cast<struct data *>(data);
    struct ref_ctx *const ref = static_cast<struct ref_ctx *>(ctx);
    const std::vector<float> q = cuda_gather(&r->seqs, r->q, b, cuts),
                             k = cuda_gather(&r->seqs, r->k, b, cuts),
                             v = cuda_gather(&r->seqs, r->v, b, cuts);
    std::vector<float> out(size_t(b->n_tok) * size_t(r->s.n_qh * r->s.d_attn));
    const struct kern_attn op = {b,   q.data(), k.data(), v.data(), r->norm.data(), r->norm.data(),
                                 eps, r->n_rot, r->base,  ref->kv,  out.data()};

    assert_int_equal(ref->kern->ops->attn(ref->kern, &op), 0);
    cuda_scatter(&r->seqs, &r->out, out, b, cuts);
}

static void run_ref(struct data *r, const cuda_steps &plan)
{
    struct ref_ctx ref = {cuda_ref(&r->s), NULL};
    const size_t bytes = N_PAGES * ref.kern->ops->kv_page_bytes(ref.kern);

    ref.kv = static_cast<uint8_t *>(malloc(bytes));
    memset(ref.kv, 0xff, bytes); /* NaN: what another sequence left */
    cuda_run(&r->seqs, plan, ref_step, r, &ref);
    free(ref.kv);
    kern_free(ref.kern);
}

struct cuda_ctx {
    uint8_t *kv;
    void *scratch;
    float *norm;
    int more_rows; /* of the bucket, beyond the step's */
};

/* in: q, k, v of the step on the device.  Takes the results into r. */
static void cuda_launch(struct data *r, const struct cuda_ctx *c, float *const *in,
                        const struct kern_batch *b, const std::vector<struct cuda_cut> &cuts)
{
    const size_t n = size_t(b->n_tok) * size_t(r->s.n_qh * r->s.d_attn);
    std::vector<float> out(n);
    std::vector<int8_t> code(n);
    std::vector<uint16_t> h(n);
    std::vector<struct kern_cuda_group> group(n / KERN_CUDA_GROUP);
    struct cuda_step step = cuda_step_new(b, r->s.max_ctx);
    struct kern_cuda_attn op = {};
    struct kern_cuda_rope rope;
    std::vector<struct kern_span> spans(b->spans, b->spans + b->n_span);
    struct kern_batch bucket = *b;
    cudaStream_t stream;

    for (int i = 0; i < c->more_rows; i++, bucket.n_tok++, bucket.n_span++)
        spans.push_back({bucket.n_tok, 1, CTX - 1, 0, NULL});
    bucket.spans = spans.data();
    op.step = step.step;
    op.n_qh = r->s.n_qh;
    op.n_kvh = r->s.n_kvh;
    op.d = r->s.d_attn;
    op.max_ctx = r->s.max_ctx;
    op.kv_type = r->s.kv_type;
    op.q = in[0];
    op.k = in[1];
    op.v = in[2];
    op.q_norm = op.k_norm = c->norm;
    op.eps = eps;
    op.kv = c->kv;
    op.scratch = c->scratch;
    op.act.f = emu_device<float>(NULL, n);
    op.act.q = emu_device<int8_t>(NULL, n);
    op.act.h = emu_device<uint16_t>(NULL, n);
    op.act.group = emu_device<struct kern_cuda_group>(NULL, group.size());
    assert_int_equal(kern_cuda_rope_init(r->base, r->n_rot, &rope), 0);
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(kern_cuda_attn_mix(&op, &bucket, &rope, true, stream), 0);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    emu_take(out.data(), op.act.f, n);
    emu_take(code.data(), op.act.q, n);
    emu_take(h.data(), op.act.h, n);
    emu_take(group.data(), op.act.group, group.size());
    cuda_step_free(&step);
    cuda_scatter(&r->seqs, &r->out, out, b, cuts);
    cuda_scatter(&r->seqs, &r->code, code, b, cuts);
    cuda_scatter(&r->seqs, &r->h, h, b, cuts);
    cuda_scatter(&r->seqs, &r->group, group, b, cuts);
}

static void cuda_step_run(void *data, const struct kern_batch *b, const std::vector<struct cuda_cut> &cuts,
                          void *ctx)
{
    struct data *const r = static_cast<struct data *>(data);
    const std::vector<float> q = cuda_gather(&r->seqs, r->q, b, cuts),
                             k = cuda_gather(&r->seqs, r->k, b, cuts),
                             v = cuda_gather(&r->seqs, r->v, b, cuts);
    float *const in[] = {emu_device(q.data(), q.size()), emu_device(k.data(), k.size()),
                         emu_device(v.data(), v.size())};

    cuda_launch(r, static_cast<const struct cuda_ctx *>(ctx), in, b, cuts);
    for (float *p : in)
        cudaFree(p);
}

static void run_cuda(struct data *r, const cuda_steps &plan, int more_rows)
{
    struct kern_shape s = r->s;

    s.max_tok += more_rows;
    struct cuda_ctx c = {emu_device<uint8_t>(NULL, N_PAGES * kern_cuda_page_bytes(&s)),
                         emu_device<uint8_t>(NULL, kern_cuda_attn_scratch_bytes(&s)),
                         emu_device(r->norm.data(), r->norm.size()), more_rows};

    cuda_run(&r->seqs, plan, cuda_step_run, r, &c);
    cudaFree(c.kv);
    cudaFree(c.scratch);
    cudaFree(c.norm);
}

static void check_same(const struct data *got, const struct data *want)
{
    assert_memory_equal(got->out.data(), want->out.data(), want->out.size() * sizeof(float));
    assert_memory_equal(got->code.data(), want->code.data(), want->code.size());
    assert_memory_equal(got->group.data(), want->group.data(), want->group.size() * sizeof(want->group[0]));
}

/* A key just beside a rounding border may fall on its other side, as f32 and double see it: one step of 1/127
 * (Q8_0) or 2^-11 (F16) in one of d values of one key. */
static double tolerance_of(enum kern_kv_type type)
{
    return type == KERN_KV_Q8_0 ? 1e-3 : type == KERN_KV_F16 ? 1e-4 : 2e-5;
}

/* Wide heads run the same code in less orders. */
static void check(struct data *r, const cuda_steps &plan, double tolerance)
{
    const int n_mode = r->s.d_attn > 64 ? 3 : EMU_N_MODES;
    struct data want = *r, again = *r;

    run_ref(&want, plan);
    emu_use_mode(0);
    run_cuda(r, plan, 0);
    cuda_check_near(r->out, want.out, tolerance, "out");
    cuda_check_groups(r->out, r->code, r->group, "act");
    assert_memory_equal(r->h.data(), kt_halves(r->out).data(), r->h.size() * sizeof(uint16_t));
    for (int mode = 1; mode < n_mode; mode++) {
        emu_use_mode(mode);
        run_cuda(&again, plan, mode % 3);
        check_same(&again, r);
    }
}

struct heads {
    int n_qh, n_kvh, d;
    enum kern_kv_type type;
};
#ifdef EMU_TSAN_ON
static const struct heads all_heads[] = {{3, 1, 64, KERN_KV_Q8_0}};
#else
/* Groups of 1 to 6 query heads: less, as many and more than a block takes. */
static const struct heads all_heads[] = {
    {2, 2, 64, KERN_KV_F32},  {5, 1, 64, KERN_KV_Q8_0}, {4, 2, 128, KERN_KV_Q8_0}, {12, 2, 64, KERN_KV_F16},
    {2, 1, 128, KERN_KV_F32}, {4, 1, 256, KERN_KV_F16}, {2, 1, 256, KERN_KV_Q8_0}};
#endif

/* Three sequences by different strides, one over the end of a page, one with a single key. */
static void test_attn_decode_is_near_the_definition(void **state)
{
    const cuda_steps plan = {
        {{0, 16}}, {{0, 16}}, {{0, 16}}, {{0, 15}, {1, 3}, {2, 1}}, {{2, 1}, {0, 1}, {1, 1}}, {{0, 2}}};

    for (const struct heads &h : all_heads) {
        struct data r = data_new(h.n_qh, h.n_kvh, h.d, h.type, 3, 66, uint64_t(h.d + h.n_qh));
        check(&r, plan, tolerance_of(h.type));
    }
}

#ifndef EMU_TSAN_ON
enum { FAR = 262144 };

/* Three pages again and again. */
static const int32_t *circle_of(int seq)
{
    static int32_t pages[FAR / KERN_PAGE_TOK];

    for (int i = 0; i < FAR / KERN_PAGE_TOK; i++)
        pages[i] = seq + i % 3;
    return pages;
}

/* The last position of the longest context: every part has 64 pages, and angles go up to 262,143.  A long sum
 * of small weights: its error grows with the number of keys. */
static void test_attn_decode_reaches_the_last_position(void **state)
{
    const cuda_steps plan = {{{0, 96}}, {{0, 96}}, {{0, 1}}};
    struct data r = data_new(2, 1, 64, KERN_KV_F32, 1, 193, 13), want;

    r.s.max_ctx = FAR;
    r.seqs.pages_of = circle_of;
    r.seqs.jump_at = 192;
    r.seqs.jump = FAR - 193;
    want = r;
    run_ref(&want, plan);
    emu_use_mode(0);
    run_cuda(&r, plan, 0);
    cuda_check_near(r.out, want.out, 1e-4, "out");
}

/* One page again and again. */
static const int32_t *one_page_of(int seq)
{
    static int32_t pages[FAR / KERN_PAGE_TOK];

    for (int32_t &page : pages)
        page = seq;
    return pages;
}

/* Contexts of less than a page, of a part a page, and of parts of two. */
static void test_attn_decode_is_near_the_definition_at_any_length(void **state)
{
    const int lens[] = {1, 63, 64, 65, 1000, 5000};

    for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
        const int n_row = MIN(lens[i], 65), n_old = n_row - 1; /* the last one is read alone, from far off */
        const enum kern_kv_type type = i % 2 ? KERN_KV_F16 : KERN_KV_Q8_0;
        struct data r = data_new(5, 1, 64, type, 1, n_row, i), want;
        cuda_steps plan;
        for (int t = 0; t < n_old; t += KERN_CUDA_SHORT)
            plan.push_back(std::vector<struct cuda_cut>(1, {0, MIN(n_old - t, int(KERN_CUDA_SHORT))}));
        plan.push_back(std::vector<struct cuda_cut>(1, {0, 1}));
        r.s.max_ctx = FAR;
        r.seqs.pages_of = lens[i] > n_row ? one_page_of : pages_of;
        r.seqs.jump_at = n_old;
        r.seqs.jump = lens[i] - n_row;
        want = r;
        run_ref(&want, plan);
        emu_use_mode(int(i) % EMU_N_MODES);
        run_cuda(&r, plan, 0);
        cuda_check_near(r.out, want.out, tolerance_of(type), "out");
        if (lens[i] < 5000)
            continue;
        struct data wide = r; /* 40 parts for the 32 blocks that each of 16 rows gets for 2 groups of heads */
        run_cuda(&wide, plan, 15);
        check_same(&wide, &r);
    }
}

/* The 9B's heads. */
static void test_attn_decode_runs_the_9b(void **state)
{
    const cuda_steps plan = {{{0, 16}}, {{0, 1}, {1, 2}}};
    struct data r = data_new(16, 4, 256, KERN_KV_F16, 2, 17, 9), want = r;

    run_ref(&want, plan);
    emu_use_mode(2);
    run_cuda(&r, plan, 0);
    cuda_check_near(r.out, want.out, tolerance_of(KERN_KV_F16), "out");
    cuda_check_groups(r.out, r.code, r.group, "act");
}
#endif

static void test_attn_decode_gives_the_same_bits_for_any_cut(void **state)
{
    struct data one = data_new(3, 1, 64, KERN_KV_F16, 2, 16, 3), other = one;
    cuda_steps single;

    emu_use_mode(0);
    for (int seq = 0; seq < 2; seq++)
        for (int i = 0; i < 16; i++)
            single.push_back({{seq, 1}});
    run_cuda(&one, single, 0);
    run_cuda(&other, {{{0, 16}, {1, 2}}, {{1, 7}}, {{1, 1}}, {{1, 6}}}, 2);
    check_same(&other, &one);
}

#ifndef EMU_TSAN_ON
/* A value that is no number must be seen in its channel of the result (F32, F16) or in its group (Q8_0), in
 * its sequence from its position on. */
static void test_attn_decode_keeps_a_nan_in_its_sequence(void **state)
{
    for (enum kern_kv_type type : {KERN_KV_F32, KERN_KV_F16, KERN_KV_Q8_0}) {
        struct data r = data_new(1, 1, 64, type, 2, 4, 5);
        r.v[1 * 64 + 7] = NAN; /* position 1 of sequence 0 */
        emu_use_mode(0);
        run_cuda(&r, {{{0, 4}, {1, 4}}}, 0);
        for (int t = 0; t < 8; t++)
            for (int i = 0; i < 64; i++)
                if (isnan(r.out[size_t(t * 64 + i)]) !=
                    (t >= 1 && t < 4 && (type == KERN_KV_Q8_0 ? i < 32 : i == 7)))
                    fail_msg("KV type %d, row %d, value %d: %g", type, t, i,
                             double(r.out[size_t(t * 64 + i)]));
        cuda_check_groups(r.out, r.code, r.group, "act");
    }
}

/* Keys that dwarf all others: weights of 0 and 1, scores of 7200 with errors of 4e-4 and f16 steps of keys.
 */
static void test_attn_decode_survives_extreme_scores(void **state)
{
    const cuda_steps plan = {{{0, 16}}, {{0, 4}, {1, 1}}};
    struct data r = data_new(4, 2, 64, KERN_KV_F16, 2, 20, 11);

    for (float &w : r.norm)
        w = 30.0f;
    for (int i = 0; i < 64; i++)
        r.v[size_t(3 * 2 * 64 + i)] *= 1e6f; /* past f16, which is clamped to */
    struct data want = r;
    run_ref(&want, plan);
    emu_use_mode(2);
    run_cuda(&r, plan, 0);
    cuda_check_near(r.out, want.out, 5e-2, "out");
}

#endif

#ifdef EMU_TSAN_ON
static const struct heads long_heads[] = {{3, 1, 64, KERN_KV_F16}};
#else
static const struct heads long_heads[] = {{2, 2, 64, KERN_KV_F16},   {6, 1, 64, KERN_KV_Q8_0},
                                          {3, 1, 128, KERN_KV_F16},  {4, 1, 256, KERN_KV_F16},
                                          {8, 1, 128, KERN_KV_Q8_0}, {2, 1, 256, KERN_KV_Q8_0}};
#endif

/* f16 products: 2^-11 of scores of some units, and of weights up to 1. */
static const double long_tolerance = 2e-3;

/* A long span, then longer ones beside short ones, over the ends of pages and tiles. */
static void test_attn_prefill_is_near_the_definition(void **state)
{
    const cuda_steps plan = {{{1, 17}}, {{0, 65}, {1, 2}, {2, 1}}, {{2, 1}, {1, 30}, {0, 20}}};

    for (const struct heads &h : long_heads) {
        struct data r = data_new(h.n_qh, h.n_kvh, h.d, h.type, 3, 86, uint64_t(h.d + h.n_qh));
        check(&r, plan, long_tolerance);
    }
}

static void test_attn_prefill_gives_the_same_bits_for_any_long_cut(void **state)
{
    struct data whole = data_new(3, 1, 64, KERN_KV_F16, 1, 85, 3), cut = whole;

    emu_use_mode(0);
    run_cuda(&whole, {std::vector<struct cuda_cut>(1, {0, 85})}, 0);
    run_cuda(&cut, {{{0, 17}}, {{0, 31}}, {{0, 37}}}, 0);
    check_same(&cut, &whole);
}

static void test_attn_prefill_keeps_a_nan_in_its_sequence(void **state)
{
    struct data r = data_new(1, 1, 64, KERN_KV_F16, 2, 20, 5);

    r.v[19 * 64 + 7] = NAN; /* the last position of sequence 0; its value reaches the rows of the tile */
    emu_use_mode(0);
    run_cuda(&r, {{{0, 20}, {1, 20}}}, 0);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(isnan(r.out[size_t(19 * 64 + i)]), i == 7);
        for (int t = 20; t < 40; t++)
            assert_false(isnan(r.out[size_t(t * 64 + i)]));
    }
    cuda_check_groups(r.out, r.code, r.group, "act");
}

static void test_attn_mix_refuses_what_it_has_no_kernels_for(void **state)
{
    const struct kern_span span = {0, 1, CTX - 1, 0, NULL}, past = {0, 1, CTX, 0, NULL};
    const struct kern_batch batch = {1, 1, NULL, &span}, far = {1, 1, NULL, &past},
                            none = {0, 0, NULL, &span};
    const struct heads shapes[] = {{4, 2, 96, KERN_KV_F16},
                                   {3, 2, 64, KERN_KV_F16},
                                   {0, 1, 64, KERN_KV_F16},
                                   {2, 0, 64, KERN_KV_F16},
                                   {2, 1, 512, KERN_KV_F16}};
    struct kern_cuda_attn op = {};
    struct kern_cuda_rope rope;

    for (int n_rot : {0, 1, 15, 258})
        assert_int_equal(kern_cuda_rope_init(1e4f, n_rot, &rope), -EINVAL);
    assert_int_equal(kern_cuda_rope_init(0.0f, 16, &rope), -EINVAL);
    assert_int_equal(kern_cuda_rope_init(1e4f, 64, &rope), 0);
    op.max_ctx = CTX;
    for (const struct heads &h : shapes) {
        op.n_qh = h.n_qh;
        op.n_kvh = h.n_kvh;
        op.d = h.d;
        assert_int_equal(kern_cuda_attn_mix(&op, &batch, &rope, false, NULL), -EINVAL);
    }
    op.n_qh = op.n_kvh = 1;
    op.d = 64;
    assert_int_equal(kern_cuda_attn_mix(&op, &far, &rope, false, NULL), -EINVAL);
    assert_int_equal(kern_cuda_attn_mix(&op, &none, &rope, false, NULL), -EINVAL);
    assert_int_equal(kern_cuda_rope_init(1e4f, 128, &rope), 0);
    assert_int_equal(kern_cuda_attn_mix(&op, &batch, &rope, false, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attn_decode_is_near_the_definition),
#ifndef EMU_TSAN_ON /* nothing in it but more of the same */
        cmocka_unit_test(test_attn_decode_runs_the_9b),
        cmocka_unit_test(test_attn_decode_reaches_the_last_position),
        cmocka_unit_test(test_attn_decode_is_near_the_definition_at_any_length),
#endif
        cmocka_unit_test(test_attn_decode_gives_the_same_bits_for_any_cut),
#ifndef EMU_TSAN_ON
        cmocka_unit_test(test_attn_decode_keeps_a_nan_in_its_sequence),
        cmocka_unit_test(test_attn_decode_survives_extreme_scores),
#endif
        cmocka_unit_test(test_attn_prefill_is_near_the_definition),
        cmocka_unit_test(test_attn_prefill_gives_the_same_bits_for_any_long_cut),
        cmocka_unit_test(test_attn_prefill_keeps_a_nan_in_its_sequence),
        cmocka_unit_test(test_attn_mix_refuses_what_it_has_no_kernels_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
