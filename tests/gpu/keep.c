/* keep.c - gpu_driver keep: does memory with an fd outlive the process that made it?
 *
 * What the broker relies on: it has no CUDA context and never maps, holds the fd, and hands it to the next
 * engine.  So this process opens no backend before its children have ended; each child does. */
#include "gpu.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { KEEP_BYTES = 8 << 20 };

static void keep_pattern(uint8_t *p)
{
    for (size_t i = 0; i < KEEP_BYTES; i++)
        p[i] = (uint8_t)(i * 2654435761u >> 13);
}

static bool keep_send(int sock, int fd)
{
    char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    return sendmsg(sock, &msg, 0) == 1;
}

static int keep_receive(int sock)
{
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    int fd = -1;

    if (recvmsg(sock, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
    return fd;
}

/* Child: makes the memory, passes it on, and lives until it is killed. */
static int keep_make(const char *backend, int sock)
{
    _cleanup_(freep) uint8_t *pattern = malloc(KEEP_BYTES);
    struct kern *k = gpu_open(backend);
    struct kern_mem mem;

    keep_pattern(pattern);
    if (!k || k->ops->mem_alloc(k, KEEP_BYTES, KERN_MEM_WEIGHTS, &mem) || mem.fd < 0 ||
        k->ops->copy_in(k, mem.base, pattern, KEEP_BYTES) || k->ops->mem_seal(k, &mem) ||
        !keep_send(sock, mem.fd))
        return 1;
    pause();
    return 1;
}

/* Child: 0 if the memory says what was written. */
static int keep_look(const char *backend, int fd)
{
    _cleanup_(freep) uint8_t *want = malloc(KEEP_BYTES), *got = malloc(KEEP_BYTES);
    struct kern *k = gpu_open(backend);
    struct kern_mem mem;

    keep_pattern(want);
    if (!k || k->ops->mem_adopt(k, fd, KEEP_BYTES, KERN_MEM_WEIGHTS, &mem) ||
        k->ops->copy_out(k, got, mem.base, KEEP_BYTES))
        return 1;
    const bool same = !memcmp(want, got, KEEP_BYTES);
    k->ops->mem_free(k, &mem);
    kern_free(k);
    return !same;
}

static bool keep_child_looks(const char *backend, int fd, bool over_socket)
{
    int pair[2], status = 1;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return false;
    const pid_t pid = fork();
    if (!pid) {
        if (over_socket) {
            close(fd); /* the inherited one: what comes through the socket counts */
            fd = keep_receive(pair[1]);
        }
        _exit(keep_look(backend, fd));
    }
    if (over_socket)
        keep_send(pair[0], fd);
    waitpid(pid, &status, 0);
    close(pair[0]);
    close(pair[1]);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int gpu_keep(const char *backend, int argc, char **argv)
{
    struct stat st;
    int pair[2];

    if (argc != 1 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return 2;
    const pid_t maker = fork();
    if (!maker)
        _exit(keep_make(backend, pair[1]));
    close(pair[1]);
    const int fd = keep_receive(pair[0]); /* end of file: it could not */
    gpu_check(fd >= 0, "keep", "memory with an fd was made and passed on");
    if (fd >= 0 && fstat(fd, &st) == 0)
        printf("note keep: the fd's mode is %06o, its size %lld\n", st.st_mode, (long long)st.st_size);
    if (fd >= 0)
        gpu_check(keep_child_looks(backend, fd, true), "keep",
                  "another process maps it while its maker lives");
    kill(maker, SIGKILL);
    waitpid(maker, NULL, 0);
    if (fd >= 0) {
        gpu_check(keep_child_looks(backend, fd, false), "keep",
                  "a process forked off its keeper maps it, the maker dead");
        gpu_check(keep_child_looks(backend, fd, true), "keep",
                  "a process that got it over a socket maps it, the maker dead");
        gpu_check(keep_child_looks(backend, fd, true), "keep", "and one more, after two came and went");
    }
    return gpu_n_failed() > 0;
}
