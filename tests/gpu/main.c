/* main.c - gpu_driver: runs a backend through kernels.h and says what came out.  See gpu.h.
 *
 * usage: gpu_driver BACKEND ops [--large] */
#include "gpu.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(const char *backend, int argc, char **argv);
} verbs[] = {
    {"ops", gpu_ops},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 2 && i < ARRAY_SIZE(verbs); i++)
        if (!strcmp(verbs[i].name, argv[2]))
            return verbs[i].run(argv[1], argc - 2, argv + 2);
    fputs("usage: gpu_driver BACKEND ops [--large]\n", stderr);
    return 2;
}
