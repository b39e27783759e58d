/* test_quota.c - shares per uid; see daemon/broker/quota.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include "daemon/broker/quota.h"

static const uint64_t max_1024[QUOTA_SLOT_N] = {[QUOTA_CONNECTIONS] = 1024, [QUOTA_BYTES] = 1024};

static void test_quota_charge_gives_each_uid_half_of_what_is_left(void **state)
{
    static const uint64_t shares[] = {512, 256, 128, 64};
    struct quota_charge charges[ARRAY_SIZE(shares)] = {}, extra = {};
    struct quota quota;

    quota_init(&quota, max_1024);
    for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
        assert_int_equal(quota_share(&quota, (uid_t)i, QUOTA_BYTES), shares[i]);
        assert_int_equal(quota_charge(&quota, (uid_t)i, QUOTA_BYTES, shares[i] + 1, &charges[i]),
                         QUOTA_E_EXCEEDED);
        assert_null(charges[i].user);
        assert_int_equal(quota_charge(&quota, (uid_t)i, QUOTA_BYTES, shares[i], &charges[i]), QUOTA_OK);
        assert_int_equal(quota_charge(&quota, (uid_t)i, QUOTA_BYTES, 1, &extra), QUOTA_E_EXCEEDED);
    }
    assert_int_equal(quota.used[QUOTA_BYTES], 512 + 256 + 128 + 64);
    for (size_t i = 0; i < ARRAY_SIZE(shares); i++)
        quota_release(&charges[i]);
    assert_int_equal(quota.used[QUOTA_BYTES], 0);
    assert_true(list_is_empty(&quota.users));
}

static void test_quota_share_shrinks_but_nothing_is_taken_back(void **state)
{
    struct quota_charge first = {}, second = {};
    struct quota quota;

    quota_init(&quota, max_1024);
    assert_int_equal(quota_charge(&quota, 1, QUOTA_BYTES, 512, &first), QUOTA_OK);
    assert_int_equal(quota_charge(&quota, 2, QUOTA_BYTES, 200, &second), QUOTA_OK);
    assert_int_equal(quota_share(&quota, 1, QUOTA_BYTES), (1024 - 200) / 2);
    assert_int_equal(quota_resize(&first, 513), QUOTA_E_EXCEEDED);
    assert_int_equal(first.amount, 512);
    assert_int_equal(quota_resize(&first, 300), QUOTA_OK);
    assert_int_equal(quota_resize(&first, 412), QUOTA_OK);
    assert_int_equal(quota_resize(&first, 413), QUOTA_E_EXCEEDED);
    assert_int_equal(quota_used(&quota, 1, QUOTA_BYTES), 412);
    quota_release(&first);
    quota_release(&second);
}

static void test_quota_restore_asks_nobody_and_counts_all_the_same(void **state)
{
    struct quota_charge first = {}, second = {}, more = {};
    struct quota quota;

    quota_init(&quota, max_1024);
    assert_int_equal(quota_restore(&quota, 1, QUOTA_BYTES, 900, &first), 0);
    assert_int_equal(quota_restore(&quota, 2, QUOTA_BYTES, 300, &second), 0);
    assert_int_equal(quota.used[QUOTA_BYTES], 1200);
    assert_int_equal(quota_charge(&quota, 3, QUOTA_BYTES, 1, &more), QUOTA_E_EXCEEDED);
    assert_int_equal(quota_resize(&first, 901), QUOTA_E_EXCEEDED);
    quota_release(&first);
    assert_int_equal(quota_charge(&quota, 3, QUOTA_BYTES, 362, &more), QUOTA_OK);
    quota_release(&more);
    quota_release(&second);
    assert_true(list_is_empty(&quota.users));
}

static void test_quota_cap_is_reached_before_the_share(void **state)
{
    struct quota_charge other = {}, one = {}, more = {};
    struct quota quota;

    quota_init(&quota, max_1024);
    assert_int_equal(quota_charge(&quota, 1, QUOTA_BYTES, 500, &other), QUOTA_OK);
    assert_int_equal(quota_charge(&quota, 1ull << 40, QUOTA_BYTES, 50, &one), QUOTA_OK);
    quota_cap(&one, QUOTA_BYTES, 100);
    assert_int_equal(quota_share(&quota, 1ull << 40, QUOTA_BYTES), 100);
    assert_int_equal(quota_resize(&one, 100), QUOTA_OK);
    assert_int_equal(quota_charge(&quota, 1ull << 40, QUOTA_BYTES, 1, &more), QUOTA_E_EXCEEDED);
    assert_true(quota_is_own_doing(&quota, 1ull << 40, QUOTA_BYTES)); /* though the other one holds more */
    quota_cap(&one, QUOTA_BYTES, 60);
    assert_int_equal(quota_resize(&one, 101), QUOTA_E_EXCEEDED);
    assert_int_equal(quota_resize(&one, 99), QUOTA_OK);
    quota_cap(&one, QUOTA_BYTES, 0);
    assert_int_equal(quota_resize(&one, 262), QUOTA_OK);
    assert_int_equal(quota_resize(&one, 263), QUOTA_E_EXCEEDED);
    assert_false(quota_is_own_doing(&quota, 1ull << 40, QUOTA_BYTES));
    quota_release(&other);
    quota_release(&one);
}

static void test_quota_slots_do_not_mix(void **state)
{
    struct quota_charge connection = {}, bytes = {}, request = {};
    struct quota quota;

    quota_init(&quota, max_1024);
    assert_int_equal(quota_charge(&quota, 7, QUOTA_CONNECTIONS, 512, &connection), QUOTA_OK);
    assert_int_equal(quota_charge(&quota, 7, QUOTA_BYTES, 512, &bytes), QUOTA_OK);
    assert_int_equal(quota_charge(&quota, 7, QUOTA_REQUESTS, 1, &request), QUOTA_E_EXCEEDED);
    assert_int_equal(quota_used(&quota, 7, QUOTA_CONNECTIONS), 512);
    quota_release(&connection);
    quota_release(&connection); /* twice is once */
    assert_int_equal(quota_used(&quota, 7, QUOTA_BYTES), 512);
    quota_release(&bytes);
    assert_true(list_is_empty(&quota.users));
}

static void test_quota_charge_of_huge_amounts_does_not_wrap(void **state)
{
    struct quota_charge charge = {};
    struct quota quota;

    quota_init(&quota, max_1024);
    assert_int_equal(quota_charge(&quota, 1, QUOTA_BYTES, UINT64_MAX, &charge), QUOTA_E_EXCEEDED);
    assert_int_equal(quota_charge(&quota, 1, QUOTA_BYTES, 100, &charge), QUOTA_OK);
    assert_int_equal(quota_resize(&charge, UINT64_MAX), QUOTA_E_EXCEEDED);
    quota_release(&charge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quota_charge_gives_each_uid_half_of_what_is_left),
        cmocka_unit_test(test_quota_share_shrinks_but_nothing_is_taken_back),
        cmocka_unit_test(test_quota_restore_asks_nobody_and_counts_all_the_same),
        cmocka_unit_test(test_quota_cap_is_reached_before_the_share),
        cmocka_unit_test(test_quota_slots_do_not_mix),
        cmocka_unit_test(test_quota_charge_of_huge_amounts_does_not_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
