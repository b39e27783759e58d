/* side.c - see side.h. */
#include "side.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SIDE_NICE = 5 };

int side_start(pthread_t *ret_thread, void *(*work)(void *arg), void *arg)
{
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(ret_thread, NULL, work, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r ? err_origin(-r) : 0;
}

void side_begin(void)
{
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), SIDE_NICE); /* of this thread; without it it works too */
}
