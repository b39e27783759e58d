/* sd.h - the two things a service says and hears under systemd: its sockets (sd_listen_fds(3)) and its state
 * (sd_notify(3)).  Own code, some sixty lines, so that the daemon is the same binary with and without
 * systemd. */
#pragma once

#include "proto/base.h"

/* Reads and removes systemd's variables from the environment, so that no child inherits them.  Call once, at
 * start. */
void sd_init(void);

/* The first passed listening socket, close-on-exec set; -1 if there is none.  ret_n: how many were passed. */
int sd_take_socket(int *ret_n);

/* "READY=1", "STATUS=…", newline-separated.  Nothing happens without systemd; a failure is not worth a word.
 */
void sd_notify_put(const char *fmt, ...) _printf_(1, 2);

uint64_t sd_watchdog_us(void); /* how often the manager wants a sign of life; 0: it does not */
