/* test_tile_words.c - the words of tile.h, through their instructions in the emulation.
 *
 * Built by each compiler at each level: everything is made here, in memory that nothing but the words reads
 * or writes.  That is what gcc 12's own intrinsics fail at. */
#include <string.h>

#include "kernels/cpu/amx.h"
#include "kernels/cpu/tile.h"
#include "kt.h"
#include "tile_trap.h"

enum { SUM, A, B };

/* 2 x 8 signed bytes times 8 x 3 signed or not, on top of what the sum was. */
static int32_t words_want(int32_t before, const uint8_t *a, const uint8_t *b, bool b_signed)
{
    for (int k = 0; k < 8; k++)
        before += (int8_t)a[k] * (b_signed ? (int8_t)b[k / 4 * 16 + k % 4] : b[k / 4 * 16 + k % 4]);
    return before;
}

static void test_words_do_what_they_say(void **state)
{
    const struct tile_config config = {.palette = 1, .row_bytes = {12, 8, 12}, .n_rows = {2, 2, 2}};
    uint8_t a[2 * 80], above[640 + 2 * 16], *b = above + 640;
    int32_t sum[2][16], ss[2][16], su[2][16];

    (void)state;
    assert_true(amx_is_usable());
    for (int i = 0; i < 2 * 80; i++)
        a[i] = (uint8_t)(37 * i + 200);
    for (int i = 0; i < 2 * 16; i++)
        b[i] = (uint8_t)(91 * i + 111);
    for (int i = 0; i < 2 * 16; i++)
        sum[i / 16][i % 16] = 1000 * i;
    tile_configure(&config);
    TILE_LOAD(SUM, sum, 0, 64);
    TILE_LOAD(A, a, 0, 80);
    TILE_LOAD(B, above, 640, 16);
    TILE_DOT_SS(SUM, A, B);
    TILE_STORE(SUM, ss, 0, 64);
    TILE_DOT_SU(SUM, A, B);
    TILE_STORE(SUM, su, 0, 64);
    assert_true(tile_trap_is_configured());
    tile_release();
    assert_false(tile_trap_is_configured());
    for (int m = 0; m < 2; m++)
        for (int n = 0; n < 3; n++) {
            const int32_t want = words_want(sum[m][n], a + 80 * m, b + 4 * n, true);
            assert_int_equal(ss[m][n], want);
            assert_int_equal(su[m][n], words_want(want, a + 80 * m, b + 4 * n, false));
        }
}

/* Eight tiles of n rows of 4 n bytes.  Nothing but the word reads what is made here. */
static __attribute__((noinline)) void words_configure(int n)
{
    struct tile_config config;

    memset(&config, 0, sizeof(config));
    config.palette = 1;
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = (uint16_t)(4 * n);
        config.n_rows[i] = (uint8_t)n;
    }
    tile_configure(&config);
}

/* The tile's rows, in memory that only the words touch after it is filled. */
static __attribute__((noinline)) void words_carry(int n, uint8_t *ret_back)
{
    uint8_t rows[16][64];

    for (int i = 0; i < 16; i++)
        memset(rows[i], n + i, 64);
    TILE_LOAD(7, rows, 0, 64);
    TILE_STORE(7, ret_back, 0, 64);
}

/* Twice, since what is left on the stack of the first time could do for the second. */
static void test_all_of_what_the_words_read_is_there(void **state)
{
    uint8_t back[16][64];

    (void)state;
    assert_true(amx_is_usable());
    for (int n = 16; n >= 15; n--) {
        memset(back, 0, sizeof(back));
        words_configure(n);
        words_carry(n, &back[0][0]);
        tile_release();
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 64; j++)
                assert_int_equal(back[i][j], i < n && j < 4 * n ? n + i : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_do_what_they_say),
        cmocka_unit_test(test_all_of_what_the_words_read_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
