/* code.h - the exit codes of qwenctl: 1 is an answer, 2 and above a fault.  Scripts rely on them; numbers
 * never change. */
#pragma once

#include "proto/base.h"

enum code {
    CODE_OK = 0,
    CODE_NO = 1,
    CODE_USAGE = 2,
    CODE_NO_DAEMON = 3,
    CODE_DENIED = 4,
    CODE_BUSY = 5,
    CODE_TOO_LONG = 6,
    CODE_CUT = 7,
    CODE_GRAMMAR = 8,
    CODE_DEADLINE = 9,
    CODE_FAILED = 10,
    CODE_SOME = 11,
    CODE_INT = 130, /* 128 + the signal, as a shell reports it */
    CODE_PIPE = 141,
    CODE_TERM = 143,
};

struct code_entry {
    enum code code;
    const char *meaning;
};
const struct code_entry *code_table(size_t *ret_n); /* for the help */

enum code code_of_status(int status); /* of a code of the daemon, proto/status.h */
enum code code_of_errno(int r);       /* of a negative errno of libqwend */
