/* backend.h - what each backend offers kernels.c: how to open it.  Internal to kernels/. */
#pragma once

#include "kernels.h"

/* As kern_open(); options->backend is this backend. */
int ref_open(const struct kern_options *options, struct fault *fault, struct kern **ret_kern);
int cpu_open(const struct kern_options *options, struct fault *fault, struct kern **ret_kern);
