/* pool.c - phases of items over a team of threads.  See pool.h.
 *
 * Each thread has a range of the items, in order, so that it reads on in memory where it was, and has in its
 * caches what it had in the phase before; who is done takes from the others' ranges.  One 64-bit word says
 * everything about a range: epoch, end, next item.  A claim is one fetch_add on it, and the value that comes
 * back belongs to exactly one phase; fn and ctx are read only after a valid claim, which keeps its phase
 * alive until the claimed item is done.  So a worker that comes late needs no barrier to be safe. */
#include "pool.h"

#include <assert.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

#include "team.h"

enum { POOL_ITEM_BITS = 24, POOL_ITEMS_MAX = (1 << POOL_ITEM_BITS) - POOL_THREADS_MAX - 1 };

/* How long hand-overs are tried until enough were seen: where others keep the cores busy there are none for a
 * while, and so long a step now and then tries again. */
enum { POOL_HANDOVERS = 100, POOL_MEASURE_START_NS = 10000000, POOL_MEASURE_AGAIN_NS = 1000000 };

struct pool_worker {
    struct pool *pool; /* borrowed */
    pthread_t thread;
    int id;
    _Atomic pid_t tid; /* 0: not running yet */
    int not_on;        /* the core it was told to keep off; -1: none */
};

struct pool_range {
    _Alignas(64) _Atomic uint64_t claim; /* epoch << 48 | end << 24 | next item */
};

struct pool {
    int n_threads, n_spins, handover_ns;
    int n_handovers; /* that all met in */
    struct team team;
    bool looks;        /* asks team_n_cpus() now and then */
    int64_t looked_ns; /* when it looked around last */
    cpu_set_t cpus;    /* that it may use; looked at at the same times */
    /* What a hand-over moves from core to core is this cache line and a thread's range. */
    _Alignas(64) _Atomic uint32_t epoch; /* futex: workers sleep here */
    _Atomic uint32_t n_left;             /* futex: the caller sleeps here; items not done yet */
    pool_fn fn;
    void *ctx;
    _Atomic uint32_t n_team; /* futex: workers sleep here that do not take part; the team's n */
    _Atomic uint32_t n_asleep;
    _Atomic bool caller_asleep, stop;
    _Atomic int n_met;
    _Atomic bool missed; /* one waited for the others in vain */
    struct pool_range ranges[POOL_THREADS_MAX];
    int n_workers;
    struct pool_worker workers[POOL_THREADS_MAX];
};

static void pool_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" : : : "memory"); /* as long as x86's; yield takes no time on most cores */
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void pool_futex_wait(_Atomic uint32_t *word, uint32_t while_value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_value, NULL, NULL, 0);
}

static void pool_futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static int64_t pool_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int pool_claim_in(struct pool_range *range)
{
    const uint64_t mask = (UINT64_C(1) << POOL_ITEM_BITS) - 1;
    uint64_t at = atomic_load_explicit(&range->claim, memory_order_relaxed);

    if ((at & mask) >= (at >> POOL_ITEM_BITS & mask))
        return -1;
    at = atomic_fetch_add_explicit(&range->claim, 1, memory_order_acquire);
    return (at & mask) < (at >> POOL_ITEM_BITS & mask) ? (int)(at & mask) : -1;
}

/* An item of the running phase, of *range first, which is left at where it was; -1 if there is none anywhere.
 */
static int pool_claim(struct pool *pool, int *range)
{
    const int n = (int)atomic_load_explicit(&pool->n_team, memory_order_relaxed);

    for (int i = 0; i < n; i++) {
        const int item = pool_claim_in(&pool->ranges[*range]);
        if (item >= 0)
            return item;
        *range = *range + 1 < n ? *range + 1 : 0;
    }
    return -1;
}

/* Does items of the running phase until none is left to claim.  They are counted off at the end, and until
 * then the phase is not over, so all that were claimed here are of one phase. */
static void pool_work(struct pool *pool, int thread)
{
    uint32_t n_done = 0;
    int range = thread;

    for (int item; (item = pool_claim(pool, &range)) >= 0; n_done++)
        pool->fn(pool->ctx, item, thread);
    if (n_done && atomic_fetch_sub_explicit(&pool->n_left, n_done, memory_order_seq_cst) == n_done &&
        atomic_load_explicit(&pool->caller_asleep, memory_order_seq_cst))
        pool_futex_wake(&pool->n_left, 1);
}

static bool pool_takes_part(struct pool *pool, int id)
{
    return id < (int)atomic_load(&pool->n_team) || atomic_load(&pool->stop);
}

static void pool_await_epoch(struct pool *pool, int id, uint32_t seen)
{
    for (int i = 0; i < pool->n_spins; i++) {
        if (atomic_load_explicit(&pool->epoch, memory_order_acquire) != seen)
            return;
        pool_pause();
    }
    atomic_fetch_add(&pool->n_asleep, 1);
    while (atomic_load(&pool->epoch) == seen && pool_takes_part(pool, id))
        pool_futex_wait(&pool->epoch, seen);
    atomic_fetch_sub(&pool->n_asleep, 1);
}

static void pool_await_place(struct pool *pool, int id)
{
    for (;;) {
        const uint32_t n_team = atomic_load(&pool->n_team);
        if (pool_takes_part(pool, id))
            return;
        pool_futex_wait(&pool->n_team, n_team);
    }
}

static void *pool_worker_main(void *arg)
{
    struct pool_worker *worker = arg;
    struct pool *pool = worker->pool;
    uint32_t seen = 0;

    atomic_store(&worker->tid, (pid_t)syscall(SYS_gettid));
    for (;;) {
        pool_await_place(pool, worker->id);
        pool_await_epoch(pool, worker->id, seen);
        seen = atomic_load(&pool->epoch); /* before stop, which is set before the last epoch: that one is
                                             not waited out */
        if (atomic_load(&pool->stop))
            return NULL;
        pool_work(pool, worker->id);
    }
}

static void pool_split(struct pool *pool, int n_items)
{
    const uint64_t epoch = (uint64_t)(atomic_load(&pool->epoch) + 1) << 48, n = (uint64_t)pool->team.n;

    for (uint64_t i = 0; i < n; i++) {
        const uint64_t from = (uint64_t)n_items * i / n, to = (uint64_t)n_items * (i + 1) / n;
        atomic_store_explicit(&pool->ranges[i].claim, epoch | to << POOL_ITEM_BITS | from,
                              memory_order_release);
    }
}

/* A kernel in a virtual machine takes an idle core for one that its host has taken away, and wakes a worker
 * on the core of who calls it, where it waits until that one sleeps: a step of two threads is done by one. So
 * workers keep off the caller's core; of the others the kernel chooses. */
static void pool_keep_off(struct pool *pool)
{
    const int cpu = sched_getcpu();
    cpu_set_t cpus = pool->cpus;

    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return;
    CPU_CLR(cpu, &cpus);
    if (!CPU_COUNT(&cpus))
        return;
    for (int i = 0; i < MIN(pool->team.n - 1, pool->n_workers); i++) {
        struct pool_worker *worker = &pool->workers[i];
        const pid_t tid = atomic_load(&worker->tid);
        if (tid && worker->not_on != cpu) {
            worker->not_on = cpu;
            (void)sched_setaffinity(tid, sizeof(cpus), &cpus); /* where that is forbidden it works too */
        }
    }
}

static void pool_next_epoch(struct pool *pool, int n_wanted)
{
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->n_asleep))
        pool_futex_wake(&pool->epoch, n_wanted);
}

static void pool_await_items(struct pool *pool)
{
    uint32_t left;
    int64_t since, now;

    for (int i = 0; i < pool->n_spins; i++) {
        if (!atomic_load_explicit(&pool->n_left, memory_order_acquire))
            return;
        pool_pause();
    }
    since = pool_now_ns();
    atomic_store(&pool->caller_asleep, true);
    while ((left = atomic_load(&pool->n_left)))
        pool_futex_wait(&pool->n_left, left);
    atomic_store(&pool->caller_asleep, false);
    now = pool_now_ns();
    if (now - since > TEAM_HELD_UP_NS)
        team_on_held_up(&pool->team, now - since, now);
}

void pool_run(struct pool *pool, pool_fn fn, void *ctx, int n_items)
{
    assert(n_items >= 0 && n_items <= POOL_ITEMS_MAX);
    if (n_items < 2 || pool->team.n == 1) {
        for (int i = 0; i < n_items; i++)
            fn(ctx, i, 0);
        return;
    }
    pool->fn = fn;
    pool->ctx = ctx;
    atomic_store(&pool->n_left, (uint32_t)n_items);
    pool_split(pool, n_items);
    if (atomic_load(&pool->n_asleep))
        pool_keep_off(pool);
    pool_next_epoch(pool, MIN(n_items, pool->team.n) - 1);
    pool_work(pool, 0);
    pool_await_items(pool);
}

int pool_handover_ns(const struct pool *pool)
{
    return pool->handover_ns;
}

/* Workers that no longer take part leave for their place, those that do now come from it. */
static void pool_set_team(struct pool *pool)
{
    if (pool->team.n == (int)atomic_load(&pool->n_team))
        return;
    atomic_store(&pool->n_team, (uint32_t)pool->team.n);
    pool_futex_wake(&pool->epoch, POOL_THREADS_MAX);
    pool_futex_wake(&pool->n_team, POOL_THREADS_MAX);
}

/* The caller's, which is told nothing here. */
static void pool_look_at_cpus(struct pool *pool)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
        CPU_ZERO(&cpus); /* there are more than a set holds */
    if (CPU_EQUAL(&cpus, &pool->cpus))
        return;
    pool->cpus = cpus;
    for (int i = 0; i < pool->n_workers; i++)
        pool->workers[i].not_on = -1;
}

/* Each thread comes here once, and none leaves before the last has come, or is too late to count. */
static void pool_meet(void *ctx, int item _unused_, int thread _unused_)
{
    struct pool *pool = ctx;
    int n_left = pool->n_spins;

    atomic_fetch_add(&pool->n_met, 1);
    while (atomic_load(&pool->n_met) < pool->team.n && n_left-- > 0)
        pool_pause();
    if (n_left < 0)
        atomic_store(&pool->missed, true);
}

/* The quickest of some phases in which all meet: the others say how busy the machine is, not what a hand-over
 * costs.  A worker that waits for the caller's core, as one just begun may, is let in to go to sleep there,
 * and is woken on another. */
static void pool_measure(struct pool *pool, int64_t for_ns)
{
    const struct team team = pool->team;
    const int64_t begin = pool_now_ns();

    for (int64_t t0 = begin, t1; pool->n_handovers < POOL_HANDOVERS && t0 - begin < for_ns; t0 = t1) {
        atomic_store(&pool->n_met, 0);
        atomic_store(&pool->missed, false);
        pool_run(pool, pool_meet, pool, pool->team.n);
        t1 = pool_now_ns();
        if (atomic_load(&pool->missed) || t1 - t0 >= POOL_SPIN_NS) {
            sched_yield();
            continue;
        }
        pool->handover_ns = (int)MIN(pool->handover_ns, t1 - t0);
        pool->n_handovers++;
    }
    pool->team = team; /* what held up phases of no length is forgotten */
}

static void pool_look(struct pool *pool)
{
    pool_look_at_cpus(pool);
    if (pool->team.n > 1)
        pool_measure(pool, POOL_MEASURE_AGAIN_NS);
}

void pool_begin_step(struct pool *pool)
{
    enum { LOOK_NS = 1000000000 };
    const int64_t now = pool->n_threads > 1 ? pool_now_ns() : 0;
    const bool looks = now - pool->looked_ns >= LOOK_NS;

    if (pool->n_threads == 1)
        return;
    team_on_step(&pool->team, looks && pool->looks ? team_n_cpus() : pool->team.n_cpus, now);
    pool_set_team(pool);
    if (looks) {
        pool->looked_ns = now;
        pool_look(pool);
    }
}

int pool_n_team(const struct pool *pool)
{
    return pool->team.n;
}

/* A pause takes 10 to 140 cycles, depending on the machine. */
static int pool_spins(void)
{
    enum { TRIES = 3, PAUSES = 256 };
    int64_t best = INT64_MAX;

    for (int i = 0; i < TRIES; i++) {
        const int64_t t0 = pool_now_ns();
        for (int j = 0; j < PAUSES; j++)
            pool_pause();
        best = MIN(best, pool_now_ns() - t0);
    }
    return (int)(POOL_SPIN_NS * PAUSES / MAX(best, PAUSES));
}

/* Workers take no signals: those belong to the thread that started the backend.  But for their own faults: a
 * fault that is blocked ends the process past any handler, so that not even a sanitizer could say where. */
static int pool_start(struct pool *pool)
{
    static const int faults[] = {SIGILL, SIGFPE, SIGSEGV, SIGBUS};
    sigset_t all, before;
    int r = 0;

    sigfillset(&all);
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->n_workers < pool->n_threads - 1 && r == 0) {
        struct pool_worker *worker = &pool->workers[pool->n_workers];
        *worker = (struct pool_worker){.pool = pool, .id = pool->n_workers + 1, .not_on = -1};
        r = pthread_create(&worker->thread, NULL, pool_worker_main, worker);
        if (r == 0) {
            pthread_setname_np(worker->thread, "qwend-kernels");
            pool->n_workers++;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r ? err_origin(-r) : 0;
}

int pool_new(int n_threads, int n_cpus, struct pool **ret_pool)
{
    _cleanup_(pool_freep) struct pool *pool = NULL;
    int r;

    assert(n_threads >= 1 && n_threads <= POOL_THREADS_MAX);
    pool = aligned_alloc(64, ROUND_UP(sizeof(*pool), (size_t)64));
    if (!pool)
        return err_origin(-ENOMEM);
    *pool = (struct pool){
        .n_threads = n_threads,
        .n_spins = pool_spins(),
        .handover_ns = POOL_SPIN_NS,
        .team = team_init(n_threads, n_cpus ? n_cpus : team_n_cpus()),
        .looks = n_cpus == 0,
        .looked_ns = pool_now_ns(),
    };
    pool->n_team = (uint32_t)pool->team.n;
    pool_look_at_cpus(pool);
    r = pool_start(pool);
    if (r < 0)
        return r;
    if (pool->team.n > 1)
        pool_measure(pool, POOL_MEASURE_START_NS);
    *ret_pool = steal(&pool);
    return 0;
}

struct pool *pool_free(struct pool *pool)
{
    if (!pool)
        return NULL;
    atomic_store(&pool->stop, true);
    pool_next_epoch(pool, pool->n_workers);
    /* Another value, so that a worker that is about to sleep on it does not. */
    atomic_store(&pool->n_team, (uint32_t)pool->n_threads);
    pool_futex_wake(&pool->n_team, pool->n_workers);
    for (int i = 0; i < pool->n_workers; i++)
        pthread_join(pool->workers[i].thread, NULL);
    free(pool);
    return NULL;
}
