/* scrape.h - the metrics socket: who may read them gets the whole text at once and is closed; everybody else
 * is closed without a byte.
 *
 * Nothing is kept for a reader: what the socket's buffer does not take at once is dropped, and the connection
 * with it, so a slow one holds nothing but its own buffer. */
#pragma once

#include <sys/types.h>

#include "daemon/util/bound.h"
#include "proto/buf.h"

struct broker;
struct event;
struct peer;

enum { SCRAPE_UIDS_MAX = 16 };
#define SCRAPE_PATH_DEFAULT "/run/qwend/metrics.sock"

struct scrape {
    struct broker *broker; /* borrowed */
    struct bound bound;    /* fd -1: there is no metrics socket */
    struct event *readable, *retry;
    struct buf text;
    uid_t uids[SCRAPE_UIDS_MAX]; /* of metrics_allow */
    size_t n_uids;
};

/* "prometheus, 1007": names are looked up now and never again.  0, or BROKER_E_START with the fault. */
int scrape_read_uids(const char *list, uid_t uids[SCRAPE_UIDS_MAX], size_t *ret_n, struct fault *fault);

int scrape_open(struct broker *broker, struct scrape *ret_scrape, struct fault *fault);
void scrape_close(struct scrape *scrape); /* also of one that is all zero but fd -1 */
