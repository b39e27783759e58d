/* keep.c - gpu_driver keep: does memory with an fd outlive the process that made it?
 *
 * What the broker relies on: it has no CUDA context and never maps, holds the fd, and hands it to the next
 * engine.  So this process opens no backend before its children have ended; each child does.  The same of the
 * part in main memory, which each of them has to register anew. */
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
        p[i] = i * 2654435761u >> 13 & 63; /* as float: a number */
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
static int keep_make(const char *backend, enum kern_mem_use use, int sock)
{
    _cleanup_(freep) uint8_t *pattern = malloc(KEEP_BYTES);
    struct kern *k = gpu_open(backend);
    struct kern_mem mem;

    keep_pattern(pattern);
    if (!k || k->ops->mem_alloc(k, KEEP_BYTES, use, &mem) || mem.fd < 0)
        return 1;
    if (use == KERN_MEM_HOST)
        memcpy(mem.base, pattern, KEEP_BYTES);
    else if (k->ops->copy_in(k, mem.base, pattern, KEEP_BYTES))
        return 1;
    if (k->ops->mem_seal(k, &mem) || !keep_send(sock, mem.fd))
        return 1;
    pause();
    return 1;
}

/* Main memory is the host's for every copy, so a kernel is asked for rows of it, some of every part. */
static int keep_embed(struct kern *k, const struct kern_mem *mem, const uint8_t *want)
{
    enum { DIM = 64, ROW_BYTES = DIM * 4, N_TOK = 16, N_ROW = KEEP_BYTES / ROW_BYTES, N_PART = 16 };
    const struct kern_shape shape = {.dim = DIM,
                                     .n_ff = DIM,
                                     .n_vocab = DIM,
                                     .n_qh = 1,
                                     .n_kvh = 1,
                                     .d_attn = 64,
                                     .n_kh = 1,
                                     .n_vh = 1,
                                     .d_delta = 32,
                                     .conv_k = 4,
                                     .max_tok = N_TOK,
                                     .max_ctx = 64,
                                     .kv_type = KERN_KV_F16};
    const struct kern_mat table = {.type = QUANT_F32,
                                   .layout = KERN_ROWS,
                                   .n_out = N_ROW,
                                   .n_in = DIM,
                                   .data = mem->base,
                                   .bytes = KEEP_BYTES};
    uint8_t got[N_TOK * ROW_BYTES];
    struct kern_mem x = {0};
    int32_t ids[N_TOK];
    int r = k->ops->plan(k, &shape);

    if (!r)
        r = k->ops->mem_alloc(k, N_TOK * ROW_BYTES, KERN_MEM_STATE, &x);
    for (int row = 0; row < N_ROW && !r; row += N_ROW / N_PART) {
        for (int i = 0; i < N_TOK; i++)
            ids[i] = row + i;
        r = k->ops->embed(k, &table, ids, N_TOK, (float *)(void *)x.base);
        if (!r)
            r = k->ops->copy_out(k, got, x.base, sizeof(got));
        if (!r && memcmp(got, want + (size_t)row * ROW_BYTES, sizeof(got)) != 0)
            r = -EIO;
    }
    k->ops->mem_free(k, &x);
    return r;
}

/* Child: 0 if the memory says what was written. */
static int keep_look(const char *backend, enum kern_mem_use use, int fd)
{
    _cleanup_(freep) uint8_t *want = malloc(KEEP_BYTES), *got = malloc(KEEP_BYTES);
    struct kern *k = gpu_open(backend);
    struct kern_mem mem;
    int r;

    keep_pattern(want);
    if (!k || k->ops->mem_adopt(k, fd, KEEP_BYTES, use, &mem))
        return 1;
    if (use == KERN_MEM_HOST)
        r = keep_embed(k, &mem, want);
    else
        r = k->ops->copy_out(k, got, mem.base, KEEP_BYTES) || memcmp(want, got, KEEP_BYTES) != 0;
    k->ops->mem_free(k, &mem);
    kern_free(k);
    return r != 0;
}

static bool keep_child_looks(const char *backend, enum kern_mem_use use, int fd, bool over_socket)
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
        _exit(keep_look(backend, use, fd));
    }
    if (over_socket)
        keep_send(pair[0], fd);
    waitpid(pid, &status, 0);
    close(pair[0]);
    close(pair[1]);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int keep_all(const char *backend, enum kern_mem_use use, const char *name)
{
    struct stat st;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return 2;
    const pid_t maker = fork();
    if (!maker)
        _exit(keep_make(backend, use, pair[1]));
    close(pair[1]);
    _cleanup_(closep) int fd = keep_receive(pair[0]); /* end of file: it could not */
    close(pair[0]);
    gpu_check(fd >= 0, name, "memory with an fd was made and passed on");
    if (fd >= 0 && fstat(fd, &st) == 0)
        printf("note %s: the fd's mode is %06o, its size %lld\n", name, st.st_mode, (long long)st.st_size);
    if (fd >= 0)
        gpu_check(keep_child_looks(backend, use, fd, true), name,
                  "another process maps it while its maker lives");
    kill(maker, SIGKILL);
    waitpid(maker, NULL, 0);
    if (fd >= 0) {
        gpu_check(keep_child_looks(backend, use, fd, false), name,
                  "a process forked off its keeper maps it, the maker dead");
        gpu_check(keep_child_looks(backend, use, fd, true), name,
                  "a process that got it over a socket maps it, the maker dead");
        gpu_check(keep_child_looks(backend, use, fd, true), name, "and one more, after two came and went");
    }
    return 0;
}

int gpu_keep(const char *backend, int argc, char **argv)
{
    int r = argc != 1 ? 2 : keep_all(backend, KERN_MEM_WEIGHTS, "keep");

    if (!r)
        r = keep_all(backend, KERN_MEM_HOST, "keep in main memory");
    return r ? r : gpu_n_failed() > 0;
}
