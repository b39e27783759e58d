/* test_cuda_embed.cpp - rows of embeddings against quant.h, bit for bit. */
#include "kernels/cuda/matmul.cuh"

#include "tests/kernels/kt_cuda.h"

#include <math.h>
#include <stdio.h>

static void check_embed(enum quant_type type, int mode)
{
    enum { VOCAB = 9, ROWS = 5 };
    const int n_in = quant_find(type)->n_block == 256 ? 512 : 480; /* whole blocks of threads, or not */
    static const int32_t ids[ROWS] = {8, 0, -1, 3, VOCAB};
    const std::vector<uint8_t> rows = kt_file_rows(type, VOCAB, n_in, 1);
    struct kern_cuda_embed op = {type,
                                 VOCAB,
                                 n_in,
                                 ROWS,
                                 emu_device(rows.data(), rows.size()),
                                 emu_device(ids, ROWS),
                                 emu_device<float>(NULL, ROWS * n_in)};
    std::vector<float> got(ROWS * n_in), want(n_in);

    emu_use_mode(mode);
    assert_int_equal(kern_cuda_embed_rows(&op, true, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    emu_take(got.data(), op.x, got.size());
    for (int row = 0; row < ROWS; row++) {
        const bool known = ids[row] >= 0 && ids[row] < VOCAB;
        if (known)
            quant_dequantise(type, &rows[size_t(ids[row]) * quant_row_bytes(quant_find(type), n_in)],
                             want.data(), n_in);
        for (int i = 0; i < n_in; i++)
            if (known ? got[size_t(row * n_in + i)] != want[size_t(i)] : !isnan(got[size_t(row * n_in + i)]))
                fail_msg("%s row of id %d [%d]: %a, expected %a", quant_find(type)->name, ids[row], i,
                         double(got[size_t(row * n_in + i)]), known ? double(want[size_t(i)]) : double(NAN));
    }
    cudaFree(const_cast<uint8_t *>(op.rows));
    cudaFree(const_cast<int32_t *>(op.ids));
}

static void test_embeddings_are_the_rows_of_the_file(void **state)
{
    struct kern_cuda_embed op = {QUANT_Q4_K, 1, 320, 1, NULL, NULL, NULL};

    for (int mode = 0; mode < EMU_N_MODES; mode++) {
        for (enum quant_type type : kt_tiled)
            check_embed(type, mode);
        for (enum quant_type type : kt_floats)
            check_embed(type, mode);
    }
    assert_int_equal(kern_cuda_embed_rows(&op, false, NULL), -EINVAL); /* no whole blocks */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embeddings_are_the_rows_of_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
