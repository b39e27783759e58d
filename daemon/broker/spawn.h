/* spawn.h - the engine as a process: finding its binary, starting it, ending it. */
#pragma once

#include <sys/types.h>

#include "proto/base.h"

enum { SPAWN_OK, SPAWN_E_NONE };

/* given: what the configuration names, or NULL.  Otherwise the installed one, or one beside our own binary;
 * gpu: qwend-engine-cuda before qwend-engine. */
int spawn_find_engine(const char *given, bool gpu, char **ret_path, struct fault *fault);

/* fork and exec with a socketpair as the child's fd 3.  The child dies with us, and before us when memory
 * runs out. */
int spawn_engine(const char *path, bool verbose, pid_t *ret_pid, int *ret_fd);

/* Waits up to wait_ms for a child whose socket was closed, then kills it. */
void spawn_end(pid_t pid, int wait_ms);

/* Did it die of what it did itself?  SIGKILL, SIGTERM and the like come from outside. */
bool spawn_is_crash(int status);
void spawn_describe_exit(int status, char *text, size_t n); /* "killed by signal 9 (Killed)" */
