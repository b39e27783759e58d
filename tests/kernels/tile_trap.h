/* tile_trap.h - runs programs with AMX instructions on machines without: the processor does not know them,
 * and its SIGILL does them in C (tile_emu.h).  So what is tested is the object code that is installed.
 *
 * A program that links this has amx_is_usable() say yes: where AVX-512 is, the CPU backend then has "amx". On
 * a machine with AMX the same happens, since the kernel is not asked for leave to use it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tile_trap_counts { /* of all threads */
    uint64_t configures, releases, zeros, loads, stores, dots;
};

void tile_trap_install(void);
struct tile_trap_counts tile_trap_take_counts(void); /* since the last call */
bool tile_trap_is_configured(void);                  /* the calling thread's tiles */
