/* handover.c - the engine from one broker to the next, within one process.  See handover.h. */
#include "handover.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "broker.h"
#include "daemon/util/log.h"
#include "daemon/util/sd.h"
#include "proto/frame.h"
#include "proto/wire.h"
#include "request.h"

enum { HANDOVER_IN_BYTES_MAX = 64 << 10, HANDOVER_STRAYS_MAX = 1024 };

/* leaving */
static bool handover_is_same_binary(pid_t pid)
{
    char link[64], path[PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/%d/exe", pid);
    n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    return access(path, X_OK) == 0; /* one that was replaced is "PATH (deleted)" */
}

bool handover_may_keep_engine(const struct broker *broker)
{
    const struct supervise *s = &broker->supervise;
    const struct sock *sock = &broker->link.sock;

    return s->state == SUPERVISE_SERVING && s->pid && s->ready && !s->is_closed && !s->is_killed &&
           link_is_open(&broker->link) && !broker->quarantine.on && !buf_size(&sock->out) &&
           !sock->n_out_fds && !sock->n_in_fds && buf_size(&sock->in) <= HANDOVER_IN_BYTES_MAX &&
           handover_is_same_binary(s->pid);
}

static int handover_put_message(struct broker *broker, uint32_t key, enum record_type type,
                                const ProtobufCMessage *msg)
{
    const size_t n = protobuf_c_message_get_packed_size(msg);
    uint8_t *at;
    int r = store_begin(&broker->store, n, &at);

    if (r)
        return r;
    protobuf_c_message_pack(msg, at);
    return ledger_commit(&broker->store.ledger, key, (uint16_t)type, n);
}

/* Which handle each has; of those that are not in the journal, which are to be given up. */
static int handover_put_running(struct broker *broker, uint32_t strays[HANDOVER_STRAYS_MAX], size_t *n_strays)
{
    struct request *request;
    int r = 0;

    LIST_FOREACH (request, &broker->requests, node) {
        Qwl__Running running = QWL__RUNNING__INIT;

        if (!request_is_in_engine(request))
            continue;
        if (!request->journal.key && *n_strays == HANDOVER_STRAYS_MAX)
            return err_origin(-E2BIG);
        if (!request->journal.key)
            strays[(*n_strays)++] = request->handle;
        running.has_handle = true;
        running.handle = request->handle;
        if (request->journal.key && !r)
            r = handover_put_message(broker, request->journal.key, RECORD_RUNNING, &running.base);
    }
    return r;
}

static void handover_fill_engine(struct broker *broker, Qwl__Engine *engine)
{
    const struct link *link = &broker->link;

    engine->has_pid = engine->has_unread_bytes = engine->has_last_handle = engine->has_last_account = true;
    engine->pid = (uint32_t)broker->supervise.pid;
    engine->unread_bytes =
        (ProtobufCBinaryData){.data = buf_head(&link->sock.in), .len = buf_size(&link->sock.in)};
    engine->last_handle = broker->last_handle;
    engine->last_account = broker->accounts.last_key;
    engine->has_unread = engine->has_unread_uid = engine->has_unread_left = true;
    engine->unread = link->unread;
    engine->unread_uid = link->unread_uid;
    engine->unread_left = link->unread_left;
}

int handover_put(struct broker *broker, bool keep)
{
    Qwl__Left left = QWL__LEFT__INIT;
    Qwl__Engine engine = QWL__ENGINE__INIT;
    uint32_t strays[HANDOVER_STRAYS_MAX], publics[2 * PUBLISH_MAX];
    _cleanup_(freep) uint8_t *ready = NULL;
    int r = 0;

    left.has_held = true;
    left.held = broker->held;
    if (keep) {
        const Qwe__Ready *msg = broker->supervise.ready;

        ready = malloc(qwe__ready__get_packed_size(msg) + 1);
        if (!ready)
            return err_origin(-ENOMEM);
        engine.has_ready = true;
        engine.ready = (ProtobufCBinaryData){.data = ready, .len = qwe__ready__pack(msg, ready)};
        engine.strays = strays;
        engine.publics = publics;
        engine.n_publics = publish_handles(broker->publish, publics);
        handover_fill_engine(broker, &engine);
        left.engine = &engine;
        r = handover_put_running(broker, strays, &engine.n_strays);
    }
    return r ? r : handover_put_message(broker, STORE_KEY, RECORD_LEFT, &left.base);
}

/* coming */
/* The last record that a broker wrote about itself, if it left. */
static Qwl__Left *handover_read(const struct store *store)
{
    struct ledger_record record, last = {};
    ProtobufCMessage *msg;
    size_t at = 0;

    while (ledger_next(&store->ledger, &at, &record))
        if (record.key == STORE_KEY && (record.type == RECORD_LEFT || record.type == RECORD_READING))
            last = record;
    if (last.type != RECORD_LEFT ||
        wire_unpack(&qwl__left__descriptor, last.payload, last.n_bytes, NULL, &msg))
        return NULL;
    return (Qwl__Left *)msg;
}

void handover_find(struct broker *broker)
{
    struct handover *handover = &broker->handover;
    char name[SD_NAME_BYTES];
    const Qwl__Engine *engine;

    handover->fd = sd_take_stored(HANDOVER_ENGINE, name);
    handover->left = store_is_on(&broker->store) ? handover_read(&broker->store) : NULL;
    engine = handover->left ? handover->left->engine : NULL;
    if (!engine)
        closep(&handover->fd);
    broker->held = handover->left && handover->left->held;
    if (handover->fd < 0)
        return;
    broker->last_handle =
        engine->last_handle; /* its handles, and the numbers that its cache knows users by */
    broker->accounts.last_key = MAX(broker->accounts.last_key, engine->last_account);
}

void handover_deinit(struct handover *handover)
{
    closep(&handover->fd);
    wire_free((ProtobufCMessage *)handover->left);
    handover->left = NULL;
}

static int handover_open_link(struct broker *broker, const Qwl__Engine *engine)
{
    struct link *link = &broker->link;
    int r = link_open(link, broker, broker->handover.fd);

    if (r)
        return r;
    broker->handover.fd = -1;
    link->unread = engine->unread;
    link->unread_uid = engine->unread_uid;
    link->unread_left = engine->unread_left;
    return buf_append(&link->sock.in, engine->unread_bytes.data, engine->unread_bytes.len);
}

/* What the engine runs and nobody knows of any more ends; the rest is paused if it waits for its reader here.
 */
static void handover_settle(struct broker *broker, const Qwl__Engine *engine)
{
    struct request *request;

    for (size_t i = 0; i < engine->n_strays; i++)
        link_cancel(&broker->link, engine->strays[i]);
    publish_forget(broker->publish, engine->publics, engine->n_publics);
    LIST_FOREACH (request, &broker->requests, node)
        if (request_is_in_engine(request))
            link_pause(&broker->link, request->handle, request->out.blocked);
}

bool handover_take_engine(struct broker *broker)
{
    const Qwl__Engine *engine = broker->handover.left ? broker->handover.left->engine : NULL;
    ProtobufCMessage *ready;
    int r;

    if (!handover_has_engine(&broker->handover))
        return false;
    r = wire_unpack(&qwe__ready__descriptor, engine->ready.data, engine->ready.len, NULL, &ready);
    if (!r)
        r = handover_open_link(broker, engine);
    if (!r) {
        supervise_adopt(&broker->supervise, (pid_t)engine->pid, (Qwe__Ready *)ready);
        handover_settle(broker, engine);
    } else {
        log_warn("the engine of the last broker cannot be used: another one is started");
        supervise_disown(&broker->supervise, (pid_t)engine->pid);
    }
    handover_deinit(&broker->handover);
    return true;
}
