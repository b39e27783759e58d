/* mutate_gguf.h - a GGUF file that opens, changed in its structure, for fuzz_gguf.
 *
 * Random bytes hardly ever give a file that opens.  This takes one that does apart into keys and tensors,
 * changes a few of them, and writes it again, mostly with lengths and offsets that fit. */
#pragma once

#include <stddef.h>

#include "gen.h"

/* data [n_max] holds a file of n bytes; returns how many bytes the changed one has, at least 1, or 0: it does
 * not open, or has more entries than real files, and is as it was. */
size_t mutate_gguf(struct gen *gen, uint8_t *data, size_t n, size_t n_max);
