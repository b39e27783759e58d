/* test_cpu_attn.c - attention over contexts of several sections: the same bits whether one thread does a row
 * or several do a section each, on every instruction set, and near the definition. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"
#include "kernels/half.h"
#include "kt.h"

enum { D = 32, N_QH = 6, N_KVH = 2, N_ROW = 24, AT = 5 };
enum { CTX = 3 * ATTN_SECTION, N_PAGES = 2 * CTX / KERN_PAGE_TOK, N_Q = N_QH * D, N_KV = N_KVH * D };

/* The rows of two sequences: one in its third section, one that comes into its second. */
static const int first_pos[2] = {CTX - ATTN_SECTION / 2, ATTN_SECTION - N_ROW / 2};

struct data {
    float q[2][N_ROW][2 * N_Q], k[2][N_ROW][N_KV], v[2][N_ROW][N_KV], norm[D], out[2][N_ROW][N_Q];
    int32_t pages[2][CTX / KERN_PAGE_TOK];
};

static void data_init(struct data *data)
{
    struct kt_rng rng = {77};

    kt_fill(&rng, &data->q[0][0][0], sizeof(data->q) / sizeof(float), 3);
    kt_fill(&rng, &data->k[0][0][0], sizeof(data->k) / sizeof(float), 3);
    kt_fill(&rng, &data->v[0][0][0], sizeof(data->v) / sizeof(float), 2);
    kt_fill(&rng, data->norm, D, 2);
    for (int i = 0; i < N_PAGES; i++)
        (&data->pages[0][0])[i] = (i * 5 + 3) % N_PAGES;
}

static struct kern_shape shape_of(enum kern_kv_type type)
{
    struct kern_shape shape = kt_shape(16, 16, 2 * N_ROW);

    shape.d_attn = D;
    shape.n_qh = N_QH;
    shape.n_kvh = N_KVH;
    shape.max_ctx = CTX;
    shape.kv_type = type;
    return shape;
}

/* Halves of 0.5 to 2, of either sign: no number of any KV type is extreme then. */
static uint8_t *random_pages(struct kern *kern)
{
    const size_t n = N_PAGES * kern->ops->kv_page_bytes(kern) / 2;
    uint16_t *halves = aligned_alloc(64, ROUND_UP(2 * n, (size_t)64));
    struct kt_rng rng = {78};

    assert_non_null(halves);
    for (size_t i = 0; i < n; i++) {
        const uint64_t x = kt_next(&rng);
        halves[i] = (uint16_t)(0x3800 | (x & 0x07ff) | (x >> 20 & 0x8000));
    }
    return (uint8_t *)halves;
}

/* The next n rows of each sequence, from row from on. */
static void run_rows(struct kern *kern, uint8_t *kv, struct data *data, int from, int n)
{
    static float q[2 * N_ROW][2 * N_Q], k[2 * N_ROW][N_KV], v[2 * N_ROW][N_KV], out[2 * N_ROW][N_Q];
    struct kern_span spans[2];
    const struct kern_batch batch = {.n_tok = 2 * n, .n_span = 2, .spans = spans};
    const struct kern_attn op = {.batch = &batch,
                                 .q = &q[0][0],
                                 .k = &k[0][0],
                                 .v = &v[0][0],
                                 .q_norm = data->norm,
                                 .k_norm = data->norm,
                                 .eps = 1e-6f,
                                 .n_rot = D / 2,
                                 .rope_base = 1e7f,
                                 .kv = kv,
                                 .out = &out[0][0]};

    for (int s = 0; s < 2; s++) {
        spans[s] = (struct kern_span){
            .row0 = s * n, .n_tok = n, .pos0 = first_pos[s] + from, .slot = s, .pages = data->pages[s]};
        memcpy(q[s * n], data->q[s][from], (size_t)n * sizeof(q[0]));
        memcpy(k[s * n], data->k[s][from], (size_t)n * sizeof(k[0]));
        memcpy(v[s * n], data->v[s][from], (size_t)n * sizeof(v[0]));
    }
    assert_int_equal(kern->ops->attn(kern, &op), 0);
    for (int s = 0; s < 2; s++)
        memcpy(data->out[s][from], out[s * n], (size_t)n * sizeof(out[0]));
}

static uint64_t n_attend_phases(struct kern *kern)
{
    struct kern_stage stages[32];
    const int n = kern->ops->stages(kern, stages, ARRAY_SIZE(stages));

    for (int i = 0; i < n; i++)
        if (!strcmp(stages[i].name, "attend"))
            return stages[i].n;
    fail_msg("no stage is called attend");
    return 0;
}

struct plan {
    const char *isa;
    int n_threads, n_step; /* rows of each sequence */
    bool splits;           /* into sections, which are a phase and their joining another */
};

/* False: this machine lacks the instruction set. */
static bool run(const struct plan *plan, enum kern_kv_type type, struct data *data)
{
    const int n_steps = N_ROW / plan->n_step;
    const struct kern_shape shape = shape_of(type);
    struct kern *kern = kt_open_planned("cpu", plan->isa, plan->n_threads, &shape);
    uint8_t *kv;

    if (!kern)
        return false;
    kern->timed = true;
    kv = random_pages(kern);
    data_init(data);
    for (int from = 0; from < N_ROW; from += plan->n_step)
        run_rows(kern, kv, data, from, plan->n_step);
    /* On one core no team has more than its caller, and on busy ones it may come to that. */
    if (plan->splits && team_n_cpus() > 1)
        assert_in_range(n_attend_phases(kern), n_steps + 1, 2 * n_steps);
    else if (!plan->splits)
        assert_int_equal(n_attend_phases(kern), n_steps);
    free(kv);
    kern_free(kern);
    return true;
}

/* What one thread computes on scalar is what all others are held against. */
static void test_sections_are_the_same_bits_in_one_thread_and_in_many(void **state)
{
    static const struct plan base = {"scalar", 1, N_ROW, false};
    static const struct plan plans[] = {
        {NULL, 1, 1, false},
        {NULL, 2, 1, true},
        {NULL, 4, 1, true},
        {NULL, 5, 8, true},
        /* more than there is room for */
        {NULL, 5, N_ROW, false},
        {"scalar", 4, 2, true},
        {"avx2", 4, 3, true},
        {"avx512", 3, 4, true},
        {"neon", 4, 3, true},
        {"i8mm", 4, 2, true},
    };
    static const enum kern_kv_type types[] = {KERN_KV_F16, KERN_KV_F32, KERN_KV_Q8_0};
    static struct data want, got;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        assert_true(run(&base, types[i], &want));
        for (size_t j = 0; j < ARRAY_SIZE(plans); j++)
            if (run(&plans[j], types[i], &got))
                kt_check_same(&got.out[0][0][0], &want.out[0][0][0], sizeof(want.out),
                              plans[j].isa ? plans[j].isa : "default");
    }
}

/* A whole sequence that comes into its second section, as test_cpu_mix.c has them for short ones. */
static void test_sections_are_near_the_definition(void **state)
{
    enum { LEN = ATTN_SECTION + 40, STEP = 2 * N_ROW };
    const struct kern_shape shape = shape_of(KERN_KV_F16);
    const size_t n = LEN * N_Q;
    struct kt_rng rng = {79};
    float *q = kt_floats(2 * n), *k = kt_floats(LEN * N_KV), *v = kt_floats(LEN * N_KV), norm[D];
    float *out[2] = {kt_floats(n), kt_floats(n)};
    int32_t pages[CTX / KERN_PAGE_TOK];

    (void)state;
    kt_fill(&rng, q, 2 * n, 3);
    kt_fill(&rng, k, LEN * N_KV, 3);
    kt_fill(&rng, v, LEN * N_KV, 2);
    kt_fill(&rng, norm, D, 2);
    for (int i = 0; i < CTX / KERN_PAGE_TOK; i++)
        pages[i] = i;
    for (int b = 0; b < 2; b++) {
        struct kern *kern = kt_open_planned(b ? "cpu" : "ref", NULL, b ? 4 : 1, &shape);
        uint8_t *kv = random_pages(kern);
        for (int t = 0; t < LEN; t += STEP) {
            const int n_tok = MIN((int)STEP, LEN - t);
            const struct kern_span span = {.n_tok = n_tok, .pos0 = t, .pages = pages};
            const struct kern_batch batch = {.n_tok = n_tok, .n_span = 1, .spans = &span};
            const struct kern_attn op = {.batch = &batch,
                                         .q = q + 2 * t * N_Q,
                                         .k = k + t * N_KV,
                                         .v = v + t * N_KV,
                                         .q_norm = norm,
                                         .k_norm = norm,
                                         .eps = 1e-6f,
                                         .n_rot = D / 2,
                                         .rope_base = 1e7f,
                                         .kv = kv,
                                         .out = out[b] + t * N_Q};
            assert_int_equal(kern->ops->attn(kern, &op), 0);
        }
        free(kv);
        kern_free(kern);
    }
    kt_check_near(out[1], out[0], n, 1e-4, "attn");
    free(q);
    free(k);
    free(v);
    free(out[0]);
    free(out[1]);
}

/* In a section that another thread does. */
static void test_what_is_no_number_goes_through_the_joining(void **state)
{
    static struct data data;
    const struct kern_shape shape = shape_of(KERN_KV_F16);
    struct kern *kern = kt_open_planned("cpu", NULL, 4, &shape);
    uint8_t *kv = random_pages(kern);

    (void)state;
    data_init(&data);
    data.v[0][0][AT] = NAN;
    run_rows(kern, kv, &data, 0, 2);
    assert_true(isnan(data.out[0][0][AT]));
    assert_false(isnan(data.out[0][0][AT + 1]));
    assert_true(isnan(data.out[0][1][AT]));
    assert_false(isnan(data.out[1][1][AT]));
    free(kv);
    kern_free(kern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections_are_the_same_bits_in_one_thread_and_in_many),
        cmocka_unit_test(test_sections_are_near_the_definition),
        cmocka_unit_test(test_what_is_no_number_goes_through_the_joining),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
