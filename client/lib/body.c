/* body.c - how a prompt travels: inside its Generate frame, in one sealed memfd, or in Body frames after it.
 *
 * The daemon takes 1 MiB a frame.  A longer prompt goes in a memfd, sealed so that it cannot change under the
 * reader; where no memfd can be made (no memory, no fd left, a filter), it is cut into Body frames. */
#include <fcntl.h>
#include <sys/mman.h>

#include "conn.h"

enum {
    BODY_PIECE_BYTES = 256 << 10
}; /* per Body frame: small enough that other streams get their turn in between */

static int body_write(int fd, const uint8_t *body, size_t n)
{
    while (n) {
        ssize_t k = write(fd, body, n);

        if (k < 0 && errno != EINTR)
            return err_errno();
        if (k > 0) {
            body += k;
            n -= (size_t)k;
        }
    }
    return 0;
}

static int body_memfd(const uint8_t *body, size_t n, int *ret_fd)
{
    _cleanup_(closep) int fd = memfd_create("qwend-prompt", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int r;

    if (fd < 0)
        return err_errno();
    r = body_write(fd, body, n);
    if (r)
        return r;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return err_errno();
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int body_send_pieces(qwend *q, uint32_t stream, const Qwp__Generate *head, const uint8_t *body,
                            size_t n)
{
    int r;

    r = conn_put(q, stream, MSG_GENERATE, FRAME_MORE, &head->base);
    while (!r && n) {
        Qwp__Body piece = QWP__BODY__INIT;

        piece.has_data = true;
        piece.data = (ProtobufCBinaryData){MIN(n, (size_t)BODY_PIECE_BYTES), (uint8_t *)body};
        body += piece.data.len;
        n -= piece.data.len;
        r = conn_put(q, stream, MSG_BODY, n ? FRAME_MORE : 0, &piece.base);
    }
    return r;
}

int body_send(qwend *q, uint32_t stream, const Qwp__Generate *head, const uint8_t *body, size_t n)
{
    _cleanup_(closep) int fd = -1;
    Qwp__Generate whole = *head;

    whole.has_body = true;
    whole.body = (ProtobufCBinaryData){n, (uint8_t *)body};
    if (qwp__generate__get_packed_size(&whole) <= q->frame_bytes)
        return conn_put(q, stream, MSG_GENERATE, 0, &whole.base);
    if (q->n_pass < ARRAY_SIZE(q->pass) && !body_memfd(body, n, &fd))
        return conn_put_fd(q, stream, MSG_GENERATE, 0, &head->base, &fd);
    if (buf_size(&q->out) + n + n / 64 + (64 << 10) >
        q->out.max) /* all of it or nothing: half a prompt is a fault */
        return conn_error(q, -ENOBUFS, "%zu bytes wait to be sent already, a prompt of %zu more are too many",
                          buf_size(&q->out), n);
    return body_send_pieces(q, stream, head, body, n);
}
