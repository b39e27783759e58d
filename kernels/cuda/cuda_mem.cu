/* cuda_mem.cu - device memory of the CUDA backend, and matrices on their way into it.  See cuda.cuh.
 *
 * Everything is done in the backend's one stream, so in the order of the calls; what the host reads or gives
 * to be read is waited for. */
#include "cuda.cuh"

#include "matmul_pack.cuh"
#include "read.cuh"
#include "vmm.cuh"

/* Weights get an fd, where the driver has that: they outlive the engine.  Everything else dies with it. */
static int mem_new(struct cuda *cuda, enum kern_mem_use use, void **ret_p, struct kern_mem *mem)
{
    if (use != KERN_MEM_WEIGHTS || !cuda->granule)
        return cuda_result(cuda, cudaMalloc(ret_p, mem->bytes));
    mem->bytes = ROUND_UP(mem->bytes, cuda->granule);
    const int r = kern_cuda_vmm_new(cuda->device, mem->bytes, ret_p, &mem->fd);
    return r < 0 ? err_origin(r) : 0;
}

int cuda_mem_alloc(struct kern *kern, size_t bytes, enum kern_mem_use use, struct kern_mem *ret_mem)
{
    struct cuda *cuda = cuda_of(kern);
    struct kern_mem mem = {};
    void *p = NULL;
    int r;

    if (bytes == 0 || bytes > PTRDIFF_MAX)
        return err_origin(-EINVAL);
    if (use == KERN_MEM_HOST)
        return cuda_host_alloc(cuda, bytes, ret_mem);
    mem.bytes = bytes;
    mem.fd = -1;
    r = mem_new(cuda, use, &p, &mem);
    if (r < 0)
        return r;
    mem.base = static_cast<uint8_t *>(p);
    mem.locked = true;
    r = cuda_clear(kern, p, mem.bytes);
    if (r < 0)
        cuda_mem_free(kern, &mem);
    else
        *ret_mem = mem;
    return r;
}

/* That it is device memory, and enough of it, the driver checks. */
int cuda_mem_adopt(struct kern *kern, int fd_taken, size_t bytes, enum kern_mem_use use,
                   struct kern_mem *ret_mem)
{
    _cleanup_(closep) int fd = fd_taken;
    struct cuda *cuda = cuda_of(kern);
    struct kern_mem mem = {};
    void *p = NULL;
    int r;

    if (use == KERN_MEM_HOST)
        return cuda_host_adopt(cuda, steal_fd(&fd), bytes, ret_mem);
    if (!cuda->granule)
        return err_origin(-EOPNOTSUPP);
    mem.bytes = ROUND_UP(bytes, cuda->granule);
    r = kern_cuda_vmm_import(cuda->device, fd, mem.bytes, &p);
    if (r < 0)
        return err_origin(r);
    mem.base = static_cast<uint8_t *>(p);
    mem.fd = steal_fd(&fd);
    mem.locked = true;
    *ret_mem = mem;
    return 0;
}

/* The weights are complete: what they were made with may go. */
int cuda_mem_seal(struct kern *kern, struct kern_mem *mem)
{
    struct cuda *cuda = cuda_of(kern);

    if (mem->host)
        return cuda_host_seal(cuda, mem);
    int r = cuda_result(cuda, cudaStreamSynchronize(cuda->stream));
    cudaFree(cuda->stage);
    cuda->stage = NULL;
    cuda->stage_bytes = 0;
    if (r < 0 || mem->fd < 0)
        return r;
    r = kern_cuda_vmm_protect(cuda->device, mem->base, mem->bytes);
    return r < 0 ? err_origin(r) : 0;
}

void cuda_mem_free(struct kern *kern, struct kern_mem *mem)
{
    struct cuda *cuda = cuda_of(kern);

    if (!mem->base)
        return;
    cuda_step_flush(cuda);
    cudaStreamSynchronize(cuda->stream);
    if (mem->host)
        cuda_host_free(mem);
    else if (mem->fd < 0)
        cudaFree(mem->base);
    else
        kern_cuda_vmm_free(mem->base, mem->bytes);
    closep(&mem->fd);
    *mem = kern_mem{};
    mem->fd = -1;
}

/* copies */

int cuda_copy_in(struct kern *kern, void *dst, const void *src_host, size_t bytes)
{
    struct cuda *cuda = cuda_of(kern);
    int r = cuda_step_flush(cuda);

    if (r < 0 || !bytes)
        return r;
    r = cuda_result(cuda, cudaMemcpyAsync(dst, src_host, bytes, cudaMemcpyHostToDevice, cuda->stream));
    return r < 0 ? r : cuda_result(cuda, cudaStreamSynchronize(cuda->stream));
}

int cuda_copy_out(struct kern *kern, void *dst_host, const void *src, size_t bytes)
{
    struct cuda *cuda = cuda_of(kern);
    int r = cuda_step_flush(cuda);

    if (r == 0 && bytes)
        r = cuda_result(cuda, cudaMemcpyAsync(dst_host, src, bytes, cudaMemcpyDeviceToHost, cuda->stream));
    return r < 0 ? r : cuda_result(cuda, cudaStreamSynchronize(cuda->stream));
}

int cuda_clear(struct kern *kern, void *dst, size_t bytes)
{
    struct cuda *cuda = cuda_of(kern);
    int r = cuda_step_flush(cuda);

    if (r < 0 || !bytes)
        return r;
    return cuda_result(cuda, cudaMemsetAsync(dst, 0, bytes, cuda->stream));
}

int cuda_copy(struct kern *kern, void *dst, const void *src, size_t bytes)
{
    struct cuda *cuda = cuda_of(kern);
    int r = cuda_step_flush(cuda);

    if (r < 0 || !bytes)
        return r;
    return cuda_result(cuda, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, cuda->stream));
}

/* A fault shows with the next call that can say so. */
void cuda_read(struct kern *kern, const uint8_t *data, size_t bytes)
{
    enum { BLOCKS = 8 }; /* of an SM: as many as find room, so that all that it can ask for is asked for */
    struct cuda *cuda = cuda_of(kern);

    if (cuda_step_flush(cuda) == 0 &&
        kern_cuda_read(reinterpret_cast<const uint4 *>(data), bytes / sizeof(uint4), BLOCKS * cuda->n_sm,
                       NULL, cuda->stream) == 0)
        cudaStreamSynchronize(cuda->stream);
}

/* matrices */

size_t cuda_mat_bytes(struct kern *kern _unused_, enum quant_type type, enum kern_layout layout, int n_out,
                      int n_in)
{
    struct kern_cuda_tiles tiles;

    if (layout == KERN_PANELS && kern_cuda_tiles_shape(type, n_out, n_in, &tiles) == 0)
        return tiles.bytes;
    return (size_t)n_out * quant_row_bytes(quant_find(type), n_in);
}

/* Room on the device for a matrix as it is in the file.  It grows to the largest one and goes when the
 * weights are complete. */
static int mat_stage(struct cuda *cuda, size_t bytes)
{
    void *p = NULL;
    int r;

    if (bytes <= cuda->stage_bytes)
        return 0;
    cudaFree(cuda->stage);
    cuda->stage = NULL;
    cuda->stage_bytes = 0;
    r = cuda_result(cuda, cudaMalloc(&p, bytes));
    if (r < 0)
        return r;
    cuda->stage = static_cast<uint8_t *>(p);
    cuda->stage_bytes = bytes;
    return 0;
}

/* Pieces gather in the stage; with the last one the matrix is packed. */
int cuda_mat_pack(struct kern *kern, const struct kern_pack *pack)
{
    struct cuda *cuda = cuda_of(kern);
    const struct kern_mat *mat = pack->mat;
    const size_t row_bytes = quant_row_bytes(quant_find(mat->type), mat->n_in);
    const size_t at = (size_t)pack->row * row_bytes, bytes = (size_t)pack->n_row * row_bytes;
    struct kern_cuda_tiles tiles;
    int r;

    if (mat->layout == KERN_ROWS)
        return cuda_copy_in(kern, const_cast<uint8_t *>(mat->data) + at, pack->src, bytes);
    r = kern_cuda_tiles_shape(mat->type, mat->n_out, mat->n_in, &tiles);
    if (r < 0)
        return err_origin(-EOPNOTSUPP);
    r = mat_stage(cuda, (size_t)mat->n_out * row_bytes);
    if (r == 0)
        r = cuda_copy_in(kern, cuda->stage + at, pack->src, bytes);
    tiles.data = const_cast<uint8_t *>(mat->data);
    if (r == 0 && pack->row + pack->n_row == mat->n_out)
        r = kern_cuda_pack(&tiles, cuda->stage, cuda->stream);
    return r < 0 ? cuda_trouble(cuda, r) : 0;
}
