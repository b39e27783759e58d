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

int peer_read_groups(int fd, gid_t **ret_groups, size_t *ret_n)
{
    gid_t *groups;
    socklen_t n = 0;

    *ret_groups = NULL;
    *ret_n = 0;
    /* With no room the kernel answers ERANGE and the size it wants (at most NGROUPS_MAX = 65536 groups). */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &n) == 0 || errno != ERANGE || !n)
        return 0;
    groups = malloc(n);
    if (!groups)
        return err_origin(-ENOMEM);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) < 0)
        n = 0;
    *ret_groups = groups;
    *ret_n = n / sizeof(*groups);
    return 0;
}

bool peer_in_group(int fd, const struct peer *peer, gid_t gid)
{
    _cleanup_(freep) gid_t *groups = NULL;
    size_t n = 0;

    if (peer->gid == gid)
        return true;
    if (peer_read_groups(fd, &groups, &n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (groups[i] == gid)
            return true;
    return false;
}
