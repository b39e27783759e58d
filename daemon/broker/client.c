/* client.c - reading, writing and deadlines of one connection.  See client.h. */
#include "client.h"

#include <stdio.h>
#include <string.h>

#include "broker.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "dispatch.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "request.h"
#include "textop.h"
#include "watch.h"

enum {
    CLIENT_IN_BYTES = FRAME_HEADER_BYTES + FRAME_MAX_BYTES + (64 << 10), /* one frame and some of the next */
    CLIENT_READ_BYTES = 16 << 10,      /* per turn, when no frame is under way */
    CLIENT_READ_MAX_BYTES = 256 << 10, /* per turn, inside a long frame */
};

/* streams */
struct client_stream *client_stream_find(struct client *client, uint32_t id)
{
    for (size_t i = 0; id && i < ARRAY_SIZE(client->streams); i++)
        if (client->streams[i].id == id)
            return &client->streams[i];
    return NULL;
}

struct client_stream *client_stream_open(struct client *client, uint32_t id)
{
    for (size_t i = 0; i < ARRAY_SIZE(client->streams); i++)
        if (!client->streams[i].id) {
            client->streams[i] = (struct client_stream){.id = id};
            client->n_streams++;
            return &client->streams[i];
        }
    return NULL;
}

void client_stream_close(struct client *client, uint32_t id)
{
    struct client_stream *stream = client_stream_find(client, id);

    if (!stream)
        return;
    *stream = (struct client_stream){};
    client->n_streams--;
}

/* memory */
/* Charges a buffer for n more bytes as if it doubled (buf.c), so never less than what it will hold.  Up to
 * n_free bytes come with the connection (CLIENT_FREE_BYTES). */
static int client_charge(struct client *client, struct quota_charge *charge, const struct buf *buf, size_t n,
                         size_t n_free)
{
    size_t cap = 512;

    while (cap < buf_size(buf) + n)
        cap *= 2;
    cap = MAX(MIN(cap, buf->max), buf->cap);
    if (charge->user)
        return cap > charge->amount ? quota_resize(charge, cap) : QUOTA_OK;
    if (cap <= n_free)
        return QUOTA_OK;
    return quota_charge(&client->broker->quota, client->peer.uid, QUOTA_BYTES, cap, charge);
}

/* An idle connection keeps no buffers. */
static void client_release_if_empty(struct buf *buf, struct quota_charge *charge)
{
    if (buf_size(buf))
        return;
    buf_deinit(buf);
    quota_release(charge);
}

/* Charges the fds whose frame is not whole yet; a frame that comes in one piece has claimed its own. */
static int client_charge_fds(struct client *client)
{
    struct quota_charge *charge = &client->fds_charge;
    const unsigned n = (unsigned)client->sock.n_in_fds;

    if (charge->user)
        return quota_resize(charge, n);
    return n ? quota_charge(&client->broker->quota, client->peer.uid, QUOTA_FDS, n, charge) : QUOTA_OK;
}

static void client_drop_fds(struct client *client)
{
    sock_drop_fds(&client->sock);
    quota_release(&client->fds_charge);
}

/* output */
static int client_append(struct client *client, size_t limit, size_t n_free, uint32_t stream, uint16_t type,
                         uint16_t flags, const ProtobufCMessage *msg)
{
    struct buf *out = &client->sock.out;
    const size_t n = protobuf_c_message_get_packed_size(msg);
    uint8_t *body;
    int r;

    if (client->dead)
        return CLIENT_OK; /* nobody will miss it */
    if (n > FRAME_MAX_BYTES || buf_size(out) + FRAME_HEADER_BYTES + n > limit)
        return CLIENT_E_FULL;
    r = client_charge(client, &client->out_charge, out, FRAME_HEADER_BYTES + n, n_free);
    if (!r)
        r = frame_open(out, stream, type, flags, n, &body);
    if (r)
        return r < 0 ? r : CLIENT_E_FULL;
    protobuf_c_message_pack(msg, body);
    sock_appended(&client->sock);
    loop_defer(client->writable);
    return CLIENT_OK;
}

int client_offer(struct client *client, uint32_t stream, uint16_t type, uint16_t flags,
                 const ProtobufCMessage *msg)
{
    return client_append(client, CLIENT_OUT_BYTES - CLIENT_RESERVE_BYTES, CLIENT_FREE_BYTES / 2, stream, type,
                         flags, msg)
               ? CLIENT_E_FULL
               : CLIENT_OK;
}

void client_put(struct client *client, uint32_t stream, uint16_t type, uint16_t flags,
                const ProtobufCMessage *msg)
{
    struct journal_event event = {.kind = JOURNAL_QUOTA, .has_uid = true, .uid = client->peer.uid};

    if (!client_append(client, CLIENT_OUT_BYTES, CLIENT_FREE_BYTES, stream, type, flags, msg))
        return;
    event.numbers[0] = (struct journal_number){"QWEND_USED", buf_size(&client->sock.out)};
    event.numbers[1] = (struct journal_number){"QWEND_LIMIT", CLIENT_OUT_BYTES};
    log_event_warn(&event, "uid %u pid %d: dropped, it left %zu bytes unread", client->peer.uid,
                   client->peer.pid, buf_size(&client->sock.out));
    client_abort(client);
}

void client_abort(struct client *client)
{
    if (client->dead)
        return;
    client->dead = true;
    client_drop_fds(client);
    loop_unwatch(client->readable);
    loop_unwatch(client->writable);
    loop_unwatch(client->deadline);
    broker_reap(client->broker);
}

void client_fail(struct client *client, int code, const char *text)
{
    const struct journal_event event = {
        .kind = JOURNAL_DENIED, .has_uid = true, .uid = client->peer.uid, .code = code};
    struct fault fault = {};

    if (client->dead || client->state == CLIENT_CLOSING)
        return;
    fault_set(&fault, code, "%s", text);
    log_event_warn(&event, "uid %u pid %d: connection closed: %d %s", client->peer.uid, client->peer.pid,
                   code, text);
    client_refuse(client, 0, &fault);
    client_close_after_flush(client);
}

void client_close_after_flush(struct client *client)
{
    if (client->dead)
        return;
    client->state = CLIENT_CLOSING;
    client_drop_fds(client);
    request_cancel_client(client);
    textop_cancel_client(client);
    watch_cancel_client(client);
    use_on_client_gone(client);
    loop_unwatch(client->readable);
    loop_arm_ms(client->deadline, CLIENT_FLUSH_MS);
}

void client_welcome(struct client *client)
{
    client->state = CLIENT_READY;
    loop_unwatch(client->deadline);
}

/* Streams that waited for room go on once half of it is free, not at every byte. */
static void client_wake_streams(struct client *client)
{
    if (buf_size(&client->sock.out) > CLIENT_OUT_BYTES / 2)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(client->streams); i++)
        if (client->streams[i].request)
            stream_resume(client->streams[i].request);
}

static void client_on_writable(int fd, short what, void *arg)
{
    struct client *client = arg;
    int r;

    if (client->dead)
        return;
    r = sock_flush(&client->sock);
    request_journal_on_sent(client);
    if (r == SOCK_E_AGAIN) {
        loop_watch(client->writable);
    } else if (r) {
        client_abort(client);
        return;
    } else {
        client_release_if_empty(&client->sock.out, &client->out_charge);
        if (client->state == CLIENT_CLOSING)
            client_abort(client);
        if (client->broker->draining)
            broker_kick(client->broker); /* it waits for the last byte */
    }
    client_wake_streams(client);
}

/* input */
static bool client_owes_bytes(const struct client *client)
{
    return buf_size(&client->sock.in) || client->n_input;
}

static void client_on_deadline(int fd, short what, void *arg)
{
    struct client *client = arg;

    if (client->dead)
        return;
    if (client->state == CLIENT_CLOSING)
        client_abort(client);
    else if (client->state != CLIENT_READY)
        client_fail(client, STATUS_BAD_PREFACE, "no preface and Hello within 5 s");
    else if (client_owes_bytes(client)) /* else its prompt was cancelled from another connection */
        client_fail(client, STATUS_BAD_MESSAGE, "no byte for 30 s in the middle of a frame or prompt");
}

static void client_set_deadline(struct client *client)
{
    if (client->dead || client->state != CLIENT_READY)
        return;
    if (client_owes_bytes(client))
        loop_arm_ms(client->deadline, CLIENT_FRAME_MS);
    else
        loop_unwatch(client->deadline);
}

static uint32_t client_frame_max(const struct client *client)
{
    return client->state == CLIENT_READY ? FRAME_MAX_BYTES : FRAME_MAX_BYTES_HELLO;
}

static int client_take_preface(struct client *client)
{
    int r = frame_preface_next(&client->sock.in);

    if (r == FRAME_E_PREFACE)
        client_fail(client, STATUS_BAD_PREFACE, "the connection does not start with the QWP/1 preface");
    if (!r)
        client->state = CLIENT_HELLO;
    return r;
}

/* Takes whole frames from the buffer until there is none or the client is done for. */
static void client_take_frames(struct client *client)
{
    struct frame frame;
    char text[160];
    int r;

    if (client->state == CLIENT_PREFACE && client_take_preface(client))
        return;
    while (!client->dead && client->state != CLIENT_CLOSING) {
        r = frame_next(&client->sock.in, client_frame_max(client), &frame);
        if (r == FRAME_E_AGAIN)
            return;
        if (r == FRAME_E_TOO_BIG) {
            snprintf(text, sizeof(text), "a %s frame of %u bytes, at most %u", msg_type_name(frame.type),
                     frame.length, client_frame_max(client));
            client_fail(client, STATUS_FRAME_TOO_BIG, text);
        } else if (r) {
            snprintf(text, sizeof(text), "a %s frame with unknown flags 0x%x", msg_type_name(frame.type),
                     frame.flags);
            client_fail(client, STATUS_BAD_MESSAGE, text);
        } else {
            dispatch_frame(client, &frame);
            frame_consume(&client->sock.in, &frame);
        }
    }
}

/* How much to read: what the frame under way still lacks, else some. */
static size_t client_read_size(const struct client *client)
{
    const struct buf *in = &client->sock.in;
    struct frame frame;

    if (client->state != CLIENT_READY || buf_size(in) < FRAME_HEADER_BYTES ||
        frame_next(in, FRAME_MAX_BYTES, &frame) != FRAME_E_AGAIN)
        return CLIENT_READ_BYTES;
    return CLAMP(FRAME_HEADER_BYTES + frame.length - buf_size(in), CLIENT_READ_BYTES, CLIENT_READ_MAX_BYTES);
}

/* The same for a uid that may hold no more: what still fits into the room there is, 0 if there is none. */
static size_t client_read_room(struct client *client)
{
    const struct buf *in = &client->sock.in;
    const size_t n = client_read_size(client);

    if (!client_charge(client, &client->in_charge, in, n, CLIENT_FREE_BYTES))
        return n;
    return MIN(n, MAX(in->cap, (size_t)CLIENT_FREE_BYTES) - buf_size(in));
}

static void client_on_readable(int fd, short what, void *arg)
{
    struct client *client = arg;
    const size_t n = client_read_room(client);
    int r;

    if (!n) {
        client_fail(client, STATUS_CONCURRENCY, "your connections hold as many bytes as one user may");
        return;
    }
    r = sock_read(&client->sock, n);
    if (r == SOCK_E_AGAIN)
        return;
    if (r == SOCK_E_FDS) {
        client_fail(client, STATUS_BAD_MESSAGE, "more file descriptors than frames that announce one");
    } else if (r) {
        client_abort(client);
        return;
    }
    client_take_frames(client);
    if (client->sock.n_in_fds && !buf_size(&client->sock.in))
        client_fail(client, STATUS_BAD_MESSAGE, "a file descriptor that no frame announces");
    r = client_charge_fds(client);
    if (r > 0)
        client_fail(client, STATUS_CONCURRENCY,
                    "your connections hold as many file descriptors as one user may");
    else if (r < 0)
        client_abort(client);
    client_release_if_empty(&client->sock.in, &client->in_charge);
    client_set_deadline(client);
}

/* life */
static int client_start(struct client *client)
{
    struct event_base *base = client->broker->base;
    const int fd = client->sock.fd;
    int r;

    r = loop_event_new(base, fd, EV_READ | EV_PERSIST, client_on_readable, client, &client->readable);
    if (!r)
        r = loop_event_new(base, fd, EV_WRITE, client_on_writable, client, &client->writable);
    if (!r)
        r = loop_event_new(base, -1, 0, client_on_deadline, client, &client->deadline);
    if (!r)
        r = loop_arm_ms(client->deadline, CLIENT_HELLO_MS);
    if (!r)
        r = frame_preface_put(&client->sock.out);
    if (!r)
        r = loop_watch(client->readable);
    sock_appended(&client->sock);
    return r;
}

int client_find_class(struct client *client)
{
    _cleanup_(freep) gid_t *groups = NULL;
    struct policy_who who = {.uid = client->peer.uid, .gid = client->peer.gid};
    int r = peer_read_groups(client->sock.fd, &groups, &who.n_groups);

    if (r)
        return r;
    who.groups = groups;
    client->class = policy_class_find(client->broker->policy, &who);
    client->is_admin = client->class->admin & POLICY_KILL;
    quota_cap(&client->connection_charge, QUOTA_BYTES, (uint64_t)client->class->max_mib << 20);
    return 0;
}

static int client_admit(struct broker *broker, uid_t uid, struct quota_charge *charge, struct fault *fault)
{
    struct refusal refusal = {};
    int r = quota_charge(&broker->quota, uid, QUOTA_CONNECTIONS, 1, charge);

    if (r > 0) {
        r = client_name_quota(broker, uid, QUOTA_CONNECTIONS, &refusal);
        *fault = refusal.fault;
    }
    return r;
}

CLEANUP_FUNC(struct client, client_free)

int client_new(struct broker *broker, int fd, struct fault *fault)
{
    _cleanup_(client_freep) struct client *client = NULL;
    struct quota_charge charge = {};
    struct peer peer;
    int r;

    r = peer_read(fd, &peer);
    if (!r)
        r = client_admit(broker, peer.uid, &charge, fault);
    if (r)
        return r;
    client = calloc(1, sizeof(*client));
    if (!client) {
        quota_release(&charge);
        return err_origin(-ENOMEM);
    }
    *client =
        (struct client){.broker = broker, .peer = peer, .connection_charge = charge, .state = CLIENT_PREFACE};
    client->id = ++broker->last_client;
    sock_init(&client->sock, fd, CLIENT_IN_BYTES, CLIENT_OUT_BYTES);
    list_init(&client->partings);
    list_push(&broker->clients, &client->node);
    broker->n_clients++;
    broker->metrics.connections++;
    r = client_find_class(client);
    if (!r)
        r = client_start(client);
    if (r < 0) {
        client->sock.fd = -1; /* the caller keeps it */
        return r;
    }
    client = NULL; /* the broker's list has it */
    return 0;
}

struct client *client_free(struct client *client)
{
    if (!client)
        return NULL;
    client->dead = true;
    request_cancel_client(client);
    textop_cancel_client(client);
    watch_cancel_client(client);
    use_on_client_gone(client);
    request_journal_on_client_gone(client);
    loop_event_free(&client->readable);
    loop_event_free(&client->writable);
    loop_event_free(&client->deadline);
    sock_deinit(&client->sock);
    quota_release(&client->in_charge);
    quota_release(&client->out_charge);
    quota_release(&client->fds_charge);
    quota_release(&client->connection_charge);
    list_remove(&client->node);
    client->broker->n_clients--;
    free(client);
    return NULL;
}
