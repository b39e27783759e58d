/* scrape.c - accept, look who it is, send, close.  See scrape.h. */
#include "scrape.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "broker.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "daemon/util/peer.h"
#include "daemon/util/sd.h"
#include "report.h"
#include "request.h"

enum {
    SCRAPE_BACKLOG = 16,
    SCRAPE_ACCEPT_MAX = 4,                  /* per turn: each may cost a text */
    SCRAPE_RETRY_MS = 100,                  /* after running out of fds; else the loop would spin */
    SCRAPE_SNDBUF = 4 * METRICS_TEXT_BYTES, /* the kernel counts its own overhead too */
};

/* who may */
static int scrape_find_uid(const char *name, uid_t *ret_uid, struct fault *fault)
{
    const struct passwd *user;
    unsigned long long uid;
    char *end;

    errno = 0;
    uid = strtoull(name, &end, 10);
    if (*name >= '0' && *name <= '9' && !*end && !errno && uid < (uid_t)-1) {
        *ret_uid = (uid_t)uid;
        return 0;
    }
    user = getpwnam(name);
    if (!user)
        return fault_set(fault, BROKER_E_START, "metrics_allow names '%.64s', and there is no such user",
                         name);
    *ret_uid = user->pw_uid;
    return 0;
}

int scrape_read_uids(const char *list, uid_t uids[SCRAPE_UIDS_MAX], size_t *ret_n, struct fault *fault)
{
    static const char separators[] = ", \t";
    _cleanup_(freep) char *copy = strdup(list);
    char *rest = NULL;
    size_t n = 0;

    if (!copy)
        return err_origin(-ENOMEM);
    for (char *name = strtok_r(copy, separators, &rest); name; name = strtok_r(NULL, separators, &rest)) {
        int r;

        if (n == SCRAPE_UIDS_MAX)
            return fault_set(fault, BROKER_E_START, "metrics_allow has more than %d users", SCRAPE_UIDS_MAX);
        r = scrape_find_uid(name, &uids[n++], fault);
        if (r)
            return r;
    }
    *ret_n = n;
    return 0;
}

static bool scrape_may(const struct scrape *scrape, int fd)
{
    const struct broker *broker = scrape->broker;
    struct peer peer;

    if (peer_read(fd, &peer))
        return false;
    for (size_t i = 0; i < scrape->n_uids; i++)
        if (scrape->uids[i] == peer.uid)
            return true;
    return !peer.uid || (broker->has_admin_gid && peer_in_group(fd, &peer, broker->admin_gid));
}

/* what they get */
static void scrape_fill(const struct broker *broker, struct metrics_now *now)
{
    const Qwe__Ready *ready = broker->supervise.ready;
    const struct request *request;

    *now = (struct metrics_now){
        .version = QWEND_VERSION,
        .backend = ready && ready->backend ? ready->backend : "",
        .state = report_state(broker),
        .uptime_ms = (clock_now_ns() - broker->started_ns) / 1000000,
        .engine_restarts = broker->supervise.n_restarts,
        .connections = broker->n_clients,
        .slots = ready ? supervise_slots(&broker->supervise) : 0,
        .held_bytes = broker->quota.used[QUOTA_BYTES],
        .held_max_bytes = broker->quota.max[QUOTA_BYTES],
        .journal_bytes = broker->quota.used[QUOTA_JOURNAL],
        .journal_max_bytes = broker->quota.max[QUOTA_JOURNAL],
        .weights_bytes = ready ? ready->weights_bytes : 0,
        .state_bytes = ready ? ready->state_bytes : 0,
        .cache_used_bytes = ready ? broker->supervise.cache_used_bytes : 0,
        .cache_bytes = ready ? ready->cache_bytes : 0,
    };
    LIST_FOREACH (request, &broker->requests, node) {
        const size_t i = metrics_class_index(request->priority);

        now->running[i] += request->item.started;
        now->queued[i] += request->state == REQUEST_QUEUED;
    }
}

static void scrape_answer(struct scrape *scrape, int fd)
{
    const int sndbuf = SCRAPE_SNDBUF;
    struct metrics_now now;
    ssize_t n;

    scrape_fill(scrape->broker, &now);
    buf_consume(&scrape->text, buf_size(&scrape->text));
    if (metrics_put_text(&scrape->broker->metrics, &now, &scrape->text)) {
        log_warn("metrics: no memory for their text");
        return;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)); /* as far as wmem_max goes */
    n = send(fd, buf_head(&scrape->text), buf_size(&scrape->text), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0 && (size_t)n < buf_size(&scrape->text)) /* without "# EOF" it is seen to be cut */
        log_warn("metrics: the socket took %zd of %zu bytes", n, buf_size(&scrape->text));
}

static void scrape_on_readable(int listen_fd, short what, void *arg)
{
    struct scrape *scrape = arg;

    for (int i = 0; i < SCRAPE_ACCEPT_MAX; i++) {
        _cleanup_(closep) int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            if (scrape_may(scrape, fd))
                scrape_answer(scrape, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            loop_unwatch(scrape->readable);
            loop_arm_ms(scrape->retry, SCRAPE_RETRY_MS);
        }
        return;
    }
}

static void scrape_on_retry(int fd, short what, void *arg)
{
    struct scrape *scrape = arg;

    loop_watch(scrape->readable);
}

/* Off, unless it is asked for or the service was started by its unit.  The unit's socket is a convenience:
 * that it cannot be bound there is no reason not to serve. */
static int scrape_bind(struct scrape *scrape, struct fault *fault)
{
    const char *path = scrape->broker->options->metrics;
    struct fault why = {};
    int n, r;

    if (path)
        return strcmp(path, "none") ? bound_open(&scrape->bound, path, SCRAPE_BACKLOG, fault) : 0;
    if (sd_take_socket(&n) < 0)
        return 0;
    r = bound_open(&scrape->bound, SCRAPE_PATH_DEFAULT, SCRAPE_BACKLOG, &why);
    if (r > 0)
        log_warn("no metrics socket: %s", why.text);
    return r < 0 ? r : 0;
}

int scrape_open(struct broker *broker, struct scrape *ret_scrape, struct fault *fault)
{
    struct scrape *scrape = ret_scrape;
    int r = 0;

    *scrape = (struct scrape){.broker = broker, .bound = BOUND_NULL, .text = BUF_INIT(METRICS_TEXT_BYTES)};
    if (broker->options->metrics_allow)
        r = scrape_read_uids(broker->options->metrics_allow, scrape->uids, &scrape->n_uids, fault);
    if (!r)
        r = scrape_bind(scrape, fault);
    if (r || scrape->bound.fd < 0)
        return r;
    r = loop_event_new(broker->base, scrape->bound.fd, EV_READ | EV_PERSIST, scrape_on_readable, scrape,
                       &scrape->readable);
    if (!r)
        r = loop_event_new(broker->base, -1, 0, scrape_on_retry, scrape, &scrape->retry);
    return r ? r : loop_watch(scrape->readable);
}

void scrape_close(struct scrape *scrape)
{
    loop_event_free(&scrape->readable);
    loop_event_free(&scrape->retry);
    bound_close(&scrape->bound);
    buf_deinit(&scrape->text);
}
