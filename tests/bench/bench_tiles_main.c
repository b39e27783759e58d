/* bench_tiles_main.c - runs bench_tiles.h where it can; compiled for any machine. */
#include <stdio.h>
#include <stdlib.h>

#include "bench_tiles.h"

enum { SKIPPED = 77 }; /* as Meson has it */

int main(int argc, char **argv)
{
    const int reps = argc > 1 ? atoi(argv[1]) : 20;

    if (reps < 1 || argc > 2) {
        fputs("usage: bench_tiles [REPS]\n", stderr);
        return 2;
    }
    if (!__builtin_cpu_supports("avx512vnni") || !__builtin_cpu_supports("avx512dq"))
        return SKIPPED;
    return bench_tiles(reps);
}
