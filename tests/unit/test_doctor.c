/* test_doctor.c - what `qwenctl doctor` finds on machines that no test runs on: GPUs, drivers, kernels, in a
 * folder that stands for the root. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include <ftw.h>
#include <stdio.h>
#include <string.h>

#include "client/qwenctl/doctor.h"
#include "client/qwenctl/file.h"

static char root[] = "/tmp/qwend-test-doctor-XXXXXX";

static int remove_one(const char *path, const struct stat *st _unused_, int kind _unused_,
                      struct FTW *ftw _unused_)
{
    return remove(path);
}

/* Each test begins with an empty root. */
static int setup(void **state _unused_)
{
    strcpy(root + strlen(root) - 6, "XXXXXX");
    return !mkdtemp(root);
}

static int teardown(void **state _unused_)
{
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text, mode_t mode)
{
    char whole[300];

    snprintf(whole, sizeof(whole), "%s%s", root, path);
    assert_int_equal(file_make_folders(whole), 0);
    assert_int_equal(file_replace(whole, text, strlen(text), mode), 0);
}

static void put_card(void)
{
    put("/sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n", 0644);
    put("/sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n", 0644);
    put("/sys/bus/pci/devices/0000:01:00.1/vendor", "0x10de\n", 0644); /* its sound */
    put("/sys/bus/pci/devices/0000:01:00.1/class", "0x040300\n", 0644);
    put("/sys/bus/pci/devices/0000:02:00.0/vendor", "0x8086\n", 0644);
    put("/sys/bus/pci/devices/0000:02:00.0/class", "0x030000\n", 0644);
}

static void put_driver(void)
{
    put("/proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
        "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n",
        0644);
}

static void put_devices(mode_t mode)
{
    put("/dev/nvidia0", "", mode);
    put("/dev/nvidia1", "", mode);
    put("/dev/nvidiactl", "", mode);
    put("/dev/nvidia-uvm", "", mode);
    put("/dev/nvidia-uvm-tools", "", 0); /* not needed */
    put("/dev/nvidia-modeset", "", 0);
}

/* The daemon of process 7 has another uid than the files, and these groups. */
static void put_daemon(unsigned group, const char *groups)
{
    char text[300];

    snprintf(text, sizeof(text),
             "Name:\tqwend\nUid:\t4111222\t4111222\t4111222\t4111222\nGid:\t%u\t%u\t%u\t%u\nFDSize:"
             "\t64\nGroups:\t%s \n"
             "NStgid:\t7\n",
             group, group, group, group, groups);
    put("/proc/7/status", text, 0644);
}

/* All that it says; the caller frees. */
static char *look(void (*look_at)(struct doctor *), const char *backend)
{
    const struct opt_values values = {};
    const struct cmd_args args = {.values = &values};
    struct doctor doctor = {
        .args = &args, .root = root, .has_info = true, .info = {.pid = 7, .backend = backend}};
    char *said = NULL;
    size_t n;

    doctor.out = open_memstream(&said, &n);
    look_at(&doctor);
    fclose(doctor.out);
    assert_false(doctor.failed);
    return said;
}

static void check_gpu(const char *first, const char *second)
{
    _cleanup_(freep) char *said = look(doctor_look_at_gpu, "cpu");

    if (!strstr(said, first) || !strstr(said, second))
        fail_msg("neither \"%s\" nor \"%s\" may be missing in:\n%s", first, second, said);
}

static void test_gpu_none_is_skipped(void **state)
{
    check_gpu("skip  machine.gpu        none of NVIDIA\n", "skip  machine.gpu-engine nothing for it");
}

static void test_gpu_without_driver_is_told(void **state)
{
    put_card();
    check_gpu("warn  machine.gpu        1 of NVIDIA, and no driver", "do: install NVIDIA's driver");
}

static void test_gpu_without_device_files_is_told(void **state)
{
    put_card();
    put_driver();
    put_daemon(1, "");
    put("/dev/nvidia0", "", 0666);
    put("/dev/nvidiactl", "", 0666);
    check_gpu("warn  machine.gpu        the driver 535.183.01 is there, and /dev/nvidia-uvm is not",
              "administrator: sudo nvidia-modprobe -u -c 0");
}

static void test_gpu_for_everybody_is_well(void **state)
{
    put_driver(); /* in a container the bus may be hidden */
    put_devices(0666);
    put_daemon(1, "");
    check_gpu("ok    machine.gpu        2 of NVIDIA, driver 535.183.01, for user 4111222\n",
              "qwend-engine-cuda is not installed: the CPU serves");
}

static void test_gpu_for_a_group_is_for_its_members(void **state)
{
    char groups[40];

    put_driver();
    put_devices(0660);
    put_daemon(4111223, "4111224 4111225");
    check_gpu("warn  machine.gpu        /dev/nvidia", " has the mode 0660, and user 4111222 may not use it");
    snprintf(groups, sizeof(groups), "4111224 %u", (unsigned)getegid());
    put_daemon(4111223, groups);
    check_gpu("ok    machine.gpu        2 of NVIDIA", "for user 4111222");
    put_daemon((unsigned)getegid(), "");
    check_gpu("ok    machine.gpu        2 of NVIDIA", "for user 4111222");
    put_devices(0600);
    check_gpu(" has the mode 0600", "do: NVreg_DeviceFileMode");
}

static void test_gpu_engine_is_found(void **state)
{
    put_driver();
    put_devices(0666);
    put_daemon(1, "");
    put(QWENCTL_LIBEXEC "/qwend-engine-cuda", "", 0755);
    check_gpu("ok    machine.gpu ", "ok    machine.gpu-engine qwend-engine-cuda is installed");
}

static void test_gpu_that_serves_needs_no_proof(void **state)
{
    _cleanup_(freep) char *said = look(doctor_look_at_gpu, "cuda");

    assert_non_null(strstr(said, "ok    machine.gpu-engine it serves"));
}

static void check_machine(const char *text)
{
    _cleanup_(freep) char *said = look(doctor_look_at_machine, "cpu");

    if (!strstr(said, text))
        fail_msg("no \"%s\" in:\n%s", text, said);
}

static void test_huge_pages_are_looked_at(void **state)
{
    static const char path[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

    check_machine("skip  machine.hugepages");
    put(path, "always within_size advise [never] deny force\n", 0644);
    check_machine("warn  machine.hugepages  the kernel gives weights small pages");
    check_machine("shmem_enabled - - - - advise' | sudo tee");
    put("/proc/sys/kernel/osrelease", "5.15.0-91-generic\n", 0644);
    check_machine("warn  machine.hugepages");
    put("/proc/sys/kernel/osrelease", "6.1.0-13-amd64\n", 0644);
    check_machine("ok    machine.hugepages  weights are moved into huge pages after the start");
    put(path, "always within_size advise never [deny] force\n", 0644);
    check_machine("warn  machine.hugepages  the kernel gives weights small pages");
    put(path, "always within_size [advise] never deny force\n", 0644);
    check_machine("ok    machine.hugepages  weights may lie in huge pages");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_gpu_none_is_skipped),
        TEST(test_gpu_without_driver_is_told),
        TEST(test_gpu_without_device_files_is_told),
        TEST(test_gpu_for_everybody_is_well),
        TEST(test_gpu_for_a_group_is_for_its_members),
        TEST(test_gpu_engine_is_found),
        TEST(test_gpu_that_serves_needs_no_proof),
        TEST(test_huge_pages_are_looked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
