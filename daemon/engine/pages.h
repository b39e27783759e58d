/* pages.h - who holds which KV page.
 *
 * A page is KERN_PAGE_TOK positions of the keys and values of all layers.  It is written by the one sequence
 * that took it, and only at positions that nobody else reads: whoever else holds it (the prefix cache,
 * sequences that begin with the same tokens) reads what was written before they took theirs. */
#pragma once

#include "kernels/kernels.h"

struct pages {
    int n, n_free, n_used; /* n_used: all that were ever taken lie below */
    int32_t *free;         /* [n] a stack: the last one given back is the next one taken */
    int32_t *refs;         /* [n] holders; 0: free */
};

int pages_init(struct pages *pages, int n); /* 0, -ENOMEM; deinit in either case */
void pages_deinit(struct pages *pages);

int32_t pages_take(struct pages *pages);            /* one that nobody holds; there must be one */
void pages_hold(struct pages *pages, int32_t page); /* one holder more */
void pages_drop(struct pages *pages, int32_t page); /* one less; the last one frees it */
