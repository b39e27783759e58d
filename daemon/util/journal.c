/* journal.c - a datagram of KEY=value lines.  See journal.h. */
#include "journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { JOURNAL_BYTES = 2048 }; /* a line of 1024 and all fields at their longest are 1500 */

static const char *const journal_ids[JOURNAL_KINDS] = {
    [JOURNAL_SERVING] = "f71e587aceaf40c8a359b9788d6cec81",
    [JOURNAL_STOPPING] = "09461abb1e7148b497bd4d710b4c5b44",
    [JOURNAL_STOPPED] = "b3930abda942487da1eba53bf65f62ff",
    [JOURNAL_DENIED] = "b14305a89c03465e88f8d3638feed057",
    [JOURNAL_QUOTA] = "401688611aae4c61aa659d939759878f",
    [JOURNAL_CRASHED] = "3c7b8954fbe14e1697fcc173dfbb6fff",
    [JOURNAL_FAILED] = "b205a46c1585408d80b19381fcd7cee5",
    [JOURNAL_ENDED] = "b73cd97ee2ee41d8b431e1caa1b01821",
};

int journal_open(struct journal *ret_journal, const char *path)
{
    struct journal journal = {.address.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(journal.address.sun_path))
        return err_origin(-EINVAL);
    strcpy(journal.address.sun_path, path);
    journal.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (journal.fd < 0)
        return err_errno();
    *ret_journal = journal;
    return 0;
}

void journal_close(struct journal *journal)
{
    closep(&journal->fd);
}

struct journal_text {
    char bytes[JOURNAL_BYTES];
    size_t n;
};

/* What does not fit whole is left out. */
static void journal_put(struct journal_text *text, const char *fmt, ...) _printf_(2, 3);
static void journal_put(struct journal_text *text, const char *fmt, ...)
{
    const size_t room = sizeof(text->bytes) - text->n;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text->bytes + text->n, room, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < room)
        text->n += (size_t)n;
}

static void journal_put_event(struct journal_text *text, const struct journal_event *event)
{
    char hex[2 * JOURNAL_ID_BYTES + 1];

    journal_put(text, "MESSAGE_ID=%s\n", journal_ids[event->kind]);
    if (event->has_uid)
        journal_put(text, "QWEND_UID=%u\n", event->uid);
    if (event->request) {
        for (int i = 0; i < JOURNAL_ID_BYTES; i++)
            snprintf(hex + 2 * i, 3, "%02x", event->request[i]);
        journal_put(text, "QWEND_REQUEST=%s\n", hex);
    }
    if (event->code)
        journal_put(text, "QWEND_CODE=%d\n", event->code);
    for (int i = 0; i < JOURNAL_NUMBERS && event->numbers[i].name; i++)
        journal_put(text, "%s=%llu\n", event->numbers[i].name, (unsigned long long)event->numbers[i].value);
}

int journal_send(const struct journal *journal, const char *program, int priority, const char *message,
                 const struct journal_event *event)
{
    struct journal_text text = {};

    journal_put(&text, "MESSAGE=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=%s\n", message, priority, program);
    journal_put_event(&text, event);
    return sendto(journal->fd, text.bytes, text.n, MSG_NOSIGNAL | MSG_DONTWAIT,
                  (const struct sockaddr *)&journal->address, sizeof(journal->address)) < 0
               ? err_errno()
               : 0;
}
