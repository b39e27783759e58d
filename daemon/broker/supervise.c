/* supervise.c - the engine process.  See supervise.h. */
#include "supervise.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "broker.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "proto/frame.h"
#include "proto/wire.h"
#include "request.h"
#include "textop.h"

enum {
    SUPERVISE_FD = 3,
    SUPERVISE_PAUSE_MS = 100,
    SUPERVISE_PAUSE_MAX_MS = 5000,
    SUPERVISE_DEATHS_MAX = 10, /* in a row, without a finished step, within a minute */
    SUPERVISE_EXEC_FAILED = 127,
};
static const uint64_t supervise_minute_ns = 60ull * 1000000000;

/* binary */

static char *supervise_try(const char *folder, const char *name)
{
    char *path;

    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return NULL;
    if (!access(path, X_OK))
        return path;
    free(path);
    return NULL;
}

/* Installed, else beside this program (a copied tree), else where the build leaves it. */
static char *supervise_find(void)
{
    static const char *const beside[] = {"qwend-engine", "../engine/qwend-engine"};
    char self[PATH_MAX], *slash, *path = NULL;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n > 0) {
        self[n] = '\0';
        slash = strrchr(self, '/');
        if (slash)
            *slash = '\0';
        for (size_t i = 0; !path && i < ARRAY_SIZE(beside); i++)
            path = supervise_try(self, beside[i]);
    }
    return path ? path : supervise_try(QWEND_LIBEXECDIR, "qwend-engine");
}

static void supervise_on_restart(int fd, short what, void *arg);
static void supervise_on_watchdog(int fd, short what, void *arg);

int supervise_init(struct broker *broker, struct supervise *s, const char *engine, struct fault *fault)
{
    int r;

    *s = (struct supervise){.broker = broker, .pause_ms = SUPERVISE_PAUSE_MS};
    s->path = engine ? strdup(engine) : supervise_find();
    if (!s->path || access(s->path, X_OK) < 0)
        return fault_set(fault, 1, "the engine program %s cannot be started: %s",
                         s->path ? s->path : QWEND_LIBEXECDIR "/qwend-engine",
                         strerror(s->path ? errno : ENOENT));
    r = loop_event_new(broker->base, -1, 0, supervise_on_restart, s, &s->restart);
    return r ? r : loop_event_new(broker->base, -1, 0, supervise_on_watchdog, s, &s->watchdog);
}

void supervise_deinit(struct supervise *s)
{
    if (s->pid) {
        kill(s->pid, SIGKILL); /* it keeps no truth */
        waitpid(s->pid, NULL, 0);
    }
    loop_event_free(&s->restart);
    loop_event_free(&s->watchdog);
    wire_free(s->ready ? &s->ready->base : NULL);
    freep(&s->path);
}

/* start */

/* In the child, between fork and exec: only async-signal-safe calls. */
_Noreturn static void supervise_exec(const char *path, int fd, pid_t parent, bool verbose)
{
    char *const argv[] = {"qwend-engine", verbose ? "--verbose" : NULL, NULL};
    sigset_t none;
    int oom;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    /* Under memory pressure the part that can be replaced goes first; raising needs no privilege. */
    oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (oom >= 0 && write(oom, "0", 1) < 0)
        close(oom);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    if (fd == SUPERVISE_FD)
        fcntl(fd, F_SETFD, 0);
    else if (dup2(fd, SUPERVISE_FD) < 0)
        _exit(SUPERVISE_EXEC_FAILED);
    execv(path, argv);
    _exit(SUPERVISE_EXEC_FAILED);
}

static void supervise_send_start(struct supervise *s)
{
    const struct options *o = s->broker->options;
    Qwe__Start start = QWE__START__INIT;

    start.model_path = o->model;
    start.backend = (char *)o->backend;
    start.isa = o->cpu_isa;
    start.kv_type = (char *)o->kv;
    start.has_context = start.has_slots = start.has_threads = 1;
    start.context = o->context;
    start.slots = o->slots;
    start.threads = o->threads;
    link_put(&s->broker->link, 0, MSG_E_START, &start.base, -1);
}

int supervise_start(struct supervise *s)
{
    const pid_t self = getpid();
    int fds[2], r;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return err_errno();
    pid = fork();
    if (!pid)
        supervise_exec(s->path, fds[1], self, s->broker->options->verbose);
    close(fds[1]);
    if (pid < 0) {
        r = err_errno();
        close(fds[0]);
        return r;
    }
    s->pid = pid;
    s->state = s->ready ? SUPERVISE_DOWN : SUPERVISE_LOADING;
    s->permille = 0;
    r = link_open(&s->broker->link, fds[0]);
    if (r)
        return r;
    supervise_send_start(s);
    return loop_arm_ms(s->watchdog, s->broker->options->load_timeout_s * 1000ull);
}

static void supervise_on_restart(int fd, short what, void *arg)
{
    struct supervise *s = arg;
    int r = supervise_start(s);

    if (!r)
        return;
    log_errno(r, "engine: cannot be started, next try in %llu ms", (unsigned long long)s->pause_ms);
    loop_arm_ms(s->restart, s->pause_ms);
}

/* watch */

void supervise_kill(struct supervise *s)
{
    if (s->pid)
        kill(s->pid, SIGKILL);
}

static uint64_t supervise_limit_ms(const struct supervise *s)
{
    const struct options *o = s->broker->options;

    return (s->state == SUPERVISE_READY ? o->engine_timeout_s : o->load_timeout_s) * 1000ull;
}

void supervise_arm_watchdog(struct supervise *s)
{
    if (!loop_is_armed(s->watchdog))
        loop_arm_ms(s->watchdog, supervise_limit_ms(s));
}

/* No timer runs for an idle engine; for a busy one it fires once per limit, not per frame. */
static void supervise_on_watchdog(int fd, short what, void *arg)
{
    struct supervise *s = arg;
    const uint64_t limit_ms = supervise_limit_ms(s);
    const uint64_t silent_ms = (clock_now_ns() - s->broker->link.last_frame_ns) / 1000000;

    if (!s->pid || (s->state == SUPERVISE_READY && !request_n_active(s->broker)))
        return;
    if (silent_ms < limit_ms) {
        loop_arm_ms(s->watchdog, limit_ms - silent_ms);
        return;
    }
    log_err("engine pid %d: silent for %llu s with work to do; it is replaced", s->pid,
            (unsigned long long)silent_ms / 1000);
    supervise_kill(s);
}

/* death */

static void supervise_describe(char *text, size_t n, int status)
{
    if (WIFSIGNALED(status))
        snprintf(text, n, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == SUPERVISE_EXEC_FAILED)
        snprintf(text, n, "could not be executed");
    else
        snprintf(text, n, "ended with status %d", WEXITSTATUS(status));
}

static void supervise_give_up(struct supervise *s)
{
    s->state = SUPERVISE_FAILED;
    log_err("engine: given up: %s", s->note);
    request_fail_all(s->broker, s->note);
    textop_fail_all(s->broker, s->note);
    broker_status_changed(s->broker);
}

static bool supervise_dies_too_often(struct supervise *s)
{
    const uint64_t now = clock_now_ns();

    if (!s->n_deaths_idle || now - s->first_death_ns > supervise_minute_ns) {
        s->n_deaths_idle = 0;
        s->first_death_ns = now;
    }
    return ++s->n_deaths_idle > SUPERVISE_DEATHS_MAX;
}

static void supervise_on_death(struct supervise *s, int status)
{
    char how[100];

    link_drain(&s->broker->link); /* what it said before it died counts */
    link_close(&s->broker->link);
    loop_unwatch(s->watchdog);
    if (s->state == SUPERVISE_FAILED || s->broker->stopping)
        return;
    supervise_describe(how, sizeof(how), status);
    s->n_restarts++;
    s->state = s->ready ? SUPERVISE_DOWN : SUPERVISE_STARTING;
    if (supervise_dies_too_often(s)) {
        snprintf(s->note, sizeof(s->note),
                 "the engine died %d times in a row without finishing a step, last: %s", SUPERVISE_DEATHS_MAX,
                 how);
        supervise_give_up(s);
        return;
    }
    log_err("engine: %s; %u requests wait for the next one, in %llu ms", how, request_n_started(s->broker),
            (unsigned long long)s->pause_ms);
    snprintf(s->note, sizeof(s->note), "the engine %s and is being replaced", how);
    request_on_engine_death(s->broker);
    textop_on_engine_death(s->broker);
    loop_arm_ms(s->restart, s->pause_ms);
    s->pause_ms = MIN(2 * s->pause_ms, (uint64_t)SUPERVISE_PAUSE_MAX_MS);
    broker_status_changed(s->broker);
}

void supervise_on_child(struct supervise *s)
{
    int status;

    if (!s->pid || waitpid(s->pid, &status, WNOHANG) != s->pid)
        return;
    s->pid = 0;
    supervise_on_death(s, status);
}

/* from the link */

void supervise_on_loading(struct supervise *s, const Qwe__Loading *loading)
{
    s->permille = MIN(loading->permille, 1000u);
    broker_tell(s->broker);
}

void supervise_on_ready(struct supervise *s, const uint8_t *body, size_t n)
{
    ProtobufCMessage *msg;

    if (wire_unpack(&qwe__ready__descriptor, body, n, NULL, &msg)) /* passed once; what can fail is memory */
        return supervise_kill(s);
    wire_free(s->ready ? &s->ready->base : NULL);
    s->ready = (Qwe__Ready *)msg;
    s->state = SUPERVISE_READY;
    s->note[0] = '\0';
    if (s->ready->note)
        snprintf(s->note, sizeof(s->note), "%s", s->ready->note);
    log_info("engine pid %d: ready, %s on %s %s, context %u, %u slots", s->pid,
             s->ready->model && s->ready->model->name ? s->ready->model->name : "?",
             s->ready->backend ? s->ready->backend : "?", s->ready->isa ? s->ready->isa : "",
             s->ready->context, s->ready->slots);
    request_replay_all(s->broker);
    textop_resubmit_all(s->broker);
    broker_kick(s->broker);
    broker_status_changed(s->broker);
}

void supervise_on_failed(struct supervise *s, const Qwe__Failed *failed)
{
    snprintf(s->note, sizeof(s->note), "%s", failed->text ? failed->text : "the engine gave no reason");
    if (s->ready) /* it served before: its end is a death like any other */
        return;
    fprintf(stderr, "qwend: the model cannot be served: %s\n", s->note);
    supervise_give_up(s);
}

/* A finished step: what went before is forgiven. */
void supervise_on_step(struct supervise *s)
{
    s->pause_ms = SUPERVISE_PAUSE_MS;
    s->n_deaths_idle = 0;
}
