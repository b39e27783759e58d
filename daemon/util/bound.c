/* bound.c - bind, and what may lie at the path already.  See bound.h. */
#include "bound.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Is somebody accepting on this socket file?  > 0 yes, 0 no (or there is none), < 0 errno. */
static int bound_probe(const struct sockaddr_un *address)
{
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return err_errno();
    /* EAGAIN: its backlog is full, so it lives. */
    if (!connect(fd, (const struct sockaddr *)address, sizeof(*address)) || errno == EAGAIN)
        return 1;
    return errno == ECONNREFUSED || errno == ENOENT ? 0 : err_errno();
}

/* Holds the folder's lock while probing, removing and binding, so that two daemons that start at once do not
 * remove each other's socket.  A folder that cannot be opened is no folder to bind in either: bind() will say
 * so. */
static int bound_lock_folder(const char *path)
{
    char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char *slash;
    int fd;

    snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        flock(fd, LOCK_EX);
    return fd;
}

static int bound_remove_stale(const struct sockaddr_un *address, struct fault *fault)
{
    const char *path = address->sun_path;
    struct stat st;
    int alive;

    if (lstat(path, &st) < 0)
        return BOUND_OK; /* nothing there, or bind() will say why not */
    if (!S_ISSOCK(st.st_mode))
        return fault_set(fault, BOUND_E_PATH, "%s exists and is not a socket", path);
    alive = bound_probe(address);
    if (alive > 0)
        return fault_set(fault, BOUND_E_BUSY, "another qwend is listening on %s", path);
    if (alive < 0 || unlink(path) < 0)
        return fault_set(fault, BOUND_E_PATH, "%s: cannot replace it: %s", path, strerror(errno));
    return BOUND_OK;
}

int bound_open(struct bound *ret_bound, const char *path, int backlog, struct fault *fault)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_(closep) int fd = -1, lock = -1;
    struct bound bound = BOUND_NULL;
    mode_t mask;
    int r;

    if (strlen(path) >= sizeof(address.sun_path))
        return fault_set(fault, BOUND_E_PATH, "%s: longer than the %zu bytes a socket path may have", path,
                         sizeof(address.sun_path) - 1);
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno();
    lock = bound_lock_folder(path);
    r = bound_remove_stale(&address, fault);
    if (r)
        return r;
    mask = umask(0111); /* rw for all, from the first moment on */
    r = bind(fd, (struct sockaddr *)&address, sizeof(address));
    umask(mask);
    if (r < 0 || listen(fd, backlog) < 0 || lstat(path, &bound.own) < 0)
        return fault_set(fault, BOUND_E_PATH, "%s: %s", path, strerror(errno));
    bound.path = strdup(path);
    if (!bound.path)
        return err_origin(-ENOMEM);
    bound.fd = steal_fd(&fd);
    *ret_bound = bound;
    return BOUND_OK;
}

void bound_close(struct bound *bound)
{
    struct stat st;

    if (bound->path && !lstat(bound->path, &st) && st.st_ino == bound->own.st_ino &&
        st.st_dev == bound->own.st_dev)
        unlink(bound->path);
    freep(&bound->path);
    closep(&bound->fd);
}
