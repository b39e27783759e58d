/* loop.c - libevent behind five verbs.  See loop.h. */
#include "loop.h"

static void loop_config_freep(struct event_config **cfg)
{
    if (*cfg)
        event_config_free(*cfg);
}

int loop_new(struct event_base **ret_base)
{
    _cleanup_(loop_config_freep) struct event_config *cfg = event_config_new();
    struct event_base *base;

    if (!cfg)
        return err_origin(-ENOMEM);
    /* One thread; and no environment variable chooses how the daemon waits. */
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
    base = event_base_new_with_config(cfg);
    if (!base)
        return err_origin(-ENOMEM);
    *ret_base = base;
    return 0;
}

int loop_event_new(struct event_base *base, int fd, short what, event_callback_fn on_event, void *arg,
                   struct event **ret_event)
{
    struct event *event = event_new(base, fd, what, on_event, arg);

    if (!event)
        return err_origin(-ENOMEM);
    *ret_event = event;
    return 0;
}

void loop_event_free(struct event **event)
{
    if (*event)
        event_free(*event);
    *event = NULL;
}

int loop_watch(struct event *event)
{
    return event_add(event, NULL) < 0 ? err_origin(-ENOMEM) : 0;
}

int loop_arm_ms(struct event *event, uint64_t ms)
{
    const struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

    return event_add(event, &tv) < 0 ? err_origin(-ENOMEM) : 0;
}

void loop_unwatch(struct event *event)
{
    event_del(event);
}

bool loop_is_armed(const struct event *event)
{
    return event_pending(event, EV_TIMEOUT | EV_READ | EV_WRITE | EV_SIGNAL, NULL);
}

void loop_defer(struct event *event)
{
    event_active(event, EV_TIMEOUT, 0);
}
