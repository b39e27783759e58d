/* spawn.c - fork, exec and wait.  See spawn.h. */
#include "spawn.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { SPAWN_ENGINE_FD = 3, SPAWN_EXIT_NO_EXEC = 127 };

/* The folder of our own binary, for a build tree: DIR/qwend-engine or DIR/../engine/qwend-engine. */
static bool spawn_own_folder(char *folder, size_t n)
{
    ssize_t k = readlink("/proc/self/exe", folder, n - 1);
    char *slash;

    if (k <= 0)
        return false;
    folder[k] = '\0';
    slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    return slash;
}

/* In one of the places where a program of ours may lie; false: in none. */
static bool spawn_find_program(const char *name, char *path, size_t n)
{
    static const char *const beside[] = {"", "../engine/"};
    char folder[PATH_MAX];

    snprintf(path, n, "%s/%s", QWEND_PKGLIBEXECDIR, name);
    if (access(path, X_OK) == 0)
        return true;
    if (!spawn_own_folder(folder, sizeof(folder)))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
        snprintf(path, n, "%s/%s%s", folder, beside[i], name);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

int spawn_find_engine(const char *given, bool gpu, char **ret_path, struct fault *fault)
{
    char path[PATH_MAX + 64];

    if (given) {
        if (access(given, X_OK) < 0)
            return fault_set(fault, SPAWN_E_NONE, "engine %s: %s", given, strerror(errno));
        snprintf(path, sizeof(path), "%s", given);
    } else if (!(gpu && spawn_find_program("qwend-engine-cuda", path, sizeof(path))) &&
               !spawn_find_program("qwend-engine", path, sizeof(path))) {
        return fault_set(fault, SPAWN_E_NONE,
                         "no qwend-engine in " QWEND_PKGLIBEXECDIR
                         " nor beside qwend: name it with --engine");
    }
    *ret_path = strdup(path);
    return *ret_path ? 0 : err_origin(-ENOMEM);
}

static void spawn_write_file(const char *path, const char *text)
{
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd >= 0)
        (void)!write(fd, text, strlen(text));
}

/* In the child.  Only what is async-signal-safe. */
static void spawn_exec(const char *path, bool verbose, int fd, pid_t parent)
{
    char *const argv[] = {(char *)"qwend-engine", verbose ? (char *)"--verbose" : NULL, NULL};
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before the line above */
        _exit(SPAWN_EXIT_NO_EXEC);
    /* The service's own score is low (unit: -900): when memory runs out, the part that can be restarted goes
     * first. */
    spawn_write_file("/proc/self/oom_score_adj", "0");
    if (fd == SPAWN_ENGINE_FD)
        fcntl(fd, F_SETFD, 0);
    else
        dup2(fd, SPAWN_ENGINE_FD);
    execv(path, argv);
    dprintf(STDERR_FILENO, "qwend: error: cannot execute %s: %s\n", path, strerror(errno));
    _exit(SPAWN_EXIT_NO_EXEC);
}

int spawn_engine(const char *path, bool verbose, pid_t *ret_pid, int *ret_fd)
{
    _cleanup_(closep) int ours = -1, theirs = -1;
    const pid_t parent = getpid();
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return err_errno();
    ours = pair[0];
    theirs = pair[1];
    pid = fork();
    if (pid < 0)
        return err_errno();
    if (!pid)
        spawn_exec(path, verbose, theirs, parent);
    *ret_pid = pid;
    *ret_fd = steal_fd(&ours);
    return 0;
}

void spawn_end(pid_t pid, int wait_ms)
{
    _cleanup_(closep) int fd = pidfd_open(pid, 0);
    struct pollfd pfd = {.fd = fd, .events = POLLIN};

    if (fd < 0 || poll(&pfd, 1, wait_ms) <= 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

bool spawn_is_crash(int status)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGSYS};

    for (size_t i = 0; WIFSIGNALED(status) && i < ARRAY_SIZE(signals); i++)
        if (WTERMSIG(status) == signals[i])
            return true;
    return false;
}

void spawn_describe_exit(int status, char *text, size_t n)
{
    if (WIFSIGNALED(status))
        snprintf(text, n, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == SPAWN_EXIT_NO_EXEC)
        snprintf(text, n, "could not be executed");
    else
        snprintf(text, n, "ended with status %d", WEXITSTATUS(status));
}
