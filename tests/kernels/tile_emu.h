/* tile_emu.h - AMX done in C, and stricter than the processor: for machines that have none.
 *
 * A tile holds nothing until it is loaded or zeroed, also after a configuration, which in hardware zeroes it.
 * Each function returns NULL, or what a processor would fault on, or what only luck would let pass.
 * Dimensions and faults: Intel's instruction set reference, by the pseudo-code of each instruction. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct tile_emu { /* of one thread; all zero: not configured */
    uint8_t palette;
    uint8_t n_rows[8];
    uint16_t row_bytes[8];
    uint8_t is_set; /* bit i: tile i */
    uint8_t data[8][16][64];
};

const char *tile_emu_configure(struct tile_emu *emu, const uint8_t config[64]);
void tile_emu_release(struct tile_emu *emu);
const char *tile_emu_zero(struct tile_emu *emu, int tile);
const char *tile_emu_load(struct tile_emu *emu, int tile, const uint8_t *base, int64_t stride);
const char *tile_emu_store(const struct tile_emu *emu, int tile, uint8_t *base, int64_t stride);
const char *tile_emu_dot(struct tile_emu *emu, int sum, int a, int b, int a_signed, int b_signed);
