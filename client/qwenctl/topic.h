/* topic.h - what `qwenctl help TOPIC` tells besides the verbs; the man page has the same chapters. */
#pragma once

#include <stdio.h>

#include "proto/base.h"

struct topic {
    const char *name, *summary;
    void (*put)(
        FILE *out); /* lines of at most 80 columns; those that begin with two blanks stand as they are */
};
const struct topic *topic_table(size_t *ret_n);
const struct topic *topic_find(const char *name); /* NULL: no such topic */
