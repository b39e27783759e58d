/* test_cpu_pool.c - the CPU backend's threads: every item once, small steps on the caller alone. */
#include <stdatomic.h>
#include <string.h>

#include "kernels/cpu/pool.h"
#include "kt.h"

/* items */

enum { ITEMS_MAX = 1000 };

struct tally {
    _Atomic int n[ITEMS_MAX];
    _Atomic int n_wrong_thread;
    int n_threads;
};

static void tally_item(void *ctx, int item, int thread)
{
    struct tally *tally = ctx;

    atomic_fetch_add(&tally->n[item], 1);
    if (thread < 0 || thread >= tally->n_threads)
        atomic_fetch_add(&tally->n_wrong_thread, 1);
}

/* Phases of changing size follow each other without a pause, so that workers come late to most of them. */
static void test_each_item_is_done_once(void **state)
{
    enum { PHASES = 3000 };

    (void)state;
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        struct pool *pool = NULL;
        struct tally tally = {.n_threads = n_threads};
        int want[ITEMS_MAX] = {0};
        assert_int_equal(pool_new(n_threads, &pool), 0);
        for (int p = 0; p < PHASES; p++) {
            const int n = p * 7919 % (p % 50 ? 9 : ITEMS_MAX);
            pool_run(pool, tally_item, &tally, n);
            for (int i = 0; i < n; i++)
                want[i]++;
        }
        for (int i = 0; i < ITEMS_MAX; i++)
            assert_int_equal(atomic_load(&tally.n[i]), want[i]);
        assert_int_equal(atomic_load(&tally.n_wrong_thread), 0);
        pool_free(pool);
    }
}

/* steps */

enum { DIM = 256, N_TOK_MAX = 512, LAYERS = 8 };

static const struct kern_shape shape = {
    .dim = DIM,
    .n_ff = DIM,
    .n_vocab = DIM,
    .n_qh = 1,
    .n_kvh = 1,
    .d_attn = 16,
    .n_kh = 1,
    .n_vh = 1,
    .d_delta = 16,
    .conv_k = 4,
    .max_tok = N_TOK_MAX,
    .max_ctx = 64,
    .kv_type = KERN_KV_F16,
};

/* A step of a model of square projections, and how many of its phases were shared. */
static uint64_t step_run(struct kern *kern, const struct kt_mat *m, int n_tok, float *ret_x)
{
    struct kern_stage stages[32];
    uint64_t n_shared = 0;
    int32_t ids[N_TOK_MAX];
    const int n_before = kern->ops->stages(kern, stages, ARRAY_SIZE(stages));

    assert_in_range(n_before, 1, ARRAY_SIZE(stages));
    for (int i = 0; i < n_before; i++)
        n_shared -= stages[i].n_shared;
    for (int t = 0; t < n_tok; t++)
        ids[t] = t % DIM;
    assert_int_equal(kern->ops->embed(kern, &m->mat, ids, n_tok, ret_x), 0);
    for (int l = 0; l < LAYERS; l++) {
        const struct kern_proj_add op = {.n_tok = n_tok, .y = ret_x, .mat = &m->mat, .x = ret_x};
        assert_int_equal(kern->ops->proj_add(kern, &op), 0);
    }
    kern->ops->stages(kern, stages, ARRAY_SIZE(stages));
    for (int i = 0; i < n_before; i++)
        n_shared += stages[i].n_shared;
    return n_shared;
}

static struct kern *open_two_threads(void)
{
    const struct kern_options options = {.backend = "cpu", .n_threads = 2};
    struct fault fault = {0};
    struct kern *kern = NULL;

    assert_int_equal(kern_open(&options, &fault, &kern), KERN_OK);
    assert_int_equal(kern->ops->plan(kern, &shape), 0);
    kern->timed = true;
    return kern;
}

/* One row of 64 KiB matrices is some 10 us of work, 512 rows are milliseconds.  What a step will be is known
 * from the one before it, whatever that was. */
static void test_a_small_step_is_the_callers_alone(void **state)
{
    struct kern *kern = open_two_threads();
    struct kt_mat m = kt_mat_new(kern, QUANT_Q8_0, KERN_PANELS, DIM, DIM, 5);
    float *x = kt_floats((size_t)N_TOK_MAX * DIM);

    (void)state;
    step_run(kern, &m, 1, x); /* the first one is not foretold */
    assert_int_equal(step_run(kern, &m, 1, x), 0);
    assert_true(step_run(kern, &m, N_TOK_MAX, x) > 0);
    assert_int_equal(step_run(kern, &m, 1, x), 0);
    kt_mat_free(&m);
    free(x);
    kern_free(kern);
}

static void test_stages_count_what_was_done(void **state)
{
    struct kern *kern = open_two_threads();
    struct kt_mat m = kt_mat_new(kern, QUANT_Q8_0, KERN_PANELS, DIM, DIM, 5);
    float *x = kt_floats((size_t)N_TOK_MAX * DIM);
    struct kern_stage stages[32];
    int n, found = 0;

    (void)state;
    step_run(kern, &m, 3, x);
    kern->timed = false;
    step_run(kern, &m, 3, x); /* not counted */
    n = kern->ops->stages(kern, stages, ARRAY_SIZE(stages));
    for (int i = 0; i < n; i++) {
        if (strcmp(stages[i].name, "out") != 0)
            continue;
        found++;
        assert_int_equal(stages[i].n, LAYERS);
        assert_int_equal(stages[i].bytes, LAYERS * m.mat.bytes);
        assert_int_equal(stages[i].ops, (uint64_t)LAYERS * 3 * DIM * DIM);
        assert_true(stages[i].ns > 0);
    }
    assert_int_equal(found, 1);
    assert_int_equal(kern->ops->stages(kern, stages, 1), n);
    kt_mat_free(&m);
    free(x);
    kern_free(kern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_item_is_done_once),
        cmocka_unit_test(test_a_small_step_is_the_callers_alone),
        cmocka_unit_test(test_stages_count_what_was_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
