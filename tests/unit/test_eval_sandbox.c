/* test_eval_sandbox.c - what a program in the sandbox can and cannot do.
 *
 * Each case is a Python program that tries something; what it must not get is checked from inside (by an
 * assertion, so that it does not pass) and by how it ends.  Where no sandbox can be made all are skipped, and
 * the reason is printed. */
#include "daemon/probe/eval_sandbox.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* Small, so that a runaway ends soon. */
static const struct eval_sandbox_limits limits = {.cpu_s = 1,
                                                  .wall_ms = 30000,
                                                  .memory = 256 << 20,
                                                  .file_bytes = 1 << 20,
                                                  .n_processes = 8,
                                                  .output_bytes = 1000};

static struct eval_sandbox_result run_with(const char *program, const struct eval_sandbox_limits *l)
{
    struct eval_sandbox_result result;
    struct fault fault = {0};
    int r = eval_sandbox_run((struct chat_str){program, strlen(program)}, l, &fault, &result);

    if (r)
        fail_msg("%d: %s", r, fault.text);
    return result;
}

static struct eval_sandbox_result run(const char *program)
{
    return run_with(program, &limits);
}

static void expect_pass(const char *program)
{
    struct eval_sandbox_result result = run(program);

    if (!result.passed)
        fail_msg("end %d, status %d: %.*s", result.end, result.status, (int)result.n_output, result.output);
    eval_sandbox_result_deinit(&result);
}

static void expect_status(const char *program, int status, const char *output)
{
    struct eval_sandbox_result result = run(program);

    assert_int_equal(result.end, EVAL_SANDBOX_EXIT);
    assert_int_equal(result.status, status);
    assert_false(result.passed);
    if (!memmem(result.output, result.n_output, output, strlen(output)))
        fail_msg("not \"%s\": %.*s", output, (int)result.n_output, result.output);
    eval_sandbox_result_deinit(&result);
}

static void test_program_that_ends_passes(void **state)
{
    expect_pass("import math, re, collections, itertools, heapq, typing\nassert math.isqrt(17) == 4\n");
}

static void test_program_that_fails_does_not_pass(void **state)
{
    expect_status("assert 1 + 1 == 3, 'sum'\n", 1, "AssertionError: sum");
    expect_status("def f(:\n", 1, "SyntaxError");
    expect_status("s = '''no end\n", 1, "SyntaxError");
}

static void test_early_end_does_not_pass(void **state)
{
    expect_status("import os\nos._exit(0)\n", 0, "");
    expect_status("raise SystemExit(0)\n", 0, "");
    expect_status("import os\nos.write(3, b'0' * 32)\nos._exit(0)\n", 0, "");
    expect_status("import sys\nsys.exit(3)\n", 3, "");
}

static void test_endless_loop_is_killed_by_cpu_time(void **state)
{
    struct eval_sandbox_result result = run("while True:\n    pass\n");

    assert_int_equal(result.end, EVAL_SANDBOX_SIGNAL);
    assert_true(result.status == SIGXCPU || result.status == SIGKILL);
    assert_false(result.passed);
    eval_sandbox_result_deinit(&result);
}

static void test_waiting_is_killed_by_the_clock(void **state)
{
    struct eval_sandbox_limits l = limits;
    struct eval_sandbox_result result;

    l.wall_ms = 300;
    result = run_with("import os, signal\n"
                      "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                      "os.fork()\nos.setsid() if os.getpid() > 2 else None\nsignal.pause()\n",
                      &l);
    assert_int_equal(result.end, EVAL_SANDBOX_TIMEOUT);
    assert_false(result.passed);
    eval_sandbox_result_deinit(&result);
}

/* Ends at once although children are left, since init takes them along. */
static void test_children_left_behind_are_killed(void **state)
{
    expect_pass("import os, signal\nif os.fork() == 0:\n    os.setsid()\n    signal.pause()\n");
}

static void test_fork_bomb_is_stopped(void **state)
{
    struct eval_sandbox_limits l = limits;
    struct eval_sandbox_result result;

    expect_pass("import os, signal\nn = 0\ntry:\n    while n < 100:\n"
                "        if os.fork() == 0:\n            signal.pause()\n        n += 1\n"
                "except BlockingIOError:\n    pass\nassert 0 < n < 8, n\n");
    l.wall_ms = 500;
    result = run_with("import os\nwhile True:\n    try:\n        os.fork()\n"
                      "    except OSError:\n        pass\n",
                      &l);
    assert_false(result.passed);
    eval_sandbox_result_deinit(&result);
}

static void test_memory_hog_is_refused(void **state)
{
    expect_pass("try:\n    x = bytearray(300 << 20)\n    assert False\nexcept MemoryError:\n    pass\n"
                "x = bytearray(50 << 20)\n");
}

static void test_files_can_only_be_written_in_its_own_folder(void **state)
{
    expect_pass(
        "import os\nassert os.getcwd() == '/tmp' and os.listdir('.') == []\n"
        "open('x', 'w').write('kept')\nassert open('x').read() == 'kept'\n"
        "for path in '/x', '/usr/x', '/dev/x', '/usr/bin/python3':\n    try:\n        open(path, 'w')\n"
        "        assert False, path\n    except OSError:\n        pass\n");
    /* SIGXFSZ is ignored by Python: the write fails */
    expect_pass(
        "try:\n    open('x', 'wb').write(bytes(2 << 20))\n    assert False\nexcept OSError:\n    pass\n");
    expect_pass(
        "try:\n    for i in range(8):\n        open(str(i), 'wb').write(bytes(1 << 19))\n    assert False\n"
        "except OSError:\n    pass\n");
}

static void test_host_is_not_there(void **state)
{
    expect_pass(
        "import os\nassert set(os.listdir('/')) <= {'usr', 'bin', 'lib', 'lib32', 'lib64', 'dev', 'tmp'}, "
        "os.listdir('/')\n"
        "for path in '/etc/shadow', '/etc/passwd', '/proc/1/environ', '/sys', '/home', '/root':\n"
        "    assert not os.path.exists(path), path\n"
        "assert sorted(os.listdir('/dev')) == ['null', 'urandom']\n");
}

static void test_it_is_nobody(void **state)
{
    expect_pass(
        "import os\nassert os.getuid() == os.geteuid() == os.getgid() == 1000\n"
        "assert set(os.getgroups()) <= {1000, 65534}, os.getgroups()\nassert dict(os.environ).keys() <= "
        "{'LC_CTYPE'}, os.environ\n");
}

static void test_network_is_empty(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char program[400];

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, n), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    snprintf(program, sizeof(program),
             "import socket\nfor host in '127.0.0.1', '1.1.1.1':\n    try:\n"
             "        socket.create_connection((host, %d), 5)\n        assert False, host\n"
             "    except OSError as e:\n        assert e.errno == 101, e\n",
             ntohs(address.sin_port));
    expect_pass(program);
    close(fd);
}

static void test_privilege_cannot_be_won_back(void **state)
{
    expect_pass("import ctypes, os\nc = ctypes.CDLL(None, use_errno=True)\n"
                "assert c.unshare(0x10000000) == -1 and ctypes.get_errno() == 1\n"
                "assert c.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None) == -1 and ctypes.get_errno() == 1\n"
                "assert c.ptrace(16, 1, 0, 0) == -1 and ctypes.get_errno() == 1\n"
                "assert c.syscall(56, 0x10000011, 0, 0, 0, 0) == -1 and ctypes.get_errno() == 1\n"
                "try:\n    os.setuid(0)\n    assert False\nexcept OSError:\n    pass\n");
}

static void test_no_fd_of_ours_is_open(void **state)
{
    const int leak = fcntl(1, F_DUPFD, 20); /* not close-on-exec */

    assert_true(leak >= 20);
    expect_pass(
        "import os\nfor fd in range(4, 64):\n    try:\n        os.fstat(fd)\n        assert False, fd\n"
        "    except OSError:\n        pass\n");
    close(leak);
}

static void test_output_is_capped(void **state)
{
    struct eval_sandbox_result result = run("for i in range(20000):\n    print('x' * 99)\n");

    assert_true(result.passed);
    assert_int_equal(result.n_output, 1000);
    eval_sandbox_result_deinit(&result);
}

static void test_input_is_empty_and_bytes_are_free(void **state)
{
    expect_pass("try:\n    input()\n    assert False\nexcept EOFError:\n    pass\n"
                "import sys\nsys.stdout.buffer.write(b'\\x00\\xff')\n");
}

static int skip_all(const char *why)
{
    printf("1..0 # SKIP %s\n", why);
    return 77;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program_that_ends_passes),
        cmocka_unit_test(test_program_that_fails_does_not_pass),
        cmocka_unit_test(test_early_end_does_not_pass),
        cmocka_unit_test(test_endless_loop_is_killed_by_cpu_time),
        cmocka_unit_test(test_waiting_is_killed_by_the_clock),
        cmocka_unit_test(test_children_left_behind_are_killed),
        cmocka_unit_test(test_fork_bomb_is_stopped),
        cmocka_unit_test(test_memory_hog_is_refused),
        cmocka_unit_test(test_files_can_only_be_written_in_its_own_folder),
        cmocka_unit_test(test_host_is_not_there),
        cmocka_unit_test(test_it_is_nobody),
        cmocka_unit_test(test_network_is_empty),
        cmocka_unit_test(test_privilege_cannot_be_won_back),
        cmocka_unit_test(test_no_fd_of_ours_is_open),
        cmocka_unit_test(test_output_is_capped),
        cmocka_unit_test(test_input_is_empty_and_bytes_are_free),
    };
    struct eval_sandbox_result result = {0};
    struct fault fault = {0};
    const int r = eval_sandbox_run((struct chat_str){"", 0}, &limits, &fault, &result);

    eval_sandbox_result_deinit(&result);
    if (r == EVAL_SANDBOX_E_NONE)
        return skip_all(fault.text);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
