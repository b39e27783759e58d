/* hostmem.c - weights in a sealed memfd, state in anonymous memory.  See hostmem.h. */
#include "hostmem.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE /* a C library older than the kernel */
#define MADV_COLLAPSE 25
#endif

enum { HOSTMEM_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static const char hostmem_huge_path[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/* Huge pages save a tenth of the time that one row takes; where the system forbids them, small ones do. */
static void hostmem_advise(void *base, size_t bytes)
{
    (void)madvise(base, bytes, MADV_HUGEPAGE);
}

/* Does a memfd get huge pages where they are asked for?  The file has the chosen word in brackets. */
static bool hostmem_has_huge(void)
{
    _cleanup_(closep) int fd = open(hostmem_huge_path, O_RDONLY | O_CLOEXEC);
    char text[128] = "";

    return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && !strstr(text, "[never]") &&
           !strstr(text, "[deny]");
}

/* Addresses for bytes that begin where a huge page can. */
static int hostmem_reserve(size_t bytes, uint8_t **ret_base)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), need = ROUND_UP(bytes, page);
    const size_t all = need + KERN_HUGE_BYTES;
    uint8_t *from = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *base;

    if (from == MAP_FAILED)
        return err_errno();
    base = from + (ROUND_UP((uintptr_t)from, (uintptr_t)KERN_HUGE_BYTES) - (uintptr_t)from);
    if (base > from)
        munmap(from, (size_t)(base - from));
    if (from + all > base + need)
        munmap(base + need, (size_t)(from + all - (base + need)));
    *ret_base = base;
    return 0;
}

/* How a sealed object is mapped.  MAP_PRIVATE because kernels before 6.7 refuse MAP_SHARED of a write-sealed
 * memfd whose fd is writable; never written, a private map shows the very same pages. */
enum { HOSTMEM_SEALED_PROT = PROT_READ, HOSTMEM_SEALED_MAP = MAP_PRIVATE };

/* At a reserved range. */
static int hostmem_map_at(int fd, size_t bytes, int prot, int flags, uint8_t *base)
{
    if (mmap(base, bytes, prot, flags | MAP_FIXED, fd, 0) == MAP_FAILED)
        return err_errno();
    hostmem_advise(base, bytes);
    return 0;
}

static int hostmem_map(int fd, size_t bytes, int prot, int flags, uint8_t **ret_base)
{
    int r = hostmem_reserve(bytes, ret_base);

    if (r < 0)
        return r;
    r = hostmem_map_at(fd, bytes, prot, flags, *ret_base);
    if (r < 0)
        munmap(*ret_base, bytes);
    return r;
}

/* Pins what mem holds, page tables included, so that no step ever faults.  Without the right to
 * (RLIMIT_MEMLOCK), the pages are at least mapped now. */
static bool hostmem_lock(const uint8_t *base, size_t bytes)
{
    if (mlock2(base, bytes, 0) == 0)
        return true;
    (void)madvise((void *)base, bytes, MADV_POPULATE_READ);
    return false;
}

static int hostmem_alloc_weights(size_t bytes, struct kern_mem *ret_mem)
{
    _cleanup_(closep) int fd = -1;
    uint8_t *base;
    int r;

    fd = memfd_create("qwend-weights", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        return err_errno();
    r = hostmem_map(fd, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, &base);
    if (r < 0)
        return r;
    *ret_mem =
        (struct kern_mem){.base = base, .bytes = bytes, .fd = steal_fd(&fd), .huge = hostmem_has_huge()};
    return 0;
}

int hostmem_alloc(struct kern *kern _unused_, size_t bytes, enum kern_mem_use use, struct kern_mem *ret_mem)
{
    void *base;

    if (bytes == 0 || bytes > PTRDIFF_MAX)
        return err_origin(-EINVAL);
    if (use != KERN_MEM_STATE)
        return hostmem_alloc_weights(bytes, ret_mem);
    base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return err_errno();
    hostmem_advise(base, bytes);
    *ret_mem = (struct kern_mem){.base = base, .bytes = bytes, .fd = -1};
    return 0;
}

int hostmem_check_fd(int fd, size_t bytes)
{
    const int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    if (seals < 0 || fstat(fd, &st) < 0)
        return err_errno();
    if ((seals & HOSTMEM_SEALS) != HOSTMEM_SEALS)
        return err_origin(-EPERM);
    if (bytes == 0 || st.st_size < 0 || (uint64_t)st.st_size != bytes)
        return err_origin(-EMSGSIZE);
    return 0;
}

int hostmem_adopt(struct kern *kern _unused_, int fd_taken, size_t bytes, enum kern_mem_use use _unused_,
                  struct kern_mem *ret_mem)
{
    _cleanup_(closep) int fd = fd_taken;
    uint8_t *base = NULL;
    int r = hostmem_check_fd(fd, bytes);

    if (r < 0)
        return r;
    r = hostmem_map(fd, bytes, HOSTMEM_SEALED_PROT, HOSTMEM_SEALED_MAP, &base);
    if (r < 0)
        return r;
    *ret_mem = (struct kern_mem){.base = base, .bytes = bytes, .locked = hostmem_lock(base, bytes)};
    ret_mem->fd = steal_fd(&fd);
    return 0;
}

int hostmem_seal_fd(int fd)
{
    return fcntl(fd, F_ADD_SEALS, HOSTMEM_SEALS | F_SEAL_SEAL) < 0 ? err_errno() : 0;
}

/* The writable map must be gone before F_SEAL_WRITE; a PROT_NONE map keeps its addresses, for matrices point
 * into them. */
int hostmem_seal(struct kern *kern _unused_, struct kern_mem *mem)
{
    void *held;
    int r;

    if (mem->fd < 0)
        return err_origin(-EINVAL);
    held = mmap(mem->base, mem->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
                0);
    if (held == MAP_FAILED)
        return err_errno();
    r = hostmem_seal_fd(mem->fd);
    if (r < 0)
        return r;
    r = hostmem_map_at(mem->fd, mem->bytes, HOSTMEM_SEALED_PROT, HOSTMEM_SEALED_MAP, mem->base);
    if (r < 0)
        return r;
    mem->locked = hostmem_lock(mem->base, mem->bytes);
    return 0;
}

void hostmem_free(struct kern *kern _unused_, struct kern_mem *mem)
{
    if (!mem->base)
        return;
    munmap(mem->base, mem->bytes);
    closep(&mem->fd);
    *mem = (struct kern_mem){.fd = -1};
}

/* Without it (before Linux 5.14, or where memory is short) the first use does. */
void hostmem_populate(struct kern *kern _unused_, void *at, size_t bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t from = (uintptr_t)at & ~(page - 1), to = ROUND_UP((uintptr_t)at + bytes, page);

    (void)madvise((void *)from, to - from, MADV_POPULATE_WRITE);
}

/* Not bound by shmem_enabled, but for "deny".  Linux 6.1 and later. */
int hostmem_make_huge(struct kern *kern _unused_, const struct kern_mem *mem, size_t at)
{
    int r;

    if (mem->fd < 0 || at % KERN_HUGE_BYTES || at + KERN_HUGE_BYTES > mem->bytes)
        return err_origin(-EOPNOTSUPP);
    if (madvise(mem->base + at, KERN_HUGE_BYTES, MADV_COLLAPSE) == 0)
        return 0;
    r = -errno;
    return err_origin(r == -EAGAIN || r == -EBUSY || r == -ENOMEM ? -EAGAIN : -EOPNOTSUPP);
}

int hostmem_copy_in(struct kern *kern _unused_, void *dst, const void *src_host, size_t bytes)
{
    if (bytes)
        memcpy(dst, src_host, bytes);
    return 0;
}

int hostmem_copy_out(struct kern *kern _unused_, void *dst_host, const void *src, size_t bytes)
{
    if (bytes)
        memcpy(dst_host, src, bytes);
    return 0;
}

int hostmem_clear(struct kern *kern _unused_, void *dst, size_t bytes)
{
    if (bytes)
        memset(dst, 0, bytes);
    return 0;
}

int hostmem_copy(struct kern *kern _unused_, void *dst, const void *src, size_t bytes)
{
    if (bytes)
        memcpy(dst, src, bytes);
    return 0;
}
