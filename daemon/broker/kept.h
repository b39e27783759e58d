/* kept.h - the weights' memory, kept while engines come and go.
 *
 * An engine that has loaded its model passes the sealed memory on; the next one gets it with its Start and
 * maps it instead of reading the file again.  What is in it the broker does not know: the engine compares
 * what they were made from with what it would make.  What a GPU reads in main memory is a second object,
 * which is kept with the first or not at all. */
#pragma once

#include "engine.pb-c.h"
#include "proto/base.h"

struct kept {
    int fd;            /* owned; -1: nothing is kept */
    int host_fd;       /* owned; the part in main memory, -1: there is none */
    Qwe__Weights *msg; /* owned; NULL: nothing is kept */
    int part_fd;       /* owned; a part whose weights are about to come, -1: none */
};

#define KEPT_INIT ((struct kept){.fd = -1, .host_fd = -1, .part_fd = -1})

enum { KEPT_OK, KEPT_E_BAD };
/* A part takes the fd if it is what it says: sealed, as large, and the only one. */
bool kept_is_part(const Qwe__Weights *msg);
int kept_put_part(struct kept *kept, int *fd, const Qwe__Weights *msg);
/* Takes both, and the part, if they are what they say.  Otherwise KEPT_E_BAD, and they stay the caller's. The
 * same of all three at once. */
int kept_put(struct kept *kept, int *fd, Qwe__Weights **msg);
int kept_put_whole(struct kept *kept, int *fd, int *host_fd, Qwe__Weights **msg);
void kept_drop_part(struct kept *kept); /* its weights will not come */
void kept_drop(struct kept *kept);      /* safe to call twice */
