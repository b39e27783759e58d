/* emu_host.cpp - the runtime calls: memory, streams, events, graphs, launches.
 *
 * A stream is a queue that is worked off when something waits for it, up to what it waits for.  A graph keeps
 * the same work as a list and queues it at each launch.  Streams are kept until the process ends, since
 * events name them. */
#include "emu_run.h"

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include <stdlib.h>

typedef std::function<void()> host_work;

struct emu_graph {
    std::vector<host_work> nodes;
    cudaStream_t origin;
    int n_execs;
};
struct emu_graph_exec {
    std::vector<host_work> nodes;
};
struct emu_stream {
    std::deque<host_work> queue;
    uint64_t n_queued, n_done;
    struct emu_graph *capture; /* borrowed from who began it; NULL: none */
    bool open;
};
struct emu_event {
    struct emu_stream *stream;                                   /* NULL: never recorded */
    uint64_t ticket;                                             /* done when so many of the stream's are */
    std::shared_ptr<std::chrono::steady_clock::time_point> time; /* of that; NULL: none is kept */
    struct emu_graph *capture;
};

enum host_kind { HOST_DEVICE, HOST_PINNED, HOST_MAPPED }; /* mapped: emu_vmm.cpp, without guards */
struct host_block {
    size_t bytes;
    enum host_kind kind;
};
enum { HOST_GUARD = 256 };

/* EMU_MIB: memory of the device; EMU_SM: its compute capability, 86 for 8.6; EMU_PIN: what can be registered
 * of main memory, so many bytes, or "read-only" maps too. */
static struct emu_machine host_invent(void)
{
    const char *const mib = getenv("EMU_MIB"), *const sm = getenv("EMU_SM"), *const pin = getenv("EMU_PIN");
    struct emu_machine machine = EMU_MACHINE;

    if (mib)
        machine.bytes = size_t(strtoul(mib, NULL, 10)) << 20;
    if (sm) {
        machine.major = int(strtol(sm, NULL, 10)) / 10;
        machine.minor = int(strtol(sm, NULL, 10)) % 10;
    }
    machine.pins_read_only = pin && !strcmp(pin, "read-only");
    if (pin && !machine.pins_read_only)
        machine.pin_bytes = strtoul(pin, NULL, 10);
    return machine;
}
static struct emu_machine host_machine = host_invent();
static std::map<uintptr_t, struct host_block> host_blocks;
static std::vector<std::unique_ptr<struct emu_stream>> host_streams;
static std::map<const void *, int> host_smem_allowed; /* of kernels that may have more than EMU_SMEM_PLAIN */
static size_t host_used;
static cudaError_t host_last;

static cudaError_t host_error(cudaError_t error)
{
    if (error)
        host_last = error;
    return error;
}

cudaError_t emu_error(cudaError_t error)
{
    return host_error(error);
}

const struct emu_machine *emu_get_machine(void)
{
    return &host_machine;
}

/* EMU_BREAK: after so many kernels the device is broken, as by a wild store of one: that kernel has done
 * nothing, whatever waits says so, and nothing is ever right again. */
static long host_break(void)
{
    const char *const n = getenv("EMU_BREAK");

    return n ? strtol(n, NULL, 10) : -1;
}
static long host_until_break = host_break();

static bool host_is_broken(void)
{
    return host_until_break == 0;
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = host_last;

    host_last = cudaSuccess;
    return error;
}

cudaError_t cudaProfilerStart(void)
{
    return cudaSuccess;
}

cudaError_t cudaProfilerStop(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
        return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorNotReady:
        return "device not ready";
    case cudaErrorIllegalAddress:
        return "an illegal memory access was encountered";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    case cudaErrorHostMemoryAlreadyRegistered:
        return "part or all of the requested memory range is already mapped";
    case cudaErrorHostMemoryNotRegistered:
        return "pointer does not correspond to a registered memory region";
    case cudaErrorNotSupported:
        return "operation not supported";
    default:
        return "invalid argument";
    }
}

/* device */

void emu_set_machine(const struct emu_machine *machine)
{
    host_machine = *machine;
}

cudaError_t cudaDriverGetVersion(int *ret_version)
{
    *ret_version = host_machine.driver;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *ret_version)
{
    *ret_version = 13000;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *ret_n)
{
    *ret_n = host_machine.n_device;
    return host_error(host_machine.error);
}

cudaError_t cudaSetDevice(int device)
{
    return host_error(device < 0 || device >= host_machine.n_device ? cudaErrorInvalidDevice : cudaSuccess);
}

/* What a block can be given: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
 */
static int host_smem_opt_in(void)
{
    if (host_machine.major == 9 || host_machine.major == 10)
        return EMU_SMEM_OPT_IN;
    return host_machine.major == 8 && host_machine.minor == 0 ? 163 << 10 : 99 << 10;
}

cudaError_t cudaDeviceGetAttribute(int *ret_value, cudaDeviceAttr attr, int device)
{
    if (attr != cudaDevAttrHostRegisterReadOnlySupported || device < 0 || device >= host_machine.n_device)
        return host_error(cudaErrorInvalidValue);
    *ret_value = host_machine.pins_read_only;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *ret_prop, int device)
{
    if (device < 0 || device >= host_machine.n_device)
        return host_error(cudaErrorInvalidDevice);
    *ret_prop = cudaDeviceProp{"emulation",
                               host_machine.bytes,
                               EMU_SMEM_PLAIN,
                               size_t(host_smem_opt_in()),
                               host_machine.major,
                               host_machine.minor,
                               4,
                               EMU_BLOCK_MAX,
                               32,
                               64 << 10,
                               4 << 20};
    return cudaSuccess;
}

static size_t host_free_bytes(void)
{
    const size_t used = host_used + host_machine.taken_bytes;

    return used < host_machine.bytes ? host_machine.bytes - used : 0;
}

/* memory */

static uint8_t *host_guarded(size_t bytes, enum host_kind kind)
{
    const size_t padded = (bytes + HOST_GUARD - 1) / HOST_GUARD * HOST_GUARD;
    uint8_t *raw = static_cast<uint8_t *>(aligned_alloc(HOST_GUARD, padded + 2 * HOST_GUARD));

    if (!raw)
        return NULL;
    uint8_t *const p = raw + HOST_GUARD;
    emu_guard_set(raw, HOST_GUARD);
    emu_fill(p, bytes);
    emu_guard_set(p + bytes, padded - bytes + HOST_GUARD);
    emu_poison(raw, HOST_GUARD);
    emu_poison(p + bytes, padded - bytes + HOST_GUARD);
    host_blocks[reinterpret_cast<uintptr_t>(p)] = host_block{bytes, kind};
    host_used += bytes;
    return p;
}

static void host_check_guards(void)
{
    for (const auto &block : host_blocks) {
        const uint8_t *p = reinterpret_cast<const uint8_t *>(block.first);
        const size_t bytes = block.second.bytes, padded = (bytes + HOST_GUARD - 1) / HOST_GUARD * HOST_GUARD;
        if (block.second.kind == HOST_MAPPED)
            continue;
        if (!emu_guard_ok(p - HOST_GUARD, HOST_GUARD))
            emu_fault("something wrote before an allocation of %zu bytes", bytes);
        if (!emu_guard_ok(p + bytes, padded - bytes + HOST_GUARD))
            emu_fault("something wrote past an allocation of %zu bytes", bytes);
    }
}

void emu_device_range(const void *p, size_t bytes, bool add)
{
    if (add)
        host_blocks[reinterpret_cast<uintptr_t>(p)] = host_block{bytes, HOST_MAPPED};
    else
        host_blocks.erase(reinterpret_cast<uintptr_t>(p));
    host_used = add ? host_used + bytes : host_used - bytes;
}

static cudaError_t host_alloc(void **ret_p, size_t bytes, enum host_kind kind)
{
    if (bytes > host_free_bytes())
        return host_error(cudaErrorMemoryAllocation);
    void *p = host_guarded(bytes, kind);
    if (!p)
        return host_error(cudaErrorMemoryAllocation);
    *ret_p = p;
    return cudaSuccess;
}

static cudaError_t host_free(void *p, enum host_kind kind)
{
    const auto at = host_blocks.find(reinterpret_cast<uintptr_t>(p));

    if (!p)
        return cudaSuccess;
    if (at == host_blocks.end() || at->second.kind != kind)
        return host_error(cudaErrorInvalidValue);
    cudaDeviceSynchronize();
    const size_t padded = (at->second.bytes + HOST_GUARD - 1) / HOST_GUARD * HOST_GUARD;
    uint8_t *const raw = static_cast<uint8_t *>(p) - HOST_GUARD;
    host_used -= at->second.bytes;
    host_blocks.erase(at);
    emu_unpoison(raw, padded + 2 * HOST_GUARD);
    free(raw);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **ret_p, size_t bytes)
{
    return host_alloc(ret_p, bytes, HOST_DEVICE);
}

cudaError_t cudaFree(void *p)
{
    return host_free(p, HOST_DEVICE);
}

cudaError_t cudaHostAlloc(void **ret_p, size_t bytes, unsigned flags)
{
    return host_alloc(ret_p, bytes, HOST_PINNED);
}

cudaError_t cudaFreeHost(void *p)
{
    return host_free(p, HOST_PINNED);
}

cudaError_t cudaMemGetInfo(size_t *ret_free, size_t *ret_total)
{
    *ret_free = host_free_bytes();
    *ret_total = host_machine.bytes;
    return cudaSuccess;
}

/* Whether [p, p + bytes) lies in one allocation of the device; not there at all counts as memory of the host.
 */
static bool host_range_is(const void *p, size_t bytes, bool device)
{
    const uintptr_t at = reinterpret_cast<uintptr_t>(p);
    auto next = host_blocks.upper_bound(at);
    bool inside = false;

    if (next != host_blocks.begin()) {
        const auto &block = *--next;
        if (at < block.first + block.second.bytes) {
            if (at + bytes > block.first + block.second.bytes)
                return false;
            inside = block.second.kind != HOST_PINNED;
        }
    }
    return inside == device;
}

/* streams */

static void stream_run_until(struct emu_stream *stream, uint64_t ticket)
{
    while (stream->n_done < ticket) {
        const host_work work = std::move(stream->queue.front());
        stream->queue.pop_front();
        work();
        stream->n_done++;
    }
}

static void stream_run(struct emu_stream *stream)
{
    stream_run_until(stream, stream->n_queued);
}

static cudaError_t stream_push(struct emu_stream *stream, host_work work)
{
    if (!stream) { /* the null stream: after all others, and at once */
        for (auto &s : host_streams)
            stream_run(s.get());
        work();
    } else if (stream->capture) {
        stream->capture->nodes.push_back(std::move(work));
    } else {
        stream->queue.push_back(std::move(work));
        stream->n_queued++;
    }
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *ret_stream, unsigned flags)
{
    host_streams.emplace_back(new emu_stream());
    host_streams.back()->open = true;
    *ret_stream = host_streams.back().get();
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    if (!stream || !stream->open || stream->capture)
        return host_error(cudaErrorInvalidResourceHandle);
    stream_run(stream);
    stream->open = false;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    if (!stream)
        return cudaDeviceSynchronize();
    if (stream->capture)
        return host_error(cudaErrorStreamCaptureUnsupported);
    stream_run(stream);
    host_check_guards();
    return host_is_broken() ? host_error(cudaErrorIllegalAddress) : cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    for (auto &s : host_streams)
        if (s->capture)
            return host_error(cudaErrorStreamCaptureUnsupported);
    for (auto &s : host_streams)
        stream_run(s.get());
    host_check_guards();
    return host_is_broken() ? host_error(cudaErrorIllegalAddress) : cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;

    if (!host_range_is(src, bytes, from_device) || !host_range_is(dst, bytes, to_device))
        return host_error(cudaErrorInvalidValue);
    return stream_push(stream, [=] { memcpy(dst, src, bytes); });
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind)
{
    const cudaError_t error = cudaMemcpyAsync(dst, src, bytes, kind, NULL);

    return error ? error : cudaDeviceSynchronize();
}

cudaError_t cudaMemsetAsync(void *dst, int byte, size_t bytes, cudaStream_t stream)
{
    if (!host_range_is(dst, bytes, true))
        return host_error(cudaErrorInvalidValue);
    return stream_push(stream, [=] { memset(dst, byte, bytes); });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *arg)
{
    return stream_push(stream, [=] { fn(arg); });
}

/* events */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ret_event, unsigned flags)
{
    *ret_event = new emu_event();
    if (!(flags & cudaEventDisableTiming))
        (*ret_event)->time.reset(new std::chrono::steady_clock::time_point());
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    const auto time = event->time;

    if (time && stream)
        stream_push(stream, [=] { *time = std::chrono::steady_clock::now(); });
    event->stream = stream;
    event->ticket = stream ? stream->n_queued : 0;
    event->capture = stream ? stream->capture : NULL;
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    struct emu_stream *const from = event->stream;
    const uint64_t ticket = event->ticket;

    if (event->capture && stream) { /* the stream joins the capture */
        stream->capture = event->capture;
        return cudaSuccess;
    }
    if (!from)
        return cudaSuccess;
    return stream_push(stream, [=] { stream_run_until(from, ticket); });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (event->capture)
        return host_error(cudaErrorStreamCaptureUnsupported);
    if (event->stream)
        stream_run_until(event->stream, event->ticket);
    return cudaSuccess;
}

/* Nothing is done unasked, so who polls must see it get done: the next of the stream's work, then the answer.
 */
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    struct emu_stream *const from = event->stream;

    if (event->capture)
        return host_error(cudaErrorStreamCaptureUnsupported);
    if (from && from->n_done < event->ticket)
        stream_run_until(from, from->n_done + 1);
    return from && from->n_done < event->ticket ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ret_ms, cudaEvent_t from, cudaEvent_t to)
{
    if (!from->time || !to->time || !from->stream || !to->stream)
        return host_error(cudaErrorInvalidResourceHandle);
    if (from->stream->n_done < from->ticket || to->stream->n_done < to->ticket)
        return host_error(cudaErrorNotReady);
    *ret_ms = std::chrono::duration<float, std::milli>(*to->time - *from->time).count();
    return cudaSuccess;
}

/* graphs */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    if (!stream || stream->capture)
        return host_error(cudaErrorStreamCaptureUnsupported);
    stream->capture = new emu_graph();
    stream->capture->origin = stream;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *ret_graph)
{
    struct emu_graph *const graph = stream ? stream->capture : NULL;

    if (!graph || graph->origin != stream)
        return host_error(cudaErrorIllegalState);
    for (auto &s : host_streams)
        if (s->capture == graph)
            s->capture = NULL;
    *ret_graph = graph;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *ret_exec, cudaGraph_t graph,
                                          unsigned long long flags)
{
    *ret_exec = new emu_graph_exec{graph->nodes};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    for (const auto &node : exec->nodes)
        stream_push(stream, node);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

/* launches */

cudaError_t emu_allow_smem(const void *kernel, cudaFuncAttribute attribute, int bytes)
{
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || bytes < 0 || bytes > host_smem_opt_in())
        return host_error(cudaErrorInvalidValue);
    host_smem_allowed[kernel] = bytes;
    return cudaSuccess;
}

static bool launch_is_valid(const struct emu_grid *g)
{
    const dim3 grid = g->grid, block = g->block;
    const auto allowed = host_smem_allowed.find(g->kernel);
    const size_t smem = allowed == host_smem_allowed.end() ? size_t(EMU_SMEM_PLAIN) : size_t(allowed->second);

    return grid.x && grid.y && grid.z && grid.y < 65536 && grid.z < 65536 && block.x && block.y && block.z &&
           block.x <= EMU_BLOCK_MAX && block.y <= EMU_BLOCK_MAX && block.z <= 64 &&
           block.x * block.y * block.z <= EMU_BLOCK_MAX && g->smem_bytes <= smem;
}

cudaError_t emu_launch(const struct emu_grid *grid, cudaStream_t stream, emu_work *work)
{
    const std::shared_ptr<const emu_work> owned(work);
    const struct emu_grid g = *grid;

    if (!launch_is_valid(grid))
        return host_error(cudaErrorInvalidConfiguration);
    if (host_is_broken())
        return host_error(cudaErrorIllegalAddress);
    return stream_push(stream, [g, owned] {
        if (host_until_break > 0)
            host_until_break--;
        if (host_is_broken())
            return;
        emu_pin_hide(true);
        emu_run_grid(&g, owned.get());
        emu_pin_hide(false);
    });
}
