/* lsp_link.c - the connection to the daemon, which may be stopped and started under a running editor.  See
 * lsp.h.
 *
 * The user is told once that there is none; whatever he does next tries again, and what works again needs no
 * words. */
#include <string.h>

#include "lsp.h"
#include "tick.h"

enum { LSP_RETRY_MS = 250 }; /* between two tries: a key is not worth more than four connect() a second */

qwend *lsp_link_get(struct lsp *lsp)
{
    struct lsp_link *link = &lsp->link;
    int r;

    if (link->q)
        return link->q;
    if (tick_ns() < link->retry_ns)
        return NULL;
    r = qwend_open_as(&link->q, link->socket, QWEND_NONBLOCK, "qwenctl lsp");
    if (!r) {
        link->told = lsp->fill.unable = false; /* perhaps another model */
        return link->q;
    }
    link->q = NULL;
    link->retry_ns = tick_ns() + LSP_RETRY_MS * 1000000ull;
    if (!link->told)
        lsp_show(lsp, LSP_WARNING, "qwend: %s", qwend_error(NULL));
    link->told = true;
    return NULL;
}

void lsp_link_lost(struct lsp *lsp)
{
    lsp_fill_on_lost(lsp);
    lsp_task_on_lost(lsp);
    qwend_close(lsp->link.q);
    lsp->link.q = NULL;
}
