/* memory.h - how much memory this process may still take, for choosing a context where nobody named one. */
#pragma once

#include "proto/base.h"

/* held_bytes: what it holds already and cannot give back (the weights).  UINT64_MAX: not known. */
uint64_t memory_available_bytes(uint64_t held_bytes);

/* The most that a process could have once whoever holds these had let go of them. */
uint64_t memory_limit_bytes(uint64_t held_bytes);

/* The pieces, for the test: the value of "MemAvailable:  123 kB" in /proc/meminfo's text; the group's folder
 * of /proc/self/cgroup's text ("0::/a/b").  False: not there. */
bool memory_parse_meminfo(const char *text, uint64_t *ret_bytes);
bool memory_parse_cgroup(const char *text, char *path, size_t n_path);
