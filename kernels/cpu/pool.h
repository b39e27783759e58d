/* pool.h - the threads of one backend: runs a phase's items on all of them, caller included.
 *
 * Items are claimed one by one, so a thread that is slow, or still asleep, holds up nothing but the item it
 * has.  After a phase the workers wait for the next one, first on the spot for some microseconds (only where
 * each thread can have a core of its own), then in the kernel: idle, they never wake. */
#pragma once

#include "proto/base.h"

enum { POOL_THREADS_MAX = 64 };

struct pool;
typedef void (*pool_fn)(void *ctx, int item,
                        int thread); /* thread: 0 .. n_threads - 1, 0 is the caller of pool_run() */

int pool_new(int n_threads, struct pool **ret_pool);
struct pool *pool_free(struct pool *pool);
CLEANUP_FUNC(struct pool, pool_free)

/* Calls fn(ctx, item, thread) once for each item 0 .. n_items - 1 and returns when all are done.  One caller
 * at a time. */
void pool_run(struct pool *pool, pool_fn fn, void *ctx, int n_items);
int pool_handover_ns(const struct pool *pool); /* what pool_run() takes with nothing to do, workers awake */
int pool_n_cpus(void);                         /* cores that this process may run on */
