/* eval_sandbox_init.h - the inside of the sandbox: what its first process does between clone() and Python. */
#pragma once

#include <sys/types.h>

#include "eval_sandbox.h"

enum { SANDBOX_ID = 1000 }; /* the only user and group that exist inside */

/* What the sandbox's processes tell us.  A step that failed: its name's index and errno; or that Python
 * ended: how, as wait() has it. */
enum sandbox_step {
    SANDBOX_STEP_IDS,
    SANDBOX_STEP_ROOT,
    SANDBOX_STEP_SYSTEM,
    SANDBOX_STEP_DEVICES,
    SANDBOX_STEP_PIVOT,
    SANDBOX_STEP_PRIVILEGE,
    SANDBOX_STEP_FILTER,
    SANDBOX_STEP_LIMITS,
    SANDBOX_STEP_FORK,
    SANDBOX_STEP_EXEC,
    SANDBOX_ENDED
};
struct sandbox_note {
    int step, value;
};
extern const char *const sandbox_steps[SANDBOX_ENDED];

struct sandbox_plan {
    const struct eval_sandbox_limits *limits;
    const char *python;      /* path */
    char tmp_options[64];    /* of the mount of its /tmp */
    bool drop_groups;        /* we are root: supplementary groups can and must go */
    int program, out, token; /* fds for 0, 1 and 2, and 3 of Python */
    int go, note;            /* fds: a byte comes when the ids are mapped; struct sandbox_note */
};

/* Runs as the first process of the new namespaces; never returns.  Only calls that are safe after a fork in
 * a process with threads. */
_Noreturn void sandbox_init(const struct sandbox_plan *plan);

int sandbox_filter(void); /* eval_sandbox_filter.c: takes away what only an attack needs; 0 or -errno */
