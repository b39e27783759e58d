/* trial.h - an engine beside the one that serves, which only looks whether a file could be loaded.
 *
 * What it says comes to use_on_fit() or use_on_unfit(), once; then it is gone. */
#pragma once

#include <sys/types.h>

#include "daemon/util/sock.h"
#include "engine.pb-c.h"

struct broker;
struct event;

struct trial {             /* all zero but for the fd: none is under way */
    struct broker *broker; /* borrowed */
    struct sock sock;
    pid_t pid; /* 0: none */
    struct event *readable, *patience;
};

void trial_init(struct trial *trial, struct broker *broker);
int trial_start(struct trial *trial, const char *model);
void trial_stop(struct trial *trial);     /* nothing will be said; safe to call twice */
void trial_on_child(struct trial *trial); /* SIGCHLD; before others' children are waited for */
