/* tick.h - the time that intervals are measured by. */
#pragma once

#include <stdint.h>
#include <time.h>

static inline uint64_t tick_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
