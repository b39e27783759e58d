/* test_host.cpp - streams, events, graphs, memory and launches of the emulation: as late as allowed, never
 * later. */
#include "kernels/cuda/dev.cuh"

#include "emu_test.h"

#include <stdio.h>

enum { N = 64 };

__global__ void add(int *x, int by)
{
    x[threadIdx.x] += by;
}

__global__ void fill_dynamic(int *x, int n)
{
    KERN_CUDA_SMEM_DYNAMIC(int, s);

    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x)
        s[i] = i;
    __syncthreads();
    x[threadIdx.x] = s[n - 1 - (int)threadIdx.x];
}

static cudaStream_t stream_new(void)
{
    cudaStream_t stream;

    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    return stream;
}

static int *numbers_new(void)
{
    int x[N];

    for (int i = 0; i < N; i++)
        x[i] = i;
    return emu_device(x, N);
}

static void launch_add(int *x, int by, cudaStream_t stream)
{
    assert_int_equal(KERN_CUDA_LAUNCH(add, 1, N, 0, stream, false, x, by), cudaSuccess);
}

static void test_a_stream_is_worked_off_in_order_and_only_when_waited_for(void **state)
{
    int *const x = numbers_new(), got[N];
    cudaStream_t stream = stream_new();

    memset(got, 0x5a, sizeof(got));
    launch_add(x, 100, stream);
    assert_int_equal(cudaMemcpyAsync(got, x, sizeof(got), cudaMemcpyDeviceToHost, stream), cudaSuccess);
    launch_add(x, 1000, stream);
    assert_int_equal(got[3], 0x5a5a5a5a); /* who reads too early sees it */
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    for (int i = 0; i < N; i++)
        assert_int_equal(got[i], i + 100);
    emu_take(got, x, N);
    assert_int_equal(got[3], 1103);
    cudaStreamDestroy(stream);
}

static void test_an_event_is_what_orders_two_streams(void **state)
{
    int *const x = numbers_new(), got[N];
    cudaStream_t first = stream_new(), second = stream_new();
    cudaEvent_t event;

    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    launch_add(x, 100, first);
    assert_int_equal(cudaMemcpyAsync(got, x, sizeof(got), cudaMemcpyDeviceToHost, second), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(second), cudaSuccess);
    assert_int_equal(got[5], 5); /* nothing said that first comes first */
    assert_int_equal(cudaEventRecord(event, first), cudaSuccess);
    launch_add(x, 1000, first);
    assert_int_equal(cudaStreamWaitEvent(second, event, 0), cudaSuccess);
    assert_int_equal(cudaMemcpyAsync(got, x, sizeof(got), cudaMemcpyDeviceToHost, second), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(second), cudaSuccess);
    assert_int_equal(got[5], 105); /* up to the event, no further */
    assert_int_equal(cudaEventSynchronize(event), cudaSuccess);
    assert_int_equal(cudaEventQuery(event), cudaSuccess);
    assert_int_equal(cudaEventDestroy(event), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(first), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(second), cudaSuccess);
    cudaFree(x);
}

static void test_a_graph_replays_what_was_captured_with_its_arguments(void **state)
{
    int *const x = numbers_new(), got[N], by = 7;
    cudaStream_t stream = stream_new(), side = stream_new();
    cudaEvent_t fork;
    cudaGraph_t graph;
    cudaGraphExec_t exec;

    assert_int_equal(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    launch_add(x, by, stream);
    by = 1000;
    assert_int_equal(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaEventRecord(fork, stream), cudaSuccess);
    assert_int_equal(cudaStreamWaitEvent(side, fork, 0), cudaSuccess);
    launch_add(x, 20, side);
    assert_int_equal(cudaStreamEndCapture(side, &graph), cudaErrorIllegalState);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiateWithFlags(&exec, graph, 0), cudaSuccess);
    assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cudaGraphLaunch(exec, stream), cudaSuccess);
    assert_int_equal(cudaGraphExecDestroy(exec), cudaSuccess);
    assert_int_equal(cudaMemcpyAsync(got, x, sizeof(got), cudaMemcpyDeviceToHost, stream), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(got[4], 4 + 3 * 27);
    cudaGetLastError();
    cudaEventDestroy(fork);
    cudaStreamDestroy(stream);
    cudaStreamDestroy(side);
    cudaFree(x);
}

static void count(void *n)
{
    ++*static_cast<int *>(n);
}

static void test_the_null_stream_waits_for_all_and_is_done_at_once(void **state)
{
    int *const x = numbers_new(), got[N], n = 0;
    cudaStream_t stream = stream_new();

    launch_add(x, 100, stream);
    assert_int_equal(cudaLaunchHostFunc(stream, count, &n), cudaSuccess);
    assert_int_equal(n, 0);
    assert_int_equal(cudaMemcpy(got, x, sizeof(got), cudaMemcpyDeviceToHost), cudaSuccess);
    assert_int_equal(got[0], 100);
    assert_int_equal(n, 1);
    assert_int_equal(cudaMemsetAsync(x, 0, N * sizeof(int), stream), cudaSuccess);
    cudaStreamDestroy(stream);
    emu_take(got, x, N);
    assert_int_equal(got[9], 0);
}

static void test_memory_is_undefined_bounded_and_counted(void **state)
{
    size_t before, after, total;
    int host[N];
    void *p, *q;

    assert_int_equal(cudaMemGetInfo(&before, &total), cudaSuccess);
    assert_int_equal(cudaMalloc(&p, N * sizeof(int)), cudaSuccess);
    assert_int_equal(cudaMemcpy(host, p, sizeof(host), cudaMemcpyDeviceToHost), cudaSuccess);
    for (int i = 0; i < N; i++)
        assert_true(isnan(half_from_bits(uint32_t(host[i]))));
    assert_int_equal(cudaMemcpy(host, p, sizeof(host) + 4, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpy(host, p, sizeof(host), cudaMemcpyHostToHost), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpy(p, host, sizeof(host), cudaMemcpyDeviceToDevice), cudaErrorInvalidValue);
    assert_int_equal(cudaMalloc(&q, total), cudaErrorMemoryAllocation);
    assert_int_equal(cudaFree(static_cast<int *>(p) + 1), cudaErrorInvalidValue);
    assert_int_equal(cudaFreeHost(p), cudaErrorInvalidValue);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    assert_int_equal(cudaFree(p), cudaSuccess);
    assert_int_equal(cudaFree(NULL), cudaSuccess);
    assert_int_equal(cudaHostAlloc(&p, 64, cudaHostAllocDefault), cudaSuccess);
    memset(p, 1, 64);
    assert_int_equal(cudaFreeHost(p), cudaSuccess);
    assert_int_equal(cudaMemGetInfo(&after, &total), cudaSuccess);
    assert_int_equal(before, after);
}

static void test_a_launch_that_no_device_takes_is_refused(void **state)
{
    int *const x = numbers_new(), got[N];
    struct cudaDeviceProp prop;

    assert_int_equal(cudaGetDeviceProperties(&prop, 0), cudaSuccess);
    assert_int_equal(KERN_CUDA_LAUNCH(add, 1, 1025, 0, NULL, false, x, 1), cudaErrorInvalidConfiguration);
    assert_int_equal(KERN_CUDA_LAUNCH(add, 0, 32, 0, NULL, false, x, 1), cudaErrorInvalidConfiguration);
    assert_int_equal(KERN_CUDA_LAUNCH(add, dim3(1, 65536), 32, 0, NULL, false, x, 1),
                     cudaErrorInvalidConfiguration);
    assert_int_equal(KERN_CUDA_LAUNCH(add, 1, dim3(1, 1, 65), 0, NULL, false, x, 1),
                     cudaErrorInvalidConfiguration);
    const int n = int(prop.sharedMemPerBlockOptin / sizeof(int));
    const size_t bytes = prop.sharedMemPerBlockOptin;
    assert_int_equal(KERN_CUDA_LAUNCH(fill_dynamic, 1, N, bytes, NULL, false, x, n),
                     cudaErrorInvalidConfiguration);
    assert_int_equal(
        cudaFuncSetAttribute(fill_dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes) + 1),
        cudaErrorInvalidValue);
    assert_int_equal(
        cudaFuncSetAttribute(fill_dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)),
        cudaSuccess);
    assert_int_equal(KERN_CUDA_LAUNCH(fill_dynamic, 1, N, bytes, NULL, false, x, n), cudaSuccess);
    emu_take(got, x, N);
    assert_int_equal(got[10], n - 11);
    assert_int_equal(kc_result(cudaGetLastError()), -EINVAL);
    assert_int_equal(cudaSetDevice(1), cudaErrorInvalidDevice);
    assert_string_equal(cudaGetErrorString(cudaGetLastError()), "invalid device ordinal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_is_worked_off_in_order_and_only_when_waited_for),
        cmocka_unit_test(test_an_event_is_what_orders_two_streams),
        cmocka_unit_test(test_a_graph_replays_what_was_captured_with_its_arguments),
        cmocka_unit_test(test_the_null_stream_waits_for_all_and_is_done_at_once),
        cmocka_unit_test(test_memory_is_undefined_bounded_and_counted),
        cmocka_unit_test(test_a_launch_that_no_device_takes_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
