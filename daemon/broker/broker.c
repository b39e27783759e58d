/* broker.c - putting the parts together: start, signals, what may run now, the end.  See broker.h. */
#include "broker.h"

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "admin.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "daemon/util/sd.h"
#include "preempt.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "request.h"
#include "textop.h"

#define BROKER_ADMIN_GROUP "qwend-admin"
enum {
    BROKER_FDS_PASSED = 512, /* all that no frame has claimed yet (QUOTA_FDS) */
    BROKER_FDS_OTHER = 64,   /* beside connections and prompt memfds: epoll, signals, engine, log … */
};

uint32_t broker_new_handle(struct broker *broker)
{
    if (!++broker->last_handle) /* after 4 billion requests; none of the first is left */
        ++broker->last_handle;
    return broker->last_handle;
}

static struct list *broker_bucket(struct broker *broker, uint32_t handle)
{
    return &broker->by_handle[handle % BROKER_BUCKETS];
}

void broker_set_handle(struct request *request, uint32_t handle)
{
    list_remove(&request->handle_node);
    request->handle = handle;
    list_push(broker_bucket(request->broker, handle), &request->handle_node);
}

void broker_give_handle(struct request *request)
{
    broker_set_handle(request, broker_new_handle(request->broker));
}

struct request *broker_find_request(struct broker *broker, uint32_t handle)
{
    struct request *request;

    LIST_FOREACH (request, broker_bucket(broker, handle), handle_node)
        if (request->handle == handle)
            return request;
    return NULL;
}

void broker_kick(struct broker *broker)
{
    if (broker->pump)
        loop_defer(broker->pump);
}

void broker_reap(struct broker *broker)
{
    loop_defer(broker->reap);
}

static void broker_on_reap(int fd, short what, void *arg)
{
    struct broker *broker = arg;
    struct client *client;

    LIST_FOREACH (client, &broker->clients, node)
        if (client->dead)
            client_free(client);
    broker_kick(broker);
}

/* what may run */
/* Requests of a dead engine first, in their old order; they hold their slots already. */
static bool broker_submit_replays(struct broker *broker)
{
    struct request *request;

    LIST_FOREACH (request, &broker->requests, node)
        if (request->state == REQUEST_REPLAYING && request_submit(request))
            return false;
    return true;
}

/* A slot for the one that is next.  One that may be preempted soon is looked at again by the timer. */
static bool broker_has_slot_for(struct broker *broker, const struct queue_item *item)
{
    uint64_t due_ns, now_ns;

    if (broker->queue.n_started < supervise_slots(&broker->supervise))
        return true;
    switch (preempt_for(broker, item, &due_ns)) {
    case PREEMPT_OK:
        return true;
    case PREEMPT_E_LATER: /* its first token is no timer's business: request_note_progress() */
        now_ns = clock_now_ns();
        loop_arm_ms(broker->tell, CLAMP((due_ns - MIN(due_ns, now_ns)) / 1000000, 1, REQUEST_TELL_MS));
    }
    return false;
}

/* A prompt may be seconds of text work, so the engine gets one at a time to read: whoever comes next waits
 * for that one, not for one a slot, nor for those that were sent and cancelled. */
static void broker_submit_next(struct broker *broker)
{
    while (!broker->link.unread) {
        struct queue_item *item = queue_next(&broker->queue);

        if (!item || !broker_has_slot_for(broker, item) ||
            request_submit(list_entry(item, struct request, item)))
            return;
    }
}

static void broker_submit(struct broker *broker)
{
    if (broker->quarantine.on) {
        quarantine_pump(broker);
        return;
    }
    if (use_wants_quiet(&broker->use))
        return;
    textop_pump(broker);
    if (broker_submit_replays(broker))
        broker_submit_next(broker);
    publish_pump(broker);
}

static bool broker_is_working(const struct broker *broker)
{
    const struct request *request;

    LIST_FOREACH (request, &broker->requests, node)
        if (request_is_at_work(request))
            return true;
    return broker->link.unread || broker->quarantine.barrier || textop_is_pending(broker);
}

/* Tells positions that changed; those told a moment ago have to wait for the timer. */
static void broker_tell_positions(struct broker *broker)
{
    const uint64_t now_ns = clock_now_ns();
    struct request *request;
    bool later = false;

    LIST_FOREACH (request, &broker->requests, node)
        later |= request_tell_position(request, now_ns);
    if (later && !loop_is_armed(broker->tell))
        loop_arm_ms(broker->tell, REQUEST_TELL_MS);
}

static bool broker_has_drained(struct broker *broker)
{
    struct client *client;

    if (!list_is_empty(&broker->requests) || !list_is_empty(&broker->textops))
        return false;
    LIST_FOREACH (client, &broker->clients, node)
        if (!client->dead && buf_size(&client->sock.out))
            return false;
    return true;
}

static void broker_on_pump(int fd, short what, void *arg)
{
    struct broker *broker = arg;

    if (broker->supervise.state == SUPERVISE_SERVING && link_is_open(&broker->link))
        broker_submit(broker);
    use_pump(&broker->use);
    broker_tell_positions(broker);
    supervise_watch(&broker->supervise, broker_is_working(broker));
    if (broker->draining && broker_has_drained(broker))
        event_base_loopbreak(broker->base);
}

/* the end */
/* Requests that have not begun are refused, the others get drain_s to finish. */
static void broker_drain(struct broker *broker)
{
    const struct journal_event event = {.kind = JOURNAL_STOPPING,
                                        .numbers = {{"QWEND_RUNNING", broker->queue.n_started},
                                                    {"QWEND_QUEUED", queue_n_waiting(&broker->queue)},
                                                    {"QWEND_DRAIN_S", broker->options->drain_s}}};
    struct fault fault;
    struct request *request;

    broker->draining = true;
    use_stop(&broker->use);
    sd_notify_put("STOPPING=1\nSTATUS=finishing running requests");
    log_event_info(&event, "stopping: %u requests have %u s to end, %u that wait are refused",
                   broker->queue.n_started, broker->options->drain_s, queue_n_waiting(&broker->queue));
    fault_set(&fault, STATUS_DRAINING, "qwend is being stopped");
    LIST_FOREACH (request, &broker->requests, node) {
        if (request->state == REQUEST_QUEUED || request->state == REQUEST_RECEIVING ||
            (request->state == REQUEST_DONE && !request->client))
            request_fail(request, &fault);
        else
            request_tell_event(request, QWP__EVENT__KIND__DRAINING);
    }
    loop_arm_ms(broker->drain, broker->options->drain_s * 1000ull);
    broker_kick(broker);
}

/* Time is over: who still runs hears it, as far as its socket takes it at once. */
static void broker_cut_off(struct broker *broker)
{
    struct fault fault;
    struct request *request;
    struct client *client;

    fault_set(&fault, STATUS_DRAINING, "qwend was stopped before the request had ended");
    LIST_FOREACH (request, &broker->requests, node)
        request_fail(request, &fault);
    textop_fail_all(broker, &fault);
    LIST_FOREACH (client, &broker->clients, node)
        if (!client->dead)
            (void)sock_flush(&client->sock);
}

static void broker_on_drain_end(int fd, short what, void *arg)
{
    struct broker *broker = arg;

    log_warn("stopping: requests still run after %u s and are cut off", broker->options->drain_s);
    event_base_loopbreak(broker->base);
}

static void broker_on_signal(int signal, short what, void *arg)
{
    struct broker *broker = arg;

    if (signal == SIGCHLD) {
        trial_on_child(&broker->use.trial);
        supervise_on_child(&broker->supervise);
    } else if (signal == SIGHUP) {
        admin_reload(broker);
    } else if (!broker->draining) {
        broker_drain(broker);
    } else {
        log_warn("stopping at once");
        event_base_loopbreak(broker->base);
    }
}

static void broker_on_beat(int fd, short what, void *arg)
{
    struct broker *broker = arg;

    sd_notify_put("WATCHDOG=1");
    loop_arm_ms(broker->beat, sd_watchdog_us() / 2000); /* twice as often as asked for */
}

/* the beginning */
/* Each connection, each fd that was passed and that no frame has claimed, and each queued prompt need one:
 * who keeps to what is granted can never leave another user without. */
static int broker_check_fds(const struct options *options, struct fault *fault)
{
    const rlim_t want =
        (rlim_t)options->max_connections + options->max_requests + BROKER_FDS_PASSED + BROKER_FDS_OTHER;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return err_errno();
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < want)
        return fault_set(fault, BROKER_E_START,
                         "max_connections and max_requests need %llu file descriptors, the limit is %llu",
                         (unsigned long long)want, (unsigned long long)limit.rlim_max);
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < want) {
        limit.rlim_cur = want;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            return err_errno();
    }
    return 0;
}

/* Like the names of the classes (policy_read.c) looked up now: no request causes a lookup. */
static void broker_find_admin_group(struct broker *broker)
{
    const struct group *group = getgrnam(BROKER_ADMIN_GROUP);

    broker->has_admin_gid = group;
    broker->admin_gid = group ? group->gr_gid : 0;
}

static void broker_find_user(struct broker *broker)
{
    const struct passwd *user = getpwuid(geteuid());

    snprintf(broker->user, sizeof(broker->user), "%s", user ? user->pw_name : "without a name");
}

/* The configuration's model, unless the broker that we go on for had another one. */
static int broker_choose_model(struct broker *broker)
{
    broker->supervise.model = use_recorded(broker);
    return broker->supervise.model ? 0 : err_origin(-ENOMEM);
}

static int broker_init_events(struct broker *broker)
{
    static const int signals[BROKER_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    const struct {
        event_callback_fn on_event;
        struct event **event;
    } timers[] = {
        {broker_on_pump, &broker->pump}, {broker_on_reap, &broker->reap},
        {broker_on_pump, &broker->tell}, {broker_on_drain_end, &broker->drain},
        {broker_on_beat, &broker->beat},
    };
    int r = loop_new(&broker->base);

    for (size_t i = 0; i < ARRAY_SIZE(timers) && !r; i++)
        r = loop_event_new(broker->base, -1, 0, timers[i].on_event, broker, timers[i].event);
    for (size_t i = 0; i < BROKER_SIGNALS && !r; i++) {
        r = loop_event_new(broker->base, signals[i], EV_SIGNAL | EV_PERSIST, broker_on_signal, broker,
                           &broker->signals[i]);
        if (!r)
            r = loop_watch(broker->signals[i]);
    }
    if (!r && sd_watchdog_us())
        r = loop_arm_ms(broker->beat, 0);
    return r;
}

int broker_init(struct broker *broker, const struct options *options, struct policy **policy,
                struct publish **publish, struct fault *fault)
{
    const uint64_t max[QUOTA_SLOT_N] = {
        [QUOTA_CONNECTIONS] = options->max_connections,
        [QUOTA_REQUESTS] = options->max_requests,
        [QUOTA_BYTES] = (uint64_t)options->max_mib << 20,
        [QUOTA_JOURNAL] = store_limit_bytes(options->journal_mib),
        [QUOTA_FDS] = BROKER_FDS_PASSED,
    };
    int r;

    *broker = (struct broker){
        .options = options, .policy = steal(policy), .publish = steal(publish), .started_ns = clock_now_ns()};
    broker->link.sock.fd = broker->listener.bound.fd = broker->listener.spare_fd = -1;
    broker->scrape.bound = BOUND_NULL;
    broker->supervise.broker = broker;
    use_init(&broker->use, broker);
    broker->supervise.kept = KEPT_INIT;
    broker->store.ledger = LEDGER_NULL;
    broker->handover = HANDOVER_NULL;
    list_init(&broker->clients);
    list_init(&broker->requests);
    for (int i = 0; i < BROKER_BUCKETS; i++)
        list_init(&broker->by_handle[i]);
    list_init(&broker->textops);
    list_init(&broker->watches);
    meter_add(&broker->read, broker->started_ns, 0);
    meter_add(&broker->written, broker->started_ns, 0);
    accounts_init(&broker->accounts);
    quota_init(&broker->quota, max);
    queue_init(&broker->queue);
    broker_find_admin_group(broker);
    broker_find_user(broker);
    if (getrandom(broker->boot_id, sizeof(broker->boot_id), 0) < 0)
        return err_errno();
    r = broker_check_fds(options, fault);
    if (!r)
        r = broker_init_events(broker);
    if (!r)
        r = supervise_init(&broker->supervise, broker, fault);
    if (!r)
        r = store_open(&broker->store, broker, options->journal_mib);
    if (!r)
        r = broker_choose_model(broker);
    if (!r) {
        handover_find(broker);
        request_restore_all(broker);
    }
    if (!r)
        r = listener_open(broker, options->socket, &broker->listener, fault);
    if (!r)
        r = scrape_open(broker, &broker->scrape, fault);
    return r;
}

int broker_run(struct broker *broker)
{
    if (!handover_take_engine(broker)) {
        int r = use_resume(&broker->use);

        if (r)
            return r;
        supervise_start(&broker->supervise);
    }
    dprintf(STDERR_FILENO, "ready %s\n", broker->options->socket);
    sd_notify_put("READY=1");
    if (event_base_dispatch(broker->base) < 0)
        return err_origin(-EIO);
    broker_cut_off(broker);
    store_close(&broker->store, true);
    return 0;
}

void broker_deinit(struct broker *broker)
{
    struct event **timers[] = {&broker->pump, &broker->reap, &broker->tell, &broker->drain, &broker->beat};
    struct request *request;
    struct client *client;

    store_close(&broker->store,
                false); /* what is freed below has not ended: the next broker may go on with it */
    listener_close(&broker->listener);
    scrape_close(&broker->scrape);
    LIST_FOREACH (client, &broker->clients, node)
        client_free(client);
    LIST_FOREACH (request, &broker->requests, node)
        request_free(request);                  /* the detached ones */
    textop_fail_all(broker, &(struct fault){}); /* given up by their clients, not by the engine */
    use_deinit(&broker->use);
    supervise_deinit(&broker->supervise);
    handover_deinit(&broker->handover);
    queue_deinit(&broker->queue);
    accounts_deinit(&broker->accounts);
    freep(&broker->policy);
    broker->publish = publish_free(broker->publish);
    for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
        loop_event_free(timers[i]);
    for (size_t i = 0; i < BROKER_SIGNALS; i++)
        loop_event_free(&broker->signals[i]);
    if (broker->base)
        event_base_free(broker->base);
    broker->base = NULL;
}
