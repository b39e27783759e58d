/* ahead.c - pages for memory before it is used.  See ahead.h. */
#include "ahead.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { AHEAD_NICE = 5 };

/* The next piece that is wanted and not there: false if none is. */
static bool ahead_next(const struct ahead *ahead, const int *n_done, enum state_part *ret_part)
{
    for (int i = 0; i < STATE_PART_N; i++)
        if (n_done[i] < ahead->n_wanted[i]) {
            *ret_part = (enum state_part)i;
            return true;
        }
    return false;
}

static void *ahead_main(void *arg)
{
    struct ahead *ahead = arg;
    int n_done[STATE_PART_N] = {0};
    enum state_part part;

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), AHEAD_NICE); /* of this thread; without it it works too */
    pthread_mutex_lock(&ahead->lock);
    while (!ahead->stops) {
        if (!ahead_next(ahead, n_done, &part)) {
            pthread_cond_wait(&ahead->more, &ahead->lock);
            continue;
        }
        pthread_mutex_unlock(&ahead->lock);
        state_populate(ahead->state, part, n_done[part]++);
        pthread_mutex_lock(&ahead->lock);
    }
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

static int ahead_start(struct ahead *ahead)
{
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    r = pthread_create(&ahead->thread, NULL, ahead_main, ahead);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    ahead->runs = !r;
    return r ? err_origin(-r) : 0;
}

int ahead_init(struct ahead *ahead, struct state *state)
{
    *ahead = (struct ahead){.state = state,
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .more = PTHREAD_COND_INITIALIZER,
                            .n_more = {
                                [STATE_SCRATCH] = 1,
                                [STATE_SLOTS] = 1,
                                [STATE_CKPTS] = 2, /* a prompt's end, and the end of its system block */
                                [STATE_PAGES] = (int)CEIL_DIV(AHEAD_PAGE_BYTES, state_page_part_bytes(state)),
                            }};
    if (!state_can_populate(state))
        return 0;
    for (int i = 0; i < STATE_PART_N; i++)
        ahead->n_wanted[i] = MIN(ahead->n_more[i], state_n_parts(state, (enum state_part)i));
    return ahead_start(ahead);
}

void ahead_deinit(struct ahead *ahead)
{
    if (!ahead->runs)
        return;
    pthread_mutex_lock(&ahead->lock);
    ahead->stops = true;
    pthread_cond_signal(&ahead->more);
    pthread_mutex_unlock(&ahead->lock);
    pthread_join(ahead->thread, NULL);
    ahead->runs = false;
}

void ahead_on_use(struct ahead *ahead, enum state_part part, int n)
{
    if (!ahead->runs || n <= ahead->n_told[part])
        return;
    ahead->n_told[part] = n;
    pthread_mutex_lock(&ahead->lock);
    ahead->n_wanted[part] = MIN(n + ahead->n_more[part], state_n_parts(ahead->state, part));
    pthread_cond_signal(&ahead->more);
    pthread_mutex_unlock(&ahead->lock);
}
