/* listener.h - the socket that clients connect to, and the door: who gets in at all.
 *
 * The socket comes from systemd (socket activation) or is bound here with mode 0666: who may do what is
 * decided by SO_PEERCRED, not by file permissions.  A socket file left by a dead daemon is replaced, a living
 * one's never is. */
#pragma once

#include <sys/stat.h>

#include "proto/base.h"

struct broker;
struct event;

enum { LISTENER_OK, LISTENER_E_BUSY, LISTENER_E_PATH };

struct listener {
    struct broker *broker; /* borrowed */
    int fd, spare_fd;      /* spare: given up for a moment to answer a client when no fd is left */
    struct event *readable, *retry;
    char *path;      /* owned; NULL: systemd's socket, not ours to remove */
    struct stat own; /* of the file that was bound, so that another daemon's is not removed */
};

int listener_open(struct broker *broker, const char *path, struct listener *ret_listener,
                  struct fault *fault);
void listener_close(struct listener *listener);
