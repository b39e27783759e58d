/* loop.h - the few things the daemon asks of libevent, with units in their names.
 *
 * libevent's bufferevent is not used: it cannot receive a passed fd and may overrun its watermark
 * (libevent 2.1.12). A loop without armed timers sleeps in epoll_wait(-1): an idle daemon makes no wake-ups.
 */
#pragma once

#include <event2/event.h>

#include "proto/base.h"

int loop_new(struct event_base **ret_base);

/* A new event on base; fd -1 for a timer or a deferred call.  -ENOMEM. */
int loop_event_new(struct event_base *base, int fd, short what, event_callback_fn on_event, void *arg,
                   struct event **ret_event);
void loop_event_free(struct event **event); /* takes NULL inside; leaves NULL */

int loop_watch(struct event *event);               /* until loop_unwatch() */
int loop_arm_ms(struct event *event, uint64_t ms); /* once, ms from now; replaces an earlier arming */
void loop_unwatch(struct event *event);            /* also disarms */
bool loop_is_armed(const struct event *event);
void loop_defer(struct event *event); /* calls back once, after what is running now returned */
