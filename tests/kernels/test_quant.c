/* test_quant.c - block formats against the golden blocks, bit for bit, and the table of types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/blocks.h"
#include "kernels/half.h"
#include "kernels/quant.h"

static const char *golden; /* tests/golden */

static const enum quant_type loadable[] = {QUANT_F16,  QUANT_BF16,   QUANT_Q4_0,   QUANT_Q4_1,
                                           QUANT_Q5_0, QUANT_Q5_1,   QUANT_Q8_0,   QUANT_Q4_K,
                                           QUANT_Q5_K, QUANT_IQ4_NL, QUANT_IQ4_XS, QUANT_Q6_K};

enum { N_VALUES = 2048 }; /* of each golden file */

static size_t read_golden(const char *name, const char *suffix, void *dst, size_t size)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/blocks/%s.%s", golden, name, suffix);
    f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s", path);
    const size_t n = fread(dst, 1, size, f);
    fclose(f);
    return n;
}

static void test_dequantise_equals_golden_bits(void **state)
{
    static uint8_t raw[N_VALUES * 4];
    static float want[N_VALUES], got[N_VALUES];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(loadable); i++) {
        const struct quant_info *info = quant_find(loadable[i]);
        assert_int_equal(read_golden(info->name, "bin", raw, sizeof(raw)), quant_row_bytes(info, N_VALUES));
        assert_int_equal(read_golden(info->name, "f32", want, sizeof(want)), sizeof(want));
        quant_dequantise(loadable[i], raw, got, N_VALUES);
        for (int j = 0; j < N_VALUES; j++)
            if (memcmp(&got[j], &want[j], sizeof(float)) != 0)
                fail_msg("%s value %d: %a, should be %a", info->name, j, (double)got[j], (double)want[j]);
    }
}

static void test_block_write_inverts_read(void **state)
{
    static uint8_t raw[N_VALUES * 4];
    uint8_t back[BLOCK_MAX];
    struct block b;

    (void)state;
    for (size_t i = 2; i < ARRAY_SIZE(loadable); i++) {
        const struct quant_info *info = quant_find(loadable[i]);
        const size_t n = read_golden(info->name, "bin", raw, sizeof(raw));
        for (size_t at = 0; at < n; at += (size_t)info->n_bytes) {
            block_read(loadable[i], raw + at, &b);
            block_write(loadable[i], &b, back);
            assert_memory_equal(back, raw + at, info->n_bytes);
        }
    }
}

static void test_dequantise_f32_copies_unaligned_rows(void **state)
{
    const float want[3] = {1.5f, -0.0f, 3e38f};
    uint8_t raw[1 + sizeof(want)];
    float got[3];

    (void)state;
    memcpy(raw + 1, want, sizeof(want));
    quant_dequantise(QUANT_F32, raw + 1, got, 3);
    assert_memory_equal(got, want, sizeof(want));
}

static void test_find_names_types_that_are_not_loaded(void **state)
{
    enum quant_type type;

    (void)state;
    assert_string_equal(quant_find(10)->name, "Q2_K");
    assert_false(quant_find(10)->loadable);
    assert_null(quant_find(4));
    assert_null(quant_find(100000));
    assert_int_equal(quant_find_by_name("Q2_K", &type), -ENOENT);
    assert_int_equal(quant_find_by_name("IQ4_XS", &type), 0);
    assert_int_equal(type, QUANT_IQ4_XS);
}

static void test_row_bytes_match_block_sizes(void **state)
{
    (void)state;
    assert_int_equal(quant_row_bytes(quant_find(QUANT_Q4_K), 4096), 2304);
    assert_int_equal(quant_row_bytes(quant_find(QUANT_Q6_K), 512), 420);
    assert_int_equal(quant_row_bytes(quant_find(QUANT_BF16), 7), 14);
}

/* Every half converts to float and back to itself; halfway cases go to the even neighbour. */
static void test_half_round_trips_and_rounds_to_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const bool is_nan = (h & 0x7c00) == 0x7c00 && (h & 0x3ff);
        if (!is_nan)
            assert_int_equal(half_from_float(half_to_float((uint16_t)h)), h);
    }
    assert_int_equal(half_from_float(1.0f + 0x1p-11f), 0x3c00);
    assert_int_equal(half_from_float(1.0f + 0x3p-11f), 0x3c02);
    assert_int_equal(half_from_float(65519.0f), 0x7bff);
    assert_int_equal(half_from_float(65520.0f), 0x7c00);
    assert_int_equal(half_from_float(0x1p-25f), 0);
    assert_int_equal(half_from_float(0x1.8p-25f), 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dequantise_equals_golden_bits),
        cmocka_unit_test(test_block_write_inverts_read),
        cmocka_unit_test(test_dequantise_f32_copies_unaligned_rows),
        cmocka_unit_test(test_find_names_types_that_are_not_loaded),
        cmocka_unit_test(test_row_bytes_match_block_sizes),
        cmocka_unit_test(test_half_round_trips_and_rounds_to_even),
    };

    if (argc != 2) {
        fprintf(stderr, "usage: test_quant GOLDEN_DIR\n");
        return 2;
    }
    golden = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
