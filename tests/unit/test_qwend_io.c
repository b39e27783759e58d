/* test_qwend_io.c - the socket at its worst: one byte per call, EINTR and EAGAIN in between, full in the
 * middle.
 *
 * recv() and sendmsg() of the library are wrapped by the linker; the server in the same program uses neither.
 */
#include "qwend_peer.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

static struct {
    bool on;
    unsigned n_recv, n_send;
} evil;

ssize_t __real_recv(int fd, void *data, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t n, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);

/* Each third call is interrupted, each fifth finds nothing. */
static bool evil_fails(unsigned n)
{
    if (n % 3 == 0)
        errno = EINTR;
    else if (n % 5 == 0)
        errno = EAGAIN;
    return n % 3 == 0 || n % 5 == 0;
}

ssize_t __wrap_recv(int fd, void *data, size_t n, int flags)
{
    if (evil.on && evil_fails(++evil.n_recv))
        return -1;
    return __real_recv(fd, data, evil.on ? 1 : n, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct msghdr one = *msg;
    struct iovec iov = {msg->msg_iov->iov_base, 1};

    if (!evil.on)
        return __real_sendmsg(fd, msg, flags);
    if (evil_fails(++evil.n_send))
        return -1;
    one.msg_iov = &iov;
    return __real_sendmsg(fd, &one, flags);
}

static const char io_script[] =
    "accept\nawait Generate\nsend Accepted position=0 prompt_tokens=3\n"
    "think \"abc\"\nsay \"def\"\nsay \"ghi\"\nsend Usage+end finish=FINISH_STOP\neof\n";

static int io_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    if (event->type == QWEND_EV_ANSWER)
        strcat(user, event->text);
    return 0;
}

static void test_io_one_byte_at_a_time(void **state)
{
    struct peer peer;
    qwend_req *req = peer_req("hi");
    char answer[64] = "";

    evil.on = true;
    peer = peer_open(io_script, 0);
    assert_int_equal(qwend_run(peer.q, req, io_on_event, answer), 0);
    evil.on = false;
    assert_string_equal(answer, "defghi");
    assert_true(evil.n_recv > 100 && evil.n_send > 100);
    qwend_req_free(req);
    free(peer_close(&peer));
}

static void test_io_server_drips_bytes(void **state)
{
    char script[512], answer[64] = "";
    qwend_req *req = peer_req("hi");
    struct peer peer;

    snprintf(script, sizeof(script), "accept\ndrip 1\n%s", io_script + strlen("accept\n"));
    peer = peer_open(script, 0);
    assert_int_equal(qwend_run(peer.q, req, io_on_event, answer), 0);
    assert_string_equal(answer, "defghi");
    qwend_req_free(req);
    free(peer_close(&peer));
}

/* Two memfds and short writes: each fd still arrives with the first byte of its own frame. */
static void test_io_passed_fds_stay_with_their_frames(void **state)
{
    struct peer peer =
        peer_open("accept\nawait Generate\nawait Generate\n"
                  "on 1\nsend Usage+end finish=FINISH_STOP\non 2\nsend Usage+end finish=FINISH_STOP\neof\n",
                  0);
    char *text = malloc(2000001);
    qwend_stream *first, *second;

    memset(text, 'x', 2000000);
    text[2000000] = 0;
    evil.on = true;
    first = peer_generate(&peer, text);
    text[1500000] = 0;
    second = peer_generate(&peer, text);
    peer_next(first, QWEND_EV_END);
    peer_next(second, QWEND_EV_END);
    evil.on = false;
    free(text);
    peer_close_received(&peer, "Prompt sealed-memfd bytes=2000014", "Prompt sealed-memfd bytes=1500014");
}

static void test_io_broken_pipe_is_an_error_not_a_signal(void **state)
{
    struct peer peer = peer_open("accept\nclose\n", 0);
    char *log = NULL;
    qwend_req *req = peer_req("hi");
    int r = 0;

    assert_int_equal(fake_server_stop(peer.server, &log), 0);
    free(log);
    r = qwend_run(peer.q, req, NULL, NULL);
    assert_int_equal(r, -EPIPE);
    qwend_req_free(req);
    qwend_close(peer.q);
}

static void test_io_events_ask_for_writing_while_output_waits(void **state)
{
    struct peer peer = peer_open("accept\neof\n", QWEND_NONBLOCK);

    assert_int_equal(qwend_events(peer.q), POLLIN);
    evil.on = true;
    evil.n_send = 4; /* the next call is the fifth: EAGAIN */
    peer_generate(&peer, "hi");
    evil.on = false;
    assert_int_equal(qwend_events(peer.q), POLLIN | POLLOUT);
    assert_int_equal(qwend_dispatch(peer.q, POLLOUT), 0);
    assert_int_equal(qwend_events(peer.q), POLLIN);
    assert_int_equal(qwend_dispatch(peer.q, POLLNVAL), -EBADF);
    free(peer_close(&peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_io_one_byte_at_a_time),
        cmocka_unit_test(test_io_server_drips_bytes),
        cmocka_unit_test(test_io_passed_fds_stay_with_their_frames),
        cmocka_unit_test(test_io_broken_pipe_is_an_error_not_a_signal),
        cmocka_unit_test(test_io_events_ask_for_writing_while_output_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
