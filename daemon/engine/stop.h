/* stop.h - stop strings: the answer ends before the first of them.
 *
 * What may be the beginning of a stop string is held back until it is certain, so no byte of one is ever
 * shown. Which string wins does not depend on how the text was cut into pushes: the one whose last byte comes
 * first, and among those that end with the same byte the longest.  Text comes in whole UTF-8 sequences and
 * leaves in whole ones. */
#pragma once

#include "proto/base.h"

enum { STOP_STRINGS_MAX = 16, STOP_BYTES_MAX = 256 }; /* the caps of Generate.stop in the wire check */
enum { STOP_OK, STOP_E_INVALID };

struct stop {
    char *strings[STOP_STRINGS_MAX]; /* owned, NUL-terminated */
    size_t n_bytes[STOP_STRINGS_MAX];
    int n_strings;
    char *buf;           /* owned, [cap] */
    size_t n_buf, n_out; /* bytes in it; of these already handed out, dropped by the next push */
    size_t cap, max_push;
    int found; /* index of the string that ended the answer; -1: none yet */
};

/* Copies the strings.  max_push bounds one push.  STOP_E_INVALID: too many, too long, empty. */
int stop_init(struct stop *s, char *const *strings, size_t n_strings, size_t max_push, struct fault *fault);
void stop_deinit(struct stop *s);

/* Returns what may be shown (perhaps nothing), valid until the next call.  After s->found >= 0 nothing more
 * is. */
void stop_push(struct stop *s, const char *text, size_t n, const char **ret_text, size_t *ret_n);
/* End of the stream: what was held back. */
void stop_flush(struct stop *s, const char **ret_text, size_t *ret_n);
