/* test_cpu_mm.c - the CPU backend's products: every instruction set bit for bit as exact.c, near ref.c, and
 * the same bits for any number of rows and threads. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kt.h"

static const char *const isas[] = {"scalar", "avx2", "avxvnni", "avx512", "amx", "neon", "i8mm"};
static const int threads[] = {1, 2, 3, 4};

enum { MAX_TOK = 64, BIG_TOK = 512 };

static int k_of(enum quant_type type) /* an odd number of blocks, and for floats an odd size */
{
    const int n_block = quant_find(type)->n_block;

    return n_block == 256 ? 768 : n_block == 32 ? 32 * 11 : 301;
}

/* Rows of very different size, one of them zero, one with a single large value. */
static float *rows_new(int n_tok, int n_in, uint64_t seed)
{
    struct kt_rng rng = {seed};
    float *x = kt_floats((size_t)(n_tok * n_in));

    for (int t = 0; t < n_tok; t++)
        if (t % 16 != 5)
            kt_fill(&rng, x + t * n_in, (size_t)n_in, t % 7 == 3 ? 1e-4f : 3.0f);
    if (n_tok > 2)
        x[2 * n_in + n_in / 2] = 400.0f;
    return x;
}

static float *norm_proj(struct kern *kern, const struct kern_mat *mat, const float *x, int n_tok)
{
    float *out = kt_floats((size_t)(n_tok * mat->n_out));
    const struct kern_norm_proj op = {.n_tok = n_tok, .n_mat = 1, .x = x, .mats = {mat}, .out = {out}};

    assert_int_equal(kern->ops->norm_proj(kern, &op), 0);
    return out;
}

/* rows x mat on one backend from one seed; the caller frees */
static float *product(const char *backend, const char *isa, int n_threads, enum quant_type type, int n_out,
                      int n_in, const float *x, int n_tok)
{
    const struct kern_shape shape = kt_shape(n_in, n_in, BIG_TOK);
    struct kern *kern = kt_open_planned(backend, isa, n_threads, &shape);

    if (!kern)
        return NULL;
    struct kt_mat m = kt_mat_new(kern, type, KERN_PANELS, n_out, n_in, 11);
    float *out = norm_proj(kern, &m.mat, x, n_tok);
    kt_mat_free(&m);
    kern_free(kern);
    return out;
}

static void test_every_isa_multiplies_with_the_bits_of_scalar(void **state)
{
    enum { N_OUT = 53 }; /* three panels and a tail of five rows */

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kt_types); i++) {
        const int n_in = k_of(kt_types[i]);
        float *x = rows_new(MAX_TOK, n_in, 3);
        float *want = product("cpu", "scalar", 1, kt_types[i], N_OUT, n_in, x, MAX_TOK);
        for (size_t j = 1; j < ARRAY_SIZE(isas); j++) {
            char what[64];
            float *got = product("cpu", isas[j], 2, kt_types[i], N_OUT, n_in, x, MAX_TOK);
            snprintf(what, sizeof(what), "%s on %s", quant_find(kt_types[i])->name, isas[j]);
            if (got)
                kt_check_same(got, want, sizeof(float) * MAX_TOK * N_OUT, what);
            free(got);
        }
        free(want);
        free(x);
    }
}

/* The tables of this machine but for scalar's, and dot_emu.h's. */
static int tables(const struct isa **ret_isas)
{
    int n = 0;

    for (size_t i = 1; i < ARRAY_SIZE(isas); i++) {
        struct kern *kern = kt_open("cpu", isas[i], 1);
        if (kern)
            ret_isas[n++] = cpu_of(kern)->isa;
        kern_free(kern);
    }
#ifdef KT_DOT_EMULATED
    if (n) /* avx2 is what it is emulated with */
        ret_isas[n++] = &isa_avxvnni;
#endif
    return n;
}

enum { CODES_ZERO, CODES_ONES, CODES_RANDOM, CODES_N };

/* Bytes as they come are panels too; scales of blocks are 1, and codes of Q8M are of five bits. */
static void panels_fill(enum panel_kind kind, int codes, uint8_t *panels, int n_panel, int n_in)
{
    const size_t bytes = panel_bytes(kind, n_in), side = panel_side_offset(kind, n_in);
    struct kt_rng rng = {codes};

    for (size_t i = 0; i < (size_t)n_panel * bytes; i++) {
        const uint8_t code = codes == CODES_ZERO ? 0 : codes == CODES_ONES ? 0xff : (uint8_t)kt_next(&rng);
        panels[i] = i % bytes >= side ? (i % 2 ? 0x3c : 0x00) : kind == PANEL_Q8M ? code & 31 : code;
    }
}

/* Every code and every scale as large as they get, against rows of the largest activations, of one sign and
 * of both: what an instruction set adds up in less than 32 bits has to fit there. */
static void test_any_codes_have_the_bits_of_scalar(void **state)
{
    enum { N_IN = 512, N_PANEL = 5, N_ROW = 32 };
    static const int n_rows[] = {1, 2, 3, 4, 8, 13, N_ROW};
    const struct isa *here[ARRAY_SIZE(isas) + 1];
    const int n_here = tables(here);
    float *x = kt_floats(N_IN), *want = kt_floats(N_ROW * N_PANEL * PANEL_ROWS),
          *got = kt_floats(N_ROW * N_PANEL * PANEL_ROWS);

    (void)state;
    for (int kind = PANEL_Q4K; kind <= PANEL_Q4M; kind++) {
        const enum act_kind act = panel_infos[kind].act;
        const size_t bytes = panel_bytes((enum panel_kind)kind, N_IN), tile = act_tile_bytes(act, N_IN);
        uint8_t *panels = aligned_alloc(64, N_PANEL * bytes),
                *rows = aligned_alloc(64, N_ROW / ACT_TILE * tile);
        struct mm_args args = {.panels = panels,
                               .panel_bytes = bytes,
                               .n_panel = N_PANEL,
                               .n_in = N_IN,
                               .act = rows,
                               .tile_bytes = tile,
                               .ld = N_PANEL * PANEL_ROWS};

        for (int i = 0; i < 2 * CODES_N; i++) {
            panels_fill((enum panel_kind)kind, i / 2, panels, N_PANEL, N_IN);
            for (int k = 0; k < N_IN; k++)
                x[k] = i % 2 && k / 4 % 2 ? -1.0f : 1.0f;
            for (int t = 0; t < N_ROW; t++)
                isa_scalar.act[act](rows + (size_t)(t / ACT_TILE) * tile, t % ACT_TILE, x, N_IN);
            args.n_tok = N_ROW;
            args.out = want;
            isa_scalar.mm[kind](&args);
            for (int j = 0; j < n_here; j++)
                for (size_t n = 0; n < ARRAY_SIZE(n_rows); n++) {
                    args.n_tok = n_rows[n];
                    args.out = got;
                    args.scratch = aligned_alloc(64, ROUND_UP(here[j]->scratch_bytes + 1, (size_t)64));
                    here[j]->mm[kind](&args);
                    kt_check_same(got, want, sizeof(float) * (size_t)(args.n_tok * args.ld), here[j]->name);
                    free(args.scratch);
                }
        }
        free(panels);
        free(rows);
    }
    free(x);
    free(want);
    free(got);
}

/* A row's product must not know its neighbours: 1 .. 64 rows at a time, and every number of threads. */
static void test_rows_and_threads_change_no_bits(void **state)
{
    static const int n_rows[] = {1, 2, 3, 4, 5, 7, 8, 9, 17, 64};
    enum { N_OUT = 161 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kt_types); i++) {
        const int n_in = k_of(kt_types[i]);
        float *x = rows_new(MAX_TOK, n_in, 4);
        float *want = product("cpu", NULL, 1, kt_types[i], N_OUT, n_in, x, MAX_TOK);
        for (size_t j = 0; j < ARRAY_SIZE(n_rows); j++) {
            const int t0 = MAX_TOK - n_rows[j];
            float *got = product("cpu", NULL, threads[j % ARRAY_SIZE(threads)], kt_types[i], N_OUT, n_in,
                                 x + t0 * n_in, n_rows[j]);
            kt_check_same(got, want + t0 * N_OUT, sizeof(float) * (size_t)(n_rows[j] * N_OUT),
                          quant_find(kt_types[i])->name);
            free(got);
        }
        free(want);
        free(x);
    }
}

/* A whole piece of a prompt, with several passes over a block, against a row at a time and 16 at a time. */
static void test_many_rows_have_the_bits_of_one(void **state)
{
    static const enum quant_type types[] = {QUANT_Q4_K, QUANT_Q6_K, QUANT_Q8_0, QUANT_F16};
    static const int pieces[] = {16, 1};
    enum { N_OUT = 87 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        const int n_in = k_of(types[i]);
        float *x = rows_new(BIG_TOK, n_in, 4);
        float *want = product("cpu", NULL, 2, types[i], N_OUT, n_in, x, BIG_TOK);
        for (size_t j = 0; j < ARRAY_SIZE(pieces); j++)
            for (int t = 0; t < BIG_TOK; t += pieces[j] * 13) {
                const int n = MIN(pieces[j], BIG_TOK - t);
                float *got = product("cpu", NULL, 2, types[i], N_OUT, n_in, x + t * n_in, n);
                kt_check_same(got, want + t * N_OUT, sizeof(float) * (size_t)(n * N_OUT),
                              quant_find(types[i])->name);
                free(got);
            }
        free(want);
        free(x);
    }
}

/* Against exact weights and f32 activations.  Float weights: rounding of n_in fused steps, n_in 2^-24 of the
 * sum of magnitudes.  Quantised: each activation is off by at most half a step, most / 254; errors add like a
 * random walk, and 6 sigma of that is asked for. */
static void check_near_ref(enum quant_type type, const float *got, const float *want, const float *x,
                           const float *w, int n_out, int n_in, int n_tok)
{
    const bool is_float = quant_find(type)->n_block == 1;

    for (int t = 0; t < n_tok; t++) {
        double most = 0;
        for (int k = 0; k < n_in; k++)
            most = fmax(most, fabs((double)x[t * n_in + k]));
        for (int o = 0; o < n_out; o++) {
            double square = 0, magnitude = 0;
            for (int k = 0; k < n_in; k++) {
                const double wk = (double)w[o * n_in + k];
                square += wk * wk;
                magnitude += fabs(wk * (double)x[t * n_in + k]);
            }
            const double step = most / 254 / sqrt(3), rounding = n_in * 0x1p-24 * magnitude;
            const double tolerance = is_float ? rounding : 6 * step * sqrt(square) + rounding;
            kt_check_near(&got[t * n_out + o], &want[t * n_out + o], 1, tolerance, quant_find(type)->name);
        }
    }
}

/* Rounded to 8 bits a NaN would come out as a number, and a broken row would answer as if it were none. */
static void check_no_number_stays_none(const char *isa, enum quant_type type)
{
    enum { N_OUT = 21, N_TOK = 5 };
    const int n_in = k_of(type);
    float *x = rows_new(N_TOK, n_in, 6), *want = product("cpu", isa, 1, type, N_OUT, n_in, x, N_TOK), *got;

    x[n_in + 3] = NAN;
    x[3 * n_in + n_in - 1] = -INFINITY;
    for (int i = 0; i < n_in; i++)
        x[4 * n_in + i] = NAN; /* what the norm makes of a row with one */
    got = product("cpu", isa, 1, type, N_OUT, n_in, x, N_TOK);
    for (int t = 0; got && t < N_TOK; t++) {
        if (t == 0 || t == 2)
            kt_check_same(got + t * N_OUT, want + t * N_OUT, sizeof(float) * N_OUT, "a whole row");
        for (int i = 0; i < N_OUT; i++)
            if (isfinite(got[t * N_OUT + i]) != (t == 0 || t == 2))
                fail_msg("%s on %s: row %d gives %g", quant_find(type)->name, isa, t,
                         (double)got[t * N_OUT + i]);
    }
    free(x);
    free(want);
    free(got);
}

static void test_what_is_no_number_stays_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kt_types); i++)
        for (size_t j = 0; j < ARRAY_SIZE(isas); j++)
            check_no_number_stays_none(isas[j], kt_types[i]);
}

static void test_products_are_near_the_definition(void **state)
{
    enum { N_OUT = 40, N_TOK = 9 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kt_types); i++) {
        const int n_in = k_of(kt_types[i]);
        const struct kern_shape shape = kt_shape(n_in, n_in, BIG_TOK);
        struct kern *ref = kt_open_planned("ref", NULL, 1, &shape);
        struct kt_mat m = kt_mat_new(ref, kt_types[i], KERN_ROWS, N_OUT, n_in, 11);
        float *w = kt_floats((size_t)(N_OUT * n_in)), *x = rows_new(N_TOK, n_in, 5);
        quant_dequantise(kt_types[i], m.data, w, N_OUT * n_in);
        float *want = norm_proj(ref, &m.mat, x, N_TOK);
        float *got = product("cpu", NULL, 2, kt_types[i], N_OUT, n_in, x, N_TOK);
        check_near_ref(kt_types[i], got, want, x, w, N_OUT, n_in, N_TOK);
        free(got);
        free(want);
        free(x);
        free(w);
        kt_mat_free(&m);
        kern_free(ref);
    }
}

static void test_embed_reads_the_same_values_from_rows_and_panels(void **state)
{
    enum { N_OUT = 37 };
    const int32_t ids[5] = {0, 36, 15, 16, 7}, outside = N_OUT;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kt_types); i++) {
        const int n_in = k_of(kt_types[i]);
        const struct kern_shape shape = kt_shape(n_in, n_in, BIG_TOK);
        struct kern *ref = kt_open_planned("ref", NULL, 1, &shape),
                    *cpu = kt_open_planned("cpu", NULL, 2, &shape);
        float *want = kt_floats((size_t)(5 * n_in)), *got = kt_floats((size_t)(5 * n_in));
        struct kt_mat plain = kt_mat_new(ref, kt_types[i], KERN_ROWS, N_OUT, n_in, 12);
        assert_int_equal(ref->ops->embed(ref, &plain.mat, ids, 5, want), 0);
        for (int layout = KERN_ROWS; layout <= KERN_PANELS; layout++) {
            struct kt_mat m = kt_mat_new(cpu, kt_types[i], (enum kern_layout)layout, N_OUT, n_in, 12);
            assert_int_equal(cpu->ops->embed(cpu, &m.mat, ids, 5, got), 0);
            kt_check_same(got, want, sizeof(float) * (size_t)(5 * n_in), quant_find(kt_types[i])->name);
            assert_int_equal(cpu->ops->embed(cpu, &m.mat, &outside, 1, got), -EINVAL);
            kt_mat_free(&m);
        }
        kt_mat_free(&plain);
        free(want);
        free(got);
        kern_free(ref);
        kern_free(cpu);
    }
}

static void test_panels_keep_the_size_of_the_file(void **state)
{
    struct kern *cpu = kt_open("cpu", NULL, 1);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kt_types); i++) {
        const size_t rows = cpu->ops->mat_bytes(cpu, kt_types[i], KERN_ROWS, 4096, 4096);
        const size_t panels = cpu->ops->mat_bytes(cpu, kt_types[i], KERN_PANELS, 4096, 4096);
        if (kt_types[i] == QUANT_Q5_0 || kt_types[i] == QUANT_IQ4_NL)
            assert_int_equal(panels, cpu->ops->mat_bytes(cpu, QUANT_Q8_0, KERN_ROWS, 4096, 4096));
        else if (kt_types[i] == QUANT_Q5_1) /* fifth bits are widened to bytes: 36 for 24 */
            assert_int_equal(panels, rows / 24 * 36);
        else
            assert_int_equal(panels, rows);
    }
    kern_free(cpu);
}

/* A matrix packed at once, into plain memory, and in pieces, into memory for weights: by few threads, which
 * write to its fd, and by as many as write through the map, as all do where there may be huge pages. */
static void test_pieces_pack_as_the_whole(void **state)
{
    enum { N_OUT = 16 * 40 + 5 };
    const int ends[] = {16, 64, 64 + 16 * 30, N_OUT}, few_and_many[] = {2, 8, 2};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kt_types); i++)
        for (size_t j = 0; j < ARRAY_SIZE(few_and_many); j++) {
            const int n_in = k_of(kt_types[i]);
            const size_t row_bytes = quant_row_bytes(quant_find(kt_types[i]), n_in);
            struct kern *cpu = kt_open("cpu", NULL, few_and_many[j]);
            struct kt_rng rng = {5};
            uint8_t *rows = malloc(N_OUT * row_bytes), *whole;
            struct kern_mat mat = {.type = kt_types[i], .layout = KERN_PANELS, .n_out = N_OUT, .n_in = n_in};
            struct kern_mem mem;
            int row = 0;

            kt_random_weights(&rng, kt_types[i], rows, (int64_t)N_OUT * n_in);
            mat.bytes = cpu->ops->mat_bytes(cpu, mat.type, mat.layout, N_OUT, n_in);
            mat.data = whole = aligned_alloc(64, mat.bytes);
            const struct kern_pack all = {.mat = &mat, .n_row = N_OUT, .src = rows};
            assert_int_equal(cpu->ops->mat_pack(cpu, &all), 0);
            assert_int_equal(cpu->ops->mem_alloc(cpu, mat.bytes + 192, KERN_MEM_WEIGHTS, &mem), 0);
            mem.huge = j == 2;
            mat.data = mem.base + 192; /* matrices begin anywhere in a page */
            for (size_t k = 0; k < ARRAY_SIZE(ends); row = ends[k++]) {
                const struct kern_pack piece = {.mat = &mat,
                                                .mem = &mem,
                                                .row = row,
                                                .n_row = ends[k] - row,
                                                .src = rows + (size_t)row * row_bytes};
                assert_int_equal(cpu->ops->mat_pack(cpu, &piece), 0);
            }
            kt_check_same(mat.data, whole, mat.bytes, quant_find(kt_types[i])->name);
            const struct kern_pack odd = {.mat = &mat, .row = 8, .n_row = 16, .src = rows};
            assert_int_equal(cpu->ops->mat_pack(cpu, &odd), -EINVAL);
            cpu->ops->mem_free(cpu, &mem);
            free(whole);
            free(rows);
            kern_free(cpu);
        }
}

/* whole ops */

enum { DIM = 512, N_FF = 768, N_TOK = 11 };

struct ops_case {
    float *x, *norm_w, *hidden, *logits;
    struct kt_mat gate, up, down, head;
};

/* All ops that multiply, one after the other, on x. */
static void ops_run(struct kern *kern, struct ops_case *c, bool mlp_only)
{
    const int rows[3] = {0, 4, 10};
    const struct kern_mlp mlp = {.n_tok = N_TOK,
                                 .x = c->x,
                                 .norm_w = c->norm_w,
                                 .eps = 1e-6f,
                                 .gate = &c->gate.mat,
                                 .up = &c->up.mat,
                                 .down = &c->down.mat};
    const struct kern_proj_add add = {
        .n_tok = 1, .y = c->norm_w, .mat = &c->head.mat, .x = c->logits + 3 * 48};
    const struct kern_head head = {.n_rows = 3,
                                   .rows = rows,
                                   .x = c->x,
                                   .norm_w = c->norm_w,
                                   .eps = 1e-6f,
                                   .mat = &c->head.mat,
                                   .hidden = c->hidden,
                                   .logits = c->logits};

    assert_int_equal(kern->ops->mlp(kern, &mlp), 0);
    if (mlp_only)
        return;
    assert_int_equal(kern->ops->head(kern, &head), 0);
    assert_int_equal(kern->ops->proj_add(kern, &add), 0);
}

static void ops_case_init(struct ops_case *c, struct kern *kern, enum quant_type type)
{
    struct kt_rng rng = {21};

    c->x = kt_floats(N_TOK * DIM);
    c->norm_w = kt_floats(DIM);
    c->hidden = kt_floats(3 * DIM);
    c->logits = kt_floats(4 * 48);
    kt_fill(&rng, c->x, N_TOK * DIM, 1.0f);
    kt_fill(&rng, c->norm_w, DIM, 0.2f);
    c->gate = kt_mat_new(kern, type, KERN_PANELS, N_FF, DIM, 1);
    c->up = kt_mat_new(kern, QUANT_F16, KERN_PANELS, N_FF, DIM, 2);
    c->down = kt_mat_new(kern, type, KERN_PANELS, DIM, N_FF, 3);
    c->head = kt_mat_new(kern, type, KERN_PANELS, 48, DIM, 4);
}

static void ops_case_deinit(struct ops_case *c)
{
    free(c->x);
    free(c->norm_w);
    free(c->hidden);
    free(c->logits);
    kt_mat_free(&c->gate);
    kt_mat_free(&c->up);
    kt_mat_free(&c->down);
    kt_mat_free(&c->head);
}

static void test_mlp_and_head_agree_with_the_definition(void **state)
{
    const struct kern_shape shape = kt_shape(DIM, N_FF, BIG_TOK);
    struct kern *ref = kt_open_planned("ref", NULL, 1, &shape),
                *cpu = kt_open_planned("cpu", NULL, 3, &shape);
    struct ops_case want, got;

    (void)state;
    ops_case_init(&want, ref, QUANT_F32);
    ops_case_init(&got, cpu, QUANT_F32);
    ops_run(ref, &want, false);
    ops_run(cpu, &got, false);
    /* float weights: only rounding, some 1e-7 of sums of a few hundred terms around 1 */
    kt_check_near(got.x, want.x, N_TOK * DIM, 2e-5, "mlp");
    kt_check_near(got.hidden, want.hidden, 3 * DIM, 2e-5, "hidden");
    kt_check_near(got.logits, want.logits, 4 * 48, 2e-5, "logits");
    ops_case_deinit(&want);
    ops_case_deinit(&got);
    kern_free(ref);
    kern_free(cpu);
}

static void test_ops_have_the_same_bits_on_every_isa(void **state)
{
    const struct kern_shape shape = kt_shape(DIM, N_FF, BIG_TOK);
    struct kern *scalar = kt_open_planned("cpu", "scalar", 1, &shape);
    struct ops_case want;

    (void)state;
    ops_case_init(&want, scalar, QUANT_Q4_K);
    ops_run(scalar, &want, false);
    for (size_t i = 1; i < ARRAY_SIZE(isas); i++) {
        struct kern *kern = kt_open_planned("cpu", isas[i], threads[i % ARRAY_SIZE(threads)], &shape);
        struct ops_case got;
        if (!kern)
            continue;
        ops_case_init(&got, kern, QUANT_Q4_K);
        ops_run(kern, &got, false);
        kt_check_same(got.x, want.x, sizeof(float) * N_TOK * DIM, isas[i]);
        kt_check_same(got.hidden, want.hidden, sizeof(float) * 3 * DIM, isas[i]);
        kt_check_same(got.logits, want.logits, sizeof(float) * 4 * 48, isas[i]);
        ops_case_deinit(&got);
        kern_free(kern);
    }
    ops_case_deinit(&want);
    kern_free(scalar);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_isa_multiplies_with_the_bits_of_scalar),
        cmocka_unit_test(test_any_codes_have_the_bits_of_scalar),
        cmocka_unit_test(test_rows_and_threads_change_no_bits),
        cmocka_unit_test(test_many_rows_have_the_bits_of_one),
        cmocka_unit_test(test_what_is_no_number_stays_none),
        cmocka_unit_test(test_products_are_near_the_definition),
        cmocka_unit_test(test_embed_reads_the_same_values_from_rows_and_panels),
        cmocka_unit_test(test_panels_keep_the_size_of_the_file),
        cmocka_unit_test(test_pieces_pack_as_the_whole),
        cmocka_unit_test(test_mlp_and_head_agree_with_the_definition),
        cmocka_unit_test(test_ops_have_the_same_bits_on_every_isa),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
