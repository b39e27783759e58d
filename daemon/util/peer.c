/* peer.c - the kernel's word on a peer.  See peer.h. */
#include "peer.h"

#include <sys/socket.h>

int peer_read(int fd, struct peer *ret_peer)
{
    struct ucred cred;
    socklen_t n = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
        return err_errno();
    *ret_peer = (struct peer){.uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
    return 0;
}

bool peer_in_group(int fd, const struct peer *peer, gid_t gid)
{
    _cleanup_(freep) gid_t *groups = NULL;
    socklen_t n = 0;

    if (peer->gid == gid)
        return true;
    /* With no room the kernel answers ERANGE and the size it wants (at most NGROUPS_MAX = 65536 groups). */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &n) == 0 || errno != ERANGE || !n)
        return false;
    groups = malloc(n);
    if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) < 0)
        return false;
    for (size_t i = 0; i < n / sizeof(*groups); i++)
        if (groups[i] == gid)
            return true;
    return false;
}
