/* test_ref.c - the definition itself: properties and hand-calculated cases of each op; memory, opening,
 * refusals. */
#include "kt.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

/* 2 / 1 heads of 4 both ways: small enough to follow by hand. */
static const struct kern_shape tiny = {
    .dim = 4,
    .n_ff = 4,
    .n_vocab = 3,
    .n_qh = 2,
    .n_kvh = 1,
    .d_attn = 4,
    .n_kh = 1,
    .n_vh = 2,
    .d_delta = 4,
    .conv_k = 3,
    .max_tok = 8,
    .max_ctx = 128,
    .kv_type = KERN_KV_F32,
};
enum { TINY_CH = 16 }; /* (2 n_kh + n_vh) d_delta */

static const float ones[64] = {[0 ... 63] = 1.0f};

static struct kern_mat float_mat(const float *values, int n_out, int n_in)
{
    return (struct kern_mat){.type = QUANT_F32,
                             .layout = KERN_PANELS,
                             .n_out = n_out,
                             .n_in = n_in,
                             .data = (const uint8_t *)values,
                             .bytes = (size_t)(n_out * n_in) * sizeof(float)};
}

static void test_norm_proj_divides_by_root_mean_square(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    const float x[4] = {1, -1, 3, 5}, w[4] = {1, 2, 3, 4}, first[4] = {0, 0, 0, 1}, sum[4] = {1, 1, 1, 1};
    const struct kern_mat a = float_mat(first, 1, 4), b = float_mat(sum, 1, 4);
    float out_a, out_b;
    const struct kern_norm_proj op = {
        .n_tok = 1, .n_mat = 2, .x = x, .norm_w = w, .mats = {&a, &b}, .out = {&out_a, &out_b}};

    (void)state;
    assert_int_equal(kern->ops->norm_proj(kern, &op), 0);
    const float want_a = 20.0f / 3.0f, want_b = 28.0f / 3.0f; /* mean square 9 */
    kt_check_near(&out_a, &want_a, 1, 1e-6, "last value");
    kt_check_near(&out_b, &want_b, 1, 1e-6, "sum");
    kern_free(kern);
}

static void test_norm_proj_without_weight_takes_x_as_it_is(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    const float x[4] = {1, 2, 3, 4}, row[4] = {1, 0, 0, -1}, want = -3;
    const struct kern_mat a = float_mat(row, 1, 4);
    float out;
    const struct kern_norm_proj op = {.n_tok = 1, .n_mat = 1, .x = x, .mats = {&a}, .out = {&out}};

    (void)state;
    assert_int_equal(kern->ops->norm_proj(kern, &op), 0);
    kt_check_same(&out, &want, sizeof(out), "out");
    kern_free(kern);
}

static void test_mlp_adds_silu_gate_times_up(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    float eye[16] = {0}, twice[16] = {0}, x[4] = {1, 1, -1, 1};
    const struct kern_mat gate = float_mat(eye, 4, 4), up = float_mat(twice, 4, 4),
                          down = float_mat(eye, 4, 4);
    const struct kern_mlp op = {.n_tok = 1, .x = x, .norm_w = ones, .gate = &gate, .up = &up, .down = &down};

    (void)state;
    for (int i = 0; i < 4; i++) {
        eye[5 * i] = 1;
        twice[5 * i] = 2;
    }
    assert_int_equal(kern->ops->mlp(kern, &op), 0);
    const float plus = (float)(1 + 2 / (1 + exp(-1))), minus = (float)(-1 + 2 / (1 + exp(1)));
    const float want[4] = {plus, plus, minus, plus};
    kt_check_near(x, want, 4, 1e-6, "x");
    kern_free(kern);
}

static void test_embed_refuses_ids_outside_the_table(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    const float table[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    const struct kern_mat m = float_mat(table, 3, 4);
    const int32_t good[2] = {2, 0}, high = 3, low = -1;
    const float want[8] = {8, 9, 10, 11, 0, 1, 2, 3};
    float x[8];

    (void)state;
    assert_int_equal(kern->ops->embed(kern, &m, good, 2, x), 0);
    kt_check_same(x, want, sizeof(x), "rows");
    assert_int_equal(kern->ops->embed(kern, &m, &high, 1, x), -EINVAL);
    assert_int_equal(kern->ops->embed(kern, &m, &low, 1, x), -EINVAL);
    kern_free(kern);
}

static void test_head_picks_rows_and_keeps_hidden(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    const float table[12] = {1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1, 1},
                x[12] = {9, 9, 9, 9, 2, -2, 2, 2, 0, 0, 0, 3};
    const struct kern_mat m = float_mat(table, 3, 4);
    const int rows[2] = {1, 2};
    const float want_hidden[8] = {1, -1, 1, 1, 0, 0, 0, 2}, want[6] = {1, -1, 2, 0, 0, 2};
    float hidden[8], logits[6];
    const struct kern_head op = {
        .n_rows = 2, .rows = rows, .x = x, .norm_w = ones, .mat = &m, .hidden = hidden, .logits = logits};

    (void)state;
    assert_int_equal(kern->ops->head(kern, &op), 0);
    kt_check_near(hidden, want_hidden, 8, 1e-6, "hidden");
    kt_check_near(logits, want, 6, 1e-6, "logits");
    kern_free(kern);
}

/* DeltaNet */

struct delta_case {
    float qkv[8 * TINY_CH], z[8 * 8], alpha[8 * 2], beta[8 * 2], conv_w[TINY_CH * 3], a[2], dt[2], out[8 * 8];
    uint8_t *state;
    struct kern_span span;
    struct kern_batch batch;
    struct kern_delta op;
};

/* Taps pass the current token only; no decay (a = 0), full write strength; z large: silu(z) = z. */
static void delta_case_init(struct delta_case *c, struct kern *kern, int n_tok)
{
    *c = (struct delta_case){.span = {.n_tok = n_tok}};
    for (int i = 0; i < TINY_CH; i++)
        c->conv_w[2 * TINY_CH + i] = 1;
    for (int i = 0; i < 16; i++)
        c->beta[i] = 100;
    for (int i = 0; i < 64; i++)
        c->z[i] = 40;
    c->state = calloc(1, kern->ops->delta_state_bytes(kern));
    c->batch = (struct kern_batch){.n_tok = n_tok, .n_span = 1, .spans = &c->span};
    c->op = (struct kern_delta){.batch = &c->batch,
                                .qkv = c->qkv,
                                .z = c->z,
                                .alpha = c->alpha,
                                .beta = c->beta,
                                .conv_w = c->conv_w,
                                .a = c->a,
                                .dt = c->dt,
                                .norm_w = ones,
                                .state = c->state,
                                .out = c->out};
}

/* What silu makes of u. */
static float silu(float u)
{
    return u / (1 + expf(-u));
}

/* With beta = 1 and no decay, reading with the key just written returns the value, whatever was there before.
 */
static void test_delta_recalls_what_it_wrote(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    struct delta_case c;
    struct kt_rng rng = {7};

    (void)state;
    delta_case_init(&c, kern, 2);
    kt_fill(&rng, c.qkv, 2 * TINY_CH, 2.0f);
    memcpy(c.qkv + TINY_CH, c.qkv + TINY_CH + 4, 4 * sizeof(float)); /* second token: q = k */
    assert_int_equal(kern->ops->delta(kern, &c.op), 0);
    for (int h = 0; h < 2; h++) {
        float v[4], want[4], square = 0;
        for (int i = 0; i < 4; i++) {
            v[i] = silu(c.qkv[TINY_CH + 8 + 4 * h + i]);
            square += v[i] * v[i] / 4;
        }
        for (int i = 0; i < 4; i++)
            want[i] = v[i] / sqrtf(square) * 40; /* the norm takes out the 1 / sqrt(d) of q */
        kt_check_near(c.out + 8 + 4 * h, want, 4, 1e-3, "value");
    }
    free(c.state);
    kern_free(kern);
}

static void test_delta_forgets_with_full_decay(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    struct delta_case c, fresh;
    struct kt_rng rng = {8};

    (void)state;
    delta_case_init(&c, kern, 2);
    delta_case_init(&fresh, kern, 1);
    kt_fill(&rng, c.qkv, 2 * TINY_CH, 2.0f);
    memcpy(fresh.qkv, c.qkv + TINY_CH, TINY_CH * sizeof(float));
    for (int i = 0; i < 4; i++)
        c.alpha[i] = fresh.alpha[i % 2] = 50;
    c.a[0] = c.a[1] = fresh.a[0] = fresh.a[1] = -10; /* decay e^-500 */
    assert_int_equal(kern->ops->delta(kern, &c.op), 0);
    assert_int_equal(kern->ops->delta(kern, &fresh.op), 0);
    kt_check_near(c.out + 8, fresh.out, 8, 1e-5, "second token");
    free(c.state);
    free(fresh.state);
    kern_free(kern);
}

/* The window moves over the border of two calls as it does inside one. */
static void test_delta_continues_where_it_stopped(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    struct delta_case all, cut;
    struct kt_rng rng = {9};

    (void)state;
    delta_case_init(&all, kern, 5);
    delta_case_init(&cut, kern, 2);
    kt_fill(&rng, all.qkv, 5 * TINY_CH, 2.0f);
    kt_fill(&rng, all.conv_w, TINY_CH * 3, 1.0f);
    all.a[0] = all.a[1] = cut.a[0] = cut.a[1] = -0.5f;
    memcpy(cut.conv_w, all.conv_w, sizeof(cut.conv_w));
    memcpy(cut.qkv, all.qkv, sizeof(cut.qkv));
    assert_int_equal(kern->ops->delta(kern, &all.op), 0);
    assert_int_equal(kern->ops->delta(kern, &cut.op), 0);
    cut.span.n_tok = cut.batch.n_tok = 3;
    cut.op.qkv += 2 * TINY_CH;
    cut.op.out += 2 * 8;
    assert_int_equal(kern->ops->delta(kern, &cut.op), 0);
    kt_check_same(cut.out, all.out, 5 * 8 * sizeof(float), "out");
    free(all.state);
    free(cut.state);
    kern_free(kern);
}

static void test_conv_weighs_current_token_by_last_tap(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    struct delta_case c;

    (void)state;
    delta_case_init(&c, kern, 3);
    for (int i = 0; i < TINY_CH; i++) {
        c.conv_w[i] = 100;
        c.conv_w[TINY_CH + i] = 10;
    }
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < TINY_CH; i++)
            c.qkv[t * TINY_CH + i] = i == 8 ? (float)(t + 1) : 1.0f; /* value channel 0 of head 0: 1, 2, 3 */
    assert_int_equal(kern->ops->delta(kern, &c.op), 0);
    /* y of channel 8: 1, 2 + 10, 3 + 20 + 100; of the others 1, 11, 111.  All keys point one way, so out is
     * v's direction. */
    const float a = silu(123), b = silu(111), rms = sqrtf((a * a + 3 * b * b) / 4);
    const float want[4] = {a / rms * 40, b / rms * 40, b / rms * 40, b / rms * 40};
    kt_check_near(c.out + 2 * 8, want, 4, 1e-3, "third token");
    free(c.state);
    kern_free(kern);
}

/* attention */

struct attn_case {
    float q[8 * 2 * 8], k[8 * 4], v[8 * 4], out[8 * 8];
    int32_t pages[2];
    uint8_t *kv;
    struct kern_span span;
    struct kern_batch batch;
    struct kern_attn op;
};

static void attn_case_init(struct attn_case *c, struct kern *kern, int n_tok, int n_rot)
{
    *c = (struct attn_case){.span = {.n_tok = n_tok}, .pages = {1, 0}};
    c->kv = calloc(2, kern->ops->kv_page_bytes(kern));
    c->span.pages = c->pages;
    c->batch = (struct kern_batch){.n_tok = n_tok, .n_span = 1, .spans = &c->span};
    c->op = (struct kern_attn){.batch = &c->batch,
                               .q = c->q,
                               .k = c->k,
                               .v = c->v,
                               .q_norm = ones,
                               .k_norm = ones,
                               .n_rot = n_rot,
                               .rope_base = 100,
                               .kv = c->kv,
                               .out = c->out};
}

/* Equal keys: the mean of the values seen so far; gate 0: half of it. */
static void test_attn_averages_values_when_keys_are_equal(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    struct attn_case c;

    (void)state;
    attn_case_init(&c, kern, 3, 0);
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < 4; i++) {
            c.k[t * 4 + i] = c.q[t * 16 + i] = c.q[t * 16 + 8 + i] = 1;
            c.v[t * 4 + i] = (float)(t * t + i);
        }
    assert_int_equal(kern->ops->attn(kern, &c.op), 0);
    const float means[3] = {0, 0.5f, 5.0f / 3.0f};
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < 8; i++) {
            const float want = (means[t] + (float)(i % 4)) / 2;
            kt_check_near(&c.out[t * 8 + i], &want, 1, 1e-6, "mean");
        }
    free(c.kv);
    kern_free(kern);
}

/* softmax of scores: q and k normed to length 2, opposite or equal; scale 1 / sqrt(4): scores +-2. */
static void test_attn_weighs_by_softmax_of_scaled_scores(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    struct attn_case c;

    (void)state;
    attn_case_init(&c, kern, 2, 0);
    for (int i = 0; i < 4; i++) {
        c.k[i] = -3;
        c.k[4 + i] = c.q[16 + i] = c.q[24 + i] = 5;
        c.v[4 + i] = 1;
        c.q[20 + i] = c.q[28 + i] = 100; /* gate 1 */
    }
    assert_int_equal(kern->ops->attn(kern, &c.op), 0);
    const float want = (float)(1 / (1 + exp(-4)));
    for (int i = 0; i < 8; i++)
        kt_check_near(&c.out[8 + i], &want, 1, 1e-6, "weight of the second value");
    free(c.kv);
    kern_free(kern);
}

/* n_rot 2: dims 0 and 1 turn by pos * base^0.  q = k = (2, 0, 0, 0): score 2 at distance 0, 2 cos 1 at
 * distance 1. */
static void test_rope_turns_by_position(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    struct attn_case c;

    (void)state;
    attn_case_init(&c, kern, 2, 2);
    for (int t = 0; t < 2; t++) {
        c.k[t * 4] = c.q[t * 16] = c.q[t * 16 + 8] = 2;
        c.v[t * 4] = (float)t;
    }
    assert_int_equal(kern->ops->attn(kern, &c.op), 0);
    const float want = (float)(1 / (1 + exp(2 * cos(1) - 2))) / 2;
    kt_check_near(&c.out[8], &want, 1, 1e-6, "weight of distance 0");
    free(c.kv);
    kern_free(kern);
}

/* 120 single tokens, over the border of two pages that lie in reverse order: position p's value is p, keys
 * are equal. */
static void test_attn_follows_the_page_table(void **state)
{
    static const enum kern_kv_type types[] = {KERN_KV_F32, KERN_KV_F16};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct kern_shape shape = tiny;
        struct attn_case c;
        shape.kv_type = types[i];
        struct kern *kern = kt_open_planned("ref", NULL, 1, &shape);
        attn_case_init(&c, kern, 1, 0);
        c.k[0] = c.q[0] = c.q[8] = 1;
        for (int p = 0; p < 120; p++) {
            const float want = (float)p / 4; /* mean p / 2, gate 1 / 2 */
            c.span.pos0 = p;
            c.v[0] = (float)p;
            assert_int_equal(kern->ops->attn(kern, &c.op), 0);
            kt_check_near(c.out, &want, 1, 1e-5, "mean of all positions");
        }
        free(c.kv);
        kern_free(kern);
    }
}

static void test_attn_refuses_positions_beyond_the_plan(void **state)
{
    struct kern *kern = kt_open_planned("ref", NULL, 1, &tiny);
    struct attn_case c;

    (void)state;
    attn_case_init(&c, kern, 1, 0);
    c.span.pos0 = tiny.max_ctx;
    assert_int_equal(kern->ops->attn(kern, &c.op), -EINVAL);
    free(c.kv);
    kern_free(kern);
}

/* memory */

static void test_sealed_weights_cannot_change_and_can_be_adopted(void **state)
{
    struct kern *kern = kt_open("ref", NULL, 1);
    struct kern_mem mem, again;
    const size_t bytes = 10000;

    (void)state;
    assert_int_equal(kern->ops->mem_alloc(kern, bytes, KERN_MEM_WEIGHTS, &mem), 0);
    assert_int_equal(mem.base[bytes - 1], 0);
    assert_int_equal(kern->ops->copy_in(kern, mem.base + 5000, "weights", 8), 0);
    uint8_t *const before = mem.base;
    assert_int_equal(kern->ops->mem_seal(kern, &mem), 0);
    assert_ptr_equal(mem.base, before);
    assert_string_equal((char *)mem.base + 5000, "weights");
    assert_int_equal(pwrite(mem.fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(mem.fd, 1), -1);
    assert_ptr_equal(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, mem.fd, 0), MAP_FAILED);
    assert_int_equal(kern->ops->mem_adopt(kern, dup(mem.fd), bytes, KERN_MEM_WEIGHTS, &again), 0);
    assert_string_equal((char *)again.base + 5000, "weights");
    kern->ops->mem_free(kern, &mem);
    assert_string_equal((char *)again.base + 5000, "weights");
    kern->ops->mem_free(kern, &again);
    kern->ops->mem_free(kern, &again);
    kern_free(kern);
}

static void test_adopt_refuses_unsealed_and_wrong_size(void **state)
{
    struct kern *kern = kt_open("ref", NULL, 1);
    struct kern_mem mem, again = {.fd = -1};

    (void)state;
    assert_int_equal(kern->ops->mem_alloc(kern, 4096, KERN_MEM_WEIGHTS, &mem), 0);
    assert_int_equal(kern->ops->mem_adopt(kern, dup(mem.fd), 4096, KERN_MEM_WEIGHTS, &again), -EPERM);
    assert_int_equal(kern->ops->mem_seal(kern, &mem), 0);
    assert_int_equal(kern->ops->mem_adopt(kern, dup(mem.fd), 4095, KERN_MEM_WEIGHTS, &again), -EMSGSIZE);
    const int taken = dup(mem.fd);
    assert_int_equal(kern->ops->mem_adopt(kern, taken, 1, KERN_MEM_WEIGHTS, &again), -EMSGSIZE);
    assert_int_equal(fcntl(taken, F_GETFD), -1); /* taken, also by a refusal */
    assert_null(again.base);
    kern->ops->mem_free(kern, &mem);
    kern_free(kern);
}

static void test_state_memory_is_zero_and_cleared(void **state)
{
    struct kern *kern = kt_open("ref", NULL, 1);
    struct kern_mem mem;
    char back[4];

    (void)state;
    assert_int_equal(kern->ops->mem_alloc(kern, 4096, KERN_MEM_STATE, &mem), 0);
    assert_int_equal(mem.fd, -1);
    assert_int_equal(kern->ops->copy_in(kern, mem.base, "abc", 4), 0);
    assert_int_equal(kern->ops->clear(kern, mem.base + 1, 1), 0);
    assert_int_equal(kern->ops->copy_out(kern, back, mem.base, 4), 0);
    assert_memory_equal(back, "a\0c", 4);
    assert_int_equal(kern->ops->copy(kern, mem.base + 100, mem.base, 3), 0);
    assert_int_equal(kern->ops->copy_out(kern, back, mem.base + 100, 4), 0);
    assert_memory_equal(back, "a\0c", 4);
    assert_int_equal(kern->ops->mem_seal(kern, &mem), -EINVAL);
    kern->ops->mem_free(kern, &mem);
    assert_int_equal(kern->ops->mem_alloc(kern, 0, KERN_MEM_STATE, &mem), -EINVAL);
    kern_free(kern);
}

static int n_resident(const uint8_t *base, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char there[1024];
    int n = 0;

    assert_in_range(bytes / page, 1, sizeof(there));
    assert_int_equal(mincore((void *)base, bytes, there), 0);
    for (size_t i = 0; i < bytes / page; i++)
        n += there[i] & 1;
    return n;
}

/* Not before Linux 5.14, nor under qemu-user, which says that it does and does nothing. */
static bool can_populate(void)
{
    const size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool can;

    assert_ptr_not_equal(map, MAP_FAILED);
    can = madvise(map, bytes, MADV_POPULATE_WRITE) == 0 && n_resident(map, bytes) == 1;
    munmap(map, bytes);
    return can;
}

/* Of a kernel with huge pages more than was asked for may be there. */
static void test_state_memory_has_its_pages_before_the_first_use(void **state)
{
    enum { BYTES = 4 << 20 };
    const int n_pages = BYTES / (int)sysconf(_SC_PAGESIZE);
    struct kern *kern = kt_open("ref", NULL, 1);
    struct kern_mem mem;

    (void)state;
    assert_int_equal(kern->ops->mem_alloc(kern, BYTES, KERN_MEM_STATE, &mem), 0);
    assert_int_equal(n_resident(mem.base, BYTES), 0);
    memcpy(mem.base + BYTES - 100, "kept", 5);
    const int n_before = n_resident(mem.base, BYTES);
    assert_in_range(n_before, 1, n_pages - 1);
    kern->ops->populate(kern, mem.base + 5, BYTES - 10);
    if (can_populate())
        assert_int_equal(n_resident(mem.base, BYTES), n_pages);
    assert_string_equal((char *)mem.base + BYTES - 100, "kept");
    kern->ops->populate(kern, NULL, 0); /* the scratch of a plan that was not made */
    kern->ops->mem_free(kern, &mem);
    kern_free(kern);
}

/* Small pages before, as pwrite() makes them; a kernel that has no huge one to give says so. */
static void test_sealed_weights_move_into_huge_pages(void **state)
{
    enum { BYTES = 2 * KERN_HUGE_BYTES + 5000 };
    static const size_t at[] = {0, KERN_HUGE_BYTES};
    struct kern *kern = kt_open("ref", NULL, 1);
    struct kern_mem mem, state_mem;
    uint8_t *want = malloc(BYTES);
    struct kt_rng rng = {5};

    (void)state;
    for (size_t i = 0; i < BYTES; i++)
        want[i] = (uint8_t)kt_next(&rng);
    assert_int_equal(kern->ops->mem_alloc(kern, BYTES, KERN_MEM_WEIGHTS, &mem), 0);
    assert_int_equal((uintptr_t)mem.base % KERN_HUGE_BYTES, 0);
    assert_int_equal(pwrite(mem.fd, want, BYTES, 0), BYTES);
    assert_int_equal(kern->ops->mem_seal(kern, &mem), 0);
    for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
        const int r = kern->ops->make_huge(kern, &mem, at[i]);
        assert_true(r == 0 || r == -EAGAIN || r == -EOPNOTSUPP);
    }
    assert_memory_equal(mem.base, want, BYTES);
    assert_int_equal(kern->ops->make_huge(kern, &mem, 4096), -EOPNOTSUPP);
    assert_int_equal(kern->ops->make_huge(kern, &mem, 2 * (size_t)KERN_HUGE_BYTES), -EOPNOTSUPP);
    kern->ops->mem_free(kern, &mem);
    assert_int_equal(kern->ops->mem_alloc(kern, BYTES, KERN_MEM_STATE, &state_mem), 0);
    assert_int_equal(kern->ops->make_huge(kern, &state_mem, 0), -EOPNOTSUPP);
    kern->ops->mem_free(kern, &state_mem);
    free(want);
    kern_free(kern);
}

/* opening */

static void check_refusal(const struct kern_options *options, int code, const char *says)
{
    struct kern *kern = NULL;
    struct fault fault = {0};

    assert_int_equal(kern_open(options, &fault, &kern), code);
    assert_int_equal(fault.code, code);
    assert_null(kern);
    if (!strstr(fault.text, says))
        fail_msg("\"%s\" does not say \"%s\"", fault.text, says);
}

/* sampling */

static void test_top_is_the_best_first_and_of_equal_ones_the_lower_id(void **state)
{
    enum { N = 600 };
    float logits[2 * N];
    const int32_t asked[] = {3, -1};
    struct kern_top_row rows[2];
    const struct kern_top op = {
        .n_rows = 2, .n_vocab = N, .logits = logits, .asked = asked, .ret_rows = rows};
    struct kern *kern = kt_open("ref", NULL, 1);
    double sum = 0;

    (void)state;
    for (int i = 0; i < N; i++) {
        logits[i] = (float)(i / 2 % 200); /* the values of 0..399 once more from 400 on */
        sum += exp((double)logits[i]);
        logits[N + i] = i == 7 || i == 5 ? 0.5f : -INFINITY;
    }
    assert_int_equal(kern->ops->top(kern, &op), 0);
    assert_false(rows[0].is_bad || rows[1].is_bad);
    assert_int_equal(rows[0].n, KERN_TOP);
    for (int i = 0; i < KERN_TOP; i++) { /* 200 is not reached by what begins again */
        const int below = i < 2 * 100 ? i / 2 : 100 + (i - 200) / 4;
        assert_true(rows[0].logits[i] == (float)(199 - below));
        assert_true(rows[0].logits[i] == logits[rows[0].ids[i]]);
        assert_true(!i || rows[0].logits[i] < rows[0].logits[i - 1] || rows[0].ids[i] > rows[0].ids[i - 1]);
    }
    assert_true(fabs(rows[0].lse - log(sum)) < 1e-9);
    assert_true(rows[0].asked == 1.0f);
    assert_int_equal(rows[1].n, 2);
    assert_int_equal(rows[1].ids[0], 5);
    assert_int_equal(rows[1].ids[1], 7);
    assert_true(fabs(rows[1].lse - (0.5 + log(2.0))) < 1e-9);
    kern_free(kern);
}

static void test_top_tells_what_is_no_row_of_logits(void **state)
{
    float logits[] = {1, 2, NAN, 3, INFINITY, 4, -INFINITY, -INFINITY};
    const int32_t asked[] = {2, 2, 2, 2};
    struct kern_top_row rows[4];
    struct kern_top op = {.n_rows = 4, .n_vocab = 2, .logits = logits, .ret_rows = rows};
    struct kern *kern = kt_open("ref", NULL, 1);

    (void)state;
    assert_int_equal(kern->ops->top(kern, &op), 0);
    assert_true(!rows[0].is_bad && rows[1].is_bad && rows[2].is_bad && !rows[3].is_bad);
    assert_int_equal(rows[3].n, 0);
    assert_true(rows[3].lse == (double)-INFINITY);
    op.asked = asked; /* an id that there is none of */
    assert_int_equal(kern->ops->top(kern, &op), -EINVAL);
    kern_free(kern);
}

static void test_open_refusals_say_what_there_is(void **state)
{
    (void)state;
    check_refusal(&(struct kern_options){.backend = "tpu"}, KERN_E_BACKEND,
                  "no backend \"tpu\"; this build has: auto, ");
    check_refusal(&(struct kern_options){.backend = "ref", .isa = "avx2"}, KERN_E_ISA, "\"avx2\"");
    check_refusal(&(struct kern_options){.backend = "cpu", .isa = "sse9"}, KERN_E_ISA, "\"sse9\"");
    check_refusal(&(struct kern_options){.backend = "cpu", .n_threads = 65}, KERN_E_THREADS, "65 threads");
    check_refusal(&(struct kern_options){.backend = "cpu", .n_threads = -1}, KERN_E_THREADS, "-1 threads");
}

static void test_plan_refuses_a_second_time(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kern_shape shape = tiny;
        shape.d_attn = shape.d_delta = 16;
        struct kern *kern = kt_open_planned(i ? "cpu" : "ref", NULL, 1, &shape);
        assert_int_equal(kern->ops->plan(kern, &shape), -EINVAL);
        kern_free(kern);
    }
}

static void test_free_takes_null(void **state)
{
    (void)state;
    assert_null(kern_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm_proj_divides_by_root_mean_square),
        cmocka_unit_test(test_norm_proj_without_weight_takes_x_as_it_is),
        cmocka_unit_test(test_mlp_adds_silu_gate_times_up),
        cmocka_unit_test(test_embed_refuses_ids_outside_the_table),
        cmocka_unit_test(test_head_picks_rows_and_keeps_hidden),
        cmocka_unit_test(test_delta_recalls_what_it_wrote),
        cmocka_unit_test(test_delta_forgets_with_full_decay),
        cmocka_unit_test(test_delta_continues_where_it_stopped),
        cmocka_unit_test(test_conv_weighs_current_token_by_last_tap),
        cmocka_unit_test(test_attn_averages_values_when_keys_are_equal),
        cmocka_unit_test(test_attn_weighs_by_softmax_of_scaled_scores),
        cmocka_unit_test(test_rope_turns_by_position),
        cmocka_unit_test(test_attn_follows_the_page_table),
        cmocka_unit_test(test_attn_refuses_positions_beyond_the_plan),
        cmocka_unit_test(test_sealed_weights_cannot_change_and_can_be_adopted),
        cmocka_unit_test(test_adopt_refuses_unsealed_and_wrong_size),
        cmocka_unit_test(test_state_memory_is_zero_and_cleared),
        cmocka_unit_test(test_state_memory_has_its_pages_before_the_first_use),
        cmocka_unit_test(test_sealed_weights_move_into_huge_pages),
        cmocka_unit_test(test_top_is_the_best_first_and_of_equal_ones_the_lower_id),
        cmocka_unit_test(test_top_tells_what_is_no_row_of_logits),
        cmocka_unit_test(test_open_refusals_say_what_there_is),
        cmocka_unit_test(test_plan_refuses_a_second_time),
        cmocka_unit_test(test_free_takes_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
