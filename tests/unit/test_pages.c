/* test_pages.c - holders of KV pages; see daemon/engine/pages.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include "daemon/engine/pages.h"

static void test_pages_are_each_taken_once(void **state)
{
    struct pages pages;
    bool seen[5] = {};

    assert_int_equal(pages_init(&pages, 5), 0);
    for (int i = 0; i < 5; i++) {
        const int32_t page = pages_take(&pages);

        assert_in_range(page, 0, 4);
        assert_false(seen[page]);
        seen[page] = true;
    }
    assert_int_equal(pages.n_free, 0);
    assert_int_equal(pages.n_used, 5);
    pages_deinit(&pages);
}

static void test_pages_are_free_when_the_last_holder_is_gone(void **state)
{
    struct pages pages;
    int32_t page;

    assert_int_equal(pages_init(&pages, 2), 0);
    page = pages_take(&pages);
    pages_hold(&pages, page);
    pages_hold(&pages, page);
    for (int i = 0; i < 2; i++) {
        pages_drop(&pages, page);
        assert_int_equal(pages.n_free, 1);
    }
    pages_drop(&pages, page);
    assert_int_equal(pages.n_free, 2);
    assert_int_equal(pages_take(&pages), page); /* what is warm is taken first */
    assert_int_equal(pages.n_used, 1);
    pages_deinit(&pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_are_each_taken_once),
        cmocka_unit_test(test_pages_are_free_when_the_last_holder_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
