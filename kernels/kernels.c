/* kernels.c - opens a backend by name; the only file with CUDA behind an #ifdef.  See kernels.h. */
#include "kernels.h"

#include <stdio.h>
#include <string.h>

#include "backend.h"

static const struct backend kern_backend_cpu = {"cpu", cpu_open, true};
static const struct backend kern_backend_ref = {"ref", ref_open, false};

/* KERN_CUDA: this program links kernels/cuda, for a GPU or, in tests, for the emulation of one. */
static const struct backend *const backends[] = {
#ifdef KERN_CUDA
    &kern_cuda_backend,
#endif
    &kern_backend_cpu,
    &kern_backend_ref,
};

/* Why the better one was passed over stays in the fault. */
static int kern_open_auto(const struct kern_options *options, struct fault *fault, struct kern **ret_kern)
{
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
        if (!backends[i]->is_auto)
            continue;
        r = backends[i]->open(options, fault, ret_kern);
        if (r == 0)
            return 0;
    }
    return r ? r : fault_set(fault, KERN_E_BACKEND, "no backend of this build can be chosen by \"auto\"");
}

int kern_open(const struct kern_options *options, struct fault *fault, struct kern **ret_kern)
{
    char names[64] = "auto";

    if (!strcmp(options->backend, "auto"))
        return kern_open_auto(options, fault, ret_kern);
    for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
        if (!strcmp(backends[i]->name, options->backend))
            return backends[i]->open(options, fault, ret_kern);
        const size_t n = strlen(names);
        snprintf(names + n, sizeof(names) - n, ", %s", backends[i]->name);
    }
    return fault_set(fault, KERN_E_BACKEND, "no backend \"%s\"; this build has: %s", options->backend, names);
}

struct kern *kern_free(struct kern *kern)
{
    if (kern)
        kern->ops->free(kern);
    return NULL;
}
