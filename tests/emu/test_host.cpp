/* test_host.cpp - streams, events, graphs, memory and launches of the emulation: as late as allowed, never
 * later. */
#include "kernels/cuda/dev.cuh"

#include "emu_test.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 64, PAGE = 4096 };

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

/* main memory that kernels read */

static int *page_new(int prot)
{
    void *const p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(p != MAP_FAILED);
    for (int i = 0; i < N; i++)
        static_cast<int *>(p)[i] = 3 * i;
    assert_int_equal(mprotect(p, PAGE, prot), 0);
    return static_cast<int *>(p);
}

__global__ void take(int *x, const int *from)
{
    x[threadIdx.x] = from[threadIdx.x];
}

__global__ void give(int *to, const int *x)
{
    to[threadIdx.x] = x[threadIdx.x];
}

static void test_registered_memory_has_an_address_of_the_devices(void **state)
{
    int *const page = page_new(PROT_READ | PROT_WRITE), *const x = emu_device<int>(NULL, N), got[N];
    void *device;

    assert_int_equal(cudaHostRegister(page, N * sizeof(int), cudaHostRegisterMapped), cudaSuccess);
    assert_int_equal(cudaHostGetDevicePointer(&device, page, 0), cudaSuccess);
    assert_ptr_not_equal(device, page);
    page[3] = -1; /* what the device was given is not changed any more */
    assert_int_equal(KERN_CUDA_LAUNCH(take, 1, N, 0, NULL, false, x, static_cast<int *>(device)),
                     cudaSuccess);
    emu_take(got, x, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(got[i], 3 * i);
    assert_int_equal(page[3], -1);
    assert_int_equal(cudaHostUnregister(page), cudaSuccess);
    assert_int_equal(cudaHostGetDevicePointer(&device, page, 0), cudaErrorInvalidValue);
    assert_int_equal(cudaHostUnregister(page), cudaErrorHostMemoryNotRegistered);
    munmap(page, PAGE);
}

static void test_only_what_a_driver_would_pin_is_registered(void **state)
{
    const unsigned mapped = cudaHostRegisterMapped, read_only = mapped | cudaHostRegisterReadOnly;
    int *const written = page_new(PROT_READ | PROT_WRITE), *const page = page_new(PROT_READ);
    struct emu_machine machine = EMU_MACHINE;
    void *device;
    int can = 1;

    assert_int_equal(cudaDeviceGetAttribute(&can, cudaDevAttrHostRegisterReadOnlySupported, 0), cudaSuccess);
    assert_false(can);
    assert_int_equal(cudaHostRegister(page, PAGE, mapped), cudaErrorInvalidValue);
    assert_int_equal(cudaHostRegister(page, PAGE, read_only), cudaErrorNotSupported);
    machine.pins_read_only = true;
    machine.pin_bytes = PAGE - 1;
    emu_set_machine(&machine);
    assert_int_equal(cudaHostRegister(page, PAGE, read_only), cudaErrorMemoryAllocation);
    machine.pin_bytes = PAGE;
    emu_set_machine(&machine);
    assert_int_equal(cudaHostRegister(page + 1, N, read_only), cudaErrorInvalidValue);
    assert_int_equal(cudaHostRegister(page, PAGE, read_only), cudaSuccess);
    assert_int_equal(cudaHostRegister(page, PAGE, read_only), cudaErrorHostMemoryAlreadyRegistered);
    assert_int_equal(cudaHostRegister(written, PAGE, 0), cudaSuccess);
    assert_int_equal(cudaHostGetDevicePointer(&device, written, 0), cudaErrorInvalidValue); /* not mapped */
    assert_int_equal(cudaHostUnregister(written), cudaSuccess);
    assert_int_equal(cudaHostUnregister(page), cudaSuccess);
    machine = EMU_MACHINE;
    emu_set_machine(&machine);
    cudaGetLastError();
    munmap(written, PAGE);
    munmap(page, PAGE);
}

/* A child passes a kernel the page's address, the host's or the device's, moved by so many ints, to read at
 * or to write to, and ends of it. */
static void check_told(bool host, long by, bool writes, const char *text)
{
    int *const page = page_new(PROT_READ | PROT_WRITE), *const x = emu_device<int>(NULL, N), pipes[2];
    char said[4096] = "";
    void *device;
    size_t n = 0;
    ssize_t more;

    assert_int_equal(pipe(pipes), 0);
    const pid_t pid = fork();
    if (!pid) {
        const struct rlimit none = {};
        setrlimit(RLIMIT_CORE, &none);
        dup2(pipes[1], 2);
        cudaHostRegister(page, PAGE, cudaHostRegisterMapped);
        cudaHostGetDevicePointer(&device, page, 0);
        int *const p = (host ? page : static_cast<int *>(device)) + by;
        if (writes)
            KERN_CUDA_LAUNCH(give, 1, N, 0, NULL, false, p, static_cast<const int *>(x));
        else
            KERN_CUDA_LAUNCH(take, 1, N, 0, NULL, false, x, static_cast<const int *>(p));
        _exit(0);
    }
    close(pipes[1]);
    while (n < sizeof(said) - 1 && (more = read(pipes[0], said + n, sizeof(said) - 1 - n)) > 0)
        n += size_t(more);
    close(pipes[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    if (!strstr(said, text))
        fail_msg("expected '%s', got '%s'", text, said);
    cudaFree(x);
    munmap(page, PAGE);
}

static void test_a_kernel_that_takes_the_wrong_address_is_told(void **state)
{
    const long n = PAGE / long(sizeof(int));

    check_told(true, 0, false, "the host's address of registered memory");
    check_told(false, -1, false, "outside of registered memory of 4096 bytes");
    check_told(false, n - N + 1, false, "outside of registered memory of 4096 bytes");
    check_told(false, 0, true, "a write to registered memory");
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
        cmocka_unit_test(test_registered_memory_has_an_address_of_the_devices),
        cmocka_unit_test(test_only_what_a_driver_would_pin_is_registered),
        cmocka_unit_test(test_a_kernel_that_takes_the_wrong_address_is_told),
        cmocka_unit_test(test_a_launch_that_no_device_takes_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
