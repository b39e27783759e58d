/* random_blocks.h - random blocks of a weight type whose values are spread as a trained model's are. */
#pragma once

#include "kernels/quant.h"

enum fill {
    FILL_MATRIX, /* mean 0, deviation 1 / sqrt(n_in): the product of a unit vector is about a unit vector */
    FILL_NORM,   /* 0.9 .. 1.1 */
    FILL_CONV,   /* -0.5 .. 0.5 */
    FILL_DECAY,  /* ssm_a: -8 .. -0.5 */
    FILL_DT,     /* ssm_dt.bias: -6 .. -2, so that a step forgets from a per mille to most of the state */
};

struct random_source {
    uint64_t s[4];
};
void random_init(struct random_source *r, uint64_t seed);
bool random_can_fill(enum quant_type type);
/* All but FILL_MATRIX are F32. */
void random_blocks(struct random_source *r, enum quant_type type, enum fill fill, int n_in, size_t n_blocks,
                   uint8_t *dst);
