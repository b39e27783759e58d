/* test_base.c - error origin, faults, cleanup and the arithmetic of base.h. */
#include "proto/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void *place_of_new_thread(void *arg)
{
    *(bool *)arg = !strcmp(err_place(), "?");
    return NULL;
}

static void test_err_place_is_where_it_was_raised(void **state)
{
    char expected[64];
    bool untouched = false;
    pthread_t thread;

    snprintf(expected, sizeof(expected), "test_base.c:%d", __LINE__ + 1);
    assert_int_equal(err_origin(-EPROTO), -EPROTO);
    assert_string_equal(err_place(), expected);
    assert_int_equal(pthread_create(&thread, NULL, place_of_new_thread, &untouched), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(untouched);
}

static void test_err_errno_is_never_success(void **state)
{
    errno = ENOENT;
    assert_int_equal(err_errno(), -ENOENT);
    errno = 0;
    assert_int_equal(err_errno(), -EIO);
}

static void test_fault_set_writes_code_and_one_line(void **state)
{
    struct fault fault = {0};

    assert_int_equal(fault_set(&fault, 3, "%s: %d, expected %d", "n_head", 7, 8), 3);
    assert_int_equal(fault.code, 3);
    assert_string_equal(fault.text, "n_head: 7, expected 8");
    assert_int_equal(fault_set(NULL, 4, "nobody asks"), 4);
}

static void test_fault_set_cuts_what_is_too_long(void **state)
{
    struct fault fault = {0};
    char text[2 * sizeof(fault.text)];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    fault_set(&fault, 1, "%s", text);
    assert_int_equal(strlen(fault.text), sizeof(fault.text) - 1);
}

static void test_steal_leaves_nothing_behind(void **state)
{
    char *p = strdup("x"), *q = steal(&p);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), taken = steal_fd(&fd);

    assert_null(p);
    assert_string_equal(q, "x");
    assert_int_equal(fd, -1);
    assert_in_range(taken, 0, 1 << 20);
    freep(&q);
    assert_null(q);
    closep(&taken);
    assert_int_equal(taken, -1);
    closep(&taken); /* twice is harmless */
}

static void test_cleanup_runs_at_end_of_scope(void **state)
{
    int fd;

    {
        _cleanup_(closep) int scoped = open("/dev/null", O_RDONLY | O_CLOEXEC);
        _cleanup_(freep) char *text _unused_ = strdup("freed here"); /* LeakSanitizer would say */

        fd = scoped;
    }
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(errno, EBADF);
}

static void test_arithmetic_at_the_borders(void **state)
{
    assert_int_equal(CEIL_DIV(0, 8), 0);
    assert_int_equal(CEIL_DIV(8, 8), 1);
    assert_int_equal(CEIL_DIV(9, 8), 2);
    assert_int_equal(ROUND_UP(17, 8), 24);
    assert_int_equal(CLAMP(-1, 0, 5), 0);
    assert_int_equal(CLAMP(6, 0, 5), 5);
    assert_int_equal(CLAMP(3, 0, 5), 3);
    assert_int_equal(MIN(2, 1), 1);
    assert_int_equal(MAX(2, 1), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_place_is_where_it_was_raised),
        cmocka_unit_test(test_err_errno_is_never_success),
        cmocka_unit_test(test_fault_set_writes_code_and_one_line),
        cmocka_unit_test(test_fault_set_cuts_what_is_too_long),
        cmocka_unit_test(test_steal_leaves_nothing_behind),
        cmocka_unit_test(test_cleanup_runs_at_end_of_scope),
        cmocka_unit_test(test_arithmetic_at_the_borders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
