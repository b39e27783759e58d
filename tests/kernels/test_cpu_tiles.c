/* test_cpu_tiles.c - the products on AMX tiles, bit for bit as those of the other instruction sets.
 *
 * Built to run on the machine's own tiles, skipped where there are none, and with tile_trap.c on any machine
 * with AVX-512: then once with the object that is installed and once with each of what other compilers and
 * levels of optimisation make of mm_tile.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/isa.h"
#include "kernels/half.h"
#include "kt.h"

static const enum quant_type types[] = {QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K, QUANT_IQ4_XS};

/* One matrix, rows of activations for it, and room for what a table makes of them. */
struct tiles_case {
    struct kern *kern;
    struct kt_mat mat;
    enum panel_kind kind;
    int n_tok, n_panel;
    uint8_t *act;
};

static void tiles_case_init(struct tiles_case *c, enum quant_type type, int n_out, int n_in, const float *x,
                            int n_tok)
{
    const size_t tile = act_tile_bytes(ACT_K256, n_in);

    assert_true(amx_is_usable()); /* see tile_trap.h */
    c->kern = kt_open("cpu", "scalar", 1);
    c->mat = kt_mat_new(c->kern, type, KERN_PANELS, n_out, n_in, 31);
    c->kind = panel_kind(type);
    c->n_tok = n_tok;
    c->n_panel = panel_n(n_out);
    c->act = aligned_alloc(64, (size_t)CEIL_DIV(n_tok, ACT_TILE) * tile);
    assert_non_null(c->act);
    memset(c->act, 0x7e, (size_t)CEIL_DIV(n_tok, ACT_TILE) * tile);
    for (int t = 0; t < n_tok; t++)
        isa_avx512.act[ACT_K256](c->act + (size_t)(t / ACT_TILE) * tile, t % ACT_TILE, x + (int64_t)t * n_in,
                                 n_in);
}

static void tiles_case_deinit(struct tiles_case *c)
{
    free(c->act);
    kt_mat_free(&c->mat);
    kern_free(c->kern);
}

static float *tiles_random_rows(int n_tok, int n_in)
{
    struct kt_rng rng = {7};
    float *x = kt_floats((size_t)n_tok * (size_t)n_in);

    for (int t = 0; t < n_tok; t++)
        kt_fill(&rng, x + (int64_t)t * n_in, (size_t)n_in, t % 5 == 4 ? 1e-3f : 2.0f);
    return x;
}

/* [n_tok][16 n_panel]; rows past n_tok's tile are not touched, or the test fails. */
static float *tiles_product(const struct isa *isa, const struct tiles_case *c, int n_tok)
{
    const int ld = c->n_panel * PANEL_ROWS;
    const size_t n = (size_t)ROUND_UP(n_tok, ACT_TILE) * (size_t)ld, guard = (size_t)ld;
    float *out = kt_floats(n + guard);
    void *scratch = aligned_alloc(64, ROUND_UP(isa->scratch_bytes + 1, (size_t)64));
    const struct mm_args args = {
        .panels = c->mat.data,
        .panel_bytes = panel_bytes(c->kind, c->mat.mat.n_in),
        .n_panel = c->n_panel,
        .n_in = c->mat.mat.n_in,
        .n_tok = n_tok,
        .act = c->act,
        .tile_bytes = act_tile_bytes(ACT_K256, c->mat.mat.n_in),
        .out = out,
        .ld = ld,
        .scratch = scratch,
    };

    assert_non_null(scratch);
    memset(scratch, 0x5a, isa->scratch_bytes + 1);
    for (size_t i = 0; i < n + guard; i++)
        out[i] = NAN; /* also what is there before the first block must not matter */
    isa->mm[c->kind](&args);
    for (size_t i = n; i < n + guard; i++)
        assert_true(isnan(out[i]));
    free(scratch);
    return out;
}

static void check_rows(const struct tiles_case *c, const float *want, int n_tok, const char *other)
{
    float *got = tiles_product(&isa_amx, c, n_tok);
    char what[80];

    snprintf(what, sizeof(what), "%s, %d rows, tiles and %s", quant_find(c->mat.mat.type)->name, n_tok,
             other);
    kt_check_same(got, want, sizeof(float) * (size_t)n_tok * (size_t)(c->n_panel * PANEL_ROWS), what);
    free(got);
}

/* One row and 512, each number of steps, and what is left of one in every form; three panels and a tail. */
static void test_any_number_of_rows_has_the_bits_of_scalar(void **state)
{
    static const int more[] = {47, 48, 49, 63, 64, 65, 80, 96, 127, 129, 200, 256, 257, 400, 511, 512};
    enum { N_IN = 512, N_OUT = 53 };
    float *x = tiles_random_rows(MM_ROWS_MAX, N_IN);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct tiles_case c;
        tiles_case_init(&c, types[i], N_OUT, N_IN, x, MM_ROWS_MAX);
        float *want = tiles_product(&isa_scalar, &c, MM_ROWS_MAX);
        for (int n = 1; n <= 40; n++)
            check_rows(&c, want, n, "scalar");
        for (size_t j = 0; j < ARRAY_SIZE(more); j++)
            check_rows(&c, want, more[j], "scalar");
        free(want);
        tiles_case_deinit(&c);
    }
    free(x);
}

/* A piece of the 9B: an item of its projections, and of the matrix with its longest rows. */
static void test_the_shapes_of_a_model_have_the_bits_of_avx512(void **state)
{
    static const struct {
        int n_out, n_in, n_tok;
    } shapes[] = {{256, 4096, 128}, {64, 4096, 512}, {48, 12288, 70}, {16, 256, 512}};

    (void)state;
    for (size_t j = 0; j < ARRAY_SIZE(shapes); j++) {
        float *x = tiles_random_rows(shapes[j].n_tok, shapes[j].n_in);
        for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
            struct tiles_case c;
            tiles_case_init(&c, types[i], shapes[j].n_out, shapes[j].n_in, x, shapes[j].n_tok);
            float *want = tiles_product(&isa_avx512, &c, shapes[j].n_tok);
            check_rows(&c, want, shapes[j].n_tok, "avx512");
            free(want);
            tiles_case_deinit(&c);
        }
        free(x);
    }
}

/* The largest codes and scales of a type, and the least. */
static void tiles_extreme_block(enum quant_type type, bool code_most, bool scale_most, uint8_t *dst)
{
    const int code = type == QUANT_Q5_K ? 31 : type == QUANT_Q6_K ? 63 : 15;
    const bool has_min = type == QUANT_Q4_K || type == QUANT_Q5_K;
    struct block b = {.d = half_from_float(0.01f), .m = has_min ? half_from_float(0.5f) : 0};

    for (int i = 0; i < BLOCK_MAX; i++)
        b.code[i] = (uint8_t)(code_most ? code : 0);
    for (int i = 0; i < BLOCK_GROUPS_MAX; i++) {
        if (has_min)
            b.scale[i] = scale_most ? 63 : 0;
        else if (type == QUANT_Q6_K)
            b.scale[i] = scale_most ? 127 : -128;
        else
            b.scale[i] = scale_most ? 31 : -32;
        b.min[i] = has_min ? 63 : 0;
    }
    block_write(type, &b, dst);
}

/* Row o of the matrix: code and scale at an end each; row t of activations: all 127, all -127, or both in
 * turn. */
static void test_the_largest_sums_have_the_bits_of_scalar(void **state)
{
    enum { N_IN = 512, N_OUT = 16, N_TOK = 24 };
    float *x = kt_floats(N_TOK * N_IN);
    uint8_t raw[N_OUT * 2 * BLOCK_MAX];

    (void)state;
    for (int t = 0; t < N_TOK; t++)
        for (int k = 0; k < N_IN; k++)
            x[t * N_IN + k] = t % 3 == 0 ? 1.0f : t % 3 == 1 ? -1.0f : k % 2 ? 1.0f : -1.0f;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        const size_t size = (size_t)quant_find(types[i])->n_bytes;
        struct tiles_case c;
        tiles_case_init(&c, types[i], N_OUT, N_IN, x, N_TOK);
        for (int o = 0; o < N_OUT; o++)
            for (int b = 0; b < 2; b++)
                tiles_extreme_block(types[i], o & 1, o & 2, raw + (size_t)(2 * o + b) * size);
        const struct kern_pack pack = {.mat = &c.mat.mat, .n_row = N_OUT, .src = raw};
        assert_int_equal(c.kern->ops->mat_pack(c.kern, &pack), 0);
        float *want = tiles_product(&isa_scalar, &c, N_TOK);
        check_rows(&c, want, N_TOK, "scalar");
        free(want);
        tiles_case_deinit(&c);
    }
    free(x);
}

int main(void)
{
    struct kern *kern = kt_open("cpu", "amx", 1); /* asks the kernel for leave, too */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_number_of_rows_has_the_bits_of_scalar),
        cmocka_unit_test(test_the_shapes_of_a_model_have_the_bits_of_avx512),
        cmocka_unit_test(test_the_largest_sums_have_the_bits_of_scalar),
    };

    if (!kern)
        return 77;
    kern_free(kern);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
