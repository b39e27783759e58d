/* uplink.h - the engine's end of the socketpair to the broker: frames in, frames out.
 *
 * Frames are as on a client's socket (frame.h); the preface is answered if the broker sends one.  Writing
 * never loses a frame: when the broker is slow and the output buffer is full, uplink_put() waits for it,
 * which stops the step loop
 * - the broker reads whenever it can, and bounds what it takes per request by Pause. */
#pragma once

#include "daemon/util/sock.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "proto/wire.h"

enum { UPLINK_OK, UPLINK_E_AGAIN, UPLINK_E_EOF };

struct uplink {
    struct sock sock;
    bool greeted; /* a preface was seen, or the first frame came without one */
};

int uplink_init(struct uplink *up, int fd); /* takes fd, also on failure */
void uplink_deinit(struct uplink *up);

/* Reads and writes what can be; reads nothing while a whole frame waits to be taken.  wait_ms: how long it
 * waits for something to take; 0: not at all, -1: until there is some.  0, UPLINK_E_EOF: the broker is gone,
 * < 0. */
int uplink_pump(struct uplink *up, int wait_ms);

int uplink_drain(struct uplink *up); /* waits until everything was written */

/* The next whole frame; the body is borrowed until uplink_consume().  UPLINK_E_AGAIN: none; < 0: not our
 * protocol. */
int uplink_next(struct uplink *up, struct frame *ret_frame);
void uplink_consume(struct uplink *up, const struct frame *frame);

/* 0, UPLINK_E_EOF, < 0.  Allocates nothing as long as the broker keeps reading. */
int uplink_put(struct uplink *up, uint32_t stream, uint16_t type, const ProtobufCMessage *message);
/* The same with an fd, which stays the caller's. */
int uplink_put_fd(struct uplink *up, uint32_t stream, uint16_t type, const ProtobufCMessage *message, int fd);
