/* test_sched_sim.c - 10,000 random traces through queue.c, preempt.c and sched.c in virtual time.
 *
 * What is held to its numbers (daemon.md G9): a stream is in every step and stalls for three of its steps at
 * most; nothing idles while something waits; everything ends; users who wait are served alike by weight
 * (VTC); of equal weights and an offered load of 10:1 each is served within 5 %; batch has its tenth; an
 * interactive request under full batch load has its first token after 1.5 x what it takes on an idle machine
 * and a step; a seed gives the same trace twice.  Each of these is shown to notice the fault that it is there
 * for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sched_sim.h"

enum { N_RANDOM = 9700, N_EACH = 60 };

static uint64_t random_state;

static uint64_t random_next(void) /* splitmix64 */
{
    uint64_t x = random_state += 0x9e3779b97f4a7c15;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static int random_int(int min, int max)
{
    return min + (int)(random_next() % (uint64_t)(max - min + 1));
}

static double random_double(double min, double max)
{
    return min + (max - min) * (double)(random_next() >> 11) / (double)(1ull << 53);
}

/* From a big GPU (2 ms, 0.02 ms a prompt token) to a laptop (300 ms, 60 ms). */
static struct sim_machine random_machine(double noise)
{
    const double base = exp(random_double(log(2e6), log(300e6)));

    return (struct sim_machine){.base = base,
                                .row = base * random_double(0, 0.05),
                                .tok = base / exp(random_double(log(5), log(200))),
                                .noise = noise};
}

static struct sim_setup begin(uint64_t seed, double noise)
{
    struct sim_setup setup = {.seed = seed, .max_steps = 6000};

    random_state = seed;
    setup.machine = random_machine(noise);
    setup.n_slots = random_int(1, SIM_SLOTS);
    for (int u = 0; u < SIM_USERS; u++)
        setup.weights[u] = QUEUE_WEIGHT;
    return setup;
}

/* kinds of traces */

static struct sim_setup trace_random(uint64_t seed)
{
    struct sim_setup setup = begin(seed, seed % 3 ? 0 : 0.2);
    const bool one_band = random_int(0, 1), weighted = random_int(0, 1);

    setup.max_steps = 100000;
    setup.n_sources = random_int(1, 5);
    for (int u = 0; u < SIM_USERS && weighted; u++)
        setup.weights[u] = (uint32_t)random_int(20, 500);
    for (int i = 0; i < setup.n_sources; i++)
        setup.sources[i] = (struct sim_source){
            .user = random_int(0, SIM_USERS - 1),
            .band = one_band ? QUEUE_NORMAL : (enum queue_priority)random_int(0, 2),
            .n_lanes = random_int(1, 4),
            .n_jobs = random_int(1, 5),
            .prompt_min = 1,
            .prompt_max = random_int(1, 400),
            .answer_min = 1,
            .answer_max = random_int(1, 30),
            .think_ns = random_int(0, 3) * 10 * setup.machine.base,
            .cancel = random_int(0, 2) * 0.1,
        };
    return setup;
}

static const struct sim_source talk = {.band = QUEUE_NORMAL,
                                       .n_lanes = 4,
                                       .prompt_min = 5,
                                       .prompt_max = 200,
                                       .answer_min = 5,
                                       .answer_max = 30};

/* One user offers ten times what the other does, and asks longer questions. */
static struct sim_setup trace_fair(uint64_t seed)
{
    struct sim_setup setup = begin(seed, seed % 2 ? 0 : 0.2);

    setup.n_slots = random_int(1, 4);
    setup.n_sources = 2;
    setup.sources[0] = setup.sources[1] = talk;
    setup.sources[0].n_lanes = 50;
    setup.sources[1].n_lanes = 5;
    setup.sources[1].prompt_max = 50;
    setup.sources[seed % 4 < 2].user = 1; /* the lower uid must not matter */
    return setup;
}

/* Weights 1 : 2 : 4. */
static struct sim_setup trace_weights(uint64_t seed)
{
    struct sim_setup setup = begin(seed, 0);

    setup.n_sources = 3;
    for (int i = 0; i < 3; i++) {
        setup.sources[i] = talk;
        setup.sources[i].user = i;
        setup.sources[i].n_lanes = 16;
        setup.weights[i] = 50u << i;
    }
    return setup;
}

/* Every band has something waiting all the time.  Long prompts, so that also the steps are fought for. */
static struct sim_setup trace_bands(uint64_t seed)
{
    struct sim_setup setup = begin(seed, 0);

    setup.max_steps = 12000;
    setup.n_sources = 3;
    for (int i = 0; i < 3; i++) {
        setup.sources[i] = talk;
        setup.sources[i].user = i;
        setup.sources[i].band = (enum queue_priority)i;
        setup.sources[i].n_lanes = 16;
        setup.sources[i].prompt_max = seed % 2 ? 200 : 1000;
    }
    return setup;
}

/* All have slots; one user reads seven prompts at a time, the other one. */
static struct sim_setup trace_steps(uint64_t seed)
{
    struct sim_setup setup = begin(seed, 0);

    setup.n_slots = SIM_SLOTS;
    setup.max_steps = 3000;
    setup.n_sources = 2;
    for (int i = 0; i < 2; i++) {
        setup.sources[i] = talk;
        setup.sources[i].prompt_min = 300;
        setup.sources[i].prompt_max = 3000;
        setup.sources[i].answer_min = setup.sources[i].answer_max = 1;
        setup.sources[i].n_lanes = i == (int)(seed % 2) ? 7 : 1;
        setup.sources[i].user = i;
    }
    return setup;
}

/* All have slots and long prompts: six interactive ones, a normal one and one of batch. */
static struct sim_setup trace_step_bands(uint64_t seed)
{
    struct sim_setup setup = trace_steps(seed);

    setup.n_sources = 3;
    for (int i = 0; i < 3; i++) {
        setup.sources[i] = setup.sources[0];
        setup.sources[i].user = i;
        setup.sources[i].band = (enum queue_priority)i;
        setup.sources[i].n_lanes = i ? 1 : 6;
    }
    return setup;
}

/* Somebody asks now and then; batch fills all that is left, or (idle) nothing does. */
static struct sim_setup trace_keystrokes(uint64_t seed, bool idle)
{
    struct sim_setup setup = begin(seed, 0);
    const int n_prompt = random_int(10, 600);

    setup.n_slots = random_int(2, SIM_SLOTS);
    setup.n_sources = 2 - idle;
    setup.sources[0] = (struct sim_source){.band = QUEUE_INTERACTIVE,
                                           .n_lanes = 1,
                                           .prompt_min = n_prompt,
                                           .prompt_max = n_prompt,
                                           .answer_min = 5,
                                           .answer_max = 30,
                                           .think_ns = 200 * setup.machine.base};
    setup.sources[1] = talk;
    setup.sources[1].user = 1;
    setup.sources[1].band = QUEUE_BATCH;
    setup.sources[1].n_lanes = 2 * SIM_SLOTS;
    setup.sources[1].prompt_max = 2000;
    setup.sources[1].answer_max = 300;
    /* Without a prefix cache a batch request is left alone while it reads again and as long after that, some
     * seconds at most here. */
    setup.keeps = seed % 2;
    if (!setup.keeps) {
        setup.sources[1].prompt_max = (int)CLAMP(2e9 / setup.machine.tok, 20, 2000);
        setup.sources[0].think_ns += 20e9;
    }
    setup.max_steps = idle ? 3000 : 30000;
    return setup;
}

/* what is expected of them; NULL, or what is wrong */

static char verdict[200];

#define VERDICT(...) (snprintf(verdict, sizeof(verdict), __VA_ARGS__), verdict)

static const char *judge_random(struct sim_setup setup)
{
    const struct sim_result result = sim_run(&setup);

    if (result.broken)
        return result.broken;
    return result.ended ? NULL : "requests do not end";
}

static const char *judge_fair(struct sim_setup setup)
{
    const struct sim_result result = sim_run(&setup);
    const double ratio = result.served[0] / result.served[1];

    return ratio >= 1 / 1.05 && ratio <= 1.05
               ? result.broken
               : VERDICT("equal weights, served %.0f and %.0f", result.served[0], result.served[1]);
}

static const char *judge_weights(struct sim_setup setup)
{
    const struct sim_result result = sim_run(&setup);
    const double a = result.served[0], b = result.served[1] / 2, c = result.served[2] / 4;
    const double least = MIN(a, MIN(b, c)), most = MAX(a, MAX(b, c));

    return most <= 1.1 * least ? result.broken : VERDICT("over their weights %.0f, %.0f and %.0f", a, b, c);
}

static const char *judge_bands(struct sim_setup setup)
{
    const struct sim_result result = sim_run(&setup);
    const double *served = result.band_served, all = served[0] + served[1] + served[2];

    if (served[QUEUE_BATCH] < 0.09 * all || served[QUEUE_NORMAL] < 0.27 * all)
        return VERDICT("normal %.3f and batch %.3f of all", served[1] / all, served[2] / all);
    return served[QUEUE_INTERACTIVE] < 0.5 * all ? VERDICT("interactive %.3f of all", served[0] / all)
                                                 : result.broken;
}

static const char *judge_steps(struct sim_setup setup)
{
    const struct sim_result result = sim_run(&setup);
    const double ratio = result.engine_read[0] / result.engine_read[1];

    return ratio >= 1 / 1.05 && ratio <= 1.05
               ? result.broken
               : VERDICT("read %.0f and %.0f", result.engine_read[0], result.engine_read[1]);
}

static const char *judge_step_bands(struct sim_setup setup)
{
    const struct sim_result result = sim_run(&setup);
    const double *read = result.engine_read, all = read[0] + read[1] + read[2];

    if (read[QUEUE_BATCH] < 0.09 * all || read[QUEUE_NORMAL] < 0.27 * all ||
        read[QUEUE_INTERACTIVE] < 0.5 * all)
        return VERDICT("read %.3f, %.3f and %.3f of all", read[0] / all, read[1] / all, read[2] / all);
    return result.broken;
}

static const char *judge_keystrokes(struct sim_setup setup)
{
    const struct sim_setup alone = trace_keystrokes(setup.seed, true);
    const struct sim_result idle = sim_run(&alone), loaded = sim_run(&setup);

    if (idle.broken || loaded.broken)
        return idle.broken ? idle.broken : loaded.broken;
    if (!idle.n_first || !loaded.n_first)
        return VERDICT("%d first tokens, %d idle", loaded.n_first, idle.n_first);
    return loaded.first_max_ns <= 1.5 * idle.first_max_ns + loaded.step_max_ns
               ? NULL
               : VERDICT("first token after %.1f ms, %.1f ms idle, a step takes %.1f ms",
                         loaded.first_max_ns / 1e6, idle.first_max_ns / 1e6, loaded.step_max_ns / 1e6);
}

static struct sim_setup trace_keystrokes_loaded(uint64_t seed)
{
    return trace_keystrokes(seed, false);
}

static const struct kind {
    const char *name;
    struct sim_setup (*trace)(uint64_t seed);
    const char *(*judge)(struct sim_setup setup);
    int n;
} kinds[] = {
    {"random", trace_random, judge_random, N_RANDOM},
    {"fair", trace_fair, judge_fair, N_EACH},
    {"weights", trace_weights, judge_weights, N_EACH},
    {"bands", trace_bands, judge_bands, N_EACH},
    {"steps", trace_steps, judge_steps, N_EACH},
    {"step bands", trace_step_bands, judge_step_bands, N_EACH},
    {"keystrokes", trace_keystrokes_loaded, judge_keystrokes, N_EACH},
};

static void check_kind(const struct kind *kind)
{
    for (uint64_t seed = 1; seed <= (uint64_t)kind->n; seed++) {
        const char *wrong = kind->judge(kind->trace(seed));

        if (wrong)
            fail_msg("%s trace %llu: %s", kind->name, (unsigned long long)seed, wrong);
    }
}

static void test_sim_random_traces_break_no_invariant(void **state)
{
    check_kind(&kinds[0]);
}

static void test_sim_equal_weights_are_served_alike(void **state)
{
    check_kind(&kinds[1]);
}

static void test_sim_weights_divide_what_is_served(void **state)
{
    check_kind(&kinds[2]);
}

static void test_sim_bands_have_their_shares(void **state)
{
    check_kind(&kinds[3]);
}

static void test_sim_steps_are_shared_by_user_not_by_prompt(void **state)
{
    check_kind(&kinds[4]);
}

static void test_sim_steps_have_their_bands_shares(void **state)
{
    check_kind(&kinds[5]);
}

static void test_sim_interactive_is_quick_under_full_batch_load(void **state)
{
    check_kind(&kinds[6]);
}

static void test_sim_a_seed_gives_the_same_trace_twice(void **state)
{
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
        for (uint64_t seed = 1; seed <= 10; seed++) {
            const struct sim_setup a = kinds[k].trace(seed), b = kinds[k].trace(seed);
            const struct sim_result first = sim_run(&a), second = sim_run(&b);

            assert_true(first.hash == second.hash && first.n_steps == second.n_steps);
        }
}

/* Which kind of trace notices which planted fault, within its first hundred. */
static void test_sim_notices_every_planted_fault(void **state)
{
    static const struct {
        enum sim_fault fault;
        int kind;
        const char *expected;
    } rows[] = {
        {SIM_LOSE_A_DECODE, 0, "a stream is left out"},
        {SIM_LOSE_A_PIECE, 0, "the budget is not used"},
        {SIM_LONG_PIECES, 0, "a stream was stalled"},
        {SIM_NO_QUEUE_CHARGE, 0, "not served alike"},
        {SIM_NO_QUEUE_CHARGE, 1, "equal weights, served"},
        {SIM_NO_SCHED_CHARGE, 4, "read "},
        {SIM_NO_WEIGHTS, 2, "over their weights"},
        {SIM_NO_QUEUE_SHARE, 3, "normal 0.000 and batch 0.000"},
        {SIM_NO_SCHED_SHARE, 5, "read 1.000"},
        {SIM_NO_BANDS, 6, "first token after"},
        {SIM_NO_PREEMPTION, 6, "first token after"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct kind *kind = &kinds[rows[i].kind];
        const char *wrong = NULL;

        for (uint64_t seed = 1; seed <= 100 && !wrong; seed++) {
            struct sim_setup setup = kind->trace(seed);

            setup.fault = rows[i].fault;
            wrong = kind->judge(setup);
            if (wrong && !strstr(wrong, rows[i].expected))
                wrong = NULL; /* it is noticed, but by somebody else */
        }
        if (!wrong)
            fail_msg("fault %d is not noticed by %s traces", (int)rows[i].fault, kind->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim_random_traces_break_no_invariant),
        cmocka_unit_test(test_sim_equal_weights_are_served_alike),
        cmocka_unit_test(test_sim_weights_divide_what_is_served),
        cmocka_unit_test(test_sim_bands_have_their_shares),
        cmocka_unit_test(test_sim_steps_are_shared_by_user_not_by_prompt),
        cmocka_unit_test(test_sim_steps_have_their_bands_shares),
        cmocka_unit_test(test_sim_interactive_is_quick_under_full_batch_load),
        cmocka_unit_test(test_sim_a_seed_gives_the_same_trace_twice),
        cmocka_unit_test(test_sim_notices_every_planted_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
