/* link.h - the socketpair to the engine: frames out, frames in, checked as a client's are.
 *
 * The link only carries; what an engine's message means for the service is supervise.c's, for a request
 * request's. */
#pragma once

#include "daemon/util/sock.h"
#include "engine.pb-c.h"

struct broker;
struct event;
struct request;

enum { LINK_OK, LINK_E_FULL };

struct link {
    struct broker *broker; /* borrowed */
    struct sock sock;      /* fd -1: no engine */
    struct event *readable, *writable;
    uid_t unread_uid;
    bool unread_left; /* its request is gone */
    uint32_t unread; /* handle of the last Submit, until the engine has answered it; also if it was cancelled;
                        0: none */
    bool is_broken;  /* EOF or nonsense: nothing more is read or written */
};

int link_open(struct link *link, struct broker *broker, int fd); /* takes fd on success */
void link_close(struct link *link);                              /* safe to call twice */
static inline bool link_is_open(const struct link *link)
{
    return link->sock.fd >= 0 && !link->is_broken;
}

/* Reads what a dead engine still left in the socket. */
void link_drain(struct link *link);

/* LINK_E_FULL: the engine has not read what it was sent; < 0 errno. */
int link_put(struct link *link, uint32_t handle, uint16_t type, const ProtobufCMessage *msg);
/* The same with an fd, which stays the caller's. */
int link_put_fd(struct link *link, uint32_t handle, uint16_t type, const ProtobufCMessage *msg, int fd);
int link_put_packed(struct link *link, uint32_t handle, uint16_t type, const void *body, size_t n_bytes);
/* The request's packed head and the rest of the Submit, and its memfd if it has one. */
int link_submit(struct link *link, struct request *request, const Qwe__Submit *tail);
/* Small and always possible: an engine that leaves no room for these is taken for dead. */
void link_cancel(struct link *link, uint32_t handle);
void link_preempt(struct link *link, uint32_t handle);
void link_pause(struct link *link, uint32_t handle, bool paused);
