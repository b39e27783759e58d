/* journal.h - systemd's journal in its native protocol: one datagram an event, with fields to search by.
 *
 *     journalctl -t qwend QWEND_UID=1000 QWEND_CODE=302
 *
 * Fields are numbers and ids; the message is the line that would have gone to stderr.  Neither ever holds a
 * piece of a prompt or an answer.  Source of the format: systemd's docs/JOURNAL_NATIVE_PROTOCOL.md. */
#pragma once

#include <sys/un.h>

#include "proto/base.h"

#define JOURNAL_PATH "/run/systemd/journal/socket"

/* Each kind has a MESSAGE_ID of its own (docs/OPERATIONS.md §6), which never changes. */
enum journal_kind {
    JOURNAL_SERVING, /* an engine is ready: the first, or the next after one died */
    JOURNAL_STOPPING,
    JOURNAL_STOPPED,
    JOURNAL_DENIED, /* by a rule of the protocol or a policy */
    JOURNAL_QUOTA,  /* somebody holds as much as he may */
    JOURNAL_CRASHED,
    JOURNAL_FAILED, /* no engine will be started any more */
    JOURNAL_ENDED,  /* a request was given up by the service */
    JOURNAL_KINDS,
};

struct journal_number {
    const char *name; /* "QWEND_REQUESTS"; NULL: none */
    uint64_t value;
};

enum { JOURNAL_ID_BYTES = 16, JOURNAL_NUMBERS = 3 };

struct journal_event {
    enum journal_kind kind;
    bool has_uid;
    uint32_t uid;
    const uint8_t *request; /* [JOURNAL_ID_BYTES] or NULL */
    int code;               /* of status.h; 0: none */
    struct journal_number numbers[JOURNAL_NUMBERS];
};

struct journal {
    int fd; /* owned; -1: there is none */
    struct sockaddr_un address;
};
#define JOURNAL_NULL ((struct journal){.fd = -1})

int journal_open(struct journal *ret_journal,
                 const char *path); /* only of the socket to send from; -EINVAL: too long a path */
void journal_close(struct journal *journal);

/* message: one line without control characters.  < 0: the journal did not take it, as if it were not there.
 */
int journal_send(const struct journal *journal, const char *program, int priority, const char *message,
                 const struct journal_event *event);
