/* test_sock.c - bytes and fds over a socketpair, whole and in pieces; see daemon/util/sock.h and peer.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "daemon/util/peer.h"
#include "daemon/util/sock.h"

enum { CAP = 4 << 20 };

struct fixture {
    struct sock a, b;
};

static int setup(void **state)
{
    static struct fixture f;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return -1;
    sock_init(&f.a, fds[0], CAP, CAP);
    sock_init(&f.b, fds[1], CAP, CAP);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    sock_deinit(&f->a);
    sock_deinit(&f->b);
    sock_deinit(&f->b); /* twice is once */
    return 0;
}

static void put(struct sock *sock, const char *text)
{
    assert_int_equal(buf_append(&sock->out, text, strlen(text)), 0);
    sock_appended(sock);
}

/* A pipe's write end whose number in the receiver can be told apart by its inode. */
static int put_fd(struct sock *sock, ino_t *ret_inode)
{
    struct stat st;
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    close(fds[0]);
    assert_int_equal(fstat(fds[1], &st), 0);
    *ret_inode = st.st_ino;
    assert_int_equal(sock_put_fd(sock, fds[1]), SOCK_OK);
    return fds[1];
}

static void check_fd(struct sock *sock, ino_t inode)
{
    _cleanup_(closep) int fd = sock_claim_fd(sock);
    struct stat st;

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_ino, inode);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static void test_sock_read_tells_data_from_nothing_from_the_end(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(sock_read(&f->b, 100), SOCK_E_AGAIN);
    put(&f->a, "hello");
    assert_int_equal(sock_flush(&f->a), SOCK_OK);
    assert_int_equal(sock_read(&f->b, 3), SOCK_OK);
    assert_int_equal(sock_read(&f->b, 100), SOCK_OK);
    assert_int_equal(buf_size(&f->b.in), 5);
    assert_memory_equal(buf_head(&f->b.in), "hello", 5);
    assert_int_equal(sock_claim_fd(&f->b), -1);
    closep(&f->a.fd);
    assert_int_equal(sock_read(&f->b, 100), SOCK_E_EOF);
    put(&f->b, "x");
    assert_int_equal(sock_flush(&f->b), SOCK_E_EOF);
}

static void test_sock_read_says_when_its_buffer_is_full(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(sock_read(&f->b, CAP + 1), SOCK_E_FULL);
}

static void test_sock_flush_sends_an_fd_with_its_own_byte(void **state)
{
    struct fixture *f = *state;
    ino_t first, second;

    put(&f->a, "aaa");
    put_fd(&f->a, &first);
    put(&f->a, "bbb");
    put(&f->a, "ccc");
    put_fd(&f->a, &second);
    put(&f->a, "ddd");
    assert_int_equal(sock_flush(&f->a), SOCK_OK);
    assert_int_equal(f->a.n_out_fds, 0);
    assert_int_equal(sock_read(&f->b, 100),
                     SOCK_OK); /* the kernel ends a read behind bytes that carry an fd */
    assert_int_equal(buf_size(&f->b.in), 9);
    check_fd(&f->b, first);
    assert_int_equal(sock_read(&f->b, 100), SOCK_OK);
    check_fd(&f->b, second);
    assert_memory_equal(buf_head(&f->b.in), "aaabbbcccddd", 12);
}

static void test_sock_flush_keeps_order_when_the_peer_is_slow(void **state)
{
    struct fixture *f = *state;
    static uint8_t big[3 << 20];
    size_t n_seen = 0;
    ino_t inode;
    int r;

    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (uint8_t)(i * 2654435761u >> 13);
    assert_int_equal(buf_append(&f->a.out, big, sizeof(big)), 0);
    sock_appended(&f->a);
    put_fd(&f->a, &inode);
    put(&f->a, "!");
    while ((r = sock_flush(&f->a)) == SOCK_E_AGAIN) {
        assert_int_equal(sock_read(&f->b, 64 << 10), SOCK_OK);
        assert_memory_equal(buf_head(&f->b.in), big + n_seen, buf_size(&f->b.in));
        n_seen += buf_size(&f->b.in);
        buf_consume(&f->b.in, buf_size(&f->b.in));
    }
    assert_int_equal(r, SOCK_OK);
    while (n_seen <= sizeof(big)) {
        assert_int_equal(sock_read(&f->b, 64 << 10), SOCK_OK);
        n_seen += buf_size(&f->b.in);
        buf_consume(&f->b.in, buf_size(&f->b.in));
    }
    assert_int_equal(n_seen, sizeof(big) + 1);
    check_fd(&f->b, inode);
}

static void test_sock_put_fd_has_a_bound(void **state)
{
    struct fixture *f = *state;
    ino_t inode;

    for (int i = 0; i < SOCK_OUT_FDS_MAX; i++) {
        put_fd(&f->a, &inode);
        put(&f->a, "x");
    }
    assert_int_equal(sock_put_fd(&f->a, 0), SOCK_E_FULL); /* 0 stays the caller's */
    assert_int_equal(sock_flush(&f->a), SOCK_OK);
}

static void test_sock_read_closes_fds_beyond_its_bound(void **state)
{
    struct fixture *f = *state;
    ino_t inodes[SOCK_IN_FDS_MAX + 1];
    int r = SOCK_OK;

    for (int i = 0; i <= SOCK_IN_FDS_MAX; i++) {
        put_fd(&f->a, &inodes[i]);
        put(&f->a, "x");
    }
    assert_int_equal(sock_flush(&f->a), SOCK_OK);
    for (int i = 0; i <= SOCK_IN_FDS_MAX; i++) {
        assert_int_equal(r, SOCK_OK);
        r = sock_read(&f->b, 100);
    }
    assert_int_equal(r, SOCK_E_FDS);
    assert_int_equal(f->b.n_in_fds, SOCK_IN_FDS_MAX);
    check_fd(&f->b, inodes[0]);
}

static void test_peer_read_says_who_connected(void **state)
{
    struct fixture *f = *state;
    struct peer peer;

    assert_int_equal(peer_read(f->a.fd, &peer), 0);
    assert_int_equal(peer.uid, getuid());
    assert_int_equal(peer.gid, getgid());
    assert_int_equal(peer.pid, getpid());
    assert_true(peer_in_group(f->a.fd, &peer, getgid()));
    assert_false(peer_in_group(f->a.fd, &peer, (gid_t)987654321));
    assert_true(peer_read(-1, &peer) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sock_read_tells_data_from_nothing_from_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sock_read_says_when_its_buffer_is_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sock_flush_sends_an_fd_with_its_own_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sock_flush_keeps_order_when_the_peer_is_slow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sock_put_fd_has_a_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sock_read_closes_fds_beyond_its_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_read_says_who_connected, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
