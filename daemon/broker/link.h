/* link.h - the broker's end of the socketpair to its engine: whole, checked frames in, frames out.
 *
 * One link serves one engine process after the other.  What arrives is checked like a client's message: the
 * engine is the process that parses clients' text. */
#pragma once

#include "daemon/util/sock.h"
#include "engine.pb-c.h"

struct broker;
struct event;

struct link {
    struct broker *broker; /* borrowed */
    struct sock sock;      /* fd -1: no engine */
    struct event *readable, *writable;
    uint64_t last_frame_ns; /* when the engine last said anything */
    bool eof;
};

void link_init(struct broker *broker, struct link *link);
int link_open(struct link *link, int fd); /* takes fd, also on failure */
void link_close(struct link *link);       /* safe to call twice */
static inline bool link_is_open(const struct link *link)
{
    return link->sock.fd >= 0;
}

/* Reads and dispatches what the engine said before it died. */
void link_drain(struct link *link);

/* fd: travels with the frame, duplicated; -1: none.  A link that cannot take it is given up: the engine is
 * replaced. */
void link_put(struct link *link, uint32_t handle, uint16_t type, const ProtobufCMessage *msg, int fd);
