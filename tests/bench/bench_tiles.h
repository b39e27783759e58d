/* bench_tiles.h - what the CPU backend does beside the products of AMX tiles, measured where there are no
 * tiles.
 *
 *     bench_tiles [REPS]
 *
 * One item as cpu_mm.c cuts them, 512 rows with 16 panels of 4,096 k, on one thread: nanoseconds of each part
 * of mm_tile.h per step (32 rows with one block of one panel, 16 products of tiles), the fastest of REPS, and
 * what AVX-512 VNNI makes of the same item.  The products' own time is a matter of counting:
 * docs/BENCHMARKS.md. */
#pragma once

int bench_tiles(int reps); /* only where AVX-512 is; the exit status */
