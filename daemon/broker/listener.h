/* listener.h - the socket that clients connect to, and the door: who gets in at all.
 *
 * The socket comes from systemd (socket activation) or is bound here (bound.h). */
#pragma once

#include "daemon/util/bound.h"

struct broker;
struct event;

struct listener {
    struct broker *broker; /* borrowed */
    struct bound bound;    /* without a path: systemd's socket */
    int spare_fd;          /* given up for a moment to answer a client when no fd is left */
    struct event *readable, *retry;
};

int listener_open(struct broker *broker, const char *path, struct listener *ret_listener,
                  struct fault *fault);
void listener_close(struct listener *listener);
