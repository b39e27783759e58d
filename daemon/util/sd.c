/* sd.c - talking to the service manager.  See sd.h.  Source of the protocol: sd_notify(3), sd_listen_fds(3).
 */
#include "sd.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { SD_LISTEN_FDS_START = 3 };

static struct {
    struct sockaddr_un address; /* of NOTIFY_SOCKET */
    socklen_t n_address;        /* 0: no manager listens */
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

void sd_init(void)
{
    static const char *const names[] = {"NOTIFY_SOCKET",  "LISTEN_PID",   "LISTEN_FDS",
                                        "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"};

    sd_init_address();
    if (getenv("LISTEN_PID") && sd_env_is_for_us("LISTEN_PID"))
        sd_state.n_fds = (int)MIN(sd_env_u64("LISTEN_FDS"), (uint64_t)64);
    if (sd_env_is_for_us("WATCHDOG_PID"))
        sd_state.watchdog_us = sd_env_u64("WATCHDOG_USEC");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        unsetenv(names[i]);
}

int sd_take_socket(int *ret_n)
{
    for (int i = 0; i < sd_state.n_fds; i++)
        fcntl(SD_LISTEN_FDS_START + i, F_SETFD, FD_CLOEXEC);
    *ret_n = sd_state.n_fds;
    return sd_state.n_fds ? SD_LISTEN_FDS_START : -1;
}

void sd_notify_put(const char *fmt, ...)
{
    _cleanup_(closep) int fd = -1;
    char text[512];
    va_list ap;
    int n;

    if (!sd_state.n_address)
        return;
    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && n > 0)
        (void)sendto(fd, text, MIN((size_t)n, sizeof(text) - 1), MSG_NOSIGNAL | MSG_DONTWAIT,
                     (const struct sockaddr *)&sd_state.address, sd_state.n_address);
}

uint64_t sd_watchdog_us(void)
{
    return sd_state.watchdog_us;
}
