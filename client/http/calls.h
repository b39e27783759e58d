/* calls.h - calls of tools in what the model writes, which has them as
 *
 *     <tool_call>\n<function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n ... </function>\n</tool_call>
 *
 * Pieces of text go in as they come; text goes out up to the first call, and calls, each when it is complete.
 * What only looks like one is text.  Nothing holds the model to this form: what it leaves out is left out.
 * Pure. */
#pragma once

#include <jansson.h>

#include "proto/buf.h"

enum {
    CALLS_MAX = 128,            /* in one message, as on the wire */
    CALLS_NAME_BYTES = 128,     /* of a tool, as on the wire */
    CALLS_TEXT_BYTES = 1 << 20, /* of one call, as on the wire */
};

struct calls_sink { /* 0, or what calls_push() is to return */
    int (*on_text)(void *arg, const char *text, size_t n);
    int (*on_call)(void *arg, const char *name, const char *arguments, size_t n); /* a JSON object */
    void *arg;
};

struct calls {
    const json_t *tools; /* borrowed: name -> schema of its parameters, by which values become JSON */
    struct buf held;     /* what may be the beginning of a call, or is one */
    bool inside;
    size_t n_blanks, n_seen; /* inside: bytes before its mark, and those in which its end is not */
    size_t n;                /* calls so far */
};

void calls_init(struct calls *calls, const json_t *tools);
void calls_deinit(struct calls *calls);
int calls_push(struct calls *calls, const char *text, size_t n, const struct calls_sink *sink);
int calls_end(struct calls *calls, const struct calls_sink *sink); /* no more comes: what is held was text */
