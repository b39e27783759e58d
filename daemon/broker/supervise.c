/* supervise.c - the engine's life, seen from outside.  See supervise.h, daemon.md §1.1-1.2. */
#include "supervise.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "broker.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "daemon/util/sd.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "proto/wire.h"
#include "request.h"
#include "spawn.h"
#include "textop.h"

enum {
    SUPERVISE_BACKOFF_MIN_MS = 10, /* after a death among finished steps: somebody waits for the next token */
    SUPERVISE_BACKOFF_MAX_MS = 5000,
    SUPERVISE_END_MS = 2000, /* a step on a slow CPU may take its time; then it is killed */
    SUPERVISE_SAVE_MS =
        10000, /* one with a cache_dir writes for up to 8 s; with drain_s within TimeoutStopSec */
    SUPERVISE_SLOTS_MAX = 256, /* what an engine may claim to run at once */
};
#define SUPERVISE_MINUTE_NS 60000000000ull

static void supervise_set(struct supervise *s, enum supervise_state state)
{
    static const char *const texts[] = {
        [SUPERVISE_OFF] = "stopped",         [SUPERVISE_LOADING] = "loading the model",
        [SUPERVISE_SERVING] = "serving",     [SUPERVISE_BACKOFF] = "restarting the engine",
        [SUPERVISE_FAILED] = "cannot serve",
    };

    s->state = state;
    sd_notify_put("STATUS=%s%s%.200s", texts[state], *s->note ? ": " : "", s->note);
    broker_kick(s->broker);
}

int supervise_check(const struct supervise *s, struct fault *fault)
{
    return s->state == SUPERVISE_FAILED ? fault_set(fault, s->failed_code, "%s", s->note) : 0;
}

uint32_t supervise_slots(const struct supervise *s)
{
    return s->ready && s->ready->has_slots ? CLAMP(s->ready->slots, 1u, (uint32_t)SUPERVISE_SLOTS_MAX) : 1;
}

/* The service is over: whoever waits hears why. */
static void supervise_fail(struct supervise *s, int code)
{
    struct request *request;
    struct fault fault;

    s->failed_code = code;
    log_event_err(&(struct journal_event){.kind = JOURNAL_FAILED, .code = code}, "cannot serve: %s", s->note);
    supervise_set(s, SUPERVISE_FAILED);
    supervise_check(s, &fault);
    LIST_FOREACH (request, &s->broker->requests, node)
        if (request->state != REQUEST_DONE)
            request_fail(request, &fault);
    textop_fail_all(s->broker, &fault);
    use_on_given_up(&s->broker->use, &fault);
}

/* starting */
void supervise_fill_start(const struct supervise *s, const char *model, Qwe__Start *start)
{
    const struct options *options = s->broker->options;

    qwe__start__init(start);
    start->model_path = (char *)model;
    start->backend = (char *)options->backend;
    start->isa = options->cpu_isa;
    start->has_context = start->has_slots = start->has_threads = true;
    start->context = options->context;
    start->slots = options->slots;
    start->threads = options->threads;
    start->kv_type = (char *)options->kv;
    start->embedding = (char *)options->embedding;
    start->has_cache_mib = options->cache_mib != OPTIONS_CACHE_AUTO;
    start->cache_mib = options->cache_mib;
    start->cache_dir = options->cache_dir;
    start->has_cache_dir_mib = options->cache_dir != NULL;
    start->cache_dir_mib = options->cache_dir_mib;
}

static int supervise_send_start(struct supervise *s)
{
    Qwe__Weights part = QWE__WEIGHTS__INIT;
    Qwe__Start start;
    int r = 0;

    supervise_fill_start(s, s->model, &start);
    start.weights = s->kept.msg;
    if (s->kept.fd < 0)
        return link_put(&s->broker->link, 0, MSG_E_START, &start.base);
    if (s->kept.host_fd >= 0) {
        part.has_host_bytes = true;
        part.host_bytes = s->kept.msg->host_bytes;
        r = link_put_fd(&s->broker->link, 0, MSG_E_WEIGHTS, &part.base, s->kept.host_fd);
    }
    if (r)
        return r;
    return link_put_fd(&s->broker->link, 0, MSG_E_START, &start.base, s->kept.fd);
}

/* A Start that the engine would not read (a path that is no UTF-8, a word too long) is said at once: each
 * engine would die of it. */
static int supervise_check_start(const struct supervise *s, struct fault *fault)
{
    _cleanup_(freep) uint8_t *body = NULL;
    struct fault why = {};
    Qwe__Start start;
    size_t n;
    int r;

    supervise_fill_start(s, s->broker->options->model, &start);
    n = qwe__start__get_packed_size(&start);
    body = malloc(n);
    if (!body)
        return err_origin(-ENOMEM);
    qwe__start__pack(&start, body);
    r = wire_check(&qwe__start__descriptor, body, n, &why);
    return r > 0 ? fault_set(fault, BROKER_E_START, "this cannot be passed to the engine: %s", why.text) : r;
}

static struct supervise_file supervise_file(const struct stat *st)
{
    return (struct supervise_file){st->st_dev, st->st_ino, st->st_size, st->st_mtim};
}

/* Of an engine that was started by another broker: the file may be another one by now. */
static void supervise_note_kept_file(struct supervise *s)
{
    const Qwe__Weights *kept = s->kept.msg;

    s->file = (struct supervise_file){};
    if (kept)
        s->file = (struct supervise_file){
            kept->device,
            kept->inode,
            (off_t)kept->file_bytes,
            {(time_t)(kept->mtime_ns / 1000000000u), (long)(kept->mtime_ns % 1000000000u)}};
}

static void supervise_note_file(struct supervise *s)
{
    struct stat st;

    s->file = stat(s->model, &st) < 0 ? (struct supervise_file){} : supervise_file(&st);
}

bool supervise_serves(const struct supervise *s, const char *path, const struct stat *st)
{
    const struct supervise_file *a = &s->file, b = supervise_file(st);

    return s->state == SUPERVISE_SERVING && a->device == b.device && a->inode == b.inode &&
           a->bytes == b.bytes && a->mtime.tv_sec == b.mtime.tv_sec && a->mtime.tv_nsec == b.mtime.tv_nsec;
}

static int supervise_spawn(struct supervise *s)
{
    _cleanup_(closep) int fd = -1;
    int r;

    r = spawn_engine(s->engine, s->broker->options->verbose, &s->pid, &fd);
    if (!r)
        r = link_open(&s->broker->link, s->broker, fd);
    if (r)
        return r;
    fd = -1;
    return supervise_send_start(s);
}

static void supervise_schedule_restart(struct supervise *s)
{
    s->n_restarts++;
    loop_arm_ms(s->restart, s->backoff_ms);
    s->backoff_ms = MIN(2 * s->backoff_ms, (uint32_t)SUPERVISE_BACKOFF_MAX_MS);
    supervise_set(s, SUPERVISE_BACKOFF);
}

void supervise_start(struct supervise *s)
{
    int r;

    supervise_note_file(s);
    r = supervise_spawn(s);
    s->is_closed = s->is_killed = s->is_leaving = false;
    *s->why = '\0';
    s->load_permille = 0;
    s->progress_ns = clock_now_ns();
    if (!r) {
        supervise_set(s, SUPERVISE_LOADING);
        return;
    }
    log_errno(r, "engine %s cannot be started, next try in %u ms", s->engine, s->backoff_ms);
    if (s->pid)
        supervise_kill(s, "it cannot be talked to"); /* SIGCHLD goes on from here */
    else
        supervise_schedule_restart(s);
}

void supervise_adopt(struct supervise *s, pid_t pid, Qwe__Ready *ready)
{
    supervise_note_kept_file(s);
    s->pid = pid;
    s->ready = ready;
    s->load_permille = 1000;
    s->cache_dir_used_bytes = ready->cache_dir_used_bytes; /* until the next Beat */
    s->progress_ns = clock_now_ns();
    snprintf(s->note, sizeof(s->note), "%s", ready->note ? ready->note : "");
    log_info("engine %d goes on under this broker", pid);
    supervise_set(s, SUPERVISE_SERVING);
    supervise_on_child(s); /* it may have died while nobody would have been told */
}

void supervise_disown(struct supervise *s, pid_t pid)
{
    s->pid = pid;
    supervise_set(s, SUPERVISE_LOADING);
    supervise_kill(s, "it cannot be taken over");
    supervise_on_child(s);
}

static void supervise_on_restart(int fd, short what, void *arg)
{
    supervise_start(arg);
}

/* another model */
static uint64_t supervise_end_ms(const struct supervise *s)
{
    return s->broker->options->cache_dir ? SUPERVISE_SAVE_MS : SUPERVISE_END_MS;
}

/* Nothing of the last model's engines counts. */
static void supervise_begin_anew(struct supervise *s, char **model)
{
    free(s->model);
    s->model = steal(model);
    s->n_deaths = 0;
    s->backoff_ms = SUPERVISE_BACKOFF_MIN_MS;
    s->load_permille = 0;
    *s->note = '\0';
}

void supervise_change(struct supervise *s, char **model, struct kept *ret_kept)
{
    supervise_begin_anew(s, model);
    *ret_kept = s->kept;
    s->kept = KEPT_INIT;
    loop_unwatch(s->restart);
    if (!s->pid) {
        supervise_start(s);
        return;
    }
    link_close(&s->broker->link); /* an engine ends by itself when its socket does */
    s->is_closed = s->is_leaving = true;
    loop_arm_ms(s->watch, supervise_end_ms(s));
    supervise_set(s, SUPERVISE_LOADING);
}

void supervise_return(struct supervise *s, char **model, struct kept *kept)
{
    supervise_begin_anew(s, model);
    kept_drop(&s->kept);
    s->kept = *kept;
    *kept = KEPT_INIT;
    if (s->kept.fd >= 0)
        store_put_weights(&s->kept);
    else
        store_drop_weights();
    supervise_start(s);
}

/* dying */
void supervise_kill(struct supervise *s, const char *why)
{
    if (!s->pid)
        return;
    log_err("engine %d is killed: %s", s->pid, why);
    snprintf(s->why, sizeof(s->why), "was killed: %s", why);
    s->is_killed = true;
    kill(s->pid, SIGKILL);
}

/* Killed at once, it could not be told from one that somebody else killed. */
void supervise_on_eof(struct supervise *s)
{
    s->is_closed = true;
    loop_arm_ms(s->watch, SUPERVISE_END_MS);
}

/* More than SUPERVISE_DEATHS_MAX in a minute, and no finished step between them? */
static bool supervise_is_hopeless(struct supervise *s)
{
    const uint64_t now = clock_now_ns();

    if (s->n_deaths > SUPERVISE_DEATHS_MAX) {
        memmove(s->deaths_ns, s->deaths_ns + 1, sizeof(s->deaths_ns) - sizeof(s->deaths_ns[0]));
        s->n_deaths--;
    }
    s->deaths_ns[s->n_deaths++] = now;
    return s->n_deaths > SUPERVISE_DEATHS_MAX && now - s->deaths_ns[0] <= SUPERVISE_MINUTE_NS;
}

static unsigned supervise_lose_requests(struct supervise *s)
{
    struct request *request;
    unsigned n = 0;

    LIST_FOREACH (request, &s->broker->requests, node) {
        n += request_is_in_engine(request);
        request_on_engine_lost(request);
    }
    textop_on_engine_lost(s->broker);
    return n;
}

int supervise_fit(const char *text, size_t max)
{
    size_t n = strlen(text);

    if (n <= max)
        return (int)n;
    for (n = max; n && ((uint8_t)text[n] & 0xc0) == 0x80;)
        n--;
    return (int)n;
}

/* Weights that an engine dies of before it is ready would end the next one too: that one reads the file. */
static void supervise_doubt_weights(struct supervise *s)
{
    if (s->kept.fd >= 0)
        log_warn(
            "the next engine loads the model from its file: this one ended while it took the weights over");
    kept_drop(&s->kept);
    store_drop_weights();
}

/* An engine that crashes before it ever served, where another one could serve without what it crashes of: a
 * GPU's driver runs in its address space.  Only if nobody asked for just this one. */
static void supervise_fall_back(struct supervise *s, const char *how)
{
    const struct options *options = s->broker->options;
    _cleanup_(freep) char *plain = NULL;

    if (s->ready || options->engine || strcmp(options->backend, "auto") != 0 ||
        spawn_find_engine(NULL, false, &plain, NULL) || !strcmp(plain, s->engine))
        return;
    snprintf(s->fell_back, sizeof(s->fell_back),
             "backend auto: qwend-engine-cuda %.100s while it loaded; the CPU serves", how);
    log_warn("%s", s->fell_back);
    freep(&s->engine);
    s->engine = steal(&plain);
}

static void supervise_on_death(struct supervise *s, pid_t pid, int status)
{
    const bool is_crash = s->is_killed || spawn_is_crash(status);
    struct journal_event event = {.kind = JOURNAL_CRASHED};
    char how[96];
    const char *last = *s->why ? s->why : how;
    unsigned n;

    spawn_describe_exit(status, how, sizeof(how));
    if (s->is_leaving) {
        log_info("engine %d %s; that of the next model starts", pid, how);
        supervise_start(s);
        return;
    }
    if (use_on_death(&s->broker->use, last))
        return;
    if (is_crash && s->state == SUPERVISE_LOADING) {
        supervise_doubt_weights(s);
        supervise_fall_back(s, how);
    }
    quarantine_on_death(s->broker, is_crash, last);
    n = supervise_lose_requests(s);
    if (s->state == SUPERVISE_FAILED) {
        log_info("engine %d %s", pid, how);
        return;
    }
    if (supervise_is_hopeless(s)) {
        snprintf(s->note, sizeof(s->note), "the engine died %u times without finishing a step, at last: %.*s",
                 s->n_deaths, supervise_fit(last, 400), last);
        supervise_fail(s, STATUS_ENGINE_LOST);
        return;
    }
    event.numbers[0] = (struct journal_number){"QWEND_ENGINE_PID", (uint64_t)pid};
    event.numbers[1] = (struct journal_number){"QWEND_REQUESTS", n};
    event.numbers[2] = (struct journal_number){"QWEND_RESTART_MS", s->backoff_ms};
    log_event_err(&event, "engine %d %s; %u requests go on with the next one in %u ms", pid, how, n,
                  s->backoff_ms);
    snprintf(s->note, sizeof(s->note), "the last engine %.*s", supervise_fit(last, 480), last);
    supervise_schedule_restart(s);
}

/* The engine of the broker that we were before an upgrade. */
static void supervise_reap_others(const struct supervise *s)
{
    siginfo_t info = {};

    while (!waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid && info.si_pid != s->pid) {
        (void)waitpid(info.si_pid, NULL, WNOHANG);
        info.si_pid = 0;
    }
}

void supervise_on_child(struct supervise *s)
{
    const pid_t pid = s->pid;
    int status;

    supervise_reap_others(s);
    if (!pid || waitpid(pid, &status, WNOHANG) != pid)
        return;
    s->pid = 0;                   /* from here on the number may be somebody else's */
    link_drain(&s->broker->link); /* what it said before it died counts */
    link_close(&s->broker->link);
    loop_unwatch(s->watch);
    kept_drop_part(&s->kept);
    supervise_on_death(s, pid, status);
}

/* watching */
static uint64_t supervise_patience_ms(const struct supervise *s)
{
    const struct options *options = s->broker->options;

    return 1000ull * (s->state == SUPERVISE_LOADING ? options->load_timeout_s : options->engine_timeout_s);
}

void supervise_watch(struct supervise *s, bool working)
{
    const bool must_move =
        s->pid && (s->state == SUPERVISE_LOADING || (s->state == SUPERVISE_SERVING && working));

    if (s->is_closed)
        return; /* then the timer waits for its death */
    if (!must_move) {
        loop_unwatch(s->watch);
    } else if (!loop_is_armed(s->watch)) {
        s->progress_ns = clock_now_ns();
        loop_arm_ms(s->watch, supervise_patience_ms(s));
    }
}

/* The timer is not moved at every sign of life, which would cost more than the sign: it looks when it fires.
 */
static void supervise_on_watch(int fd, short what, void *arg)
{
    struct supervise *s = arg;
    const uint64_t patience_ms = supervise_patience_ms(s);
    uint64_t passed_ms;

    if (s->is_closed) {
        supervise_kill(s, "it closed its socket and lives on");
        return;
    }
    link_drain(&s->broker->link); /* had the broker itself been stopped, it would not have heard yet */
    passed_ms = (clock_now_ns() - s->progress_ns) / 1000000;
    if (passed_ms < patience_ms)
        loop_arm_ms(s->watch, patience_ms - passed_ms);
    else
        supervise_kill(s, s->state == SUPERVISE_LOADING ? "no progress while loading"
                                                        : "no finished step in time");
}

void supervise_on_progress(struct supervise *s, bool step_finished)
{
    s->progress_ns = clock_now_ns();
    if (!step_finished)
        return;
    s->n_deaths = 0;
    s->backoff_ms = SUPERVISE_BACKOFF_MIN_MS;
}

/* what it says */
int supervise_on_loading(struct supervise *s, const Qwe__Loading *loading)
{
    if (s->state != SUPERVISE_LOADING)
        return err_origin(-EBADMSG);
    supervise_on_progress(s, false);
    s->load_permille = MIN(loading->permille, 1000u);
    broker_kick(s->broker);
    return 0;
}

int supervise_on_weights(struct supervise *s, Qwe__Weights **weights, int *fd)
{
    if (s->state != SUPERVISE_LOADING)
        return err_origin(-EBADMSG);
    supervise_on_progress(s, false);
    if (*fd >= 0 && kept_is_part(*weights)) /* what is kept stays until the rest has come */
        return kept_put_part(&s->kept, fd, *weights) ? err_origin(-EBADMSG) : 0;
    if (*fd < 0)
        kept_drop(&s->kept);
    else if (kept_put(&s->kept, fd, weights))
        return err_origin(-EBADMSG);
    if (s->kept.fd >= 0)
        store_put_weights(&s->kept);
    else
        store_drop_weights();
    return 0;
}

int supervise_on_ready(struct supervise *s, Qwe__Ready *ready)
{
    const struct journal_event event = {
        .kind = JOURNAL_SERVING,
        .numbers = {{"QWEND_ENGINE_PID", (uint64_t)s->pid}, {"QWEND_RESTARTS", s->n_restarts}}};

    wire_free((ProtobufCMessage *)s->ready);
    s->ready = ready;
    if (s->state != SUPERVISE_LOADING || s->kept.part_fd >= 0)
        return err_origin(-EBADMSG);
    supervise_on_progress(s, false);
    s->load_permille = 1000;
    s->cache_used_bytes = 0; /* the next Beat says otherwise */
    s->cache_dir_used_bytes = ready->cache_dir_used_bytes;
    snprintf(s->note, sizeof(s->note), "%s", *s->fell_back ? s->fell_back : ready->note ? ready->note : "");
    loop_unwatch(s->watch);
    log_event_info(&event, "engine %d serves %s on %s, %u slots of %u tokens%s%s%s", s->pid,
                   ready->model && ready->model->name ? ready->model->name : "a model without a name",
                   ready->backend ? ready->backend : "an unnamed backend", supervise_slots(s), ready->context,
                   ready->weights_adopted ? ", weights taken over" : "", *s->note ? "; " : "", s->note);
    request_check_serving(s->broker, ready);
    publish_on_ready(s->broker);
    supervise_set(s, SUPERVISE_SERVING);
    use_on_ready(&s->broker->use);
    return 0;
}

int supervise_on_failed(struct supervise *s, const Qwe__Failed *failed)
{
    const bool is_first = !s->ready && !use_is_loading(&s->broker->use);
    const int code = failed->has_code && failed->code ? (int)failed->code : STATUS_INTERNAL;
    const char *text = failed->text ? failed->text : "the engine cannot serve";

    if (s->state != SUPERVISE_LOADING)
        return err_origin(-EBADMSG);
    if (is_first) {
        snprintf(s->note, sizeof(s->note), "%s", text);
        supervise_fail(s, code);
    } else { /* it could before: memory may be short for the moment */
        snprintf(s->why, sizeof(s->why), "said: %s", text);
        if (use_is_loading(&s->broker->use))
            use_on_failed(&s->broker->use, code, text);
        log_warn("engine %d %s", s->pid, s->why);
        if (code == STATUS_NUMERICS)
            supervise_doubt_weights(s);
    }
    return 0;
}

static bool supervise_may_use_gpu(const struct options *options)
{
    return !strcmp(options->backend, "auto") || !strcmp(options->backend, "cuda");
}

int supervise_init(struct supervise *s, struct broker *broker, struct fault *fault)
{
    int r;

    *s = (struct supervise){.broker = broker, .backoff_ms = SUPERVISE_BACKOFF_MIN_MS, .kept = KEPT_INIT};
    r = supervise_check_start(s, fault);
    if (!r)
        r = spawn_find_engine(broker->options->engine, supervise_may_use_gpu(broker->options), &s->engine,
                              fault);
    if (!r)
        r = loop_event_new(broker->base, -1, 0, supervise_on_restart, s, &s->restart);
    if (!r)
        r = loop_event_new(broker->base, -1, 0, supervise_on_watch, s, &s->watch);
    supervise_reap_others(s);
    if (!r)
        store_take_weights(&s->kept);
    return r;
}

void supervise_deinit(struct supervise *s)
{
    link_close(&s->broker->link); /* an engine ends by itself when its socket does */
    if (s->pid)
        spawn_end(s->pid, (int)supervise_end_ms(s));
    s->pid = 0;
    loop_event_free(&s->restart);
    loop_event_free(&s->watch);
    wire_free((ProtobufCMessage *)s->ready);
    s->ready = NULL;
    kept_drop(&s->kept);
    freep(&s->engine);
    freep(&s->model);
}
