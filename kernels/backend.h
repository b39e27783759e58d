/* backend.h - what each backend offers kernels.c: its name and how to open it.  Internal to kernels/. */
#pragma once

#include "kernels.h"

struct backend {
    const char *name;
    /* As kern_open(); options->backend is this backend, or "auto". */
    int (*open)(const struct kern_options *options, struct fault *fault, struct kern **ret_kern);
    bool is_auto; /* tried in table order for "auto" */
};

extern const struct backend kern_cuda_backend; /* only in programs that link kernels/cuda */

int ref_open(const struct kern_options *options, struct fault *fault, struct kern **ret_kern);
int cpu_open(const struct kern_options *options, struct fault *fault, struct kern **ret_kern);
