/* kept.c - a sealed memfd, or memory of a GPU, and its description.  See kept.h. */
#include "kept.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "proto/wire.h"

/* Without these an engine that was taken over could change what the next one computes with. */
enum { KEPT_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static bool kept_is_sealed(int fd, uint64_t bytes)
{
    const int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    return seals >= 0 && (seals & KEPT_SEALS) == KEPT_SEALS && fstat(fd, &st) == 0 && st.st_size > 0 &&
           (uint64_t)st.st_size == bytes;
}

/* Memory of a GPU is an fd of its driver: a character device, without seals and of no size.  Whoever has it
 * could write to it, and that is we and each engine, which maps it read-only. */
static bool kept_is_sound(int fd, const Qwe__Weights *msg)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode))
        return msg->bytes > 0;
    return kept_is_sealed(fd, msg->bytes);
}

bool kept_is_part(const Qwe__Weights *msg)
{
    return !msg->bytes && msg->host_bytes;
}

int kept_put_part(struct kept *kept, int *fd, const Qwe__Weights *msg)
{
    if (kept->part_fd >= 0 || !kept_is_sealed(*fd, msg->host_bytes))
        return KEPT_E_BAD;
    kept->part_fd = steal_fd(fd);
    return KEPT_OK;
}

int kept_put_whole(struct kept *kept, int *fd, int *host_fd, Qwe__Weights **msg)
{
    const uint64_t host_bytes = (*msg)->host_bytes;

    if (!kept_is_sound(*fd, *msg) || (host_bytes != 0) != (*host_fd >= 0) ||
        (host_bytes && !kept_is_sealed(*host_fd, host_bytes)))
        return KEPT_E_BAD;
    kept_drop(kept);
    *kept = (struct kept){.fd = steal_fd(fd), .host_fd = steal_fd(host_fd), .msg = steal(msg), .part_fd = -1};
    return KEPT_OK;
}

int kept_put(struct kept *kept, int *fd, Qwe__Weights **msg)
{
    int part = steal_fd(&kept->part_fd);
    const int r = kept_put_whole(kept, fd, &part, msg);

    closep(&part);
    return r;
}

void kept_drop_part(struct kept *kept)
{
    closep(&kept->part_fd);
}

void kept_drop(struct kept *kept)
{
    closep(&kept->fd);
    closep(&kept->host_fd);
    closep(&kept->part_fd);
    wire_free((ProtobufCMessage *)kept->msg);
    kept->msg = NULL;
}
