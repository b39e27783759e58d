/* test_engine_warm.c - an engine that reads its cache folder before anybody asks. */
#include "spill_case.h"

static struct peer *start_warm(const Qwe__Start *message)
{
    struct peer *peer = peer_start_with(message);

    while (engine_disk_wait_ms(&peer->e) == 0)
        assert_int_equal(peer_turn(peer), 0);
    assert_true(peer->e.warmer.is_done);
    assert_int_equal(engine_disk_wait_ms(&peer->e), -1); /* it sleeps until somebody asks */
    return peer;
}

/* Of a chat every turn's end is known again, with no file read for it, and no bit is another. */
static void test_warm_knows_all_turns_of_a_chat(void **state)
{
    static const int lengths[] = {850, 650, 450, 250};
    const Qwe__Start message = start_message(test_folder);
    struct peer *peer = start();
    int32_t ids[CONTEXT];

    fill_ids(ids, CONTEXT, 1);
    for (uint32_t i = 1; i <= 4; i++)
        run(peer, ids_request(ids, 200 * (int)i), i);
    stop(peer);
    peer = start_warm(&message);
    assert_in_range(peer->e.warmer.n_read, 4, 8);
    assert_true(peer->cache_used_bytes > 0); /* the broker was told */
    assert_int_equal(prefix_find_unsaved(peer->e.prefix, UINT32_MAX, 1), 0);
    clear_folder();
    for (uint32_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        const struct peer_request q = ids_request(ids, lengths[i]);
        struct peer_stream *want = run_without(q, &message);

        check_same(run(peer, q, i + 1), want);
        assert_int_equal(peer_stream(peer, i + 1)->cached_tokens, lengths[i] - 50 - 1);
        free(want);
    }
    peer_free(peer);
}

static void test_warm_keeps_users_apart_and_ages(void **state)
{
    Qwe__Start message = start_message(test_folder);
    int32_t ids[CONTEXT];
    struct stat before, after;
    struct peer *peer;
    struct peer_request q = ids_request(ids, 300);

    fill_ids(ids, CONTEXT, 3);
    leave(ids, 300, 1000);
    assert_int_equal(stat(file_path(1000, 1), &before), 0);
    peer = start_warm(&message);
    assert_int_equal(stat(file_path(1000, 1), &after), 0);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec); /* nobody has used it */
    q.uid = 1001;
    assert_int_equal(run(peer, q, 1)->cached_tokens, 0);
    q.uid = 1000;
    assert_int_equal(run(peer, q, 2)->cached_tokens, 299);
    peer_free(peer);
}

/* A request takes slot and pages away at any slice; then it begins again. */
static void test_warm_gives_way_to_a_request(void **state)
{
    static int32_t ids[LONG_CONTEXT], other[CONTEXT];
    Qwe__Start message = start_message(test_folder);
    const struct peer_request q = ids_request(ids, 6000), little = ids_request(other, 40);
    struct peer_stream *want, *want_little;
    struct peer *peer;
    int n_dropped = 0;

    message.context = LONG_CONTEXT;
    message.slots = 1;
    fill_ids(ids, LONG_CONTEXT, 10);
    fill_ids(other, CONTEXT, 11);
    want = run_without(q, &message);
    want_little = run_without(little, &message);
    peer = peer_start_with(&message);
    run(peer, q, 1);
    stop(peer);
    peer = peer_start_with(&message);
    for (uint32_t i = 1; i <= 6; i++) {
        for (uint32_t k = 0; k < i; k++)
            assert_int_equal(peer_turn(peer), 0);
        n_dropped += peer->e.warmer.reads;
        check_same(run(peer, little, i), want_little);
        assert_false(peer->e.warmer.reads);
    }
    assert_true(n_dropped >= 3);
    watch.n_mallocs = 0;
    watch.count_mallocs = true;
    while (!peer->e.warmer.is_done)
        assert_int_equal(engine_turn(&peer->e, false), 0);
    watch.count_mallocs = false;
    assert_int_equal(watch.n_mallocs, 0);
    clear_folder();
    check_same(run(peer, q, 7), want);
    assert_int_equal(peer_stream(peer, 7)->cached_tokens, 5999);
    peer_free(peer);
    free(want);
    free(want_little);
}

/* A stream that waits for its reader has a slot, though nothing runs. */
static void test_warm_waits_while_a_slot_is_taken(void **state)
{
    const Qwe__Start message = start_message(test_folder);
    int32_t ids[CONTEXT], other[CONTEXT];
    struct peer_request q = ids_request(other, 40);
    struct peer_stream *want;
    struct peer *peer;

    fill_ids(ids, CONTEXT, 4);
    fill_ids(other, CONTEXT, 5);
    leave(ids, 300, 1000);
    want = run_without(q, &message);
    peer = start();
    q.handle = 1;
    q.paused = true;
    peer_submit(peer, &q);
    for (int i = 0; i < 10; i++)
        assert_int_equal(peer_turn(peer), 0);
    assert_false(peer->e.warmer.reads || peer->e.warmer.is_done);
    const Qwe__Resume resume = QWE__RESUME__INIT;
    peer_put(peer, 1, MSG_E_RESUME, &resume.base, -1);
    check_same(peer_finish(peer, 1), want);
    while (!peer->e.warmer.is_done)
        assert_int_equal(peer_turn(peer), 0);
    assert_int_equal(peer->e.warmer.n_read > 0, true);
    peer_free(peer);
    free(want);
}

static void test_warm_removes_what_is_damaged_and_goes_on(void **state)
{
    int32_t ids[3][CONTEXT];
    struct peer *peer;

    for (uint32_t i = 0; i < 3; i++)
        fill_ids(ids[i], CONTEXT, 20 + i);
    for (int where = 0; where < 4;
         where++) { /* in the tokens, the pages, the state; exchanged while the engine runs */
        clear_folder();
        for (uint32_t i = 0; i < 3; i++)
            leave(ids[i], 300, 1000);
        assert_int_equal(n_files(), 3);
        peer = start();
        if (where < 3)
            flip_byte(file_path(1000, 2), where == 0   ? SPILL_HEADER_BYTES + 40
                                          : where == 1 ? file_size(1000, 2) / 2
                                                       : file_size(1000, 2) - 1);
        else
            assert_int_equal(rename(file_path(1000, 3), file_path(1000, 2)), 0);
        while (!peer->e.warmer.is_done)
            assert_int_equal(peer_turn(peer), 0);
        assert_int_equal(peer->e.warmer.n_read, where < 3 ? 2 : 1);
        assert_int_equal(peer->e.pages.n - peer->e.pages.n_free,
                         peer->e.warmer.n_read * CEIL_DIV(299, KERN_PAGE_TOK)); /* nothing else is held */
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(run(peer, ids_request(ids[i], 300), i + 1)->cached_tokens,
                             i == 0 || (i == 2 && where < 3) ? 299 : 0);
        peer_free(peer);
    }
}

/* No more than memory has room for, and what was used last. */
static void test_warm_gives_nothing_up(void **state)
{
    static int32_t ids[24][CONTEXT];
    Qwe__Start message = start_message(test_folder);
    struct peer *peer;

    for (uint32_t i = 0; i < 24; i++) {
        fill_ids(ids[i], CONTEXT, 100 + i);
        leave(ids[i], 300, 1000 + i % 2);
    }
    message.cache_mib = 3;
    peer = start_warm(&message);
    assert_in_range(peer->e.warmer.n_read, 2, 23);
    assert_int_equal(peer->e.prefix->n_evicted, 0);
    assert_true(prefix_used_bytes(peer->e.prefix) <= 3 << 20);
    for (uint32_t i = 0; i < 2; i++) {
        struct peer_request q = ids_request(ids[22 + i], 300);

        q.uid = 1000 + i;
        q.max_tokens = 1;
        clear_folder();
        assert_int_equal(run(peer, q, i + 1)->cached_tokens, 299);
    }
    peer_free(peer);
}

/* What was used last before the start is what gives way last. */
static void test_warm_keeps_the_order_of_use(void **state)
{
    static int32_t ids[12][CONTEXT], other[CONTEXT];
    Qwe__Start message = start_message(test_folder);
    struct peer *peer;

    for (uint32_t i = 0; i < ARRAY_SIZE(ids); i++) {
        fill_ids(ids[i], CONTEXT, 200 + i);
        leave(ids[i], 300, 1000);
    }
    fill_ids(other, CONTEXT, 300);
    message.cache_mib = 2;
    peer = start_warm(&message);
    assert_in_range(peer->e.warmer.n_read, 3, 11);
    clear_folder();
    run(peer, ids_request(other, 600), 1);
    assert_true(peer->e.prefix->n_evicted > 0);
    assert_true(peer->e.prefix->n_evicted < (uint64_t)peer->e.warmer.n_read);
    assert_int_equal(run(peer, ids_request(ids[11], 300), 2)->cached_tokens, 299);
    peer_free(peer);
}

static int all_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_warm_knows_all_turns_of_a_chat, setup),
        cmocka_unit_test_setup(test_warm_keeps_users_apart_and_ages, setup),
        cmocka_unit_test_setup(test_warm_gives_way_to_a_request, setup),
        cmocka_unit_test_setup(test_warm_waits_while_a_slot_is_taken, setup),
        cmocka_unit_test_setup(test_warm_removes_what_is_damaged_and_goes_on, setup),
        cmocka_unit_test_setup(test_warm_gives_nothing_up, setup),
        cmocka_unit_test_setup(test_warm_keeps_the_order_of_use, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return spill_case_main(argc, argv, all_tests);
}
