/* client.h - one connection: its socket, its deadlines, its streams.  What the frames mean is dispatch.c's.
 *
 * Output is capped at CLIENT_OUT_BYTES: Deltas stop CLIENT_RESERVE_BYTES earlier, so that there is always
 * room for the control frames of all streams; a client that does not even read those is dropped. */
#pragma once

#include "daemon/util/list.h"
#include "daemon/util/peer.h"
#include "daemon/util/sock.h"
#include "policy_class.h"
#include "quota.h"
#include "qwend.pb-c.h"

struct broker;
struct event;

enum {
    CLIENT_OUT_BYTES = 1 << 20,
    CLIENT_RESERVE_BYTES = 16 << 10, /* 64 streams x (Usage or Error with its numbers) */
    /* Each way, beside what its uid is charged: a user whose share is used up, or shrank because another one
     * came, must still be able to say Cancel and to hear Usage.  Deltas may take half of it. */
    CLIENT_FREE_BYTES = 16 << 10,
    CLIENT_NAME_BYTES = 64,
    CLIENT_HELLO_MS = 5000,  /* preface and Hello */
    CLIENT_FRAME_MS = 30000, /* from one byte of a frame or prompt to the next */
    CLIENT_FLUSH_MS = 5000,  /* for the last words to a client that broke a rule */
};

enum client_state {
    CLIENT_PREFACE = 1 << 0,
    CLIENT_HELLO = 1 << 1,
    CLIENT_READY = 1 << 2,
    CLIENT_CLOSING = 1 << 3
};

struct request;
struct textop;
struct use;
struct watch;
struct client_stream {
    uint32_t id;             /* 0: free */
    bool ended;              /* the client sent END_STREAM */
    struct request *request; /* borrowed from the broker's list; one of these is set */
    struct textop *textop;
    struct watch *watch;
    struct use *use;
};

struct client {
    struct list node;
    struct broker *broker; /* borrowed */
    struct sock sock;
    struct event *readable, *writable, *deadline;
    struct peer peer;
    uint64_t id;
    enum client_state state;
    const struct policy_class *class;   /* borrowed from the broker's policy */
    bool is_admin, dead;                /* is_admin: sees and cancels everybody's requests */
    bool knows_preempt, knows_progress; /* Hello has the capability */
    char name[CLIENT_NAME_BYTES];       /* as it calls itself; printable, perhaps cut */
    struct client_stream streams[POLICY_STREAMS_MAX];
    unsigned n_streams;
    uint32_t last_stream;
    struct list partings; /* request_journal.c */
    uint64_t n_input;     /* bytes of prompts that are still arriving */
    struct quota_charge connection_charge, in_charge, out_charge, fds_charge;
};

/* Takes fd on success.  > 0: the status code to turn it away with, the fault has the numbers. */
int client_new(struct broker *broker, int fd, struct fault *fault);
struct client *client_free(struct client *client); /* cancels what it has running */

/* After the policy changed: which class it is in now, and the caps that come with it.  -ENOMEM. */
int client_find_class(struct client *client);
void client_abort(struct client *client); /* no more reading or writing; freed as soon as nobody uses it */
/* Error on stream 0; the connection is closed when it is sent. */
void client_fail(struct client *client, int code, const char *text);

void client_close_after_flush(struct client *client); /* its last Error is queued */
void client_welcome(struct client *client);           /* Hello was right: no deadline runs any more */

enum { CLIENT_OK, CLIENT_E_FULL };
/* Queues a frame.  put: control frames, which may use the reserve; a client without room even for those is
 * aborted. offer: everything else; CLIENT_E_FULL, and the caller waits for stream_resume(). */
void client_put(struct client *client, uint32_t stream, uint16_t type, uint16_t flags,
                const ProtobufCMessage *msg);
int client_offer(struct client *client, uint32_t stream, uint16_t type, uint16_t flags,
                 const ProtobufCMessage *msg);
/* Error with END_STREAM on one stream. */
void client_refuse(struct client *client, uint32_t stream, const struct fault *fault);
/* The same with its numbers. */
void client_refuse_limit(struct client *client, uint32_t stream, const struct refusal *refusal);
/* Fills it in after QUOTA_E_EXCEEDED, for any owner or for this client's uid; returns the status code. */
int client_name_quota(const struct broker *broker, uint64_t owner, enum quota_slot slot,
                      struct refusal *refusal);
int client_over_quota(const struct client *client, enum quota_slot slot, struct refusal *refusal);
void client_put_error(struct client *client, uint32_t stream, const Qwp__Error *error);

struct client_stream *client_stream_find(struct client *client, uint32_t id);
struct client_stream *client_stream_open(struct client *client,
                                         uint32_t id); /* policy_check() says that one is free */
void client_stream_close(struct client *client, uint32_t id);
