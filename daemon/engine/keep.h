/* keep.h - weights that outlive the engine: what the broker is told of them, and whether those of an earlier
 * engine are what this one would make of the file.
 *
 * The memory is sealed, so nobody can have changed it; what has to be compared is where it came from (the
 * file), what it is to be used with (the file's header, the numerics) and how it is laid out (who packed it).
 */
#pragma once

#include "daemon/model/gguf.h"
#include "engine.pb-c.h"
#include "kernels/kernels.h"

struct keep {
    Qwe__Weights
        msg; /* but for bytes and model_digest; borrows from below, from the path and from the kern */
    uint8_t header_digest[32];
    char layout[128];
};

int keep_describe(const struct gguf *gguf, const char *path, const struct kern *kern, struct keep *keep);

/* KEEP_E_DIFFERS: the fault says in what, and names both. */
enum { KEEP_OK, KEEP_E_DIFFERS };
/* Whether kern's backend packed them: what they take of its device is free for others once they are let go.
 */
bool keep_is_of(const Qwe__Weights *kept, const struct kern *kern);
int keep_compare(const Qwe__Weights *kept, const struct keep *here, struct fault *fault);
