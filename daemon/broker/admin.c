/* admin.c - reading the configuration again, and holding the service.  See admin.h.
 *
 * A reload takes over the classes and the public prefixes.  The keys of [daemon] are read and checked with
 * them, but what they say is used at the start only; which of them changed is said. */
#include "admin.h"

#include <stdio.h>
#include <string.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "daemon/util/sd.h"
#include "policy_read.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "request.h"
#include "upgrade.h"

enum { ADMIN_TEXT_BYTES = sizeof(((struct fault *)0)->text) };

/* reload */
/* Reads everything into new places; nothing of the broker's has changed when this fails. */
static int admin_read(const struct options *now, struct policy **ret_policy, struct publish **ret_publish,
                      char text[ADMIN_TEXT_BYTES], struct fault *fault)
{
    enum conf_action action;
    struct options options;
    int r = options_read(&options, now->argc, now->argv, &action, fault);

    if (!r)
        r = policy_read(&options.files, ret_policy, fault);
    if (!r)
        r = publish_read(&options.files, ret_publish, fault);
    if (!r)
        options_name_changes(now, &options, text, ADMIN_TEXT_BYTES);
    options_deinit(&options);
    return r;
}

/* From here on the new classes hold: for what is asked now, on old connections too.  Requests go on. */
static void admin_take_policy(struct broker *broker, struct policy **policy)
{
    struct client *client;

    free(broker->policy);
    broker->policy = steal(policy);
    LIST_FOREACH (client, &broker->clients, node)
        if (!client->dead && client_find_class(client)) {
            log_warn("uid %u pid %d: dropped, its class could not be found again: out of memory",
                     client->peer.uid, client->peer.pid);
            client_abort(client); /* it must not keep what it may no longer */
        }
}

static const char *admin_state(const struct broker *broker)
{
    return broker->held ? "held by an administrator: no requests are taken" : "serving";
}

/* text: what there is to say about it. */
static int admin_reload_now(struct broker *broker, char text[ADMIN_TEXT_BYTES], struct fault *fault)
{
    _cleanup_(freep) struct policy *policy = NULL;
    _cleanup_(publish_freep) struct publish *publish = NULL;
    char changes[ADMIN_TEXT_BYTES], publics[40];
    int r;

    sd_notify_put("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(clock_now_ns() / 1000));
    r = admin_read(broker->options, &policy, &publish, changes, fault);
    if (r < 0)
        fault_set(fault, STATUS_INTERNAL, "%s", strerror(-r));
    if (r) {
        log_warn("not reloaded, what held before still does: %s", fault->text);
        sd_notify_put("READY=1\nSTATUS=not reloaded: %.300s", fault->text);
        return r;
    }
    admin_take_policy(broker, &policy);
    publish_replace(broker, &publish);
    snprintf(publics, sizeof(publics), ", public prefixes: %zu", broker->publish->n);
    snprintf(text, ADMIN_TEXT_BYTES, "reloaded: %zu classes%s%s%.400s", broker->policy->n,
             broker->publish->n ? publics : "", *changes ? "; only a restart changes " : "", changes);
    log_info("%s", text);
    sd_notify_put("READY=1\nSTATUS=%s", admin_state(broker));
    return 0;
}

void admin_reload(struct broker *broker)
{
    char text[ADMIN_TEXT_BYTES];
    struct fault fault;

    if (broker->draining)
        log_info("not reloaded: the service is being stopped");
    else
        (void)admin_reload_now(broker, text, &fault); /* it has said so */
}

/* drain and resume */
/* What runs may end; what waits, and what comes, hears 403 until Resume. */
static void admin_drain(struct broker *broker, char text[ADMIN_TEXT_BYTES])
{
    struct request *request;
    struct fault fault;
    unsigned n_refused = 0;

    broker->held = true;
    fault_set(&fault, STATUS_DRAINING, "an administrator holds the service");
    LIST_FOREACH (request, &broker->requests, node)
        if (request->state == REQUEST_QUEUED || request->state == REQUEST_RECEIVING) {
            request_fail(request, &fault);
            n_refused++;
        }
    snprintf(text, ADMIN_TEXT_BYTES, "draining: %u requests run on, %u that waited were refused",
             broker->queue.n_started, n_refused);
}

static void admin_resume(struct broker *broker, char text[ADMIN_TEXT_BYTES])
{
    snprintf(text, ADMIN_TEXT_BYTES,
             broker->held ? "requests are taken again" : "requests were taken already");
    broker->held = false;
    broker_kick(broker);
}

/* upgrade */
/* With a mistake in the files the next broker would not start. */
static int admin_upgrade(struct broker *broker, struct fault *fault)
{
    _cleanup_(publish_freep) struct publish *publish = NULL;
    _cleanup_(freep) struct policy *policy = NULL;
    char changes[ADMIN_TEXT_BYTES];
    int r = use_check(&broker->use, "upgrade", fault);

    if (r)
        return r;
    r = admin_read(broker->options, &policy, &publish, changes, fault);
    if (r < 0)
        return fault_set(fault, STATUS_INTERNAL, "%s", strerror(-r));
    if (r) {
        fault->code = STATUS_INVALID;
        return r;
    }
    r = upgrade_run(broker, !*changes, fault);
    log_warn("not upgraded: %s", fault->text);
    return r;
}

/* messages */
static int admin_check(const struct client *client, const Qwp__Admin *admin, struct refusal *refusal)
{
    static const uint32_t rights[] = {[QWP__ADMIN__VERB__RELOAD] = POLICY_RELOAD,
                                      [QWP__ADMIN__VERB__DRAIN] = POLICY_DRAIN,
                                      [QWP__ADMIN__VERB__RESUME] = POLICY_DRAIN,
                                      [QWP__ADMIN__VERB__UPGRADE] = POLICY_RELOAD};
    struct policy_ask ask = {.op = POLICY_OP_ADMIN};
    int r;

    if (!admin->has_verb)
        return fault_set(&refusal->fault, STATUS_INVALID, "Admin has no verb");
    ask.admin = rights[admin->verb];
    r = policy_check(client->class, &ask, &(struct policy_usage){}, refusal);
    if (!r && client->broker->draining)
        r = fault_set(&refusal->fault, STATUS_DRAINING, "qwend is being stopped");
    return r;
}

static int admin_run(struct client *client, Qwp__Admin__Verb verb, char text[ADMIN_TEXT_BYTES],
                     struct fault *fault)
{
    static const char *const names[] = {[QWP__ADMIN__VERB__RELOAD] = "reload",
                                        [QWP__ADMIN__VERB__DRAIN] = "drain",
                                        [QWP__ADMIN__VERB__RESUME] = "resume",
                                        [QWP__ADMIN__VERB__UPGRADE] = "upgrade"};
    struct broker *broker = client->broker;
    int r = 0;

    log_info("uid %u pid %d: administrator's %s", client->peer.uid, client->peer.pid, names[verb]);
    if (verb == QWP__ADMIN__VERB__UPGRADE)
        return admin_upgrade(broker, fault);
    if (verb == QWP__ADMIN__VERB__RELOAD) {
        r = admin_reload_now(broker, text, fault);
        fault->code = r < 0 ? STATUS_INTERNAL : STATUS_INVALID;
        return r;
    }
    if (verb == QWP__ADMIN__VERB__DRAIN)
        admin_drain(broker, text);
    else
        admin_resume(broker, text);
    sd_notify_put("STATUS=%s", admin_state(broker));
    return r;
}

void admin_do(struct client *client, uint32_t stream, const Qwp__Admin *admin)
{
    char text[ADMIN_TEXT_BYTES];
    struct refusal refusal = {};
    Qwp__Done done = QWP__DONE__INIT;
    int r = admin_check(client, admin, &refusal);

    if (!r)
        r = admin_run(client, admin->verb, text, &refusal.fault);
    if (r) {
        client_refuse(client, stream, &refusal.fault);
        return;
    }
    done.text = text;
    client_put(client, stream, MSG_DONE, FRAME_END_STREAM, &done.base);
}
