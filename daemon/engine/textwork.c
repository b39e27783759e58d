/* textwork.c - a thread for text work.  See textwork.h. */
#include "textwork.h"

#include "side.h"

static void *textwork_main(void *arg)
{
    struct textwork *tw = arg;

    side_begin();
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
    int r;

    *tw = (struct textwork){.lock = PTHREAD_MUTEX_INITIALIZER,
                            .given = PTHREAD_COND_INITIALIZER,
                            .done = PTHREAD_COND_INITIALIZER};
    r = side_start(&tw->thread, textwork_main, tw);
    tw->runs = !r;
    return r;
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
