/* emu_pin.cpp - main memory that a device reads: emu_api.h's cudaHostRegister() and what belongs to it.
 *
 * The device has an address of its own for it, as some do, and there the bytes as they were when it was
 * registered, read-only, with nothing on either side.  While a kernel runs the host's address is no memory at
 * all.  So who passes a kernel the wrong one of the two, goes past an end, writes, or changes what the device
 * was given already, is told, or gets a result that is wrong.
 *
 * As drivers do, it refuses memory that nobody may write to, unless it was asked for just that and the
 * machine has it; and pinning breaks a private map away from its file. */
#include "emu_run.h"

#include <map>

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

struct pin_range {
    size_t bytes;
    int prot;        /* the host's */
    uint8_t *device; /* between two pages that are none */
};
static std::map<uintptr_t, struct pin_range> pin_ranges;
static bool pin_hidden;
static struct sigaction pin_before;

static size_t pin_page(void)
{
    return size_t(sysconf(_SC_PAGESIZE));
}

static size_t pin_padded(size_t bytes)
{
    return (bytes + pin_page() - 1) / pin_page() * pin_page();
}

/* Within a kernel nothing else touches these. */
static void pin_on_fault(int sig, siginfo_t *info, void *context)
{
    const uintptr_t at = reinterpret_cast<uintptr_t>(info->si_addr);

    for (const auto &range : pin_ranges) {
        const uintptr_t device = reinterpret_cast<uintptr_t>(range.second.device);
        const size_t padded = pin_padded(range.second.bytes);
        if (pin_hidden && at - range.first < padded)
            emu_fault("the host's address of registered memory: a kernel needs the device's");
        if (pin_hidden && at - device < padded)
            emu_fault("a write to registered memory");
        if (pin_hidden && at - (device - pin_page()) < padded + 2 * pin_page())
            emu_fault("outside of registered memory of %zu bytes", range.second.bytes);
    }
    sigaction(sig, &pin_before, NULL); /* what it was meets it again */
}

static void pin_watch(void)
{
    struct sigaction action = {}, now;

    sigaction(SIGSEGV, NULL, &now);
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == pin_on_fault)
        return;
    pin_before = now; /* a test library's, a sanitizer's */
    action.sa_sigaction = pin_on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, NULL);
}

/* What the host may do with all of it; -1: it is not all mapped in one piece. */
static int pin_prot(uintptr_t at, size_t bytes)
{
    FILE *const maps = fopen("/proc/self/maps", "re");
    char line[512], mode[5];
    uintptr_t from, to;
    int prot = -1;

    while (maps && prot < 0 && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%zx-%zx %4s", &from, &to, mode) == 3 && from <= at && at < to && to - at >= bytes)
            prot = (mode[0] == 'r' ? PROT_READ : 0) | (mode[1] == 'w' ? PROT_WRITE : 0);
    if (maps)
        fclose(maps);
    return prot;
}

static uint8_t *pin_device(const uint8_t *host, size_t bytes)
{
    const size_t padded = pin_padded(bytes), whole = padded + 2 * pin_page();
    void *const p = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    uint8_t *const device = static_cast<uint8_t *>(p) + pin_page();
    mprotect(device, padded, PROT_READ | PROT_WRITE);
    memcpy(device, host, bytes);
    emu_fill(device + bytes, padded - bytes);
    mprotect(device, padded, PROT_READ);
    return device;
}

static cudaError_t pin_check(uintptr_t at, size_t bytes, unsigned flags, int prot)
{
    const struct emu_machine *const machine = emu_get_machine();
    const bool read_only = flags & cudaHostRegisterReadOnly;

    if (!bytes || at % pin_page() || prot < 0 || !(prot & PROT_READ) ||
        (flags & ~unsigned(cudaHostRegisterMapped | cudaHostRegisterReadOnly)))
        return cudaErrorInvalidValue;
    if (pin_ranges.count(at))
        return cudaErrorHostMemoryAlreadyRegistered;
    if (read_only && !machine->pins_read_only)
        return cudaErrorNotSupported;
    if (!read_only && !(prot & PROT_WRITE))
        return cudaErrorInvalidValue;
    return bytes > machine->pin_bytes ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned flags)
{
    volatile uint8_t *const host = static_cast<uint8_t *>(p);
    const uintptr_t at = reinterpret_cast<uintptr_t>(p);
    const int prot = pin_prot(at, bytes);
    const cudaError_t error = pin_check(at, bytes, flags, prot);

    if (error)
        return emu_error(error);
    for (size_t i = 0; !(flags & cudaHostRegisterReadOnly) && i < bytes; i += pin_page())
        host[i] = host[i]; /* pinned for writing */
    uint8_t *const device =
        flags & cudaHostRegisterMapped ? pin_device(static_cast<uint8_t *>(p), bytes) : NULL;
    if ((flags & cudaHostRegisterMapped) && !device)
        return emu_error(cudaErrorMemoryAllocation);
    pin_watch();
    pin_ranges[at] = pin_range{bytes, prot, device};
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *p)
{
    const auto at = pin_ranges.find(reinterpret_cast<uintptr_t>(p));

    if (at == pin_ranges.end())
        return emu_error(cudaErrorHostMemoryNotRegistered);
    cudaDeviceSynchronize();
    if (at->second.device)
        munmap(at->second.device - pin_page(), pin_padded(at->second.bytes) + 2 * pin_page());
    pin_ranges.erase(at);
    return cudaSuccess;
}

cudaError_t cudaHostGetDevicePointer(void **ret_device, void *p, unsigned flags)
{
    const auto at = pin_ranges.find(reinterpret_cast<uintptr_t>(p));

    if (at == pin_ranges.end() || !at->second.device || flags)
        return emu_error(cudaErrorInvalidValue);
    *ret_device = at->second.device;
    return cudaSuccess;
}

void emu_pin_hide(bool hidden)
{
    pin_hidden = hidden;
    for (const auto &range : pin_ranges)
        mprotect(reinterpret_cast<void *>(range.first), pin_padded(range.second.bytes),
                 hidden ? PROT_NONE : range.second.prot);
}
