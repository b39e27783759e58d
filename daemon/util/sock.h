/* sock.h - a non-blocking stream socket with its two bounded buffers, and fds that travel beside the bytes.
 *
 * Used for client connections and for the engine link alike.  A passed fd belongs to the byte it was sent
 * with; as each frame announces its fd (FRAME_HAS_FD) and at most one is kept, an fd that no frame claims is
 * found at once. */
#pragma once

#include "proto/buf.h"

enum { SOCK_OK, SOCK_E_AGAIN, SOCK_E_EOF, SOCK_E_FDS, SOCK_E_FULL };

enum {
    SOCK_IN_FDS_MAX = 2, /* one recvmsg may end a frame that has one and begin the next that has one */
    SOCK_OUT_FDS_MAX = 16,
};

struct sock {
    int fd;                      /* owned; -1: closed */
    int in_fds[SOCK_IN_FDS_MAX]; /* owned; received and not yet claimed, oldest first */
    int n_in_fds;
    struct buf in, out;
    uint64_t n_put, n_sent; /* bytes ever appended to out, bytes ever sent */
    struct {
        uint64_t at; /* position in the byte stream of the byte it travels with */
        int fd;      /* owned until sent */
    } out_fds[SOCK_OUT_FDS_MAX];
    int n_out_fds;
};

void sock_init(struct sock *sock, int fd, size_t max_in,
               size_t max_out);      /* takes fd, which must be non-blocking */
void sock_deinit(struct sock *sock); /* closes and frees; safe to call twice */

/* One recvmsg of at most n_want bytes into in.  SOCK_OK: something came; _AGAIN: nothing there; _EOF: the
 * peer closed or reset; _FDS: more fds than may be unclaimed, the rest closed; _FULL: in has no room for
 * n_want bytes.
 */
int sock_read(struct sock *sock, size_t n_want);
int sock_claim_fd(struct sock *sock);  /* the oldest, now the caller's; -1: none came */
void sock_drop_fds(struct sock *sock); /* closes those that nobody claimed */

/* Sends what it can.  SOCK_OK: out is empty; _AGAIN: wait until writable; _EOF: the peer is gone. */
int sock_flush(struct sock *sock);

/* The next byte appended to out carries fd, which is taken on success only.  SOCK_E_FULL: too many are
 * waiting. */
int sock_put_fd(struct sock *sock, int fd);
/* To be called after each append to out. */
static inline void sock_appended(struct sock *sock)
{
    sock->n_put = sock->n_sent + buf_size(&sock->out);
}
