/* test_queue.c - order and positions; see daemon/broker/queue.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include "daemon/broker/queue.h"

enum { ITEMS = 8, UIDS_MANY = 3000 };

struct fixture {
    struct queue queue;
    struct queue_item items[2 * ITEMS];
};

static int setup(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){};
    queue_init(&fixture.queue);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 2 * ITEMS; i++)
        queue_remove(&f->queue, &f->items[i]);
    assert_int_equal(f->queue.n_waiting, 0);
    assert_int_equal(f->queue.n_started, 0);
    queue_deinit(&f->queue);
    return 0;
}

static void push(struct fixture *f, uid_t uid, enum queue_priority priority, int i)
{
    assert_int_equal(queue_push(&f->queue, uid, priority, &f->items[i]), 0);
}

/* Starts the next and says which it was. */
static int start(struct fixture *f)
{
    struct queue_item *item = queue_next(&f->queue);

    if (!item)
        return -1;
    queue_start(&f->queue, item);
    return (int)(item - f->items);
}

static void test_queue_next_of_one_uid_is_first_come_first_served(void **state)
{
    struct fixture *f = *state;

    assert_null(queue_next(&f->queue));
    for (int i = 0; i < ITEMS; i++)
        push(f, 1, QUEUE_NORMAL, i);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(queue_position(&f->queue, &f->items[i]), 1);
        assert_int_equal(start(f), i);
        assert_int_equal(queue_position(&f->queue, &f->items[i]), 0);
    }
    assert_int_equal(start(f), -1);
}

static void test_queue_next_prefers_interactive_within_a_uid_only(void **state)
{
    struct fixture *f = *state;

    push(f, 1, QUEUE_BATCH, 0);
    push(f, 1, QUEUE_NORMAL, 1);
    push(f, 1, QUEUE_INTERACTIVE, 2);
    push(f, 2, QUEUE_BATCH, 3);
    assert_int_equal(queue_position(&f->queue, &f->items[0]), 4);
    assert_int_equal(start(f), 2);
    assert_int_equal(start(f), 3); /* another user's batch job is that user's own affair */
    assert_int_equal(start(f), 1);
    assert_int_equal(start(f), 0);
}

static void test_queue_next_alternates_between_uids(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < ITEMS; i++)
        push(f, 1, QUEUE_NORMAL, i);
    push(f, 2, QUEUE_NORMAL, ITEMS);
    push(f, 2, QUEUE_NORMAL, ITEMS + 1);
    assert_int_equal(queue_position(&f->queue, &f->items[ITEMS]), 2);
    assert_int_equal(queue_position(&f->queue, &f->items[ITEMS + 1]), 4);
    assert_int_equal(queue_position(&f->queue, &f->items[2]), 5);
    assert_int_equal(start(f), 0);
    assert_int_equal(start(f), ITEMS);
    assert_int_equal(start(f), 1);
    assert_int_equal(start(f), ITEMS + 1);
    assert_int_equal(start(f), 2);
}

/* With one slot nobody runs when the next is chosen: then the served tokens decide. */
static void test_queue_next_serves_who_was_served_least(void **state)
{
    struct fixture *f = *state;
    uint64_t served[3] = {};

    for (int i = 0; i < ITEMS; i++) {
        push(f, 1, QUEUE_NORMAL, i);
        push(f, 2, QUEUE_NORMAL, ITEMS + i);
    }
    for (int n = 0; n < ITEMS; n++) {
        const int i = start(f), uid = i < ITEMS ? 1 : 2, cost = uid == 1 ? 300 : 100;

        queue_charge(&f->queue, &f->items[i], (uint64_t)cost);
        served[uid] += (uint64_t)cost;
        queue_remove(&f->queue, &f->items[i]);
    }
    assert_in_range(served[1] > served[2] ? served[1] - served[2] : served[2] - served[1], 0, 300);
}

static void test_queue_push_after_idling_saves_nothing_up(void **state)
{
    struct fixture *f = *state;

    push(f, 2, QUEUE_NORMAL, 8); /* uid 2 was there once, then idle */
    start(f);
    queue_remove(&f->queue, &f->items[8]);
    for (int i = 0; i < 4; i++)
        push(f, 1, QUEUE_NORMAL, i);
    for (int i = 0; i < 2; i++) { /* meanwhile uid 1 is served a lot */
        assert_int_equal(start(f), i);
        queue_charge(&f->queue, &f->items[i], 100000);
        queue_remove(&f->queue, &f->items[i]);
    }
    for (int i = 8; i < 12; i++)
        push(f, 2, QUEUE_NORMAL, i);
    for (int n = 0; n < 2; n++) { /* from here on both are served alike */
        const int a = start(f);

        queue_charge(&f->queue, &f->items[a], 100);
        queue_remove(&f->queue, &f->items[a]);
        const int b = start(f);

        queue_charge(&f->queue, &f->items[b], 100);
        queue_remove(&f->queue, &f->items[b]);
        assert_int_not_equal(a < ITEMS, b < ITEMS);
    }
}

static void test_queue_remove_of_a_waiting_one_moves_the_others_up(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++)
        push(f, 1, QUEUE_NORMAL, i);
    queue_remove(&f->queue, &f->items[0]);
    queue_remove(&f->queue, &f->items[0]);
    assert_int_equal(queue_position(&f->queue, &f->items[1]), 1);
    assert_int_equal(queue_position(&f->queue, &f->items[2]), 2);
    assert_int_equal(queue_position(&f->queue, &f->items[0]), 0);
    assert_int_equal(start(f), 1);
}

static void test_queue_forgets_idle_uids_beyond_its_bound(void **state)
{
    struct fixture *f = *state;

    for (int uid = 0; uid < UIDS_MANY; uid++) {
        push(f, (uid_t)uid, QUEUE_NORMAL, 0);
        queue_remove(&f->queue, &f->items[0]);
    }
    assert_in_range(f->queue.n_accounts, 1, 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_queue_next_of_one_uid_is_first_come_first_served, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_queue_next_prefers_interactive_within_a_uid_only, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_queue_next_alternates_between_uids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_next_serves_who_was_served_least, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_push_after_idling_saves_nothing_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_remove_of_a_waiting_one_moves_the_others_up, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_queue_forgets_idle_uids_beyond_its_bound, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
