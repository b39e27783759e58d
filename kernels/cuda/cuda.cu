/* cuda.cu - opens the CUDA backend: which GPU, its stream, all scratch of a step.  See cuda.cuh. */
#include "cuda.cuh"

#include <stdio.h>

#include "matmul.cuh"
#include "vmm.cuh"

enum {
    CUDA_MAJOR_MIN = 8,           /* int8 products of m16n8k32 and cp.async: Ampere, of 2020 */
    CUDA_SHARED_ELSE = 163 << 10, /* of a block: Ampere's largest */
    CUDA_MIB_MIN = 256,           /* free; less holds no model, and the driver's own tables need some */
};

int cuda_result(struct cuda *cuda, cudaError_t error)
{
    const int r = kc_result(error);

    if (r == 0)
        return 0;
    snprintf(cuda->kern.trouble, sizeof(cuda->kern.trouble), "CUDA: %s", cudaGetErrorString(error));
    return err_origin(r);
}

int cuda_trouble(struct cuda *cuda, int r)
{
    const cudaError_t error = cudaGetLastError();

    return error ? cuda_result(cuda, error) : r;
}

/* choosing a device */

/* There is no GPU to be had: is it the driver? */
static int cuda_no_device(cudaError_t error, struct fault *fault)
{
    int driver = 0, runtime = 0;

    cudaGetLastError(); /* it is told here and not by the next call */
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (error == cudaErrorInsufficientDriver && !driver)
        return fault_set(fault, KERN_E_BACKEND, "no CUDA: there is no NVIDIA driver (libcuda.so.1)");
    if (error == cudaErrorInsufficientDriver)
        return fault_set(fault, KERN_E_BACKEND,
                         "no CUDA: the NVIDIA driver is for CUDA %d.%d, this build needs %d.%d",
                         driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (error == cudaErrorNoDevice || error == cudaSuccess)
        return fault_set(fault, KERN_E_BACKEND, "no CUDA: the NVIDIA driver is there, but it finds no GPU");
    return fault_set(fault, KERN_E_BACKEND, "no CUDA: %s", cudaGetErrorString(error));
}

/* The GPU with the most memory of those that are new enough. */
static int cuda_find_device(struct fault *fault, int *ret_device, struct cudaDeviceProp *ret_prop)
{
    struct cudaDeviceProp prop;
    int n = 0, best = -1;
    const cudaError_t error = cudaGetDeviceCount(&n);

    if (error || n < 1)
        return cuda_no_device(error, fault);
    for (int i = 0; i < n; i++) {
        if (cudaGetDeviceProperties(&prop, i) || prop.major < CUDA_MAJOR_MIN)
            continue;
        if (best >= 0 && prop.totalGlobalMem <= ret_prop->totalGlobalMem)
            continue;
        best = i;
        *ret_prop = prop;
    }
    if (best < 0 && cudaGetDeviceProperties(&prop, 0) == cudaSuccess)
        return fault_set(fault, KERN_E_BACKEND,
                         "no CUDA: %s has compute capability %d.%d, %d.0 (Ampere) or later is needed",
                         prop.name, prop.major, prop.minor, CUDA_MAJOR_MIN);
    if (best < 0)
        return cuda_no_device(cudaErrorInvalidDevice, fault);
    *ret_device = best;
    return 0;
}

static int cuda_check_memory(const struct cudaDeviceProp *prop, struct fault *fault)
{
    size_t free_bytes = 0, total_bytes = 0;
    const cudaError_t error = cudaMemGetInfo(&free_bytes, &total_bytes);

    if (error)
        return cuda_no_device(error, fault);
    if (free_bytes >> 20 < CUDA_MIB_MIN)
        return fault_set(fault, KERN_E_BACKEND,
                         "no CUDA: %s has %zu MiB of %zu free, at least %d are needed: other programs hold "
                         "the rest",
                         prop->name, free_bytes >> 20, total_bytes >> 20, CUDA_MIB_MIN);
    return 0;
}

/* plan */

/* Cuts one allocation: first run with base NULL, to learn the size. */
struct cuda_arena {
    uint8_t *base;
    size_t used;
};

template <class T>
static T *cuda_cut(struct cuda_arena *cut, size_t n)
{
    uint8_t *const p = cut->base ? cut->base + cut->used : NULL;

    cut->used += ROUND_UP(n * sizeof(T), (size_t)CUDA_ALIGN);
    return reinterpret_cast<T *>(p);
}

static struct kern_cuda_act cuda_cut_act(struct cuda_arena *cut, size_t n_row, int n, bool with_f,
                                         bool with_h)
{
    struct kern_cuda_act act = {};
    const size_t n_value = n_row * ROUND_UP((size_t)n, (size_t)KERN_CUDA_GROUP);

    act.q = cuda_cut<int8_t>(cut, n_value);
    act.group = cuda_cut<struct kern_cuda_group>(cut, n_value / KERN_CUDA_GROUP);
    act.f = with_f ? cuda_cut<float>(cut, n_value) : NULL;
    act.h = with_h ? cuda_cut<uint16_t>(cut, n_value) : NULL;
    return act;
}

static void cuda_cut_all(struct cuda *cuda, struct cuda_arena *cut)
{
    const struct kern_shape *s = &cuda->kern.shape;
    const size_t n_row = (size_t)ROUND_UP(s->max_tok, 16); /* products take 16 rows at a time */
    struct cuda_scratch *scratch = &cuda->scratch;

    scratch->in = cuda_cut_act(cut, n_row, s->dim, true, cuda->wide);
    scratch->mix =
        cuda_cut_act(cut, n_row, MAX(s->n_vh * s->d_delta, s->n_qh * s->d_attn), false, cuda->wide);
    scratch->ff = cuda_cut_act(cut, n_row, s->n_ff, true, cuda->wide);
    scratch->delta = cuda_cut<float>(cut, kern_cuda_delta_scratch_bytes(s) / sizeof(float));
    scratch->attn = cuda_cut<uint8_t>(cut, kern_cuda_attn_scratch_bytes(s));
    const size_t n_part = (size_t)KERN_CUDA_TOP_ROWS * (size_t)kern_cuda_top_n_part(s->n_vocab);
    scratch->top_parts = cuda_cut<struct kern_cuda_top_part>(cut, n_part);
    scratch->top_groups = cuda_cut<float>(cut, n_part * KERN_CUDA_TOP_GROUPS);
}

static int cuda_plan(struct kern *kern, const struct kern_shape *shape)
{
    struct cuda *cuda = cuda_of(kern);
    struct cuda_arena cut = {};
    void *arena = NULL;
    int r;

    if (cuda->arena || shape->max_tok < 1 || shape->max_ctx < 1)
        return err_origin(-EINVAL);
    if (!kern_cuda_delta_takes(shape) || !kern_cuda_attn_takes(shape) || shape->dim % KERN_CUDA_GROUP ||
        shape->n_ff % KERN_CUDA_GROUP)
        return err_origin(-EOPNOTSUPP);
    kern->shape = *shape;
    cuda_cut_all(cuda, &cut);
    r = cuda_result(cuda, cudaMalloc(&arena, cut.used));
    if (r < 0)
        return r;
    cuda->arena = cut.base = static_cast<uint8_t *>(arena);
    cut.used = 0;
    cuda_cut_all(cuda, &cut);
    r = cuda_step_init(cuda);
    return r < 0 ? r : cuda_graph_init(cuda);
}

/* plan() takes some 150 MiB for a 9B, its kernels and graphs some more; the rest is for a screen that wakes
 * up. */
static uint64_t cuda_free_bytes(struct kern *kern)
{
    size_t free_bytes = 0, total_bytes = 0, kept_bytes;

    if (cuda_result(cuda_of(kern), cudaMemGetInfo(&free_bytes, &total_bytes)) < 0)
        return 0;
    kept_bytes = ((size_t)CUDA_MIB_MIN << 20) + total_bytes / 40;
    return free_bytes > kept_bytes ? free_bytes - kept_bytes : 0;
}

static size_t cuda_delta_state_bytes(struct kern *kern)
{
    return kern_cuda_delta_state_bytes(&kern->shape);
}

static size_t cuda_kv_page_bytes(struct kern *kern)
{
    return kern_cuda_page_bytes(&kern->shape);
}

/* opening */

/* Server cards add f16 products to f32 at their full rate; those for screens at half of it, where int8 ones
 * win. */
static bool cuda_is_wide(const struct cudaDeviceProp *prop)
{
    return prop->minor == 0 ? prop->major <= 10 : prop->major == 10;
}

static void cuda_free(struct kern *kern)
{
    struct cuda *cuda = cuda_of(kern);

    cudaStreamSynchronize(cuda->stream);
    cuda_stage_deinit(cuda);
    cuda_graph_deinit(cuda);
    cuda_step_deinit(cuda);
    cudaFree(cuda->arena);
    cudaFree(cuda->stage);
    if (cuda->stream)
        cudaStreamDestroy(cuda->stream);
    free(cuda);
}

static const struct kern_ops cuda_ops = {
    KERN_CUDA_NAME,     cuda_plan,      cuda_mem_alloc, cuda_mem_adopt,
    cuda_mem_seal,      cuda_mem_free,  NULL,           NULL,
    cuda_free_bytes,    cuda_copy_in,   cuda_copy_out,  cuda_clear,
    cuda_copy,          cuda_mat_bytes, cuda_mat_pack,  cuda_delta_state_bytes,
    cuda_kv_page_bytes, cuda_embed,     cuda_norm_proj, cuda_proj_add,
    cuda_mlp,           cuda_delta,     cuda_attn,      cuda_head,
    cuda_top,           cuda_stages,    cuda_read,      cuda_free,
};

/* Threads and instruction sets are the CPU's; with "auto" they are for the case that it serves. */
static int cuda_open(const struct kern_options *options _unused_, struct fault *fault, struct kern **ret_kern)
{
    struct cudaDeviceProp prop;
    struct cuda *cuda;
    int device = 0, r = cuda_find_device(fault, &device, &prop);

    if (!r && cudaSetDevice(device))
        r = cuda_no_device(cudaErrorInvalidDevice, fault);
    if (!r)
        r = cuda_check_memory(&prop, fault);
    if (r)
        return r;
    cuda = static_cast<struct cuda *>(calloc(1, sizeof(*cuda)));
    if (!cuda)
        return err_origin(-ENOMEM);
    cuda->kern.ops = &cuda_ops;
    cuda->kern.n_threads = 1;
    cuda->kern.cut_tok = KERN_CUDA_CHUNK;
    cuda->kern.again_tok = KERN_CUDA_SHORT;
    cuda->kern.embeds_rows = true; /* a row of tiles lies all over its matrix */
    cuda->device = device;
    cuda->n_sm = prop.multiProcessorCount;
    cuda->shared_bytes = (int)prop.sharedMemPerBlockOptin;
    if (prop.major != 9 && prop.major != 10) /* kernels that need 227 KiB are compiled for these alone */
        cuda->shared_bytes = MIN(cuda->shared_bytes, (int)CUDA_SHARED_ELSE);
    if (kern_cuda_vmm_granularity(device, &cuda->granule) < 0)
        cuda->granule = 0; /* then the next engine reads the file again */
    cuda->pdl = prop.major >= 9;
    cuda->wide = cuda_is_wide(&prop);
    snprintf(cuda->kern.isa, sizeof(cuda->kern.isa), "sm_%d%d", prop.major, prop.minor);
    snprintf(cuda->kern.numerics_id, sizeof(cuda->kern.numerics_id), KERN_CUDA_NAME "-2-%s%s", cuda->kern.isa,
             cuda->wide ? "-f16" : "");
    r = cuda_result(cuda, cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking));
    if (r == 0)
        r = kern_cuda_matmul_init(cuda->shared_bytes);
    if (r < 0) {
        cuda_free(&cuda->kern);
        return r;
    }
    cuda_host_init(cuda);
    *ret_kern = &cuda->kern;
    return KERN_OK;
}

extern "C" {
const struct backend kern_cuda_backend = {KERN_CUDA_NAME, cuda_open, true};
}
