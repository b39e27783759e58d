/* input.c - reading text.  See input.h. */
#include "input.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "client/lib/qwend.h"
#include "sig.h"

enum { INPUT_READ_BYTES = 64 << 10 };

enum code input_check(const char *name, const char *text, size_t n, struct fault *fault)
{
    size_t valid = qwend_utf8_valid(text, n), line = 1;

    if (valid == n)
        return CODE_OK;
    for (size_t i = 0; i < valid; i++)
        line += text[i] == '\n';
    if (!text[valid])
        return (enum code)fault_set(
            fault, CODE_USAGE, "%s holds a NUL at byte %zu (line %zu): it is not text", name, valid, line);
    return (enum code)fault_set(
        fault, CODE_USAGE,
        "%s is not UTF-8: 0x%02x at byte %zu (line %zu); convert it, e.g. iconv -f ISO-8859-1 "
        "-t UTF-8",
        name, (unsigned char)text[valid], valid, line);
}

static enum code input_too_long(int fd, const char *name, size_t max, struct fault *fault)
{
    struct stat st;

    if (!fstat(fd, &st) && S_ISREG(st.st_mode))
        return (enum code)fault_set(fault, CODE_TOO_LONG, "%s has %llu bytes, a prompt may have %zu", name,
                                    (unsigned long long)st.st_size, max);
    return (enum code)fault_set(fault, CODE_TOO_LONG, "%s has more than %zu bytes, the limit of a prompt",
                                name, max);
}

/* Waits for input or a signal. */
static enum code input_wait(int fd)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = sig_fd(), .events = POLLIN}};

    while (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno == EINTR && !sig_pending())
        ;
    return sig_pending() == SIGINT ? CODE_INT : sig_pending() ? CODE_TERM : CODE_OK;
}

static enum code input_more(int fd, const char *name, char **text, size_t *cap, size_t n, ssize_t *ret_k,
                            struct fault *fault)
{
    enum code code;

    if (*cap - n < INPUT_READ_BYTES) {
        size_t grown = *cap ? 2 * *cap : 2 * INPUT_READ_BYTES;
        char *p = realloc(*text, grown);

        if (!p)
            return (enum code)fault_set(fault, CODE_FAILED, "out of memory for %s", name);
        *text = p;
        *cap = grown;
    }
    do {
        code = input_wait(fd);
        if (code)
            return (enum code)fault_set(fault, code, "interrupted while reading %s", name);
        *ret_k = read(fd, *text + n, INPUT_READ_BYTES - 1);
    } while (*ret_k < 0 && (errno == EINTR || errno == EAGAIN));
    if (*ret_k < 0)
        return (enum code)fault_set(fault, CODE_USAGE, "reading %s: %s", name, strerror(errno));
    return CODE_OK;
}

enum code input_read(int fd, const char *name, size_t max, char **ret_text, size_t *ret_n,
                     struct fault *fault)
{
    _cleanup_(freep) char *text = NULL;
    size_t cap = 0, n = 0;
    enum code code;
    ssize_t k = 0;

    do {
        code = input_more(fd, name, &text, &cap, n, &k, fault);
        if (code)
            return code;
        n += (size_t)k;
        if (n > max)
            return input_too_long(fd, name, max, fault);
    } while (k);
    text[n] = 0;
    code = input_check(name, text, n, fault);
    if (code)
        return code;
    *ret_text = steal(&text);
    *ret_n = n;
    return CODE_OK;
}

enum code input_read_file(const char *path, size_t max, char **ret_text, size_t *ret_n, struct fault *fault)
{
    _cleanup_(closep) int fd = -1;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return (enum code)fault_set(fault, CODE_USAGE, "%.300s: %s", path, strerror(errno));
    return input_read(fd, path, max, ret_text, ret_n, fault);
}
