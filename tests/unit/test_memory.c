/* test_memory.c - what /proc says about memory, and what becomes of it. */
#include "daemon/engine/memory.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_memory_parse_meminfo_takes_the_kernels_estimate(void **state)
{
    uint64_t bytes = 7;

    assert_true(memory_parse_meminfo(
        "MemTotal: 99 kB\nMemFree: 5 kB\nMemAvailable:   1234 kB\nBuffers: 1 kB\n", &bytes));
    assert_int_equal(bytes, 1234 << 10);
    assert_false(memory_parse_meminfo("MemTotal: 99 kB\n", &bytes));
    assert_false(memory_parse_meminfo("MemAvailable: lots\n", &bytes));
    assert_int_equal(bytes, 1234 << 10);
}

static void test_memory_parse_cgroup_finds_the_unified_group(void **state)
{
    char path[32];

    assert_true(memory_parse_cgroup("0::/system.slice/a.service\n", path, sizeof(path)));
    assert_string_equal(path, "/system.slice/a.service");
    assert_true(memory_parse_cgroup("3:cpu:/x\n0::/y\n", path, sizeof(path)));
    assert_string_equal(path, "/y");
    assert_false(memory_parse_cgroup("3:cpu:/x\n", path, sizeof(path)));
    assert_false(memory_parse_cgroup("0::/a-name-longer-than-the-room-there-is\n", path, sizeof(path)));
}

static void test_memory_available_is_something_and_bounded(void **state)
{
    const uint64_t bytes = memory_available_bytes(0);

    assert_true(bytes > 1 << 20);
    assert_true(bytes == UINT64_MAX || bytes < (uint64_t)1 << 50);
}

static void test_memory_limit_counts_what_somebody_holds(void **state)
{
    const uint64_t none = memory_limit_bytes(0), some = memory_limit_bytes(1ull << 40);

    assert_true(none > 1 << 20);
    assert_true(some >= none / 2); /* others take and give meanwhile */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_parse_meminfo_takes_the_kernels_estimate),
        cmocka_unit_test(test_memory_parse_cgroup_finds_the_unified_group),
        cmocka_unit_test(test_memory_limit_counts_what_somebody_holds),
        cmocka_unit_test(test_memory_available_is_something_and_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
