/* memfd.c - sealed memory.  See memfd.h. */
#include "memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int memfd_sealed(const char *name, const void *data, size_t n, int *ret_fd)
{
    _cleanup_(closep) int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return err_errno();
    for (size_t done = 0; done < n;) {
        const ssize_t k = write(fd, (const uint8_t *)data + done, n - done);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? err_errno() : err_origin(-EIO);
        done += (size_t)k;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return err_errno();
    *ret_fd = steal_fd(&fd);
    return 0;
}
