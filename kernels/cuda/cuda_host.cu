/* cuda_host.cu - weights in main memory that kernels read: a sealed memfd, mapped here and registered with
 * the driver.  See cuda.cuh.
 *
 * A driver that registers read-only maps pins the memfd's own pages.  Most do not: they pin only what could
 * be written to, and of a sealed memfd that is a private map, whose pages the system copies as they are
 * pinned. Then main memory holds them twice, and the memfd's are for whoever maps it next. */
#include "cuda.cuh"

extern "C" {
#include "kernels/hostmem.h"
}

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

/* Opened again for reading alone, a sealed memfd can be mapped shared: of an fd that could write, systems
 * before 6.7 refuse that. */
static void *host_map_shared(int fd, size_t bytes)
{
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    _cleanup_(closep) int reader = open(path, O_RDONLY | O_CLOEXEC);
    return reader < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ, MAP_SHARED, reader, 0);
}

/* mem->fd is sealed and mapped nowhere. */
static int host_register(struct cuda *cuda, struct kern_mem *mem)
{
    const unsigned flags = cudaHostRegisterMapped | (cuda->pins_read_only ? cudaHostRegisterReadOnly : 0);
    void *const p = cuda->pins_read_only
                        ? host_map_shared(mem->fd, mem->bytes)
                        : mmap(NULL, mem->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, mem->fd, 0);
    void *device = NULL;
    int r;

    if (p == MAP_FAILED)
        return err_errno();
    r = cuda_result(cuda, cudaHostRegister(p, mem->bytes, flags));
    if (r == 0) {
        r = cuda_result(cuda, cudaHostGetDevicePointer(&device, p, 0));
        if (r < 0)
            cudaHostUnregister(p);
    }
    if (r < 0) {
        cudaGetLastError(); /* it is told here and not by the next call */
        munmap(p, mem->bytes);
        return r;
    }
    mem->host = static_cast<uint8_t *>(p);
    mem->base = static_cast<uint8_t *>(device);
    mem->locked = true;
    return 0;
}

int cuda_host_alloc(struct cuda *cuda, size_t bytes, struct kern_mem *ret_mem)
{
    int r;

    if (!cuda->kern.host_copies)
        return err_origin(-EOPNOTSUPP);
    r = hostmem_alloc(&cuda->kern, bytes, KERN_MEM_HOST, ret_mem);
    if (r == 0)
        ret_mem->host = ret_mem->base;
    return r;
}

/* On failure nothing is left of it. */
int cuda_host_seal(struct cuda *cuda, struct kern_mem *mem)
{
    int r;

    munmap(mem->host, mem->bytes);
    r = hostmem_seal_fd(mem->fd);
    if (r == 0)
        r = host_register(cuda, mem);
    if (r < 0) {
        closep(&mem->fd);
        *mem = kern_mem{};
        mem->fd = -1;
    }
    return r;
}

int cuda_host_adopt(struct cuda *cuda, int fd_taken, size_t bytes, struct kern_mem *ret_mem)
{
    _cleanup_(closep) int fd = fd_taken;
    struct kern_mem mem = {};
    int r;

    if (!cuda->kern.host_copies)
        return err_origin(-EOPNOTSUPP);
    r = hostmem_check_fd(fd, bytes);
    mem.fd = fd;
    mem.bytes = bytes;
    if (r == 0)
        r = host_register(cuda, &mem);
    if (r < 0)
        return r;
    fd = -1;
    *ret_mem = mem;
    return 0;
}

void cuda_host_free(struct kern_mem *mem)
{
    if (mem->locked)
        cudaHostUnregister(mem->host);
    munmap(mem->host, mem->bytes);
}

/* Tried with a page, so that what this driver does not do is known before anything is packed for it. */
void cuda_host_init(struct cuda *cuda)
{
    enum { PAGE_BYTES = 4096 };
    struct kern *kern = &cuda->kern;
    struct kern_mem mem = {};
    int read_only = 0, r;

    if (cudaDeviceGetAttribute(&read_only, cudaDevAttrHostRegisterReadOnlySupported, cuda->device))
        read_only = 0;
    cuda->pins_read_only = read_only;
    kern->host_copies = read_only ? 1 : 2;
    r = cuda_host_alloc(cuda, PAGE_BYTES, &mem);
    if (r == 0)
        r = cuda_host_seal(cuda, &mem);
    if (r == 0) {
        cuda_mem_free(kern, &mem);
        return;
    }
    kern->host_copies = 0;
    snprintf(kern->no_host, sizeof(kern->no_host), "%s", *kern->trouble ? kern->trouble : strerror(-r));
    *kern->trouble = '\0';
}
