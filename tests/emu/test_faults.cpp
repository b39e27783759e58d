/* test_faults.cpp PLANTED [PLANTED_TSAN] - the emulation tells of each fault of planted.cu, and of no other.
 *
 *  fault                           plain or ASan + UBSan                     TSan
 *  a barrier removed               wrong bits in some order                  data race, both lines
 *  a shuffle for a __syncwarp      -                                         data race, both lines
 *  two blocks write one place      other bits in some order, if they differ  data race
 *  cp.async never waited for       message at the thread's end               same
 *  cp.async waited for too weakly  wrong bits: the copy comes at its wait    same
 *  wrong lane, wrong fragment      wrong bits against the scalar definition  same
 *  lane outside the mask           message at the collective                 same
 *  write past shared or global     guard, told at the end of the block or    guard
 *                                  the next wait; ASan: at the write
 *  never written                   bits differ between two fills             same
 *  divergent collective, barrier   message with both lines                   same
 *  too few at a barrier            message: who waits where                  same
 *  PDL without its wait            message at the thread's end               same */
#include "emu_test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <initializer_list>

#include "planted.h"

static const char *planted, *planted_tsan;
static char output[1 << 16]; /* of the last run */

/* Returns the exit status, or 128 and more of a process that a signal ended. */
static int run(const char *program, int fault, int mode)
{
    char command[4096];

    snprintf(
        command, sizeof(command),
        "ulimit -c 0; EMU_ORDER=%s EMU_FILL=%s TSAN_OPTIONS=exitcode=66:atexit_sleep_ms=0 exec '%s' %d 2>&1",
        emu_modes[mode].order, emu_modes[mode].fill, program, fault);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    const size_t n = fread(output, 1, sizeof(output) - 1, pipe);
    output[n] = '\0';
    const int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool says(const char *text)
{
    return strstr(output, text) != NULL;
}

#define CHECK_SAYS(fault, text)                                                                              \
    do {                                                                                                     \
        if (!says(text))                                                                                     \
            fail_msg("fault %d: expected '%s', got: %s", int(fault), text, output);                          \
    } while (0)

static void test_correct_kernels_give_equal_bits_in_every_order(void **state)
{
    for (int fault : {PLANTED_NOTHING, PLANTED_NOTHING_MMA}) {
        char first[sizeof(output)] = "";
        for (int mode = 0; mode < EMU_N_MODES; mode++) {
            assert_int_equal(run(planted, fault, mode), 0);
            CHECK_SAYS(fault, "RIGHT");
            if (!mode)
                strcpy(first, output);
            assert_string_equal(output, first);
        }
    }
}

static void test_wrong_results_are_seen(void **state)
{
    for (int fault : {PLANTED_WEAK_WAIT, PLANTED_WRONG_LANE, PLANTED_WRONG_FRAGMENT, PLANTED_NEVER_WRITTEN})
        for (int mode = 0; mode < EMU_N_MODES; mode++) {
            assert_int_equal(run(planted, fault, mode), 0);
            CHECK_SAYS(fault, "WRONG");
        }
}

static void test_a_missing_barrier_shows_in_some_order(void **state)
{
    for (int fault : {PLANTED_NO_BARRIER, PLANTED_NO_SECOND_BARRIER}) {
        int n_wrong = 0;
        for (int mode = 0; mode < EMU_N_MODES; mode++) {
            run(planted, fault, mode);
            n_wrong += says("WRONG");
        }
        if (!n_wrong)
            fail_msg("fault %d: right in all %d orders", fault, int(EMU_N_MODES));
    }
}

/* Without knowing what is right. */
static void test_what_was_never_written_differs_between_two_fills(void **state)
{
    char first[sizeof(output)];

    run(planted, PLANTED_NEVER_WRITTEN, 0);
    strcpy(first, output);
    run(planted, PLANTED_NEVER_WRITTEN, 1);
    assert_string_not_equal(output, first);
}

static void test_each_misuse_is_told_with_its_place(void **state)
{
    static const struct {
        int fault;
        const char *says[3];
    } cases[] = {
        {PLANTED_NO_WAIT, {"ends with 4 cp.async that nothing has waited for", "block (", "planted_tiles"}},
        {PLANTED_LANE_NOT_IN_MASK, {"of mask 0000ffff", "not in the mask (argument", "planted.cu:"}},
        {PLANTED_TWO_PARTNERS, {"divergent: ", "of mask 00000007 at ", "of mask 00000006 at "}},
        {PLANTED_HALF_WARP, {"divergent: ", "planted.cu:", "dev.cuh:"}},
        {PLANTED_LANE_ENDED, {"divergent: ", "warp 1 lane", "dev.cuh:"}},
        {PLANTED_LANE_AT_BARRIER, {"divergent: ", "barrier", "planted.cu:"}},
        {PLANTED_TWO_BARRIERS, {"divergent: barrier 0 at ", "waits in it at ", "planted.cu:"}},
        {PLANTED_FEW_AT_BARRIER, {"deadlock: nobody can go on", "waits in barrier 1 at", "planted.cu:"}},
        {PLANTED_NO_PDL_WAIT, {"(PDL), but never called kc_pdl_wait()", "thread (5,0,0)", "planted_tiles"}},
    };

    for (const auto &c : cases)
        for (int mode = 0; mode < EMU_N_MODES; mode++) {
            assert_int_equal(run(planted, c.fault, mode), 128 + SIGABRT);
            for (const char *text : c.says)
                CHECK_SAYS(c.fault, text);
        }
}

static void test_what_a_device_does_not_take_is_told(void **state)
{
    static const struct {
        int fault;
        const char *says;
    } cases[] = {
        {PLANTED_COPY_MISALIGNED, "the address is not aligned to 8 bytes"},
        {PLANTED_COPY_NOT_TO_SHARED, "the address is in no array of shared memory"},
        {PLANTED_MANY_COPIES, "more than 192 under way"},
        {PLANTED_LDMATRIX_MISALIGNED, "the address is not aligned to 16 bytes"},
        {PLANTED_LDMATRIX_PAST_END, "the address is in no array of shared memory"},
        {PLANTED_TOO_MUCH_SHARED, "more than 49152 bytes of shared memory must be dynamic"},
        {PLANTED_SHORT_WARP, "of mask ffffffff, but the warp has only 16 lanes"},
        {PLANTED_BARRIER_OF_ODD_SIZE, "barrier 1 of 24 threads"},
        {PLANTED_WIDTH_NO_POWER, "width 12 is not a power of two"},
    };

    for (const auto &c : cases) {
        assert_int_equal(run(planted, c.fault, 0), 128 + SIGABRT);
        CHECK_SAYS(c.fault, c.says);
        CHECK_SAYS(c.fault, "planted.cu:");
    }
}

static void test_an_unknown_order_or_fill_is_refused(void **state)
{
    for (const char *variable :
         {"EMU_ORDER=sideways", "EMU_ORDER=random:", "EMU_ORDER=random:1x", "EMU_FILL=0"}) {
        char command[4096];
        snprintf(command, sizeof(command), "ulimit -c 0; %s '%s' 0 2>&1", variable, planted);
        FILE *pipe = popen(command, "r");
        assert_non_null(pipe);
        output[fread(output, 1, sizeof(output) - 1, pipe)] = '\0';
        assert_int_not_equal(pclose(pipe), 0);
        CHECK_SAYS(-1,
                   variable[4] == 'O' ? "not forward, reverse or random:SEED" : "not nan or a seed from 1");
    }
}

static void test_writes_past_the_end_are_told(void **state)
{
    for (int mode = 0; mode < EMU_N_MODES; mode++) {
        assert_int_not_equal(run(planted, PLANTED_PAST_SHARED, mode), 0);
        if (!says("wrote past part[8 bytes] of ") && !says("AddressSanitizer: use-after-poison"))
            fail_msg("write past shared memory: %s", output);
        assert_int_not_equal(run(planted, PLANTED_PAST_GLOBAL, mode), 0);
        if (!says("wrote past an allocation of 512 bytes") && !says("AddressSanitizer: "))
            fail_msg("write past global memory: %s", output);
    }
}

static void test_races_are_told_by_tsan_and_nothing_else_is(void **state)
{
    if (!planted_tsan)
        skip();
    for (int mode : {0, 1, 2}) { /* forward, reverse, random */
        for (int fault : {PLANTED_NOTHING, PLANTED_NOTHING_MMA})
            if (run(planted_tsan, fault, mode) || !says("RIGHT"))
                fail_msg("correct, but: %s", output);
        for (int fault : {PLANTED_NO_BARRIER, PLANTED_NO_SECOND_BARRIER, PLANTED_SHUFFLE_FOR_SYNCWARP,
                          PLANTED_BLOCK_RACE}) {
            assert_int_equal(run(planted_tsan, fault, mode), 66);
            CHECK_SAYS(fault, "ThreadSanitizer: data race");
            CHECK_SAYS(fault, "planted.cu:");
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_correct_kernels_give_equal_bits_in_every_order),
        cmocka_unit_test(test_wrong_results_are_seen),
        cmocka_unit_test(test_a_missing_barrier_shows_in_some_order),
        cmocka_unit_test(test_what_was_never_written_differs_between_two_fills),
        cmocka_unit_test(test_each_misuse_is_told_with_its_place),
        cmocka_unit_test(test_what_a_device_does_not_take_is_told),
        cmocka_unit_test(test_an_unknown_order_or_fill_is_refused),
        cmocka_unit_test(test_writes_past_the_end_are_told),
        cmocka_unit_test(test_races_are_told_by_tsan_and_nothing_else_is),
    };

    if (argc < 2)
        return 2;
    planted = argv[1];
    planted_tsan = argc > 2 ? argv[2] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
