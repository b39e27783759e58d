/* main.c - gpu_driver: runs a backend through kernels.h and says what came out.  See gpu.h.
 *
 * usage: gpu_driver BACKEND VERB ...; GPU_USAGE has the verbs */
#include "gpu.h"

#include <stdio.h>
#include <string.h>

#define GPU_USAGE                                                                                            \
    "usage: gpu_driver BACKEND ops [--large]\n"                                                              \
    "       gpu_driver BACKEND model MODEL.gguf CASES LOGITS.f32 [host]\n"                                   \
    "       gpu_driver BACKEND keep\n"                                                                       \
    "       gpu_driver BACKEND speed MODEL.gguf PREFILL CONTEXT DECODE [DEEP]\n"                             \
    "       gpu_driver BACKEND profile MODEL.gguf decode|prefill ROWS CONTEXT\n"                             \
    "       gpu_driver cpu host MODEL.gguf PREFILL\n"

static const struct {
    const char *name;
    int (*run)(const char *backend, int argc, char **argv);
} verbs[] = {
    {"ops", gpu_ops},     {"model", gpu_model},     {"keep", gpu_keep},
    {"speed", gpu_speed}, {"profile", gpu_profile}, {"host", gpu_host},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 2 && i < ARRAY_SIZE(verbs); i++)
        if (!strcmp(verbs[i].name, argv[2]))
            return verbs[i].run(argv[1], argc - 2, argv + 2);
    fputs(GPU_USAGE, stderr);
    return 2;
}
