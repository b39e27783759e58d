/* peer.h - who is at the other end of a Unix socket, as the kernel says: nothing that a client sends can
 * change it. */
#pragma once

#include <sys/types.h>

#include "proto/base.h"

struct peer {
    uid_t uid; /* as of connect() (SO_PEERCRED) */
    gid_t gid;
    pid_t pid; /* for people to read; may have been reused since */
};

int peer_read(int fd, struct peer *ret_peer);

/* The peer's supplementary groups (SO_PEERGROUPS, Linux 4.13; none before), to be freed.  -ENOMEM. */
int peer_read_groups(int fd, gid_t **ret_groups, size_t *ret_n);

/* True if gid is the peer's own group or one of its supplementary ones. */
bool peer_in_group(int fd, const struct peer *peer, gid_t gid);
