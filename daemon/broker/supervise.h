/* supervise.h - the engine process: started, watched, replaced.
 *
 * It is started by fork and exec with its socket as fd 3.  Its death is learnt from SIGCHLD alone; whoever
 * wants it replaced kills it.  A start is tried again after a growing pause; an engine that says Failed at
 * its first start, or that dies ten times a minute without finishing a step, is not: the service then refuses
 * requests and says why. */
#pragma once

#include <sys/types.h>

#include "engine.pb-c.h"
#include "proto/base.h"

struct broker;
struct event;

enum supervise_state {
    SUPERVISE_STARTING,
    SUPERVISE_LOADING,
    SUPERVISE_READY,
    SUPERVISE_DOWN,
    SUPERVISE_FAILED
};

struct supervise {
    struct broker *broker; /* borrowed */
    enum supervise_state state;
    char *path; /* owned: engine binary */
    pid_t pid;  /* 0: none */
    struct event *restart, *watchdog;
    uint64_t pause_ms; /* before the next start */
    uint32_t permille; /* of the load */
    Qwe__Ready *ready; /* owned: what the last engine said of itself; NULL before the first */
    unsigned n_restarts, n_deaths_idle; /* the second: in a row, without a step between */
    uint64_t first_death_ns;            /* of those in a row */
    char note[500];                     /* why it is down or failed */
};

int supervise_init(struct broker *broker, struct supervise *s, const char *engine, struct fault *fault);
void supervise_deinit(struct supervise *s);
int supervise_start(struct supervise *s);
void supervise_kill(struct supervise *s);         /* SIGKILL; goes on in supervise_on_child() */
void supervise_on_child(struct supervise *s);     /* SIGCHLD */
void supervise_arm_watchdog(struct supervise *s); /* work was given to the engine */

/* from the link */
void supervise_on_loading(struct supervise *s, const Qwe__Loading *loading);
void supervise_on_ready(struct supervise *s, const uint8_t *body, size_t n);
void supervise_on_failed(struct supervise *s, const Qwe__Failed *failed);
void supervise_on_step(struct supervise *s);
