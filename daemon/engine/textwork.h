/* textwork.h - one piece of text work at a time, in a thread of its own, while the steps go on.
 *
 * A prompt of a megabyte is a twentieth of a second of rendering and tokenising, several steps of a fast
 * machine; done between two steps it is a gap in everybody's answer.  The thread touches nothing but the job
 * that it was given and what never changes (tokenizer, template), and has a lower priority than the steps. */
#pragma once

#include "proto/base.h"

#include <pthread.h>

struct textwork {
    pthread_t thread;
    bool runs; /* the thread */
    pthread_mutex_t lock;
    pthread_cond_t given, done; /* state has changed */
    enum textwork_state { TEXTWORK_IDLE, TEXTWORK_GIVEN, TEXTWORK_DONE, TEXTWORK_STOP } state;
    void (*work)(void *job);
    void *job; /* the giver's; the thread's while GIVEN */
};

int textwork_init(struct textwork *tw);    /* 0, < 0 */
void textwork_deinit(struct textwork *tw); /* the job under way is finished first and stays the giver's */

void textwork_give(struct textwork *tw, void (*work)(void *job), void *job); /* when idle only */
/* The job, once it is done, and idle again; NULL: none, or not yet.  wait: until it is. */
void *textwork_take(struct textwork *tw, bool wait);
