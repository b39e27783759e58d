/* test_cuda_backend.cpp - the CUDA backend itself, emulated: which device it takes and what it says of those
 * that it does not, steps as graphs, stages, memory with an fd.  Its ops are compared with ref's by
 * tests/gpu. */
#include "kernels/cuda/cuda.cuh"

#include "tests/emu/emu_test.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include <vector>

enum { DIM = 64, D = 32, N_VH = 2, VOCAB = 9, ROWS = 3 };

static struct kern *open_backend(void)
{
    const struct kern_options options = {};
    struct fault fault = {};
    struct kern *kern = NULL;

    if (kern_cuda_backend.open(&options, &fault, &kern))
        fail_msg("%s", fault.text);
    return kern;
}

/* opening */

static void check_refused(const struct emu_machine *machine, const char *text)
{
    const struct kern_options options = {};
    const struct emu_machine usual = EMU_MACHINE;
    struct fault fault = {};
    struct kern *kern = NULL;

    emu_set_machine(machine);
    const int r = kern_cuda_backend.open(&options, &fault, &kern);
    emu_set_machine(&usual);
    assert_int_equal(r, KERN_E_BACKEND);
    assert_string_equal(fault.text, text);
    assert_null(kern);
}

static void test_what_is_missing_is_named(void **state)
{
    struct emu_machine m = EMU_MACHINE;

    m.error = cudaErrorInsufficientDriver;
    m.n_device = m.driver = 0;
    check_refused(&m, "no CUDA: there is no NVIDIA driver (libcuda.so.1)");
    m.driver = 11040;
    check_refused(&m, "no CUDA: the NVIDIA driver is for CUDA 11.4, this build needs 13.0");
    m.error = cudaErrorNoDevice;
    m.driver = 13000;
    check_refused(&m, "no CUDA: the NVIDIA driver is there, but it finds no GPU");
    m.error = cudaErrorIllegalState;
    check_refused(&m, "no CUDA: invalid argument");
    m = EMU_MACHINE;
    m.major = 7;
    m.minor = 5;
    check_refused(&m, "no CUDA: emulation has compute capability 7.5, 8.0 (Ampere) or later is needed");
    m = EMU_MACHINE;
    m.taken_bytes = m.bytes - (100 << 20);
    check_refused(
        &m,
        "no CUDA: emulation has 100 MiB of 1024 free, at least 256 are needed: other programs hold the rest");
}

static void test_a_device_is_told_by_what_it_is(void **state)
{
    static const struct {
        int major, minor;
        const char *isa, *numerics_id; /* -f16: prompts are computed so */
    } devices[] = {{8, 0, "sm_80", "emu-2-sm_80-f16"},    {8, 6, "sm_86", "emu-2-sm_86"},
                   {8, 9, "sm_89", "emu-2-sm_89"},        {9, 0, "sm_90", "emu-2-sm_90-f16"},
                   {10, 0, "sm_100", "emu-2-sm_100-f16"}, {10, 3, "sm_103", "emu-2-sm_103-f16"},
                   {12, 0, "sm_120", "emu-2-sm_120"}};
    struct emu_machine m = EMU_MACHINE;

    m.n_device = 2;
    for (const auto &device : devices) {
        m.major = device.major;
        m.minor = device.minor;
        emu_set_machine(&m);
        struct kern *const kern = open_backend();
        assert_string_equal(kern->ops->name, "emu");
        assert_string_equal(kern->isa, device.isa);
        assert_string_equal(kern->numerics_id, device.numerics_id);
        kern->ops->free(kern);
    }
    m = EMU_MACHINE;
    emu_set_machine(&m);
}

/* steps */

/* A model of one layer's worth of ops, so that a step has a mixer with state. */
struct little {
    struct kern *kern;
    struct kern_mem mem;
    struct kern_mat table, in, out;
    float *x, *qkv, *z, *gates, *mix, *logits;
    const float *w;
    uint8_t *state;
    size_t used;
};

template <class T>
static T *little_cut(struct little *l, size_t n)
{
    T *const p = reinterpret_cast<T *>(l->mem.base + l->used);

    l->used += ROUND_UP(n * sizeof(T), size_t(256));
    return p;
}

static struct kern_mat little_mat(struct little *l, enum kern_layout layout, int n_out, int n_in,
                                  uint64_t seed)
{
    std::vector<float> rows(size_t(n_out) * size_t(n_in));
    struct kern_mat m = {};

    for (auto &v : rows)
        v = (float(emu_next(&seed) % 2001) - 1000.0f) * 1e-4f;
    m.type = QUANT_F32;
    m.layout = layout;
    m.n_out = n_out;
    m.n_in = n_in;
    m.bytes = l->kern->ops->mat_bytes(l->kern, m.type, layout, n_out, n_in);
    m.data = little_cut<uint8_t>(l, m.bytes);
    for (int row = 0; row < n_out; row += 2 * KERN_PACK_ROWS) {
        struct kern_pack pack = {};
        pack.mat = &m;
        pack.row = row;
        pack.n_row = MIN(2 * int(KERN_PACK_ROWS), n_out - row);
        pack.src = rows.data() + size_t(row) * size_t(n_in);
        assert_int_equal(l->kern->ops->mat_pack(l->kern, &pack), 0);
    }
    return m;
}

static void little_open(struct little *l, int max_tok = 16)
{
    const int n_ch = (2 + N_VH) * D;
    struct kern_shape shape = {};

    memset(l, 0, sizeof(*l));
    l->kern = open_backend();
    shape.dim = DIM;
    shape.n_ff = DIM;
    shape.n_vocab = DIM; /* what head() gives; the table has fewer */
    shape.n_qh = shape.n_kvh = 1;
    shape.d_attn = 64;
    shape.n_kh = 1;
    shape.n_vh = N_VH;
    shape.d_delta = D;
    shape.conv_k = 4;
    shape.max_tok = max_tok;
    shape.max_ctx = 64;
    shape.kv_type = KERN_KV_F16;
    assert_int_equal(l->kern->ops->plan(l->kern, &shape), 0);
    assert_int_equal(l->kern->ops->mem_alloc(l->kern, 1 << 20, KERN_MEM_STATE, &l->mem), 0);
    l->table = little_mat(l, KERN_ROWS, VOCAB, DIM, 1);
    l->in = little_mat(l, KERN_PANELS, n_ch, DIM, 2);
    l->out = little_mat(l, KERN_PANELS, DIM, N_VH * D, 3);
    l->x = little_cut<float>(l, 16 * DIM);
    l->qkv = little_cut<float>(l, 16 * size_t(n_ch));
    l->z = little_cut<float>(l, 16 * N_VH * D);
    l->gates = little_cut<float>(l, 16 * N_VH);
    l->mix = little_cut<float>(l, 16 * N_VH * D);
    l->logits = little_cut<float>(l, 16 * DIM);
    l->w = reinterpret_cast<const float *>(l->out.data); /* any small numbers */
    l->state = little_cut<uint8_t>(l, 4 * l->kern->ops->delta_state_bytes(l->kern));
    assert_true(l->used <= l->mem.bytes);
}

static void little_close(struct little *l)
{
    l->kern->ops->mem_free(l->kern, &l->mem);
    l->kern->ops->free(l->kern);
}

/* A token of each of n sequences at pos; top: of its logits, ret_rows and asked set. */
static std::vector<float> little_step(struct little *l, int n, int pos, struct kern_top *top = NULL)
{
    const int32_t ids[] = {pos % VOCAB, (pos + 3) % VOCAB, (2 * pos + 1) % VOCAB};
    const int rows[] = {0, 1, 2};
    const struct kern_ops *const ops = l->kern->ops;
    std::vector<float> logits(size_t(n) * DIM);
    struct kern_span spans[ROWS] = {};
    struct kern_batch batch = {};
    struct kern_norm_proj in = {};
    struct kern_delta delta = {};
    struct kern_proj_add out = {};
    struct kern_head head = {};

    for (int i = 0; i < n; i++) {
        spans[i].row0 = i;
        spans[i].n_tok = 1;
        spans[i].pos0 = pos;
        spans[i].slot = (i + 1) % ROWS;
    }
    batch.n_tok = batch.n_span = in.n_tok = out.n_tok = n;
    batch.ids = ids;
    batch.spans = spans;
    in.n_mat = 1;
    in.x = l->x;
    in.norm_w = l->w;
    in.eps = delta.eps = head.eps = 1e-6f;
    in.mats[0] = &l->in;
    in.out[0] = l->qkv;
    delta.batch = &batch;
    delta.qkv = l->qkv;
    delta.z = l->z;
    delta.alpha = delta.beta = l->gates;
    delta.conv_w = delta.a = delta.dt = delta.norm_w = l->w;
    delta.state = l->state;
    delta.out = l->mix;
    out.y = l->mix;
    out.mat = &l->out;
    out.x = l->x;
    head.n_rows = n;
    head.rows = rows;
    head.x = l->x;
    head.norm_w = l->w;
    head.mat = &l->out;
    head.logits = l->logits;
    assert_int_equal(ops->embed(l->kern, &l->table, ids, n, l->x), 0);
    assert_int_equal(ops->norm_proj(l->kern, &in), 0);
    assert_int_equal(ops->delta(l->kern, &delta), 0);
    assert_int_equal(ops->proj_add(l->kern, &out), 0);
    assert_int_equal(ops->head(l->kern, &head), 0);
    if (top) {
        top->n_rows = n;
        top->n_vocab = DIM;
        top->logits = l->logits;
        assert_int_equal(ops->top(l->kern, top), 0);
    }
    assert_int_equal(ops->copy_out(l->kern, logits.data(), l->logits, logits.size() * sizeof(float)), 0);
    return logits;
}

/* The same steps as graphs and, since they are timed, plainly.  Three rows in a bucket of four leave the
 * others' states alone: were it not so, the second graph of one row would go on from another state. */
static void test_graphs_give_the_bits_that_plain_launches_give(void **state)
{
    static const int n_rows[] = {1, 3, 1, 3, 3, 1, 2, 2, 2};
    struct little graphs, plain;
    bool moves = false;

    little_open(&graphs);
    little_open(&plain);
    plain.kern->timed = true;
    std::vector<float> last;
    for (int i = 0; i < int(sizeof(n_rows) / sizeof(n_rows[0])); i++) {
        const std::vector<float> a = little_step(&graphs, n_rows[i], i),
                                 b = little_step(&plain, n_rows[i], i);
        assert_int_equal(a.size(), b.size());
        assert_memory_equal(a.data(), b.data(), a.size() * sizeof(float));
        moves = moves || (!last.empty() && last[0] != a[0]);
        last = a;
    }
    assert_true(moves);
    /* of each bucket all steps but its first */
    assert_int_equal(cuda_of(graphs.kern)->n_graph_launches, 6);
    assert_int_equal(cuda_of(plain.kern)->n_graph_launches, 0);
    little_close(&graphs);
    little_close(&plain);
}

static void check_top(const struct kern_top_row *top, const float *logits)
{
    double sum = 0;

    assert_false(top->is_bad);
    assert_int_equal(top->n, DIM);
    for (int i = 0; i < DIM; i++) {
        sum += exp(double(logits[i]));
        assert_true(top->logits[i] == logits[top->ids[i]]);
        assert_true(i == 0 || top->logits[i] < top->logits[i - 1] ||
                    (top->logits[i] == top->logits[i - 1] && top->ids[i] > top->ids[i - 1]));
    }
    assert_true(fabs(top->lse - log(sum)) < KERN_TOP_LSE_ERROR);
}

/* Launched plainly and behind a graph. */
static void test_top_is_of_the_step_before_it(void **state)
{
    static const int32_t asked[ROWS] = {5, -1, DIM - 1};
    struct kern_top_row tops[ROWS];
    struct kern_top top = {};
    struct little with, without;

    top.asked = asked;
    top.ret_rows = tops;
    little_open(&with);
    little_open(&without);
    for (int i = 0; i < 6; i++) {
        const int n = i % 2 ? ROWS : 1;
        const std::vector<float> a = little_step(&with, n, i, &top), b = little_step(&without, n, i);
        assert_memory_equal(a.data(), b.data(), a.size() * sizeof(float));
        for (int row = 0; row < n; row++) {
            check_top(&tops[row], &a[size_t(row) * DIM]);
            if (asked[row] >= 0)
                assert_true(tops[row].asked == a[size_t(row * DIM + asked[row])]);
        }
    }
    assert_int_equal(cuda_of(with.kern)->n_graph_launches, cuda_of(without.kern)->n_graph_launches);
    little_close(&with);
    little_close(&without);
}

static void test_top_takes_more_rows_than_there_is_scratch_for_at_a_time(void **state)
{
    enum { MANY = KERN_CUDA_TOP_ROWS + 6 };
    std::vector<struct kern_top_row> tops(MANY);
    std::vector<float> logits(size_t(MANY) * DIM);
    std::vector<int32_t> asked(MANY);
    struct kern_top top = {};
    struct little l;
    uint64_t seed = 11;

    for (auto &v : logits)
        v = float(emu_next(&seed) % 100);
    for (int i = 0; i < MANY; i++)
        asked[size_t(i)] = i % DIM;
    little_open(&l, MANY);
    float *const device = little_cut<float>(&l, logits.size());
    assert_true(l.used <= l.mem.bytes);
    assert_int_equal(l.kern->ops->copy_in(l.kern, device, logits.data(), logits.size() * sizeof(float)), 0);
    top.n_rows = MANY;
    top.n_vocab = DIM;
    top.logits = device;
    top.asked = asked.data();
    top.ret_rows = tops.data();
    assert_int_equal(l.kern->ops->top(l.kern, &top), 0);
    for (size_t i = 0; i < MANY; i++) {
        check_top(&tops[i], &logits[i * DIM]);
        assert_true(tops[i].asked == logits[i * DIM + i % DIM]);
    }
    little_close(&l);
}

static void test_top_refuses_what_it_has_no_room_for(void **state)
{
    const int32_t outside[] = {DIM};
    struct kern_top_row tops[17];
    struct kern_top top = {};
    struct little l;

    little_open(&l);
    top.n_rows = 17;
    top.n_vocab = DIM;
    top.logits = l.logits;
    top.ret_rows = tops;
    assert_int_equal(l.kern->ops->top(l.kern, &top), -EINVAL);
    top.n_rows = 1;
    top.asked = outside;
    assert_int_equal(l.kern->ops->top(l.kern, &top), -EINVAL);
    top.n_vocab = DIM + 1;
    top.asked = NULL;
    assert_int_equal(l.kern->ops->top(l.kern, &top), -EINVAL);
    little_close(&l);
}

static void test_graphs_are_made_anew_for_other_operands(void **state)
{
    struct little l, plain;

    little_open(&l);
    little_open(&plain);
    plain.kern->timed = true;
    for (int i = 0; i < 6; i++) {
        if (i == 3) /* the table of what comes in is another one */
            l.in = l.out, plain.in = plain.out, l.in.n_out = plain.in.n_out = DIM;
        const std::vector<float> a = little_step(&l, 1, i), b = little_step(&plain, 1, i);
        assert_memory_equal(a.data(), b.data(), a.size() * sizeof(float));
    }
    assert_int_equal(cuda_of(l.kern)->n_graph_launches, 4);
    little_close(&l);
    little_close(&plain);
}

/* On 9.0 kernels start before the last one has ended: each must wait for it, which the emulation insists on.
 */
static void test_kernels_that_start_early_wait(void **state)
{
    struct emu_machine m = EMU_MACHINE;
    struct little early, late;

    little_open(&late);
    m.major = 9;
    emu_set_machine(&m);
    little_open(&early);
    for (int i = 0; i < 4; i++) {
        const std::vector<float> a = little_step(&early, ROWS, i), b = little_step(&late, ROWS, i);
        assert_memory_equal(a.data(), b.data(), a.size() * sizeof(float));
    }
    little_close(&early);
    m = EMU_MACHINE;
    emu_set_machine(&m);
    little_close(&late);
}

static void test_stages_count_what_was_read(void **state)
{
    struct kern_stage stages[CUDA_STAGES];
    struct little l;

    little_open(&l);
    little_step(&l, 1, 0);
    l.kern->timed = true;
    little_step(&l, ROWS, 1);
    struct kern_top_row tops[ROWS];
    struct kern_top top = {};
    top.ret_rows = tops;
    little_step(&l, ROWS, 2, &top);
    assert_int_equal(l.kern->ops->stages(l.kern, stages, CUDA_STAGES), CUDA_STAGES);
    for (const struct kern_stage &s : stages) {
        const bool used = !strcmp(s.name, "embed") || !strcmp(s.name, "in") || !strcmp(s.name, "delta") ||
                          !strcmp(s.name, "out") || !strcmp(s.name, "head");
        const bool is_top = !strcmp(s.name, "top");
        assert_int_equal(s.n, used ? 2 : is_top);
        assert_int_equal(s.ns > 0, used || is_top);
    }
    assert_int_equal(stages[1].bytes, 2 * l.in.bytes);
    assert_int_equal(stages[1].ops, 2 * ROWS * (2 + N_VH) * D * DIM);
    assert_int_equal(stages[CUDA_TOP].bytes, ROWS * DIM * sizeof(float));
    assert_int_equal(stages[2].bytes, 2 * ROWS * l.kern->ops->delta_state_bytes(l.kern));
    little_close(&l);
}

/* A step that does not fit is refused, and nothing is launched for it. */
static void test_what_a_step_cannot_hold_is_refused(void **state)
{
    const int32_t ids[17] = {0}, outside[] = {0, VOCAB}, below[] = {-1};
    struct little l;

    little_open(&l);
    assert_int_equal(l.kern->ops->embed(l.kern, &l.table, ids, 17, l.x), -EINVAL);
    assert_int_equal(l.kern->ops->embed(l.kern, &l.table, outside, 2, l.x), -EINVAL);
    assert_int_equal(l.kern->ops->embed(l.kern, &l.table, below, 1, l.x), -EINVAL);
    assert_int_equal(cuda_of(l.kern)->step.n_ops, 0);
    little_close(&l);
}

/* memory */

static void test_weights_are_shared_read_only_and_counted(void **state)
{
    struct kern *const one = open_backend(), *const two = open_backend();
    const uint64_t before = one->ops->free_bytes(one);
    struct kern_mem made = {}, adopted = {};
    char text[16] = "";

    assert_int_equal(one->ops->mem_alloc(one, 100000, KERN_MEM_WEIGHTS, &made), 0);
    assert_true(made.fd >= 0 && made.bytes >= 100000 && before - one->ops->free_bytes(one) == made.bytes);
    assert_int_equal(one->ops->copy_in(one, made.base + 5, "weights", 8), 0);
    assert_int_equal(one->ops->mem_seal(one, &made), 0);
    assert_int_equal(
        two->ops->mem_adopt(two, fcntl(made.fd, F_DUPFD_CLOEXEC, 0), 100000, KERN_MEM_WEIGHTS, &adopted), 0);
    one->ops->mem_free(one, &made);
    assert_int_equal(two->ops->copy_out(two, text, adopted.base + 5, 8), 0);
    assert_string_equal(text, "weights");
    /* more than there is, or what is no device's: refused, and the fd is closed */
    assert_int_equal(
        one->ops->mem_adopt(one, fcntl(adopted.fd, F_DUPFD_CLOEXEC, 0), 1 << 20, KERN_MEM_WEIGHTS, &made),
        -EINVAL);
    assert_int_equal(
        one->ops->mem_adopt(one, open("/dev/null", O_RDWR | O_CLOEXEC), 100000, KERN_MEM_WEIGHTS, &made),
        -EINVAL);
    two->ops->mem_free(two, &adopted);
    assert_int_equal(one->ops->free_bytes(one), before);
    assert_int_equal(one->ops->mem_alloc(one, size_t(2) << 30, KERN_MEM_WEIGHTS, &made), -ENOMEM);
    assert_int_equal(one->ops->mem_alloc(one, size_t(2) << 30, KERN_MEM_STATE, &made), -ENOMEM);
    assert_string_equal(one->trouble, "CUDA: out of memory");
    one->ops->free(one);
    two->ops->free(two);
}

/* host memory: what a driver with or without read-only registration makes of the same memfd */

static struct kern_mem host_mem_new(struct kern *kern, const std::vector<float> &rows)
{
    const size_t bytes = rows.size() * sizeof(float);
    struct kern_mem mem = {};

    assert_int_equal(kern->ops->mem_alloc(kern, bytes, KERN_MEM_HOST, &mem), 0);
    memcpy(mem.base, rows.data(), bytes);
    assert_int_equal(kern->ops->mem_seal(kern, &mem), 0);
    assert_true(mem.fd >= 0 && mem.locked && mem.host && mem.base != mem.host);
    return mem;
}

/* One token's row, by way of a table that lies at base. */
static void check_embeds(struct kern *kern, const struct kern_mem *mem, const std::vector<float> &rows)
{
    const int32_t ids[] = {4};
    struct kern_mat table = {};
    struct kern_mem x = {};
    float got[DIM];

    table.type = QUANT_F32;
    table.layout = KERN_ROWS;
    table.n_out = VOCAB;
    table.n_in = DIM;
    table.data = mem->base;
    table.bytes = mem->bytes;
    assert_int_equal(kern->ops->mem_alloc(kern, sizeof(got), KERN_MEM_STATE, &x), 0);
    assert_int_equal(kern->ops->embed(kern, &table, ids, 1, reinterpret_cast<float *>(x.base)), 0);
    assert_int_equal(kern->ops->copy_out(kern, got, x.base, sizeof(got)), 0);
    assert_memory_equal(got, &rows[size_t(ids[0]) * DIM], sizeof(got));
    kern->ops->mem_free(kern, &x);
}

static struct kern *open_planned(void)
{
    struct kern_shape shape = {};
    struct kern *const kern = open_backend();

    shape.dim = shape.n_ff = shape.n_vocab = DIM;
    shape.n_qh = shape.n_kvh = shape.n_kh = shape.n_vh = 1;
    shape.d_attn = 64;
    shape.d_delta = D;
    shape.conv_k = 4;
    shape.max_tok = 1;
    shape.max_ctx = 64;
    shape.kv_type = KERN_KV_F16;
    assert_int_equal(kern->ops->plan(kern, &shape), 0);
    return kern;
}

static void check_rows_in_main_memory(bool read_only)
{
    struct emu_machine m = EMU_MACHINE;
    std::vector<float> rows(VOCAB * DIM);
    struct kern_mem adopted = {};

    for (size_t i = 0; i < rows.size(); i++)
        rows[i] = float(i) * 0.5f;
    m.pins_read_only = read_only;
    emu_set_machine(&m);
    struct kern *const one = open_planned(), *const two = open_planned();
    assert_int_equal(one->host_copies, read_only ? 1 : 2);
    const uint64_t before = one->ops->free_bytes(one);
    struct kern_mem made = host_mem_new(one, rows);
    const size_t bytes = made.bytes;
    assert_int_equal(one->ops->free_bytes(one), before); /* nothing of it is the device's */
    check_embeds(one, &made, rows);
    assert_int_equal(
        two->ops->mem_adopt(two, fcntl(made.fd, F_DUPFD_CLOEXEC, 0), bytes, KERN_MEM_HOST, &adopted), 0);
    one->ops->mem_free(one, &made);
    one->ops->free(one);
    check_embeds(two, &adopted, rows);
    /* of another size; and each kind where the other belongs */
    assert_int_equal(
        two->ops->mem_adopt(two, fcntl(adopted.fd, F_DUPFD_CLOEXEC, 0), bytes - 4, KERN_MEM_HOST, &made),
        -EMSGSIZE);
    assert_int_equal(
        two->ops->mem_adopt(two, fcntl(adopted.fd, F_DUPFD_CLOEXEC, 0), bytes, KERN_MEM_WEIGHTS, &made),
        -EINVAL);
    two->ops->mem_free(two, &adopted);
    assert_int_equal(two->ops->mem_alloc(two, bytes, KERN_MEM_WEIGHTS, &made), 0);
    assert_int_equal(
        two->ops->mem_adopt(two, fcntl(made.fd, F_DUPFD_CLOEXEC, 0), bytes, KERN_MEM_HOST, &adopted), -EPERM);
    two->ops->mem_free(two, &made);
    two->ops->free(two);
    m = EMU_MACHINE;
    emu_set_machine(&m);
}

static void test_rows_in_main_memory_are_read_and_handed_on(void **state)
{
    check_rows_in_main_memory(false);
    check_rows_in_main_memory(true);
}

/* Known at once where it pins nothing; where it does not pin so much, sealing fails, and nothing is left. */
static void test_a_driver_that_pins_nothing_offers_no_main_memory(void **state)
{
    struct emu_machine m = EMU_MACHINE;
    struct kern_mem mem = {};

    m.pin_bytes = 0;
    emu_set_machine(&m);
    struct kern *kern = open_backend();
    assert_int_equal(kern->host_copies, 0);
    assert_string_equal(kern->no_host, "CUDA: out of memory");
    assert_string_equal(kern->trouble, "");
    assert_int_equal(kern->ops->mem_alloc(kern, 4096, KERN_MEM_HOST, &mem), -EOPNOTSUPP);
    assert_int_equal(
        kern->ops->mem_adopt(kern, open("/dev/null", O_RDONLY | O_CLOEXEC), 4096, KERN_MEM_HOST, &mem),
        -EOPNOTSUPP);
    kern->ops->free(kern);
    m.pin_bytes = 65536;
    emu_set_machine(&m);
    kern = open_backend();
    assert_int_equal(kern->ops->mem_alloc(kern, 65537, KERN_MEM_HOST, &mem), 0);
    assert_int_equal(kern->ops->mem_seal(kern, &mem), -ENOMEM);
    assert_string_equal(kern->trouble, "CUDA: out of memory");
    assert_null(mem.base);
    assert_int_equal(mem.fd, -1);
    kern->ops->mem_free(kern, &mem);
    kern->ops->free(kern);
    m = EMU_MACHINE;
    emu_set_machine(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_missing_is_named),
        cmocka_unit_test(test_a_device_is_told_by_what_it_is),
        cmocka_unit_test(test_graphs_give_the_bits_that_plain_launches_give),
        cmocka_unit_test(test_top_is_of_the_step_before_it),
        cmocka_unit_test(test_top_takes_more_rows_than_there_is_scratch_for_at_a_time),
        cmocka_unit_test(test_top_refuses_what_it_has_no_room_for),
        cmocka_unit_test(test_graphs_are_made_anew_for_other_operands),
        cmocka_unit_test(test_kernels_that_start_early_wait),
        cmocka_unit_test(test_stages_count_what_was_read),
        cmocka_unit_test(test_what_a_step_cannot_hold_is_refused),
        cmocka_unit_test(test_weights_are_shared_read_only_and_counted),
        cmocka_unit_test(test_rows_in_main_memory_are_read_and_handed_on),
        cmocka_unit_test(test_a_driver_that_pins_nothing_offers_no_main_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
