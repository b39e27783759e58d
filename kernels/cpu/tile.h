/* tile.h - the words for AMX: eight tiles of up to sixteen rows of 64 bytes, and products of two into a
 * third.
 *
 * Instructions of our own, since gcc 12's intrinsics tell the compiler less than they do: it takes 8 of the
 * 64 bytes that _tile_loadconfig() reads for its input and _tile_loadd() for no reader of memory, and at -O2
 * leaves out the stores that both are there for.  Everything here is volatile and keeps its order, whatever
 * moves to or from memory orders all of memory, and a configuration is one operand of all its bytes.
 *
 * Tiles are numbers, constants where they are written.  A thread that has configured tiles releases them
 * before it does anything that may take long: until then the kernel saves 8 KiB more with each switch. */
#pragma once

#include <stdint.h>

struct tile_config {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16]; /* of tile i; from 8 on zero */
    uint8_t n_rows[16];
};
_Static_assert(sizeof(struct tile_config) == 64, "ldtilecfg reads 64 bytes");

static inline __attribute__((always_inline)) void tile_configure(const struct tile_config *config)
{
    __asm__ volatile("ldtilecfg %0" ::"m"(*config) : "memory");
}

static inline __attribute__((always_inline)) void tile_release(void)
{
    __asm__ volatile("tilerelease" ::: "memory");
}

#define TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm%c0" ::"i"(tile))
/* Row i is at base + offset + i stride; offset is a constant. */
#define TILE_LOAD(tile, base, offset, stride)                                                                \
    __asm__ volatile("tileloadd %c2(%0,%1,1), %%tmm%c3" ::"r"(base), "r"((int64_t)(stride)), "i"(offset),    \
                     "i"(tile)                                                                               \
                     : "memory")
#define TILE_STORE(tile, base, offset, stride)                                                               \
    __asm__ volatile("tilestored %%tmm%c3, %c2(%0,%1,1)" ::"r"(base), "r"((int64_t)(stride)), "i"(offset),   \
                     "i"(tile)                                                                               \
                     : "memory")
/* sum [i][j] += sum over quads k, bytes c of a[i][4 k + c] b[k][4 j + c]: int32, a signed, b unsigned or
 * signed */
#define TILE_DOT_SU(sum, a, b)                                                                               \
    __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(a), "i"(b))
#define TILE_DOT_SS(sum, a, b)                                                                               \
    __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(a), "i"(b))
