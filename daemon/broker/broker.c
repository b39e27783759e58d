/* broker.c - the process.  See broker.h. */
#include "broker.h"

#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>

#include "client.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "daemon/util/sd.h"
#include "proto/status.h"
#include "report.h"
#include "request.h"
#include "textop.h"

enum { BROKER_TELL_MS = 500 }; /* positions at most twice a second */

/* deferred */

static void broker_on_pump(int fd, short what, void *arg)
{
    struct broker *broker = arg;

    request_start_next(broker);
    broker_tell(broker);
}

static void broker_on_reap(int fd, short what, void *arg)
{
    struct broker *broker = arg;
    struct client *client;

    LIST_FOREACH(client, &broker->clients, node)
    if (client->dead)
        client_free(client);
}

static void broker_on_tell(int fd, short what, void *arg)
{
    struct broker *broker = arg;

    request_tell_all(broker);
    report_notify(broker);
}

uint32_t broker_new_handle(struct broker *broker)
{
    return ++broker->last_handle ? broker->last_handle : ++broker->last_handle; /* 0 is the engine itself */
}

void broker_kick(struct broker *broker)
{
    loop_defer(broker->pump);
}

void broker_reap(struct broker *broker)
{
    loop_defer(broker->reap);
}

void broker_tell(struct broker *broker)
{
    if (!loop_is_armed(broker->tell))
        loop_arm_ms(broker->tell, BROKER_TELL_MS);
}

void broker_status_changed(struct broker *broker)
{
    broker_tell(broker);
}

/* stopping */

static void broker_stop(struct broker *broker)
{
    broker->stopping = true;
    event_base_loopbreak(broker->base);
}

static void broker_stop_if_drained(struct broker *broker)
{
    if (broker->draining && list_is_empty(&broker->requests) && list_is_empty(&broker->textops))
        broker_stop(broker);
}

void broker_on_request_gone(struct broker *broker)
{
    if (broker->draining)
        loop_defer(broker->drained); /* what it still has to say is queued by then */
}

static void broker_on_drained(int fd, short what, void *arg)
{
    broker_stop_if_drained(arg);
}

/* The time is up.  An event of its own: deferring a timer disarms it. */
static void broker_on_drain(int fd, short what, void *arg)
{
    struct broker *broker = arg;
    struct request *request;

    LIST_FOREACH(request, &broker->requests, node)
    request_refuse_text(request, STATUS_DRAINING, "the service was stopped before this request was done");
    textop_fail_all(broker, "the service was stopped before this was answered");
    broker_stop(broker);
}

static void broker_drain(struct broker *broker)
{
    if (broker->draining) { /* asked twice: at once */
        broker_stop(broker);
        return;
    }
    log_info("stopping: %u requests have %u s to end", broker->queue.n_started + broker->queue.n_waiting,
             broker->options->drain_s);
    broker->draining = true;
    sd_notify_put("STOPPING=1");
    broker_status_changed(broker);
    loop_arm_ms(broker->drain, broker->options->drain_s * 1000ull);
    broker_stop_if_drained(broker);
}

static void broker_on_signal(int sig, short what, void *arg)
{
    struct broker *broker = arg;

    if (sig == SIGCHLD)
        supervise_on_child(&broker->supervise);
    else if (sig == SIGHUP)
        log_warn("SIGHUP: the configuration is read at start only; restart the service");
    else
        broker_drain(broker);
}

/* Twice per interval, from the loop itself: a loop that hangs is noticed. */
static void broker_on_beat(int fd, short what, void *arg)
{
    struct broker *broker = arg;

    sd_notify_put("WATCHDOG=1");
    loop_arm_ms(broker->beat, sd_watchdog_us() / 2000);
}

/* life */

static int broker_make_signals(struct broker *broker)
{
    static const int signals[BROKER_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    int r = 0;

    for (size_t i = 0; !r && i < ARRAY_SIZE(signals); i++) {
        r = loop_event_new(broker->base, signals[i], EV_SIGNAL | EV_PERSIST, broker_on_signal, broker,
                           &broker->signals[i]);
        if (!r)
            r = loop_watch(broker->signals[i]);
    }
    return r;
}

static int broker_make_events(struct broker *broker)
{
    const struct {
        event_callback_fn on_event;
        struct event **event;
    } rows[] = {
        {broker_on_pump, &broker->pump}, {broker_on_reap, &broker->reap},
        {broker_on_tell, &broker->tell}, {broker_on_drain, &broker->drain},
        {broker_on_beat, &broker->beat}, {broker_on_drained, &broker->drained},
    };
    int r = loop_new(&broker->base);

    for (size_t i = 0; !r && i < ARRAY_SIZE(rows); i++)
        r = loop_event_new(broker->base, -1, 0, rows[i].on_event, broker, rows[i].event);
    return r ? r : broker_make_signals(broker);
}

static void broker_find_admins(struct broker *broker)
{
    const struct group *group = getgrnam("qwend-admin"); /* at start only: no request causes a look-up */

    broker->has_admin_gid = group;
    if (group)
        broker->admin_gid = group->gr_gid;
}

int broker_init(struct broker *broker, const struct options *options, struct fault *fault)
{
    const uint64_t max[QUOTA_SLOT_N] = {[QUOTA_CONNECTIONS] = options->max_connections,
                                        [QUOTA_REQUESTS] = options->max_requests,
                                        [QUOTA_BYTES] = (uint64_t)options->max_mib << 20};
    int r;

    *broker = (struct broker){.options = options, .started_ns = clock_now_ns()};
    broker->listener.fd = broker->listener.spare_fd = -1;
    list_init(&broker->clients);
    list_init(&broker->requests);
    list_init(&broker->textops);
    quota_init(&broker->quota, max);
    queue_init(&broker->queue);
    link_init(broker, &broker->link);
    broker_find_admins(broker);
    if (getrandom(broker->boot_id, sizeof(broker->boot_id), 0) != sizeof(broker->boot_id))
        return err_errno();
    r = broker_make_events(broker);
    if (!r)
        r = supervise_init(broker, &broker->supervise, options->engine, fault);
    if (!r)
        r = listener_open(broker, options->socket, &broker->listener, fault);
    return r ? r : supervise_start(&broker->supervise);
}

int broker_run(struct broker *broker)
{
    struct client *client;

    sd_notify_put("READY=1");
    if (sd_watchdog_us())
        loop_arm_ms(broker->beat, sd_watchdog_us() / 2000);
    if (event_base_dispatch(broker->base) < 0)
        return err_origin(-EIO);
    LIST_FOREACH(client, &broker->clients, node) /* last words, as far as the sockets take them at once */
    sock_flush(&client->sock);
    return 0;
}

void broker_deinit(struct broker *broker)
{
    struct client *client;

    broker->stopping = true;
    if (broker->clients.next)
        LIST_FOREACH(client, &broker->clients, node)
    client_free(client);
    listener_close(&broker->listener);
    link_close(&broker->link);
    supervise_deinit(&broker->supervise);
    if (broker->queue.accounts.next)
        queue_deinit(&broker->queue);
    for (size_t i = 0; i < ARRAY_SIZE(broker->signals); i++)
        loop_event_free(&broker->signals[i]);
    loop_event_free(&broker->pump);
    loop_event_free(&broker->reap);
    loop_event_free(&broker->tell);
    loop_event_free(&broker->drain);
    loop_event_free(&broker->drained);
    loop_event_free(&broker->beat);
    if (broker->base)
        event_base_free(broker->base);
}
