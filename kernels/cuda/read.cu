/* read.cu - see read.cuh. */
#include "read.cuh"

enum { READ_AHEAD = 4 }; /* loads of a thread: 128 KiB an SM with eight blocks; an H200 needs 25 */

/* Nobody knows here whether the sum is wanted, so it must be made: else the loads would be left out. */
__global__ static void __launch_bounds__(READ_THREADS)
    read_all(const uint4 *__restrict__ data, size_t n, uint32_t *sums)
{
    const size_t stride = (size_t)gridDim.x * READ_THREADS;
    const size_t thread = (size_t)blockIdx.x * READ_THREADS + threadIdx.x;
    uint4 v[READ_AHEAD];
    uint32_t sum = 0;
    size_t i = thread;

    for (; i + (READ_AHEAD - 1) * stride < n; i += READ_AHEAD * stride) {
#pragma unroll
        for (int k = 0; k < READ_AHEAD; k++)
            v[k] = kc_ld_stream(data + i + (size_t)k * stride);
#pragma unroll
        for (int k = 0; k < READ_AHEAD; k++)
            sum ^= v[k].x ^ v[k].y ^ v[k].z ^ v[k].w;
    }
    for (; i < n; i += stride) {
        const uint4 one = kc_ld_stream(data + i);
        sum ^= one.x ^ one.y ^ one.z ^ one.w;
    }
    if (sums)
        sums[thread] = sum;
}

extern "C" int kern_cuda_read(const uint4 *data, size_t n, int n_block, uint32_t *sums, cudaStream_t stream)
{
    if (n_block < 1)
        return -EINVAL;
    return kc_result(KERN_CUDA_LAUNCH(read_all, dim3((unsigned)n_block), dim3(READ_THREADS), 0, stream, false,
                                      data, n, sums));
}
