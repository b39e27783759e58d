/* emu_vmm.cpp - device memory that other processes can map: emu_api.h's driver calls.
 *
 * A handle is a reference to an allocation, and so is a mapping, as on a device: the memory goes with the
 * last of them, here or in another process.  Ranges are reserved without access; a mapping puts the memfd
 * there. */
#include "emu_run.h"

#include <errno.h>
#include <fcntl.h>
#include <map>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define VMM_NAME "emu-device"
enum { VMM_GRANULARITY = 64 << 10, VMM_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL };

struct vmm_range {
    size_t bytes;
    int fd; /* of what is mapped; -1: nothing */
};
static std::map<CUdeviceptr, struct vmm_range> vmm_ranges;

static void *vmm_at(CUdeviceptr p)
{
    return reinterpret_cast<void *>(static_cast<uintptr_t>(p));
}

static struct vmm_range *vmm_find(CUdeviceptr p, size_t bytes)
{
    const auto at = vmm_ranges.find(p);

    return at != vmm_ranges.end() && at->second.bytes == bytes ? &at->second : NULL;
}

static CUresult vmm_result(bool done)
{
    return done ? CUDA_SUCCESS : errno == ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemGetAllocationGranularity(size_t *ret_bytes, const CUmemAllocationProp *prop,
                                       CUmemAllocationGranularity_flags option)
{
    *ret_bytes = VMM_GRANULARITY;
    return CUDA_SUCCESS;
}

/* handles: fds of their own */

CUresult cuMemCreate(CUmemGenericAllocationHandle *ret_handle, size_t bytes, const CUmemAllocationProp *prop,
                     unsigned long long flags)
{
    size_t free_bytes, total_bytes;

    if (!bytes || bytes % VMM_GRANULARITY || cudaMemGetInfo(&free_bytes, &total_bytes))
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > free_bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    const int fd = memfd_create(VMM_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *ret_handle = (CUmemGenericAllocationHandle)fd;
    return CUDA_SUCCESS;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
    return vmm_result(close((int)handle) == 0);
}

CUresult cuMemExportToShareableHandle(void *ret_fd, CUmemGenericAllocationHandle handle,
                                      CUmemAllocationHandleType type, unsigned long long flags)
{
    const int fd = fcntl((int)handle, F_DUPFD_CLOEXEC, 0);

    *static_cast<int *>(ret_fd) = fd;
    return vmm_result(fd >= 0);
}

/* A memfd of somebody else's is no memory of a device. */
static bool vmm_is_device(int fd)
{
    static const char name[] = "/memfd:" VMM_NAME;
    char path[32], is[sizeof(name)] = "";

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return readlink(path, is, sizeof(is) - 1) == sizeof(is) - 1 && !strcmp(is, name);
}

CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *ret_handle, void *fd,
                                        CUmemAllocationHandleType type)
{
    const int own = fcntl((int)reinterpret_cast<uintptr_t>(fd), F_DUPFD_CLOEXEC, 0);

    if (own < 0 || !vmm_is_device(own)) {
        if (own >= 0)
            close(own);
        return CUDA_ERROR_INVALID_VALUE;
    }
    *ret_handle = (CUmemGenericAllocationHandle)own;
    return CUDA_SUCCESS;
}

/* addresses */

CUresult cuMemAddressReserve(CUdeviceptr *ret_p, size_t bytes, size_t align, CUdeviceptr at,
                             unsigned long long flags)
{
    void *const p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *ret_p = (CUdeviceptr) reinterpret_cast<uintptr_t>(p);
    vmm_ranges[*ret_p] = vmm_range{bytes, -1};
    return CUDA_SUCCESS;
}

CUresult cuMemAddressFree(CUdeviceptr p, size_t bytes)
{
    struct vmm_range *const range = vmm_find(p, bytes);

    if (!range || range->fd >= 0)
        return CUDA_ERROR_INVALID_VALUE;
    vmm_ranges.erase(p);
    return vmm_result(munmap(vmm_at(p), bytes) == 0);
}

/* Without access until somebody asks for it. */
CUresult cuMemMap(CUdeviceptr p, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
                  unsigned long long flags)
{
    struct vmm_range *const range = vmm_find(p, bytes);
    struct stat st;

    if (!range || range->fd >= 0 || offset || fstat((int)handle, &st) < 0 || (size_t)st.st_size < bytes)
        return CUDA_ERROR_INVALID_VALUE;
    range->fd = fcntl((int)handle, F_DUPFD_CLOEXEC, 0);
    if (range->fd >= 0)
        emu_device_range(vmm_at(p), bytes, true);
    return vmm_result(range->fd >= 0);
}

CUresult cuMemUnmap(CUdeviceptr p, size_t bytes)
{
    struct vmm_range *const range = vmm_find(p, bytes);

    if (!range || range->fd < 0)
        return CUDA_ERROR_INVALID_VALUE;
    cudaDeviceSynchronize();
    close(range->fd);
    range->fd = -1;
    emu_device_range(vmm_at(p), bytes, false);
    return vmm_result(mmap(vmm_at(p), bytes, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED);
}

CUresult cuMemSetAccess(CUdeviceptr p, size_t bytes, const CUmemAccessDesc *desc, size_t n_desc)
{
    struct vmm_range *const range = vmm_find(p, bytes);
    const bool writes = desc->flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;

    if (!range || range->fd < 0 || n_desc != 1)
        return CUDA_ERROR_INVALID_VALUE;
    cudaDeviceSynchronize();
    if (!writes) { /* no writable mapping may be left when it is sealed */
        mmap(vmm_at(p), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        if (fcntl(range->fd, F_GET_SEALS) != VMM_SEALS && fcntl(range->fd, F_ADD_SEALS, VMM_SEALS) < 0)
            return CUDA_ERROR_INVALID_VALUE;
    }
    return vmm_result(mmap(vmm_at(p), bytes, writes ? PROT_READ | PROT_WRITE : PROT_READ,
                           (writes ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, range->fd, 0) != MAP_FAILED);
}
