/* side.h - threads that do something beside the steps: they take no signals, which are the main thread's, and
 * have a lower priority than the steps. */
#pragma once

#include "proto/base.h"

#include <pthread.h>

int side_start(pthread_t *ret_thread, void *(*work)(void *arg), void *arg); /* 0, < 0 */
void side_begin(void); /* first of all, by the thread itself */
