/* eval_sandbox.c - our side of the sandbox: makes it, feeds it, listens, and ends it.  See eval_sandbox.h. */
#include "eval_sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "eval_sandbox_init.h"

enum {
    SANDBOX_TOKEN_BYTES = 32, /* hexadecimal digits */
    SANDBOX_FD_MIN = 10,      /* our fds start here, beyond those that Python is to have */
    SANDBOX_NOBODY = 65534,   /* who the sandbox's user is outside, when we are root */
};

struct sandbox_pipe {
    int in, out; /* read, write */
};
struct sandbox {
    int program;
    struct sandbox_pipe go, note, output, token;
    char wanted[SANDBOX_TOKEN_BYTES + 1];
    pid_t pid;       /* of the sandbox's init; 0: none */
    uint64_t end_ns; /* when all of it is killed */
    bool timed_out;
    struct sandbox_note said; /* what init told us last */
    bool has_said;
    char told[SANDBOX_TOKEN_BYTES + 1]; /* what came on the token pipe; one byte more, to see too much */
    size_t n_told;
    char *text; /* owned, [max] */
    size_t n_text, max;
};

static uint64_t sandbox_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* making */

/* Moves an fd out of the way of 0 to 3. */
static int sandbox_raise(int *fd)
{
    const int raised = *fd < 0 ? -1 : fcntl(*fd, F_DUPFD_CLOEXEC, SANDBOX_FD_MIN);

    if (raised < 0)
        return err_errno();
    close(*fd);
    *fd = raised;
    return 0;
}

static int sandbox_pipe_new(struct sandbox_pipe *p)
{
    int fds[2], r;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno();
    *p = (struct sandbox_pipe){fds[0], fds[1]};
    r = sandbox_raise(&p->in);
    return r ? r : sandbox_raise(&p->out);
}

static int sandbox_write_all(int fd, const char *s, size_t n)
{
    while (n) {
        const ssize_t k = write(fd, s, n);

        if (k < 0 && errno != EINTR)
            return err_errno();
        s += MAX(k, 0);
        n -= (size_t)MAX(k, 0);
    }
    return 0;
}

/* The program, and behind it the line that tells the token. */
static int sandbox_write_program(struct sandbox *s, struct chat_str program)
{
    uint8_t random[SANDBOX_TOKEN_BYTES / 2];
    char tail[128];
    int r;

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return err_errno();
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(s->wanted + 2 * i, 3, "%02x", random[i]);
    s->program = memfd_create("qwend-eval", MFD_CLOEXEC);
    r = sandbox_raise(&s->program);
    if (!r)
        r = sandbox_write_all(s->program, program.s, program.n);
    snprintf(tail, sizeof(tail), "\n__import__(\"os\").write(3, b\"%s\")\n", s->wanted);
    if (!r)
        r = sandbox_write_all(s->program, tail, strlen(tail));
    return !r && lseek(s->program, 0, SEEK_SET) < 0 ? err_errno() : r;
}

static int sandbox_prepare(struct sandbox *s, struct chat_str program,
                           const struct eval_sandbox_limits *limits)
{
    struct sandbox_pipe *const pipes[] = {&s->go, &s->note, &s->output, &s->token};
    int r = sandbox_write_program(s, program);

    for (size_t i = 0; i < ARRAY_SIZE(pipes) && !r; i++)
        r = sandbox_pipe_new(pipes[i]);
    s->max = limits->output_bytes;
    s->text = r ? NULL : malloc(s->max + 1);
    return r || s->text ? r : err_origin(-ENOMEM);
}

static void sandbox_close_child_ends(struct sandbox *s)
{
    closep(&s->go.in);
    closep(&s->note.out);
    closep(&s->output.out);
    closep(&s->token.out);
}

static void sandbox_deinit(struct sandbox *s)
{
    if (s->pid > 0) { /* with it goes all that is in its process namespace */
        kill(s->pid, SIGKILL);
        while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    sandbox_close_child_ends(s);
    closep(&s->program);
    closep(&s->go.out);
    closep(&s->note.in);
    closep(&s->output.in);
    closep(&s->token.in);
    free(s->text);
}

static int sandbox_write_proc(const struct sandbox *s, const char *file, const char *text)
{
    char path[64];
    _cleanup_(closep) int fd = -1;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)s->pid, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* The sandbox's one user is us, or nobody if we are root. */
static int sandbox_map_ids(const struct sandbox *s, struct fault *fault)
{
    const bool root = geteuid() == 0;
    char uids[32], gids[32];
    int r = 0;

    snprintf(uids, sizeof(uids), "%d %u 1", SANDBOX_ID, root ? SANDBOX_NOBODY : geteuid());
    snprintf(gids, sizeof(gids), "%d %u 1", SANDBOX_ID, root ? SANDBOX_NOBODY : getegid());
    if (!root)
        r = sandbox_write_proc(s, "setgroups", "deny");
    if (!r)
        r = sandbox_write_proc(s, "gid_map", gids);
    if (!r)
        r = sandbox_write_proc(s, "uid_map", uids);
    return r ? fault_set(fault, EVAL_SANDBOX_E_NONE, "no sandbox: mapping user ids: %s", strerror(-r)) : 0;
}

static int sandbox_find_python(struct fault *fault, const char **ret_path)
{
    static const char *const paths[] = {"/usr/bin/python3", "/usr/local/bin/python3"};

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        if (access(paths[i], X_OK) < 0)
            continue;
        *ret_path = paths[i];
        return 0;
    }
    return fault_set(fault, EVAL_SANDBOX_E_NONE, "no sandbox: neither %s nor %s is there", paths[0],
                     paths[1]);
}

static int sandbox_start(struct sandbox *s, const struct eval_sandbox_limits *limits, struct fault *fault)
{
    const int spaces =
        CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
    struct sandbox_plan plan = {.limits = limits,
                                .drop_groups = geteuid() == 0,
                                .program = s->program,
                                .out = s->output.out,
                                .token = s->token.out,
                                .go = s->go.in,
                                .note = s->note.out};
    int r = sandbox_find_python(fault, &plan.python);

    if (r)
        return r;
    snprintf(plan.tmp_options, sizeof(plan.tmp_options), "size=%llu,nr_inodes=1024,mode=0700",
             (unsigned long long)limits->file_bytes);
    s->pid = (pid_t)syscall(SYS_clone, spaces | SIGCHLD, NULL, NULL, NULL, 0);
    if (!s->pid) {
        close(s->go.out); /* else it would wait for itself if we died */
        sandbox_init(&plan);
    }
    if (s->pid < 0)
        return fault_set(
            fault, EVAL_SANDBOX_E_NONE,
            "no sandbox: namespaces of its own: %s (does the sysctl user.max_user_namespaces, or a "
            "security module, forbid them?)",
            strerror(errno));
    r = sandbox_map_ids(s, fault);
    if (r)
        return r;
    s->end_ns = sandbox_now_ns() + (uint64_t)limits->wall_ms * 1000000u;
    r = sandbox_write_all(s->go.out, "g", 1); /* while we have the other end too: no SIGPIPE if it died */
    sandbox_close_child_ends(s);
    return r;
}

/* listening */

/* Takes what is there; at the end of the pipe closes it. */
static int sandbox_read(int *fd, char *buf, size_t n, size_t *ret_n)
{
    const ssize_t k = read(*fd, buf, n);

    *ret_n = (size_t)MAX(k, 0);
    if (k < 0 && errno != EINTR)
        return err_errno();
    if (!k)
        closep(fd);
    return 0;
}

static int sandbox_on_output(struct sandbox *s)
{
    char dropped[4096];
    const bool full = s->n_text == s->max;
    size_t n = 0;
    int r = sandbox_read(&s->output.in, full ? dropped : s->text + s->n_text,
                         full ? sizeof(dropped) : s->max - s->n_text, &n);

    s->n_text += full ? 0 : n;
    return r;
}

static int sandbox_on_token(struct sandbox *s)
{
    char byte[64];
    size_t n = 0;
    int r = sandbox_read(&s->token.in, byte, sizeof(byte), &n);

    for (size_t i = 0; i < n && s->n_told < sizeof(s->told); i++)
        s->told[s->n_told++] = byte[i];
    return r;
}

static int sandbox_on_note(struct sandbox *s)
{
    struct sandbox_note note;
    size_t n = 0;
    int r = sandbox_read(&s->note.in, (char *)&note, sizeof(note), &n); /* below PIPE_BUF: whole or nothing */

    if (!r && n == sizeof(note)) {
        s->said = note;
        s->has_said = true;
    }
    return r;
}

static void sandbox_check_time(struct sandbox *s)
{
    if (s->timed_out || sandbox_now_ns() < s->end_ns)
        return;
    s->timed_out = true;
    kill(s->pid, SIGKILL);
}

/* Until the last process that could write is gone. */
static int sandbox_listen(struct sandbox *s)
{
    int r = 0;

    while (!r && (s->note.in >= 0 || s->output.in >= 0 || s->token.in >= 0)) {
        struct pollfd fds[] = {{.fd = s->note.in, .events = POLLIN},
                               {.fd = s->output.in, .events = POLLIN},
                               {.fd = s->token.in, .events = POLLIN}};
        const uint64_t now = sandbox_now_ns();
        const int wait_ms = s->timed_out || now >= s->end_ns ? 0 : (int)((s->end_ns - now) / 1000000u) + 1;

        if (poll(fds, ARRAY_SIZE(fds), s->timed_out ? -1 : wait_ms) < 0 && errno != EINTR)
            return err_errno();
        if (fds[0].revents)
            r = sandbox_on_note(s);
        if (!r && fds[1].revents)
            r = sandbox_on_output(s);
        if (!r && fds[2].revents)
            r = sandbox_on_token(s);
        sandbox_check_time(s);
    }
    return r;
}

/* result */

static bool sandbox_told_token(const struct sandbox *s)
{
    return s->n_told == SANDBOX_TOKEN_BYTES && !memcmp(s->told, s->wanted, SANDBOX_TOKEN_BYTES);
}

static int sandbox_result(struct sandbox *s, struct fault *fault, struct eval_sandbox_result *ret_result)
{
    struct eval_sandbox_result result = {.end = EVAL_SANDBOX_TIMEOUT};

    if (s->has_said && s->said.step < SANDBOX_ENDED)
        return fault_set(fault, EVAL_SANDBOX_E_NONE, "no sandbox: %s: %s", sandbox_steps[s->said.step],
                         strerror(s->said.value));
    if (!s->timed_out && !s->has_said)
        return fault_set(fault, EVAL_SANDBOX_E_NONE, "no sandbox: its first process ended without a word");
    if (!s->timed_out) {
        const bool exited = WIFEXITED(s->said.value);

        result.end = exited ? EVAL_SANDBOX_EXIT : EVAL_SANDBOX_SIGNAL;
        result.status = exited ? WEXITSTATUS(s->said.value) : WTERMSIG(s->said.value);
        result.passed = exited && !result.status && sandbox_told_token(s);
    }
    result.n_output = s->n_text;
    result.output = steal(&s->text);
    *ret_result = result;
    return 0;
}

int eval_sandbox_run(struct chat_str program, const struct eval_sandbox_limits *limits, struct fault *fault,
                     struct eval_sandbox_result *ret_result)
{
    const struct sandbox_pipe none = {-1, -1};
    _cleanup_(sandbox_deinit) struct sandbox s = {
        .program = -1, .go = none, .note = none, .output = none, .token = none};
    int r = sandbox_prepare(&s, program, limits);

    if (!r)
        r = sandbox_start(&s, limits, fault);
    if (!r)
        r = sandbox_listen(&s);
    return r ? r : sandbox_result(&s, fault, ret_result);
}

void eval_sandbox_result_deinit(struct eval_sandbox_result *result)
{
    free(result->output);
    *result = (struct eval_sandbox_result){0};
}
