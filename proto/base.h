/* base.h - the few words that every layer speaks: cleanup, error origin, faults, small arithmetic.
 *
 * Anything may include this file; it includes nothing of ours.  Error convention of the whole tree:
 *   0            done
 *   < 0          negative errno: unexpected, forwarded unchanged, never matched on
 *   > 0          MODULE_E_X: part of that function's contract, handled by its caller
 * Out parameters are called ret_x, come last and are written on success only. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))
#define ROUND_UP(a, b) (CEIL_DIV(a, b) * (b))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CLAMP(x, lo, hi) ((x) < (lo) ? (lo) : (x) > (hi) ? (hi) : (x))

/* cleanup */
#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _unused_ __attribute__((unused))

/* Hands a pointer (or fd) over: returns it and leaves nothing behind for the cleanup attribute. */
#define steal(p)                   \
    ({                             \
        __typeof__(p) _p = (p);    \
        __typeof__(*(p)) _v = *_p; \
        *_p = NULL;                \
        _v;                        \
    })

static inline int steal_fd(int *fd)
{
    int v = *fd;

    *fd = -1;
    return v;
}

/* closep() and freep() take the address of the variable, as the cleanup attribute passes it. */
static inline void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static inline void freep(void *p)
{
    free(*(void **)p);
    *(void **)p = NULL;
}

/* Declares NAMEp() for the cleanup attribute from a NAME() that takes NULL. */
#define CLEANUP_FUNC(type, name)           \
    static inline void name##p(type **p)   \
    {                                      \
        if (*p)                            \
            name(*p);                      \
        *p = NULL;                         \
    }

/* errors */
/* Where the innermost negative errno of this thread was raised; written by err_origin() only, so success costs nothing.
 * A daemon that decides to log a negative error prints it with err_place(). */
int err_origin_at(int r, const char *file, int line); /* returns r; r must be < 0 */
#define err_origin(r) err_origin_at((r), __FILE__, __LINE__)
#define err_errno() err_origin_at(errno > 0 ? -errno : -EIO, __FILE__, __LINE__)
const char *err_place(void); /* "file.c:12", or "?" if nothing was raised in this thread */

/* A fault says to a person what was wrong with something that came from outside (a file, a request, a command line):
 * what, where, what it is and what it should be.  Functions that refuse input take one; NULL is allowed. */
struct fault {
    int code;       /* the MODULE_E_X that the function returned */
    char text[500]; /* one line, no trailing newline, never a piece of a prompt */
};
int fault_set(struct fault *fault, int code, const char *fmt, ...) _printf_(3, 4); /* returns code */
