/* quarantine.c - one suspect at a time.  See quarantine.h, daemon.md §1.2. */
#include "quarantine.h"

#include "broker.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "request.h"
#include "textop.h"

enum { QUARANTINE_PROBATION_SHIFT_MAX = 10, QUARANTINE_IDLE_MAX = 2 };

/* the end of it */
static void quarantine_punish(struct broker *broker, uid_t uid, const char *why)
{
    const uint32_t ms = penalty_add(&broker->quarantine.penalty, uid, clock_now_ns());

    log_warn("uid %u: refused for %u s: %s", uid, ms / 1000, why);
}

/* Whoever was held goes on; suspects that were not tried have their engine back like everybody else. */
static void quarantine_end(struct broker *broker)
{
    struct quarantine *q = &broker->quarantine;
    struct request *request;
    struct textop *textop;

    q->on = false;
    q->tested = q->last = q->barrier = 0;
    q->n_fled = 0;
    LIST_FOREACH (request, &broker->requests, node) {
        request->suspect = false;
        if (!request->held)
            continue;
        request->held = false;
        request_pause(request, request->out.blocked);
    }
    LIST_FOREACH (textop, &broker->textops, node)
        textop->suspect = false;
    broker_kick(broker);
}

static void quarantine_acquit_all(struct broker *broker)
{
    struct quarantine *q = &broker->quarantine;

    if (q->n_fled == 1)
        quarantine_punish(broker, q->fled,
                          "an engine died of what it gave up before this could be tried again");
    else
        log_info("the requests that were in the dead engine have each gone on alone: none is to blame");
    quarantine_end(broker);
}

/* the second crash */
/* It was at work in each of these engines and never ran alone, since its reader always came in between. */
static void quarantine_condemn_evader(struct request *request, const char *how)
{
    struct fault fault;

    quarantine_punish(request->broker, request->uid, "engines died of its request, which never ran alone");
    fault_set(&fault, STATUS_POISONED,
              "%u engines died with this request, and it could never be tried alone: %s", request->crashes,
              how);
    request_fail(request, &fault);
}

static bool quarantine_condemn_request(struct broker *broker, const char *how)
{
    struct request *request;
    struct fault fault;

    LIST_FOREACH (request, &broker->requests, node) {
        if (request->handle != broker->quarantine.tested)
            continue;
        quarantine_punish(broker, request->uid, "an engine died of its request, and again of it alone");
        fault_set(&fault, STATUS_POISONED,
                  "two engines died of this request, the second while it ran alone: %s", how);
        request->suspect = false;
        request_fail(request, &fault);
        return true;
    }
    return false;
}

static void quarantine_condemn(struct broker *broker, const char *how)
{
    struct textop *textop;
    struct fault fault;

    if (!quarantine_condemn_request(broker, how))
        LIST_FOREACH (textop, &broker->textops, node) {
            if (textop->handle != broker->quarantine.tested)
                continue;
            quarantine_punish(broker, textop->uid, "an engine died of its question, and again of it alone");
            textop->suspect = false;
            fault_set(&fault, STATUS_POISONED,
                      "two engines died of this question, the second with it alone: %s", how);
            textop_fail(textop, &fault);
        }
    quarantine_end(broker);
}

/* the first one */
/* Each time it takes longer until it is believed: twice as many tokens. */
static void quarantine_suspect(struct request *request)
{
    request->suspect = true;
    request->held = false;
    request->idle_crashes = request->n_ids > request->suspected_ids ? 1 : request->idle_crashes + 1;
    request->suspected_ids = request->n_ids;
    request->probation =
        request->n_ids + ((size_t)1 << MIN(request->crashes, (uint32_t)QUARANTINE_PROBATION_SHIFT_MAX));
    request->crashes++;
}

static void quarantine_flee(struct quarantine *q, uid_t uid)
{
    if (!q->n_fled || q->fled != uid)
        q->n_fled++;
    q->fled = uid;
}

static void quarantine_begin(struct broker *broker, const char *how)
{
    struct quarantine *q = &broker->quarantine;
    struct request *request;
    struct textop *textop;
    unsigned n = 0;

    LIST_FOREACH (request, &broker->requests, node)
        if (request_is_at_work(request) || (q->last && request->handle == q->last)) {
            if (request->idle_crashes >= QUARANTINE_IDLE_MAX && request->n_ids == request->suspected_ids) {
                quarantine_condemn_evader(request, how);
                continue;
            }
            quarantine_suspect(request);
            n++;
        }
    if (broker->link.unread && broker->link.unread_left)
        quarantine_flee(q, broker->link.unread_uid);
    LIST_FOREACH (textop, &broker->textops, node)
        if (textop->sent) {
            textop->suspect = textop->client;
            n += textop->suspect;
            if (!textop->client)
                quarantine_flee(q, textop->uid);
        }
    q->on = q->on || n || q->n_fled;
    if (n)
        log_warn("%u requests were at work in the engine that died: each is tried alone", n);
}

void quarantine_on_death(struct broker *broker, bool is_crash, const char *how)
{
    struct quarantine *q = &broker->quarantine;

    if (is_crash && q->tested)
        quarantine_condemn(broker, how);
    else if (is_crash)
        quarantine_begin(broker, how);
    q->tested = q->last = q->barrier = 0;
}

/* trying */
static bool quarantine_try_textop(struct broker *broker)
{
    struct textop *textop;

    LIST_FOREACH (textop, &broker->textops, node) {
        if (!textop->suspect)
            continue;
        if (!textop_send(textop))
            broker->quarantine.tested = textop->handle;
        return true;
    }
    return false;
}

/* The newest first: what has run for long has shown that it can. */
static bool quarantine_try_request(struct broker *broker)
{
    struct request *request, *newest = NULL;

    LIST_FOREACH (request, &broker->requests, node) {
        if (request->suspect && request->out.blocked)
            quarantine_clear(request);
        if (request->suspect)
            newest = request;
    }
    if (newest && !request_submit(newest))
        broker->quarantine.tested = newest->handle;
    return newest;
}

/* The next suspect must run alone. */
static void quarantine_ask(struct broker *broker)
{
    struct quarantine *q = &broker->quarantine;
    Qwe__TextOp nothing = QWE__TEXT_OP__INIT;
    const uint32_t handle = broker_new_handle(broker);

    if (!q->barrier && !link_put(&broker->link, handle, MSG_E_TEXT, &nothing.base))
        q->barrier = handle;
}

void quarantine_pump(struct broker *broker)
{
    const struct quarantine *q = &broker->quarantine;

    if (q->last)
        quarantine_ask(broker);
    else if (!q->tested && !quarantine_try_textop(broker) && !quarantine_try_request(broker))
        quarantine_acquit_all(broker);
}

static void quarantine_next(struct broker *broker)
{
    struct quarantine *q = &broker->quarantine;

    q->last = q->tested;
    q->tested = 0;
    broker_kick(broker);
}

bool quarantine_on_answer(struct broker *broker, uint32_t handle)
{
    struct quarantine *q = &broker->quarantine;

    if (!q->barrier || q->barrier != handle)
        return false;
    q->last = q->barrier = 0;
    broker_kick(broker);
    return true;
}

void quarantine_clear(struct request *request)
{
    struct broker *broker = request->broker;

    if (!request->suspect)
        return;
    request->suspect = false;
    if (broker->quarantine.tested != request->handle)
        return;
    request->held = true;
    request_pause(request, true);
    quarantine_next(broker);
}

void quarantine_on_progress(struct request *request)
{
    if (request->suspect && request->n_ids >= request->probation)
        quarantine_clear(request);
}

void quarantine_on_leave(struct request *request)
{
    struct broker *broker = request->broker;

    if (!request->suspect)
        return;
    request->suspect = false;
    quarantine_flee(&broker->quarantine, request->uid);
    if (broker->quarantine.tested == request->handle)
        quarantine_next(broker);
}

void quarantine_clear_textop(struct textop *textop)
{
    struct broker *broker = textop->broker;

    if (!textop->suspect)
        return;
    textop->suspect = false;
    if (broker->quarantine.tested == textop->handle)
        quarantine_next(broker);
}

void quarantine_on_leave_textop(struct textop *textop)
{
    if (!textop->suspect)
        return;
    quarantine_flee(&textop->broker->quarantine, textop->uid);
    quarantine_clear_textop(textop);
}

int quarantine_check(const struct client *client, struct refusal *refusal)
{
    const uid_t uid = client->peer.uid;
    const uint32_t ms = penalty_left_ms(&client->broker->quarantine.penalty, uid, clock_now_ns());

    if (!ms)
        return 0;
    refusal->retry_after_ms = ms;
    return fault_set(&refusal->fault, STATUS_PENALISED,
                     "engines died of what uid %u sent: nothing is taken from it for another %u s", uid,
                     CEIL_DIV(ms, 1000u));
}
