/* log.c - one event, one line, on stderr.  See log.h.
 *
 * A line is one write(2) of at most LOG_LINE_BYTES, so that lines of broker and engine, which share stderr,
 * never mix. Control bytes become '?': a name that a client chose cannot forge a second line. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { LOG_LINE_BYTES = 1024 }; /* under PIPE_BUF (4096): a pipe takes it whole */

/* syslog(3) priorities, as systemd reads them from "<N>" at the start of a line */
enum { LOG_PRIORITY_ERR = 3, LOG_PRIORITY_WARN = 4, LOG_PRIORITY_INFO = 6, LOG_PRIORITY_DEBUG = 7 };

static struct {
    char program[32];
    bool verbose;
    bool is_journal; /* stderr is the journal's stream: it adds time and name, and wants priorities */
    struct journal journal;
} log_state = {.program = "qwend", .journal = {.fd = -1}};

/* JOURNAL_STREAM holds "device:inode" of the stream that systemd connected (systemd.exec(5)). */
static bool log_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;

    return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) &&
           st.st_dev == dev && st.st_ino == ino;
}

void log_init(const char *program, bool verbose)
{
    snprintf(log_state.program, sizeof(log_state.program), "%s", program);
    log_state.verbose = verbose;
    log_state.is_journal = log_is_journal();
}

void log_open_journal(const char *path)
{
    log_close();
    if (log_state.is_journal) /* a failure is no loss: stderr is the journal too */
        (void)journal_open(&log_state.journal, path);
}

void log_close(void)
{
    journal_close(&log_state.journal);
}

/* event NULL: a line, and no more. */
static void log_put(int priority, const struct journal_event *event, const char *fmt, va_list ap)
{
    char line[LOG_LINE_BYTES];
    int saved_errno = errno, head, n;

    if (log_state.is_journal)
        head = snprintf(line, sizeof(line), "<%d>", priority);
    else
        head = snprintf(line, sizeof(line), "%s: %s", log_state.program,
                        priority == LOG_PRIORITY_ERR    ? "error: "
                        : priority == LOG_PRIORITY_WARN ? "warning: "
                                                        : "");
    n = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, ap);
    n = n < 0 ? head : MIN(head + n, (int)sizeof(line) - 2);
    for (int i = head; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n] = '\0';
    if (event && log_state.journal.fd >= 0 &&
        !journal_send(&log_state.journal, log_state.program, priority, line + head, event)) {
        errno = saved_errno;
        return;
    }
    line[n++] = '\n';
    /* A log that cannot be written has nobody left to tell. */
    (void)!write(STDERR_FILENO, line, (size_t)n);
    errno = saved_errno;
}

#define LOG_FUNC(name, priority)                                                                             \
    void log_##name(const char *fmt, ...)                                                                    \
    {                                                                                                        \
        va_list ap;                                                                                          \
                                                                                                             \
        va_start(ap, fmt);                                                                                   \
        log_put(priority, NULL, fmt, ap);                                                                    \
        va_end(ap);                                                                                          \
    }                                                                                                        \
                                                                                                             \
    void log_event_##name(const struct journal_event *event, const char *fmt, ...)                           \
    {                                                                                                        \
        va_list ap;                                                                                          \
                                                                                                             \
        va_start(ap, fmt);                                                                                   \
        log_put(priority, event, fmt, ap);                                                                   \
        va_end(ap);                                                                                          \
    }

LOG_FUNC(info, LOG_PRIORITY_INFO)
LOG_FUNC(warn, LOG_PRIORITY_WARN)
LOG_FUNC(err, LOG_PRIORITY_ERR)

void log_debug(const char *fmt, ...)
{
    va_list ap;

    if (!log_state.verbose)
        return;
    va_start(ap, fmt);
    log_put(LOG_PRIORITY_DEBUG, NULL, fmt, ap);
    va_end(ap);
}

void log_errno(int r, const char *fmt, ...)
{
    char text[LOG_LINE_BYTES / 2];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    log_err("%s: %s (%s)", text, strerror(r < 0 ? -r : r), err_place());
}
