/* test_qwend_open.c - finding a daemon, Hello and Welcome, and everything that can be wrong with them. */
#include "qwend_peer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* What opening gives with a server on this script. */
static int open_against(const char *script)
{
    struct fake_server *server = fake_server_start(script);
    qwend *q = NULL;
    int r;

    assert_non_null(server);
    r = qwend_open(&q, fake_server_path(server), 0);
    qwend_close(q);
    assert_int_equal(fake_server_stop(server, NULL), 0);
    return r;
}

static void test_open_hello_names_client_and_version(void **state)
{
    struct peer peer = peer_open("accept limits={body_bytes=5000}\neof\n", 0);

    assert_string_equal(qwend_model_name(peer.q), "tiny");
    assert_int_equal(qwend_prompt_max(peer.q), 5000);
    assert_string_equal(qwend_socket_path(peer.q), fake_server_path(peer.server));
    assert_int_equal(qwend_version(), 0x000100);
    peer_close_received(&peer, "Hello stream=0 version_min=1 version_max=1 client=\"test\"");
}

static void test_open_client_name_is_made_printable(void **state)
{
    struct fake_server *server = fake_server_start("accept\neof\n");
    char *log;
    qwend *q;

    assert_int_equal(qwend_open_as(&q, fake_server_path(server), 0, "a\033[1mb\xff"), 0);
    qwend_close(q);
    assert_int_equal(fake_server_stop(server, &log), 0);
    assert_non_null(strstr(log, "client=\"a?[1mb?\""));
    free(log);
}

static void test_open_without_daemon_names_the_socket(void **state)
{
    qwend *q;

    assert_int_equal(qwend_open(&q, "/nonexistent/qwend.sock", 0), -ENOENT);
    assert_non_null(strstr(qwend_error(NULL), "/nonexistent/qwend.sock"));
    assert_int_equal(qwend_error_code(NULL), 0);
}

static void test_open_path_too_long_is_refused(void **state)
{
    char path[200];
    qwend *q;

    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;
    assert_int_equal(qwend_open(&q, path, 0), -ENAMETOOLONG);
    assert_non_null(strstr(qwend_error(NULL), "107"));
}

static void test_open_unknown_flags_are_refused(void **state)
{
    qwend *q;

    assert_int_equal(qwend_open(&q, "/nonexistent", 1 << 9), -EINVAL);
}

static void test_open_environment_names_the_socket(void **state)
{
    struct fake_server *server = fake_server_start("accept\neof\n");
    qwend *q;

    setenv("QWEND_SOCKET", fake_server_path(server), 1);
    assert_int_equal(qwend_open(&q, NULL, 0), 0);
    assert_string_equal(qwend_socket_path(q), fake_server_path(server));
    qwend_close(q);
    unsetenv("QWEND_SOCKET");
    assert_int_equal(fake_server_stop(server, NULL), 0);
}

static void test_open_falls_back_to_runtime_dir(void **state)
{
    char dir[] = "/tmp/qwend-run-XXXXXX", sub[64], path[80];
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    qwend *q;

    if (!access("/run/qwend/qwend.sock", F_OK))
        skip(); /* a daemon of the system would be found first */
    assert_non_null(mkdtemp(dir));
    snprintf(sub, sizeof(sub), "%s/qwend", dir);
    snprintf(path, sizeof(path), "%s/qwend.sock", sub);
    assert_int_equal(mkdir(sub, 0700), 0);
    memcpy(addr.sun_path, path, strlen(path));
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 1), 0);
    setenv("XDG_RUNTIME_DIR", dir, 1);
    assert_int_equal(qwend_open(&q, NULL, QWEND_NONBLOCK), 0);
    assert_string_equal(qwend_socket_path(q), path);
    qwend_close(q);
    close(fd);
    unlink(path);
    assert_int_equal(qwend_open(&q, NULL, 0), -ENOENT);
    assert_non_null(strstr(qwend_error(NULL), "/run/qwend/qwend.sock or "));
    rmdir(sub);
    rmdir(dir);
    unsetenv("XDG_RUNTIME_DIR");
}

static void test_open_other_protocol_is_refused(void **state)
{
    assert_int_equal(open_against("connect\nraw 485454502f312e310d0a\neof\n"), -EPROTO);
    assert_non_null(strstr(qwend_error(NULL), "not qwend"));
}

static void test_open_later_version_is_refused(void **state)
{
    assert_int_equal(open_against("accept version=2\neof\n"), -EPROTO);
    assert_non_null(strstr(qwend_error(NULL), "version 2"));
}

static void test_open_refusal_gives_code_and_text(void **state)
{
    /* the preface, then an Error on stream 0: {code 302, text "too many", retry_after_ms 1500} */
    assert_int_equal(open_against("connect\nraw 515750310d0a0000\n"
                                  "raw 100000000000000003000000\nraw 08ae02"
                                  "1208746f6f206d616e79"
                                  "18dc0b\nclose\n"),
                     QWEND_REFUSED);
    assert_int_equal(qwend_error_code(NULL), 302);
    assert_int_equal(qwend_retry_after_ms(NULL), 1500);
    assert_string_equal(qwend_error(NULL), "too many");
}

static void test_open_end_instead_of_welcome_is_broken_pipe(void **state)
{
    assert_int_equal(open_against("connect\nraw 515750310d0a0000\nclose\n"
                                  "connect\nraw 515750310d0a0000\nclose\n"
                                  "connect\nraw 515750310d0a0000\nclose\n"),
                     -EPIPE);
    assert_non_null(strstr(qwend_error(NULL), "closed"));
}

/* Who holds the listening socket keeps the next connection until there is a daemon again. */
static void test_open_outlives_a_daemon_that_dies_before_its_welcome(void **state)
{
    assert_int_equal(open_against("connect\nclose\nconnect\nraw 515750310d0a0000\nclose\naccept\neof\n"), 0);
}

static void test_open_wrong_first_message_is_refused(void **state)
{
    /* a Pong before the Welcome */
    assert_int_equal(open_against("connect\nraw 515750310d0a0000\nraw 000000000000000005000000\neof\n"),
                     -EPROTO);
}

static void test_open_oversized_frame_is_refused(void **state)
{
    assert_int_equal(open_against("connect\nraw 515750310d0a0000\nraw 010010000000000002000000\neof\n"),
                     -EPROTO);
    assert_non_null(strstr(qwend_error(NULL), "1 MiB"));
}

static void test_open_passed_fd_flag_is_refused(void **state)
{
    assert_int_equal(open_against("connect\nraw 515750310d0a0000\nraw 000000000000000002000200\neof\n"),
                     -EPROTO);
    assert_non_null(strstr(qwend_error(NULL), "fd"));
}

static void test_open_nonblocking_does_not_wait_for_welcome(void **state)
{
    struct peer peer = peer_open("connect\nraw 515750310d0a0000\neof\n", QWEND_NONBLOCK);

    assert_in_range(qwend_timeout_ms(peer.q), 1, 10000);
    assert_int_equal(qwend_events(peer.q) & POLLIN, POLLIN);
    assert_int_equal(qwend_dispatch(peer.q, 0), 0);
    assert_null(qwend_model_name(peer.q));
    free(peer_close(&peer));
}

static void test_open_ping_is_answered(void **state)
{
    struct peer peer =
        peer_open("accept\nping 77\nawait Status\nsend StatusReply+end state=SERVING\neof\n", 0);
    qwend_status_info info;

    assert_int_equal(qwend_status(peer.q, &info), 0);
    peer_close_received(&peer, "Pong stream=0 opaque=77");
}

static void test_close_null_is_allowed(void **state)
{
    qwend_close(NULL);
    qwend_stream_free(NULL);
    qwend_req_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_hello_names_client_and_version),
        cmocka_unit_test(test_open_client_name_is_made_printable),
        cmocka_unit_test(test_open_without_daemon_names_the_socket),
        cmocka_unit_test(test_open_path_too_long_is_refused),
        cmocka_unit_test(test_open_unknown_flags_are_refused),
        cmocka_unit_test(test_open_environment_names_the_socket),
        cmocka_unit_test(test_open_falls_back_to_runtime_dir),
        cmocka_unit_test(test_open_other_protocol_is_refused),
        cmocka_unit_test(test_open_later_version_is_refused),
        cmocka_unit_test(test_open_refusal_gives_code_and_text),
        cmocka_unit_test(test_open_end_instead_of_welcome_is_broken_pipe),
        cmocka_unit_test(test_open_outlives_a_daemon_that_dies_before_its_welcome),
        cmocka_unit_test(test_open_wrong_first_message_is_refused),
        cmocka_unit_test(test_open_oversized_frame_is_refused),
        cmocka_unit_test(test_open_passed_fd_flag_is_refused),
        cmocka_unit_test(test_open_nonblocking_does_not_wait_for_welcome),
        cmocka_unit_test(test_open_ping_is_answered),
        cmocka_unit_test(test_close_null_is_allowed),
    };

    unsetenv("QWEND_SOCKET");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
