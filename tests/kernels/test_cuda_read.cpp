/* test_cuda_read.cpp - a plain read reads all there is, once, and no more. */
#include "kernels/cuda/read.cuh"

#include "tests/emu/emu_test.h"

#include <errno.h>
#include <vector>

static void check_read(size_t n, int n_block, int mode)
{
    std::vector<uint32_t> data(4 * n), sums(size_t(n_block) * READ_THREADS);
    uint32_t want = 0, got = 0;
    uint64_t seed = n;

    for (uint32_t &x : data)
        want ^= x = uint32_t(emu_next(&seed));
    uint32_t *const on_device = emu_device(data.data(), data.size()), *const out = emu_device<uint32_t>(
                                                                          NULL, sums.size());
    emu_use_mode(mode);
    assert_int_equal(kern_cuda_read(reinterpret_cast<const uint4 *>(on_device), n, n_block, out, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    emu_take(sums.data(), out, sums.size());
    for (uint32_t x : sums)
        got ^= x;
    if (got != want)
        fail_msg("%zu values by %d blocks: %08x, expected %08x", n, n_block, got, want);
    cudaFree(on_device);
    cudaFree(out);
}

static void test_everything_is_read_once(void **state)
{
    for (int mode = 0; mode < EMU_N_MODES; mode++) {
        for (size_t n : {size_t(4), size_t(256), size_t(2049), size_t(4 * 2 * 256), size_t(12345)})
            for (int n_block : {1, 2, 3})
                check_read(n, n_block, mode);
    }
    assert_int_equal(kern_cuda_read(NULL, 0, 0, NULL, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_is_read_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
