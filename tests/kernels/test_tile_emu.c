/* test_tile_emu.c - the emulation of AMX refuses what a processor or good sense would, and what the CPU
 * backend does with it: as many products as the work needs, and tiles given back. */
#include <string.h>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/tile.h"
#include "kt.h"
#include "tile_emu.h"
#include "tile_trap.h"

static const struct tile_config whole = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .n_rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

static void check_refuses(const struct tile_config *config)
{
    struct tile_emu emu = {0};

    assert_non_null(tile_emu_configure(&emu, (const uint8_t *)config));
    assert_int_equal(emu.palette, 0);
}

static void test_wrong_configurations_are_refused(void **state)
{
    struct tile_emu emu = {0};
    struct tile_config c;

    (void)state;
    assert_null(tile_emu_configure(&emu, (const uint8_t *)&whole));
    c = whole, c.palette = 0, check_refuses(&c);
    c = whole, c.palette = 2, check_refuses(&c);
    c = whole, c.start_row = 1, check_refuses(&c);
    c = whole, c.zero[13] = 1, check_refuses(&c);
    c = whole, c.row_bytes[8] = 64, check_refuses(&c);
    c = whole, c.n_rows[15] = 1, check_refuses(&c);
    c = whole, c.row_bytes[2] = 65, check_refuses(&c);
    c = whole, c.n_rows[2] = 17, check_refuses(&c);
    c = whole, c.n_rows[2] = 0, check_refuses(&c);
    c = whole, c.row_bytes[7] = 0, check_refuses(&c);
}

static struct tile_emu configured(const struct tile_config *config)
{
    struct tile_emu emu = {0};
    uint8_t bytes[16 * 64] = {0};

    assert_null(tile_emu_configure(&emu, (const uint8_t *)config));
    for (int i = 0; i < 3; i++)
        assert_null(tile_emu_load(&emu, i, bytes, 64));
    return emu;
}

static void check_refuses_dot(const struct tile_config *config)
{
    struct tile_emu emu = configured(config);

    assert_non_null(tile_emu_dot(&emu, 0, 1, 2, 1, 1));
}

static void test_products_of_tiles_that_do_not_fit_are_refused(void **state)
{
    struct tile_emu emu = configured(&whole);
    struct tile_config c;

    (void)state;
    assert_null(tile_emu_dot(&emu, 0, 1, 2, 1, 1));
    assert_non_null(tile_emu_dot(&emu, 0, 0, 2, 1, 1));
    assert_non_null(tile_emu_dot(&emu, 0, 1, 0, 1, 1));
    assert_non_null(tile_emu_dot(&emu, 0, 1, 1, 1, 1));
    assert_non_null(tile_emu_dot(&emu, 0, 1, 3, 1, 1)); /* never loaded */
    assert_non_null(tile_emu_dot(&emu, 3, 1, 2, 1, 1));
    c = whole, c.row_bytes[0] = c.row_bytes[2] = 62, check_refuses_dot(&c);
    c = whole, c.n_rows[1] = 15, check_refuses_dot(&c);
    c = whole, c.n_rows[2] = 15, check_refuses_dot(&c);
    c = whole, c.row_bytes[2] = 60, check_refuses_dot(&c);
    c = whole, c.row_bytes[1] = 60, check_refuses_dot(&c);
}

static void test_what_is_not_there_is_refused(void **state)
{
    struct tile_emu none = {0}, emu = configured(&whole);
    struct tile_config c = whole;
    uint8_t bytes[16 * 64];

    (void)state;
    assert_non_null(tile_emu_zero(&none, 0));
    assert_non_null(tile_emu_load(&none, 0, bytes, 64));
    assert_non_null(tile_emu_store(&none, 0, bytes, 64));
    assert_non_null(tile_emu_dot(&none, 0, 1, 2, 1, 1));
    assert_non_null(tile_emu_store(&emu, 3, bytes, 64)); /* never loaded */
    assert_null(tile_emu_zero(&emu, 3));
    assert_null(tile_emu_store(&emu, 3, bytes, 64));
    assert_null(tile_emu_configure(&emu, (const uint8_t *)&whole)); /* forgets */
    assert_non_null(tile_emu_store(&emu, 3, bytes, 64));
    tile_emu_release(&emu);
    assert_non_null(tile_emu_zero(&emu, 3));
    c.row_bytes[5] = c.n_rows[5] = 0;
    assert_null(tile_emu_configure(&emu, (const uint8_t *)&c));
    assert_non_null(tile_emu_zero(&emu, 5));
}

static struct tile_trap_counts counted(int n_threads, enum quant_type type, int n_tok)
{
    enum { N_IN = 512, N_OUT = 256 };
    const struct kern_shape shape = kt_shape(N_IN, N_IN, 512);
    struct kern *kern = kt_open_planned("cpu", "amx", n_threads, &shape);
    struct kt_mat m = kt_mat_new(kern, type, KERN_PANELS, N_OUT, N_IN, 3);
    float *x = kt_floats((size_t)(n_tok * N_IN)), *out = kt_floats((size_t)(n_tok * N_OUT));
    const struct kern_norm_proj op = {.n_tok = n_tok, .n_mat = 1, .x = x, .mats = {&m.mat}, .out = {out}};

    tile_trap_take_counts();
    assert_int_equal(kern->ops->norm_proj(kern, &op), 0);
    assert_false(tile_trap_is_configured());
    kt_mat_free(&m);
    free(x);
    free(out);
    kern_free(kern);
    return tile_trap_take_counts();
}

/* Two blocks of sixteen panels: 512 rows are 16 steps of two tiles, each 4 x 2 x 2 products. */
static void test_a_block_takes_as_many_products_as_it_needs(void **state)
{
    struct tile_trap_counts c;

    (void)state;
    c = counted(1, QUANT_Q4_K, 512);
    assert_int_equal(c.dots, 2 * 16 * 16 * 16);
    assert_int_equal(c.loads, 2 * 16 * 16 * 16);
    assert_int_equal(c.stores, 2 * 16 * 16 * 4);
    assert_int_equal(c.zeros, c.stores);
    assert_int_equal(c.configures, 1);
    assert_int_equal(c.releases, 1);
    c = counted(1, QUANT_Q6_K, 40); /* a step, and half of one */
    assert_int_equal(c.dots, 2 * 16 * (16 + 8));
    c = counted(2, QUANT_IQ4_XS, 9); /* two threads: items of 4 panels, one tile of rows */
    assert_int_equal(c.dots, 2 * 16 * 8);
    assert_int_equal(c.configures, 4);
    assert_int_equal(c.releases, c.configures);
}

static void test_few_rows_and_other_types_take_no_tiles(void **state)
{
    (void)state;
    assert_int_equal(counted(1, QUANT_Q4_K, 8).configures, 0);
    assert_int_equal(counted(1, QUANT_Q8_0, 64).configures, 0);
}

int main(void)
{
    struct kern *kern;
    const struct CMUnitTest emulation[] = {
        cmocka_unit_test(test_wrong_configurations_are_refused),
        cmocka_unit_test(test_products_of_tiles_that_do_not_fit_are_refused),
        cmocka_unit_test(test_what_is_not_there_is_refused),
    };
    const struct CMUnitTest backend[] = {
        cmocka_unit_test(test_a_block_takes_as_many_products_as_it_needs),
        cmocka_unit_test(test_few_rows_and_other_types_take_no_tiles),
    };
    const int failed = cmocka_run_group_tests(emulation, NULL, NULL);

    kern = kt_open("cpu", "amx", 1);
    if (!kern || failed) /* no AVX-512 */
        return failed;
    kern_free(kern);
    return cmocka_run_group_tests(backend, NULL, NULL);
}
