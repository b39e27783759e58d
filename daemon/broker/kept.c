/* kept.c - a sealed memfd, or memory of a GPU, and its description.  See kept.h. */
#include "kept.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "proto/wire.h"

/* Without these an engine that was taken over could change what the next one computes with. */
enum { KEPT_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

/* Memory of a GPU is an fd of its driver: a character device, without seals and of no size.  Whoever has it
 * could write to it, and that is we and each engine, which maps it read-only. */
static bool kept_is_sound(int fd, const Qwe__Weights *msg)
{
    const int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    if (fstat(fd, &st) < 0)
        return false;
    if (S_ISCHR(st.st_mode))
        return msg->bytes > 0;
    return seals >= 0 && (seals & KEPT_SEALS) == KEPT_SEALS && st.st_size > 0 &&
           (uint64_t)st.st_size == msg->bytes;
}

int kept_put(struct kept *kept, int *fd, Qwe__Weights **msg)
{
    if (!kept_is_sound(*fd, *msg))
        return KEPT_E_BAD;
    kept_drop(kept);
    *kept = (struct kept){.fd = steal_fd(fd), .msg = steal(msg)};
    return KEPT_OK;
}

void kept_drop(struct kept *kept)
{
    closep(&kept->fd);
    wire_free((ProtobufCMessage *)kept->msg);
    kept->msg = NULL;
}
