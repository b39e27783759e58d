/* place.h - whether the table of embeddings lies on the device or in main memory that the device reads:
 * decided before a tensor is read, from what was asked for and what is free.
 *
 * A step reads a few rows of it, over a bus that is slow and fast enough for that; what it leaves free is for
 * sequences.  So it goes where all is on one side, if all fits there. */
#pragma once

#include "daemon/model/weights.h"

struct place {
    const char *wanted;       /* borrowed; auto, device or host; NULL, "": auto */
    struct weights_size size; /* of the weights, as the backend packs them */
    uint64_t need_bytes;      /* of the device, for the sequences and the cache that were asked for */
    uint64_t free_bytes;      /* of the device */
    uint64_t main_bytes;      /* of main memory, that may be taken */
    int host_copies;          /* as the backend has them */
    const char *no_host;
    enum weights_table table; /* what place_choose() decided */
};

enum {
    PLACE_OK,
    PLACE_E_CANNOT
}; /* what is wanted is no such word, or cannot be; the fault has the numbers */
int place_choose(struct place *place, struct fault *fault);
bool place_is_auto(const struct place *place);
/* " (weights take 5357 MiB, or 4812 with ...)": for a fault that says that it did not fit. */
void place_describe(const struct place *place, char *text, size_t n);
