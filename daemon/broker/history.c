/* history.c - packed Deltas in one buffer.  See history.h. */
#include "history.h"

#include <string.h>

#include "proto/wire.h"

struct history_head {
    uint32_t n_body;
};

void history_deinit(struct history *history)
{
    buf_deinit(&history->buf);
    quota_release(&history->charge);
}

static size_t history_entry_bytes(const struct history *history, size_t at)
{
    struct history_head head;

    memcpy(&head, buf_head(&history->buf) + at, sizeof(head));
    return sizeof(head) + head.n_body;
}

static void history_drop_oldest(struct history *history)
{
    const size_t n = history_entry_bytes(history, 0);

    buf_consume(&history->buf, n);
    history->sent -= MIN(n, history->sent);
    history->first_seq++;
}

/* Charges what buf.c takes: it doubles. */
static int history_charge(struct history *history, struct quota *quota, uint64_t owner, size_t n)
{
    uint64_t cap = 4096;

    while (cap < buf_size(&history->buf) + n)
        cap *= 2;
    cap = MAX(MIN(cap, (uint64_t)history->buf.max), (uint64_t)history->buf.cap);
    if (history->charge.user)
        return cap > history->charge.amount ? quota_resize(&history->charge, cap) : QUOTA_OK;
    return quota_charge(quota, owner, QUOTA_BYTES, cap, &history->charge);
}

static void history_forget(struct history *history, uint64_t next_seq)
{
    history_deinit(history);
    history->first_seq = next_seq;
    history->sent = 0;
}

static void history_append(struct history *history, uint8_t *tail, const Qwp__Delta *delta, size_t n)
{
    const struct history_head head = {.n_body = (uint32_t)(n - sizeof(head))};
    const bool all_sent = history_is_sent(history);

    memcpy(tail, &head, sizeof(head));
    qwp__delta__pack(delta, tail + sizeof(head));
    buf_commit(&history->buf, n);
    if (all_sent)
        history->sent += n;
}

int history_put(struct history *history, struct quota *quota, uint64_t owner, const Qwp__Delta *delta,
                bool keep)
{
    const size_t n = sizeof(struct history_head) + qwp__delta__get_packed_size(delta);
    uint8_t *tail;
    int r = 0;

    while (!keep && buf_size(&history->buf) && buf_size(&history->buf) + n > history->buf.max)
        history_drop_oldest(history);
    r = history_charge(history, quota, owner, n);
    if (!r)
        r = buf_reserve(&history->buf, n, &tail);
    if (!r)
        history_append(history, tail, delta, n);
    if (r && keep)
        return HISTORY_E_FULL;
    if (r) /* nothing is kept rather than with a hole */
        history_forget(history, delta->seq + 1);
    return HISTORY_OK;
}

bool history_seek(struct history *history, uint64_t seq, uint64_t next_seq)
{
    size_t at = 0;

    if (seq < history->first_seq || seq > next_seq)
        return false;
    for (uint64_t i = history->first_seq; i < seq; i++)
        at += history_entry_bytes(history, at);
    history->sent = at;
    return true;
}

int history_peek(const struct history *history, Qwp__Delta **ret_delta)
{
    ProtobufCMessage *msg = NULL;
    size_t n;
    int r;

    if (history_is_sent(history))
        return HISTORY_E_END;
    n = history_entry_bytes(history, history->sent);
    r = wire_unpack(&qwp__delta__descriptor,
                    buf_head(&history->buf) + history->sent + sizeof(struct history_head),
                    n - sizeof(struct history_head), NULL, &msg);
    if (r) /* we packed it, so only memory can be short */
        return err_origin(-ENOMEM);
    *ret_delta = (Qwp__Delta *)msg;
    return 0;
}

void history_advance(struct history *history)
{
    history->sent += history_entry_bytes(history, history->sent);
}
