/* ahead.c - memory before it is used.  See ahead.h. */
#include "ahead.h"

#include "daemon/util/clock.h"
#include "side.h"

#include <string.h>
#include <time.h>

enum { AHEAD_BEGIN_NS = 1000000000 }; /* the start's own steps are measured */

/* The next part of which more is wanted than is there: false if there is none. */
static bool ahead_next(const struct ahead *ahead, const int *n_done, enum state_part *ret_part)
{
    for (int i = 0; i < STATE_PART_N; i++)
        if (n_done[i] < ahead->n_wanted[i]) {
            *ret_part = (enum state_part)i;
            return true;
        }
    return false;
}

/* With the lock. */
static void ahead_wait(struct ahead *ahead, uint64_t ns)
{
    const uint64_t until = clock_now_ns() + ns;
    const struct timespec t = {.tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000)};

    if (ns)
        pthread_cond_clockwait(&ahead->more, &ahead->lock, CLOCK_MONOTONIC, &t);
    else
        pthread_cond_wait(&ahead->more, &ahead->lock);
}

/* A piece of the weights, without the lock; the time that it took. */
static uint64_t ahead_make_huge(struct ahead *ahead, int *n_huge, int *n_refused)
{
    const uint64_t t0 = clock_now_ns();
    const int r = model_make_huge(ahead->model, (*n_huge)++);

    if (r == -EAGAIN)
        ++*n_refused;
    if ((r && r != -EAGAIN) || *n_refused == AHEAD_REFUSALS || *n_huge == model_n_huge(ahead->model))
        atomic_store(&ahead->all_huge, true);
    return clock_now_ns() - t0;
}

static void *ahead_main(void *arg)
{
    struct ahead *ahead = arg;
    int n_done[STATE_PART_N] = {0}, n_huge = 0, n_refused = 0;
    uint64_t next_ns = clock_now_ns() + AHEAD_BEGIN_NS; /* while steps are made, no weights before */
    enum state_part part;

    side_begin();
    pthread_mutex_lock(&ahead->lock);
    while (!ahead->stops) {
        const uint64_t now = clock_now_ns();
        if (ahead_next(ahead, n_done, &part)) {
            pthread_mutex_unlock(&ahead->lock);
            state_populate(ahead->state, part, n_done[part]++);
            pthread_mutex_lock(&ahead->lock);
        } else if (atomic_load(&ahead->all_huge)) {
            ahead_wait(ahead, 0);
        } else if (atomic_load(&ahead->busy) && now < next_ns) {
            ahead_wait(ahead, next_ns - now);
        } else {
            pthread_mutex_unlock(&ahead->lock);
            next_ns = now + AHEAD_BUSY_SHARE * ahead_make_huge(ahead, &n_huge, &n_refused);
            pthread_mutex_lock(&ahead->lock);
        }
    }
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

/* Asks for as much as there should be before what is in use; false: it has been asked for. */
static bool ahead_ask(struct ahead *ahead)
{
    bool more = false;

    for (int i = 0; i < STATE_PART_N && state_can_populate(ahead->state); i++) {
        const int all = state_n_parts(ahead->state, (enum state_part)i);
        const int n = MIN(ahead->n_used[i] + ahead->n_more[i], all);
        more = more || n > ahead->n_asked[i];
        ahead->n_asked[i] = MAX(n, ahead->n_asked[i]);
    }
    return more;
}

static void ahead_tell(struct ahead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    memcpy(ahead->n_wanted, ahead->n_asked, sizeof(ahead->n_wanted));
    pthread_cond_signal(&ahead->more);
    pthread_mutex_unlock(&ahead->lock);
}

int ahead_init(struct ahead *ahead, struct model *model, struct state *state)
{
    int r;

    *ahead = (struct ahead){.model = model,
                            .state = state,
                            .busy = true,
                            .all_huge = model_n_huge(model) == 0,
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .more = PTHREAD_COND_INITIALIZER,
                            .n_more = {
                                [STATE_SCRATCH] = 1,
                                [STATE_SLOTS] = 1,
                                [STATE_CKPTS] = 2, /* a prompt's end, and the end of its system block */
                                [STATE_PAGES] = (int)CEIL_DIV(AHEAD_PAGE_BYTES, state_page_part_bytes(state)),
                            }};
    if (!ahead_ask(ahead) && ahead->all_huge)
        return 0;
    memcpy(ahead->n_wanted, ahead->n_asked, sizeof(ahead->n_wanted));
    r = side_start(&ahead->thread, ahead_main, ahead);
    ahead->runs = !r;
    return r;
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

/* A thread that is woken in the middle of a step takes a core from it, so while steps are made little is
 * asked for more than once. */
void ahead_on_use(struct ahead *ahead, enum state_part part, int n)
{
    if (!ahead->runs || n <= ahead->n_used[part])
        return;
    ahead->n_used[part] = n;
    if (ahead->n_asked[part] - n <= ahead->n_more[part] / AHEAD_LOW && ahead_ask(ahead))
        ahead_tell(ahead);
}

void ahead_set_busy(struct ahead *ahead, bool busy)
{
    if (!ahead->runs || busy == atomic_load_explicit(&ahead->busy, memory_order_relaxed))
        return;
    atomic_store(&ahead->busy, busy);
    if (!busy && (ahead_ask(ahead) || !atomic_load(&ahead->all_huge)))
        ahead_tell(ahead);
}
