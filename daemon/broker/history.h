/* history.h - the Deltas of a detachable request, for whoever attaches to it later.
 *
 * All of them up to HISTORY_BYTES_MAX, charged to the uid; beyond that, or when the uid may hold no more, the
 * oldest are given up while somebody reads, and the request waits while nobody does. */
#pragma once

#include "proto/buf.h"
#include "quota.h"
#include "qwend.pb-c.h"

enum {
    HISTORY_BYTES_MAX = 1 << 20, /* some 30,000 tokens */
    /* After a restart: as much again as a connection's output and what was held had, since nobody knows how
     * much of it was read. */
    HISTORY_RESTORED_BYTES_MAX = 4 << 20,
};

struct history {
    struct buf buf;     /* struct history_head and Delta body, each, oldest first */
    uint64_t first_seq; /* of the oldest; of the next one if there is none */
    size_t sent;        /* bytes of buf that the present reader was sent */
    struct quota_charge charge;
};

#define HISTORY_INIT ((struct history){.buf = BUF_INIT(HISTORY_BYTES_MAX)})
void history_deinit(struct history *history);

/* The Delta that follows the last one.  keep: HISTORY_E_FULL rather than give up an older one. */
enum { HISTORY_OK, HISTORY_E_FULL };
int history_put(struct history *history, struct quota *quota, uint64_t owner, const Qwp__Delta *delta,
                bool keep);

/* The reader has all before seq.  False: it asks for one that is not kept, or does not exist yet. */
bool history_seek(struct history *history, uint64_t seq, uint64_t next_seq);

/* The oldest that was not sent: 0; HISTORY_E_END: all were; < 0. */
enum { HISTORY_E_END = 1 };
int history_peek(const struct history *history, Qwp__Delta **ret_delta); /* to be freed with wire_free() */
void history_advance(struct history *history);
static inline bool history_is_sent(const struct history *history)
{
    return history->sent == buf_size(&history->buf);
}
