/* sd.c - talking to the service manager.  See sd.h.  Source of the protocol: sd_notify(3), sd_listen_fds(3).
 */
#include "sd.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

enum { SD_LISTEN_FDS_START = 3, SD_STORE_MS = 1000 }; /* PID 1 reads at once, if it is not hanging */

static struct {
    struct sockaddr_un address; /* of NOTIFY_SOCKET */
    socklen_t n_address;        /* 0: no manager listens */
    struct {
        int fd; /* -1: taken */
        char name[SD_NAME_BYTES];
    } fds[SD_FDS_MAX]; /* sockets and what was stored */
    int n_fds;
    uint64_t watchdog_us;
} sd_state;

static uint64_t sd_env_u64(const char *name)
{
    const char *text = getenv(name);
    char *end;
    unsigned long long v;

    if (!text || *text < '0' || *text > '9')
        return 0;
    errno = 0;
    v = strtoull(text, &end, 10);
    return errno || *end ? 0 : v;
}

static bool sd_env_is_for_us(const char *pid_name)
{
    return !getenv(pid_name) || sd_env_u64(pid_name) == (uint64_t)getpid();
}

static void sd_init_address(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path ? strlen(path) : 0;

    if (n < 2 || n >= sizeof(sd_state.address.sun_path) || (*path != '/' && *path != '@'))
        return;
    sd_state.address.sun_family = AF_UNIX;
    memcpy(sd_state.address.sun_path, path, n);
    if (*path == '@')
        sd_state.address.sun_path[0] = '\0';
    sd_state.n_address = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (*path == '/'));
}

static void sd_clear_environment(void)
{
    static const char *const names[] = {"NOTIFY_SOCKET",  "LISTEN_PID",   "LISTEN_FDS",
                                        "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        unsetenv(names[i]);
}

/* names: "a:b:c", perhaps fewer than there are fds; NULL: none has one. */
static void sd_init_fds(const char *names, int n)
{
    for (int i = 0; i < n; i++) {
        const size_t k = names ? strcspn(names, ":") : 0;

        sd_state.fds[i].fd = SD_LISTEN_FDS_START + i;
        (void)fcntl(sd_state.fds[i].fd, F_SETFD, FD_CLOEXEC);
        if (!names)
            continue;
        memcpy(sd_state.fds[i].name, names, MIN(k, (size_t)SD_NAME_BYTES - 1));
        names = names[k] ? names + k + 1 : NULL;
    }
    sd_state.n_fds = n;
}

void sd_init(void)
{
    sd_init_address();
    if (getenv("LISTEN_PID") && sd_env_is_for_us("LISTEN_PID"))
        sd_init_fds(getenv("LISTEN_FDNAMES"), (int)MIN(sd_env_u64("LISTEN_FDS"), (uint64_t)SD_FDS_MAX));
    if (sd_env_is_for_us("WATCHDOG_PID"))
        sd_state.watchdog_us = sd_env_u64("WATCHDOG_USEC");
    sd_clear_environment();
}

static bool sd_is_stored(const char *name)
{
    return !strncmp(name, SD_STORED, strlen(SD_STORED));
}

int sd_take_socket(int *ret_n)
{
    int fd = -1, n = 0;

    for (int i = sd_state.n_fds - 1; i >= 0; i--)
        if (!sd_is_stored(sd_state.fds[i].name) && strcmp(sd_state.fds[i].name, SD_OWN)) {
            fd = sd_state.fds[i].fd;
            n++;
        }
    *ret_n = n;
    return fd;
}

int sd_take_own_socket(void)
{
    for (int i = 0; i < sd_state.n_fds; i++)
        if (!strcmp(sd_state.fds[i].name, SD_OWN))
            return steal_fd(&sd_state.fds[i].fd);
    return -1;
}

static int sd_socket(void)
{
    return sd_state.n_address ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
}

void sd_notify_put(const char *fmt, ...)
{
    _cleanup_(closep) int fd = sd_socket();
    char text[512];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (fd >= 0 && n > 0)
        (void)sendto(fd, text, MIN((size_t)n, sizeof(text) - 1), MSG_NOSIGNAL | MSG_DONTWAIT,
                     (const struct sockaddr *)&sd_state.address, sd_state.n_address);
}

uint64_t sd_watchdog_us(void)
{
    return sd_state.watchdog_us;
}

/* the FD store */
bool sd_has_store(void)
{
    return sd_state.n_address;
}

int sd_take_stored(const char *prefix, char ret_name[SD_NAME_BYTES])
{
    for (int i = 0; i < sd_state.n_fds; i++) {
        if (sd_state.fds[i].fd < 0 || !sd_is_stored(sd_state.fds[i].name) ||
            strncmp(sd_state.fds[i].name, prefix, strlen(prefix)))
            continue;
        memcpy(ret_name, sd_state.fds[i].name, SD_NAME_BYTES);
        return steal_fd(&sd_state.fds[i].fd);
    }
    return -1;
}

/* Not like sd_notify_put(): what is kept by nobody must not be taken for kept, so it waits for room. */
static int sd_send(const char *text, const int *fds, size_t n)
{
    _cleanup_(closep) int fd = sd_socket();
    const struct timeval patience = {.tv_sec = SD_STORE_MS / 1000};
    char control[CMSG_SPACE(SD_FDS_MAX * sizeof(int))] = {};
    struct iovec iov = {.iov_base = (char *)text, .iov_len = strlen(text)};
    struct msghdr msg = {
        .msg_name = &sd_state.address, .msg_namelen = sd_state.n_address, .msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *header;

    if (fd < 0 || n > SD_FDS_MAX || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
        return err_errno();
    if (n) {
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        header = CMSG_FIRSTHDR(&msg);
        *header = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int))};
        memcpy(CMSG_DATA(header), fds, n * sizeof(int));
    }
    return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? err_errno() : 0;
}

/* FDPOLL=0: memory cannot be polled, and nothing that is stored ends by itself. */
int sd_store_put(const char *name, const int *fds, size_t n)
{
    char text[SD_NAME_BYTES + 32];

    snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    return sd_send(text, fds, n);
}

void sd_store_remove(const char *name)
{
    char text[SD_NAME_BYTES + 32];

    snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
    (void)sd_send(text, NULL, 0); /* at worst it is found again, and known to be old */
}

/* becoming another program */
enum { SD_EXEC_FDS_FROM = 256 }; /* copies go there, out of the way of what is replaced */

static int sd_set_u64(const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return setenv(name, text, 1) < 0 ? err_errno() : 0;
}

static int sd_set_names(const struct sd_pass *pass, size_t n)
{
    char names[SD_FDS_MAX * SD_NAME_BYTES] = "";
    size_t used = 0;

    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%.*s", i ? ":" : "",
                                 SD_NAME_BYTES - 2, pass[i].name);
    return setenv("LISTEN_FDNAMES", names, 1) < 0 ? err_errno() : 0;
}

static int sd_set_environment(const struct sd_pass *pass, size_t n)
{
    char path[sizeof(sd_state.address.sun_path) + 1] = "";
    int r = sd_set_names(pass, n);

    if (!r)
        r = sd_set_u64("LISTEN_PID", (uint64_t)getpid());
    if (!r)
        r = sd_set_u64("LISTEN_FDS", n);
    if (!r && sd_state.watchdog_us)
        r = sd_set_u64("WATCHDOG_USEC", sd_state.watchdog_us);
    if (r || !sd_state.n_address)
        return r;
    memcpy(path, sd_state.address.sun_path, sd_state.n_address - offsetof(struct sockaddr_un, sun_path));
    if (!*path)
        *path = '@';
    return setenv("NOTIFY_SOCKET", path, 1) < 0 ? err_errno() : 0;
}

/* kept[i]: what was fd i of the passed range, -1 if that was none; taken[i]: a copy of what goes there. */
static int sd_place(const struct sd_pass *pass, size_t n, int *taken, int *kept)
{
    for (size_t i = 0; i < n; i++) {
        taken[i] = fcntl(pass[i].fd, F_DUPFD_CLOEXEC, SD_EXEC_FDS_FROM);
        if (taken[i] < 0)
            return err_errno();
    }
    for (size_t i = 0; i < n; i++) {
        kept[i] = fcntl(SD_LISTEN_FDS_START + (int)i, F_DUPFD_CLOEXEC, SD_EXEC_FDS_FROM);
        if (dup2(taken[i], SD_LISTEN_FDS_START + (int)i) < 0)
            return err_errno();
    }
    return 0;
}

static void sd_restore(size_t n, int *taken, int *kept)
{
    for (size_t i = 0; i < n; i++) {
        if (kept[i] >= 0)
            (void)dup3(kept[i], SD_LISTEN_FDS_START + (int)i, O_CLOEXEC);
        closep(&kept[i]);
        closep(&taken[i]);
    }
}

int sd_exec(const char *path, char *const *argv, const struct sd_pass *pass, size_t n)
{
    int taken[SD_FDS_MAX], kept[SD_FDS_MAX], r;

    memset(taken, -1, sizeof(taken));
    memset(kept, -1, sizeof(kept));
    r = n > SD_FDS_MAX ? err_origin(-E2BIG) : sd_set_environment(pass, n);
    if (!r)
        r = sd_place(pass, n, taken, kept);
    if (!r) {
        execve(path, argv, environ);
        r = err_errno();
    }
    sd_restore(MIN(n, (size_t)SD_FDS_MAX), taken, kept);
    sd_clear_environment();
    return r;
}
