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

static void test_queue_next_prefers_interactive_whoever_asks(void **state)
{
    struct fixture *f = *state;

    push(f, 1, QUEUE_BATCH, 0);
    push(f, 1, QUEUE_NORMAL, 1);
    push(f, 1, QUEUE_INTERACTIVE, 2);
    push(f, 2, QUEUE_BATCH, 3);
    assert_int_equal(queue_position(&f->queue, &f->items[0]), 4);
    assert_int_equal(queue_position(&f->queue, &f->items[3]), 3);
    assert_int_equal(start(f), 2);
    assert_int_equal(queue_position(&f->queue, &f->items[1]), 1);
    assert_int_equal(start(f), 1); /* another user's batch job can wait */
    assert_int_equal(start(f), 3);
    assert_int_equal(start(f), 0);
}

static void test_queue_next_starts_no_more_of_an_owner_than_it_may_run(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++) {
        push(f, 1, QUEUE_NORMAL, i);
        queue_set_max_running(&f->items[i], 2);
    }
    push(f, 2, QUEUE_BATCH, 3);
    for (int i = 0; i < 3; i++)
        assert_true(start(f) >= 0);
    assert_int_equal(start(f), -1);
    assert_false(f->items[2].started);
    queue_remove(&f->queue, &f->items[0]);
    assert_int_equal(start(f), 2);
    push(f, 1, QUEUE_NORMAL, 4);
    assert_int_equal(start(f), -1);
    queue_set_max_running(&f->items[4], 0);
    assert_int_equal(start(f), 4);
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

        queue_charge(&f->queue, &f->items[i], cost);
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

/* One slot, requests of two bands without end: how many of 1000 starts are of the lower one. */
static int count_starts(struct fixture *f, enum queue_priority low, int cost_low)
{
    int n = 0, longest = 0, waited = 0;

    for (int i = 0; i < 4; i++)
        push(f, (uid_t)(1 + i % 2), i % 2 ? low : QUEUE_INTERACTIVE, i);
    for (int k = 0; k < 1000; k++) {
        const int i = start(f);

        assert_true(i >= 0);
        queue_charge(&f->queue, &f->items[i], i % 2 ? cost_low : 200);
        queue_remove(&f->queue, &f->items[i]);
        push(f, (uid_t)(1 + i % 2), i % 2 ? low : QUEUE_INTERACTIVE, i);
        n += i % 2;
        waited = i % 2 ? 0 : waited + 1;
        longest = longest < waited ? waited : longest;
    }
    assert_in_range(longest, 1, 60);
    return n;
}

static void test_queue_next_gives_lower_bands_their_share(void **state)
{
    struct fixture *f = *state;

    assert_in_range(count_starts(f, QUEUE_BATCH, 200), 90, 105);
}

static void test_queue_next_gives_normal_requests_more_than_batch(void **state)
{
    struct fixture *f = *state;

    assert_in_range(count_starts(f, QUEUE_NORMAL, 200), 280, 305);
}

/* What counts is what was served, not how many were started. */
static void test_queue_next_measures_a_share_by_what_it_cost(void **state)
{
    struct fixture *f = *state;

    assert_in_range(count_starts(f, QUEUE_BATCH, 1000), 18, 24);
}

static void test_queue_next_divides_by_weight(void **state)
{
    struct fixture *f = *state;
    int n[2] = {};

    for (int i = 0; i < 4; i++) {
        push(f, 1, QUEUE_NORMAL, i);
        push(f, 2, QUEUE_NORMAL, ITEMS + i);
    }
    assert_int_equal(queue_weight(&f->items[0]), QUEUE_WEIGHT);
    queue_set_weight(&f->items[0], 5 * QUEUE_WEIGHT);
    assert_int_equal(queue_weight(&f->items[3]), 5 * QUEUE_WEIGHT); /* of the uid */
    for (int k = 0; k < 600; k++) {
        const int i = start(f), other = i / ITEMS;

        n[other]++;
        queue_charge(&f->queue, &f->items[i], 100);
        queue_remove(&f->queue, &f->items[i]);
        push(f, other ? 2 : 1, QUEUE_NORMAL, i);
    }
    assert_in_range(n[0], 490, 510);
    assert_in_range(n[1], 90, 110);
}

/* Four slots, both uids always have some waiting, one's requests cost ten times the other's: served alike. */
static void test_queue_next_fills_many_slots_by_what_was_served(void **state)
{
    struct fixture *f = *state;
    double served[2] = {}, left[2 * ITEMS] = {};
    int running[4];

    for (int i = 0; i < 2 * ITEMS; i++)
        push(f, i < ITEMS ? 1 : 2, QUEUE_NORMAL, i);
    for (int k = 0; k < 4; k++)
        running[k] = start(f), left[running[k]] = running[k] < ITEMS ? 1000 : 100;
    for (int step = 0; step < 20000; step++)
        for (int k = 0; k < 4; k++) {
            const int i = running[k];

            queue_charge(&f->queue, &f->items[i], 2);
            served[i / ITEMS] += 2;
            left[i] -= 2;
            if (left[i] > 0)
                continue;
            queue_remove(&f->queue, &f->items[i]);
            push(f, i < ITEMS ? 1 : 2, QUEUE_NORMAL, i);
            running[k] = start(f);
            left[running[k]] = running[k] < ITEMS ? 1000 : 100;
        }
    assert_true(served[0] / served[1] > 0.95 && served[0] / served[1] < 1.05);
}

static void test_queue_work_ahead_counts_what_is_read_first(void **state)
{
    struct fixture *f = *state;

    push(f, 1, QUEUE_NORMAL, 0);
    push(f, 1, QUEUE_NORMAL, 1);
    push(f, 2, QUEUE_NORMAL, 2);
    push(f, 3, QUEUE_INTERACTIVE, 3);
    push(f, 3, QUEUE_BATCH, 4);
    for (int i = 0; i < 5; i++)
        queue_set_work(&f->items[i], 100 * (i + 1));
    /* own: 100 of the other one; uid 2: 200 of its 300 while the own 200 are read; all that is interactive */
    assert_true(queue_work_ahead(&f->queue, &f->items[1]) == 100 + 200 + 400);
    queue_set_weight(&f->items[1], 2 * QUEUE_WEIGHT); /* twice the weight: half of it */
    assert_true(queue_work_ahead(&f->queue, &f->items[1]) == 100 + 100 + 400);
    assert_true(queue_work_ahead(&f->queue, &f->items[3]) == 0);
    assert_true(queue_work_ahead(&f->queue, &f->items[4]) == 100 + 200 + 300 + 400);
    queue_start(&f->queue, &f->items[3]); /* until it is said to be read */
    assert_true(queue_work_ahead(&f->queue, &f->items[1]) == 100 + 100 + 400);
    queue_set_work(&f->items[3], 0);
    queue_remove(&f->queue, &f->items[0]);
    assert_true(queue_work_ahead(&f->queue, &f->items[1]) == 100);
}

static void test_queue_requeue_waits_before_the_others(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++)
        push(f, 1, QUEUE_BATCH, i);
    assert_int_equal(start(f), 0);
    queue_charge(&f->queue, &f->items[0], 70);
    queue_requeue(&f->queue, &f->items[0]);
    assert_int_equal(f->queue.n_started, 0);
    assert_int_equal(f->queue.n_waiting, 3);
    assert_int_equal(queue_position(&f->queue, &f->items[0]), 1);
    assert_int_equal(queue_position(&f->queue, &f->items[1]), 2);
    assert_true(f->items[0].cost == 70 && queue_counter(&f->items[1]) == 70);
    assert_int_equal(start(f), 0);
    assert_int_equal(start(f), 1);
}

static void test_queue_park_neither_runs_nor_waits(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++)
        push(f, 1, QUEUE_NORMAL, i);
    assert_int_equal(start(f), 0);
    queue_charge(&f->queue, &f->items[0], 70);
    queue_park(&f->queue, &f->items[0]);
    assert_int_equal(f->queue.n_started, 0);
    assert_int_equal(f->queue.n_waiting, 2);
    assert_int_equal(queue_position(&f->queue, &f->items[0]), 0);
    assert_int_equal(queue_position(&f->queue, &f->items[1]), 1);
    assert_int_equal(start(f), 1);
    queue_unpark(&f->queue, &f->items[0]);
    assert_int_equal(queue_position(&f->queue, &f->items[0]), 1);
    assert_int_equal(queue_position(&f->queue, &f->items[2]), 2);
    assert_true(f->items[0].cost == 70);
    assert_int_equal(start(f), 0);
}

/* Its uid is not forgotten among those that are idle. */
static void test_queue_park_keeps_its_uid(void **state)
{
    struct fixture *f = *state;

    push(f, UIDS_MANY, QUEUE_NORMAL, 1);
    assert_int_equal(start(f), 1);
    queue_park(&f->queue, &f->items[1]);
    for (int uid = 0; uid < UIDS_MANY; uid++) {
        push(f, (uid_t)uid, QUEUE_NORMAL, 0);
        queue_charge(&f->queue, &f->items[0], 1000);
        queue_remove(&f->queue, &f->items[0]);
    }
    queue_unpark(&f->queue, &f->items[1]);
    assert_int_equal(start(f), 1);
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

/* What comes to a closed queue is served after all that was there, and then as if it had just come. */
static void test_queue_closed_lets_others_wait_behind_all(void **state)
{
    struct fixture *f = *state;

    push(f, 1, QUEUE_BATCH, 0);
    queue_close(&f->queue);
    push(f, 2, QUEUE_NORMAL, 1);
    push(f, 2, QUEUE_INTERACTIVE, 2);
    push(f, 3, QUEUE_INTERACTIVE, 3);
    push(f, 3, QUEUE_INTERACTIVE, 4);
    assert_int_equal(queue_n_waiting(&f->queue), 5);
    assert_int_equal(queue_position(&f->queue, &f->items[0]), 1);
    assert_int_equal(queue_position(&f->queue, &f->items[1]), 2);
    assert_int_equal(queue_position(&f->queue, &f->items[3]), 4);
    queue_remove(&f->queue, &f->items[4]);
    assert_int_equal(start(f), 0);
    assert_int_equal(start(f), -1);
    queue_requeue(&f->queue, &f->items[0]); /* preempted: it was there before */
    assert_int_equal(start(f), 0);
    queue_open(&f->queue);
    assert_int_equal(queue_n_waiting(&f->queue), 3);
    assert_int_equal(queue_position(&f->queue, &f->items[2]), 1);
    assert_int_equal(start(f), 2);
    assert_int_equal(start(f), 3);
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
        cmocka_unit_test_setup_teardown(test_queue_next_prefers_interactive_whoever_asks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_next_starts_no_more_of_an_owner_than_it_may_run, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_queue_next_alternates_between_uids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_next_serves_who_was_served_least, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_push_after_idling_saves_nothing_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_next_gives_lower_bands_their_share, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_next_gives_normal_requests_more_than_batch, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_queue_next_measures_a_share_by_what_it_cost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_next_divides_by_weight, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_next_fills_many_slots_by_what_was_served, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_work_ahead_counts_what_is_read_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_requeue_waits_before_the_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_park_neither_runs_nor_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_park_keeps_its_uid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_remove_of_a_waiting_one_moves_the_others_up, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_queue_closed_lets_others_wait_behind_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_forgets_idle_uids_beyond_its_bound, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
