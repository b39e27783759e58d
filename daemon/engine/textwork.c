/* textwork.c - a thread for text work.  See textwork.h. */
#include "textwork.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TEXTWORK_NICE = 5 };

static void *textwork_main(void *arg)
{
    struct textwork *tw = arg;

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(),
                      TEXTWORK_NICE); /* of this thread; without it it works too */
    pthread_mutex_lock(&tw->lock);
    for (;;) {
        while (tw->state != TEXTWORK_GIVEN && tw->state != TEXTWORK_STOP)
            pthread_cond_wait(&tw->given, &tw->lock);
        if (tw->state == TEXTWORK_STOP)
            break;
        pthread_mutex_unlock(&tw->lock);
        tw->work(tw->job);
        pthread_mutex_lock(&tw->lock);
        tw->state = TEXTWORK_DONE;
        pthread_cond_signal(&tw->done);
    }
    pthread_mutex_unlock(&tw->lock);
    return NULL;
}

int textwork_init(struct textwork *tw)
{
    sigset_t all, before;
    int r;

    *tw = (struct textwork){.lock = PTHREAD_MUTEX_INITIALIZER,
                            .given = PTHREAD_COND_INITIALIZER,
                            .done = PTHREAD_COND_INITIALIZER};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    r = pthread_create(&tw->thread, NULL, textwork_main, tw);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    tw->runs = !r;
    return r ? err_origin(-r) : 0;
}

void textwork_deinit(struct textwork *tw)
{
    if (!tw->runs)
        return;
    pthread_mutex_lock(&tw->lock);
    while (tw->state == TEXTWORK_GIVEN)
        pthread_cond_wait(&tw->done, &tw->lock);
    tw->state = TEXTWORK_STOP;
    pthread_cond_signal(&tw->given);
    pthread_mutex_unlock(&tw->lock);
    pthread_join(tw->thread, NULL);
    tw->runs = false;
}

void textwork_give(struct textwork *tw, void (*work)(void *job), void *job)
{
    pthread_mutex_lock(&tw->lock);
    tw->work = work;
    tw->job = job;
    tw->state = TEXTWORK_GIVEN;
    pthread_cond_signal(&tw->given);
    pthread_mutex_unlock(&tw->lock);
}

void *textwork_take(struct textwork *tw, bool wait)
{
    void *job = NULL;

    pthread_mutex_lock(&tw->lock);
    while (wait && tw->state == TEXTWORK_GIVEN)
        pthread_cond_wait(&tw->done, &tw->lock);
    if (tw->state == TEXTWORK_DONE) {
        job = tw->job;
        tw->job = NULL;
        tw->state = TEXTWORK_IDLE;
    }
    pthread_mutex_unlock(&tw->lock);
    return job;
}
