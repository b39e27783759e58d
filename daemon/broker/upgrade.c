/* upgrade.c - execve() of what stands where our binary stood.  See upgrade.h. */
#include "upgrade.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/log.h"
#include "proto/status.h"
#include "request.h"

enum { UPGRADE_PROBE_MS = 3000 };    /* for --version, which reads nothing; the loop stands still meanwhile */
#define UPGRADE_DELETED " (deleted)" /* what proc(5) appends once the file was replaced or removed */

static int upgrade_find(char path[PATH_MAX], struct fault *fault)
{
    const ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    const size_t k = strlen(UPGRADE_DELETED);

    if (n <= 0)
        return fault_set(fault, STATUS_INTERNAL, "the binary cannot be found: %s", strerror(errno));
    path[n] = '\0';
    if ((size_t)n > k && !strcmp(path + n - k, UPGRADE_DELETED))
        path[(size_t)n - k] = '\0';
    if (access(path, X_OK) < 0)
        return fault_set(fault, STATUS_INTERNAL, "%.300s: %s", path, strerror(errno));
    return 0;
}

/* In the child.  Only what is async-signal-safe. */
static void upgrade_probe_exec(const char *path)
{
    char *const argv[] = {(char *)"qwend", (char *)"--version", NULL};
    const int null = open("/dev/null", O_RDWR);

    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    execv(path, argv);
    _exit(127);
}

/* Whether it can be executed at all: afterwards it would be too late. */
static int upgrade_probe(const char *path, struct fault *fault)
{
    const pid_t pid = fork();
    _cleanup_(closep) int fd = -1;
    struct pollfd pfd;
    int status;

    if (pid < 0)
        return fault_set(fault, STATUS_INTERNAL, "no process to try %.300s in: %s", path, strerror(errno));
    if (!pid)
        upgrade_probe_exec(path);
    fd = pidfd_open(pid, 0);
    pfd = (struct pollfd){.fd = fd, .events = POLLIN};
    if (fd < 0 || poll(&pfd, 1, UPGRADE_PROBE_MS) <= 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && !WEXITSTATUS(status))
        return 0;
    return fault_set(fault, STATUS_INTERNAL, "%.300s cannot be executed: --version %s %d", path,
                     WIFEXITED(status) ? "ends with status" : "is killed by signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/* What has come is written down and handed on, as far as sockets take it at once: it need not be done again.
 */
static void upgrade_settle(struct broker *broker)
{
    struct client *client;

    link_drain(&broker->link);
    LIST_FOREACH (client, &broker->clients, node)
        if (!client->dead && !sock_flush(&client->sock))
            request_journal_on_sent(client);
}

/* What the engine is owed leaves as well, or it is not handed over. */
static bool upgrade_keeps_engine(struct broker *broker)
{
    if (link_is_open(&broker->link))
        (void)sock_flush(&broker->link.sock);
    return handover_may_keep_engine(broker);
}

static int upgrade_exec(struct broker *broker, const char *path, bool keep)
{
    const bool own = broker->listener.bound.path;
    struct sd_pass pass[2 + STORE_PASS_MAX] = {
        {.name = own ? SD_OWN : "qwend.socket", .fd = broker->listener.bound.fd}};
    struct store_passed passed;
    size_t n = 1 + store_pass(&broker->store, &broker->supervise.kept, &passed);
    int r;

    memcpy(pass + 1, passed.pass, (n - 1) * sizeof(*pass));
    if (keep)
        pass[n++] = (struct sd_pass){.name = HANDOVER_ENGINE, .fd = broker->link.sock.fd};
    else if (broker->supervise.pid)
        kill(broker->supervise.pid, SIGKILL);
    r = sd_exec(path, broker->options->argv, pass, n);
    store_unpass(&passed);
    return r;
}

int upgrade_run(struct broker *broker, bool same_keys, struct fault *fault)
{
    char path[PATH_MAX];
    bool keep;
    int r;

    if (!store_is_on(&broker->store))
        return fault_set(fault, STATUS_UNSUPPORTED, "there is no journal to go on from (journal_mib = 0)");
    r = upgrade_find(path, fault);
    if (!r)
        r = upgrade_probe(path, fault);
    if (r)
        return r;
    upgrade_settle(broker);
    keep = same_keys && upgrade_keeps_engine(broker);
    r = handover_put(broker, keep);
    if (r)
        return fault_set(fault, STATUS_INTERNAL, "the journal is full");
    log_info("upgrade: %s takes over, with %u requests that run, %u that wait and %s", path,
             broker->queue.n_started, queue_n_waiting(&broker->queue),
             keep ? "the engine" : "another engine");
    r = upgrade_exec(broker, path, keep);
    log_errno(r, "%s does not take over%s", path, keep ? "" : ", the engine is started again");
    return fault_set(fault, STATUS_INTERNAL, "%.300s cannot be executed: %s", path, strerror(-r));
}
