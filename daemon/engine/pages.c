/* pages.c - who holds which KV page.  See pages.h. */
#include "pages.h"

#include <assert.h>

int pages_init(struct pages *pages, int n)
{
    *pages = (struct pages){.n = n, .n_free = n};
    pages->free = calloc((size_t)n, sizeof(*pages->free));
    pages->refs = calloc((size_t)n, sizeof(*pages->refs));
    if (!pages->free || !pages->refs)
        return err_origin(-ENOMEM);
    for (int i = 0; i < n; i++)
        pages->free[i] = n - 1 - i;
    return 0;
}

void pages_deinit(struct pages *pages)
{
    free(pages->free);
    free(pages->refs);
    *pages = (struct pages){};
}

int32_t pages_take(struct pages *pages)
{
    int32_t page;

    assert(pages->n_free > 0);
    page = pages->free[--pages->n_free];
    pages->refs[page] = 1;
    pages->n_used = MAX(pages->n_used, page + 1);
    return page;
}

void pages_hold(struct pages *pages, int32_t page)
{
    assert(pages->refs[page] > 0);
    pages->refs[page]++;
}

void pages_drop(struct pages *pages, int32_t page)
{
    assert(pages->refs[page] > 0);
    if (--pages->refs[page] == 0)
        pages->free[pages->n_free++] = page;
}
