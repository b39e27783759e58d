/* test_ahead.c - what is given pages before it is used, and that no more is. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include "daemon/engine/ahead.h"

/* A state that only notes what of it was given pages. */
struct state {
    size_t page_bytes;
    int n_parts[STATE_PART_N], n_given[STATE_PART_N];
    bool can, in_order;
    pthread_mutex_t lock;
    pthread_cond_t given;
};

bool state_can_populate(const struct state *s)
{
    return s->can;
}

int state_n_parts(const struct state *s, enum state_part part)
{
    return s->n_parts[part];
}

size_t state_page_part_bytes(const struct state *s)
{
    return s->page_bytes;
}

void state_populate(struct state *s, enum state_part part, int i)
{
    pthread_mutex_lock(&s->lock);
    s->in_order = s->in_order && i == s->n_given[part];
    s->n_given[part]++;
    pthread_cond_signal(&s->given);
    pthread_mutex_unlock(&s->lock);
}

static struct state new_state(int n_slots, int n_ckpts, int n_pages)
{
    return (struct state){.page_bytes = AHEAD_PAGE_BYTES / 4,
                          .n_parts = {1, n_slots, n_ckpts, n_pages},
                          .can = true,
                          .in_order = true,
                          .lock = PTHREAD_MUTEX_INITIALIZER,
                          .given = PTHREAD_COND_INITIALIZER};
}

static void await_given(struct state *s, enum state_part part, int n)
{
    pthread_mutex_lock(&s->lock);
    while (s->n_given[part] < n)
        pthread_cond_wait(&s->given, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void assert_given(struct state *s, int n_slots, int n_ckpts, int n_pages)
{
    const int n[STATE_PART_N] = {1, n_slots, n_ckpts, n_pages};

    for (int i = 0; i < STATE_PART_N; i++)
        await_given(s, (enum state_part)i, n[i]);
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < STATE_PART_N; i++)
        assert_int_equal(s->n_given[i], n[i]);
    assert_true(s->in_order);
    pthread_mutex_unlock(&s->lock);
}

static void test_what_is_next_has_its_pages(void **state)
{
    struct state s = new_state(8, 16, 100);
    struct ahead ahead;

    (void)state;
    assert_int_equal(ahead_init(&ahead, &s), 0);
    assert_given(&s, 1, 2, 4);
    ahead_on_use(&ahead, STATE_SLOTS, 1);
    ahead_on_use(&ahead, STATE_PAGES, 3);
    ahead_on_use(&ahead, STATE_PAGES, 2); /* given back, and warm */
    ahead_on_use(&ahead, STATE_CKPTS, 5);
    assert_given(&s, 2, 7, 7);
    ahead_deinit(&ahead);
    assert_given(&s, 2, 7, 7);
}

static void test_there_is_no_more_than_there_is(void **state)
{
    struct state s = new_state(1, 0, 3);
    struct ahead ahead;

    (void)state;
    assert_int_equal(ahead_init(&ahead, &s), 0);
    ahead_on_use(&ahead, STATE_SLOTS, 1);
    ahead_on_use(&ahead, STATE_PAGES, 3);
    assert_given(&s, 1, 0, 3);
    ahead_deinit(&ahead);
    ahead_deinit(&ahead);
    assert_given(&s, 1, 0, 3);
}

static void test_a_backend_that_needs_none_has_no_thread(void **state)
{
    struct state s = new_state(8, 16, 100);
    struct ahead ahead;

    (void)state;
    s.can = false;
    assert_int_equal(ahead_init(&ahead, &s), 0);
    assert_false(ahead.runs);
    ahead_on_use(&ahead, STATE_PAGES, 50);
    ahead_deinit(&ahead);
    assert_int_equal(s.n_given[STATE_PAGES], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_next_has_its_pages),
        cmocka_unit_test(test_there_is_no_more_than_there_is),
        cmocka_unit_test(test_a_backend_that_needs_none_has_no_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
