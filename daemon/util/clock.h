/* clock.h - monotonic time.  Pure code (policy, sched) takes a time as an argument and never asks for it. */
#pragma once

#include <stdint.h>

uint64_t clock_now_ns(void);
static inline double clock_ms(uint64_t ns)
{
    return (double)ns / 1e6;
}
