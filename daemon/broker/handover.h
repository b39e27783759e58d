/* handover.h - what a broker that makes way (upgrade.h) leaves to the next one beside the journal's requests:
 * whether the service is held, and the engine with what runs in it.
 *
 * The engine is the same process's child, and what it says meanwhile waits in its socket, so its sequences go
 * on as if nothing had happened and no prompt is read again.  It is handed over only between two frames, and
 * only if neither its binary nor a key of [daemon] has changed; else it ends, and requests go on as after its
 * death. */
#pragma once

#include "daemon/util/sd.h"
#include "ledger.pb-c.h"
#include "proto/base.h"

struct broker;
struct request;

struct handover {    /* what the last broker left; all but fd zero: nothing */
    int fd;          /* owned; the socket to the engine, -1: none */
    Qwl__Left *left; /* owned */
};
#define HANDOVER_ENGINE SD_STORED "engine" /* what its fd is called on the way */
#define HANDOVER_NULL   ((struct handover){.fd = -1})

/* leaving */
bool handover_may_keep_engine(const struct broker *broker);
/* Into the journal; keep: with the engine.  LEDGER_E_FULL, < 0. */
int handover_put(struct broker *broker, bool keep);

/* coming: before requests are restored, which ask whether the engine still has them; and when all else is
 * ready */
void handover_find(struct broker *broker);
void handover_deinit(struct handover *handover);
static inline bool handover_has_engine(const struct handover *handover)
{
    return handover->fd >= 0;
}
bool handover_take_engine(struct broker *broker); /* false: there is none, start one */
