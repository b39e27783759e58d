/* vmm.cu - see vmm.cuh. */
#include "vmm.cuh"

static int vmm_result(CUresult result)
{
    switch (result) {
    case CUDA_SUCCESS:
        return 0;
    case CUDA_ERROR_OUT_OF_MEMORY:
        return -ENOMEM;
    case CUDA_ERROR_INVALID_VALUE:
        return -EINVAL;
    case CUDA_ERROR_NOT_SUPPORTED:
        return -EOPNOTSUPP;
    default:
        return -EIO;
    }
}

static CUmemAllocationProp vmm_prop(int device)
{
    CUmemAllocationProp prop = {};

    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    prop.location.id = device;
    return prop;
}

static CUdeviceptr vmm_address(void *p)
{
    return (CUdeviceptr) reinterpret_cast<uintptr_t>(p);
}

/* All calls that are used, or none. */
extern "C" int kern_cuda_vmm_granularity(int device, size_t *ret_bytes)
{
    const CUmemAllocationProp prop = vmm_prop(device);
    const auto granularity = KERN_CUDA_DRIVER(cuMemGetAllocationGranularity);

    if (!granularity || !KERN_CUDA_DRIVER(cuMemCreate) || !KERN_CUDA_DRIVER(cuMemRelease) ||
        !KERN_CUDA_DRIVER(cuMemExportToShareableHandle) ||
        !KERN_CUDA_DRIVER(cuMemImportFromShareableHandle) || !KERN_CUDA_DRIVER(cuMemAddressReserve) ||
        !KERN_CUDA_DRIVER(cuMemAddressFree) || !KERN_CUDA_DRIVER(cuMemMap) || !KERN_CUDA_DRIVER(cuMemUnmap) ||
        !KERN_CUDA_DRIVER(cuMemSetAccess))
        return -EOPNOTSUPP;
    return granularity(ret_bytes, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM) ? -EOPNOTSUPP : 0;
}

static int vmm_access(int device, void *p, size_t bytes, CUmemAccess_flags flags)
{
    CUmemAccessDesc desc = {};

    desc.location = vmm_prop(device).location;
    desc.flags = flags;
    return vmm_result(KERN_CUDA_DRIVER(cuMemSetAccess)(vmm_address(p), bytes, &desc, 1));
}

/* Somewhere; the mapping holds the memory, so the handle may go. */
static int vmm_map(int device, CUmemGenericAllocationHandle handle, size_t bytes, CUmemAccess_flags flags,
                   void **ret_p)
{
    CUdeviceptr at = 0;
    int r = vmm_result(KERN_CUDA_DRIVER(cuMemAddressReserve)(&at, bytes, 0, 0, 0));

    if (r < 0)
        return r;
    void *const p = reinterpret_cast<void *>((uintptr_t)at);
    r = vmm_result(KERN_CUDA_DRIVER(cuMemMap)(at, bytes, 0, handle, 0));
    if (r < 0) {
        KERN_CUDA_DRIVER(cuMemAddressFree)(at, bytes);
        return r;
    }
    r = vmm_access(device, p, bytes, flags);
    if (r < 0)
        kern_cuda_vmm_free(p, bytes);
    else
        *ret_p = p;
    return r;
}

extern "C" int kern_cuda_vmm_new(int device, size_t bytes, void **ret_p, int *ret_fd)
{
    const CUmemAllocationProp prop = vmm_prop(device);
    CUmemGenericAllocationHandle handle = 0;
    int fd = -1, r = vmm_result(KERN_CUDA_DRIVER(cuMemCreate)(&handle, bytes, &prop, 0));

    if (r < 0)
        return r;
    r = vmm_result(KERN_CUDA_DRIVER(cuMemExportToShareableHandle)(
        &fd, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    if (r == 0)
        r = vmm_map(device, handle, bytes, CU_MEM_ACCESS_FLAGS_PROT_READWRITE, ret_p);
    KERN_CUDA_DRIVER(cuMemRelease)(handle);
    if (r < 0)
        closep(&fd);
    else
        *ret_fd = fd;
    return r;
}

extern "C" int kern_cuda_vmm_import(int device, int fd, size_t bytes, void **ret_p)
{
    CUmemGenericAllocationHandle handle = 0;
    int r = vmm_result(KERN_CUDA_DRIVER(cuMemImportFromShareableHandle)(
        &handle, reinterpret_cast<void *>((uintptr_t)fd), CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));

    if (r < 0)
        return r;
    r = vmm_map(device, handle, bytes, CU_MEM_ACCESS_FLAGS_PROT_READ, ret_p);
    KERN_CUDA_DRIVER(cuMemRelease)(handle);
    return r;
}

extern "C" int kern_cuda_vmm_protect(int device, void *p, size_t bytes)
{
    return vmm_access(device, p, bytes, CU_MEM_ACCESS_FLAGS_PROT_READ);
}

extern "C" void kern_cuda_vmm_free(void *p, size_t bytes)
{
    KERN_CUDA_DRIVER(cuMemUnmap)(vmm_address(p), bytes);
    KERN_CUDA_DRIVER(cuMemAddressFree)(vmm_address(p), bytes);
}
