/* clock.c - monotonic time.  See clock.h. */
#include "clock.h"

#include <time.h>

uint64_t clock_now_ns(void)
{
    struct timespec now;

    /* Cannot fail: CLOCK_MONOTONIC exists on every Linux and the pointer is ours. */
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
