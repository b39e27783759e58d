/* act.h - activations as the products want them: quantised once per phase, shared by all matrices that read
 * them.
 *
 * Rows come in tiles of ACT_TILE, interleaved block by block, so that one pass over a weight block finds its
 * rows at constant distances.  Rows past the last are never read back. ACT_K256  [tile][n_in / 256][ACT_TILE]
 * struct act256     ACT_B32  [tile][n_in / 32] struct act32 ACT_F32   [tile][n_in][ACT_TILE] f32 */
#pragma once

#include "panel.h"

enum { ACT_TILE = 8 };

/* 256 values: x = d q.  Sums of q over groups, in the order in which 16-bit pairs of scales come out of a
 * register of bytes: (0 2)(1 3)(4 6)(5 7)... */
struct act256 {
    int8_t q[256];
    int16_t sum32[8];
    int16_t sum16[16];
    float d;
    uint8_t pad[12]; /* to whole cache lines */
};
_Static_assert(sizeof(struct act256) == 320, "act256 is five cache lines");

struct act32 {
    int8_t q[ACT_TILE][32];
    float d[ACT_TILE];
    int32_t sum[ACT_TILE];
};
_Static_assert(sizeof(struct act32) == 320, "act32 is five cache lines");

/* Place of group g in sum32 and sum16. */
static inline int act_sum_place(int g)
{
    return (g & ~3) | (g & 1) << 1 | (g >> 1 & 1);
}

static inline size_t act_tile_bytes(enum act_kind kind, int n_in)
{
    switch (kind) {
    case ACT_K256:
        return (size_t)(n_in / 256) * ACT_TILE * sizeof(struct act256);
    case ACT_B32:
        return (size_t)(n_in / 32) * sizeof(struct act32);
    default:
        return (size_t)n_in * ACT_TILE * sizeof(float);
    }
}
