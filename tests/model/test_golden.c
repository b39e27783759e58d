/* test_golden.c - the whole model against the reference data of tests/golden, on one backend and one model.
 *
 * usage: test_golden GOLDEN_DIR BACKEND MODEL [TEST]
 * ref computes in float on exactly dequantised weights, so it must agree in every logit to 2e-3 (three
 * implementations agree to 3e-4).  cpu quantises activations: it may be 1.2 times as far from the reference
 * as llama.cpp's CPU code, in rms and in mean KL; where all weights are F32 it does not, and must agree as
 * ref does.  Bits on cpu depend on nothing but the sequence.  emu, the CUDA backend in the emulation, is held
 * to what cpu is, with as many ids as it has time for. */
#include "tests/model/golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

static struct golden golden;
static const char *backend;

static const double FLOAT_MAX_ABS = 2e-3, SLACK = 1.2;
/* Margins below so many rms of noise may go either way. */
static const double NEAR_TIE = 4.0;
/* Ids of a prompt that ref computes in a moment; they cross a page.  And that emu does, many times over. */
enum { SHORT_IDS = 65, EMU_IDS = 5 };

/* A float engine's own noise: 9e-5 at most on these models. */
static bool is_exact(void)
{
    return golden.is_f32 || !strcmp(backend, "ref");
}

static bool is_emu(void)
{
    return !strcmp(backend, "emu");
}

/* KV in f32: f16 moves logits by up to 1.4e-3, which belongs to the cache's type and not to the arithmetic.
 * ref takes seconds for long prompts, so that only the first test gives it any. */
static struct golden_setup setup(int chunk, int threads)
{
    return (struct golden_setup){
        .options = {.backend = backend, .kv = "f32", .chunk = chunk, .threads = threads},
        .longest = is_emu()                 ? EMU_IDS
                   : strcmp(backend, "ref") ? 0
                                            : SHORT_IDS};
}

static void test_logits_are_near_the_reference(void **state _unused_)
{
    struct golden_setup s = setup(512, 2);
    int n_rows;

    if (!is_emu())
        s.longest = 0;
    else if (!golden.is_f32)
        s.longest = SHORT_IDS;
    _cleanup_(freep) float *ours = golden_run(&golden, &s, &n_rows);
    struct golden_distance d = golden_compare(golden.logits, ours, n_rows, golden.n_vocab);

    print_message("max %.2e  rms %.2e (llama.cpp %.2e)  KL %.2e (llama.cpp %.2e)\n", d.max, d.rms,
                  golden.llama_rms, d.kl, golden.llama_kl);
    assert_true(s.longest ? n_rows > 5 : n_rows == golden.n_rows); /* the long prompts come last */
    if (is_exact()) {
        assert_true(d.max <= FLOAT_MAX_ABS);
    } else {
        assert_true(d.rms <= SLACK * golden.llama_rms);
        assert_true(d.kl <= SLACK * golden.llama_kl);
    }
}

static int best_of(const float *logits, int n)
{
    int best = 0;

    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

/* One run of the model, and what it says after the last id. */
struct greedy_run {
    struct probe_model pm;
    struct probe_run *run;
    float *logits; /* [n_vocab] */
};

static void greedy_open(const struct probe_model_options *options, struct greedy_run *g)
{
    g->logits = malloc((size_t)golden.n_vocab * sizeof(float));
    assert_non_null(g->logits);
    assert_int_equal(probe_model_open(golden.gguf, options, &g->pm), 0);
    assert_int_equal(probe_run_new(&g->pm, options, 1024, &g->run), 0);
}

static void greedy_close(struct greedy_run *g)
{
    free(g->logits);
    probe_run_free(g->run);
    probe_model_close(&g->pm);
}

/* Feeds the i-th chosen id, the prompt for -1. */
static void greedy_feed(struct greedy_run *g, const struct golden_prompt *p, int i)
{
    const int row = 0;

    if (i < 0) {
        assert_int_equal(probe_run_reset(g->run), 0);
        assert_int_equal(probe_run_prompt(g->run, p->ids, (size_t)p->n_ids, g->logits), 0);
    } else {
        assert_int_equal(probe_run_step(g->run, &p->greedy[i], 1, &row, 1, g->logits), 0);
    }
}

struct greedy_count {
    int n_ids, n_compared, n_rows;
    double squares; /* of the rows' noise */
};

/* Which ids must be the reference's.  A prompt's first ones, up to a margin below 4 rms, by the rule of
 * tests/golden/README.md; a random model has such a margin within five steps.  So the reference's ids are fed
 * whatever ours were, and behind that step an id must be right if its margin is beyond 4 rms of the noise in
 * its own row.  Rows are not alike: those of d1-k256-MIX have 0.6 to 2.5 times the rms over all of them. What
 * a row's noise is, exact tells (ref on the same file, which golden-*-ref holds to the reference in every
 * logit); NULL: not known, the rule alone. */
static void check_greedy(struct greedy_run *ours, struct greedy_run *exact, const struct golden_prompt *p,
                         struct greedy_count *count)
{
    bool sure = true;

    for (int i = 0; i < p->n_greedy; i++) {
        double noise = is_exact() ? FLOAT_MAX_ABS / NEAR_TIE : INFINITY;

        greedy_feed(ours, p, i - 1);
        if (exact) {
            greedy_feed(exact, p, i - 1);
            noise = golden_compare(exact->logits, ours->logits, 1, golden.n_vocab).rms;
            count->squares += noise * noise;
            count->n_rows++;
        }
        sure = sure && p->margin[i] >= NEAR_TIE * golden.llama_rms;
        if (sure || p->margin[i] >= NEAR_TIE * noise) {
            assert_int_equal(best_of(ours->logits, golden.n_vocab), p->greedy[i]);
            count->n_compared++;
        }
    }
    count->n_ids += p->n_greedy;
}

static void test_greedy_ids_follow_the_reference(void **state _unused_)
{
    const struct golden_setup s = setup(64, 2);
    struct probe_model_options ref_options = s.options;
    struct greedy_run ours = {.logits = NULL}, ref = {.logits = NULL};
    struct greedy_count count = {.n_ids = 0};

    ref_options.backend = "ref";
    greedy_open(&s.options, &ours);
    if (!is_exact())
        greedy_open(&ref_options, &ref);
    for (int i = 0; i < golden.n_prompts; i++) {
        const struct golden_prompt *p = &golden.prompts[i];

        if (!s.longest || p->n_ids <= s.longest)
            check_greedy(&ours, ref.run && p->n_ids <= SHORT_IDS ? &ref : NULL, p, &count);
    }
    print_message("%d of %d ids compared\n", count.n_compared, count.n_ids);
    assert_true(count.n_compared > count.n_ids / 5); /* else the test would say nothing */
    if (count.n_rows)
        assert_true(sqrt(count.squares / count.n_rows) <= SLACK * golden.llama_rms);
    greedy_close(&ours);
    greedy_close(&ref);
}

/* bits */
static void check_same_bits(const struct golden_setup *s, const float *expected, const char *what)
{
    int n_rows;
    _cleanup_(freep) float *ours = golden_run(&golden, s, &n_rows);

    if (memcmp(ours, expected, (size_t)n_rows * (size_t)golden.n_vocab * sizeof(float))) {
        struct golden_distance d = golden_compare(expected, ours, n_rows, golden.n_vocab);

        fail_msg("%s: logits differ by up to %g", what, d.max);
    }
}

static void test_bits_do_not_depend_on_pieces_or_threads(void **state _unused_)
{
    static const int pieces[] = {1, 7, 64, 512};
    struct golden_setup s = setup(512, 1);
    int n_rows;
    char what[64];

    s.longest = 200; /* 1,100 steps of one row are enough */
    _cleanup_(freep) float *expected = golden_run(&golden, &s, &n_rows);
    assert_true(n_rows > 20);
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        for (int threads = 1; threads <= 4; threads++) {
            s.options.chunk = pieces[i];
            s.options.threads = threads;
            snprintf(what, sizeof(what), "pieces of %d, %d threads", pieces[i], threads);
            check_same_bits(&s, expected, what);
        }
    }
}

static void test_bits_do_not_depend_on_neighbours(void **state _unused_)
{
    struct golden_setup s = setup(64, 2);
    int n_rows;
    _cleanup_(freep) float *expected = golden_run(&golden, &s, &n_rows);

    s.options.neighbours = 1;
    check_same_bits(&s, expected, "one neighbour");
    s.options.neighbours = 5;
    s.options.chunk = 17;
    check_same_bits(&s, expected, "five neighbours, pieces of 17");
}

static void test_bits_of_adopted_weights_are_the_same(void **state _unused_)
{
    struct golden_setup s = setup(64, 2);
    int n_rows;
    _cleanup_(freep) float *expected = golden_run(&golden, &s, &n_rows);

    s.adopt = true;
    check_same_bits(&s, expected, "adopted weights");
}

/* Where the table of embeddings lies makes no difference to any bit; adopted, since a run takes seconds. */
static void test_table_in_main_memory_gives_the_same_bits(void **state _unused_)
{
    struct golden_setup s = setup(64, 2);
    struct probe_model pm = {0};
    int n_rows;

    if (!is_emu())
        skip(); /* the others have nothing but main memory */
    _cleanup_(freep) float *expected = golden_run(&golden, &s, &n_rows);
    s.options.embedding = "host";
    assert_int_equal(probe_model_open(golden.gguf, &s.options, &pm), 0);
    assert_int_equal(pm.model->weights.host.bytes, pm.model->weights.embed.bytes);
    assert_ptr_equal(pm.model->weights.host.base, pm.model->weights.embed.data);
    probe_model_close(&pm);
    s.adopt = true;
    check_same_bits(&s, expected, "a table in main memory");
}

/* Only f32 is exact; the others must be what they say: nearly the same, and not the same.  Where activations
 * are quantised, a small change of them tips roundings all the way up, and the difference is of the size of
 * that noise. */
static void test_kv_types_cost_what_they_should(void **state _unused_)
{
    static const struct {
        const char *name;
        double lo, hi; /* rms against f32 KV */
    } types[] = {{"f16", 1e-7, 2e-3}, {"q8_0", 1e-5, 5e-2}};
    struct golden_setup s = setup(64, 2);
    int n_rows;
    _cleanup_(freep) float *expected = golden_run(&golden, &s, &n_rows);

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        s.options.kv = types[i].name;
        _cleanup_(freep) float *ours = golden_run(&golden, &s, &n_rows);
        struct golden_distance d = golden_compare(expected, ours, n_rows, golden.n_vocab);

        print_message("%s: rms %.2e\n", types[i].name, d.rms);
        assert_true(d.rms >= types[i].lo && d.rms <= (is_exact() ? types[i].hi : golden.llama_rms));
    }
}

/* allocation */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
int __real_model_forward(struct model *model, struct state *state, const struct kern_batch *batch,
                         const int *rows, int n_rows, float *ret_logits);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
int __wrap_model_forward(struct model *model, struct state *state, const struct kern_batch *batch,
                         const int *rows, int n_rows, float *ret_logits);

static atomic_bool in_forward; /* also seen by the backend's threads */
static atomic_int n_forwards, n_allocations;

static void count_allocation(void)
{
    if (in_forward)
        n_allocations++;
}

void *__wrap_malloc(size_t n)
{
    count_allocation();
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    count_allocation();
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    count_allocation();
    return __real_realloc(p, n);
}

int __wrap_model_forward(struct model *model, struct state *state, const struct kern_batch *batch,
                         const int *rows, int n_rows, float *ret_logits)
{
    int r;

    n_forwards++;
    in_forward = true;
    r = __real_model_forward(model, state, batch, rows, n_rows, ret_logits);
    in_forward = false;
    return r;
}

/* Last: it speaks for every step of the tests before it. */
static void test_no_step_allocates(void **state _unused_)
{
    assert_true(n_forwards > 0);
    assert_int_equal(n_allocations, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_are_near_the_reference),
        cmocka_unit_test(test_greedy_ids_follow_the_reference),
        cmocka_unit_test(test_bits_do_not_depend_on_neighbours),
        cmocka_unit_test(test_bits_of_adopted_weights_are_the_same),
        cmocka_unit_test(test_table_in_main_memory_gives_the_same_bits),
        cmocka_unit_test(test_kv_types_cost_what_they_should),
        cmocka_unit_test(test_no_step_allocates),
        cmocka_unit_test(test_bits_do_not_depend_on_pieces_or_threads),
    };
    int failed;

    if (argc < 4 || argc > 5)
        return 2;
    cmocka_set_test_filter(argv[4]); /* NULL: all */
    backend = argv[2];
    golden_read(argv[1], argv[3], &golden);
    /* ref has no threads and takes seconds for a run, so it is spared the 17 of the last test */
    failed = strcmp(backend, "ref")
                 ? cmocka_run_group_tests(tests, NULL, NULL)
                 : _cmocka_run_group_tests(argv[3], tests, ARRAY_SIZE(tests) - 1, NULL, NULL);
    golden_deinit(&golden);
    return failed;
}
