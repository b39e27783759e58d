/* fence.h - the first code block of an answer, taken out while the answer still comes (--extract).
 *
 * A block stands between fences of three or more ` or ~, as in CommonMark.  With a language it must be named
 * so, or not at all: a model that was asked for one thing often leaves its name out. */
#pragma once

#include "proto/base.h"

struct fence {
    const char *language; /* borrowed; "": any */
    char *line;           /* owned: what came of a line so far */
    size_t n_line, cap;
    char mark; /* of the opening fence: '`' or '~'; 0: outside of every block */
    size_t n_mark, indent;
    bool wanted; /* this block is the one */
    bool found;  /* one was begun */
    bool over;   /* and has ended */
};

/* Gives the lines of the block, each with its newline, to put().  put's nonzero ends it and is returned;
 * -ENOMEM.
 */
typedef int fence_put(void *arg, const char *text, size_t n);
int fence_feed(struct fence *fence, const char *text, size_t n, fence_put *put, void *arg);
int fence_end(struct fence *fence, fence_put *put,
              void *arg); /* the answer is over: a last line without newline */
void fence_deinit(struct fence *fence);
