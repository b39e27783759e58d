/* test_cuda_pack.cpp - what a lane reads from T16 is what quant.h says of the file's blocks, bit for bit. */
#include "kernels/cuda/matmul_pack.cuh"
#include "kernels/cuda/tile.cuh"

#include "tests/kernels/kt_cuda.h"

#include <math.h>
#include <stdio.h>

#include <algorithm>
#include <vector>

/* A warp a tile, through the fragments that a product would multiply with.  out [rows][n_in up to 256], rows
 * a multiple of 16 */
template <enum quant_type T>
__global__ void unpack(struct kern_cuda_tiles t, float *out)
{
    const int lane = (int)threadIdx.x, g = lane / 4, q = lane % 4, n_tile = CEIL_DIV(t.n_in, 256) * 4;
    const size_t tile = (size_t)blockIdx.y * (size_t)n_tile + blockIdx.x;
    KERN_CUDA_SMEM(uint8_t, shared, TILE_BYTES_MAX);
    KERN_CUDA_SMEM(uint8_t, scales, TILE_SCALE_BYTES_MAX);
    KERN_CUDA_SMEM(float, expanded, 16 * 8 * 2);
    struct tile_source from;
    struct tile_words<T> w;

    tile_source_open<T>(from, t, 0, lane);
    tile_source_skip<T>(from, int(tile / 4));
    tile_fetch<T>(shared, from, int(tile % 4), lane);
    tile_fetch_scales<T>(scales, from, lane);
    kc_cp_async_commit();
    kc_cp_async_wait<0>();
    __syncwarp();
    tile_read<T>(w, shared, lane);
    if constexpr (tile_kind<T>::pairs)
        tile_expand<T>(expanded, scales, lane);
    __syncwarp();
    for (int i = 0; i < 8; i++) {
        const int s = i / 4, j = i % 4, row = g + 8 * (j % 2);
        struct tile_scales<T> scale;
        uint32_t a[4];
        tile_codes<T>(a, w, s);
        tile_scales_of<T>(scale, tile_kind<T>::pairs ? reinterpret_cast<const uint8_t *>(expanded) : scales,
                          row, (int)blockIdx.x % 4);
        float *const to = out + ((size_t)blockIdx.y * 16 + (size_t)row) * (size_t)n_tile * 64 +
                          blockIdx.x * 64 + 32 * s + 4 * q + 16 * (j / 2);
        for (int e = 0; e < 4; e++) {
            const float v = (float)(int8_t)(a[j] >> 8 * e);
            to[e] = scale.w[s] * (tile_kind<T>::six ? scale.half[s][j / 2] : 1.0f) * v;
            if constexpr (tile_kind<T>::with_min)
                to[e] += scale.m[s];
        }
    }
}

static cudaError_t launch_unpack(const struct kern_cuda_tiles *t, float *out, cudaStream_t stream)
{
    const dim3 grid(unsigned(CEIL_DIV(t->n_in, 256)) * 4, unsigned(CEIL_DIV(t->n_out, 16)));

#define UNPACK(T)                                                                                            \
    case T:                                                                                                  \
        return KERN_CUDA_LAUNCH(unpack<T>, grid, 32, 0, stream, false, *t, out);
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

static void check_type(enum quant_type type, int n_out, int n_in)
{
    const std::vector<uint8_t> rows = kt_file_rows(type, n_out, n_in, uint64_t(n_out));
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

    for (enum quant_type type : kt_tiled) {
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
    for (enum quant_type type : kt_tiled) {
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
    const std::vector<uint8_t> rows = kt_file_rows(QUANT_BF16, 3, 64, 7);
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
