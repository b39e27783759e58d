/* test_ahead.c - what is made ready before it is used, and that no more is. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include "daemon/engine/ahead.h"

/* A state that only notes what of it was given pages. */
struct state {
    int n_huge, n_asked, refuse_from, refusal; /* of the model's pieces */
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

/* Of the one model that there is at a time. */
static struct state *served;

int model_n_huge(const struct model *m _unused_)
{
    return served->n_huge;
}

int model_make_huge(struct model *m _unused_, int i)
{
    struct state *s = served;
    int r;

    pthread_mutex_lock(&s->lock);
    s->in_order = s->in_order && i == s->n_asked;
    r = s->n_asked++ >= s->refuse_from ? s->refusal : 0;
    pthread_cond_signal(&s->given);
    pthread_mutex_unlock(&s->lock);
    return r;
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

static void start(struct ahead *ahead, struct state *s)
{
    static struct model model;

    served = s;
    assert_int_equal(ahead_init(ahead, &model, s), 0);
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
    start(&ahead, &s);
    assert_given(&s, 1, 2, 4);
    ahead_on_use(&ahead, STATE_SLOTS, 1);
    ahead_on_use(&ahead, STATE_PAGES, 3);
    ahead_on_use(&ahead, STATE_PAGES, 2); /* given back, and warm */
    ahead_on_use(&ahead, STATE_CKPTS, 5);
    assert_given(&s, 2, 7, 7);
    ahead_deinit(&ahead);
    assert_given(&s, 2, 7, 7);
}

static void test_little_is_asked_for_beside_steps(void **state)
{
    struct state s = new_state(2, 0, 100);
    struct ahead ahead;

    (void)state;
    start(&ahead, &s);
    assert_given(&s, 1, 0, 4);
    ahead_on_use(&ahead, STATE_PAGES, 2); /* half are left */
    ahead_on_use(&ahead, STATE_SLOTS, 1);
    assert_given(&s, 2, 0, 6);
    ahead_on_use(&ahead, STATE_PAGES, 4);
    ahead_set_busy(&ahead, true); /* it was */
    assert_int_equal(ahead.n_asked[STATE_PAGES], 6);
    ahead_set_busy(&ahead, false);
    assert_given(&s, 2, 0, 8);
    ahead_deinit(&ahead);
}

static void test_there_is_no_more_than_there_is(void **state)
{
    struct state s = new_state(1, 0, 3);
    struct ahead ahead;

    (void)state;
    start(&ahead, &s);
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
    start(&ahead, &s);
    assert_false(ahead.runs);
    ahead_on_use(&ahead, STATE_PAGES, 50);
    ahead_deinit(&ahead);
    assert_int_equal(s.n_given[STATE_PAGES], 0);
}

static void await_asked(struct state *s, int n)
{
    pthread_mutex_lock(&s->lock);
    while (s->n_asked < n)
        pthread_cond_wait(&s->given, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* By then whoever asks for more would have: nothing is left to wait for but the end. */
static int n_asked_at_the_end(struct ahead *ahead, struct state *s)
{
    ahead_deinit(ahead);
    assert_true(s->in_order);
    return s->n_asked;
}

static void check_all_are_asked_for(int n, bool busy)
{
    struct state s = new_state(1, 0, 1);
    struct ahead ahead;

    s.n_huge = s.refuse_from = n;
    start(&ahead, &s);
    assert_given(&s, 1, 0, 1);
    ahead_set_busy(&ahead, busy);
    await_asked(&s, n);
    assert_int_equal(n_asked_at_the_end(&ahead, &s), n);
}

static void test_weights_become_huge_once_nobody_waits(void **state)
{
    (void)state;
    check_all_are_asked_for(100, false);
}

static void test_weights_become_huge_beside_steps_too(void **state)
{
    (void)state;
    check_all_are_asked_for(3, true);
}

static void test_a_kernel_without_huge_pages_is_not_asked_again(void **state)
{
    static const struct {
        int refusal, n_asked;
    } cases[] = {{-EOPNOTSUPP, 6}, {-EAGAIN, 5 + AHEAD_REFUSALS}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct state s = new_state(1, 0, 1);
        struct ahead ahead;
        s.n_huge = 1000;
        s.refuse_from = 5;
        s.refusal = cases[i].refusal;
        s.can = false; /* the thread is there for the weights alone */
        start(&ahead, &s);
        ahead_set_busy(&ahead, false);
        await_asked(&s, cases[i].n_asked);
        assert_int_equal(n_asked_at_the_end(&ahead, &s), cases[i].n_asked);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_next_has_its_pages),
        cmocka_unit_test(test_little_is_asked_for_beside_steps),
        cmocka_unit_test(test_there_is_no_more_than_there_is),
        cmocka_unit_test(test_a_backend_that_needs_none_has_no_thread),
        cmocka_unit_test(test_weights_become_huge_once_nobody_waits),
        cmocka_unit_test(test_weights_become_huge_beside_steps_too),
        cmocka_unit_test(test_a_kernel_without_huge_pages_is_not_asked_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
