/* test_cuda_pack.cpp - what a lane reads from T16 is what quant.h says of the file's blocks, bit for bit. */
#include "kernels/cuda/matmul_pack.cuh"
#include "kernels/cuda/tile.cuh"

#include "tests/emu/emu_test.h"

#include <math.h>
#include <stdio.h>

#include <algorithm>
#include <vector>

/* A warp a step, through the fragments that a product would multiply with.  out [rows][n_in up to 256], rows
 * a multiple of 16 */
template <enum quant_type T>
__global__ void unpack(struct kern_cuda_tiles t, float *out)
{
    const int lane = (int)threadIdx.x, g = lane / 4, q = lane % 4, n_block = CEIL_DIV(t.n_in, 256);
    const size_t at = (size_t)blockIdx.y * (size_t)n_block + blockIdx.x / tile_kind<T>::n_step;
    const int step = (int)blockIdx.x % tile_kind<T>::n_step, n_group = 2 * tile_kind<T>::n_tile;
    struct tile_step<T> w;

    tile_load<T>(w, t, at, step, lane);
    for (int group = 0; group < n_group; group++) {
        uint32_t a[4];
        tile_codes<T>(a, w, group / 2, group % 2);
        for (int j = 0; j < 4; j++) {
            const int r = j % 2, row = g + 8 * r;
            float scale = tile_scale<T>(w, r, group);
            if constexpr (T == QUANT_Q6_K)
                scale *= tile_scale_16(w, r, group, j / 2);
            float *const to = out + ((size_t)blockIdx.y * 16 + (size_t)row) * (size_t)n_block * 256 +
                              (size_t)blockIdx.x * 32 * (size_t)n_group + 32 * group + 4 * q + 16 * (j / 2);
            for (int e = 0; e < 4; e++) {
                to[e] = scale * (float)(int8_t)(a[j] >> 8 * e);
                if constexpr (tile_kind<T>::with_min)
                    to[e] += tile_min<T>(w, r, group);
            }
        }
    }
}

/* Random bits but for the f16 scales, which are small numbers. */
static std::vector<uint8_t> file_rows(enum quant_type type, int n_out, int n_in, uint64_t seed)
{
    const struct quant_info *info = quant_find(type);
    const bool k = type == QUANT_Q4_K || type == QUANT_Q5_K || type == QUANT_Q4_1 || type == QUANT_Q5_1;
    std::vector<uint8_t> rows;

    for (int i = 0; i < n_out * n_in / info->n_block; i++) {
        const size_t at = rows.size(), d = at + (type == QUANT_Q6_K ? 208 : 0);
        for (int b = 0; b < info->n_bytes; b++)
            rows.push_back(uint8_t(emu_next(&seed)));
        const uint16_t h = half_from_float(float(emu_next(&seed) % 1000 + 1) * 1e-5f);
        memcpy(&rows[d], &h, 2);
        if (k)
            memcpy(&rows[d + 2], &h, 2);
    }
    return rows;
}

static cudaError_t launch_unpack(const struct kern_cuda_tiles *t, float *out, cudaStream_t stream)
{
    const dim3 grid(unsigned(CEIL_DIV(t->n_in, 256)), unsigned(CEIL_DIV(t->n_out, 16)));

#define UNPACK(T)                                                                                            \
    case T:                                                                                                  \
        return KERN_CUDA_LAUNCH(unpack<T>, dim3(grid.x * tile_kind<T>::n_step, grid.y), 32, 0, stream,       \
                                false, *t, out);
    switch (t->type) {
        TILE_TYPES(UNPACK)
    default:
        fail();
        return cudaSuccess;
    }
#undef UNPACK
}

/* The packed bytes, and what they stand for row by row, up to whole tiles. */
static void pack(struct kern_cuda_tiles *tiles, const std::vector<uint8_t> &rows,
                 std::vector<uint8_t> *ret_bytes, std::vector<float> *ret_values)
{
    const size_t n_value = size_t(ROUND_UP(tiles->n_out, 16)) * size_t(ROUND_UP(tiles->n_in, 256));
    uint8_t *const src = emu_device(rows.data(), rows.size());
    float *const values = emu_device<float>(NULL, n_value);
    cudaStream_t stream;

    ret_bytes->resize(tiles->bytes);
    ret_values->resize(n_value);
    tiles->data = emu_device<uint8_t>(NULL, tiles->bytes);
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(kern_cuda_pack(tiles, src, stream), 0);
    assert_int_equal(launch_unpack(tiles, values, stream), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    emu_take(ret_bytes->data(), tiles->data, ret_bytes->size());
    emu_take(ret_values->data(), values, ret_values->size());
    cudaFree(src);
}

static void check_values(const struct kern_cuda_tiles *t, const std::vector<uint8_t> &rows,
                         const std::vector<float> &got)
{
    const size_t row_bytes = quant_row_bytes(quant_find(t->type), t->n_in);
    const size_t n_in = size_t(t->n_in), stride = ROUND_UP(n_in, size_t(256));
    std::vector<float> want(stride);

    for (size_t row = 0; row < got.size() / stride; row++) {
        std::fill(want.begin(), want.end(), 0.0f);
        if (row < size_t(t->n_out))
            quant_dequantise(t->type, &rows[row * row_bytes], want.data(), t->n_in);
        for (size_t i = 0; i < stride; i++) {
            const float v = got[row * stride + i];
            if (v != want[i])
                fail_msg("%s [%zu][%zu] of %d x %d: %a, expected %a", quant_find(t->type)->name, row, i,
                         t->n_out, t->n_in, double(v), double(want[i]));
        }
    }
}

static const enum quant_type types[] = {QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0, QUANT_Q5_1,   QUANT_Q8_0,
                                        QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K, QUANT_IQ4_NL, QUANT_IQ4_XS};

static void check_type(enum quant_type type, int n_out, int n_in)
{
    const std::vector<uint8_t> rows = file_rows(type, n_out, n_in, uint64_t(n_out));
    std::vector<uint8_t> bytes, again;
    std::vector<float> values;
    struct kern_cuda_tiles t;

    assert_int_equal(kern_cuda_tiles_shape(type, n_out, n_in, &t), 0);
    emu_use_mode(0);
    pack(&t, rows, &bytes, &values);
    check_values(&t, rows, values);
    for (int mode = 1; mode < EMU_N_MODES; mode++) {
        emu_use_mode(mode);
        pack(&t, rows, &again, &values);
        assert_memory_equal(again.data(), bytes.data(), bytes.size());
    }
}

static void test_tiles_stand_for_the_values_of_the_file(void **state)
{
    static const int shapes[][2] = {{1, 256}, {16, 512}, {17, 256}, {53, 768}};

    for (enum quant_type type : types) {
        for (const auto &shape : shapes)
            check_type(type, shape[0], shape[1]);
        if (quant_find(type)->n_block == 32) {
            check_type(type, 5, 32);
            check_type(type, 33, 416);
        }
    }
}

static void test_tiles_take_the_bytes_of_the_file(void **state)
{
    for (enum quant_type type : types) {
        struct kern_cuda_tiles t;
        assert_int_equal(kern_cuda_tiles_shape(type, 12352, 4096, &t), 0);
        assert_int_equal(t.bytes, type == QUANT_IQ4_XS ? 12352 * 16 * 144
                                                       : 12352 * quant_row_bytes(quant_find(type), 4096));
        assert_int_equal(t.scale % 256 | t.high % 256 | t.d % 256, 0);
    }
}

/* F32, F16 and BF16 stay as they are. */
static void test_rows_are_copied(void **state)
{
    const std::vector<uint8_t> rows = file_rows(QUANT_BF16, 3, 64, 7);
    uint8_t *const src = emu_device(rows.data(), rows.size());
    std::vector<uint8_t> got(rows.size());
    struct kern_cuda_tiles t;

    assert_int_equal(kern_cuda_tiles_shape(QUANT_BF16, 3, 64, &t), 0);
    assert_int_equal(t.bytes, rows.size());
    t.data = emu_device<uint8_t>(NULL, t.bytes);
    assert_int_equal(kern_cuda_pack(&t, src, NULL), 0);
    emu_take(got.data(), t.data, got.size());
    assert_memory_equal(got.data(), rows.data(), got.size());
    cudaFree(src);
}

static void test_what_has_no_tiles_is_refused(void **state)
{
    struct kern_cuda_tiles t;

    assert_int_equal(kern_cuda_tiles_shape(QUANT_Q4_K, 16, 128, &t), -EINVAL);
    assert_int_equal(kern_cuda_tiles_shape(QUANT_Q4_K, 16, 320, &t), -EINVAL);
    assert_int_equal(kern_cuda_tiles_shape(QUANT_Q6_K, 0, 256, &t), -EINVAL);
    assert_int_equal(kern_cuda_tiles_shape(QUANT_Q8_0, 16, 0, &t), -EINVAL);
    assert_int_equal(kern_cuda_tiles_shape(QUANT_F32, 16, 48, &t), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiles_stand_for_the_values_of_the_file),
        cmocka_unit_test(test_tiles_take_the_bytes_of_the_file),
        cmocka_unit_test(test_rows_are_copied),
        cmocka_unit_test(test_what_has_no_tiles_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
