/* test_engine_spill.c - a prefix cache that outlives its engine.
 *
 * What the next engine says with a beginning from disk is, bit for bit in its logprobs, what it says without;
 * of a file that was cut, changed, exchanged or left by somebody else nothing is ever used. */
#include "spill_case.h"

#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "daemon/engine/spill_folder.h"
#include "proto/wire.h"

/* hooks, put in the way by the linker */

static int pwrite_errno, n_pwrites; /* 0: none; else once n_pwrites more have been */

ssize_t __real_pwrite64(int fd, const void *data, size_t n, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t n, off_t offset);

/* Short writes too, as they are allowed. */
ssize_t __wrap_pwrite64(int fd, const void *data, size_t n, off_t offset)
{
    if (pwrite_errno && n_pwrites-- <= 0) {
        errno = pwrite_errno;
        return -1;
    }
    return __real_pwrite64(fd, data, n > 3 ? n - n / 3 : n, offset);
}

/* tests */

static void test_spill_changes_no_bit(void **state)
{
    static const int lengths[] = {33, 63, 64, 65, 66, 128, 129, 200, 449};
    static char *kinds[] = {"f16", "f32", "q8_0"};

    for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
        int32_t ids[ARRAY_SIZE(lengths)][CONTEXT];
        Qwe__Start message = start_message(test_folder);
        struct peer *peer;

        clear_folder();
        message.kv_type = kinds[kind];
        peer = peer_start_with(&message);
        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
            fill_ids(ids[i], CONTEXT, (uint32_t)i);
            run(peer, ids_request(ids[i], lengths[i]), (uint32_t)i + 1);
        }
        stop(peer);
        peer = peer_start_with(&message);
        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
            const struct peer_request q = ids_request(ids[i], lengths[i] + 20);
            struct peer_stream *want = run_without(q, &message);
            const uint32_t handle = 2 * (uint32_t)i + 1;

            check_same(run(peer, q, handle), want);
            assert_in_range(peer_stream(peer, handle)->cached_tokens, lengths[i] - 1, lengths[i] + 11);
            check_same(run(peer, q, handle + 1), want); /* and from memory, where it is now */
            assert_in_range(peer_stream(peer, handle + 1)->cached_tokens, lengths[i] - 1, lengths[i] + 19);
            free(want);
        }
        peer_free(peer);
    }
}

/* Turns of a chat each go on behind the last one's file; what is known of another chat with the same rules as
 * well. */
static void test_spill_keeps_a_chat_as_a_chain(void **state)
{
    struct peer *peer = start();
    int32_t ids[CONTEXT], other[CONTEXT];

    fill_ids(ids, CONTEXT, 1);
    fill_ids(other, CONTEXT, 1);
    fill_ids(other + 399, 100, 2);
    for (uint32_t i = 1; i <= 4; i++)
        run(peer, ids_request(ids, 200 * (int)i), i);
    stop(peer);
    assert_true(file_size(1000, 1) > 0 && n_files() >= 4);
    for (uint64_t id = 2; id <= 4; id++)
        assert_true(file_size(1000, id) < 2 * file_size(1000, 1));
    assert_int_equal(cached_of(ids, 900, 1000), 799);
    assert_int_equal(cached_of(other, 450, 1000), 399);
    assert_int_equal(unlink(file_path(1000, 1)), 0); /* the first turn is gone: the rest is of no use */
    assert_int_equal(cached_of(ids, 900, 1000), 0);
    assert_int_equal(n_files(), 0);
}

static void test_spill_is_not_shared(void **state)
{
    Qwe__Terms terms = QWE__TERMS__INIT;
    Qwe__Start message = start_message(test_folder);
    struct peer_request q;
    struct peer *peer;
    int32_t ids[CONTEXT];

    fill_ids(ids, CONTEXT, 3);
    leave(ids, 300, 1000);
    assert_int_equal(cached_of(ids, 300, 1001), 0);
    assert_int_equal(cached_of(ids, 300, 0), 0);
    assert_int_equal(cached_of(ids, 300, 1000), 299);
    /* nobody's who asks for no cache, nor a gateway's user's, whose number is another one next time */
    q = ids_request(ids, 300);
    peer = start();
    q.no_cache = true;
    assert_int_equal(run(peer, q, 1)->cached_tokens, 0);
    q.no_cache = false;
    terms.has_account = 1;
    terms.account = (1ull << 32) + 1000;
    q.terms = &terms;
    assert_int_equal(run(peer, q, 2)->cached_tokens, 0);
    assert_int_equal(run(peer, q, 3)->cached_tokens, 299);
    stop(peer);
    peer = start();
    assert_int_equal(run(peer, q, 1)->cached_tokens, 0);
    peer_free(peer);
    assert_int_equal(cached_of(ids, 300, 1000), 299);
    /* another kind of KV cache, another model */
    message.kv_type = "f32";
    peer = peer_start_with(&message);
    q.terms = NULL;
    assert_int_equal(n_files(), 1); /* the other one's stays */
    assert_int_equal(run(peer, q, 1)->cached_tokens, 0);
    stop(peer);
    assert_int_equal(n_files(), 2);
    message.model_path = malloc(4200);
    snprintf(message.model_path, 4200, "%s/models/d1-k256/d1-k256-Q4_0.gguf", test_golden);
    peer = peer_start_with(&message);
    assert_int_equal(n_files(), 2);
    assert_int_equal(run(peer, q, 1)->cached_tokens, 0);
    stop(peer);
    assert_int_equal(n_files(), 3);
    free(message.model_path);
    assert_int_equal(cached_of(ids, 300, 1000), 299); /* who comes back finds its own */
}

/* Files of others have the room that nobody wants: they go before anything of the engine's own. */
static void test_spill_gives_up_other_models_files_first(void **state)
{
    static int32_t ids[12][CONTEXT];
    Qwe__Start message = start_message(test_folder);
    uint64_t foreign;
    struct peer *peer;

    message.has_cache_dir_mib = 1;
    message.cache_dir_mib = 2;
    for (int round = 0; round < 2; round++) {
        message.kv_type = round ? "f32" : "f16";
        peer = peer_start_with(&message);
        foreign = peer->e.spill->foreign_bytes;
        assert_true(round ? foreign > 1 << 19 : !foreign);
        assert_false(spill_make_room(peer->e.spill, 1000, (2 << 20) + 1, 0, UINT64_MAX));
        assert_int_equal(peer->e.spill->foreign_bytes, foreign); /* not for what is not written */
        for (uint32_t i = 0; i < ARRAY_SIZE(ids); i++) {
            struct peer_request q = ids_request(ids[i], 300);

            fill_ids(ids[i], CONTEXT, 100 * (uint32_t)round + i);
            q.logprobs = 0;
            run(peer, q, i + 1);
            peer->e.saver.rest_ns = 0;
            for (int k = 0; k < 5; k++)
                assert_int_equal(peer_turn(peer), 0);
            assert_true(spill_used_bytes(peer->e.spill) <= 2 << 20);
            assert_true(peer->e.spill->foreign_bytes <= foreign);
            foreign = peer->e.spill->foreign_bytes;
        }
        /* its own, all of one size, fill it: there is no room for one more */
        assert_true(!round || peer->e.spill->index->bytes + peer->e.spill->index->entries[0].bytes > 2 << 20);
        stop(peer);
    }
}

static void test_spill_uses_nothing_of_a_damaged_file(void **state)
{
    int32_t ids[CONTEXT];
    off_t bytes;

    fill_ids(ids, CONTEXT, 4);
    leave(ids, 300, 1000);
    bytes = file_size(1000, 1);
    assert_in_range(bytes, SPILL_HEADER_BYTES + 299 * 4 + 1000, 1 << 22);
    for (int i = 0; i < 40; i++) { /* in the header, in the tokens, the pages, the state */
        clear_folder();
        leave(ids, 300, 1000);
        flip_byte(file_path(1000, 1), i < 6     ? i * 25 % SPILL_HEADER_BYTES
                                      : i < 10  ? SPILL_HEADER_BYTES + (i - 6) * 396
                                      : i == 39 ? bytes - 1
                                                : bytes / 40 * i);
        assert_int_equal(cached_of(ids, 300, 1000), 0);
        assert_int_equal(n_files(), 0);
    }
    for (int i = 0; i < 12; i++) { /* too short, too long */
        clear_folder();
        leave(ids, 300, 1000);
        assert_int_equal(truncate(file_path(1000, 1), i < 10 ? bytes * i / 10 : bytes + i - 9), 0);
        assert_int_equal(cached_of(ids, 300, 1000), 0);
        assert_int_equal(n_files(), 0);
    }
}

static void test_spill_takes_nothing_for_a_file_that_is_none(void **state)
{
    char path[256], link[256];
    int32_t ids[CONTEXT];

    fill_ids(ids, CONTEXT, 5);
    leave(ids, 300, 1000);
    snprintf(path, sizeof(path), "%s/elsewhere", test_root);
    assert_int_equal(rename(file_path(1000, 1), path), 0);
    assert_int_equal(symlink(path, file_path(1000, 1)), 0); /* not followed */
    assert_int_equal(cached_of(ids, 300, 1000), 0);
    assert_int_equal(n_files(), 0);
    assert_int_equal(mkfifo(file_path(1000, 1), 0600), 0); /* not waited for */
    assert_int_equal(cached_of(ids, 300, 1000), 0);
    assert_int_equal(n_files(), 0);
    snprintf(link, sizeof(link), "%s", file_path(1001, 1)); /* given to another uid by its name */
    assert_int_equal(rename(path, link), 0);
    assert_int_equal(cached_of(ids, 300, 1001), 0);
    assert_int_equal(n_files(), 0);
    snprintf(link, sizeof(link), "%s/README", test_folder); /* not ours: left alone */
    close(open(link, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(mkdir(file_path(7, 7), 0700), 0);
    assert_int_equal(cached_of(ids, 300, 1000), 0);
    assert_int_equal(access(link, F_OK), 0);
}

/* A file that changes while the engine runs. */
static void test_spill_looks_at_a_file_when_it_is_used(void **state)
{
    const Qwe__Start message = start_message(test_folder);
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(ids, 300);
    struct peer_stream *want;

    fill_ids(ids, CONTEXT, 6);
    want = run_without(q, &message);
    for (int i = 0; i < 4; i++) {
        struct peer *peer;

        clear_folder();
        leave(ids, 300, 1000);
        if (i == 2)
            leave(ids + 1, 300, 1000);
        peer = start();
        if (i == 0)
            flip_byte(file_path(1000, 1), file_size(1000, 1) / 2);
        else if (i == 1)
            assert_int_equal(truncate(file_path(1000, 1), file_size(1000, 1) - 1), 0);
        else if (i == 2)
            assert_int_equal(rename(file_path(1000, 2), file_path(1000, 1)), 0);
        else
            assert_int_equal(unlink(file_path(1000, 1)), 0);
        check_same(run(peer, q, 1), want);
        assert_int_equal(peer_stream(peer, 1)->cached_tokens, 0);
        assert_int_equal(spill_used_bytes(peer->e.spill) > 0, i == 2);
        check_same(run(peer, q, 2), want);
        assert_int_equal(peer_stream(peer, 2)->cached_tokens, 299);
        peer_free(peer);
    }
    free(want);
}

/* Killed in a write, at each of its slices; what was whole before is whole after. */
static void test_spill_survives_a_kill_in_a_write(void **state)
{
    static int32_t ids[LONG_CONTEXT];
    Qwe__Start message = start_message(test_folder);
    struct peer_request q = ids_request(ids, 6000);
    bool was_cut = false, was_whole = false;

    message.context = LONG_CONTEXT;
    fill_ids(ids, LONG_CONTEXT, 7);
    leave(ids, 300, 1000);
    for (int n_slices = 1; n_slices < 24; n_slices += 3) {
        pid_t pid = fork();
        struct peer *peer;
        int status;

        assert_true(pid >= 0);
        if (!pid) {
            peer = peer_start_with(&message);
            run(peer, q, 1);
            peer->e.saver.rest_ns = 0;
            for (int i = 0; i < n_slices; i++)
                (void)engine_disk_turn(&peer->e);
            kill(getpid(), SIGKILL);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        peer = peer_start_with(&message);
        assert_int_equal(access(file_path(1000, 1), F_OK), 0);
        was_cut |= n_files() == 1;
        was_whole |= n_files() == 2;
        assert_in_range(n_files(), 1, 2);
        peer_free(peer);
    }
    assert_true(was_cut && was_whole);
    assert_int_equal(cached_of(ids, 300, 1000), 299);
}

static void test_spill_writes_only_while_nothing_runs(void **state)
{
    struct peer *peer = start();
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(ids, 300);

    fill_ids(ids, CONTEXT, 8);
    q.handle = 1;
    peer_submit(peer, &q);
    do {
        peer->e.saver.rest_ns = 0; /* rested enough */
        assert_int_equal(peer_turn(peer), 0);
        assert_int_equal(n_files(), 0);
    } while (engine_has_work(&peer->e));
    assert_in_range(engine_disk_wait_ms(&peer->e), 900, 1001); /* a second, now */
    for (int i = 0; i < 5; i++)
        assert_int_equal(peer_turn(peer), 0);
    assert_int_equal(n_files(), 0);
    peer->e.saver.rest_ns = 0;
    watch.n_mallocs = 0;
    watch.count_mallocs = true;
    for (int i = 0; i < 5; i++)
        assert_int_equal(engine_turn(&peer->e, false), 0);
    watch.count_mallocs = false;
    assert_int_equal(watch.n_mallocs, 0);
    assert_int_equal(n_files(), 1);
    assert_int_equal(engine_disk_wait_ms(&peer->e), -1); /* it sleeps until somebody asks */
    /* short ones not: a question and an answer, until they add up */
    fill_ids(ids, CONTEXT, 9);
    for (uint32_t i = 1; i <= 3; i++) {
        q.n_prompt = 100 * (int)i;
        run(peer, q, i + 1);
        peer->e.saver.rest_ns = 0;
        for (int k = 0; k < 5; k++)
            assert_int_equal(peer_turn(peer), 0);
        assert_int_equal(n_files(), i < 3 ? 1 : 2);
    }
    stop(peer); /* but at the end */
    assert_int_equal(n_files() > 3, true);
}

/* A long one is read in slices: another stream goes on meanwhile, and the reader may leave at any time. */
static void test_spill_reads_between_the_steps_of_others(void **state)
{
    static int32_t ids[LONG_CONTEXT], other[CONTEXT];
    const Qwe__CancelSeq cancel = QWE__CANCEL_SEQ__INIT;
    Qwe__Start message = start_message(test_folder);
    struct peer_request q = ids_request(ids, 6000), running = ids_request(other, 40);
    struct peer_stream *want;
    struct peer *peer;

    message.context = LONG_CONTEXT;
    fill_ids(ids, LONG_CONTEXT, 10);
    fill_ids(other, CONTEXT, 11);
    want = run_without(q, &message);
    peer = peer_start_with(&message);
    run(peer, q, 1);
    stop(peer);
    peer = peer_start_with(&message);
    running.handle = 1;
    running.max_tokens = 400;
    peer_submit(peer, &running);
    while (peer_stream(peer, 1)->n_ids < 3)
        assert_int_equal(peer_turn(peer), 0);
    for (uint32_t i = 2; i <= 3; i++) {
        int n_ids;

        q.handle = i;
        peer_submit(peer, &q);
        do /* its text is read beside the steps */
            assert_int_equal(peer_turn(peer), 0);
        while (!peer->e.reader.seq);
        n_ids = peer_stream(peer, 1)->n_ids;
        watch.n_mallocs = 0;
        watch.count_mallocs = true;
        assert_int_equal(engine_turn(&peer->e, false), 0);
        watch.count_mallocs = false;
        assert_int_equal(watch.n_mallocs, 0);
        assert_non_null(peer->e.reader.seq);
        assert_int_equal(peer_turn(peer), 0);
        assert_true(peer_stream(peer, 1)->n_ids > n_ids);
        assert_false(peer_stream(peer, i)->n_ids);
        if (i == 2) {
            peer_put(peer, i, MSG_E_CANCEL, &cancel.base, -1);
            assert_int_equal(peer_turn(peer), 0);
            assert_null(peer->e.reader.seq);
        }
    }
    check_same(peer_finish(peer, 3), want);
    assert_in_range(peer_stream(peer, 3)->cached_tokens, 5999, 5999);
    assert_int_equal(peer_finish(peer, 1)->n_ids, 400);
    assert_int_equal(peer_stream(peer, 2)->started, false);
    /* too late: it is read like any other prompt */
    peer_free(peer);
    peer = peer_start_with(&message);
    q.handle = 1;
    peer_submit(peer, &q);
    assert_int_equal(peer_turn(peer), 0);
    assert_non_null(peer->e.reader.seq);
    peer->e.reader.until_ns = 0;
    check_same(peer_finish(peer, 1), want);
    assert_int_equal(peer_stream(peer, 1)->cached_tokens, 0);
    peer_free(peer);
    free(want);
}

static void test_spill_keeps_its_cap_and_everybodys_share(void **state)
{
    static int32_t ids[40][CONTEXT];
    Qwe__Start message = start_message(test_folder);
    struct peer *peer;
    uint32_t handle = 1, n_cached = 0;

    message.has_cache_dir_mib = 1;
    message.cache_dir_mib = 2;
    peer = peer_start_with(&message);
    assert_int_equal(peer->ready->cache_dir_bytes, 2 << 20);
    for (uint32_t i = 0; i < 40; i++) { /* first one who would fill it, then another */
        struct peer_request q = ids_request(ids[i], 300);

        fill_ids(ids[i], CONTEXT, 100 + i);
        q.uid = i < 30 ? 1000 : 1001;
        memset(peer->streams, 0, sizeof(peer->streams));
        peer->n_streams = 0;
        q.logprobs = 0;
        run(peer, q, handle++);
        peer->e.saver.rest_ns = 0;
        for (int k = 0; k < 5; k++)
            assert_int_equal(peer_turn(peer), 0);
        assert_true(spill_used_bytes(peer->e.spill) <= 2 << 20);
    }
    stop(peer);
    peer = peer_start_with(&message);
    assert_in_range(peer->ready->cache_dir_used_bytes, 1 << 20, 2 << 20);
    memset(peer->streams, 0, sizeof(peer->streams));
    for (uint32_t i = 28; i < 40; i++) {
        struct peer_request q = ids_request(ids[i], 300);

        q.uid = i < 30 ? 1000 : 1001;
        q.logprobs = 0;
        q.max_tokens = 1;
        n_cached += run(peer, q, i)->cached_tokens > 0;
    }
    assert_in_range(n_cached, 3, 12);
    assert_int_equal(peer_stream(peer, 39)->cached_tokens, 299); /* the last of either has room */
    assert_int_equal(peer_stream(peer, 29)->cached_tokens, 299);
    peer_free(peer);
    /* a smaller cap at the next start */
    message.cache_dir_mib = 1;
    peer = peer_start_with(&message);
    assert_true(peer->ready->cache_dir_used_bytes <= 1 << 20);
    assert_true(n_files() > 0);
    peer_free(peer);
}

static void test_spill_forgets_what_gave_no_numbers(void **state)
{
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(ids, 300);
    struct peer *peer;

    fill_ids(ids, CONTEXT, 12);
    leave(ids, 300, 1000);
    peer = start();
    watch.poison_row = 0;
    assert_true(run(peer, q, 1)->refused);
    watch.poison_row = -1;
    assert_int_equal(n_files(), 0);
    assert_int_equal(run(peer, q, 2)->cached_tokens, 0);
    peer_free(peer);
}

static void test_spill_lives_with_a_disk_that_fails(void **state)
{
    static const int errors[] = {ENOSPC, EIO, EROFS, EDQUOT};

    for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
        for (int n = 0; n < 40; n += n < 4 ? 1 : 7) {
            int32_t ids[CONTEXT];
            struct peer_request q = ids_request(ids, 300);
            struct peer *peer = start();

            fill_ids(ids, CONTEXT, 13);
            assert_false(run(peer, q, 1)->refused);
            pwrite_errno = errors[i];
            n_pwrites = n;
            peer->e.saver.rest_ns = 0;
            for (int k = 0; k < 6; k++)
                assert_int_equal(peer_turn(peer), 0);
            pwrite_errno = 0;
            assert_false(spill_writes(peer->e.spill));
            assert_int_equal(n_files(), 0);
            assert_int_equal(engine_disk_wait_ms(&peer->e), -1);
            assert_int_equal(run(peer, q, 2)->cached_tokens, 299);
            stop(peer);
            assert_int_equal(n_files(), 0);
        }
}

static void check_unused(const char *folder)
{
    const Qwe__Start message = start_message(folder);
    int32_t ids[CONTEXT];
    struct peer_request q = ids_request(ids, 300);
    struct peer *peer = peer_start_with(&message);

    fill_ids(ids, CONTEXT, 14);
    assert_null(peer->e.spill);
    assert_false(peer->ready->has_cache_dir_bytes);
    assert_false(run(peer, q, 1)->refused);
    assert_int_equal(run(peer, q, 2)->cached_tokens, 299);
    stop(peer);
}

static void test_spill_serves_without_a_folder_it_may_not_use(void **state)
{
    char path[256];
    struct peer *peer;

    assert_int_equal(mkdir(test_folder, 0755), 0); /* others could read it */
    assert_int_equal(chmod(test_folder, 0755), 0);
    check_unused(test_folder);
    assert_int_equal(n_files(), 0);
    assert_int_equal(chmod(test_folder, 0700), 0);
    snprintf(path, sizeof(path), "%s/a/b", test_folder);
    check_unused(path);
    snprintf(path, sizeof(path), "%s/file", test_root);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    check_unused(path);
    peer = start(); /* another engine's */
    assert_non_null(peer->e.spill);
    check_unused(test_folder);
    peer_free(peer);
    peer = start();
    assert_non_null(peer->e.spill);
    peer_free(peer);
}

static void *let_go(void *fd)
{
    poll(NULL, 0, 100); /* longer than the first try takes */
    close(*(int *)fd);
    return NULL;
}

/* One that is on its way out: its lock goes with it. */
static void test_spill_waits_for_an_engine_that_ends(void **state)
{
    pthread_t thread;
    struct peer *peer;
    int fd;

    assert_int_equal(mkdir(test_folder, 0700), 0);
    fd = open(test_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(pthread_create(&thread, NULL, let_go, &fd), 0);
    peer = start();
    assert_non_null(peer->e.spill);
    pthread_join(thread, NULL);
    peer_free(peer);
}

static int all_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_spill_changes_no_bit, setup),
        cmocka_unit_test_setup(test_spill_keeps_a_chat_as_a_chain, setup),
        cmocka_unit_test_setup(test_spill_is_not_shared, setup),
        cmocka_unit_test_setup(test_spill_gives_up_other_models_files_first, setup),
        cmocka_unit_test_setup(test_spill_uses_nothing_of_a_damaged_file, setup),
        cmocka_unit_test_setup(test_spill_takes_nothing_for_a_file_that_is_none, setup),
        cmocka_unit_test_setup(test_spill_looks_at_a_file_when_it_is_used, setup),
        cmocka_unit_test_setup(test_spill_survives_a_kill_in_a_write, setup),
        cmocka_unit_test_setup(test_spill_writes_only_while_nothing_runs, setup),
        cmocka_unit_test_setup(test_spill_reads_between_the_steps_of_others, setup),
        cmocka_unit_test_setup(test_spill_keeps_its_cap_and_everybodys_share, setup),
        cmocka_unit_test_setup(test_spill_forgets_what_gave_no_numbers, setup),
        cmocka_unit_test_setup(test_spill_lives_with_a_disk_that_fails, setup),
        cmocka_unit_test_setup(test_spill_serves_without_a_folder_it_may_not_use, setup),
        cmocka_unit_test_setup(test_spill_waits_for_an_engine_that_ends, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return spill_case_main(argc, argv, all_tests);
}
