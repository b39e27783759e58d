/* test_penalty.c - how long a uid is refused, and what is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/broker/penalty.h"

#define S_NS 1000000000ull
static const uint64_t start_ns = 1000 * S_NS;

static void test_penalty_doubles_up_to_its_limit(void **state)
{
    struct penalty penalty = {0};
    uint64_t now = start_ns;
    const uint32_t want_s[] = {90, 180, 360, 600, 600};

    assert_int_equal(penalty_left_ms(&penalty, 7, now), 0);
    for (size_t i = 0; i < ARRAY_SIZE(want_s); i++) {
        assert_int_equal(penalty_add(&penalty, 7, now), want_s[i] * 1000);
        assert_int_equal(penalty_left_ms(&penalty, 7, now), want_s[i] * 1000);
        assert_int_equal(penalty_left_ms(&penalty, 8, now), 0);
        now += want_s[i] * S_NS;
        assert_int_equal(penalty_left_ms(&penalty, 7, now - 1), 1);
        assert_int_equal(penalty_left_ms(&penalty, 7, now), 0);
    }
}

static void test_penalty_begins_anew_after_a_while(void **state)
{
    struct penalty penalty = {0};

    penalty_add(&penalty, 7, start_ns);
    assert_int_equal(penalty_add(&penalty, 7, start_ns + (90 + 600) * S_NS), 180000);
    assert_int_equal(penalty_add(&penalty, 7, start_ns + (690 + 180 + 600) * S_NS + 1), 90000);
}

static void test_penalty_forgets_the_one_that_ends_first(void **state)
{
    struct penalty penalty = {0};

    for (uid_t uid = 0; uid < PENALTY_UIDS_MAX; uid++)
        penalty_add(&penalty, uid, start_ns + (uid == 5 ? 0 : uid + 1));
    penalty_add(&penalty, 1000, start_ns + S_NS);
    assert_int_equal(penalty.n_entries, PENALTY_UIDS_MAX);
    assert_int_equal(penalty_left_ms(&penalty, 1000, start_ns + S_NS), 90000);
    assert_int_equal(penalty_left_ms(&penalty, 5, start_ns + S_NS), 0);
    assert_int_equal(penalty_left_ms(&penalty, 4, start_ns + S_NS), 89001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_penalty_doubles_up_to_its_limit),
        cmocka_unit_test(test_penalty_begins_anew_after_a_while),
        cmocka_unit_test(test_penalty_forgets_the_one_that_ends_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
