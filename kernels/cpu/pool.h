/* pool.h - the threads of one backend: runs a phase's items on all of them, caller included.
 *
 * Items are claimed one by one, so a thread that is slow, or still asleep, holds up nothing but the item it
 * has.  After a phase the workers wait for the next one, first on the spot for some microseconds, then in the
 * kernel: idle, they never wake.  No more of them take part than have a core to themselves (team.h). */
#pragma once

#include "proto/base.h"

enum {
    POOL_THREADS_MAX = 64,
    POOL_SPIN_NS = 20000 /* how long a wait stays out of the kernel: phases of a decode step follow each other
                            within 1-5 us, steps do not */
};

struct pool;
typedef void (*pool_fn)(void *ctx, int item,
                        int thread); /* thread: 0 .. n_threads - 1, 0 is the caller of pool_run() */

/* n_cpus: cores that may be used; 0: what team_n_cpus() says, now and later. */
int pool_new(int n_threads, int n_cpus, struct pool **ret_pool);
struct pool *pool_free(struct pool *pool);
CLEANUP_FUNC(struct pool, pool_free)

/* Calls fn(ctx, item, thread) once for each item 0 .. n_items - 1 and returns when all are done.  One caller
 * at a time. */
void pool_run(struct pool *pool, pool_fn fn, void *ctx, int n_items);
void pool_begin_step(struct pool *pool);  /* between steps: how many threads take part is looked at again */
int pool_n_team(const struct pool *pool); /* threads that take part now, 1 .. n_threads */
/* What pool_run() takes with nothing to do, workers awake; POOL_SPIN_NS: not seen yet. */
int pool_handover_ns(const struct pool *pool);
