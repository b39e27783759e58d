/* step.h - one step as the kernels see it: struct kern_batch, flattened and copied to the device.
 *
 * All of it lies in device memory that is allocated once, so that a captured graph stays good when lengths,
 * slots and pages change.  Host code that sizes a grid has the same numbers in struct kern_batch. */
#pragma once

#include <stdint.h>

/* Spans of up to so many rows are decode (with drafts to verify): a row gives the same bits there as alone.
 * Longer ones are prefill, where the mixers compute in tiles and chunks. */
enum { KERN_CUDA_SHORT = 16 };

struct kern_cuda_span { /* consecutive rows of one sequence; see struct kern_span */
    int32_t row0, n_tok, pos0, slot;
    int32_t page0; /* position p of the sequence lies in page pages[page0 + p / KERN_PAGE_TOK] */
};

/* Everything on the device, borrowed. */
struct kern_cuda_step {
    const int32_t
        *n; /* [2] rows and spans of this step: a graph is captured for a bucket and may have more blocks */
    const struct kern_cuda_span *spans; /* [n[1]] in row order */
    const int32_t *row_span;            /* [n[0]] which span a row belongs to */
    const int32_t *pages;
    const int32_t *ids; /* [n[0]] */
};
