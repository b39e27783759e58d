/* kept.h - the weights' memory, kept while engines come and go.
 *
 * An engine that has loaded its model passes the sealed memory on; the next one gets it with its Start and
 * maps it instead of reading the file again.  What is in it the broker does not know: the engine compares
 * what they were made from with what it would make. */
#pragma once

#include "engine.pb-c.h"
#include "proto/base.h"

struct kept {
    int fd;            /* owned; -1: nothing is kept */
    Qwe__Weights *msg; /* owned; NULL likewise */
};

#define KEPT_INIT ((struct kept){.fd = -1})

/* Takes both if it is what it says: sealed, and as large.  Otherwise KEPT_E_BAD, and they stay the caller's.
 */
enum { KEPT_OK, KEPT_E_BAD };
int kept_put(struct kept *kept, int *fd, Qwe__Weights **msg);
void kept_drop(struct kept *kept); /* safe to call twice */
