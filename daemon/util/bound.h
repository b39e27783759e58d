/* bound.h - a Unix socket of our own at a path: bound, listening, and removed again.
 *
 * Everybody may connect (mode 0666): who may do what is decided by SO_PEERCRED, not by file permissions.  A
 * socket file left by a dead daemon is replaced, a living one's never is. */
#pragma once

#include <sys/stat.h>

#include "proto/base.h"

enum { BOUND_OK, BOUND_E_BUSY, BOUND_E_PATH };

struct bound {
    int fd;          /* owned; listening, non-blocking; -1: none */
    char *path;      /* owned; NULL: not ours to remove */
    struct stat own; /* of the file that was bound, so that another daemon's is not removed */
};
#define BOUND_NULL ((struct bound){.fd = -1})

int bound_open(struct bound *ret_bound, const char *path, int backlog, struct fault *fault);
void bound_close(struct bound *bound); /* safe to call twice */
