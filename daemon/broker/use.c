/* use.c - from one model to another.  See use.h. */
#include "use.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "report.h"
#include "request.h"
#include "textop.h"

void use_init(struct use *use, struct broker *broker)
{
    *use = (struct use){.broker = broker, .kept = KEPT_INIT};
    trial_init(&use->trial, broker);
}

/* Whatever came of it was said. */
static void use_end(struct use *use)
{
    struct broker *broker = use->broker;

    trial_stop(&use->trial);
    kept_drop(&use->kept);
    freep(&use->model);
    freep(&use->before);
    use->stage = USE_NONE;
    use->client = NULL;
    queue_open(&broker->queue);
    broker_kick(broker);
}

void use_deinit(struct use *use)
{
    if (use->broker)
        use_end(use);
}

static void use_enter(struct use *use, enum use_stage stage)
{
    use->stage = stage;
    use_tell(use, true);
    broker_kick(use->broker);
}

uint32_t use_n_left(const struct use *use)
{
    const struct request *request;
    uint32_t n = 0;

    LIST_FOREACH (request, &use->broker->requests, node)
        n += request->state != REQUEST_DONE && request->state != REQUEST_RECEIVING && !request->item.later;
    return n;
}

int use_check(const struct use *use, const char *what, struct fault *fault)
{
    return use_is_on(use) ? fault_set(fault, STATUS_LOADING,
                                      "uid %u has another model loaded just now, %.*s: %s when that is done",
                                      use->uid, USE_FIT(use->model, 300), what)
                          : 0;
}

/* beginning */
static int use_check_right(const struct client *client, struct refusal *refusal)
{
    const struct policy_ask ask = {.op = POLICY_OP_ADMIN, .admin = POLICY_RELOAD};
    int r = policy_check(client->class, &ask, &(struct policy_usage){}, refusal);

    if (!r && client->broker->draining)
        r = fault_set(&refusal->fault, STATUS_DRAINING, "qwend is being stopped");
    return r;
}

/* The engine reads it as the user that we are. */
static int use_open_file(const struct broker *broker, const char *path, struct stat *ret_st,
                         struct fault *fault)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* it may be a FIFO */
    const int why = errno;

    if (fd < 0)
        return fault_set(fault, STATUS_INVALID, "%.*s: %s, for the daemon's user %s (uid %u)",
                         USE_FIT(path, 300), strerror(why), broker->user, geteuid());
    if (fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode))
        return fault_set(fault, STATUS_INVALID, "%.*s is no file", USE_FIT(path, 300));
    return 0;
}

static int use_check_path(const struct client *client, const Qwp__Use *msg, struct stat *ret_st,
                          struct fault *fault)
{
    const char *path = msg->model_path;

    if (!path)
        return fault_set(fault, STATUS_INVALID, "model_path is missing");
    if (path[0] != '/')
        return fault_set(fault, STATUS_INVALID, "model_path is %.*s: must begin at the root",
                         USE_FIT(path, 300));
    return use_open_file(client->broker, path, ret_st, fault);
}

static int use_begin(struct use *use, struct client *client, uint32_t stream, const char *path)
{
    struct broker *broker = use->broker;

    use->model = strdup(path);
    use->before = strdup(broker->supervise.model);
    use->client = client;
    use->stream = stream;
    use->uid = client->peer.uid;
    use->began_ns = clock_now_ns();
    use->told_ns = 0;
    use->keeps = false;
    use->why = (struct fault){};
    use->n_tries = 1;
    return use->model && use->before ? 0 : err_origin(-ENOMEM);
}

static int use_start(struct client *client, uint32_t stream, const Qwp__Use *msg, struct fault *fault)
{
    struct use *use = &client->broker->use;
    struct stat st;
    int r = use_check(use, "ask again", fault);

    if (!r)
        r = use_check_path(client, msg, &st, fault);
    if (r)
        return r;
    r = use_begin(use, client, stream, msg->model_path);
    if (!r && supervise_serves(&client->broker->supervise, msg->model_path, &st)) {
        use_answer(use, true);
        use_end(use);
        return 0;
    }
    if (!r)
        r = trial_start(&use->trial, use->model);
    if (r) {
        use_end(use);
        return r;
    }
    log_info("uid %u pid %d: use of %s: it is looked at", client->peer.uid, client->peer.pid, use->model);
    use_enter(use, USE_CHECKING);
    return 0;
}

/* giving up */
/* False: the old model is gone. */
static bool use_give_up(struct use *use, int code, const char *text)
{
    struct fault fault;

    if (use->stage != USE_CHECKING && use->stage != USE_DRAINING)
        return false;
    fault_set(&fault, code, "%s", text);
    use_refuse(use, &fault);
    use_end(use);
    return true;
}

void use_cancel(struct use *use)
{
    (void)use_give_up(use, STATUS_CANCELLED, "called off: the model that was served still is");
}

static int use_cancel_any(struct client *client, struct fault *fault)
{
    struct use *use = &client->broker->use;

    if (!use_is_on(use))
        return fault_set(fault, STATUS_UNKNOWN_REQUEST, "no other model is being loaded");
    if (!use_give_up(use, STATUS_CANCELLED, "called off by another administrator"))
        return fault_set(fault, STATUS_LOADING, "too late: the old model is gone");
    log_info("uid %u pid %d: the use was called off", client->peer.uid, client->peer.pid);
    return 0;
}

void use_on_client_gone(struct client *client)
{
    struct use *use = &client->broker->use;

    if (use->client == client)
        use->client = NULL;
}

void use_stop(struct use *use)
{
    struct fault fault;

    if (use_give_up(use, STATUS_DRAINING, "qwend is being stopped") || !use_is_on(use))
        return;
    fault_set(&fault, STATUS_DRAINING, "qwend is being stopped");
    use_refuse(use, &fault); /* the engine goes with the broker */
}

/* clients */
static void use_refuse_now(struct client *client, uint32_t stream, int r, struct refusal *refusal)
{
    if (r < 0) {
        log_errno(r, "uid %u: use of another model is refused", client->peer.uid);
        fault_set(&refusal->fault, STATUS_INTERNAL, "%s", strerror(-r));
    }
    client_refuse_limit(client, stream, refusal);
    client_stream_close(client, stream);
}

void use_open(struct client *client, struct client_stream *stream, const Qwp__Use *msg)
{
    const bool cancels = msg->has_cancel && msg->cancel;
    const uint32_t id = stream->id;
    Qwp__Done done = QWP__DONE__INIT;
    struct refusal refusal = {};
    int r = use_check_right(client, &refusal);

    if (!r && !cancels) {
        stream->use = &client->broker->use;
        r = use_start(client, id, msg, &refusal.fault);
    }
    if (!r && cancels)
        r = use_cancel_any(client, &refusal.fault);
    if (r) {
        use_refuse_now(client, id, r, &refusal);
    } else if (cancels) {
        done.text = (char *)"called off: the model that was served still is";
        client_put(client, id, MSG_DONE, FRAME_END_STREAM, &done.base);
        client_stream_close(client, id);
    }
}

/* CHECKING */
/* Only main memory is known well enough: of a GPU the engine that serves has taken what it could. */
static bool use_is_in_main_memory(const struct broker *broker)
{
    const Qwe__Ready *ready = broker->supervise.ready;

    return !ready || !ready->backend || strcmp(ready->backend, "cuda") != 0;
}

void use_on_fit(struct use *use, const Qwe__Checked *checked)
{
    const Qwe__Ready *ready = use->broker->supervise.ready;
    const uint64_t old_bytes = ready ? ready->weights_bytes : 0;
    const bool known = use_is_in_main_memory(use->broker);
    struct fault why;

    if (known && checked->weights_bytes > checked->limit_bytes) {
        fault_set(&why, STATUS_OOM, "its weights take %llu MiB, this machine can give them %llu MiB",
                  (unsigned long long)(checked->weights_bytes >> 20),
                  (unsigned long long)(checked->limit_bytes >> 20));
        use_on_unfit(use, &why);
        return;
    }
    /* Twice its own, so that what is kept takes little of what the new engine sizes its cache by. */
    use->keeps = known && checked->free_bytes / 2 > MAX(checked->weights_bytes, old_bytes);
    queue_close(&use->broker->queue);
    log_info("use of %s: it can be loaded, %u requests of the old model are to end first", use->model,
             use_n_left(use));
    use_enter(use, USE_DRAINING);
}

void use_on_unfit(struct use *use, const struct fault *why)
{
    struct fault fault;

    fault_set(&fault, why->code, "%.*s cannot be used, nothing was changed: %.*s", USE_FIT(use->model, 200),
              USE_FIT(why->text, 250));
    use_refuse(use, &fault);
    use_end(use);
}

/* DRAINING */
bool use_wants_quiet(const struct use *use)
{
    return use->stage == USE_DRAINING && !use_n_left(use);
}

/* Nobody waits for a word of it any more.  What was under way in an engine that is gone does not count; one
 * that is just starting, or dying, says soon what it is. */
static bool use_may_switch(const struct use *use)
{
    const struct broker *broker = use->broker;
    const bool owes = link_is_open(&broker->link) &&
                      (textop_is_pending(broker) || broker->link.unread || broker->quarantine.on);

    return use_wants_quiet(use) && broker->supervise.state != SUPERVISE_LOADING && !owes;
}

static void use_switch(struct use *use)
{
    struct broker *broker = use->broker;
    char *model = strdup(use->model);

    if (!model) {
        (void)use_give_up(use, STATUS_INTERNAL, "out of memory");
        return;
    }
    log_info("use of %s: the engine of %s ends", use->model, use->before);
    publish_on_switch(broker->publish);
    supervise_change(&broker->supervise, &model, &use->kept);
    if (!use->keeps) {
        kept_drop(&use->kept);
        store_drop_weights();
    }
    use_enter(use, USE_LOADING);
}

void use_pump(struct use *use)
{
    if (use->stage == USE_DRAINING && use_may_switch(use))
        use_switch(use);
    if (use_is_on(use))
        use_tell(use, false);
}

/* LOADING */
void use_on_failed(struct use *use, int code, const char *text)
{
    fault_set(&use->why, code, "%.*s", USE_FIT(text, 400));
}

bool use_on_death(struct use *use, const char *how)
{
    if (use->stage != USE_LOADING || (!use->why.code && --use->n_tries))
        return false;
    if (!use->why.code)
        fault_set(&use->why, STATUS_ENGINE_LOST, "its engine %.*s while it loaded", USE_FIT(how, 300));
    log_warn("use of %s: %s; %s is loaded again", use->model, use->why.text, use->before);
    supervise_return(&use->broker->supervise, &use->before, &use->kept);
    use_enter(use, USE_RETURNING);
    return true;
}

static void use_succeed(struct use *use)
{
    struct broker *broker = use->broker;

    broker->forecast = (struct forecast){}; /* what tokens cost was the old one's */
    if (broker->supervise.kept.fd < 0)
        store_drop_weights(); /* it left none, and the old one's are of no use */
    use_answer(use, false);
    report_served(broker);
}

static void use_fall_back(struct use *use)
{
    struct supervise *supervise = &use->broker->supervise;
    struct fault fault;

    fault_set(&fault, use->why.code, "%.*s cannot be used, the old model serves again: %.*s",
              USE_FIT(use->model, 160), USE_FIT(use->why.text, 280));
    snprintf(supervise->note, sizeof(supervise->note), "%s", fault.text); /* who asked may have left */
    use_refuse(use, &fault);
}

void use_on_ready(struct use *use)
{
    if (use->stage != USE_LOADING && use->stage != USE_RETURNING)
        return; /* the old one was started again */
    request_restore_note(use->broker);
    if (use->stage == USE_LOADING)
        use_succeed(use);
    else
        use_fall_back(use);
    use_end(use);
}

/* A broker goes on where the last one died. */
int use_resume(struct use *use)
{
    const struct broker *broker = use->broker;

    if (!strcmp(broker->supervise.model, broker->options->model))
        return 0;
    use->model = strdup(broker->supervise.model);
    use->before = strdup(broker->options->model);
    if (!use->model || !use->before)
        return err_origin(-ENOMEM);
    use->uid = geteuid();
    use->began_ns = clock_now_ns();
    use->n_tries = USE_TRIES_RESUMED;
    use->stage = USE_LOADING;
    return 0;
}

void use_on_given_up(struct use *use, const struct fault *why)
{
    struct fault fault;

    if (use->stage != USE_RETURNING)
        return;
    fault_set(&fault, use->why.code, "%.*s cannot be used (%.*s), nor the old model any more: %.*s",
              USE_FIT(use->model, 100), USE_FIT(use->why.text, 160), USE_FIT(why->text, 160));
    use_refuse(use, &fault);
    use_end(use);
}
