/* test_cpu_pool.c - the CPU backend's threads: every item once, small steps on the caller alone, nobody awake
 * without need, and no more threads than have a core to themselves. */
#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "kernels/cpu/pool.h"
#include "kernels/cpu/team.h"
#include "kt.h"

/* items */

enum { ITEMS_MAX = 1000 };

struct tally {
    _Atomic int n[ITEMS_MAX];
    _Atomic int n_wrong_thread;
    int n_threads;
};

static void tally_item(void *ctx, int item, int thread)
{
    struct tally *tally = ctx;

    atomic_fetch_add(&tally->n[item], 1);
    if (thread < 0 || thread >= tally->n_threads)
        atomic_fetch_add(&tally->n_wrong_thread, 1);
}

/* Phases of changing size follow each other without a pause, so that workers come late to most of them. */
static void test_each_item_is_done_once(void **state)
{
    enum { PHASES = 3000 };

    (void)state;
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        struct pool *pool = NULL;
        struct tally tally = {.n_threads = n_threads};
        int want[ITEMS_MAX] = {0};
        assert_int_equal(pool_new(n_threads, n_threads, &pool), 0);
        for (int p = 0; p < PHASES; p++) {
            const int n = p * 7919 % (p % 50 ? 9 : ITEMS_MAX);
            pool_run(pool, tally_item, &tally, n);
            for (int i = 0; i < n; i++)
                want[i]++;
        }
        for (int i = 0; i < ITEMS_MAX; i++)
            assert_int_equal(atomic_load(&tally.n[i]), want[i]);
        assert_int_equal(atomic_load(&tally.n_wrong_thread), 0);
        pool_free(pool);
    }
}

/* Those without a core go to sleep at once, and may be on the way there when the pool ends. */
static void test_threads_that_take_no_part_end_with_the_others(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        struct pool *pool = NULL;
        struct tally tally = {.n_threads = 2};
        assert_int_equal(pool_new(6, 2, &pool), 0);
        assert_int_equal(pool_n_team(pool), 2);
        pool_run(pool, tally_item, &tally, i);
        pool_free(pool);
        assert_int_equal(atomic_load(&tally.n_wrong_thread), 0);
    }
}

/* A worker on its way from the last phase to the next meets the end: whoever missed it slept for ever, in one
 * of some hundred.  As many pools as two seconds have room for: under an emulator they are few. */
static void test_a_pool_ends_right_behind_its_last_phase(void **state)
{
    const time_t begin = time(NULL);

    (void)state;
    while (time(NULL) - begin < 2) {
        struct pool *pool = NULL;
        struct tally tally = {.n_threads = 2};
        assert_int_equal(pool_new(2, 2, &pool), 0);
        pool_run(pool, tally_item, &tally, 2);
        pool_free(pool);
        assert_int_equal(atomic_load(&tally.n[0]) + atomic_load(&tally.n[1]), 2);
    }
}

/* hand-overs */

/* *state: the cores that this process may use. */
static int keep_cpus(void **state)
{
    static cpu_set_t cpus;

    *state = &cpus;
    return sched_getaffinity(0, sizeof(cpus), &cpus);
}

static int give_cpus_back(void **state)
{
    return sched_setaffinity(0, sizeof(cpu_set_t), *state);
}

static int handover_of_new_pool(void)
{
    struct pool *pool = NULL;
    int ns;

    assert_int_equal(pool_new(2, 2, &pool), 0);
    ns = pool_handover_ns(pool);
    pool_free(pool);
    return ns;
}

/* Two threads on one core do not meet, so that nothing can be measured.  Once they have two, steps find out:
 * a daemon that was started on a busy machine shared no short phase in its life.  (The kernel may switch
 * between them in the very moment that makes them meet: then another pool is looked at.) */
static void test_a_handover_is_measured_once_it_can_be(void **state)
{
    enum { WITHIN_S = 60, TRIES = 20 };
    const cpu_set_t *const all = *state;
    const time_t begin = time(NULL);
    struct pool *pool = NULL;
    int least = POOL_SPIN_NS, n_tries = 0;
    cpu_set_t one;

    for (int i = 0; i < TRIES; i++)
        least = MIN(least, handover_of_new_pool());
    if (CPU_COUNT(all) < 2 || least >= POOL_SPIN_NS)
        skip(); /* one core, or an emulator that takes longer */
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    do {
        pool_freep(&pool);
        assert_in_range(n_tries++, 0, TRIES);
        assert_int_equal(pool_new(2, 2, &pool), 0);
    } while (pool_handover_ns(pool) < POOL_SPIN_NS);
    assert_int_equal(sched_setaffinity(0, sizeof(*all), all), 0);
    while (pool_handover_ns(pool) == POOL_SPIN_NS && time(NULL) - begin < WITHIN_S)
        pool_begin_step(pool);
    assert_in_range(pool_handover_ns(pool), 1, POOL_SPIN_NS - 1);
    pool_free(pool);
}

/* steps */

enum { DIM = 256, N_TOK_MAX = 512, LAYERS = 8 };

/* A step of a model of square projections, and how many of its phases were shared. */
static uint64_t step_run(struct kern *kern, const struct kt_mat *m, int n_tok, float *ret_x)
{
    struct kern_stage stages[32];
    uint64_t n_shared = 0;
    int32_t ids[N_TOK_MAX];
    const int n_before = kern->ops->stages(kern, stages, ARRAY_SIZE(stages));

    assert_in_range(n_before, 1, ARRAY_SIZE(stages));
    for (int i = 0; i < n_before; i++)
        n_shared -= stages[i].n_shared;
    for (int t = 0; t < n_tok; t++)
        ids[t] = t % DIM;
    assert_int_equal(kern->ops->embed(kern, &m->mat, ids, n_tok, ret_x), 0);
    for (int l = 0; l < LAYERS; l++) {
        const struct kern_proj_add op = {.n_tok = n_tok, .y = ret_x, .mat = &m->mat, .x = ret_x};
        assert_int_equal(kern->ops->proj_add(kern, &op), 0);
    }
    kern->ops->stages(kern, stages, ARRAY_SIZE(stages));
    for (int i = 0; i < n_before; i++)
        n_shared += stages[i].n_shared;
    return n_shared;
}

static struct kern *open_two_threads(bool share_all)
{
    const struct kern_options options = {.backend = "cpu", .n_threads = 2, .share_all = share_all};
    struct kern_shape shape = kt_shape(DIM, DIM, N_TOK_MAX);
    struct fault fault = {0};
    struct kern *kern = NULL;

    shape.n_vocab = DIM;
    assert_int_equal(kern_open(&options, &fault, &kern), KERN_OK);
    assert_int_equal(kern->ops->plan(kern, &shape), 0);
    kern->timed = true;
    return kern;
}

/* One row of 64 KiB matrices is some 10 us of work, 512 rows are milliseconds.  What a step will be is known
 * from the one before it, whatever that was. */
static void test_a_small_step_is_the_callers_alone(void **state)
{
    struct kern *kern = open_two_threads(false);
    struct kt_mat m = kt_mat_new(kern, QUANT_Q8_0, KERN_PANELS, DIM, DIM, 5);
    float *x = kt_floats((size_t)N_TOK_MAX * DIM);

    (void)state;
    step_run(kern, &m, 1, x); /* the first one is not foretold */
    assert_int_equal(step_run(kern, &m, 1, x), 0);
    while (step_run(kern, &m, N_TOK_MAX, x) == 0)
        ; /* a busy machine may have made the team small for a moment */
    assert_int_equal(step_run(kern, &m, 1, x), 0);
    kt_mat_free(&m);
    free(x);
    kern_free(kern);
}

/* Norm and quantisation of one row are one item: only the products have something for two. */
static void test_one_item_is_the_callers(void **state)
{
    struct kern *kern = open_two_threads(true);
    struct kt_mat m = kt_mat_new(kern, QUANT_Q8_0, KERN_PANELS, DIM, DIM, 5);
    float *x = kt_floats((size_t)N_TOK_MAX * DIM);

    (void)state;
    assert_int_equal(step_run(kern, &m, 1, x), LAYERS);
    assert_int_equal(step_run(kern, &m, 2, x), 1 + 2 * LAYERS);
    kt_mat_free(&m);
    free(x);
    kern_free(kern);
}

static void test_stages_count_what_was_done(void **state)
{
    struct kern *kern = open_two_threads(false);
    struct kt_mat m = kt_mat_new(kern, QUANT_Q8_0, KERN_PANELS, DIM, DIM, 5);
    float *x = kt_floats((size_t)N_TOK_MAX * DIM);
    struct kern_stage stages[32];
    int n, found = 0;

    (void)state;
    step_run(kern, &m, 3, x);
    kern->timed = false;
    step_run(kern, &m, 3, x); /* not counted */
    n = kern->ops->stages(kern, stages, ARRAY_SIZE(stages));
    for (int i = 0; i < n; i++) {
        if (strcmp(stages[i].name, "out") != 0)
            continue;
        found++;
        assert_int_equal(stages[i].n, LAYERS);
        assert_int_equal(stages[i].bytes, LAYERS * m.mat.bytes);
        assert_int_equal(stages[i].ops, (uint64_t)LAYERS * 3 * DIM * DIM);
        assert_true(stages[i].ns > 0);
    }
    assert_int_equal(found, 1);
    assert_int_equal(kern->ops->stages(kern, stages, 1), n);
    kt_mat_free(&m);
    free(x);
    kern_free(kern);
}

/* Of the other threads: how often they have given up the processor, and whether all of them sleep. */
static long others_switches(bool *ret_all_asleep)
{
    DIR *dir = opendir("/proc/self/task");
    long n = 0;

    assert_non_null(dir);
    *ret_all_asleep = true;
    for (struct dirent *e; (e = readdir(dir));) {
        char path[64], line[128];
        if (atoi(e->d_name) < 1 || atoi(e->d_name) == (int)gettid())
            continue;
        snprintf(path, sizeof(path), "/proc/self/task/%d/status", atoi(e->d_name));
        FILE *f = fopen(path, "re");
        while (f && fgets(line, sizeof(line), f)) {
            if (!strncmp(line, "State:", 6) && !strchr(line + 6, 'S'))
                *ret_all_asleep = false;
            if (!strncmp(line, "voluntary_ctxt_switches:", 24))
                n += atol(line + 24);
        }
        if (f)
            fclose(f);
    }
    closedir(dir);
    return n;
}

/* The workers fall asleep after the first step, and a thousand small ones do not wake them. */
static void test_small_steps_wake_nobody(void **state)
{
    struct kern *kern = open_two_threads(false);
    struct kt_mat m = kt_mat_new(kern, QUANT_Q8_0, KERN_PANELS, DIM, DIM, 5);
    float *x = kt_floats((size_t)N_TOK_MAX * DIM);
    bool asleep = false;
    long before;

    (void)state;
    step_run(kern, &m, 1, x);
    do {
        sched_yield();
        before = others_switches(&asleep);
    } while (!asleep);
    for (int i = 0; i < 1000; i++)
        step_run(kern, &m, 1, x);
    assert_in_range(others_switches(&asleep), before, before + 2); /* a team that was small grows meanwhile */
    kt_mat_free(&m);
    free(x);
    kern_free(kern);
}

struct meeting {
    _Atomic int n_there;
    _Atomic pid_t worker;
};

static void meeting_item(void *ctx, int item _unused_, int thread)
{
    struct meeting *meeting = ctx;

    if (thread)
        atomic_store(&meeting->worker, gettid());
    atomic_fetch_add(&meeting->n_there, 1);
    while (atomic_load(&meeting->n_there) < 2)
        sched_yield();
}

/* Woken there, it would begin when the caller sleeps. */
static void test_a_woken_worker_keeps_off_the_callers_core(void **state)
{
    struct meeting meeting = {0};
    struct pool *pool = NULL;
    cpu_set_t before, mine, workers;
    bool asleep = false;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    if (CPU_COUNT(&before) < 2)
        skip();
    assert_int_equal(pool_new(2, 2, &pool), 0);
    do {
        sched_yield();
        others_switches(&asleep);
    } while (!asleep);
    pool_run(pool, meeting_item, &meeting, 2);
    assert_int_equal(sched_getaffinity(meeting.worker, sizeof(workers), &workers), 0);
    assert_int_equal(CPU_COUNT(&workers), CPU_COUNT(&before) - 1);
    assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
    assert_true(CPU_EQUAL(&mine, &before));
    pool_free(pool);
}

/* the team */

#define MS INT64_C(1000000)

static void test_a_team_is_no_larger_than_its_cores(void **state)
{
    struct team team = team_init(4, 2);

    (void)state;
    assert_int_equal(team.n, 2);
    team_on_step(&team, 1, 1000 * MS); /* a core was taken away */
    assert_int_equal(team.n, 1);
    team_on_step(&team, 8, 2000 * MS); /* and several given: one at a time */
    assert_int_equal(team.n, 2);
    team_on_step(&team, 8, 2010 * MS);
    assert_int_equal(team.n, 2);
    team_on_step(&team, 8, 2060 * MS);
    assert_int_equal(team.n, 3);
    team_on_step(&team, 8, 3000 * MS);
    team_on_step(&team, 8, 4000 * MS);
    assert_int_equal(team.n, 4); /* its threads */
}

/* Steps of 10 ms; with two threads so much of each is lost.  How many of them have how many threads. */
static int steps_with_two(struct team *team, int n, int64_t lost_ns, int64_t *now)
{
    int n_two = 0;

    for (int i = 0; i < n; i++, *now += 10 * MS) {
        team_on_step(team, 2, *now);
        n_two += team->n == 2;
        if (lost_ns && team->n == 2)
            team_on_held_up(team, lost_ns, *now);
    }
    return n_two;
}

static void test_a_team_that_is_held_up_shrinks_and_tries_again(void **state)
{
    struct team team = team_init(2, 2);
    int64_t now = 1000 * MS;

    (void)state;
    assert_int_equal(steps_with_two(&team, 100, 0, &now), 100);
    team_on_held_up(&team, 1000 * MS, now); /* once is an accident */
    now += 1000 * MS;
    assert_int_equal(steps_with_two(&team, 100, 0, &now), 100);
    /* 20 s of half of the time: tried for seven steps each, after pauses of 50 ms, 100 ms, ... 2 s */
    assert_in_range(steps_with_two(&team, 2000, 5 * MS, &now), 7 * 12, 7 * 16);
    /* over: within 2 s it is whole, and stays so */
    steps_with_two(&team, 200, 0, &now);
    assert_int_equal(steps_with_two(&team, 1000, 0, &now), 1000);
    assert_int_equal(team.pause_ns, TEAM_PAUSE_MIN_NS);
}

/* A fifth of the time lost, with two threads, is less than the half that the second one brings. */
static void test_a_team_that_loses_less_than_a_thread_brings_stays(void **state)
{
    struct team team = team_init(2, 2);
    int64_t now = 1000 * MS;

    (void)state;
    assert_int_equal(steps_with_two(&team, 2000, 2 * MS, &now), 2000);
    assert_int_equal(team.pause_ns, TEAM_PAUSE_MIN_NS);
}

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_quotas_are_read(void **state)
{
    static const char *const parts[] = {"", "/a", "/a/b"};
    static const char *const texts[] = {"max 100000\n", "250000 100000\n", "400000 100000\n"};
    char root[] = "/tmp/qwend-team-XXXXXX", path[64];

    (void)state;
    assert_int_equal(team_quota("max 100000\n"), INT_MAX);
    assert_int_equal(team_quota("150000 100000\n"), 2);
    assert_int_equal(team_quota("20000 100000\n"), 1);
    assert_int_equal(team_quota("0 100000\n"), INT_MAX);
    assert_int_equal(team_quota("5 0\n"), INT_MAX);
    assert_int_equal(team_quota(""), INT_MAX);
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        snprintf(path, sizeof(path), "%.30s%.4s", root, parts[i]);
        assert_true(mkdir(path, 0700) == 0 || i == 0);
        put_file(path, "cpu.max", texts[i]);
    }
    assert_int_equal(team_quota_of_group(root, ""), INT_MAX);
    assert_int_equal(team_quota_of_group(root, "/a/b"), 3); /* the parent's is less */
    assert_int_equal(team_quota_of_group(root, "/none"), INT_MAX);
    for (size_t i = ARRAY_SIZE(parts); i-- > 0;) {
        snprintf(path, sizeof(path), "%.30s%.4s/cpu.max", root, parts[i]);
        unlink(path);
        *strrchr(path, '/') = '\0';
        rmdir(path);
    }
    assert_in_range(team_n_cpus(), 1, INT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_item_is_done_once),
        cmocka_unit_test(test_threads_that_take_no_part_end_with_the_others),
        cmocka_unit_test(test_a_pool_ends_right_behind_its_last_phase),
        cmocka_unit_test_setup_teardown(test_a_handover_is_measured_once_it_can_be, keep_cpus,
                                        give_cpus_back),
        cmocka_unit_test(test_a_small_step_is_the_callers_alone),
        cmocka_unit_test(test_one_item_is_the_callers),
        cmocka_unit_test(test_stages_count_what_was_done),
        cmocka_unit_test(test_small_steps_wake_nobody),
        cmocka_unit_test(test_a_woken_worker_keeps_off_the_callers_core),
        cmocka_unit_test(test_a_team_is_no_larger_than_its_cores),
        cmocka_unit_test(test_a_team_that_is_held_up_shrinks_and_tries_again),
        cmocka_unit_test(test_a_team_that_loses_less_than_a_thread_brings_stays),
        cmocka_unit_test(test_quotas_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
