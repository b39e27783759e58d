/* sd.h - what a service says and hears under systemd: its sockets (sd_listen_fds(3)), its state
 * (sd_notify(3)), and the file descriptors that the manager keeps from one start to the next (its FD store).
 * Own code, so that the daemon is the same binary with and without systemd. */
#pragma once

#include "proto/base.h"

enum { SD_FDS_MAX = 64, SD_NAME_BYTES = 64 }; /* passed at a start; of an fd's name, with its NUL */
#define SD_OWN    "own-socket"                /* that we bound ourselves, before sd_exec() */
#define SD_STORED "kept-" /* what the names of stored fds begin with; a socket's does not */

/* Reads and removes systemd's variables from the environment, so that no child inherits them.  Call once, at
 * start. */
void sd_init(void);

/* The first passed listening socket, close-on-exec set; -1 if there is none.  ret_n: how many were passed. */
int sd_take_socket(int *ret_n);

int sd_take_own_socket(void); /* the one of sd_exec(), likewise; now the caller's */

/* "READY=1", "STATUS=…", newline-separated.  Nothing happens without systemd; a failure is not worth a word.
 */
void sd_notify_put(const char *fmt, ...) _printf_(1, 2);

uint64_t sd_watchdog_us(void); /* how often the manager wants a sign of life; 0: it does not */

/* the FD store */
bool sd_has_store(void); /* a manager listens; whether it keeps what it is given is its own business */
/* A stored fd whose name begins so, close-on-exec, now the caller's; -1: there is no more. */
int sd_take_stored(const char *prefix, char ret_name[SD_NAME_BYTES]);
/* Copies of fds under one name, which begins with SD_STORED; they stay the caller's. */
int sd_store_put(const char *name, const int *fds, size_t n);
void sd_store_remove(const char *name); /* all of that name */

/* Becomes another program, or the next version of this one, with the same process id: it finds these fds, and
 * what the manager had told us, as at a start.  Returns only if that cannot be; everything is then as it was.
 * At most SD_FDS_MAX. */
struct sd_pass {
    const char *name;
    int fd;
};
int sd_exec(const char *path, char *const *argv, const struct sd_pass *pass, size_t n);
