/* test_cuda_pack.cpp - what a lane reads from T16 is what quant.h says of the file's blocks, bit for bit. */
#include "kernels/cuda/matmul_pack.cuh"
#include "kernels/cuda/tile.cuh"

#include "tests/emu/emu_test.h"

#include <math.h>
#include <stdio.h>

#include <algorithm>
#include <vector>

/* A warp a tile, through the fragments that a product would multiply with.  out [rows][n_in], rows a multiple
 * of 16 */
__global__ void unpack(struct kern_cuda_tiles t, float *out)
{
    const int lane = (int)threadIdx.x, g = lane / 4, q = lane % 4, n_k = t.n_in / KERN_CUDA_TILE_K;
    const size_t at = ((size_t)blockIdx.y * (size_t)n_k + blockIdx.x) * KC_WARP + (size_t)lane;
    const size_t scales0 =
        ((size_t)blockIdx.y * (size_t)(n_k / 4) + blockIdx.x / 4) * KERN_CUDA_TILE_ROWS; /* of 16 rows */
    const uint4 code = kc_ld_stream(reinterpret_cast<const uint4 *>(t.data) + at);

    for (int s = 0; s < 2; s++) {
        uint32_t a[4];
        if (t.type == QUANT_Q4_K)
            tile_codes(a, code, s);
        else if (t.type == QUANT_Q5_K)
            tile_codes_5(a, code, reinterpret_cast<const uint32_t *>(t.data + t.high)[at], s);
        else
            tile_codes_6(a, code, reinterpret_cast<const uint2 *>(t.data + t.high)[at], s);
        for (int j = 0; j < 4; j++) {
            const int row = g + 8 * (j % 2), group = (int)blockIdx.x % 4 * 2 + s;
            const uint4 scales = reinterpret_cast<const uint4 *>(t.data + t.scale)[scales0 + (size_t)row];
            float *const to = out + ((size_t)blockIdx.y * 16 + (size_t)row) * (size_t)t.n_in +
                              blockIdx.x * KERN_CUDA_TILE_K + 32 * s + 4 * q + 16 * (j / 2);
            for (int e = 0; e < 4; e++) {
                const float v = (float)(int8_t)(a[j] >> 8 * e);
                if (t.type == QUANT_Q6_K) {
                    const int8_t *const bytes =
                        reinterpret_cast<const int8_t *>(t.data + t.scale + (scales0 + (size_t)row) * 16);
                    const uint16_t d =
                        reinterpret_cast<const uint16_t *>(t.data + t.d)[scales0 + (size_t)row];
                    to[e] = __half2float(__ushort_as_half(d)) * (float)bytes[group * 2 + j / 2] * v;
                } else {
                    const uint32_t pair = tile_scale_pair(scales, group);
                    to[e] = __half2float(__ushort_as_half((uint16_t)scales.x)) * (float)(pair & 63) * v -
                            __half2float(__ushort_as_half((uint16_t)(scales.x >> 16))) * (float)(pair >> 6);
                }
            }
        }
    }
}

/* Random bits but for the f16 scales, which are small numbers. */
static std::vector<uint8_t> file_rows(enum quant_type type, int n_out, int n_in, uint64_t seed)
{
    const struct quant_info *info = quant_find(type);
    std::vector<uint8_t> rows;

    for (int i = 0; i < n_out * n_in / info->n_block; i++) {
        const size_t at = rows.size(), d = at + (type == QUANT_Q6_K ? 208 : 0);
        for (int b = 0; b < info->n_bytes; b++)
            rows.push_back(uint8_t(emu_next(&seed)));
        const uint16_t h = half_from_float(float(emu_next(&seed) % 1000 + 1) * 1e-5f);
        memcpy(&rows[d], &h, 2);
        if (type != QUANT_Q6_K)
            memcpy(&rows[d + 2], &h, 2);
    }
    return rows;
}

/* The packed bytes, and what they stand for row by row. */
static void pack(struct kern_cuda_tiles *tiles, const std::vector<uint8_t> &rows,
                 std::vector<uint8_t> *ret_bytes, std::vector<float> *ret_values)
{
    const int n_row_tiles = (tiles->n_out + 15) / 16;
    uint8_t *const src = emu_device(rows.data(), rows.size());
    float *const values = emu_device<float>(NULL, size_t(n_row_tiles) * 16 * size_t(tiles->n_in));
    cudaStream_t stream;

    ret_bytes->resize(tiles->bytes);
    ret_values->resize(size_t(n_row_tiles) * 16 * size_t(tiles->n_in));
    tiles->data = emu_device<uint8_t>(NULL, tiles->bytes);
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(kern_cuda_pack(tiles, src, stream), 0);
    assert_int_equal(KERN_CUDA_LAUNCH(unpack, dim3(unsigned(tiles->n_in / 64), unsigned(n_row_tiles)), 32, 0,
                                      stream, false, *tiles, values),
                     cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    emu_take(ret_bytes->data(), tiles->data, ret_bytes->size());
    emu_take(ret_values->data(), values, ret_values->size());
    cudaFree(src);
}

static void check_values(const struct kern_cuda_tiles *t, const std::vector<uint8_t> &rows,
                         const std::vector<float> &got)
{
    const size_t row_bytes = quant_row_bytes(quant_find(t->type), t->n_in), n_in = size_t(t->n_in);
    std::vector<float> want(n_in);

    for (size_t row = 0; row < got.size() / n_in; row++) {
        if (row < size_t(t->n_out))
            quant_dequantise(t->type, &rows[row * row_bytes], want.data(), t->n_in);
        else
            std::fill(want.begin(), want.end(), 0.0f);
        for (size_t i = 0; i < n_in; i++)
            if (row < size_t(t->n_out) ? half_bits(got[row * n_in + i]) != half_bits(want[i])
                                       : got[row * n_in + i] != 0)
                fail_msg("%s [%zu][%zu] of %d x %d: %a, expected %a", quant_find(t->type)->name, row, i,
                         t->n_out, t->n_in, double(got[row * n_in + i]), double(want[i]));
    }
}

static const enum quant_type types[] = {QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K};

static void test_tiles_stand_for_the_values_of_the_file(void **state)
{
    static const int shapes[][2] = {{1, 256}, {16, 512}, {17, 256}, {53, 768}, {64, 1024}};

    for (enum quant_type type : types)
        for (const auto &shape : shapes) {
            const std::vector<uint8_t> rows = file_rows(type, shape[0], shape[1], uint64_t(shape[0]));
            std::vector<uint8_t> bytes, again;
            std::vector<float> values;
            struct kern_cuda_tiles t;
            assert_int_equal(kern_cuda_tiles_shape(type, shape[0], shape[1], &t), 0);
            emu_use_mode(0);
            pack(&t, rows, &bytes, &values);
            check_values(&t, rows, values);
            for (int mode = 1; mode < EMU_N_MODES; mode++) {
                emu_use_mode(mode);
                pack(&t, rows, &again, &values);
                assert_memory_equal(again.data(), bytes.data(), bytes.size());
            }
        }
}

static void test_tiles_take_the_bytes_of_the_file(void **state)
{
    for (enum quant_type type : types) {
        struct kern_cuda_tiles t;
        assert_int_equal(kern_cuda_tiles_shape(type, 12352, 4096, &t), 0);
        assert_int_equal(t.bytes, 12352 * quant_row_bytes(quant_find(type), 4096));
        assert_int_equal(t.scale % 256 | t.high % 256 | t.d % 256, 0);
    }
}

static void test_what_has_no_tiles_is_refused(void **state)
{
    struct kern_cuda_tiles t;

    assert_int_equal(kern_cuda_tiles_shape(QUANT_Q8_0, 16, 256, &t), -EINVAL);
    assert_int_equal(kern_cuda_tiles_shape(QUANT_Q4_K, 16, 128, &t), -EINVAL);
    assert_int_equal(kern_cuda_tiles_shape(QUANT_Q4_K, 16, 320, &t), -EINVAL);
    assert_int_equal(kern_cuda_tiles_shape(QUANT_Q6_K, 0, 256, &t), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiles_stand_for_the_values_of_the_file),
        cmocka_unit_test(test_tiles_take_the_bytes_of_the_file),
        cmocka_unit_test(test_what_has_no_tiles_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
