/* step.cuh - blocks that are numbered through all spans of a step find theirs. */
#pragma once

#include "dev.cuh"
#include "step.h"

/* The span whose block number *block is, when each has as many as N::of(span) says; *block: among its own.
 * -1: there are less.  A lane looks at a span: one after another they would cost a memory latency each. */
template <class N>
KERN_CUDA_FN int step_find(const struct kern_cuda_step *step, N count, int *block)
{
    const int lane = (int)threadIdx.x % KC_WARP, n_span = step->n[1];

    for (int i0 = 0; i0 < n_span; i0 += KC_WARP) {
        const int n = i0 + lane < n_span ? count.of(step->spans[i0 + lane]) : 0;
        int end = n; /* blocks up to and with this lane's span */
#pragma unroll
        for (int m = 1; m < KC_WARP; m *= 2) {
            const int before = __shfl_up_sync(KC_ALL_LANES, end, (unsigned)m);
            end += lane >= m ? before : 0;
        }
        const unsigned past = __ballot_sync(KC_ALL_LANES, *block < end);
        const int owner = past ? __ffs((int)past) - 1 : KC_WARP - 1;
        const int first = __shfl_sync(KC_ALL_LANES, past ? end - n : end, owner);
        *block -= first;
        if (past)
            return i0 + owner;
    }
    return -1;
}
